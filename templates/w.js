// The widget itself: one host element on the page, the launcher, and what happens between its parts.

const HOST = "clew-chat";
const MOUNTS = 20; // times a page view that the host is put back when the page throws it out
const REMOUNT = 100; // ms until then, so that two observers cannot chase each other
const ANNOUNCE = 300; // ms for a live region to be known before it speaks
const WIDE = "(min-width: 481px)"; // from here on the chat leaves the page usable

class Widget {
  constructor(base) {
    this.base = base;
    this.settled = new Set(); // rules whose invite was accepted or dismissed on this page
    this.seen = new Set();
    this.rule = null; // whose accepted invite the next message answers
    this.greeting = null; // that invite's text, instead of the usual greeting
    this.talk = new Talk(base, {
      added: (entry, next, live) => this.added(entry, next, live),
      changed: (entry) => this.panel.log.change(entry),
      removed: (entry) => this.panel.log.remove(entry),
      state: () => this.refresh(),
    });
    this.host = element(HOST, { id: HOST, "data-turbo-permanent": "" });
    this.shadow = this.host.attachShadow({ mode: "open" });
    const style = new CSSStyleSheet();
    style.replaceSync(STYLE);
    this.colours = new CSSStyleSheet();
    this.shadow.adoptedStyleSheets = [style, this.colours];
    this.observer = new MutationObserver(() => this.lost());
    this.escaping = (event) => this.escape(event);
  }

  /** Acts on an answer of decide, given for the page view `view`. */
  update(view, answer) {
    if (answer.action === "hide") {
      this.hide();
      return;
    }
    this.online = answer.online === true;
    this.unread = answer.conversation ? Number(answer.unread) || 0 : 0;
    const first = !this.panel;
    this.dress(answer);
    if (view !== this.view) this.mounts = 0;
    this.view = view;
    this.shown = true;
    this.mount();
    if (first && memory.read().open && matchMedia(WIDE).matches) this.open(false);
    if (answer.conversation || this.talk.carried.length) this.talk.start();
    this.offer(view, answer.action === "invite" ? answer.invite : null);
    this.refresh();
  }

  // A chat under way and a question being written outlive any rule.
  get busy() {
    return this.panel?.opened || this.invite?.busy;
  }

  hide() {
    if (this.busy) return;
    this.shown = false;
    this.uninvite();
    this.talk.stop();
    this.host.remove();
  }

  dress({ language, widget }) {
    const look = JSON.stringify([language, widget]);
    if (look === this.look || this.busy) return;
    this.look = look;
    this.talk.language = Object.hasOwn(TEXTS, language) ? language : "en";
    this.texts = TEXTS[this.talk.language];
    this.title = widget?.title || this.texts.title;
    this.side = widget?.side === "left" ? "left" : "right";
    this.colours.replaceSync(palette(widget?.color));
    this.uninvite();
    this.build();
  }

  build() {
    const { texts, talk } = this;
    this.panel = new Panel(texts, talk.language, this.title, this.greeting ?? texts.greeting, {
      send: (text) => {
        talk.send(text, this.rule);
        this.rule = null;
      },
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
    this.status = element("p", { class: "said", role: "status" });
    this.root = element("div", { class: `root ${this.side}`, lang: talk.language });
    this.root.append(this.panel.node, this.launcher, this.status);
    this.root.addEventListener("keydown", this.escaping);
    // The page sees the host as the target: its shortcuts would take the letters, its dialogs the focus.
    for (const type of ["keydown", "keypress", "keyup", "input", "focusin", "focusout"]) {
      this.root.addEventListener(type, (event) => event.stopPropagation());
    }
    // Who was writing when the page threw the host out shall write on; that too takes the focus away.
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
    // Those that are there already are not added twice.
    document.addEventListener("keydown", this.escaping);
    this.talk.listen();
  }

  lost() {
    if (!this.shown || this.host.isConnected || this.mounts >= MOUNTS) return;
    this.mounts += 1;
    clearTimeout(this.remount);
    this.remount = setTimeout(() => this.restore(), REMOUNT);
  }

  // All is made anew: `document.open` takes the listeners from every node there was (HTML, document open steps).
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
        if (!this.seen.has(invite.rule)) this.tell("seen", invite.rule);
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
    this.tell(kind, this.invite.rule);
    this.uninvite();
  }

  tell(kind, rule) {
    this.post({ kind, rule });
  }

  post(event) {
    // Lost with the connection: an invite more or less in the statistics, or a count of messages.
    post(this.base + "events", event).catch(() => {});
  }

  open(focus) {
    this.uninvite();
    this.talk.start();
    this.launcher.hidden = true;
    this.panel.open(focus);
    memory.write({ open: true });
    this.refresh();
  }

  minimise() {
    const focused = this.panel.node.matches(":focus-within");
    this.panel.close();
    this.launcher.hidden = false;
    if (focused) this.launcher.focus();
    memory.write({ open: false });
    this.refresh();
  }

  // Escape from inside, or from the page when it has no use for the key itself.
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

  // What was read is remembered in the tab; a new tab takes the server's count.
  refresh() {
    const said = this.talk.entries.filter((entry) => entry.author === "agent");
    let { read } = memory.read();
    if (this.panel.opened && !isHidden()) {
      const newest = said.at(-1)?.id ?? read;
      if (newest > (read ?? 0)) this.post({ kind: "read", message: newest });
      read = newest;
      memory.write({ read });
    } else if (read === undefined && this.talk.loaded) {
      read = said.at(-1 - this.unread)?.id ?? 0;
      memory.write({ read });
    }
    const count = read === undefined ? this.unread : said.filter((entry) => entry.id > read).length;
    this.count.textContent = count > 9 ? "9+" : count || "";
    this.counted.textContent = count ? fill(this.texts.unread, { count }) : "";
    this.panel.report(this.online, this.talk.state, this.talk.trouble);
  }

  announce(text) {
    clearTimeout(this.announcing);
    this.status.textContent = "";
    this.announcing = setTimeout(() => (this.status.textContent = text), ANNOUNCE);
  }
}

/** The site's colour, and black or white on it, whichever reads better (WCAG 2.2, contrast ratio). */
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

/** What the loader calls with each answer of decide. A loader of any age calls it so. */
export function update(base, view, answer) {
  widget ??= new Widget(base);
  widget.update(view, answer);
}
