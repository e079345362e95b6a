// A brush for masks. The drawing has the size of the image; the server makes soft edges exact.
import { hasModifier, isTyping } from "./gallery.js";

const byId = (id) => document.getElementById(id);
const root = byId("drawing"), canvas = byId("canvas"), image = byId("image");
const pen = canvas.getContext("2d", { willReadFrequently: true });
const formToken = document.querySelector("meta[name=form-token]").content;
const token = [...crypto.getRandomValues(new Uint8Array(16))]
  .map((b) => b.toString(16).padStart(2, "0")).join("");
const free = root.dataset.free.split(" ").filter(Boolean);
const earlier = [];
let erasing = false, last = null;

const types = () => Object.fromEntries(
  [...byId("type").options].map((one) => [one.value.toUpperCase(), one.textContent.trim()]));

function notice(text, good) {
  const note = document.createElement("p");
  note.className = good ? "note good" : "note bad";
  note.textContent = text;
  byId("notices").replaceChildren(note);
}

function seed(mask) {
  pen.imageSmoothingEnabled = false;
  pen.drawImage(mask, 0, 0, canvas.width, canvas.height);
  const pixels = pen.getImageData(0, 0, canvas.width, canvas.height), known = new Set(
    Object.keys(types()).map((color) => parseInt(color.slice(1), 16)));
  for (let at = 0; at < pixels.data.length; at += 4) {
    const color = (pixels.data[at] << 16) | (pixels.data[at + 1] << 8) | pixels.data[at + 2];
    if (!known.has(color)) pixels.data[at + 3] = 0;
  }
  pen.putImageData(pixels, 0, 0);
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) * canvas.width / box.width,
    (event.clientY - box.top) * canvas.height / box.height];
}

function stroke(from, to) {
  pen.globalCompositeOperation = erasing ? "destination-out" : "source-over";
  pen.strokeStyle = byId("type").value;
  pen.lineWidth = Number(byId("size").value);
  pen.lineCap = pen.lineJoin = "round";
  pen.beginPath();
  pen.moveTo(...from);
  pen.lineTo(...to);
  pen.stroke();
}

const remember = () => {
  earlier.push(pen.getImageData(0, 0, canvas.width, canvas.height));
  if (earlier.length > 20) earlier.shift();
};
const undo = () => {
  const before = earlier.pop();
  if (before) pen.putImageData(before, 0, 0);
};
const erase = () => {
  erasing = !erasing;
  byId("erase").setAttribute("aria-pressed", String(erasing));
};

image.addEventListener("load", () => {
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const width = `min(100%, ${(70 * canvas.width) / canvas.height}vh)`;
  for (const one of [image, canvas]) one.style.width = width;
  root.dataset.ready = "yes";
  if (!root.dataset.seed) return;
  const mask = new Image();
  mask.addEventListener("load", () => seed(mask));
  mask.src = root.dataset.seed;
});
image.addEventListener("error", () => notice("The image is gone; there is nothing to draw on."));
image.src = root.dataset.image;

canvas.addEventListener("pointerdown", (event) => {
  event.preventDefault();
  canvas.setPointerCapture(event.pointerId);
  remember();
  last = place(event);
  stroke(last, last);
});
canvas.addEventListener("pointermove", (event) => {
  if (!last) return;
  const here = place(event);
  stroke(last, here);
  last = here;
});
for (const end of ["pointerup", "pointercancel"])
  canvas.addEventListener(end, () => (last = null));

byId("undo").addEventListener("click", undo);
byId("erase").addEventListener("click", erase);
byId("clear").addEventListener("click", () => {
  remember();
  pen.clearRect(0, 0, canvas.width, canvas.height);
});
byId("new-type").addEventListener("click", () => {
  const name = (prompt("Name of the anomaly type") || "").trim();
  if (!name || !free.length) return;
  const option = new Option(name, free.shift());
  byId("type").append(option);
  byId("type").value = option.value;
});
document.addEventListener("keydown", (event) => {
  if (hasModifier(event) || isTyping(event)) return;
  if (event.key === "z") undo();
  else if (event.key === "e") erase();
});

byId("saving").addEventListener("submit", (event) => event.preventDefault());
byId("save").addEventListener("click", async () => {
  byId("save").disabled = true;
  try {
    const answer = await fetch(root.dataset.action, {
      method: "POST",
      headers: {
        accept: "application/json",
        "content-type": "application/x-www-form-urlencoded",
        "x-form-token": formToken,
      },
      body: new URLSearchParams({
        mask: canvas.toDataURL("image/png").split(",")[1],
        types: JSON.stringify(types()),
        comment: byId("comment").value,
        token,
        password: byId("password")?.value || "",
      }),
    });
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error);
    location.href = root.dataset.part;
  } catch (error) {
    notice(error.message);
    byId("save").disabled = false;
  }
});
