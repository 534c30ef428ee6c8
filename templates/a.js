// What few invites have: who invites, a form to be called, a number, a code, and a chat that opens by itself. The widget
// imports it with the first such invite.

const TEXTS = "clew:texts";
const STYLE = "clew:style";
const AGAIN = 30 * 60000; // ms after which another visit has begun
const WRITES = "input, textarea, select, iframe, [contenteditable=''], [contenteditable=true]";
let element, iconButton, fill, memory, post;

export class Extras {
  constructor(widget, tools) {
    ({ element, iconButton, fill, memory, post } = tools);
    this.widget = widget;
    this.answered = new Set(); // rules whose invite was answered and is still to be read
    const style = new CSSStyleSheet();
    style.replaceSync(STYLE);
    const { shadow } = widget;
    shadow.adoptedStyleSheets = [...shadow.adoptedStyleSheets, style];
    const { settle } = widget;
    widget.settle = (kind) => {
      if (kind === "dismissed" && this.answered.has(widget.invite.rule)) widget.uninvite();
      else settle.call(widget, kind);
    };
  }

  /** Adds to an invite's bubble what its answer says. */
  dress(bubble) {
    const { node, invite } = bubble;
    const { persona, callback, number, offer } = invite.more ?? {};
    this.widget.persona = persona;
    if (persona) node.prepend(this.persona(persona));
    const answer = node.lastChild;
    if (callback) answer.replaceWith(this.callback(invite, bubble));
    if (number) answer.replaceWith(this.number(invite, number));
    if (offer === undefined) return;
    answer.before(this.given?.rule === invite.rule ? this.code(this.given) : this.offer(invite, offer));
  }

  persona({ name, picture }) {
    const line = element("p", { class: "persona" });
    if (picture) {
      const image = element("img", { class: "face", src: picture, alt: "" });
      image.referrerPolicy = "no-referrer";
      // That the page's policy forbids, or that is gone.
      image.addEventListener("error", () => image.remove());
      line.append(image);
    }
    line.append(element("span", { dir: "auto" }, name));
    return line;
  }

  // The invite stays, for it may still be of use.
  accept(rule) {
    if (this.answered.has(rule)) return;
    this.answered.add(rule);
    this.widget.settled.add(rule);
    this.widget.notify("accepted", rule);
  }

  number({ rule }, { tel, shown }) {
    const link = element("a", { class: "start", href: `tel:${tel}`, dir: "ltr" }, shown);
    link.addEventListener("click", () => this.accept(rule));
    return link;
  }

  callback({ rule }, bubble) {
    const { widget } = this;
    const form = element("form", { novalidate: "" });
    const field = element("input", {
      class: "field",
      type: "tel",
      maxlength: "40",
      required: "",
      autocomplete: "tel",
      placeholder: TEXTS.phone,
      "aria-label": TEXTS.phone,
      "aria-describedby": "phone-said",
      dir: "ltr",
      enterkeyhint: "send",
    });
    bubble.field = field; // what is typed there must not be removed
    const button = iconButton("send", TEXTS.callback_title, () => {});
    button.type = "submit";
    const said = element("p", { class: "status", id: "phone-said", role: "status" });
    const line = element("div", { class: "composer" }, field, button);
    form.append(line, said);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const phone = field.value.trim();
      if (!phone) {
        field.focus();
        return;
      }
      button.disabled = true;
      let status = 0;
      try {
        const body = new URLSearchParams({ phone });
        ({ status } = await fetch(`${widget.base}callback?lang=${widget.talk.language}`, { method: "POST", body }));
      } catch {
        // As any other failure.
      }
      button.disabled = false;
      if (status === 422) field.setAttribute("aria-invalid", "true");
      else field.removeAttribute("aria-invalid");
      said.textContent =
        status === 200 ? fill(TEXTS.callback_sent, { phone }) : status === 422 ? TEXTS.phone_wrong : TEXTS.not_now;
      if (status === 200) {
        const focused = line.matches(":focus-within");
        field.value = "";
        line.remove();
        if (focused) widget.invite?.node.querySelector(".close").focus();
        this.accept(rule);
      }
      widget.look();
    });
    return form;
  }

  offer({ rule }, label) {
    const { widget } = this;
    const said = element("p", { class: "status", role: "status" });
    const button = element("button", { type: "button", class: "reveal" }, TEXTS.show_code);
    const box = element("div", { class: "offer" }, element("p", { dir: "auto" }, label), button, said);
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        const response = await post(`${widget.base}coupon`, { rule, page: location.pathname + location.search });
        if (!response.ok) throw response.status;
        this.given = { rule, ...(await response.json()) };
        const found = this.code(this.given);
        box.replaceWith(found);
        found.querySelector("[tabindex]").focus();
        if (widget.invite) widget.invite.text += `\n${this.given.label}: ${this.given.code}`;
      } catch {
        button.disabled = false;
        said.textContent = TEXTS.not_now;
      }
      widget.look();
    });
    return box;
  }

  code({ code, label, link }) {
    const text = element("b", { class: "code", dir: "ltr", tabindex: "-1" }, code);
    const name = link ? element("a", { href: link, dir: "auto" }, label) : element("span", { dir: "auto" }, label);
    return element("p", { class: "offer", role: "status" }, name, " ", text);
  }

  /**
   * Opens the chat for an invite that says so, with its text as the first line; returns whether it did. Else it is a
   * bubble: where the chat would fill the screen, would cover something, or would come over what the visitor does, and
   * where it is another company's, which is not loaded unasked.
   */
  open(view, invite) {
    const { rule, text, more = {} } = invite;
    const { widget } = this;
    if (!more.open || widget.panel.full || busy() || Date.now() - (memory.read().openedAt ?? 0) < AGAIN) return false;
    if (widget.provided) return this.openElsewhere(view, invite);
    const { greeting, panel } = widget;
    Object.assign(widget, { persona: more.persona, greeting: text, rule });
    panel.log.introduce(text);
    widget.open(false);
    if (!panel.opened) {
      Object.assign(widget, { greeting, rule: null });
      panel.log.introduce(greeting ?? widget.texts.greeting);
      return false;
    }
    this.opened(rule);
    // On the next page it is open only if the visitor has turned to it here.
    memory.write({ open: false });
    panel.node.addEventListener("focusin", () => memory.write({ open: true }), { once: true });
    widget.announce(text);
    this.await(rule);
    return true;
  }

  // It was seen once the provider has said it; if the provider does not come, it is a bubble.
  openElsewhere(view, invite) {
    const { widget } = this;
    const { elsewhere, chat } = widget;
    if (chat.load !== "page" || !chat.says) return false;
    memory.write({ openedAt: Date.now() });
    widget.settled.add(invite.rule);
    elsewhere.load(chat.attributes).then((usable) => {
      if (usable && elsewhere.act((provider) => provider.say(invite.text))) return this.opened(invite.rule);
      widget.settled.delete(invite.rule);
      widget.offer(view, invite);
    });
    return true;
  }

  opened(rule) {
    const { widget } = this;
    memory.write({ openedAt: Date.now() });
    if (!widget.seen.has(rule)) widget.notify("seen", rule);
    widget.seen.add(rule);
  }

  // Whoever writes has accepted; whoever puts the chat away without has dismissed the invite.
  await(rule) {
    const { widget } = this;
    const { talk } = widget;
    const over = (kind) => {
      delete talk.send;
      delete widget.minimise;
      widget.settled.add(rule);
      widget.notify(kind, rule);
    };
    talk.send = (...said) => {
      over("accepted");
      talk.send(...said);
    };
    widget.minimise = () => {
      widget.rule = null;
      over("dismissed");
      widget.minimise();
    };
  }
}

// Whether the visitor writes, chooses or reads something that must not be disturbed.
function busy() {
  let active = document.activeElement;
  while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
  const selects = getSelection()?.isCollapsed === false;
  return active?.matches(WRITES) || selects || document.querySelector("dialog[open], [aria-modal=true]") !== null;
}
