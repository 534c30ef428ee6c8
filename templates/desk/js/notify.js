// Sound and notifications of the browser, as the agent's account has them. A browser shows notifications only
// after it was asked, by the button on the page of the account.

const { notify = "off", sound = "off" } = top_?.dataset ?? {};
let waitingBefore = null;
let audio = null;

// Browsers let a page make sounds only after somebody has used it.
function awake() {
  audio ??= new AudioContext();
  audio.resume();
}
if (sound === "on") for (const name of ["pointerdown", "keydown"]) document.addEventListener(name, awake, { once: true });

function ring() {
  if (audio === null || audio.state !== "running") return;
  const tone = audio.createOscillator();
  const volume = audio.createGain();
  const now = audio.currentTime;
  tone.frequency.setValueAtTime(660, now);
  tone.frequency.setValueAtTime(880, now + 0.12);
  volume.gain.setValueAtTime(0.12, now);
  volume.gain.exponentialRampToValueAtTime(0.001, now + 0.4);
  tone.connect(volume).connect(audio.destination);
  tone.start(now);
  tone.stop(now + 0.4);
}

// One of the desk's tabs does it, where the browser lets them agree on that.
async function once(name, act) {
  if (navigator.locks === undefined) return act();
  return navigator.locks.request(`clew ${name}`, { ifAvailable: true }, async (lock) => {
    if (lock === null) return;
    act();
    await new Promise((done) => setTimeout(done, 2000));
  });
}

function tell(name, title, body, path) {
  if (document.visibilityState === "visible" && document.hasFocus()) return;
  once(name, () => {
    if (sound === "on") ring();
    if (typeof Notification !== "function" || Notification.permission !== "granted") return;
    // The same name in another tab takes the place of the first.
    const shown = new Notification(title, { body, tag: name });
    shown.addEventListener("click", () => {
      window.focus();
      shown.close();
      if (path !== location.pathname) location.assign(path);
    });
  });
}

// A message in one of the agent's conversations, or in one that the page shows.
function tellOfMessage(message) {
  if (notify === "off" || message.author !== "visitor") return;
  tell(`message ${message.id}`, "New message", message.text.slice(0, 120), `${base}/conversations/${message.conversation}`);
}

// Somebody waits whom nobody has answered yet.
function tellOfWaiting() {
  const found = document.getElementById("inbox-title");
  if (found === null) return;
  const waiting = Number(found.dataset.waiting);
  if (notify === "all" && waitingBefore !== null && waiting > waitingBefore) {
    tell(`waiting ${waiting}`, `${waiting} waiting`, "A visitor waits for an answer.", `${base}/`);
  }
  waitingBefore = waiting;
}

const ask = document.getElementById("ask-notify");
if (ask !== null && typeof Notification === "function") {
  const said = document.getElementById("notify-state");
  const words = {
    granted: "This browser shows notifications.",
    denied: "This browser blocks notifications: allow them in its settings for this site.",
    default: "This browser was not asked yet.",
  };
  const show = () => {
    said.textContent = words[Notification.permission];
    ask.hidden = Notification.permission !== "default";
  };
  ask.addEventListener("click", () => Notification.requestPermission().then(show));
  show();
}
const tried = document.getElementById("try-sound");
if (tried !== null) {
  tried.hidden = false;
  tried.addEventListener("click", () => {
    awake();
    audio.resume().then(ring);
  });
}
