// Toggling marks, missing pictures, and the enlarged image.
import { zoomable } from "./zoom.js";

export function marksToggle(button) {
  const toggle = () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    document.body.classList.toggle("unmarked", !on);
    return on;
  };
  button.addEventListener("click", toggle);
  return toggle;
}

export const isTyping = (event) => event.target.matches("input, select, textarea");
export const hasModifier = (event) => event.ctrlKey || event.metaKey || event.altKey;

async function explain(image) {
  const holder = image.closest("[data-sha256]");
  if (!holder || holder.classList.contains("gone") || image.classList.contains("marks")) return;
  let text = `The image is gone. Its SHA-256 was ${holder.dataset.sha256}.`;
  try {
    const answer = await fetch(image.src, { headers: { accept: "application/json" } });
    if (answer.ok) return;
    text = (await answer.json()).error || text;
  } catch {
    // The text above remains.
  }
  holder.classList.add("gone");
  holder.replaceChildren(text);
}

const button = document.getElementById("overlays");
if (button && !document.getElementById("review")) {
  const toggle = marksToggle(button);
  document.addEventListener("keydown", (event) => {
    if (!hasModifier(event) && !isTyping(event) && event.key === "o") toggle();
  });
}
document.addEventListener(
  "error",
  (event) => {
    if (event.target instanceof HTMLImageElement && !document.getElementById("review"))
      explain(event.target);
  },
  true,
);
for (const image of document.querySelectorAll("[data-sha256] img:not(.marks)"))
  if (image.complete && image.naturalWidth === 0 && image.loading !== "lazy") explain(image);
// Printing needs all pictures: those below the screen are fetched after the visible ones.
const fetchAll = () => {
  for (const image of document.querySelectorAll("img[loading=lazy]")) image.loading = "eager";
};
addEventListener("load", () => setTimeout(fetchAll, 1000));
addEventListener("beforeprint", fetchAll);
for (const stage of document.querySelectorAll("[data-zoom]")) zoomable(stage);
