// The desk by keyboard; the list of keys is in templates/desk/_keys.html.

const help = document.getElementById("keys");
const FIELDS = "input, textarea, select, [contenteditable]";

function go(path) {
  location.assign(`${base}${path}`);
}

// The agent's conversations, as the page lists them.
function ownTalks() {
  return [...document.querySelectorAll("#own-talks a[data-own]")];
}

function toTalk(link) {
  if (link === undefined) return;
  const here = talks.find((one) => one.id === link.dataset.own);
  if (here === undefined || talks.length === 1) link.click();
  else here.text.focus();
}

// The next one of them, or the one before, in a circle.
function step(by) {
  const links = ownTalks();
  const focused = talks.find((one) => one.root.contains(document.activeElement)) ?? talks[0];
  const at = links.findIndex((link) => link.dataset.own === focused?.id);
  toTalk(links[at < 0 ? (by > 0 ? 0 : links.length - 1) : (at + by + links.length) % links.length]);
}

function alongLines(by) {
  const links = [...document.querySelectorAll("#inbox .line a, #found .line a")];
  const at = links.findIndex((link) => link === document.activeElement || link.ariaCurrent === "page");
  links[at < 0 ? 0 : Math.min(Math.max(at + by, 0), links.length - 1)]?.focus();
}

const KEYS = {
  "?": () => help.showModal(),
  j: () => alongLines(1),
  k: () => alongLines(-1),
  n: () => document.querySelector("#inbox .line[data-unread] a, #inbox .line .waiting")?.closest("a").click(),
  i: () => go("/"),
  m: () => go("/talks"),
  s: () => go("/search"),
  r: () => talks[0]?.text.focus(),
  l: () => document.getElementById("tag")?.focus(),
};
for (let number = 1; number <= 9; number += 1) KEYS[number] = () => toTalk(ownTalks()[number - 1]);

document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.defaultPrevented || help === null) return;
  if (event.altKey && !event.ctrlKey && !event.metaKey && ["ArrowDown", "ArrowUp"].includes(event.key)) {
    event.preventDefault();
    step(event.key === "ArrowDown" ? 1 : -1);
    return;
  }
  if (event.altKey || event.ctrlKey || event.metaKey || help.open) return;
  if (event.target.closest(FIELDS) !== null) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  // WCAG 2.1.4: keys that are single characters can be turned off.
  if (top_.dataset.keys === "off" && event.key !== "?") return;
  const act = Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : undefined;
  if (act === undefined) return;
  event.preventDefault();
  act();
});

const opener = document.getElementById("keys-open");
if (opener !== null) {
  opener.hidden = false;
  opener.addEventListener("click", () => help.showModal());
}
