// A conversation on the page: its messages, the field for an answer, and what the visitor does meanwhile.

const TYPING_EVERY = 3000; // ms between two reports that the agent is writing
const TYPING_IDLE = 6000; // ms without a key after which it no longer is
const TYPING_SHOWN = 8000; // ms that a report of others is shown
const DRAFT = `clew-draft ${base} `;

function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function report(path, fields) {
  const body = new URLSearchParams({ csrf: csrfHeader["X-Clew-Csrf"], ...fields });
  // Nothing depends on it, and the next report says it again.
  return fetch(`${base}${path}`, { method: "POST", headers: csrfHeader, body, keepalive: true }).catch(() => null);
}

class Talk {
  constructor(root) {
    this.root = root;
    this.id = root.dataset.talk;
    this.scroll = root.querySelector(".scroll");
    this.list = root.querySelector(".messages");
    this.form = root.querySelector(".answer");
    this.text = this.form.querySelector("textarea");
    this.canned = new Canned(this);
    this.gaps = root.querySelector(".unfilled");
    this.over = this.form.querySelector(".over"); // asks before a colleague's conversation is taken over
    this.others = root.querySelector(".typing");
    this.told = 0; // the message up to which the server knows that the agent has read
    this.typingAt = -TYPING_EVERY;
    this.listen();
    this.restore();
    this.look();
    this.marks();
    this.toEnd();
    // A search leads to the message that it found.
    if (/^#m\d+$/.test(location.hash)) document.getElementById(location.hash.slice(1))?.scrollIntoView({ block: "center" });
  }

  listen() {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send(event.submitter?.name === "over" ? event.submitter : null);
    });
    this.text.addEventListener("keydown", (event) => {
      // While an input method composes a word, Enter confirms the word.
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing && !event.defaultPrevented) {
        event.preventDefault();
        this.send();
      }
    });
    this.text.addEventListener("input", () => {
      this.keep();
      this.look();
      this.writes();
    });
    for (const name of ["visibilitychange", "focusin"]) document.addEventListener(name, () => this.marks());
  }

  // -- messages

  get atEnd() {
    return this.scroll.scrollHeight - this.scroll.scrollTop - this.scroll.clientHeight < 80;
  }

  toEnd() {
    this.scroll.scrollTop = this.scroll.scrollHeight;
  }

  // As templates/desk/_messages.html has them.
  append(message) {
    const { list } = this;
    if (document.getElementById(`m${message.id}`) !== null) return;
    const item = document.createElement("li");
    item.id = `m${message.id}`;
    item.className = `message new by-${message.author}`;
    item.dataset.author = `${message.author}${message.agent ?? ""}`;
    const written = document.createElement("p");
    written.className = "text";
    written.dir = "auto";
    if (message.file) written.append(...shownFile(message.file, () => this.atEnd && this.toEnd()));
    else written.textContent = message.text;
    // What is asked and answered about the visitor's page stands beside the conversation, too.
    if (message.share) refresh();
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
    const follow = this.atEnd;
    list.append(item);
    if (message.author !== "agent" || message.agent !== list.dataset.me) this.typing({ typing: false });
    this.marks();
    if (follow) this.toEnd();
  }

  newest(author) {
    const found = [...this.list.querySelectorAll(`.by-${author}`)].at(-1);
    return found === undefined ? 0 : Number(found.id.slice(1));
  }

  // -- read marks

  // Marks the newest message that the visitor has read, and tells it what the agent reads now.
  marks() {
    const seen = Number(this.list.dataset.seen);
    const read = [...this.list.querySelectorAll(".by-agent")].filter((item) => Number(item.id.slice(1)) <= seen).at(-1);
    for (const item of this.list.querySelectorAll(".seen")) if (item.parentElement !== read) item.remove();
    if (read !== undefined && read.querySelector(".seen") === null) {
      const mark = document.createElement("p");
      mark.className = "seen";
      mark.textContent = "Seen";
      read.append(mark);
    }
    const newest = this.newest("visitor");
    if (!this.root.isConnected) return;
    if (newest > this.told && document.visibilityState === "visible" && document.hasFocus() && this.isLookedAt()) {
      this.told = newest;
      const unread = document.querySelector(`[data-own="${this.id}"] .unread-count, #line-${this.id}[data-unread]`);
      const told = report(`/conversations/${this.id}/seen`, { message: newest });
      if (unread !== null) told.then(() => refresh(false));
    }
  }

  // Of several on a page only the one where the agent is.
  isLookedAt() {
    return talks.length < 2 || this.root.contains(document.activeElement);
  }

  seen(sign) {
    if (sign.by !== "visitor") return;
    this.list.dataset.seen = Math.max(sign.message, Number(this.list.dataset.seen));
    this.marks();
  }

  // -- who is writing

  typing(sign) {
    if (sign.agent === this.list.dataset.me) return;
    clearTimeout(this.typingTimer);
    const follow = this.atEnd;
    const who = sign.agent ?? this.list.dataset.visitor;
    this.others.textContent = sign.typing ? (sign.text ? `${who} is writing: ${sign.text}` : `${who} is writing …`) : "";
    if (follow) this.toEnd();
    if (sign.typing) this.typingTimer = setTimeout(() => this.typing({ typing: false }), TYPING_SHOWN);
  }

  writes() {
    clearTimeout(this.idleTimer);
    if (!this.text.value.trim()) {
      this.rests();
      return;
    }
    this.idleTimer = setTimeout(() => this.rests(), TYPING_IDLE);
    const now = performance.now();
    if (now - this.typingAt < TYPING_EVERY) return;
    this.typingAt = now;
    report(`/conversations/${this.id}/typing`, { typing: 1 });
  }

  rests() {
    if (this.typingAt < 0) return;
    this.typingAt = -TYPING_EVERY;
    report(`/conversations/${this.id}/typing`, { typing: 0 });
  }

  // -- the answer; a half-written one is kept in this tab, also over a reload

  get clientId() {
    return this.form.elements.client_id;
  }

  keep() {
    try {
      if (this.text.value) {
        sessionStorage.setItem(DRAFT + this.id, JSON.stringify([this.clientId.value, this.text.value]));
      } else sessionStorage.removeItem(DRAFT + this.id);
    } catch {
      // Storage may be forbidden.
    }
  }

  restore() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(DRAFT + this.id));
      // What was sent without this script, and refused, stands in the field.
      if (kept === null || this.text.value) return;
      [this.clientId.value, this.text.value] = kept;
    } catch {
      // See `keep`.
    }
  }

  insert(words) {
    const space = this.text.value && !/\s$/.test(this.text.value) ? " " : "";
    this.text.setRangeText(space + words, this.text.value.length, this.text.value.length, "end");
    this.text.dispatchEvent(new InputEvent("input", { bubbles: true }));
  }

  // Says which placeholders have no value yet: they are not sent.
  look() {
    const gaps = unfilled(this.text.value);
    const words = gaps.length ? `Replace ${gaps.join(", ")}: the value is not known.` : "";
    if (this.gaps.textContent !== words) this.gaps.textContent = words;
  }

  problem(words) {
    const node = this.form.querySelector(".problem");
    node.textContent = words;
    node.hidden = !words;
  }

  // `submitter` is the button for taking the conversation over, if it was that.
  async send(submitter = null) {
    const button = this.form.querySelector(".primary");
    if (!this.text.value.trim() || button.disabled) return;
    const gap = unfilled(this.text.value)[0];
    if (gap !== undefined) {
      const at = this.text.value.indexOf(gap);
      this.text.focus();
      this.text.setSelectionRange(at, at + gap.length);
      return;
    }
    button.disabled = true;
    this.problem("");
    clearTimeout(this.idleTimer);
    this.typingAt = -TYPING_EVERY; // the message ends it
    try {
      const response = await fetch(this.form.action, {
        method: "POST",
        headers: csrfHeader,
        body: new URLSearchParams(new FormData(this.form, submitter)),
      });
      const page = await pageOf(response);
      this.over.replaceChildren(...(page.querySelector(".answer .over")?.childNodes ?? []));
      if (response.ok) {
        this.text.value = "";
        // The next message needs a new id. A failed one keeps its id, so that it is not stored twice.
        this.clientId.value = randomId();
        this.keep();
        this.look();
        if (top_.dataset.conversation === this.id) show(page);
        this.toEnd();
      } else if (response.status !== 409) {
        this.problem(page.querySelector(".problem:not([hidden])")?.textContent || "Not sent. Try again.");
      }
    } catch {
      this.problem("Not sent: no connection to the server. Your text is kept; try again.");
    } finally {
      button.disabled = false;
      (this.over.querySelector("button") ?? this.text).focus();
    }
  }
}
