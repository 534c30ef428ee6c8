// Canned answers: chosen from the list, or by `/` and the beginning of a shortcut in the field.

const SHORTCUT = /(?:^|\s)\/([a-z0-9_-]{0,30})$/i;
const BRACES = /\{(?:product|cart|partner|visitor|agent)\}/g;
const OFFERED = 8;

class Canned {
  constructor(talk) {
    this.talk = talk;
    this.text = talk.text;
    this.list = talk.form.querySelector(".canned ul");
    if (this.list === null) return;
    this.box = document.createElement("ul");
    this.box.className = "offers";
    this.box.id = `offers-${talk.id}`;
    this.box.setAttribute("role", "listbox");
    this.box.setAttribute("aria-label", "Canned answers");
    this.box.hidden = true;
    talk.form.querySelector(".field").append(this.box);
    this.text.setAttribute("aria-autocomplete", "list");
    this.text.setAttribute("aria-controls", this.box.id);
    this.text.addEventListener("input", () => this.offer());
    this.text.addEventListener("blur", () => this.close());
    // Before the field's own: Enter chooses here, and sends there.
    this.text.addEventListener("keydown", (event) => this.pressed(event), { capture: true });
    this.box.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      const option = event.target.closest("[role=option]");
      if (option !== null) this.choose(option);
    });
  }

  get options() {
    return [...this.box.children];
  }

  // The shortcut that is being written before the caret, null if none is.
  get written() {
    if (this.text.selectionStart !== this.text.selectionEnd) return null;
    return SHORTCUT.exec(this.text.value.slice(0, this.text.selectionStart));
  }

  offer() {
    const written = this.written;
    if (written === null) return this.close();
    const word = written[1].toLowerCase();
    const found = [...this.list.querySelectorAll("[data-canned]")];
    const named = found.filter((one) => one.dataset.shortcut.startsWith(word));
    const said = found.filter((one) => !named.includes(one) && word.length > 1 && one.dataset.canned.toLowerCase().includes(word));
    const offered = [...named, ...said].slice(0, OFFERED);
    this.box.replaceChildren(
      ...offered.map((one, number) => {
        const option = document.createElement("li");
        const shortcut = document.createElement("b");
        option.id = `${this.box.id}-${number}`;
        option.setAttribute("role", "option");
        option.dataset.canned = one.dataset.canned;
        shortcut.textContent = `/${one.dataset.shortcut}`;
        option.append(shortcut, ` ${one.dataset.canned}`);
        return option;
      }),
    );
    this.box.hidden = offered.length === 0;
    if (offered.length) this.select(0);
    else this.text.removeAttribute("aria-activedescendant");
  }

  select(number) {
    const { options } = this;
    this.chosen = (number + options.length) % options.length;
    options.forEach((option, at) => option.setAttribute("aria-selected", String(at === this.chosen)));
    options[this.chosen].scrollIntoView({ block: "nearest" });
    this.text.setAttribute("aria-activedescendant", options[this.chosen].id);
  }

  close() {
    this.box.hidden = true;
    this.text.removeAttribute("aria-activedescendant");
  }

  choose(option) {
    const written = this.written;
    const end = this.text.selectionStart;
    const start = written === null ? end : end - written[1].length - 1;
    this.text.setRangeText(option.dataset.canned, start, end, "end");
    this.close();
    this.text.dispatchEvent(new InputEvent("input", { bubbles: true }));
  }

  pressed(event) {
    if (event.isComposing || this.box.hidden) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") this.select(this.chosen + (event.key === "ArrowDown" ? 1 : -1));
    else if (event.key === "Enter" || event.key === "Tab") this.choose(this.options[this.chosen]);
    else if (event.key === "Escape") this.close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

// What in the text still has to be replaced. The server refuses it, too.
function unfilled(words) {
  return [...new Set(words.match(BRACES) ?? [])];
}
