// clew's loader: asks what to show, and loads the widget if needed.
(() => {
  // Optimizers leave no currentScript.
  const script = document.currentScript ?? document.querySelector("script[data-clew]");
  const src = script?.getAttribute("src");
  if (!src || window.__clew || window.top !== window) return;
  window.__clew = true;

  const LOAD = 5000; // ms to wait for the load event
  const SETTLE = 400; // ms for an application to change its title
  const RETRY = 15000; // ms until the one retry
  const LONGEST = 2 ** 31 - 1; // ms that a timer can wait

  let base, widget, sent, watcher, turn;
  let consent, landing; // the page's message; the visit's start
  // Of this view. since: 0 until it is visible.
  let view, url, address, referrer, since, due, failed, timer, settling, told, rule, least;
  let watched; // for signals, on any view

  const hidden = () => document.visibilityState === "hidden";
  const here = () => location.pathname + location.search;
  const on = (target, type, act) => target.addEventListener(type, act);
  const load = (name, act) => import(base + name).then(act).catch(() => {});
  const once = (target, type) => new Promise((done) => on(target, type, done));

  // The shop may call this at any time. Before the loader runs, it sets window.clewConsent.
  const chosen = (state) => ["granted", "denied"].includes(state) && { ...consent, choice: state };
  consent = chosen(window.clewConsent) || undefined;
  (window.clew ??= {}).consent = (state) => agree(chosen(state));
  function agree(message, from) {
    if (!message) return;
    consent = { ...consent, ...message };
    landing = from ?? landing;
    // In turn, because responses set cookies.
    if (view) turn = turn.then(ask);
  }

  function begin(from) {
    view = crypto.getRandomValues(new Uint32Array(4)).join("-");
    referrer = url ?? document.referrer;
    const landed = performance.getEntriesByType("navigation")[0]?.name; // original
    url = !url && landed?.split(/[?#]/)[0] === location.origin + location.pathname ? landed : location.href;
    address = here();
    since = from;
    failed = false;
    told = [];
    turn = ask();
  }

  async function ask(timed) {
    clearTimeout(timer);
    due = hidden();
    if (due) return;
    since ||= performance.now();
    const current = view;
    const from = landing;
    const title = document.title;
    const language = document.documentElement.lang || navigator.language || "";
    const jar = document.cookie;
    const seconds = Math.max(0, Math.floor((performance.now() - since) / 1000));
    try {
      const response = await fetch(base + "decide", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ view, url, title, referrer, language, seconds, consent, landing, told }),
      });
      if (!response.ok) throw response.status;
      const answer = await response.json();
      if (landing === from) landing = undefined;
      if (current !== view) return;
      if (answer.consent) {
        watcher ??= import(base + "c.js").then((c) => c.watch(agree));
        watcher.then((watch) => watch(answer.consent, jar)).catch(() => {});
      }
      if (answer.carry) load("k.js", (k) => k.carry(answer.carry));
      if (answer.checkout) load("h.js", (h) => h.watch(base, answer.checkout) && (address = here()));
      if (answer.order && sent !== view) {
        sent = view;
        load("o.js", (o) => o.report(base, answer.order, () => current === view, referrer));
      }
      if ((watched ||= answer.watch)) {
        const tell = (signal) => current === view && told.push(signal) && (turn = turn.then(ask));
        load("t.js", (t) => current === view && t.watch(answer.watch ?? [], tell));
      }
      // If time changes nothing, a clock is wrong.
      least = timed && answer.rule === rule ? Math.min(least * 2, 60) : 1;
      rule = answer.rule;
      if (answer.retry_after > 0) timer = setTimeout(ask, Math.min(Math.max(answer.retry_after, least) * 1000, LONGEST), 1);
      if (!widget && !["show", "invite"].includes(answer.action)) return;
      // Once, whatever languages follow; after a failure again.
      widget ??= import(base + "w.js?" + answer.language).catch((error) => {
        widget = undefined;
        throw error;
      });
      const { update } = await widget;
      if (current === view) update(base, view, answer);
    } catch {
      if (current !== view || failed) return;
      failed = true;
      clearTimeout(timer);
      timer = setTimeout(ask, RETRY);
    }
  }

  function moved(event) {
    // A changed query is not a new page view.
    if (event?.navigationType === "replace" && location.pathname === address.split("?")[0]) address = here();
    clearTimeout(settling);
    settling = setTimeout(() => {
      // Busy: turbo:load follows.
      if (here() !== address && document.documentElement.getAttribute("aria-busy") !== "true") begin(0);
    }, SETTLE);
  }

  async function start() {
    // Not script.src: a <base> would change it.
    base = new URL(".", new URL(src, location.href)).href;
    const started = hidden() || document.prerendering ? 0 : performance.now();
    if (document.prerendering) await once(document, "prerenderingchange");
    if (document.readyState === "loading") await once(document, "DOMContentLoaded");
    if (document.body?.localName === "frameset") return;
    // Frameworks fail on a page changed too early.
    const late = new Promise((done) => setTimeout(done, LOAD));
    if (document.readyState !== "complete") await Promise.race([once(window, "load"), late]);
    await new Promise((done) => (window.requestIdleCallback ?? setTimeout)(done, { timeout: 2000 }));
    begin(started);
    on(document, "visibilitychange", () => due && !hidden() && ask());
    on(window, "pageshow", (event) => event.persisted && begin(0));
    on(document, "turbo:load", moved);
    on(window, "popstate", moved);
    if (window.navigation) on(navigation, "currententrychange", moved);
    else setInterval(() => here() !== address && moved(), 1000);
  }

  start().catch(() => {});
})();
