// Updates the desk's pages. Every page works without this script. With it, a page that changed on the server is
// fetched again, and only the elements that differ are replaced, so that typing and reading are not disturbed.

const top_ = document.querySelector(".top");
const base = document.body.dataset.base;
const skew = Number(document.body.dataset.now) - Date.now() / 1000;
const scroll = document.getElementById("scroll");
const form = document.getElementById("answer");
const text = document.getElementById("text");
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
  for (const node of document.querySelectorAll("[data-late]")) {
    node.classList.toggle("late", now > Number(node.dataset.late));
  }
}

// -- showing a fetched page

function atEnd() {
  return scroll !== null && scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
}

function toEnd() {
  if (scroll !== null) scroll.scrollTop = scroll.scrollHeight;
}

function merge(region, fresh) {
  const old = new Map([...region.children].filter((c) => c.id).map((c) => [c.id, c]));
  const children = [...fresh.children].map((child) => {
    const same = child.id ? old.get(child.id) : undefined;
    if (same !== undefined && same.isEqualNode(child)) return same;
    if (same === undefined && region.id === "messages") child.classList.add("new");
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
  const follow = atEnd();
  for (const region of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(region.id);
    if (fresh !== null) merge(region, fresh);
  }
  const waiting = Number(document.getElementById("inbox-title")?.dataset.waiting);
  document.title = page.title || (waiting ? `(${waiting}) ` : "") + document.title.replace(/^\(\d+\) /, "");
  tick();
  if (follow) toEnd();
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

// -- new messages

// As templates/desk/_messages.html has them.
function append(message) {
  const list = document.getElementById("messages");
  if (list === null || message.conversation !== top_.dataset.conversation) return;
  if (document.getElementById(`m${message.id}`) !== null) return;
  const item = document.createElement("li");
  item.id = `m${message.id}`;
  item.className = `message new by-${message.author}`;
  item.dataset.author = `${message.author}${message.agent ?? ""}`;
  const written = document.createElement("p");
  written.className = "text";
  written.dir = "auto";
  written.textContent = message.text;
  const last = [...list.querySelectorAll(".message")].at(-1);
  if (last?.dataset.author === item.dataset.author) item.classList.add("same-author");
  if (message.author !== "system") {
    const by = document.createElement("p");
    const name = document.createElement("b");
    const time = document.createElement("time");
    by.className = "by";
    const mine = message.agent === list.dataset.me;
    name.textContent = message.author === "visitor" ? list.dataset.visitor : mine ? "You" : message.agent;
    time.dateTime = new Date(message.at * 1000).toISOString();
    const zone = { timeZone: list.dataset.zone, hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
    time.textContent = new Intl.DateTimeFormat("en", zone).format(message.at * 1000);
    by.append(name, " ", time);
    item.append(by);
  }
  item.append(written);
  const follow = atEnd();
  list.append(item);
  if (follow) toEnd();
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
  const query = new URLSearchParams({
    mark: top_.dataset.mark,
    conversation: top_.dataset.conversation,
    key: top_.dataset.key,
  });
  const stream = new EventSource(`${base}/stream?${query}`);
  stream.addEventListener("open", () => pulse(true));
  stream.addEventListener("message", (event) => {
    top_.dataset.mark = event.lastEventId;
    append(JSON.parse(event.data));
  });
  stream.addEventListener("changed", (event) => {
    top_.dataset.mark = event.lastEventId;
    refresh(JSON.parse(event.data).includes("page"));
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

// -- answering

function showProblem(words) {
  const node = document.getElementById("answer-problem");
  node.textContent = words;
  node.hidden = !words;
}

async function send() {
  const button = form.querySelector(".primary");
  if (!text.value.trim() || button.disabled) return;
  button.disabled = true;
  showProblem("");
  try {
    const response = await fetch(form.action, {
      method: "POST",
      headers: csrfHeader,
      body: new URLSearchParams(new FormData(form)),
    });
    const page = await pageOf(response);
    if (response.ok) {
      text.value = "";
      // The next message needs a new id. A failed one keeps its id, so that it is not stored twice.
      document.getElementById("client-id").value = page.getElementById("client-id").value;
      show(page);
      toEnd();
    } else {
      showProblem(page.querySelector(".problem:not([hidden])")?.textContent || "Not sent. Try again.");
    }
  } catch {
    showProblem("Not sent: no connection to the server. Your text is kept; try again.");
  } finally {
    button.disabled = false;
    text.focus();
  }
}

if (form !== null) {
  document.getElementById("hint").hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  text.addEventListener("keydown", (event) => {
    // While an input method composes a word, Enter confirms the word.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    }
  });
  const canned = document.getElementById("canned");
  canned.addEventListener("click", (event) => {
    const button = event.target.closest("[data-canned]");
    if (button === null) return;
    const space = text.value && !/\s$/.test(text.value) ? " " : "";
    text.setRangeText(space + button.textContent, text.value.length, text.value.length, "end");
    canned.open = false;
    text.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && canned.open) {
      canned.open = false;
      text.focus();
    }
  });
}

if (top_ !== null) {
  toEnd();
  tick();
  setInterval(tick, 1000);
  // The pages that visitors look at change without an event of the stream.
  setInterval(() => document.hidden || refresh(), 30000);
  listen();
}
