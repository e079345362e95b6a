// The review queue at keyboard speed. A review is kept here until the server has stored it, so that
// it survives a server that is down, an expired session and a closed window. With its token, a
// repeated request is the same review.
import { hasModifier, isTyping, marksToggle } from "./gallery.js";
import { zoomable } from "./zoom.js";

const byId = (id) => document.getElementById(id);
const root = byId("review");
const OUTBOX = `lfv-outbox-${root.dataset.name}`, DRAFT = "lfv-draft-";
const FEW = 2, LOOK = 250, SAID = { accept: "accepted", reject: "rejected", unsure: "unsure" };
const UNDO = matchMedia("(pointer: coarse)").matches ? "Undo takes it back" : "z undoes";
const OUTCOMES = { accept: "accepted", reject: "rejected", review: "to review" };
const number = () => crypto.randomUUID?.().replaceAll("-", "") ||
  [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
const page = number();
let formToken = document.querySelector("meta[name=form-token]").content;
let parts = [], current = null, again = root.dataset.again === "yes", done = 0, loading = null, waiting = 0, known = 0;
let shownAt = 0;
const history = [], decided = new Set();

const outbox = {
  read: () => JSON.parse(localStorage.getItem(OUTBOX) || "[]"),
  write: (all) => localStorage.setItem(OUTBOX, JSON.stringify(all)),
  add: (one) => outbox.write([...outbox.read(), one]),
  remove: (token) => outbox.write(outbox.read().filter((one) => one.token !== token)),
};

class Failed extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function post(address, fields) {
  const answer = await fetch(address, {
    method: "POST",
    headers: {
      accept: "application/json",
      "content-type": "application/x-www-form-urlencoded",
      "x-form-token": formToken,
    },
    body: new URLSearchParams(fields),
  });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Failed(answer.status, body.error || `error ${answer.status}`);
  return body;
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Sends until it is stored or refused; waits while the server is down or the session has expired.
async function persistently(address, fields) {
  for (let tries = 0; ; tries++) {
    try {
      return await post(address, typeof fields === "function" ? fields() : fields);
    } catch (error) {
      if (error.status === 401) await logIn();
      else if (!error.status || error.status === 503) {
        byId("sending").textContent = "the server is unavailable; trying again";
        await pause(Math.min(5000, 300 * 2 ** Math.min(tries, 5)));
      } else throw error;
    }
  }
}

let loggingIn = null;
function logIn() {
  loggingIn ??= new Promise((resolve) => {
    const dialog = byId("login"), form = byId("login-form"), problem = byId("login-problem");
    const submit = async (event) => {
      event.preventDefault();
      const fields = new URLSearchParams(new FormData(form));
      form.elements.password.value = "";
      try {
        // The login page contains the visitor's form token.
        const text = await (await fetch("/login")).text();
        const fresh = new DOMParser().parseFromString(text, "text/html");
        formToken = fresh.querySelector("meta[name=form-token]").content;
        formToken = (await post("/login", fields)).form_token;
        for (const field of document.querySelectorAll("[name=form_token]")) field.value = formToken;
      } catch (error) {
        problem.hidden = false;
        problem.textContent = error.message;
        return;
      }
      form.removeEventListener("submit", submit);
      dialog.close();
      loggingIn = null;
      resolve();
    };
    form.addEventListener("submit", submit);
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.showModal();
  });
  return loggingIn;
}

function notice(text) {
  const note = document.createElement("p");
  note.className = "note bad";
  note.textContent = text;
  byId("notices").replaceChildren(note);
  setTimeout(() => note.remove(), 12000);
}

let sending = false;
async function send() {
  if (sending) return;
  sending = true;
  for (let all; (all = outbox.read()).length; ) {
    const [one] = all;
    byId("sending").textContent = `sending ${all.length}`;
    try {
      const { name, ...fields } = one;
      await persistently("/review/record", fields);
    } catch (error) {
      notice(`${one.name}: ${error.message}`);
      byId("last").textContent = "";
      decided.delete(one.inspection);
      const place = history.findIndex((it) => it.token === one.token);
      if (place >= 0) history.splice(place, 1);
      done = Math.max(0, done - 1);
    }
    outbox.remove(one.token);
    count();
  }
  byId("sending").textContent = "";
  sending = false;
}

function count() {
  byId("done").textContent = `${done} done`;
  byId("waiting").textContent = `${Math.max(0, waiting)} to review`;
}

async function load() {
  loading ??= persistently("/review/claim", () => ({
    window: page, run: root.dataset.run, show: root.dataset.show, again: again ? "yes" : "",
    count: parts.length ? "" : "yes",
  }))
    .then((found) => {
      const queued = new Set(parts.map((part) => part.inspection));
      const fresh = found.parts.filter(
        (part) => !queued.has(part.inspection) && !decided.has(part.inspection) &&
          part.inspection !== current?.inspection,
      );
      parts.push(...fresh);
      if (found.waiting !== null) {
        waiting = found.waiting - outbox.read().length;
        known = found.known;
      }
      for (const part of fresh) new Image().src = part.image;
      count();
    })
    .catch((error) => notice(error.message))
    .finally(() => (loading = null));
  return loading;
}

async function next() {
  current = null;
  if (!parts.length) {
    // The last review must be stored before the queue is read.
    while (outbox.read().length && sending) await pause(30);
    await load();
  } else if (parts.length <= FEW) load();
  show(parts.shift() || null);
}

function chips(holder, items) {
  holder.replaceChildren(
    ...items.map(([text, color, bold]) => {
      const chip = document.createElement("span");
      chip.className = "chip";
      if (color && /^#[0-9a-f]{6}$/i.test(color)) {
        const swatch = document.createElement("i");
        swatch.className = "swatch";
        swatch.style.background = color;
        chip.append(swatch);
      }
      if (bold) {
        const name = document.createElement("b");
        name.textContent = `${bold} `;
        chip.append(name);
      }
      chip.append(text);
      return chip;
    }),
  );
}

// With second looks, two people may disagree, so a part may be open although nobody was unsure.
function leftOver(parts) {
  const number = `${parts} ${parts === 1 ? "part" : "parts"}`, it = parts === 1 ? "it" : "them";
  const what = root.dataset.secondLooks
    ? `${number} that you have looked at ${parts === 1 ? "is" : "are"} still undecided`
    : `You left ${number} unsure`;
  return `Nothing else is left for you. ${what}: look at ${it} again, or leave ${it} to a colleague.`;
}

// A part's name in messages: its serial number, else its file name.
const titleOf = (part) => part.serial?.[1] ?? part.name;
const percent = (share, digits) => `${(share * 100).toFixed(digits)} %`;
const resetZoom = zoomable(byId("stage"));

// From here on, the part can be decided on: its picture, or the reason for none, is visible.
async function inSight(part) {
  await pause(Math.max(0, shownAt + LOOK - performance.now()));
  if (part === current) byId("part").dataset.inSight = "yes";
}

function show(part) {
  current = part;
  shownAt = performance.now();
  delete byId("part").dataset.inSight;
  byId("part").hidden = !part;
  byId("empty").hidden = Boolean(part);
  resetZoom();
  if (!part) {
    byId("empty-text").textContent = known ? leftOver(known) : "Nothing is left to review.";
    byId("again").hidden = !known;
    byId("look").focus();
    return;
  }
  const image = byId("image"), marks = byId("marks");
  byId("gone").hidden = true;
  image.hidden = false;
  image.src = part.image;
  image.alt = part.name;
  // A picture that cannot be loaded causes an error event; its text calls inSight().
  image.decode().catch(() => image.naturalWidth || Promise.reject()).then(() => inSight(part), () => {});
  marks.hidden = !part.marks;
  if (part.marks) marks.src = part.marks;
  else marks.removeAttribute("src");
  byId("name").textContent = part.name;
  byId("serial").hidden = !part.serial;
  if (part.serial) {
    const name = document.createElement("span");
    name.className = "soft";
    name.textContent = part.serial[0];
    const value = document.createElement("b");
    value.textContent = part.serial[1];
    byId("serial").replaceChildren(name, " ", value);
  }
  byId("answer").textContent =
    `The model: ${part.is_anomalous ? "anomaly" : "normal"}, ${percent(part.confidence, 1)}`;
  byId("said").hidden = !part.unsure;
  if (part.unsure)
    byId("said").textContent =
      `unsure by ${part.unsure.by}${part.unsure.said ? `: ${part.unsure.said}` : ""}`;
  byId("also").hidden = !part.also.length;
  byId("also").textContent =
    `The same picture, with the same answer, is in the queue ${part.also.length} more ` +
    `${part.also.length === 1 ? "time" : "times"}, from other runs or lines: your review counts ` +
    "for all of them.";
  chips(byId("anomalies"), part.anomalies.map((one) =>
    [`${one.name} ${percent(one.area, 2)} of the image`, one.color]));
  byId("why-title").textContent = `The limits: ${OUTCOMES[part.verdict]}, because`;
  byId("why").replaceChildren(...part.reasons.map((reason) => {
    const item = document.createElement("li");
    item.textContent = reason;
    return item;
  }));
  chips(byId("attributes"), part.attributes.map(([name, value]) => [value, null, name]));
  byId("good").hidden = !part.good;
  if (part.good) {
    byId("good-image").src = `/image/${part.good}`;
    byId("good-title").textContent = part.good_title;
  }
  const draft = JSON.parse(sessionStorage.getItem(DRAFT + part.inspection) || "{}");
  byId("comment").value = draft.comment || "";
  for (const radio of document.querySelectorAll("[name=reason]"))
    radio.checked = radio.value === draft.reason;
  document.activeElement?.blur();
}

const chosenReason = () => document.querySelector("[name=reason]:checked")?.value || "";
function keepDraft() {
  if (!current) return;
  const draft = { comment: byId("comment").value, reason: chosenReason() };
  sessionStorage.setItem(DRAFT + current.inspection, JSON.stringify(draft));
}

async function decide(answer) {
  if (!current || document.querySelector("dialog[open]")) return;
  if (!byId("part").dataset.inSight) {
    // A repeated key belongs to the part before.
    if (performance.now() > shownAt + 2 * LOOK)
      notice("The picture is still loading: decide when you see it.");
    return;
  }
  const part = current;
  const one = {
    inspection: part.inspection,
    answer,
    token: number(),
    seen: part.seen,
    window: page,
    reason: chosenReason(),
    comment: byId("comment").value.trim(),
    overlay: document.body.classList.contains("unmarked") ? "no" : "yes",
    compared: part.good || "",
    also: part.also.join(","),
    name: titleOf(part),
  };
  if (root.dataset.signatures) {
    const { name, ...fields } = one;
    if (!(await signed("review", `${answer}, ${name}`, "/review/record", fields))) return;
  } else {
    outbox.add(one);
    send();
  }
  sessionStorage.removeItem(DRAFT + part.inspection);
  const { inspection, token, name, reason, comment } = one;
  const places = 1 + part.also.length;
  history.push({ inspection, token, name, places, draft: JSON.stringify({ reason, comment }) });
  decided.add(part.inspection);
  done += 1;
  waiting -= answer === "unsure" && !root.dataset.show ? 0 : places;
  count();
  byId("last").textContent = `${name}: ${SAID[answer]} (${UNDO})`;
  await next();
}

// A signature: the password is sent with the review and not stored. Resolves to the server's answer,
// or to null if nothing was signed.
function signed(kind, what, address, fields) {
  const dialog = byId("sign"), form = byId("sign-form");
  byId("sign-meaning").textContent = byId("sign-meaning").dataset[kind];
  byId("sign-what").textContent = what;
  return new Promise((resolve) => {
    const end = (result) => {
      form.elements.password.value = "";
      form.onsubmit = null;
      byId("sign-cancel").onclick = null;
      if (dialog.open) dialog.close();
      resolve(result);
    };
    form.onsubmit = async (event) => {
      event.preventDefault();
      try {
        end(await persistently(address, { ...fields, password: form.elements.password.value }));
      } catch (error) {
        notice(`${what}: ${error.message}`);
        end(null);
      }
    };
    byId("sign-cancel").onclick = () => end(null);
    dialog.oncancel = () => end(null);
    dialog.showModal();
  });
}

let undoing = false;
async function undo() {
  const last = history.at(-1);
  if (undoing) return;
  if (!last) {
    notice("There is nothing to undo here: z takes back what was reviewed since this page was " +
      "opened. An earlier review is changed on the page of its part.");
    return;
  }
  undoing = true;
  while (outbox.read().length && sending) await pause(30);
  if (history.at(-1) === last) {
    const fields = { inspection: last.inspection, token: number(), window: page };
    try {
      const found = root.dataset.signatures
        ? await signed("undo", last.name, "/review/undo", fields)
        : await persistently("/review/undo", fields);
      if (!found) return (undoing = false);
      history.pop();
      decided.delete(last.inspection);
      done = Math.max(0, done - 1);
      waiting += last.places;
      sessionStorage.setItem(DRAFT + last.inspection, last.draft);
      if (current) parts.unshift(current);
      count();
      byId("last").textContent = `${last.name}: the review is taken back`;
      show(found.part);
    } catch (error) {
      notice(error.message);
    }
  }
  undoing = false;
}

const toggle = marksToggle(byId("overlays"));
for (const answer of Object.keys(SAID)) byId(answer).addEventListener("click", () => decide(answer));
byId("undo").addEventListener("click", undo);
byId("look").addEventListener("click", next);
byId("comment").addEventListener("input", keepDraft);
byId("reasons").addEventListener("change", keepDraft);
byId("image").addEventListener("error", async () => {
  const part = current;
  if (!part) return;
  let text = `The image is gone. Its SHA-256 was ${part.sha256}.`;
  try {
    const answer = await fetch(part.image, { headers: { accept: "application/json" } });
    if (!answer.ok) text = (await answer.json()).error || text;
  } catch {
    // The text above remains.
  }
  if (part !== current) return;
  byId("image").hidden = byId("marks").hidden = true;
  byId("gone").hidden = false;
  byId("gone").textContent = text;
  inSight(part);
});
byId("good-image").addEventListener("error", () => (byId("good").hidden = true));

const keys = { a: () => decide("accept"), r: () => decide("reject"), u: () => decide("unsure"),
  z: undo, o: toggle };
document.addEventListener("keydown", (event) => {
  if (hasModifier(event) || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") return document.activeElement?.blur();
  if (isTyping(event) && event.target.type !== "radio") return;
  if (event.repeat) return;
  if (keys[event.key]) keys[event.key]();
  else if (event.key === "c") {
    event.preventDefault();
    byId("comment").focus();
  } else if (/^[n1-9]$/.test(event.key)) {
    const radio = document.querySelector(`[data-key="${event.key}"]`);
    if (radio) {
      radio.checked = !radio.checked;
      keepDraft();
    }
  }
});
addEventListener("pagehide", () => {
  const fields = new URLSearchParams({ window: page, form_token: formToken });
  if (!outbox.read().length) navigator.sendBeacon("/review/release", fields);
});
// A part stays with its reviewer while it is shown.
setInterval(() => current && !document.hidden && load(), 120000);

count();
send();
next();
