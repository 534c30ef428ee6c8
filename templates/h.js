// Takes the visitor along to the shop's other hosts, such as its checkout: links and forms that lead there get a
// token when they are used. The pages themselves stay as they are, so that caches hold no visitor's token. The
// loader imports this at a site with checkout_hosts.

const NAME = "clew_handover";
const OLD = new RegExp(`([?&])${NAME}=[^&#]*&?`, "g");
const tokens = new Map(); // by host: { value, until }; value is undefined while it is fetched
let base, hosts;

// Returns whether the page's own address was changed.
export function watch(at, wanted) {
  const first = !base;
  base = at;
  hosts = new Set(wanted);
  if (first) {
    for (const type of ["pointerover", "pointerdown", "focusin"]) addEventListener(type, intended, true);
    addEventListener("click", followed, true);
    addEventListener("auxclick", followed, true);
    addEventListener("submit", submitted, true);
  }
  for (const host of hosts) {
    if (document.querySelector(`[href*="//${host}" i], [action*="//${host}" i], [formaction*="//${host}" i]`)) prepare(host);
  }
  return tidy();
}

async function prepare(host) {
  if (!host || Date.now() < tokens.get(host)?.until) return;
  tokens.set(host, { until: Date.now() + 5000 });
  try {
    const answer = await fetch(base + "handover", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ host }),
    });
    // Without consent there is none: ask again a minute later.
    const { token, seconds = 60 } = answer.status === 200 ? await answer.json() : {};
    tokens.set(host, { value: token, until: Date.now() + seconds * 1000 });
  } catch {
    // tokens has when to try again.
  }
}

// The host of a link or form, if it is one of ours; nothing is sent in clear that is encrypted here.
function host(address) {
  try {
    const url = new URL(address, document.baseURI);
    const safe = url.protocol === "https:" || (url.protocol === "http:" && location.protocol === "http:");
    return safe && url.host !== location.host && hosts.has(url.host) ? url.host : "";
  } catch {
    return "";
  }
}

const path = (event) => event.composedPath();
const link = (event) => path(event).find((e) => ["a", "area"].includes(e.localName) && e.protocol && e.hasAttribute("href"));
const attribute = (form, submitter, name) => submitter?.getAttribute("form" + name) ?? form.getAttribute(name) ?? "";

function intended(event) {
  const to = link(event);
  if (to) return prepare(host(to.href));
  const button = path(event).find((e) => e.form instanceof HTMLFormElement);
  if (button) prepare(host(attribute(button.form, button, "action")));
}

// A token is used once.
function take(to) {
  const token = tokens.get(to)?.value;
  const fresh = token && Date.now() < tokens.get(to).until;
  tokens.delete(to);
  prepare(to);
  return fresh ? token : undefined;
}

// The address as it is, with the token; its other bytes stay.
function added(address, token) {
  const [, start, query, rest] = /^([^?#]*)(\?[^#]*)?(.*)$/s.exec(address);
  const kept = (query ?? "").replace(OLD, "$1").replace(/[?&]$/, "");
  return `${start}${kept}${kept ? "&" : "?"}${NAME}=${token}${rest}`;
}

// Sets attributes while the browser follows the link, then puts them back: a token counts once, and nobody
// should copy it with the link.
function briefly(element, values) {
  const before = Object.keys(values).map((name) => [name, element.getAttribute(name)]);
  for (const [name, value] of Object.entries(values)) element.setAttribute(name, value);
  setTimeout(() => {
    for (const [name, value] of before) {
      if (element.getAttribute(name) !== values[name]) continue;
      if (value === null) element.removeAttribute(name);
      else element.setAttribute(name, value);
    }
  });
}

// The other host must see from which of the shop's hosts the visitor comes.
function named(element) {
  return /\bnoreferrer\b/i.test(element.rel ?? "") ? { rel: element.rel.replace(/\bnoreferrer\b/gi, "noopener") } : {};
}

function followed(event) {
  if (event.type === "auxclick" && event.button !== 1) return;
  const to = link(event);
  const at = to && host(to.href);
  const token = at && take(at);
  if (token) briefly(to, { href: added(to.getAttribute("href"), token), referrerpolicy: "origin", ...named(to) });
}

function submitted(event) {
  const form = event.target;
  const at = host(attribute(form, event.submitter, "action"));
  const method = attribute(form, event.submitter, "method").toLowerCase();
  const token = at && method !== "dialog" && take(at);
  if (!token) return;
  briefly(form, named(form));
  if (method === "post") {
    const own = event.submitter?.hasAttribute("formaction");
    const name = own ? "formaction" : "action";
    const element = own ? event.submitter : form;
    return briefly(element, { [name]: added(element.getAttribute(name), token) });
  }
  const field = document.createElement("input");
  Object.assign(field, { type: "hidden", name: NAME, value: token });
  // An input named "append" would hide the form's own.
  Element.prototype.append.call(form, field);
  setTimeout(() => field.remove());
}

// A token in the page's own address was used.
function tidy() {
  if (!location.search.includes(NAME)) return false;
  const search = location.search.replace(OLD, "$1").replace(/[?&]$/, "");
  history.replaceState(history.state, "", location.pathname + search + location.hash);
  return true;
}
