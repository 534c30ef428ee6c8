// The connection to the server: history, sending, the stream. Independent of the display.

const ENTRIES = 300; // maximum number of messages shown, the newest
const PENDING = 20; // maximum number of unsent messages kept for the next page
const RESEND = [2000, 5000, 15000]; // ms between attempts to send one message
const MAX_WAIT = 120000; // ms that a message over the limit waits before it fails
const FOLLOW = [2000, 5000, 15000, 30000, 60000]; // ms between attempts to reach the server again
const AWAY = 30000; // ms between requests of a hidden page, for the count in its title
const AWAY_LONGEST = 30 * 60000; // ms for which it asks
const THEIRS = 6000; // ms after which an agent of whom nothing is heard no longer writes
const POLL = 5000; // ms between requests while the stream is not open, as behind a proxy that buffers streams

/**
 * An entry is `{id, client, author, agent, text, at, rule, state, due}`, with `file`,
 * `cobrowsing` or `open` where it is more than a text: `id` is null until the server has it, `at`
 * in unix seconds, `state` one of sending, sent, failed and refused. `due` is the time, in ms, before which the
 * server accepts no message, undefined if unknown.
 *
 * `blocked`: refused, because the visitor may not write at the moment.
 *
 * `listener` gets the callbacks `added(entry, next, live)`, `changed(entry)`, `removed(entry)`, `presence(online)` and
 * `state()`. `seen` is the newest message that an agent has read, `writing` who writes, if somebody does.
 */
class Talk {
  constructor(base, listener) {
    this.base = base;
    this.language = "en";
    this.listener = listener;
    this.entries = [];
    this.state = "none";
    this.loaded = false;
    this.last = 0;
    this.failures = 0;
    this.arrived = 0; // number of messages of this page that the server has accepted
    this.queue = [];
    this.seen = 0;
    this.writing = null;
    const { pending } = memory.read();
    this.carried = Array.isArray(pending) ? pending : []; // unsent messages of the previous page
    this.source = null;
    this.wanted = false;
    this.watched = false; // the visitor has the chat open
    this.blocked = false;
    this.visibilityChanged = () => {
      this.hiddenAt = isHidden() ? Date.now() : undefined;
      if (!isHidden()) return this.follow();
      this.disconnect();
      return this.away();
    };
    this.hiding = () => this.disconnect();
    this.returned = (event) => event.persisted && this.follow();
  }

  /**
   * Connects only while the page is visible. Browsers allow six HTTP/1.1 connections per host for all tabs
   * together. Also, a page with an open stream is not kept for the back button.
   */
  listen() {
    document.addEventListener("visibilitychange", this.visibilityChanged);
    window.addEventListener("pagehide", this.hiding);
    window.addEventListener("pageshow", this.returned);
  }

  /** Loads the messages and opens the stream, if there is a conversation. */
  start() {
    this.wanted = true;
    return this.follow();
  }

  /** Closes the stream, if there is no conversation either. */
  unwatch() {
    this.watched = false;
    if (this.state === "none") this.disconnect();
  }

  /** Closes the stream. */
  stop() {
    this.wanted = false;
    this.disconnect();
  }

  /** Sends a message of the visitor, after earlier ones. */
  send(text, rule = null) {
    const entry = this.own(text, rule, randomId());
    this.add(entry, true);
    this.deliver(entry);
  }

  /** Sends a failed message again. If the server got it before, it recognises it by `client`. */
  resend(entry) {
    Object.assign(entry, { state: "sending", due: undefined });
    this.listener.changed(entry);
    this.deliver(entry);
  }

  own(text, rule, client) {
    const at = Date.now() / 1000;
    return { id: null, client, author: "visitor", agent: null, text, at, rule, state: "sending" };
  }

  // The first failure is usually short (a deploy, a tunnel), so it is not shown.
  get trouble() {
    return this.failures > 1;
  }

  async follow() {
    if (!this.wanted || this.following || this.source?.readyState === EventSource.OPEN) return;
    if (isHidden() && !this.hiddenAt) return;
    this.following = true;
    const { arrived } = this;
    try {
      const response = await fetch(this.fresh("messages"), { cache: "no-store" });
      if (!response.ok) throw new Error(response.status);
      const { messages, state, files, seen, invite, persona, rating, ...known } = await response.json();
      this.known(known);
      this.files = files; // what may be sent, as `{accept, megabytes}`, or null
      Object.assign(this, { invite, persona, rated: rating });
      this.saw(seen);
      if (this.last && state === "none") this.forgotten();
      for (const message of messages) this.receive(message);
      // A message that arrived meanwhile has opened a conversation that this response does not include.
      this.state = this.arrived > arrived ? "open" : state;
      this.failures = 0;
      if (!this.loaded) this.carryOver();
      this.loaded = true;
      // If an agent answers a closed conversation, it is open again. In an open chat, agents come and go.
      if (this.state === "none" && !this.watched) this.disconnect();
      else if (isHidden()) this.away();
      else this.connect();
    } catch {
      this.failures += 1;
      this.retryIn(FOLLOW[Math.min(this.failures, FOLLOW.length) - 1]);
    }
    this.following = false;
    this.listener.state();
  }

  // A shop's service worker that keeps all it has seen would answer with old messages.
  fresh(name) {
    return `${this.base}${name}?after=${this.last}&now=${Date.now()}`;
  }

  // A hidden page has no stream, and asks now and then.
  away() {
    if (this.state === "open" && Date.now() - this.hiddenAt < AWAY_LONGEST) this.retryIn(AWAY);
  }

  /** Forgets the talk, because the server has. */
  forgotten() {
    for (const entry of [...this.entries]) this.drop(entry);
    this.disconnect();
    this.queue.length = 0;
    this.last = this.seen = 0;
    this.state = "none";
    this.invite = this.rated = undefined;
    memory.write({ pending: [], draft: "", read: 0 });
  }

  saw(message) {
    if (!Number.isSafeInteger(message) || message <= this.seen) return;
    this.seen = message;
    this.listener.state();
  }

  theyWrite(agent, typing) {
    clearTimeout(this.theirs);
    this.writing = typing ? { agent } : null;
    if (typing) this.theirs = setTimeout(() => this.theyWrite(agent, false), THEIRS);
    this.listener.state();
  }

  retryIn(pause) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.follow(), pause);
  }

  connect() {
    if (!this.wanted || isHidden()) return;
    this.retryIn(POLL);
    if (this.source) return;
    const source = new EventSource(this.fresh("stream"));
    source.addEventListener("open", () => clearTimeout(this.timer));
    source.addEventListener("message", (event) => this.streamed(event.data));
    const hear = (type, act) => source.addEventListener(type, (event) => act(parsedJson(event.data) ?? {}));
    hear("typing", ({ agent, typing }) => this.theyWrite(agent, typing === true));
    hear("seen", ({ message }) => this.saw(message));
    hear("state", (known) => {
      this.known(known);
      this.listener.state();
    });
    source.addEventListener("error", () => {
      // The browser reopens a broken stream, with Last-Event-ID; any other response than a stream ends it.
      if (source.readyState === EventSource.CLOSED) this.disconnect();
      this.retryIn(POLL);
    });
    this.source = source;
  }

  disconnect() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  streamed(data) {
    const message = parsedJson(data);
    this.receive(message);
    if (message?.author === "agent") this.theyWrite(null, false);
    // A system message closes the conversation; a message after that opens it again.
    if (message?.author === "system" || this.state === "closed") {
      this.disconnect();
      this.follow();
    }
  }

  // What the server says of agents, and of whether the visitor may write.
  known({ online, blocked }) {
    if (typeof online === "boolean") this.listener.presence(online);
    this.blocked = blocked === true;
  }

  receive(message) {
    if (!Number.isSafeInteger(message?.id) || typeof message.text !== "string") return;
    this.last = Math.max(this.last, message.id);
    if (this.entries.some((entry) => entry.id === message.id)) return;
    const { id, author, agent, text, at, file, cobrowsing, open } = message;
    // The stream can be faster than the response to the POST.
    const waiting = author === "visitor" && this.entries.find((entry) => entry.id === null && entry.text === text);
    if (waiting) this.delivered(waiting, id, at);
    else {
      const more = { file, cobrowsing, open };
      this.add({ id, client: null, author, agent, text, at, ...more, rule: null, state: "sent" }, this.loaded);
    }
  }

  // In the server's order; messages that it does not have yet are last.
  add(entry, live) {
    const later = (other) => entry.id !== null && (other.id === null || other.id > entry.id);
    const next = this.entries.find(later);
    this.entries.splice(next ? this.entries.indexOf(next) : this.entries.length, 0, entry);
    this.listener.added(entry, next, live);
    if (this.entries.length > ENTRIES) this.drop(this.entries[0]);
  }

  drop(entry) {
    this.entries = this.entries.filter((other) => other !== entry);
    this.listener.removed(entry);
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
    for (const delay of [...RESEND, 0]) {
      let pause = delay;
      let status = 0;
      try {
        const response = await post(this.base + "messages", body);
        if (response.ok) {
          const { id, at } = await response.json();
          return this.delivered(entry, id, at);
        }
        status = response.status;
        entry.blocked = status === 403 && (await response.json()).reason === "blocked";
        if (entry.blocked) this.blocked = true;
        const seconds = status === 429 ? Number(response.headers.get("Retry-After")) : 0;
        if (seconds > 0) {
          entry.due = Date.now() + seconds * 1000;
          if (seconds * 1000 > MAX_WAIT) return this.failed(entry, "failed");
          pause = seconds * 1000;
          this.listener.changed(entry);
        }
      } catch {
        // No complete response: the message may have arrived, and is sent again.
      }
      if (entry.id !== null) return undefined;
      if (status >= 400 && status < 500 && status !== 408 && status !== 429) return this.failed(entry, "refused");
      if (pause) await new Promise((done) => setTimeout(done, pause));
    }
    return this.failed(entry, "failed");
  }

  delivered(entry, id, at) {
    if (entry.id !== null) return;
    // It is in the history if an earlier page sent it and was left before the response.
    const known = this.entries.some((other) => other.id === id);
    const place = this.entries.indexOf(entry);
    const strays = ({ id: other }, index) => other !== null && (other > id) === (index < place);
    const moves = !known && this.entries.some(strays);
    Object.assign(entry, { id, at, state: "sent", due: undefined });
    if (known || moves) this.drop(entry);
    if (moves) this.add(entry, false);
    this.listener.changed(entry);
    this.keep();
    this.accepted();
  }

  /** Adds a message of the visitor that another part has sent, such as a file. */
  sent(message) {
    this.receive({ author: "visitor", agent: null, ...message });
    this.accepted();
  }

  accepted() {
    this.arrived += 1;
    this.state = "open";
    this.blocked = false;
    this.listener.state();
    this.wanted = true;
    this.connect();
  }

  failed(entry, state) {
    entry.state = state;
    this.keep();
    this.listener.changed(entry);
    this.listener.state();
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

function parsedJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isHidden() {
  return document.visibilityState === "hidden";
}
