// The invite: a bubble with a text and, if the rule wants it, a field to ask in at once. It takes no focus.

const LONGEST_QUESTION = 1000;

class Invite {
  /**
   * `invite` is `{rule, text, question}` of decide's answer. `acts` are what can become of it: `seen()`, once;
   * `accepted(question)`, with "" if nothing was asked; `dismissed()`.
   */
  constructor(view, invite, texts, acts) {
    this.view = view;
    this.invite = invite;
    this.rule = invite.rule;
    this.text = invite.text || texts.invite;
    this.acts = acts;
    this.node = element("section", { class: "invite", "aria-label": texts.invitation });
    this.node.append(
      element("p", { class: "text", dir: "auto" }, this.text),
      iconButton("close", texts.close, acts.dismissed),
      invite.question ? this.question(texts) : this.button(texts),
    );
    this.watch();
  }

  /** What the visitor has written so far. */
  get written() {
    return this.field?.value ?? "";
  }

  /** Puts it into the field, if there is one, and the caret behind it. */
  write(text) {
    if (!this.field) return;
    this.field.value = text;
    this.field.setSelectionRange(text.length, text.length);
  }

  /** Whether the visitor is at it: then nothing may take it away. */
  get busy() {
    return this.written !== "" || this.node.matches(":focus-within");
  }

  /** Ends it. */
  remove() {
    this.observer.disconnect();
    document.removeEventListener("visibilitychange", this.look);
    this.node.remove();
  }

  question(texts) {
    this.field = element("input", {
      class: "field",
      type: "text",
      maxlength: LONGEST_QUESTION,
      placeholder: texts.question,
      "aria-label": texts.question,
      autocomplete: "off",
      enterkeyhint: "send",
    });
    const ask = () => {
      const question = this.field.value.trim();
      if (question) this.acts.accepted(question);
      else this.field.focus();
    };
    onEnter(this.field, ask);
    return element("div", { class: "composer" }, this.field, iconButton("send", texts.send, ask));
  }

  button(texts) {
    const start = element("button", { type: "button", class: "start" }, texts.start);
    start.addEventListener("click", () => this.acts.accepted(""));
    return start;
  }

  // Seen is what at least half of stood in the viewport of a page that was itself looked at.
  watch() {
    let inView = false;
    this.look = () => {
      if (!inView || isHidden() || this.reported) return;
      this.reported = true;
      this.acts.seen();
    };
    this.observer = new IntersectionObserver(
      (entries) => {
        inView = entries[entries.length - 1].intersectionRatio >= 0.5;
        this.look();
      },
      { threshold: [0, 0.5] },
    );
    this.observer.observe(this.node);
    document.addEventListener("visibilitychange", this.look);
  }
}
