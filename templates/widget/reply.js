// Where the answer goes to if the visitor leaves: a field for a mail address, while nobody is there.

class Reply {
  /** `send(mail)` gives the address to the server; without it there is no field. */
  constructor(texts, send) {
    this.texts = texts;
    this.send = send;
    this.node = element("form", { class: "reply", novalidate: "" });
    this.field = element("input", {
      class: "field",
      type: "email",
      maxlength: "254",
      required: "",
      autocomplete: "email",
      placeholder: texts.mail,
      "aria-label": texts.mail,
    });
    this.button = element("button", { class: "start" }, texts.by_mail);
    this.said = element("p", { class: "status", role: "status" });
    this.node.append(this.field, this.button, this.said);
    this.node.hidden = true;
    this.node.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    const { mail } = memory.read();
    if (mail) this.noted(mail);
  }

  /** Shows it while it is of use. An address that the visitor is writing stays. */
  show(wanted) {
    if (this.send && (wanted || !this.field.value)) this.node.hidden = !wanted;
  }

  async submit() {
    const mail = this.field.value.trim();
    this.button.disabled = true;
    let status = 0;
    try {
      if (this.field.validity.valid) ({ status } = await this.send(mail));
      else status = 422;
    } catch {
      // As any other failure.
    }
    this.button.disabled = false;
    if (status === 204) {
      memory.write({ mail });
      this.noted(mail);
    } else this.said.textContent = status === 422 ? this.texts.mail_wrong : this.texts.failed;
  }

  noted(mail) {
    this.field.value = "";
    this.field.hidden = this.button.hidden = true;
    this.said.textContent = fill(this.texts.mail_noted, { mail });
  }
}
