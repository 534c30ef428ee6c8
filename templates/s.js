// Sends files of the visitor. The widget imports it when the first one is chosen, dropped or pasted.

const TEXTS = "clew:texts";
const AGAIN = 3; // attempts in all, where the connection breaks
const PAUSE = 2000; // ms between them

/** Sends files one after the other, and shows how far they are above the chat's field. */
export class Uploads {
  /** `talk` gets what was sent. */
  constructor(base, talk) {
    this.base = base;
    this.talk = talk;
    this.last = Promise.resolve();
  }

  /** Sends `files` into the conversation that `panel` shows; `rule` as for a message. */
  send(files, panel, rule) {
    for (const file of files) {
      this.last = this.last.then(() => this.one(file, panel, rule));
      rule = null;
    }
  }

  async one(file, panel, rule) {
    const line = document.createElement("p");
    line.className = "upload";
    line.setAttribute("role", "status");
    panel.notice.after(line);
    const show = (text) => (line.textContent = `${file.name}: ${text}`);
    show(panel.texts.sending);
    const { megabytes } = panel.files;
    let problem = file.size > megabytes * 2 ** 20 ? "size" : null;
    if (!problem) problem = await this.attempts(file, rule, (part) => show(`${Math.round(100 * part)} %`));
    if (!problem) {
      line.remove();
      return;
    }
    line.classList.add("wrong");
    const said = { type: "file_kinds", size: "file_kinds", lies: "file_lies", many: "file_many", full: "file_many" };
    show((TEXTS[said[problem]] ?? TEXTS.file_failed).replace("{megabytes}", megabytes));
    // It stays until the visitor goes on.
    panel.node.addEventListener("pointerdown", () => line.remove(), { once: true });
    panel.field.addEventListener("input", () => line.remove(), { once: true });
  }

  // The same id each time: what has arrived although the answer was lost is not taken again.
  async attempts(file, rule, progress) {
    const client = crypto.getRandomValues(new Uint32Array(4)).join("-");
    for (let left = AGAIN; left > 0; left -= 1) {
      const { status, answer } = await this.post(file, client, rule, progress);
      if (status === 200 || status === 201) {
        this.talk.sent(answer);
        return null;
      }
      if (status && status !== 503) return answer?.reason ?? (status === 429 ? "many" : "failed");
      if (left > 1) await new Promise((done) => setTimeout(done, PAUSE));
    }
    return "failed";
  }

  // `fetch` tells no progress of what it sends.
  post(file, client, rule, progress) {
    const query = new URLSearchParams({ client_id: client, language: this.talk.language });
    if (rule) query.set("rule", rule);
    return new Promise((done) => {
      const request = new XMLHttpRequest();
      request.open("POST", `${this.base}files?${query}`);
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.setRequestHeader("X-Clew-Name", encodeURIComponent(file.name.toWellFormed?.() ?? file.name).slice(0, 900));
      request.responseType = "json";
      request.upload.addEventListener("progress", ({ loaded, total }) => progress(loaded / total));
      request.addEventListener("loadend", () => done({ status: request.status, answer: request.response }));
      request.send(file);
    });
  }
}
