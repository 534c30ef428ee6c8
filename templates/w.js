// The widget: its host element on the page, the launcher, and the coordination of its parts.

const TOOLS = { element, icon, iconButton, onEnter, fill, memory, post, obstacles }; // for the modules that are loaded later
const HOST = "clew-chat";
const MOUNTS = 20; // maximum number of times per page view that the host is inserted again after the page removed it
const REMOUNT = 100; // ms until then, so that two observers cannot chase each other
const HEIGHTS = ["", "520px", "440px", "370px", "300px"]; // of an open chat
const ANNOUNCE = 300; // ms until a new live region can announce a text

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
    this.watch = new Watch(() => this.look());
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
    if (view !== this.view) {
      this.mounts = 0;
      this.goHome();
      this.sharing?.then((sharing) => sharing.page()).catch(() => {});
    }
    this.view = view;
    this.shown = true;
    this.mount();
    this.chat = answer.chat;
    this.elsewhere.show();
    if (this.provided) {
      // A talk goes on over there on the next page.
      if (this.chat.load === "page" || memory.read().elsewhere) this.summon(null);
    } else if (first && memory.read().open && !this.panel.full) this.open(false);
    if (answer.conversation || this.talk.carried.length) this.talk.start();
    this.offer(view, answer.action === "invite" ? answer.invite : null, answer.withdrawn);
    this.refresh();
    this.look();
  }

  // Whether another company's chat is to be used.
  get provided() {
    return this.chat?.load && !this.chat.blocked && !this.elsewhere.failed;
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
    this.watch.stop();
    this.host.remove();
  }

  dress({ language, widget, typing_preview: preview }) {
    const words = this.words.get(language) ?? TEXTS;
    const worn = JSON.stringify([words.language, widget, preview]);
    if (worn === this.worn || this.busy) return;
    this.worn = worn;
    this.talk.language = words.language;
    this.texts = { ...words.texts, ...widget?.texts };
    this.direction = words.direction;
    plural = new Intl.PluralRules(words.language);
    const { title, avatar, sound, scheme, offset } = widget ?? {};
    Object.assign(this, { avatar, sound, scheme, offset, preview });
    this.title = title || this.texts.title;
    this.mails = widget?.mails === true;
    this.side = widget?.side === "left" ? "left" : "right";
    this.colours.replaceSync(palette(widget?.color));
    this.uninvite();
    this.build();
  }

  build() {
    const { texts, talk } = this;
    const { title, avatar, sound, preview } = this;
    const greeting = this.greeting ?? texts.greeting;
    this.panel = new Panel(texts, talk.language, { title, greeting, avatar, sound, preview }, {
      send: (text) => {
        this.typing?.end();
        talk.send(text, this.rule);
        this.rule = null;
      },
      attach: (files) => this.attach(files),
      retry: (entry) => talk.resend(entry),
      replyTo: this.mails && ((mail) => post(`${this.base}reply-to`, { mail })),
      minimise: () => this.minimise(),
      typing: (text) => this.typing?.write(text, preview ? text : undefined),
      rate: (rating, text) => {
        talk.rated = rating;
        this.postTo("rating", { rating, text });
      },
      widget: this,
      sound: (on) => {
        memory.write({ sound: on });
        if (on) this.ring();
      },
    });
    for (const entry of talk.entries) this.log(entry);
    this.count = element("span", { class: "count", "aria-hidden": "true" });
    this.counted = element("span", { class: "said" });
    this.launcher = element("button", { type: "button", class: "launcher", "aria-expanded": "false" });
    this.launcher.append(icon(ICONS.chat), element("span", { class: "label" }, texts.button));
    this.launcher.append(this.count, " ", this.counted);
    this.launcher.addEventListener("click", () => this.open(true));
    this.launcher.hidden = this.elsewhere.loaded;
    this.status = element("p", { class: "said", role: "status" });
    this.root = element("div", { class: `root ${this.side}`, lang: talk.language, dir: this.direction });
    this.root.append(this.panel.node, this.launcher, this.status);
    if (Number.isFinite(this.offset)) this.root.style.setProperty("--rise", `${this.offset}px`);
    this.place = new Place(this.launcher);
    this.panelPlace = new Place(this.panel.node);
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
    this.watch.start();
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
    this.look();
    if (focused === panel.field) this.panel.field.focus();
    if (invite?.field && focused === invite.field) this.invite.field.focus();
    this.refresh();
  }

  offer(view, invite, withdrawn) {
    this.wanted = null;
    if (this.panel.opened) return;
    if (this.invite && ((this.invite.view === view && !withdrawn) || this.invite.busy)) return;
    if (this.invite && invite && this.invite.rule === invite.rule) {
      this.invite.view = view;
      return;
    }
    this.uninvite();
    if (!invite || this.settled.has(invite.rule)) return;
    // The answer may be another one once its module is there.
    this.wanted = invite;
    if (invite.more && !this.extras) {
      import(`${this.base}a.js?${this.talk.language}`)
        .then(({ Extras }) => {
          this.extras ??= new Extras(this, TOOLS);
          if (this.wanted === invite) this.offer(view, invite);
        })
        .catch(() => {});
    } else if (!this.extras?.open(view, invite)) this.show(view, invite).waits = true;
  }

  // Back to the corner: another page may have a place there.
  goHome() {
    this.round = false;
    this.place.move(0, 0);
  }

  /** Looks what is under the chat, and makes room. */
  look() {
    if (!this.shown || !this.host.isConnected) return;
    const { launcher, place, invite } = this;
    this.root.classList.toggle("dark", this.scheme === "dark" || (this.scheme !== "light" && pageIsDark()));
    if (this.panel.opened) {
      this.room?.();
      return;
    }
    const found = obstacles();
    const round = () => launcher.classList.toggle("round", this.round || innerWidth <= 480);
    round();
    if (!launcher.hidden && !place.look(found)) {
      // Without its text it needs less.
      this.round = true;
      round();
      place.look(found);
    }
    if (!invite || invite.busy) return;
    // An invite that would cover something waits until the page is scrolled or changes.
    invite.node.hidden = false;
    if (!invite.place.look(found)) invite.node.hidden = true;
    else if (invite.waits) {
      invite.waits = false;
      this.announce(invite.text);
    }
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
    const { node } = this.invite;
    this.root.prepend(node);
    this.extras?.dress(this.invite);
    this.invite.place = new Place(node, () => [this.launcher.getBoundingClientRect()]);
    node.addEventListener("animationend", () => this.look());
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
    this.postTo("events", event);
  }

  // What is lost only changes statistics.
  postTo(name, body) {
    post(this.base + name, body).catch(() => {});
  }

  // What is seldom used comes when the chat is first opened.
  more() {
    return import(`${this.base}m.js?${this.talk.language}`);
  }

  ring() {
    this.more().then((more) => more.ring()).catch(() => {});
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
    this.launcher.setAttribute("aria-expanded", "true");
    this.panel.open(focus);
    const { panel } = this;
    this.more()
      .then((more) => {
        this.typing ??= new more.Typing(this.base, this.talk);
        if (panel.equip(more)) this.refresh();
        this.room = more.room(this);
      })
      .catch(() => {});
    // Open since the page before, it would cover what is to be bought here.
    if (!this.fits(obstacles()) && !focus) {
      this.shut();
      return;
    }
    memory.write({ open: true });
    this.refresh();
  }

  // Makes the open chat as low as it has to be; whether it then covers nothing.
  fits(found) {
    const { panel, panelPlace } = this;
    const fit = (height) => {
      panel.node.style.maxHeight = height;
      return panel.full || panelPlace.look(found, false);
    };
    // Where nothing helps it is as high as ever.
    return HEIGHTS.some(fit) || fit("");
  }

  log(entry, next) {
    this.panel.log.add(entry, next);
    if (!entry.file && !entry.cobrowsing && !entry.open) return;
    const { panel } = this;
    this.sharing ??= this.lazy().then(({ Sharing }) => new Sharing(this.base, this.talk));
    // Without it the text is a file's name, or says what is asked, and a proposed page is a link.
    this.sharing.then((sharing) => sharing.show(entry, panel)).catch(() => (this.sharing = null));
  }

  // What few visitors need.
  lazy() {
    return import(`${this.base}s.js?${this.talk.language}`);
  }

  async attach(files) {
    try {
      const { Uploads } = await this.lazy();
      this.uploads ??= new Uploads(this.base, this.talk);
      this.uploads.send(files, this.panel, this.rule);
      this.rule = null;
    } catch {
      this.announce(this.texts.error);
    }
  }

  minimise() {
    memory.write({ open: false });
    this.shut();
  }

  shut() {
    const focused = this.panel.node.matches(":focus-within");
    this.panel.close();
    this.talk.unwatch();
    this.launcher.hidden = false;
    this.launcher.setAttribute("aria-expanded", "false");
    if (focused) this.launcher.focus();
    this.refresh();
    this.look();
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
    this.log(entry, next);
    if (!live || entry.author !== "agent") return;
    this.refresh();
    if (this.sound && memory.read().sound && (isHidden() || !this.panel.opened)) this.ring();
    if (this.panel.opened) return;
    const agent = entry.agent || this.texts.agent;
    this.announce(fill(this.texts.new_message, { agent, text: entry.text }));
  }

  // The tab stores which messages were read; a new tab uses the server's count.
  refresh() {
    const { invite } = this.talk;
    if (invite && invite !== this.greeting) {
      this.greeting = invite;
      this.panel.log.introduce(invite);
    }
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
    const { textContent } = this.count;
    if (textContent && isHidden()) this.more().then((more) => more.showInTitle(textContent)).catch(() => {});
    this.panel.offerFiles(this.talk.files);
    // Who shows its page, shows it for a conversation.
    if (this.talk.state !== "open") this.sharing?.then((sharing) => sharing.ended()).catch(() => {});
    const instead = this.elsewhere.failed ? this.chat : null;
    this.panel.report(this.online, this.talk, instead, this.back);
  }

  announce(text) {
    clearTimeout(this.announcing);
    this.status.textContent = "";
    this.announcing = setTimeout(() => (this.status.textContent = text), ANNOUNCE);
  }
}

let widget;

/**
 * Exported, as TEXTS is. Called by the loader with each response of decide. Cached loaders call it too, so the signature
 * is fixed.
 */
function update(base, view, answer) {
  widget ??= new Widget(base);
  widget.update(view, answer);
  widget.learn(view, answer);
}
