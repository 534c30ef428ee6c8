// Reports the order on a page that a script rendered to the server: the elements that the selectors of the settings
// match, each inside copies of its ancestors so that the selectors match there too, and the page's JSON-LD.
const MAX_LENGTH = 65536; // characters
const MAX_ELEMENTS = 5; // per selector
const ATTEMPTS = 20;
const PAUSE = 500; // ms between two attempts

function withAncestors(node, inert) {
  let copy = inert.importNode(node, true);
  for (let parent = node.parentElement; parent; parent = parent.parentElement) {
    const outer = inert.importNode(parent, false);
    outer.append(copy);
    copy = outer;
  }
  return new XMLSerializer().serializeToString(copy);
}

export async function report(base, selectors, current, referrer) {
  const data = "script[type='application/ld+json']";
  const find = (selector) => [...document.querySelectorAll(selector)].slice(0, MAX_ELEMENTS);
  const required = selectors.length ? selectors : [data];
  for (let attempt = 0; attempt < ATTEMPTS && !required.every((selector) => find(selector).length); attempt++) {
    await new Promise((done) => setTimeout(done, PAUSE));
    if (!current()) return;
  }
  // A separate document, in which no scripts run.
  const inert = document.implementation.createHTMLDocument("");
  const html = [...new Set(selectors.flatMap(find))].map((node) => withAncestors(node, inert)).join("");
  const linked = find(data).map((node) => node.textContent);
  if (html.length + linked.join("").length > MAX_LENGTH) return;
  await fetch(base + "order-page", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ url: location.href, referrer, html, linked }),
  });
}
