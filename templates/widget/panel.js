// The chat: a dialog with heading, messages and a field; modal where it fills the screen.

const MAX_MESSAGE = 4000;
const FULL = "(max-width: 480px), (max-height: 400px)"; // as in w.css

class Panel {
  /**
   * `look` is `{title, greeting, avatar, sound, preview}`: a text, a text, the address of a picture, whether a sound is
   * offered, and whether agents see what is being written. `acts` are callbacks: `send(text)`, `attach(files)`, `retry(entry)`,
   * `replyTo(mail)`, `minimise()`, `typing(text)`, `rate(rating, text)`, `sound(on)`, and `widget`, whose panel it is.
   */
  constructor(texts, language, look, acts) {
    this.texts = texts;
    this.look = look;
    this.acts = acts;
    this.log = new Log(texts, language, acts.retry);
    this.presence = element("p", { class: "presence" });
    this.notice = element("p", { class: "notice", role: "status" });
    this.field = element("textarea", {
      class: "field",
      rows: "1",
      maxlength: MAX_MESSAGE,
      placeholder: texts.message,
      "aria-label": texts.message,
      enterkeyhint: "send",
    });
    this.field.value = memory.read().draft ?? "";
    this.field.addEventListener("input", () => {
      memory.write({ draft: this.field.value });
      acts.typing(this.field.value);
    });
    this.spot = element("span"); // of the menu's button
    onEnter(this.field, () => this.submit());
    this.picker = element("input", { type: "file", multiple: "", tabindex: "-1", "aria-hidden": "true", hidden: "" });
    this.attach = iconButton("attach", texts.file, () => this.picker.click());
    this.attach.hidden = true;
    this.picker.addEventListener("change", () => {
      this.take(this.picker.files);
      this.picker.value = "";
    });
    const heading = element("h2", { id: "title", dir: "auto" }, look.title);
    this.node = element(
      "div",
      { class: "panel", role: "dialog", "aria-labelledby": "title", tabindex: "-1" },
      element(
        "div",
        { class: "head" },
        element("div", { class: "titles" }, heading, this.presence),
        this.spot,
        iconButton("minimise", texts.minimise, acts.minimise),
      ),
      this.log.node,
      this.notice,
      element(
        "div",
        { class: "composer" },
        this.attach,
        this.picker,
        this.field,
        iconButton("send", texts.send, () => this.submit()),
      ),
    );
    this.node.hidden = true;
    this.node.addEventListener("paste", (event) => this.take(event.clipboardData?.files, event));
    this.node.addEventListener("drop", (event) => this.take(event.dataTransfer?.files, event));
    // A browser would leave the page for a file that is dropped.
    this.node.addEventListener("dragover", (event) => {
      if (this.files && event.dataTransfer?.types.includes("Files")) event.preventDefault();
    });
    this.log.introduce(look.greeting);
    this.fit = () => this.fitViewport();
    this.fullChanged = () => this.node.setAttribute("aria-modal", `${this.full}`);
  }

  /** Adds what else an open chat has, once; returns whether it did. */
  equip(more) {
    if (this.menu) return false;
    const { send, failed } = this.texts;
    const { Menu, Rating, Reply, addAvatar, keep } = more.equip({ ...TOOLS, send, failed }, this.node.getRootNode());
    const { acts } = this;
    this.menu = new Menu(this.look.sound, acts);
    this.rating = new Rating(acts.rate);
    this.spot.replaceWith(this.menu.button);
    this.log.node.before(this.menu.node);
    this.log.node.after(this.rating.node);
    this.reply = new Reply(acts.replyTo);
    this.notice.after(this.reply.node);
    addAvatar(this.node.firstChild, this.look.avatar);
    keep(this);
    return true;
  }

  /** Whether it fills the screen. */
  get full() {
    return matchMedia(FULL).matches;
  }

  /** Offers to send files; `files` as in `Talk`. */
  offerFiles(files) {
    this.files = files;
    this.attach.hidden = !files;
    if (files) this.picker.accept = files.accept;
  }

  take(files, event) {
    if (!this.files || !files?.length) return;
    event?.preventDefault();
    this.acts.attach([...files]);
  }

  get opened() {
    return !this.node.hidden;
  }

  /** Shows the chat. `focus` if the visitor opened it; on touch screens the field is not focused (no keyboard). */
  open(focus) {
    this.node.hidden = false;
    this.fullChanged();
    addEventListener("resize", this.fullChanged);
    window.visualViewport?.addEventListener("resize", this.fit);
    window.visualViewport?.addEventListener("scroll", this.fit);
    this.fit();
    this.log.toEnd();
    if (focus) (matchMedia("(pointer: coarse)").matches ? this.node : this.field).focus();
  }

  /** Hides the chat. */
  close() {
    this.node.hidden = true;
    this.menu?.close();
    removeEventListener("resize", this.fullChanged);
    window.visualViewport?.removeEventListener("resize", this.fit);
    window.visualViewport?.removeEventListener("scroll", this.fit);
  }

  /**
   * Shows whether an agent is online, and what `talk` tells. `instead`: of this provider's chat; `back`: when
   * somebody is there again, in unix seconds, if that is known.
   */
  report(online, talk, instead, back) {
    const { texts } = this;
    const { state, trouble, blocked, seen, writing } = talk;
    this.log.report(seen, writing);
    this.reply?.show(!online && state === "open");
    this.menu?.report(talk.last > 0);
    const answered = talk.entries.some((entry) => entry.author === "agent");
    if (state === "closed" && answered && !talk.rated) this.rating?.ask();
    else if (state !== "closed") this.rating?.hide();
    this.presence.textContent = online ? texts.online : texts.away;
    this.presence.classList.toggle("here", online);
    const closed = (blocked && texts.blocked) || (state === "closed" && texts.closed);
    const down = instead && texts.instead;
    const preview = this.look.preview ? texts.preview : "";
    const notice = (trouble && texts.error) || closed || down || (!online && this.offline(back)) || preview;
    const mail = instead?.mail ?? "";
    // Setting the same text would announce it again.
    if (this.notice.textContent === [notice, mail].filter(Boolean).join(" ")) return;
    this.notice.textContent = notice;
    if (mail) this.notice.append(" ", element("a", { href: `mailto:${mail}` }, mail));
  }

  // In the visitor's own time zone.
  offline(back) {
    const { texts } = this;
    if (!back) return texts.offline;
    const time = this.log.time(new Date(back * 1000), { weekday: "long" });
    return `${texts.offline} ${fill(texts.back, { time })}`;
  }

  // An on-screen keyboard covers fixed elements, so on small screens the chat uses the space above it.
  fitViewport() {
    const { height, offsetTop, scale } = window.visualViewport ?? {};
    const known = height !== undefined && scale === 1;
    this.node.style.setProperty("--visible", known ? `${height}px` : "100dvh");
    this.node.style.setProperty("--offset", known ? `${offsetTop}px` : "0");
  }

  submit() {
    const text = this.field.value.trim();
    if (text) {
      this.field.value = "";
      memory.write({ draft: "" });
      this.acts.send(text);
    }
    this.field.focus();
  }
}
