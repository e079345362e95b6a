"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const tools = byId("tools");
  if (!tools) return;
  tools.hidden = false;
  const field = byId("find"), group = byId("group"), type = byId("type"), sort = byId("sort");
  const cards = [...document.querySelectorAll(".card")].map((card) => ({
    card,
    home: card.parentElement,
    group: card.dataset.group,
    falseAlarm: "falseAlarm" in card.dataset,
    line: Number(card.dataset.line),
    confidence: card.dataset.confidence === "" ? null : Number(card.dataset.confidence),
    area: Number(card.dataset.area),
    name: (card.querySelector("h3") || card).textContent,
    text: null,
  }));
  const textOf = (one) => (one.text ??= one.card.textContent.toLowerCase());
  const hasType = (one, wanted) =>
    [...one.card.querySelectorAll("[data-type]")].some((chip) => chip.dataset.type === wanted);
  const sections = [...document.querySelectorAll(".gallery")];

  const filter = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = group.value, kind = type ? type.value : "";
    let shown = 0;
    for (const one of cards) {
      const fits =
        (!wanted || (wanted === "false-alarm" ? one.falseAlarm : one.group === wanted)) &&
        (!kind || hasType(one, kind)) &&
        words.every((word) => textOf(one).includes(word));
      if (one.card.hidden === fits) one.card.hidden = !fits;
      shown += fits;
    }
    for (const section of sections)
      section.hidden = !section.querySelector(".card:not([hidden])");
    byId("nothing").hidden = shown > 0;
    byId("shown").textContent = `${shown} of ${cards.length} shown`;
  };

  const last = (value) => (value === null ? Infinity : value);
  const orders = {
    line: (a, b) => a.line - b.line,
    unsure: (a, b) => last(a.confidence) - last(b.confidence) || a.line - b.line,
    sure: (a, b) => (b.confidence ?? -1) - (a.confidence ?? -1) || a.line - b.line,
    area: (a, b) => b.area - a.area || a.line - b.line,
    name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }) || a.line - b.line,
  };
  const arrange = (order) => {
    for (const one of [...cards].sort(orders[order])) one.home.append(one.card);
  };

  let waiting = 0;
  field.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, cards.length > 1000 ? 150 : 0);
  });
  group.addEventListener("change", filter);
  if (type) type.addEventListener("change", filter);
  sort.addEventListener("change", () => arrange(sort.value));
  tools.addEventListener("submit", (event) => event.preventDefault());

  const overlays = byId("overlays");
  const toggle = () => {
    const on = overlays.getAttribute("aria-pressed") !== "true";
    overlays.setAttribute("aria-pressed", String(on));
    document.body.classList.toggle("unmarked", !on);
  };
  overlays.addEventListener("click", toggle);

  const zoom = byId("zoom"), stage = zoom.querySelector(".stage");
  let current = null;
  const pictured = () => {
    const visible = [...document.querySelectorAll(".card:not([hidden])")];
    return visible.filter((card) => card.querySelector("button.picture"));
  };
  const textIn = (part) =>
    (part.children.length ? [...part.children] : [part])
      .map((one) => one.textContent.replace(/\s+/g, " ").trim()).join(", ");
  const show = (card) => {
    current = card;
    stage.replaceChildren(
      ...[...card.querySelectorAll(".picture img")].map((image) => image.cloneNode()));
    byId("zoom-name").textContent =
      [card.querySelector(".serial"), card.querySelector("h3"), card.querySelector(".top"), card.querySelector(".chips")]
        .filter(Boolean).map(textIn).join(" · ");
    if (!zoom.open) zoom.showModal();
  };
  const step = (by) => {
    const all = pictured(), next = all[all.indexOf(current) + by];
    if (next) show(next);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.picture");
    if (button) show(button.closest(".card"));
  });
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("close").addEventListener("click", () => zoom.close());
  zoom.addEventListener("close", () => {
    if (current) current.querySelector("button.picture").focus();
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches("input, select, textarea");
    if (zoom.open && event.key === "ArrowLeft") step(-1);
    else if (zoom.open && event.key === "ArrowRight") step(1);
    else if (!typing && event.key === "o") toggle();
    else if (!typing && event.key === "/" && !zoom.open) {
      event.preventDefault();
      field.focus();
    }
  });

  // Print every image, in the order of the manifest.
  addEventListener("beforeprint", () => arrange("line"));
  addEventListener("afterprint", () => arrange(sort.value));
  filter();
})();
