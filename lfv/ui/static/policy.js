// Limits are tried while they are typed.
const form = document.getElementById("limits");
let waiting = 0, newest = 0;

async function attempt() {
  const mine = ++newest;
  const address = `${form.action}?${new URLSearchParams(new FormData(form))}`;
  try {
    const answer = await fetch(address, { headers: { accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("trial");
    if (mine !== newest || !fresh) return;
    document.getElementById("trial").replaceWith(fresh);
    history.replaceState(null, "", address);
  } catch {
    // The button still works.
  }
}

form.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(attempt, 300);
});
