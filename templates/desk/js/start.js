// The last part: what runs when the page is loaded.

for (const root of document.querySelectorAll("[data-talk]")) {
  openTalk(root);
}

for (const hint of document.querySelectorAll(".hint")) hint.hidden = false;

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-canned]");
  const talk = button === null ? undefined : talks.find((one) => one.root.contains(button));
  if (talk === undefined) return;
  event.preventDefault();
  talk.insert(button.dataset.canned);
  button.closest("details").open = false;
  talk.text.focus();
});

document.addEventListener("keydown", (event) => {
  const open = event.key === "Escape" ? document.querySelector("details.canned[open]") : null;
  if (open === null) return;
  open.open = false;
  talks.find((one) => one.root.contains(open))?.text.focus();
});

// Half-written answers are gone with the session.
document.querySelector('form[action$="/logout"]')?.addEventListener("submit", () => {
  for (const key of Object.keys(sessionStorage)) if (key.startsWith("clew-draft ")) sessionStorage.removeItem(key);
});

if (top_ !== null && top_.dataset.key !== undefined) {
  tellOfWaiting();
  tick();
  setInterval(tick, 1000);
  // The pages that visitors look at change without an event of the stream.
  setInterval(() => document.hidden || refresh(), 30000);
  listen();
}
