// Where the chat is: as near as possible to its corner, and never over what the visitor needs to buy.

const MOST = 3000; // elements of the page that are looked at
const ACROSS = 100; // px between two points at which text is looked for
const DOWN = 16;
const LIFT = 10; // px by which the next place is higher
const AIR = 4; // px around what is not covered
const SETTLED = 150; // ms after the last scroll event
const LOOK = 1000; // ms until the page may have changed
const CONTROLS =
  "button,input:not([type=hidden]),select,textarea,summary,iframe,[role=button],[role=checkbox],[contenteditable=true]";
const SUMS = "[class*=price i],[class*=total i],[id*=total i],[itemprop=price]";
const MONEY = /\p{Sc}\s?\d|\d\s?(?:\p{Sc}|kr|zł|Kč|Ft|lei|лв|грн|руб|[A-Z]{3}\b)|\b[A-Z]{3}\s?\d/u;

/**
 * What is in a rectangle of the viewport, as rectangles: controls and sums, and as `weak` links. Sums that only their
 * text tells are looked for at points, so that the effort depends on the area and not on the page.
 */
function obstacles(host, area) {
  const found = [];
  const add = (rect, weak) => rect.width && rect.height && meets(rect, area) && found.push({ rect, weak });
  let left = MOST;
  for (const node of document.querySelectorAll(`${CONTROLS},${SUMS},a[href]`)) {
    const rect = node.getBoundingClientRect();
    if (meets(rect, area) && rect.width) judge(node, rect, add);
    if (!--left) break;
  }
  const seen = new Set([host]);
  for (let y = area.top + DOWN / 2; y < area.bottom; y += DOWN) {
    for (let x = area.left + ACROSS / 2; x < area.right; x += ACROSS) {
      for (const node of document.elementsFromPoint(x, y).slice(0, 3)) {
        if (!seen.has(node) && node.childElementCount < 30 && node.textContent.length < 400) sums(node, add);
        seen.add(node);
      }
    }
  }
  return found;
}

function judge(node, rect, add) {
  if (node.checkVisibility?.({ visibilityProperty: true }) === false) return;
  if (node.matches(CONTROLS)) add(rect, false);
  else if (node.matches("a[href]")) {
    // Whole tiles that are links leave no place anywhere.
    if (rect.height < 100) add(rect, !looksLikeButton(node));
  } else if (rect.height < 100 && /\d/.test(node.textContent)) add(rect, false);
}

function sums(node, add) {
  const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode;
    if (!MONEY.test(text.data)) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    add(range.getBoundingClientRect(), false);
  }
}

function looksLikeButton(link) {
  const { backgroundColor, borderTopWidth } = getComputedStyle(link);
  return parseFloat(borderTopWidth) > 0 || !/^transparent$|[,/] ?0\)$/.test(backgroundColor);
}

function meets(a, b) {
  return (
    a.left < b.right + AIR && a.right > b.left - AIR && a.top < b.bottom + AIR && a.bottom > b.top - AIR
  );
}

function moved(rect, x, y) {
  return { left: rect.left + x, right: rect.right + x, top: rect.top + y, bottom: rect.bottom + y };
}

class Place {
  /** `others()` are rectangles of our own that must not be covered either. */
  constructor(host, node, others = () => []) {
    this.host = host;
    this.node = node;
    this.others = others;
    this.x = 0;
    this.y = 0;
  }

  /** Moves the node, if it has to be; returns whether nothing is covered. `lifts`: it may be higher, too. */
  look(lifts = true) {
    const rect = this.node.getBoundingClientRect();
    if (!rect.width) return true;
    if (this.fits(rect, obstacles(this.host, rect), this.weak)) return true;
    const home = moved(rect, -this.x, -this.y);
    const across = innerWidth - home.right - home.left;
    const highest = lifts ? Math.max(0, home.top - 8) : 0;
    const sides = [0, across].map((x) => {
      const strip = { ...moved(home, x, 0), top: home.top - highest };
      return { x, found: obstacles(this.host, strip) };
    });
    // Near the corner beside everything; else anywhere beside what matters.
    for (const weak of [false, true]) {
      for (const { x, found } of sides) {
        for (let up = 0; up <= (weak ? highest : Math.min(highest, innerHeight * 0.4)); up += LIFT) {
          if (!this.fits(moved(home, x, -up), found, weak)) continue;
          this.weak = weak;
          return this.move(x, -up);
        }
      }
    }
    return false;
  }

  fits(rect, found, weak) {
    if (this.others().some((other) => meets(rect, other))) return false;
    return !found.some((one) => !(weak && one.weak) && meets(rect, one.rect));
  }

  // By a translation, which is no shift of the page's layout.
  move(x, y) {
    this.x = x;
    this.y = y;
    this.node.style.translate = `${x}px ${y}px`;
    return true;
  }
}

/** Calls `look` when the page was scrolled or sized, and every now and then, because it may have changed. */
class Watch {
  constructor(look) {
    this.look = () => isHidden() || look();
    this.soon = () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(this.look, SETTLED);
    };
  }

  start() {
    addEventListener("scroll", this.soon, { capture: true, passive: true });
    addEventListener("resize", this.soon);
    this.interval ??= setInterval(this.look, LOOK);
  }

  stop() {
    removeEventListener("scroll", this.soon, { capture: true });
    removeEventListener("resize", this.soon);
    clearTimeout(this.timer);
    clearInterval(this.interval);
    this.interval = undefined;
  }
}
