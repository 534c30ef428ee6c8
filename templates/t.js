// Signals that only the browser knows, such as that the visitor is about to leave. The loader imports this when a
// decision waits for one. A signal is told once; the server then decides again.

const QUICK = 1000; // ms in which clicks are a rage
const NEAR = 30; // pixels between them
const CLICKS = 3;
const LOOK = 1000; // ms until an element that is not there yet is looked for again
const READ = 1000; // ms in which clew has read the shop's answer to a call
const CALLS = 8; // after which it is asked again, for an address
const base = new URL(".", import.meta.url).href;

const active = new Map(); // what ends the watch for a signal
let told;
let called = 0;
let calling; // the address of the calls

/** Watches for these signals and no others; `tell(signal)` is called when one comes. */
export function watch(signals, tell) {
  told = tell;
  for (const signal of [...active.keys()]) if (!signals.includes(signal)) end(signal);
  for (const signal of signals) {
    if (active.has(signal)) continue;
    const [, kind, value] = /^(\S+) ?(.*)$/.exec(signal);
    const stops = [];
    active.set(signal, stops);
    START[kind]?.(() => active.get(signal) === stops && come(signal), value, stops);
  }
}

function come(signal) {
  end(signal);
  told(signal);
}

function end(signal) {
  const stops = active.get(signal);
  active.delete(signal);
  for (const stop of stops ?? []) stop();
}

function on(stops, target, types, act) {
  for (const type of types.split(" ")) {
    target.addEventListener(type, act, { capture: true, passive: true });
    stops.push(() => target.removeEventListener(type, act, { capture: true }));
  }
}

const hidden = () => document.visibilityState === "hidden";

const START = {
  // The pointer leaves the page by its upper edge, where tabs and address are.
  exit(now, _, stops) {
    on(stops, document, "mouseout", (event) => !event.relatedTarget && event.clientY <= 0 && now());
  },

  // The visitor comes back from another tab.
  back(now, _, stops) {
    let away = hidden();
    on(stops, document, "visibilitychange", () => {
      if (away && !hidden()) now();
      away = hidden();
    });
  },

  idle(now, value, stops) {
    let timer;
    const again = () => {
      clearTimeout(timer);
      timer = setTimeout(() => (hidden() ? again() : now()), parseFloat(value) * 1000);
    };
    on(stops, window, "pointermove pointerdown keydown wheel touchstart scroll", again);
    on(stops, document, "visibilitychange", again);
    stops.push(() => clearTimeout(timer));
    again();
  },

  scroll(now, value, stops) {
    const look = () => {
      const { scrollHeight, clientHeight } = document.scrollingElement ?? document.documentElement;
      if (scrollHeight && (scrollY + (innerHeight || clientHeight)) / scrollHeight >= parseFloat(value) / 100) now();
    };
    on(stops, window, "scroll resize", look);
    look();
  },

  // Several quick clicks at one place: something does not work.
  rage(now, _, stops) {
    let clicks = [];
    on(stops, document, "click", (event) => {
      const near = (click) =>
        event.timeStamp - click.timeStamp < QUICK && Math.hypot(event.clientX - click.clientX, event.clientY - click.clientY) < NEAR;
      clicks = [...clicks.filter(near), event];
      if (clicks.length >= CLICKS) now();
    });
  },

  visible(now, value, stops) {
    const seen = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && now(), { threshold: 0.5 });
    let timer;
    const look = () => {
      let element;
      try {
        element = document.querySelector(value);
      } catch {
        return; // not a selector
      }
      if (element) seen.observe(element);
      else timer = setTimeout(look, LOOK);
    };
    stops.push(() => seen.disconnect(), () => clearTimeout(timer));
    look();
  },

  // A script of the page has called the shop after the visitor did something, such as to try a coupon. What came of it
  // the server has seen.
  call(now, _, stops) {
    let timer;
    if (calling !== location.href) [calling, called] = [location.href, 0];
    const ours = ({ initiatorType: by, name }) =>
      (by === "fetch" || by === "xmlhttprequest") && name.startsWith(location.origin + "/") && !name.startsWith(base);
    const seen = new PerformanceObserver((list) => {
      if (navigator.userActivation?.isActive === false || called >= CALLS || !list.getEntries().some(ours)) return;
      clearTimeout(timer);
      timer = setTimeout(() => {
        called++;
        now();
      }, READ);
    });
    seen.observe({ type: "resource" });
    stops.push(() => seen.disconnect(), () => clearTimeout(timer));
  },

  // What the page tells by an event of its window, or to a tag manager.
  event(now, value, stops) {
    on(stops, window, "clew:event", (event) => event.detail === value && now());
    const layer = (window.dataLayer ??= []);
    const push = layer.push;
    const ours = function (...items) {
      for (const item of items) {
        const name = item?.[0] === "event" ? item[1] : item?.event;
        if (name === value) now();
      }
      return push.apply(this, items);
    };
    layer.push = ours;
    stops.push(() => layer.push === ours && (layer.push = push));
  },
};
