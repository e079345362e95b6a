"""Looks and the one script of the report; both are written into the page."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root{color-scheme:light dark;--ground:#f4f5f7;--panel:#fff;--ink:#16191f;--soft:#5a6270;
--line:#dfe2e8;--accent:#1f5fbf;--accept:#187a3f;--accept-g:#e2f4e8;--reject:#b3261e;
--reject-g:#fbe7e5;--review:#8a5a00;--review-g:#fdf0d2;--error:#6b3fa0;--error-g:#efe7f8;
--chip:#eceef2;--shade:0 1px 2px rgba(16,24,40,.07)}
@media (prefers-color-scheme:dark){:root{--ground:#0f1216;--panel:#181c22;--ink:#e8eaee;
--soft:#9aa3b2;--line:#2b313b;--accent:#7fb0ff;--accept:#67cf90;--accept-g:#143322;
--reject:#ff8e85;--reject-g:#431c1a;--review:#f0bd57;--review-g:#3b2d0e;--error:#c6a3f2;
--error-g:#2e2142;--chip:#252a33;--shade:none}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);line-height:1.45;
font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main,header>div,footer{max-width:76rem;margin:0 auto;padding:0 1.25rem}
header{background:var(--panel);border-bottom:1px solid var(--line);padding:1.5rem 0 1.1rem}
h1{font-size:1.55rem;line-height:1.2;margin:0 0 .3rem;letter-spacing:-.01em}
h2{font-size:1.12rem;margin:2.2rem 0 .75rem;display:flex;gap:.6rem;align-items:baseline}
h2 .count,.soft{color:var(--soft);font-weight:400}
h3{font-size:.95rem;margin:0 0 .5rem}
p{margin:.3rem 0}
code,pre,.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;
font-size:.86em;overflow-wrap:anywhere}
.eyebrow{color:var(--soft);font-size:.82rem;margin:0 0 .35rem}
.badge{display:inline-block;padding:.1em .6em;border-radius:1em;font-size:.8rem;font-weight:600;
background:var(--chip);color:var(--soft);vertical-align:middle;white-space:nowrap}
.accept{background:var(--accept-g);color:var(--accept)}
.reject{background:var(--reject-g);color:var(--reject)}
.review{background:var(--review-g);color:var(--review)}
.error{background:var(--error-g);color:var(--error)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.2rem,1fr));gap:.75rem;
margin:1.25rem 0 .8rem}
.tile{background:var(--panel);border:1px solid var(--line);border-radius:.6rem;padding:.75rem .9rem;
box-shadow:var(--shade);border-top:3px solid var(--line)}
.tile b{display:block;font-size:1.65rem;line-height:1.15;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:.85rem}
.tile.accept,.tile.reject,.tile.review,.tile.error{background:var(--panel);color:var(--ink);
border-top-color:currentColor}
.tile.accept{border-top-color:var(--accept)}.tile.reject{border-top-color:var(--reject)}
.tile.review{border-top-color:var(--review)}.tile.error{border-top-color:var(--error)}
.bar{display:flex;height:.7rem;border-radius:.35rem;overflow:hidden;background:var(--line);gap:2px}
.bar i{display:block;min-width:3px;background:currentColor}
.note{background:var(--review-g);color:var(--ink);border-left:4px solid var(--review);
padding:.55rem .8rem;border-radius:.3rem;margin:.6rem 0}
.note.bad{background:var(--reject-g);border-color:var(--reject)}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(15.5rem,1fr));gap:.9rem;
align-items:start}
.card{background:var(--panel);border:1px solid var(--line);border-radius:.6rem;overflow:hidden;
box-shadow:var(--shade);display:flex;flex-direction:column;break-inside:avoid}
.card .body{padding:.65rem .8rem .8rem;display:flex;flex-direction:column;gap:.35rem}
.card .name{font-weight:600;overflow-wrap:anywhere}
.card .top{display:flex;gap:.4rem;flex-wrap:wrap;align-items:center}
.card ul{margin:0;padding-left:1.1rem;font-size:.88rem}
.picture{position:relative;background:#0b0d10;display:grid;place-items:center;min-height:6rem;
color:#9aa3b2;font-size:.85rem}
.picture img{display:block;width:100%;height:auto;max-height:20rem;object-fit:contain;grid-area:1/1}
.picture img.plain{opacity:0;transition:opacity .15s}
.picture:hover img.plain,.picture:focus img.plain,.picture:active img.plain{opacity:1}
.small .cards{grid-template-columns:repeat(auto-fill,minmax(11rem,1fr))}
.chips{display:flex;flex-wrap:wrap;gap:.3rem}
.chip{background:var(--chip);border-radius:.35rem;padding:.05rem .45rem;font-size:.8rem;
overflow-wrap:anywhere}
.chip b{font-weight:500;color:var(--soft)}
.swatch{display:inline-block;width:.75em;height:.75em;border-radius:.2em;margin-right:.35em;
border:1px solid rgba(128,128,128,.5);vertical-align:-.05em}
.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(20rem,1fr));gap:.9rem}
.panel{background:var(--panel);border:1px solid var(--line);border-radius:.6rem;min-width:0;
padding:.9rem 1rem;box-shadow:var(--shade);break-inside:avoid}
table{border-collapse:collapse;width:100%;font-size:.92rem}
th,td{text-align:left;padding:.34rem .7rem .34rem 0;border-bottom:1px solid var(--line);
vertical-align:top;overflow-wrap:anywhere}
tr:last-child>th,tr:last-child>td{border-bottom:0}
th{font-weight:500;color:var(--soft)}
.facts th{white-space:nowrap;width:1%}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.narrow{width:1%;white-space:nowrap}
.scroll{overflow-x:auto}
pre{background:var(--chip);border-radius:.45rem;padding:.7rem .85rem;overflow-x:auto;margin:.5rem 0;
white-space:pre-wrap;line-height:1.5}
summary{cursor:pointer;color:var(--accent);font-weight:500;margin:.4rem 0 .8rem}
input[type=search]{width:100%;max-width:26rem;font:inherit;padding:.5rem .75rem;color:var(--ink);
border:1px solid var(--line);border-radius:.5rem;background:var(--panel);margin-top:1.4rem}
footer{color:var(--soft);font-size:.85rem;padding-top:2rem;padding-bottom:2.5rem}
@media (max-width:34rem){main,header>div,footer{padding:0 .9rem}.panels{grid-template-columns:1fr}
.cards{grid-template-columns:1fr}.small .cards{grid-template-columns:1fr 1fr}
.tiles{grid-template-columns:repeat(2,1fr)}}
@media print{:root{color-scheme:light;--ground:#fff;--panel:#fff;--ink:#000;--soft:#444;
--line:#bbb;--accent:#000;--accept:#0c5c2c;--accept-g:#fff;--reject:#9c1c15;--reject-g:#fff;
--review:#6d4700;--review-g:#fff;--error:#53308a;--error-g:#fff;--chip:#f1f1f1;--shade:none}
body{font-size:10.5pt}input[type=search]{display:none}.badge{border:1px solid currentColor}
.cards,.small .cards{grid-template-columns:repeat(3,1fr)}.picture{background:#fff}
h2{break-after:avoid}.bar,.picture,.swatch{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""

#: Hides the cards and table rows that do not hold the words typed into the search field.
SCRIPT: Final = """
const field=document.getElementById("find");
if(field){field.hidden=false;field.addEventListener("input",()=>{
const words=field.value.toLowerCase().split(/\\s+/).filter(Boolean);
for(const entry of document.querySelectorAll("[data-entry]")){
const text=entry.textContent.toLowerCase();
entry.hidden=!words.every(word=>text.includes(word));}
if(words.length)for(const part of document.querySelectorAll("details"))part.open=true;});}
"""
