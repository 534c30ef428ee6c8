// Helpers for the other parts of the widget. Elements are created without HTML text, so that neither a
// Content-Security-Policy nor Trusted Types can forbid it.

const TEXTS = "clew:texts"; // {language, direction, texts}
const STYLE = "clew:style";
const MEMORY = "clew";

/** An element with its attributes and children; a child that is a string becomes text. */
function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** An icon of 24 by 24 with one path, ignored by assistive technology. */
function icon(path) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(space, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

const ICONS = {
  chat: "M6 4.5h12a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2h-6.5l-4.5 4v-4H6a2 2 0 0 1-2-2v-8a2 2 0 0 1 2-2z",
  close: "M6 6l12 12M18 6L6 18",
  minimise: "M6 9.5l6 6 6-6",
  attach: "M19 11.5l-7 7a4.5 4.5 0 0 1-6.4-6.4l7.4-7.4a3 3 0 0 1 4.3 4.3l-7.3 7.3a1.5 1.5 0 0 1-2.2-2.2l6.5-6.4",
  send: "M12 19.5v-15M5.5 11L12 4.5 18.5 11",
  more: "M5 12h.01M12 12h.01M19 12h.01",
};

/** A button with an icon and a label for assistive technology. */
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

let plural = new Intl.PluralRules(TEXTS.language);

/** The text with values in place of its braces. Of plural forms it is the one for `count`. */
function fill(text, values) {
  const form = text.other ? (text[plural.select(values.count)] ?? text.other) : text;
  return form.replace(/\{(\w+)\}/g, (brace, name) => isolated(values[name] ?? brace));
}

const MARKS = /[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g; // that turn the direction of what follows
const LEFTWARDS = /[\u0590-\u08ff\ufb1d-\ufefc]/;

/** A text that stands in another one, so that it does not turn the direction of that. */
function isolated(text) {
  const plain = `${text}`.replace(MARKS, "");
  return LEFTWARDS.test(plain) ? `\u2068${plain}\u2069` : plain;
}

/** A random id of up to 43 characters. */
function randomId() {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}

/** POSTs JSON; the request continues if the page is left. Rejects if there is no response. */
function post(url, body) {
  return fetch(url, {
    method: "POST",
    keepalive: true,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

/** State of the tab, kept between pages: `open`, `draft`, `read`, `pending`, `sound`. Storage may be forbidden. */
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
      // Without storage the next page starts without this state.
    }
  },
};
