// The widget: its host element on the page, the launcher, and the coordination of its parts.

const HOST = "clew-chat";
const MOUNTS = 20; // maximum number of times per page view that the host is inserted again after the page removed it
const REMOUNT = 100; // ms until then, so that two observers cannot chase each other
const ANNOUNCE = 300; // ms until a new live region can announce a text
const WIDE = "(min-width: 481px)"; // from this width on the page stays usable beside the chat

class Widget {
  constructor(base) {
    this.base = base;
    this.words = new Map([[TEXTS.language, TEXTS]]); // by language
    this.settled = new Set(); // rules whose invite was accepted or dismissed on this page
    this.seen = new Set();
    this.rule = null; // the rule of the accepted invite that the next message answers
    this.greeting = null; // text of that invite, shown instead of the usual greeting
    this.elsewhere = new Elsewhere(base, (event, id) => this.post({ kind: "chat", event, id: id && `${id}` }));
    this.talk = new Talk(base, {
      added: (entry, next, live) => this.added(entry, next, live),
      changed: (entry) => this.panel.log.change(entry),
      removed: (entry) => this.panel.log.remove(entry),
      presence: (online) => (this.online = online),
      state: () => this.refresh(),
    });
    this.host = element(HOST, { id: HOST, "data-turbo-permanent": "" });
    this.shadow = this.host.attachShadow({ mode: "open" });
    const style = new CSSStyleSheet();
    style.replaceSync(STYLE);
    this.colours = new CSSStyleSheet();
    this.shadow.adoptedStyleSheets = [style, this.colours];
    this.observer = new MutationObserver(() => this.removed());
    this.escaping = (event) => this.escape(event);
  }

  /** Applies a response of decide for the page view `view`. */
  update(view, answer) {
    if (answer.action === "hide") {
      this.hide();
      return;
    }
    this.online = answer.online === true;
    this.back = answer.back; // when the office hours begin, in unix seconds
    this.unread = answer.conversation ? Number(answer.unread) || 0 : 0;
    const first = !this.panel;
    this.dress(answer);
    if (view !== this.view) this.mounts = 0;
    this.view = view;
    this.shown = true;
    this.mount();
    this.chat = answer.chat;
    this.elsewhere.show();
    if (this.provided) {
      // A talk goes on over there on the next page.
      if (this.chat.load === "page" || memory.read().elsewhere) this.summon(null);
    } else if (first && memory.read().open && matchMedia(WIDE).matches) this.open(false);
    if (answer.conversation || this.talk.carried.length) this.talk.start();
    this.offer(view, answer.action === "invite" ? answer.invite : null);
    this.refresh();
  }

  // Whether another company's chat is to be used.
  get provided() {
    return this.chat && !this.chat.blocked && !this.elsewhere.failed;
  }

  // Rules do not close an open chat or an invite in which the visitor is writing.
  get busy() {
    return this.panel?.opened || this.invite?.busy;
  }

  // A page of one application in another language: that file has its texts. In this module's own language until then.
  async learn(view, answer) {
    const { language } = answer;
    if (!language || this.words.has(language)) return;
    try {
      const { TEXTS: words } = await import(`${this.base}w.js?${language}`);
      this.words.set(language, words);
      if (this.view === view) this.update(view, answer);
    } catch {
      // The next answer tries again.
    }
  }

  hide() {
    if (this.busy) return;
    this.shown = false;
    this.uninvite();
    this.elsewhere.hide();
    this.talk.stop();
    this.host.remove();
  }

  dress({ language, widget }) {
    const words = this.words.get(language) ?? TEXTS;
    const look = JSON.stringify([words.language, widget]);
    if (look === this.look || this.busy) return;
    this.look = look;
    this.talk.language = words.language;
    this.texts = words.texts;
    this.direction = words.direction;
    plural = new Intl.PluralRules(words.language);
    this.title = widget?.title || this.texts.title;
    this.side = widget?.side === "left" ? "left" : "right";
    this.colours.replaceSync(palette(widget?.color));
    this.uninvite();
    this.build();
  }

  build() {
    const { texts, talk } = this;
    this.panel = new Panel(this.base, texts, talk.language, this.title, this.greeting ?? texts.greeting, {
      send: (text) => {
        talk.send(text, this.rule);
        this.rule = null;
      },
      attach: (files) => this.attach(files),
      retry: (entry) => talk.resend(entry),
      minimise: () => this.minimise(),
    });
    for (const entry of talk.entries) this.panel.log.add(entry);
    this.count = element("span", { class: "count", "aria-hidden": "true" });
    this.counted = element("span", { class: "said" });
    this.launcher = element("button", { type: "button", class: "launcher", "aria-haspopup": "dialog" });
    this.launcher.append(icon(ICONS.chat), element("span", { class: "label" }, texts.button));
    this.launcher.append(this.count, " ", this.counted);
    this.launcher.addEventListener("click", () => this.open(true));
    this.launcher.hidden = this.elsewhere.loaded;
    this.status = element("p", { class: "said", role: "status" });
    this.root = element("div", { class: `root ${this.side}`, lang: talk.language, dir: this.direction });
    this.root.append(this.panel.node, this.launcher, this.status);
    this.root.addEventListener("keydown", this.escaping);
    // Outside, the host is the target of events: shortcuts of the page would take letters, its dialogs the focus.
    for (const type of ["keydown", "keypress", "keyup", "input", "focusin", "focusout"]) {
      this.root.addEventListener(type, (event) => event.stopPropagation());
    }
    // Remembered for `restore`: if the page removes the host while the visitor writes, the focus is lost.
    this.root.addEventListener("focusin", (event) => (this.focused = event.target));
    this.root.addEventListener("focusout", () => {
      setTimeout(() => this.host.isConnected && (this.focused = this.shadow.activeElement));
    });
    this.shadow.replaceChildren(this.root);
  }

  mount() {
    if (!this.host.isConnected) document.documentElement.append(this.host);
    this.observer.disconnect();
    this.observer.observe(document, { childList: true });
    this.observer.observe(document.documentElement, { childList: true });
    // Adding a listener again has no effect.
    document.addEventListener("keydown", this.escaping);
    this.talk.listen();
  }

  removed() {
    if (!this.shown || this.host.isConnected || this.mounts >= MOUNTS) return;
    this.mounts += 1;
    clearTimeout(this.remount);
    this.remount = setTimeout(() => this.restore(), REMOUNT);
  }

  // Builds all elements again: `document.open` removes the listeners of every node (HTML, document open steps).
  restore() {
    if (!this.shown || !document.documentElement) return;
    const { panel, invite, focused } = this;
    this.uninvite();
    this.build();
    this.mount();
    this.panel.field.value = panel.field.value;
    if (panel.opened) this.open(false);
    if (invite) this.show(invite.view, invite.invite).write(invite.written);
    if (focused === panel.field) this.panel.field.focus();
    if (invite?.field && focused === invite.field) this.invite.field.focus();
    this.refresh();
  }

  offer(view, invite) {
    if (this.panel.opened) return;
    if (this.invite && (this.invite.view === view || this.invite.busy)) return;
    if (this.invite && invite && this.invite.rule === invite.rule) {
      this.invite.view = view;
      return;
    }
    this.uninvite();
    if (!invite || this.settled.has(invite.rule)) return;
    this.announce(this.show(view, invite).text);
  }

  show(view, invite) {
    this.invite = new Invite(view, invite, this.texts, {
      seen: () => {
        if (!this.seen.has(invite.rule)) this.notify("seen", invite.rule);
        this.seen.add(invite.rule);
      },
      accepted: (question) => this.accept(question),
      dismissed: () => this.dismiss(),
    });
    this.root.prepend(this.invite.node);
    return this.invite;
  }

  uninvite() {
    this.invite?.remove();
    this.invite = null;
  }

  accept(question) {
    const { rule, text } = this.invite;
    this.settle("accepted");
    if (this.provided) {
      this.summon(question, rule);
      return;
    }
    this.greeting = text;
    this.panel.log.introduce(text);
    this.open(true);
    if (question) this.talk.send(question, rule);
    else this.rule = rule;
  }

  dismiss() {
    const focused = this.invite.node.matches(":focus-within");
    this.settle("dismissed");
    if (focused) this.launcher.focus();
  }

  settle(kind) {
    this.settled.add(this.invite.rule);
    this.notify(kind, this.invite.rule);
    this.uninvite();
  }

  notify(kind, rule) {
    this.post({ kind, rule });
  }

  post(event) {
    // A lost event only changes the statistics of invites or a count of messages.
    post(this.base + "events", event).catch(() => {});
  }

  // Opens the provider's chat with a text, or only loads it (null). If it does not come, there is clew's own.
  async summon(text, rule = null) {
    if (text !== null) this.launcher.setAttribute("aria-busy", "true");
    const usable = await this.elsewhere.load(this.chat.attributes);
    this.launcher.removeAttribute("aria-busy");
    memory.write({ elsewhere: usable });
    this.launcher.hidden = usable;
    if (text === null) return;
    if (usable && this.elsewhere.open(text)) return;
    memory.write({ elsewhere: false });
    this.open(true);
    if (text) this.talk.send(text, rule);
    else this.rule = rule;
  }

  open(focus) {
    if (this.provided) {
      this.summon("");
      return;
    }
    this.uninvite();
    this.talk.watched = true;
    this.talk.start();
    this.launcher.hidden = true;
    this.panel.open(focus);
    memory.write({ open: true });
    this.refresh();
  }

  async attach(files) {
    try {
      const { Uploads } = await import(`${this.base}s.js?${this.talk.language}`);
      this.uploads ??= new Uploads(this.base, this.talk);
      this.uploads.send(files, this.panel, this.rule);
      this.rule = null;
    } catch {
      this.panel.report(this.online, this.talk.state, true, null, this.back);
    }
  }

  minimise() {
    const focused = this.panel.node.matches(":focus-within");
    this.panel.close();
    this.talk.unwatch();
    this.launcher.hidden = false;
    if (focused) this.launcher.focus();
    memory.write({ open: false });
    this.refresh();
  }

  // Escape inside the widget, or on the page if nothing there handles the key.
  escape(event) {
    if (event.key !== "Escape" || event.defaultPrevented || event.isComposing || !this.shown) return;
    const inside = event.currentTarget !== document;
    if (!inside && event.target !== document.body && event.target !== document.documentElement) return;
    if (this.invite) this.dismiss();
    else if (inside && this.panel.opened) this.minimise();
  }

  added(entry, next, live) {
    this.panel.log.add(entry, next);
    if (!live || entry.author !== "agent") return;
    this.refresh();
    if (this.panel.opened) return;
    const agent = entry.agent || this.texts.agent;
    this.announce(fill(this.texts.new_message, { agent, text: entry.text }));
  }

  // The tab stores which messages were read; a new tab uses the server's count.
  refresh() {
    const answers = this.talk.entries.filter((entry) => entry.author === "agent");
    let { read } = memory.read();
    if (this.panel.opened && !isHidden()) {
      const newest = answers.at(-1)?.id ?? read;
      if (newest > (read ?? 0)) this.post({ kind: "read", message: newest });
      read = newest;
      memory.write({ read });
    } else if (read === undefined && this.talk.loaded) {
      read = answers.at(-1 - this.unread)?.id ?? 0;
      memory.write({ read });
    }
    const count = read === undefined ? this.unread : answers.filter((entry) => entry.id > read).length;
    this.count.textContent = count > 9 ? "9+" : count || "";
    this.counted.textContent = count ? fill(this.texts.unread, { count }) : "";
    this.panel.offerFiles(this.talk.files);
    const instead = this.elsewhere.failed ? this.chat : null;
    this.panel.report(this.online, this.talk, instead, this.back);
  }

  announce(text) {
    clearTimeout(this.announcing);
    this.status.textContent = "";
    this.announcing = setTimeout(() => (this.status.textContent = text), ANNOUNCE);
  }
}

/** The site's colour, and black or white text on it, whichever has more contrast (WCAG 2.2, contrast ratio). */
function palette(colour) {
  const accent = /^#[0-9a-f]{6}$/i.test(colour) ? colour : "#1b5e9e";
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const value = parseInt(accent.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  const ink = 1.05 / (luminance + 0.05) >= 4.5 ? "#ffffff" : "#000000";
  return `:host { --accent: ${accent}; --ink: ${ink}; }`;
}

let widget;

/** Called by the loader with each response of decide. Cached loaders call it too, so the signature is fixed. */
export function update(base, view, answer) {
  widget ??= new Widget(base);
  widget.update(view, answer);
  widget.learn(view, answer);
}

export { TEXTS };
