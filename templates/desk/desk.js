// Updates the desk's pages. Every page works without this script. With it, a page that changed on the server is
// fetched again, and only the elements that differ are replaced, so that typing and reading are not disturbed.

const top_ = document.querySelector(".top");
const base = document.body.dataset.base;
const skew = Number(document.body.dataset.now) - Date.now() / 1000;
// The conversations that the page shows: see js/talk.js. The parts in js/ and this file are served as one.
const talks = [];
// Only the desk's pages contain the token, so other scripts on this origin are refused.
const csrfHeader = { "X-Clew-Csrf": document.querySelector('input[name="csrf"]')?.value ?? "" };

// -- durations

function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86400) {
    const minutes = Math.floor((whole % 3600) / 60);
    return `${Math.floor(whole / 3600)} h${minutes ? ` ${minutes} min` : ""}`;
  }
  const days = Math.floor(whole / 86400);
  return `${days} day${days === 1 ? "" : "s"}`;
}

function tick() {
  const now = Date.now() / 1000 + skew;
  for (const node of document.querySelectorAll("[data-since]")) {
    const shown = span(now - Number(node.dataset.since));
    if (node.textContent !== shown) node.textContent = shown;
  }
  for (const node of document.querySelectorAll("[data-until]")) {
    const left = Number(node.dataset.until) - now;
    node.textContent = span(left > 60 ? Math.ceil(left / 60) * 60 : Math.ceil(left));
    // What can be undone until then, can be undone no more.
    if (left <= 0) node.closest("form")?.remove();
  }
  for (const node of document.querySelectorAll("[data-late]")) {
    node.classList.toggle("late", now > Number(node.dataset.late));
  }
}

// -- showing a fetched page

function merge(region, fresh) {
  const old = new Map([...region.children].filter((c) => c.id).map((c) => [c.id, c]));
  const children = [...fresh.children].map((child) => {
    const same = child.id ? old.get(child.id) : undefined;
    // A countdown differs each time, and somebody may be choosing a reason in it.
    if (same !== undefined && (same.isEqualNode(child) || same.matches(".undo"))) return same;
    if (same === undefined && region.matches(".messages")) child.classList.add("new");
    return document.importNode(child, true);
  });
  const chosen = new Set([...region.querySelectorAll("input:checked")].map((input) => input.value));
  const focused = document.activeElement;
  const inside = region.contains(focused) ? focused.getAttribute("href") : null;
  region.replaceChildren(...children);
  for (const input of region.querySelectorAll("input[type=checkbox]")) input.checked = chosen.has(input.value);
  if (inside !== null && !region.contains(document.activeElement)) {
    [...region.querySelectorAll("a")].find((a) => a.getAttribute("href") === inside)?.focus();
  }
}

function show(page) {
  const following = talks.filter((talk) => talk.atEnd);
  for (const mark of document.querySelectorAll(".messages .seen")) mark.remove();
  for (const region of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(region.id);
    if (fresh !== null) merge(region, fresh);
    if (fresh?.dataset.seen > Number(region.dataset.seen)) region.dataset.seen = fresh.dataset.seen;
  }
  const waiting = Number(document.getElementById("inbox-title")?.dataset.waiting);
  document.title = page.title || (waiting ? `(${waiting}) ` : "") + document.title.replace(/^\(\d+\) /, "");
  tick();
  tellOfWaiting();
  for (const talk of following) talk.toEnd();
  for (const talk of talks) talk.marks();
}

async function pageOf(response) {
  // After a logout, every request is redirected to the login page.
  if (new URL(response.url).pathname === `${base}/login`) location.reload();
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

let refreshing = false;
let refreshQueued = null;

// The page, or the inbox alone.
async function refresh(whole = true) {
  if (document.querySelector("[data-live]") === null) return;
  // A conversation that was taken or given is a column there.
  if (side || document.querySelector("[data-whole]") !== null) whole = true;
  if (refreshing) {
    refreshQueued = refreshQueued === true || whole;
    return;
  }
  refreshing = true;
  try {
    // The query selects a part of the inbox. `order` shows a result once only.
    const query = new URLSearchParams(location.search);
    query.delete("order");
    if (!whole) query.set("current", top_.dataset.conversation);
    const path = whole ? location.pathname : `${base}/lines`;
    const response = await fetch(`${path}?${query}`, { headers: { Accept: "text/html", ...csrfHeader } });
    const page = await pageOf(response);
    if (response.ok) show(page);
    if (response.ok) syncPresence(page);
    if (response.ok && side) syncColumns(page);
  } catch {
    // The stream reports the next change, or that the connection is lost.
  } finally {
    refreshing = false;
    if (refreshQueued !== null) {
      const next = refreshQueued;
      refreshQueued = null;
      refresh(next);
    }
  }
}

// -- the stream

function pulse(live) {
  const node = document.getElementById("pulse");
  node.hidden = false;
  node.querySelector(".dot").classList.toggle("on", live);
  const label = document.getElementById("pulse-text");
  const words = live ? "live" : "connecting …";
  if (label.textContent !== words) label.textContent = words;
}

function listen() {
  const query = new URLSearchParams({ mark: top_.dataset.mark, key: top_.dataset.key });
  for (const talk of talks) query.append("conversation", talk.id);
  const stream = new EventSource(`${base}/stream?${query}`);
  stream.addEventListener("open", () => pulse(true));
  stream.addEventListener("message", (event) => {
    top_.dataset.mark = event.lastEventId;
    const message = JSON.parse(event.data);
    for (const talk of talks) if (talk.id === message.conversation) talk.append(message);
    tellOfMessage(message);
  });
  stream.addEventListener("changed", (event) => {
    top_.dataset.mark = event.lastEventId;
    refresh(JSON.parse(event.data).includes("page"));
  });
  for (const kind of ["typing", "seen"]) {
    stream.addEventListener(kind, (event) => {
      const sign = JSON.parse(event.data);
      for (const talk of talks) if (talk.id === sign.conversation) talk[kind](sign);
    });
  }
  stream.addEventListener("page", showPage);
  stream.addEventListener("callbacks", () => {
    if (document.getElementById("callbacks-waiting") !== null) refresh();
  });
  stream.addEventListener("error", () => {
    pulse(false);
    // Browsers reconnect by themselves only after a network error, not after an error status: a restart, or
    // the end of the session.
    if (stream.readyState === EventSource.CLOSED) {
      setTimeout(() => {
        refresh();
        listen();
      }, 5000);
    }
  });
}
