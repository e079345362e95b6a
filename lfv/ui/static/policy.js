// Limits are tried while they are typed; prices are remembered by this browser.
const form = document.getElementById("limits");
const PRICES = "lfv-prices";
const prices = [...form.querySelectorAll("[data-price]")];
let waiting = 0, newest = 0;

// Input for saving or applying is kept when the result is replaced.
function keepTyped(from, to) {
  for (const field of from.querySelectorAll("input:not([type=hidden])")) {
    const action = field.form.getAttribute("action");
    const same = to.querySelector(`form[action="${action}"] [name="${field.name}"]`);
    if (same) same.value = field.value;
  }
  to.querySelector("details").open = from.querySelector("details").open;
}

async function attempt() {
  const mine = ++newest;
  const address = `${form.action}?${new URLSearchParams(new FormData(form))}`;
  try {
    const answer = await fetch(address, { headers: { accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const old = document.getElementById("trial"), fresh = page.getElementById("trial");
    if (mine !== newest || !fresh) return;
    keepTyped(old, fresh);
    old.replaceWith(fresh);
    history.replaceState(null, "", address);
  } catch {
    // The button still works.
  }
}

form.addEventListener("input", () => {
  const given = Object.fromEntries(prices.map((one) => [one.name, one.value]));
  localStorage.setItem(PRICES, JSON.stringify(given));
  clearTimeout(waiting);
  waiting = setTimeout(attempt, 300);
});

const known = JSON.parse(localStorage.getItem(PRICES) || "{}");
if (!new URLSearchParams(location.search).has("escape") && Object.values(known).some(Boolean)) {
  for (const one of prices) one.value = known[one.name] || "";
  attempt();
}
