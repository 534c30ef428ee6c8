// Where the chat is: as near as possible to its corner, and never over what the visitor needs to buy.

const MOST = 3000; // elements and texts of the page that are looked at
const LIFT = 10; // px by which the next place is higher
const AIR = 4; // px around what is not covered
const SETTLED = 150; // ms after the last scroll event
const LOOK = 1000; // ms until the page may have changed
const CONTROLS =
  "button,label,input:not([type=hidden]),select,textarea,summary,iframe,[role=button],[role=checkbox],[contenteditable=true]";
const SUMS = "[class*=price i],[class*=total i],[id*=total i],[itemprop=price]";
const MONEY = /\p{Sc}\s?\d|\d\s?(?:\p{Sc}|kr|zł|Kč|Ft|lei|лв|грн|руб|[A-Z]{3}\b)|\b[A-Z]{3}\s?\d/u;

/**
 * What is in the viewport, as rectangles: controls and sums, and as `weak` links. All is read in one go, before anything
 * is moved: then the browser lays the page out once at most.
 */
function obstacles() {
  const found = [];
  const area = { left: 0, right: innerWidth, top: 0, bottom: innerHeight };
  const add = (rect, weak) => rect.width && rect.height && meets(rect, area) && found.push({ rect, weak });
  const inside = (node) =>
    meets(node.getBoundingClientRect(), area) && node.checkVisibility?.({ visibilityProperty: true }) !== false;
  for (const node of [...document.querySelectorAll(`${CONTROLS},${SUMS},a[href]`)].slice(0, MOST)) {
    if (inside(node)) judge(node, node.getBoundingClientRect(), add);
  }
  const walker = document.createTreeWalker(document.body ?? document, NodeFilter.SHOW_TEXT);
  for (let left = MOST; left-- && walker.nextNode(); ) {
    const text = walker.currentNode;
    if (text.length > 400 || !MONEY.test(text.data) || !inside(text.parentNode)) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    add(range.getBoundingClientRect(), false);
  }
  return found;
}

function judge(node, rect, add) {
  if (node.matches(CONTROLS)) add(rect, false);
  else if (node.matches("a[href]")) {
    // Whole tiles that are links leave no place anywhere.
    if (rect.height < 100) add(rect, !looksLikeButton(node));
  } else if (rect.height < 100 && /\d/.test(node.textContent)) add(rect, false);
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
  constructor(node, others = () => []) {
    this.node = node;
    this.others = others;
    this.x = 0;
    this.y = 0;
  }

  /** Moves the node, if it has to be; returns whether none of `found` is covered. `lifts`: it may be higher, too. */
  look(found, lifts = true) {
    const rect = this.node.getBoundingClientRect();
    if (!rect.width) return true;
    if (this.fits(rect, found, this.weak)) return true;
    const home = moved(rect, -this.x, -this.y);
    const across = innerWidth - home.right - home.left;
    const highest = lifts ? Math.max(0, home.top - 8) : 0;
    // Near the corner beside everything; else anywhere beside what matters.
    for (const weak of [false, true]) {
      for (const x of [0, across]) {
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
