// The conversation with the server: history, sending, the stream. Knows nothing of how it looks.

const ENTRIES = 300; // messages kept and shown, the newest
const PENDING = 20; // unsent messages carried over to the next page
const RESEND = [2000, 5000, 15000]; // ms between the tries to send one message
const PATIENCE = 120000; // ms that a message waits by itself for its turn when there were too many
const FOLLOW = [2000, 5000, 15000, 30000, 60000]; // ms between the tries to reach the server again
const POLL = 5000; // ms between looks while the stream is not open, as behind a proxy that holds streams up

/**
 * An entry is `{id, client, author, agent, text, at, rule, state, due}`: `id` is null until the server has it, `at`
 * in unix seconds, `state` one of sending, sent, failed and refused. `due` is the time, in ms, before which the
 * server takes no message, undefined where it has not said so.
 *
 * `heard` is told of what happens: `added(entry, next, live)`, `changed(entry)`, `removed(entry)` and `state()`.
 */
class Talk {
  constructor(base, heard) {
    this.base = base;
    this.language = "en";
    this.heard = heard;
    this.entries = [];
    this.state = "none";
    this.loaded = false;
    this.last = 0;
    this.failures = 0;
    this.arrived = 0; // messages of this page that the server has taken
    this.queue = [];
    this.carried = memory.read().pending ?? []; // unsent when the page before was left
    this.source = null;
    this.wanted = false;
    this.turned = () => (isHidden() ? this.disconnect() : this.follow());
    this.left = () => this.disconnect();
    this.back = (event) => event.persisted && this.follow();
  }

  /**
   * Minds whether the page is looked at. A browser gives a host six connections over HTTP/1.1, for all tabs
   * together: only a tab that is looked at holds one. Nor is a page with an open stream kept for the back button.
   */
  listen() {
    document.addEventListener("visibilitychange", this.turned);
    window.addEventListener("pagehide", this.left);
    window.addEventListener("pageshow", this.back);
  }

  /** Loads what was said and listens from there on, if there is a conversation. */
  start() {
    this.wanted = true;
    return this.follow();
  }

  /** Listens no more. */
  stop() {
    this.wanted = false;
    this.disconnect();
  }

  /** Takes a message of the visitor; it is sent after those before it. */
  send(text, rule = null) {
    const entry = this.own(text, rule, randomId());
    this.add(entry, true);
    this.deliver(entry);
  }

  /** Sends a failed message again. The server knows it by its `client` should it have come through after all. */
  resend(entry) {
    Object.assign(entry, { state: "sending", due: undefined });
    this.heard.changed(entry);
    this.deliver(entry);
  }

  own(text, rule, client) {
    const at = Date.now() / 1000;
    return { id: null, client, author: "visitor", agent: null, text, at, rule, state: "sending" };
  }

  // The first failure is usually a deploy or a tunnel, over before it could be read about.
  get trouble() {
    return this.failures > 1;
  }

  async follow() {
    if (!this.wanted || this.following || this.source?.readyState === EventSource.OPEN || isHidden()) return;
    this.following = true;
    const { arrived } = this;
    try {
      const response = await fetch(`${this.base}messages?after=${this.last}`, { cache: "no-store" });
      if (!response.ok) throw new Error(response.status);
      const { messages, state } = await response.json();
      for (const message of messages) this.receive(message);
      // A message that arrived meanwhile has opened the conversation that this answer does not know of.
      this.state = this.arrived > arrived ? "open" : state;
      this.failures = 0;
      if (!this.loaded) this.carryOver();
      this.loaded = true;
      // An agent who answers opens an ended conversation again.
      if (this.state === "none") this.disconnect();
      else this.connect();
    } catch {
      this.failures += 1;
      this.again(FOLLOW[Math.min(this.failures, FOLLOW.length) - 1]);
    }
    this.following = false;
    this.heard.state();
  }

  again(pause) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.follow(), pause);
  }

  connect() {
    if (!this.wanted || isHidden()) return;
    this.again(POLL);
    if (this.source) return;
    const source = new EventSource(`${this.base}stream?after=${this.last}`);
    source.addEventListener("open", () => clearTimeout(this.timer));
    source.addEventListener("message", (event) => this.streamed(event.data));
    source.addEventListener("error", () => {
      // A broken stream the browser opens again itself, with Last-Event-ID; another answer than a stream ends it.
      if (source.readyState === EventSource.CLOSED) this.disconnect();
      this.again(POLL);
    });
    this.source = source;
  }

  disconnect() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  streamed(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    this.receive(message);
    // The server says something itself when a conversation ends, anybody else when it begins again.
    if (message?.author === "system" || this.state === "closed") {
      this.disconnect();
      this.follow();
    }
  }

  receive(message) {
    if (!Number.isSafeInteger(message?.id) || typeof message.text !== "string") return;
    this.last = Math.max(this.last, message.id);
    if (this.entries.some((entry) => entry.id === message.id)) return;
    const { id, author, agent, text, at } = message;
    // The stream can be quicker than the answer to the POST.
    const waiting = author === "visitor" && this.entries.find((entry) => entry.id === null && entry.text === text);
    if (waiting) this.delivered(waiting, id, at);
    else this.add({ id, client: null, author, agent, text, at, rule: null, state: "sent" }, this.loaded);
  }

  // In the server's order; what it has not got yet stands last.
  add(entry, live) {
    const later = (other) => entry.id !== null && (other.id === null || other.id > entry.id);
    const next = this.entries.find(later);
    this.entries.splice(next ? this.entries.indexOf(next) : this.entries.length, 0, entry);
    this.heard.added(entry, next, live);
    if (this.entries.length > ENTRIES) this.drop(this.entries[0]);
  }

  drop(entry) {
    this.entries = this.entries.filter((other) => other !== entry);
    this.heard.removed(entry);
  }

  async deliver(entry) {
    this.queue.push(entry);
    this.keep();
    if (this.queue.length > 1) return;
    for (; this.queue.length; this.queue.shift()) await this.attempt(this.queue[0]);
  }

  async attempt(entry) {
    const { client, text, rule } = entry;
    const body = { text, client_id: client, language: this.language, rule };
    for (const usual of [...RESEND, 0]) {
      let pause = usual;
      let status = 0;
      try {
        const response = await post(this.base + "messages", body);
        if (response.ok) {
          const { id, at } = await response.json();
          return this.delivered(entry, id, at);
        }
        status = response.status;
        const seconds = status === 429 ? Number(response.headers.get("Retry-After")) : 0;
        if (seconds > 0) {
          entry.due = Date.now() + seconds * 1000;
          if (seconds * 1000 > PATIENCE) return this.failed(entry, "failed");
          pause = seconds * 1000;
          this.heard.changed(entry);
        }
      } catch {
        // No answer, or half of one: the message may have arrived, and is sent again.
      }
      if (entry.id !== null) return undefined;
      if (status >= 400 && status < 500 && status !== 408 && status !== 429) return this.failed(entry, "refused");
      if (pause) await new Promise((done) => setTimeout(done, pause));
    }
    return this.failed(entry, "failed");
  }

  delivered(entry, id, at) {
    if (entry.id !== null) return;
    // Known from the history when an earlier page had sent it and did not live to hear so.
    const known = this.entries.some((other) => other.id === id);
    const late = this.entries.slice(this.entries.indexOf(entry)).some((other) => other.id !== null && other.id < id);
    Object.assign(entry, { id, at, state: "sent", due: undefined });
    if (known || late) this.drop(entry);
    if (late && !known) this.add(entry, false);
    this.heard.changed(entry);
    this.keep();
    this.arrived += 1;
    this.state = "open";
    this.heard.state();
    this.wanted = true;
    this.connect();
  }

  failed(entry, state) {
    entry.state = state;
    this.keep();
    this.heard.changed(entry);
  }

  keep() {
    const unsent = this.entries.filter((entry) => entry.id === null && entry.state !== "refused");
    const pending = unsent.map(({ client, text, rule }) => ({ client, text, rule }));
    memory.write({ pending: [...this.carried, ...pending].slice(-PENDING) });
  }

  carryOver() {
    const carried = this.carried.map(({ client, text, rule }) => this.own(text, rule, client));
    this.carried = [];
    for (const entry of carried) {
      this.add(entry, false);
      this.deliver(entry);
    }
  }
}

function isHidden() {
  return document.visibilityState === "hidden";
}
