// Files and pictures of a conversation: sent by choosing, dropping or pasting them.

// As templates/desk/_file.html has it. `came` is called when a picture is there.
function shownFile(file, came) {
  const link = document.createElement("a");
  link.href = `${base}/files/${encodeURIComponent(file.id)}?key=${top_.dataset.key}`;
  if (file.width) {
    const picture = document.createElement("img");
    link.className = "picture";
    link.target = "_blank";
    link.rel = "noopener";
    const { name: alt, width, height } = file;
    Object.assign(picture, { alt, width, height, loading: "lazy", src: link.href });
    picture.addEventListener("load", came);
    link.append(picture);
    return [link];
  }
  const size = document.createElement("span");
  link.className = "file";
  link.download = "";
  link.textContent = file.name;
  size.className = "size";
  const { size: bytes } = file;
  const short = bytes < 1e6 ? `${Math.round(bytes / 1000)} KB` : `${(bytes / 1e6).toFixed(1)} MB`;
  size.textContent = bytes < 1000 ? `${bytes} bytes` : short;
  return [link, " ", size];
}

// The visitor has sent another copy of its page. Setting the same address loads the frame again.
function showPage() {
  for (const frame of document.querySelectorAll(".shown-page")) frame.src = frame.getAttribute("src");
}

class Files {
  constructor(talk) {
    this.talk = talk;
    this.form = talk.root.querySelector(".send-file");
    this.hint = this.form.querySelector(".file-hint");
    this.last = Promise.resolve();
  }

  listen() {
    const { form, talk } = this;
    const field = form.querySelector("input[type=file]");
    const pane = talk.root;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send(field.files);
      field.value = "";
    });
    field.addEventListener("change", () => field.files.length && form.requestSubmit());
    form.querySelector("button").hidden = true;
    form.classList.add("at-once");
    field.multiple = true;
    talk.text.addEventListener("paste", (event) => this.take(event.clipboardData.files, event));
    pane.addEventListener("dragover", (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      // Else a browser leaves the page for a file that is dropped.
      event.preventDefault();
      pane.classList.add("drop");
    });
    pane.addEventListener("dragleave", (event) => {
      if (!pane.contains(event.relatedTarget)) pane.classList.remove("drop");
    });
    pane.addEventListener("drop", (event) => {
      pane.classList.remove("drop");
      this.take(event.dataTransfer.files, event);
    });
  }

  take(files, event) {
    if (!files.length) return;
    event.preventDefault();
    this.send(files);
  }

  send(files) {
    for (const file of [...files]) this.last = this.last.then(() => this.one(file));
  }

  async one(file) {
    const problem = await this.post(file);
    this.say(problem ? `${file.name}: ${problem}` : `${file.name} was sent.`, problem !== "");
    if (!problem) await refresh();
    this.talk.toEnd();
  }

  say(words, wrong = false) {
    this.hint.textContent = words;
    this.hint.classList.toggle("problem", wrong);
  }

  // `fetch` tells no progress of what it sends. The result is what went wrong, or "".
  post(file) {
    const data = new FormData(this.form);
    data.set("client_id", randomId());
    data.set("file", file, file.name);
    return new Promise((done) => {
      const request = new XMLHttpRequest();
      request.open("POST", this.form.action);
      request.setRequestHeader("Accept", "application/json");
      request.setRequestHeader("X-Clew-Csrf", csrfHeader["X-Clew-Csrf"]);
      request.responseType = "json";
      request.upload.addEventListener("progress", ({ loaded, total }) => {
        this.say(`${file.name}: ${Math.round((100 * loaded) / total)} %`);
      });
      request.addEventListener("loadend", () => {
        if (request.status === 201) done("");
        else if (request.status) done(request.response?.error ?? `Not sent (${request.status}). Try again.`);
        else done("Not sent: no connection to the server. Try again.");
      });
      request.send(data);
    });
  }
}
