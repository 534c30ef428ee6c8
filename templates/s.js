// Sends files of the visitor, shows the agent its page, and opens pages that the agent proposes. The widget imports
// it when the first file is chosen, dropped or pasted, and when an agent asks.

const TEXTS = "clew:texts";
const SHEET = new CSSStyleSheet();
SHEET.replaceSync(`
  .text img { display: block; width: auto; max-width: 100%; height: auto; max-height: 240px; border-radius: 8px; }
  .upload { margin: 0; padding: 4px 16px; font-size: 13px; overflow-wrap: anywhere; }
  .upload.wrong { color: var(--wrong); }
  .row > .start { margin: 6px 6px 0 0; }
  .sharing { margin: 0; padding: 8px 16px; background: var(--soft); font-size: 13px; }
  .sharing .start { margin: 4px 0 0; min-height: 32px; padding: 0 14px; font-size: 13px; }
  .launcher.shares { outline: 3px solid var(--wrong); outline-offset: 2px; }
`);

/** Gives the chat the look of what this file adds. */
function dress(panel) {
  const root = panel.node.getRootNode();
  const sheets = root.adoptedStyleSheets ?? [];
  if (!sheets.includes(SHEET)) root.adoptedStyleSheets = [...sheets, SHEET];
}

const AGAIN = 3; // attempts in all, where the connection breaks
const PAUSE = 2000; // ms between them

/** Sends files one after the other, and shows how far they are above the chat's field. */
export class Uploads {
  /** `talk` gets what was sent. */
  constructor(base, talk) {
    this.base = base;
    this.talk = talk;
    this.last = Promise.resolve();
  }

  /** Sends `files` into the conversation that `panel` shows; `rule` as for a message. */
  send(files, panel, rule) {
    for (const file of files) {
      this.last = this.last.then(() => this.one(file, panel, rule));
      rule = null;
    }
  }

  async one(file, panel, rule) {
    dress(panel);
    const line = document.createElement("p");
    line.className = "upload";
    line.setAttribute("role", "status");
    panel.notice.after(line);
    const show = (text) => (line.textContent = `${file.name}: ${text}`);
    show(panel.texts.sending);
    const { megabytes } = panel.files;
    let problem = file.size > megabytes * 2 ** 20 ? "size" : null;
    if (!problem) problem = await this.attempts(file, rule, (part) => show(`${Math.round(100 * part)} %`));
    if (!problem) {
      line.remove();
      return;
    }
    line.classList.add("wrong");
    const said = { type: "file_kinds", size: "file_kinds", lies: "file_lies", many: "file_many", full: "file_many" };
    show((TEXTS[said[problem]] ?? TEXTS.file_failed).replace("{megabytes}", megabytes));
    // It stays until the visitor goes on.
    panel.node.addEventListener("pointerdown", () => line.remove(), { once: true });
    panel.field.addEventListener("input", () => line.remove(), { once: true });
  }

  // The same id each time: what has arrived although the answer was lost is not taken again.
  async attempts(file, rule, progress) {
    const client = crypto.getRandomValues(new Uint32Array(4)).join("-");
    for (let left = AGAIN; left > 0; left -= 1) {
      const { status, answer } = await this.post(file, client, rule, progress);
      if (status === 200 || status === 201) {
        this.talk.sent(answer);
        return null;
      }
      if (status && status !== 503) return answer?.reason ?? (status === 429 ? "many" : "failed");
      if (left > 1) await new Promise((done) => setTimeout(done, PAUSE));
    }
    return "failed";
  }

  // `fetch` tells no progress of what it sends.
  post(file, client, rule, progress) {
    const query = new URLSearchParams({ client_id: client, language: this.talk.language });
    if (rule) query.set("rule", rule);
    return new Promise((done) => {
      const request = new XMLHttpRequest();
      request.open("POST", `${this.base}files?${query}`);
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.setRequestHeader("X-Clew-Name", encodeURIComponent(file.name.toWellFormed?.() ?? file.name).slice(0, 900));
      request.responseType = "json";
      request.upload.addEventListener("progress", ({ loaded, total }) => progress(loaded / total));
      request.addEventListener("loadend", () => done({ status: request.status, answer: request.response }));
      request.send(file);
    });
  }
}

const MASK = "•••";
const SETTLED = 500; // ms until a page that has just changed is copied
const LEFT_OUT = "script,noscript,template,iframe,object,embed,audio,video,canvas,svg,link:not([rel=stylesheet]),clew-chat";

function button(text, act) {
  const node = document.createElement("button");
  Object.assign(node, { type: "button", className: "start", textContent: text });
  node.addEventListener("click", act);
  return node;
}

/** A file as a link; a picture is shown in it. */
function filed(base, { id, name, width, height }) {
  const link = document.createElement("a");
  Object.assign(link, { href: `${base}files/${id}`, target: "_blank", rel: "noopener" });
  if (width) {
    const picture = document.createElement("img");
    Object.assign(picture, { alt: name, width, height, loading: "lazy", src: link.href });
    link.append(picture);
  } else {
    link.download = name;
    link.append(name);
  }
  return link;
}

/** Shows files, asks the visitor what the agent asks, and shows its page as long as it agrees. */
export class Sharing {
  constructor(base, talk) {
    this.base = base;
    this.talk = talk;
    this.newest = 0;
    this.buttons = [];
  }

  /** Adds to the row of an entry what can be chosen. */
  show(entry, panel) {
    dress(panel);
    const row = panel.log.rows.get(entry);
    if (entry.file) row?.querySelector(".text").replaceChildren(filed(this.base, entry.file));
    if (entry.open) row?.append(button(TEXTS.open_yes, () => location.assign(entry.open.url)));
    if (!entry.cobrowsing || entry.id < this.newest) return;
    this.newest = entry.id;
    this.panel = panel;
    for (const old of this.buttons) old.remove();
    this.buttons = [];
    const { state } = entry.cobrowsing;
    if (state === "asked" && row) {
      this.buttons = [
        button(TEXTS.cobrowsing_yes, () => this.answer("on")),
        button(TEXTS.cobrowsing_no, () => this.answer("off")),
      ];
      row.append(...this.buttons);
      panel.log.toEnd();
    }
    if (state === "on") this.page();
    else this.ended();
  }

  async answer(state) {
    for (const one of this.buttons) one.disabled = true;
    const client = crypto.getRandomValues(new Uint32Array(4)).join("-");
    const { language } = this.talk;
    // The answer comes back as a message, to all tabs.
    const response = await this.post("cobrowsing", { state, client_id: client, language }).catch(() => null);
    if (!response?.ok) for (const one of this.buttons) one.disabled = false;
    if (response?.status === 409) this.ended();
  }

  post(path, body) {
    const headers = { "Content-Type": "application/json" };
    return fetch(this.base + path, { method: "POST", headers, body: JSON.stringify(body) });
  }

  ended() {
    this.bar?.remove();
    this.bar = null;
    this.mark(false);
  }

  // Seen also while the chat is minimised.
  mark(on) {
    const launcher = this.panel?.node.getRootNode().querySelector?.(".launcher");
    launcher?.classList.toggle("shares", on);
    if (launcher) launcher.title = on ? TEXTS.cobrowsing_on : "";
  }

  began() {
    if (this.bar?.isConnected) return;
    this.ended();
    this.bar = document.createElement("p");
    this.bar.className = "sharing";
    this.bar.setAttribute("role", "status");
    this.bar.append(TEXTS.cobrowsing_on, " ", button(TEXTS.cobrowsing_stop, () => this.answer("off")));
    this.panel.notice.before(this.bar);
    this.mark(true);
  }

  /** Sends a copy of the page, if the visitor still shows it and this one may be shown. */
  page() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send().catch(() => {}), SETTLED);
  }

  async send() {
    const url = location.href;
    const response = await fetch(`${this.base}cobrowsing?url=${encodeURIComponent(url)}`, { cache: "no-store" });
    const { state, page, mask } = await response.json();
    if (state !== "on") {
      this.ended();
      return;
    }
    this.began();
    if (page) await this.post("cobrowsing/page", { url, html: copied(mask) });
  }
}

// What is typed, and what is to be masked, never leaves the browser. The server does the rest.
function copied(mask) {
  const root = document.documentElement.cloneNode(true);
  for (const node of root.querySelectorAll(LEFT_OUT)) node.remove();
  for (const selector of ["[data-clew-mask]", ...mask]) {
    try {
      for (const node of root.querySelectorAll(selector)) node.textContent = MASK;
    } catch {
      // A selector that this browser does not know: the server masks by it.
    }
  }
  for (const node of root.querySelectorAll("input:not([type=submit],[type=button],[type=reset])")) {
    node.removeAttribute("value");
    node.removeAttribute("checked");
  }
  for (const node of root.querySelectorAll("textarea,select,[contenteditable]")) node.textContent = "";
  const holder = document.createElement("div");
  holder.append(root);
  return `<!doctype html>${holder.getHTML()}`;
}
