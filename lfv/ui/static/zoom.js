// An image that is enlarged with + and -, a double click or the wheel, and moved with the arrows.
const MOST = 16;

export function zoomable(stage) {
  let scale = 1, left = 0, top = 0;
  const draw = () => {
    const transform = scale === 1 ? "" : `translate(${left}px, ${top}px) scale(${scale})`;
    for (const image of stage.querySelectorAll("img")) image.style.transform = transform;
  };
  const by = (factor) => {
    scale = Math.min(MOST, Math.max(1, scale * factor));
    if (scale === 1) left = top = 0;
    draw();
  };
  const move = (x, y) => {
    left += x;
    top += y;
    draw();
  };
  const reset = () => by(1 / MOST);
  stage.addEventListener("dblclick", () => (scale > 1 ? reset() : by(3)));
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    by(event.deltaY < 0 ? 1.25 : 0.8);
  }, { passive: false });
  let grip = null;
  stage.addEventListener("pointerdown", (event) => {
    if (scale > 1) grip = [event.clientX, event.clientY];
  });
  addEventListener("pointermove", (event) => {
    if (!grip) return;
    move(event.clientX - grip[0], event.clientY - grip[1]);
    grip = [event.clientX, event.clientY];
  });
  addEventListener("pointerup", () => (grip = null));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, select, textarea")) return;
    const steps = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    if (event.key === "+" || event.key === "=") by(1.5);
    else if (event.key === "-") by(1 / 1.5);
    else if (event.key === "0" && scale > 1) reset();
    else if (scale > 1 && steps[event.key]) {
      event.preventDefault();
      move(...steps[event.key]);
    }
  });
  return reset;
}
