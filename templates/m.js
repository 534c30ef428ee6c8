// What an open chat has besides messages: the menu, the rating, the sound, the field for a mail address, the report that
// the visitor writes, who invited. The widget imports it when the chat is opened for the first time.

const TEXTS = "clew:texts";
const STYLE = "clew:style";
const STAR = "M12 4l2.5 5.2 5.5.7-4 3.9 1 5.7-5-2.8-5 2.8 1-5.7-4-3.9 5.5-.7z";
let element, icon, iconButton, onEnter, fill, memory, post, obstacles, send, failed, audio;

/** The classes below, with the widget's helpers to make their elements in its shadow tree. */
export function equip(tools, shadow) {
  if (!element) {
    const style = new CSSStyleSheet();
    style.replaceSync(STYLE);
    shadow.adoptedStyleSheets = [...shadow.adoptedStyleSheets, style];
  }
  ({ element, icon, iconButton, onEnter, fill, memory, post, obstacles, send, failed } = tools);
  return { Menu, Rating, Reply, addAvatar, keep };
}

/** Two short tones. Before the visitor has used the page, browsers keep it silent. */
export function ring() {
  try {
    audio ??= new AudioContext();
    const { currentTime, destination } = audio;
    [660, 880].forEach((tone, place) => {
      const begin = currentTime + place * 0.14;
      const wave = audio.createOscillator();
      const volume = audio.createGain();
      wave.frequency.value = tone;
      volume.gain.setValueAtTime(0.12, begin);
      volume.gain.exponentialRampToValueAtTime(0.001, begin + 0.25);
      wave.connect(volume).connect(destination);
      wave.start(begin);
      wave.stop(begin + 0.3);
    });
  } catch {
    // No sound here.
  }
}

/** Counts new messages in the title of the page, until the page is seen. */
export function showInTitle(count) {
  const bare = document.title.replace(/^\(\d+\+?\) /, "");
  document.title = `(${count}) ${bare}`;
  // Before anybody who reads the title: the loader tells the server of it.
  addEventListener("visibilitychange", () => (document.title = bare), { capture: true, once: true });
}

const MAX_COMMENT = 500;
const TYPING = 2000; // ms between two reports that the visitor writes
const TYPED = 6000; // ms without a key after which it no longer writes
const PREVIEW = 1000; // characters that are reported

/** The rating of a closed talk: five buttons, then an optional comment. `rate(rating, text)` sends it. */
class Rating {
  constructor(rate) {
    this.rate = rate;
    this.node = element("div", { class: "rating", role: "group", "aria-label": TEXTS.rate });
    this.node.hidden = true;
  }

  /** Shows the question, once for each end of a talk. */
  ask() {
    if (!this.node.hidden || this.done) return;
    const stars = element("div", { class: "stars" });
    for (const number of [1, 2, 3, 4, 5]) {
      const label = fill(TEXTS.stars, { number });
      const star = element("button", { type: "button", class: "star", "aria-label": label, title: label });
      star.append(icon(STAR));
      star.addEventListener("click", () => this.choose(stars, number));
      stars.append(star);
    }
    this.node.replaceChildren(element("p", {}, TEXTS.rate), stars);
    this.node.hidden = false;
  }

  /** The talk goes on. */
  hide() {
    this.node.hidden = true;
    this.done = false;
  }

  choose(stars, rating) {
    [...stars.children].forEach((star, place) => star.setAttribute("aria-pressed", `${place < rating}`));
    this.rate(rating, "");
    if (this.node.querySelector(".composer")) {
      this.rating = rating;
      return;
    }
    this.rating = rating;
    const field = element("input", {
      class: "field",
      type: "text",
      maxlength: MAX_COMMENT,
      placeholder: TEXTS.comment,
      "aria-label": TEXTS.comment,
      enterkeyhint: "send",
    });
    const submit = () => {
      const text = field.value.trim();
      if (text) this.rate(this.rating, text);
      this.done = true;
      this.node.replaceChildren(element("p", { role: "status" }, TEXTS.thanks));
    };
    onEnter(field, submit);
    this.node.append(element("div", { class: "composer" }, field, iconButton("send", send, submit)));
  }
}

function save({ base }) {
  const offset = -new Date().getTimezoneOffset();
  element("a", { href: `${base}transcript?offset=${offset}`, download: "chat.txt" }).click();
}

async function deleteTalk(widget) {
  const { base, talk, panel, texts } = widget;
  const response = await post(`${base}forget-talk`, {}).catch(() => null);
  if (!response?.ok) {
    widget.announce(texts.error);
    return;
  }
  widget.greeting = null;
  talk.forgotten();
  panel.field.value = "";
  panel.log.introduce(texts.greeting);
  widget.refresh();
  widget.announce(TEXTS.deleted);
}

/** The menu in the head. `acts`: `widget`, `sound(on)`; `sounds`: whether a sound is offered. */
class Menu {
  constructor(sounds, acts) {
    this.acts = acts;
    this.button = iconButton("more", TEXTS.more, () => this.toggle());
    this.button.setAttribute("aria-expanded", "false");
    this.save = this.item(TEXTS.save, () => this.close(save(acts.widget)));
    this.forget = this.item(TEXTS.delete, () => this.confirm());
    this.items = [this.save, this.forget];
    if (sounds) {
      const sound = this.item(TEXTS.sound, () => {
        const on = sound.getAttribute("aria-pressed") !== "true";
        sound.setAttribute("aria-pressed", `${on}`);
        acts.sound(on);
      });
      sound.setAttribute("aria-pressed", `${memory.read().sound === true}`);
      this.items.unshift(sound);
    }
    this.node = element("div", { class: "menu", role: "group", "aria-label": TEXTS.more });
    this.node.hidden = true;
  }

  /** Without a talk there is nothing to save or to delete. */
  report(talks) {
    this.save.hidden = this.forget.hidden = !talks;
    this.button.hidden = this.items.every((item) => item.hidden);
    if (this.button.hidden) this.close();
  }

  item(text, act) {
    const button = element("button", { type: "button", class: "item" }, text);
    button.addEventListener("click", act);
    return button;
  }

  toggle() {
    this.node.replaceChildren(...this.items);
    this.node.hidden = !this.node.hidden;
    this.button.setAttribute("aria-expanded", `${!this.node.hidden}`);
    if (!this.node.hidden) this.items.find((item) => !item.hidden)?.focus();
  }

  close() {
    if (this.node.hidden) return;
    const focused = this.node.matches(":focus-within");
    this.node.hidden = true;
    this.button.setAttribute("aria-expanded", "false");
    if (focused) this.button.focus();
  }

  confirm() {
    const { acts } = this;
    const keep = this.item(TEXTS.keep, () => this.close());
    const forget = this.item(TEXTS.delete, () => {
      this.close();
      deleteTalk(acts.widget);
    });
    this.node.replaceChildren(element("p", {}, TEXTS.delete_all), forget, keep);
    keep.focus();
  }
}

/** Where the answer goes to if the visitor leaves: a field for a mail address, while nobody is there. */
class Reply {
  /** `tell(mail)` gives the address to the server; without it there is no field. */
  constructor(tell) {
    this.tell = tell;
    this.node = element("form", { class: "reply", novalidate: "" });
    this.field = element("input", {
      class: "field",
      type: "email",
      maxlength: "254",
      required: "",
      autocomplete: "email",
      placeholder: TEXTS.mail,
      "aria-label": TEXTS.mail,
    });
    this.button = element("button", { class: "start" }, TEXTS.by_mail);
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
    if (this.tell && (wanted || !this.field.value)) this.node.hidden = !wanted;
  }

  async submit() {
    const mail = this.field.value.trim();
    this.button.disabled = true;
    let status = 0;
    try {
      if (this.field.validity.valid) ({ status } = await this.tell(mail));
      else status = 422;
    } catch {
      // As any other failure.
    }
    this.button.disabled = false;
    if (status === 204) {
      memory.write({ mail });
      this.noted(mail);
    } else this.said.textContent = status === 422 ? TEXTS.mail_wrong : failed;
  }

  noted(mail) {
    this.field.value = "";
    this.field.hidden = this.button.hidden = true;
    this.said.textContent = fill(TEXTS.mail_noted, { mail });
  }
}

/** Tells the agent that the visitor writes. */
export class Typing {
  constructor(base, talk) {
    this.base = base;
    this.talk = talk;
  }

  /** The visitor has written something; `text` is what, where the site shows that. */
  write(written, text) {
    if (this.talk.state !== "open") return;
    clearTimeout(this.typed);
    this.typed = setTimeout(() => this.stop(), TYPED);
    if (!written) {
      this.stop();
      return;
    }
    Object.assign(this, { written, preview: text });
    this.reporting ??= setTimeout(() => {
      this.reporting = undefined;
      if (this.written !== this.reported) this.report();
    }, this.typedAt ? TYPING : 0);
  }

  stop() {
    const wrote = this.typedAt;
    this.end();
    if (wrote) post(`${this.base}typing`, { typing: false }).catch(() => {});
  }

  // A message ends it as well.
  end() {
    clearTimeout(this.typed);
    clearTimeout(this.reporting);
    this.reporting = this.typedAt = this.reported = undefined;
  }

  report() {
    this.typedAt = Date.now();
    this.reported = this.written;
    post(`${this.base}typing`, { typing: true, text: this.preview?.slice(0, PREVIEW) }).catch(() => {});
  }
}

// The first line of a conversation is the invite's: of who invited, whoever answers later.
function introduced(widget) {
  const { log } = widget.panel;
  if (log.named) return;
  log.named = true;
  const { introduce } = log;
  log.introduce = (text) => {
    introduce.call(log, text);
    const persona = widget.talk.persona ?? widget.persona;
    if (!persona || text === widget.texts.greeting) return;
    const heading = element("p", { class: "heading persona" }, element("span", { class: "who" }, persona.name));
    addAvatar(heading, persona.picture);
    log.introduction.prepend(heading);
  };
  if (widget.greeting) log.introduce(widget.greeting);
}

// A picture that the page's policy forbids, or that is gone, is left out.
function addAvatar(head, address) {
  if (!address) return;
  const picture = element("img", { class: "avatar", src: address, alt: "" });
  picture.referrerPolicy = "no-referrer";
  picture.addEventListener("error", () => picture.remove());
  head.prepend(picture);
}

/** Keeps the focus and the newest message inside. */
function keep(panel) {
  keepFocus(panel);
  keepEnd(panel.log);
}

// Behind a chat that fills the screen is nothing that could have the focus.
function keepFocus(panel) {
  panel.node.addEventListener("keydown", (event) => {
    if (event.key !== "Tab" || !panel.full) return;
    const all = [...panel.node.querySelectorAll("button, textarea, input, a[href], [tabindex='0']")];
    const there = all.filter((node) => node.checkVisibility?.() ?? node.offsetParent);
    const [first, last] = [there[0], there.at(-1)];
    const focused = panel.node.getRootNode().activeElement;
    const leaves = event.shiftKey ? focused === first || focused === panel.node : focused === last;
    if (!leaves) return;
    event.preventDefault();
    (event.shiftKey ? last : first).focus();
  });
}

const HERE = 45000; // ms between two reports that the visitor still looks at the page
const SCROLLED = 60; // px

// A page on which nothing happens asks the server nothing, and the agent would read that the visitor has left.
function stays(widget) {
  if (widget.shown && widget.talk.state === "open" && document.visibilityState === "visible") widget.post({ kind: "here" });
}

// The newest message stays in sight when the log gets lower (a notice, the rating, a keyboard, less room), and when
// something is added to it.
function keepEnd(log) {
  const { node } = log;
  let end = true;
  let top = 0;
  const follow = () => end && log.toEnd();
  // Only who scrolls up wants to read what is older: a picture that comes makes the log longer, too.
  const scrolled = () => {
    end = log.atEnd() || (end && node.scrollTop >= top);
    top = node.scrollTop;
  };
  node.addEventListener("scroll", scrolled, { passive: true });
  node.addEventListener("load", follow, true);
  new ResizeObserver(follow).observe(node);
  new MutationObserver(() => requestAnimationFrame(follow)).observe(node, { childList: true, subtree: true });
}

/**
 * What makes room where the page was scrolled under the open chat: it goes to the other side, or is lower, and is small
 * where both do not help. It stays where the visitor opened it over something, and where it has begun to write.
 */
export function room(widget) {
  introduced(widget);
  const { panel } = widget;
  const { field } = panel;
  widget.here ??= setInterval(() => stays(widget), HERE);
  const from = scrollY;
  const idle = self.requestIdleCallback ?? ((work) => setTimeout(work));
  let waits = false;
  const make = () => {
    waits = false;
    if (!panel.opened || widget.panel !== panel) return;
    if (widget.fits(obstacles())) return;
    if (!field.value.trim() && Math.abs(scrollY - from) > SCROLLED) widget.shut();
  };
  return () => {
    if (!waits) idle(make, { timeout: 500 });
    waits = true;
  };
}
