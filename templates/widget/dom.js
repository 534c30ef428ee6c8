// clew's widget: what the other parts are made with. There is no HTML text anywhere: elements are created,
// and text is text, so neither a Content-Security-Policy nor Trusted Types has anything to forbid.

const TEXTS = "clew:texts";
const STYLE = "clew:style";
const MEMORY = "clew";

/** An element with its attributes and children; a child that is a string becomes text. */
function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** A drawing of 24 by 24, one stroke, that assistive technology passes over. */
function icon(path) {
  const space = "http://www.w3.org/2000/svg";
  const drawing = document.createElementNS(space, "svg");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(space, "path");
  line.setAttribute("d", path);
  drawing.append(line);
  return drawing;
}

const ICONS = {
  chat: "M6 4.5h12a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2h-6.5l-4.5 4v-4H6a2 2 0 0 1-2-2v-8a2 2 0 0 1 2-2z",
  close: "M6 6l12 12M18 6L6 18",
  minimise: "M6 9.5l6 6 6-6",
  send: "M12 19.5v-15M5.5 11L12 4.5 18.5 11",
};

/** A button that shows an icon and says its label. */
function iconButton(name, label, act) {
  const button = element("button", { type: "button", class: name, "aria-label": label, title: label });
  button.append(icon(ICONS[name]));
  button.addEventListener("click", act);
  return button;
}

/** Calls `act` for Enter without Shift, unless an input method is composing (its Enter picks a candidate). */
function onEnter(field, act) {
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    act();
  });
}

/** One of the texts, its braces filled from `values`. */
function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (brace, name) => values[name] ?? brace);
}

/** Up to 43 characters that nobody can guess. */
function randomId() {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}

/** POSTs JSON; a request under way outlives the page. Rejects if there is no answer. */
function post(url, body) {
  return fetch(url, {
    method: "POST",
    keepalive: true,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

/** What the tab remembers from page to page: `open`, `draft`, `read` and `pending`. Storage may be forbidden. */
const memory = {
  read() {
    try {
      return JSON.parse(sessionStorage.getItem(MEMORY)) ?? {};
    } catch {
      return {};
    }
  },
  write(change) {
    try {
      sessionStorage.setItem(MEMORY, JSON.stringify({ ...memory.read(), ...change }));
    } catch {
      // The chat then begins anew on the next page.
    }
  },
};
