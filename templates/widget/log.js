// The messages as the visitor sees them.

const RUN = 300; // s between two messages of one author that stand under one heading
const LINK = /https?:\/\/[^\s<>"']+/gi;

/**
 * Text as nodes, with the addresses in it as links. Only http and https, only what `URL` can read. Links into
 * the shop open in the same tab, where the chat goes on; others in a new one.
 */
function linked(text) {
  const nodes = [];
  let end = 0;
  for (const found of text.matchAll(LINK)) {
    const address = found[0].replace(/[.,;:!?)\]}…»]+$/, "");
    const url = parsed(address);
    if (!url) continue;
    const link = element("a", { href: url.href, rel: "noopener noreferrer" }, address);
    if (url.origin !== location.origin) link.setAttribute("target", "_blank");
    nodes.push(text.slice(end, found.index), link);
    end = found.index + address.length;
  }
  return [...nodes, text.slice(end)];
}

function parsed(address) {
  try {
    return new URL(address);
  } catch {
    return null;
  }
}

class Log {
  /** `retry` is called with an entry that the visitor wants sent again. */
  constructor(texts, language, retry) {
    this.texts = texts;
    // The visitor's own country decides how a clock is read, if the language is theirs.
    this.locale = navigator.languages.find((tag) => tag.startsWith(language)) ?? language;
    this.retry = retry;
    this.rows = new Map();
    this.entries = new WeakMap(); // the reverse
    this.node = element("div", { class: "log", role: "log", "aria-label": texts.messages, tabindex: "0" });
  }

  /** What stands above all messages. */
  introduce(text) {
    this.introduction?.remove();
    this.introduction = element("div", { class: "row agent" }, element("p", { class: "text", dir: "auto" }, text));
    this.node.prepend(this.introduction);
  }

  /**
   * A new entry, before `next` or at the end. The log follows if its end was in view, and always for the
   * visitor's own.
   */
  add(entry, next) {
    const follows = entry.author === "visitor" || this.atEnd();
    const author = ["visitor", "agent"].includes(entry.author) ? entry.author : "system";
    const row = element("div", { class: `row ${author}` });
    if (author !== "system") row.append(this.heading(entry));
    const body = author === "agent" ? linked(entry.text) : [entry.text];
    row.append(element("p", { class: "text", dir: "auto" }, ...body));
    this.rows.set(entry, row);
    this.entries.set(row, entry);
    this.node.insertBefore(row, this.rows.get(next) ?? null);
    this.group(row);
    this.group(row.nextElementSibling);
    this.change(entry);
    if (follows) this.toEnd();
  }

  /** Shows what became of an entry. */
  change(entry) {
    const row = this.rows.get(entry);
    if (!row) return;
    row.querySelector(".fate")?.remove();
    const { sending, sending_at, failed, failed_until, retry } = this.texts;
    const time = entry.due && this.time(new Date(entry.due), { second: "2-digit" });
    if (entry.state === "sending") {
      row.append(element("p", { class: "fate" }, time ? fill(sending_at, { time }) : sending));
    }
    if (entry.state === "failed" || entry.state === "refused") {
      const again = element("button", { type: "button", class: "again" }, retry);
      again.addEventListener("click", () => this.retry(entry));
      const why = time ? fill(failed_until, { time }) : failed;
      row.append(element("p", { class: "fate wrong" }, why, " ", again));
      this.toEnd();
    }
  }

  /** Takes an entry out. */
  remove(entry) {
    const row = this.rows.get(entry);
    const next = row?.nextElementSibling;
    row?.remove();
    this.rows.delete(entry);
    this.group(next);
  }

  /** Scrolls to the newest message. */
  toEnd() {
    this.node.scrollTop = this.node.scrollHeight;
  }

  atEnd() {
    return this.node.scrollHeight - this.node.scrollTop - this.node.clientHeight < 40;
  }

  heading(entry) {
    const own = entry.author === "visitor";
    const who = own ? this.texts.you : entry.agent || this.texts.agent;
    const heading = element("p", { class: "heading" }, element("span", { class: own ? "said" : "who" }, who));
    const at = new Date(entry.at * 1000);
    if (Number.isFinite(at.getTime())) {
      heading.append(" ", element("time", { datetime: at.toISOString() }, this.time(at)));
    }
    return heading;
  }

  // Who speaks is always said, and shown where it changes.
  group(row) {
    const entry = this.entries.get(row);
    const previous = this.entries.get(row?.previousElementSibling);
    const goesOn =
      entry?.author === previous?.author && entry?.agent === previous?.agent && entry?.at - previous?.at < RUN;
    row?.querySelector(".heading")?.classList.toggle("said", goesOn);
  }

  time(at, more) {
    const today = at.toDateString() === new Date().toDateString();
    const day = today ? {} : { day: "numeric", month: "short" };
    return at.toLocaleString(this.locale, { ...day, hour: "2-digit", minute: "2-digit", ...more });
  }
}
