// The invite: a bubble with a text and, if the rule asks for it, a field for a question. It does not take the focus.

const MAX_QUESTION = 1000;

class Invite {
  /**
   * `invite` is `{rule, text, question}` of decide's response. `acts` are callbacks: `seen()`, called once;
   * `accepted(question)`, with "" without a question; `dismissed()`.
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

  /** The text in the field. */
  get written() {
    return this.field?.value ?? "";
  }

  /** Writes a text into the field, if there is one, and moves the caret to its end. */
  write(text) {
    if (!this.field) return;
    this.field.value = text;
    this.field.setSelectionRange(text.length, text.length);
  }

  /** Whether the visitor is using it, so that it must not be removed. */
  get busy() {
    return this.written !== "" || this.node.matches(":focus-within");
  }

  /** Removes it from the page. */
  remove() {
    this.observer.disconnect();
    document.removeEventListener("visibilitychange", this.check);
    this.node.remove();
  }

  question(texts) {
    this.field = element("input", {
      class: "field",
      type: "text",
      maxlength: MAX_QUESTION,
      placeholder: texts.question,
      "aria-label": texts.question,
      autocomplete: "off",
      enterkeyhint: "send",
    });
    const submit = () => {
      const question = this.field.value.trim();
      if (question) this.acts.accepted(question);
      else this.field.focus();
    };
    onEnter(this.field, submit);
    return element("div", { class: "composer" }, this.field, iconButton("send", texts.send, submit));
  }

  button(texts) {
    const start = element("button", { type: "button", class: "start" }, texts.start);
    start.addEventListener("click", () => this.acts.accepted(""));
    return start;
  }

  // An invite is seen if at least half of it was in the viewport of a visible page.
  watch() {
    let inView = false;
    this.check = () => {
      if (!inView || isHidden() || this.reported) return;
      this.reported = true;
      this.acts.seen();
    };
    this.observer = new IntersectionObserver(
      (entries) => {
        inView = entries[entries.length - 1].intersectionRatio >= 0.5;
        this.check();
      },
      { threshold: [0, 0.5] },
    );
    this.observer.observe(this.node);
    document.addEventListener("visibilitychange", this.check);
  }
}
