// Live parts of a page: fetched again while something is running.
const EVERY = 2500;

async function fetched(address) {
  const answer = await fetch(address, { headers: { accept: "text/html" } });
  if (!answer.ok) return null;
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

async function refresh(part) {
  try {
    const page = await fetched(part.dataset.live);
    const fresh = page && page.getElementById(part.id);
    if (fresh) {
      part.replaceWith(fresh);
      part = fresh;
    }
  } catch {
    // The server is down; retry at the next interval.
  }
  follow(part);
}

function follow(part) {
  if (!("running" in part.dataset)) return;
  setTimeout(() => (document.hidden ? follow(part) : refresh(part)), EVERY);
}

for (const part of document.querySelectorAll("[data-live]")) follow(part);

for (const part of document.querySelectorAll("[data-load]")) {
  fetched(part.dataset.load)
    .then((page) => page && part.replaceChildren(...page.body.children))
    .catch(() => {});
}
