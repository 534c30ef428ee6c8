// The list of messages.

const GROUP = 300; // maximum seconds between two messages of one author under one heading
const LINK = /https?:\/\/[^\s<>"']+/gi;
const OFFER = /\/o\/[\w-]{22}$/; // a link that an agent made, below its label

/**
 * Text as nodes, with its http and https URLs as links. Links to the shop open in the same tab, where the chat
 * continues; others open in a new one.
 */
function linked(text) {
  const nodes = [];
  let end = 0;
  for (const found of text.matchAll(LINK)) {
    const address = found[0].replace(/[.,;:!?)\]}…»]+$/, "");
    const url = parsed(address);
    if (!url) continue;
    const before = text.slice(end, found.index);
    const own = url.origin === location.origin;
    const label = own && OFFER.test(url.pathname) && /[^\n]+(?=\n$)/.exec(before);
    const link = element("a", { href: url.href, rel: "noopener noreferrer" }, label ? label[0] : address);
    if (label) link.className = "offer";
    if (!own) link.setAttribute("target", "_blank");
    nodes.push(label ? before.slice(0, label.index) : before, link);
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
    // The browser's own locale decides the format of times, if it has the same language.
    this.locale = navigator.languages.find((tag) => tag.startsWith(language)) ?? language;
    this.retry = retry;
    this.formats = {};
    this.rows = new Map();
    this.entries = new WeakMap(); // by row
    this.node = element("div", { class: "log", role: "log", "aria-label": texts.messages, tabindex: "0" });
    // Read out when a message has come, not each time that somebody touches a key.
    this.writing = element("p", { class: "writing", "aria-live": "off" });
    this.node.append(this.writing);
  }

  /** Shows a text above all messages. */
  introduce(text) {
    this.introduction?.remove();
    this.introduction = element("div", { class: "row agent" }, element("p", { class: "text", dir: "auto" }, text));
    this.node.prepend(this.introduction);
  }

  /**
   * Adds an entry, before `next` or at the end. Scrolls to the end if the end was visible, and for the
   * visitor's own messages.
   */
  add(entry, next) {
    // Of many that come together the first asks for the layout.
    this.ends ||= (entry.author === "visitor" || this.atEnd()) && requestAnimationFrame(() => this.toEnd());
    const author = ["visitor", "agent"].includes(entry.author) ? entry.author : "system";
    const row = element("div", { class: `row ${author}` });
    if (author !== "system") row.append(this.heading(entry));
    const body = author === "agent" ? linked(entry.text) : [entry.text];
    row.append(element("p", { class: "text", dir: "auto" }, ...body));
    this.rows.set(entry, row);
    this.entries.set(row, entry);
    this.node.insertBefore(row, this.rows.get(next) ?? this.writing);
    this.group(row);
    this.group(row.nextElementSibling);
    this.change(entry);
  }

  /** Updates the state of an entry. */
  change(entry) {
    const row = this.rows.get(entry);
    if (!row) return;
    row.querySelector(".status")?.remove();
    if (!this.mark?.parentNode) this.mark = null;
    const { sending, sending_at, failed, failed_until, retry, blocked } = this.texts;
    const time = entry.due && this.time(new Date(entry.due), { second: "2-digit" });
    if (entry.state === "sending") {
      row.append(element("p", { class: "status" }, time ? fill(sending_at, { time }) : sending));
    }
    if (entry.state === "failed" || entry.state === "refused") {
      const button = element("button", { type: "button", class: "retry" }, retry);
      button.addEventListener("click", () => this.retry(entry));
      const why = entry.blocked ? blocked : time ? fill(failed_until, { time }) : failed;
      row.append(element("p", { class: "status wrong" }, why, " ", button));
      this.toEnd();
    }
  }

  /** Shows below the visitor's newest message whether it was sent or read, and who writes. */
  report(seen, writing) {
    const sent = [...this.rows.keys()].filter((entry) => entry.author === "visitor" && entry.state === "sent");
    const newest = sent.reduce((one, other) => (other.id > (one?.id ?? 0) ? other : one), undefined);
    const row = this.rows.get(newest);
    const text = newest && (newest.id <= seen ? this.texts.read : this.texts.sent);
    if (this.mark?.parentNode !== row || this.mark?.textContent !== text) {
      this.mark?.remove();
      this.mark = row && element("p", { class: "status" }, text);
      row?.append(this.mark);
    }
    const agent = writing && (writing.agent || this.texts.agent);
    const line = agent ? fill(this.texts.writing, { agent }) : "";
    if (this.writing.textContent === line) return;
    const scrolls = this.atEnd();
    this.writing.textContent = line;
    if (scrolls) this.toEnd();
  }

  /** Removes an entry. */
  remove(entry) {
    const row = this.rows.get(entry);
    const next = row?.nextElementSibling;
    row?.remove();
    this.rows.delete(entry);
    this.group(next);
  }

  /** Scrolls to the newest message. */
  toEnd() {
    this.ends = 0;
    this.node.scrollTop = this.node.scrollHeight;
  }

  atEnd() {
    return this.node.scrollHeight - this.node.scrollTop - this.node.clientHeight < 40;
  }

  heading(entry) {
    const own = entry.author === "visitor";
    const who = own ? this.texts.you : entry.agent || this.texts.agent;
    const heading = element("p", { class: "heading" }, element("span", { class: own ? "said" : "who", dir: "auto" }, isolated(who)));
    const at = new Date(entry.at * 1000);
    if (Number.isFinite(at.getTime())) {
      heading.append(" ", element("time", { datetime: at.toISOString() }, this.time(at)));
    }
    return heading;
  }

  // The author is in each row for assistive technology, and visible where it changes.
  group(row) {
    const entry = this.entries.get(row);
    const previous = this.entries.get(row?.previousElementSibling);
    const sameGroup =
      entry?.author === previous?.author && entry?.agent === previous?.agent && entry?.at - previous?.at < GROUP;
    row?.querySelector(".heading")?.classList.toggle("said", sameGroup);
  }

  time(at, more) {
    const today = at.toDateString() === new Date().toDateString();
    const day = today ? {} : { day: "numeric", month: "short" };
    const how = { ...day, hour: "2-digit", minute: "2-digit", ...more };
    // To make one takes much longer than to use it.
    return (this.formats[JSON.stringify(how)] ??= new Intl.DateTimeFormat(this.locale, how)).format(at);
  }
}
