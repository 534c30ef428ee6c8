"""The chat as a guest: it shifts nothing of the page, and bears with whatever else is there."""

import itertools

import pytest
from accessibility import faults
from fake_clew import INVITE, PREFIX, SHOW, FakeClew, settled, shop_page
from playwright.async_api import Browser, Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

# From the first byte on.
MEASURE = """
window.shifts = [];
new PerformanceObserver((list) => list.getEntries().forEach((entry) => shifts.push(entry.value)))
  .observe({ type: "layout-shift", buffered: true });
"""
PRODUCTS = "".join(
    f'<li><a href="/p{n}"><h3>Product {n}</h3></a><p class="price">{n},00 €</p><button>Buy</button></li>'
    for n in range(300)
)
EVIL_NAME = "\u202eannA\u2066<b>"


async def test_the_chat_shifts_nothing(clew: FakeClew, page: Page) -> None:
    clew.add_page("/", shop_page(f"<ul>{PRODUCTS}</ul>"))
    clew.answer = INVITE
    await page.add_init_script(MEASURE)
    await page.goto(clew.url)
    await expect(page.locator(".launcher")).to_be_visible()
    await page.evaluate("scrollTo(0, 4000)")
    await page.locator(".launcher").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.get_by_role("button", name="Minimise chat").click()
    await page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    assert await page.evaluate("shifts") == []


async def test_nothing_is_loaded_until_a_decision_wants_it(clew: FakeClew, page: Page) -> None:
    clew.answer = SHOW | {"action": "hide"}
    await page.goto(clew.url)
    await clew.until(lambda: clew.asked)
    await settled(page)
    ours = {line for line in clew.requests if PREFIX in line} - {f"GET {PREFIX}messages"}
    assert ours == {f"GET {PREFIX}l.js", f"POST {PREFIX}decide"}


RESET = """<style>
* { all: unset !important; display: none !important; position: static !important; font-size: 2px !important; }
html, body { display: block !important; }
clew-chat { visibility: hidden !important; opacity: 0 !important; transform: scale(0) !important; }
</style>"""


async def test_a_shop_that_resets_everything_does_not_reset_the_chat(clew: FakeClew, page: Page) -> None:
    clew.add_page("/", shop_page(head=RESET))
    await page.goto(clew.url)
    await page.get_by_role("button", name="Ask us").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_have_css("font-size", "15px")
    await expect(dialog).to_be_in_viewport(ratio=1)
    await dialog.get_by_role("textbox").fill("Is it in stock?")
    await page.keyboard.press("Enter")
    await clew.until(lambda: clew.posted)


PATCHES = """
Array.prototype.toJSON = function () { return "old prototype.js"; };
Array.prototype.extra = function () {};
Object.prototype.inherited = "everywhere";
String.prototype.toJSON = function () { return `${this}`; };
Element.prototype.remove = new Proxy(Element.prototype.remove, {});
const fetched = window.fetch;
window.fetch = function (...all) { return fetched.apply(this, all); };
const Native = window.MutationObserver;
window.MutationObserver = class extends Native {};
window.$ = window.jQuery = window.Promise.$ = () => {};
"""


async def test_a_shop_that_patches_prototypes_can_be_asked(clew: FakeClew, page: Page) -> None:
    clew.add_page("/", shop_page(head=f"<script>{PATCHES}</script>"))
    await page.goto(clew.url)
    await page.get_by_role("button", name="Ask us").click()
    await page.get_by_label("Write a message").fill("Is it in stock?")
    await page.keyboard.press("Enter")
    await clew.until(lambda: clew.streams)
    await clew.say("Yes")
    await expect(page.locator(".row .text").last).to_have_text("Yes")
    await page.goto(clew.url)
    await expect(page.get_by_role("dialog")).to_contain_text("Is it in stock?")
    assert clew.posted[0]["text"] == "Is it in stock?"


WORKER = """
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET") return;
  event.respondWith(caches.open("all").then(async (cache) => {
    const known = await cache.match(event.request);
    if (known) return known;
    const answer = await fetch(event.request);
    if (!event.request.url.includes("stream")) await cache.put(event.request, answer.clone());
    return answer;
  }));
});
"""


async def test_a_service_worker_that_keeps_all_it_has_seen_gives_no_old_messages(
    clew: FakeClew, page: Page
) -> None:
    """injection 5.8"""
    clew.add_page("/sw.js", WORKER, content_type="text/javascript")
    await clew.say("Good morning")
    clew.answer = SHOW | {"conversation": True}
    await page.goto(clew.url)
    await page.evaluate(
        "navigator.serviceWorker.register('/sw.js').then(() => navigator.serviceWorker.ready)"
    )
    for number in range(2):
        await page.goto(clew.url)
        await clew.until(lambda: clew.streams)
        await clew.say(f"answer {number}")
        await page.locator(".launcher").click()
        await expect(page.locator(".row .text").last).to_have_text(f"answer {number}")
        await page.get_by_role("button", name="Minimise chat").click()
        # Said while no page is open.
        await page.goto("about:blank")
        await clew.say(f"late {number}")
        await page.goto(clew.url)
        await page.locator(".launcher").click()
        await expect(page.locator(".row .text").last).to_have_text(f"late {number}")
        await page.get_by_role("button", name="Minimise chat").click()


async def test_ten_thousand_emoji_and_turned_names_stay_where_they_are(clew: FakeClew, page: Page) -> None:
    await clew.say("😀" * 10_000, agent=EVIL_NAME)
    await clew.say("\u202e" * 50 + "fine" + "\u2067" * 50, agent=EVIL_NAME)
    clew.answer = SHOW | {"conversation": True}
    await page.goto(clew.url)
    await page.locator(".launcher").click()
    log = page.get_by_role("log")
    await expect(log).to_contain_text("fine")
    assert await log.evaluate("node => node.scrollWidth <= node.clientWidth")
    # The name is isolated: the time behind it stays to its right.
    name, time = page.locator(".who").first, page.locator(".heading time").first
    one, other = await name.bounding_box(), await time.bounding_box()
    assert one is not None
    assert other is not None
    assert one["x"] + one["width"] <= other["x"]
    await page.get_by_role("button", name="Minimise chat").click()
    await clew.say("and on", agent=EVIL_NAME)
    said = page.locator(".root > [role=status]")
    await expect(said).to_have_text("New message from annA<b>: and on")


@pytest.mark.parametrize(
    ("width", "height", "language", "dark"),
    [
        *itertools.product([320], [568], ["en", "ar"], [True, False]),
        *itertools.product([640], [400], ["en"], [True, False]),
        *itertools.product([1280], [800], ["en", "ar"], [True, False]),
    ],
)
async def test_axe_finds_nothing(
    clew: FakeClew, chromium: Browser, width: int, height: int, language: str, dark: bool
) -> None:
    page = await chromium.new_page(viewport={"width": width, "height": height}, reduced_motion="reduce")
    style = "<style>body { background: #111; color: #eee }</style>" if dark else ""
    clew.add_page("/", shop_page("<main><p>Tea</p></main>", head=style).replace("<h1>Shop</h1>", ""))
    clew.answer = INVITE | {"language": language}
    await page.goto(clew.url)
    await expect(page.locator(".invite")).to_be_visible()

    async def clean() -> None:
        page_own = {"page-has-heading-one", "region", "landmark-one-main", "target-size"}
        assert [fault for fault in await faults(page) if fault[0] not in page_own] == []

    await clean()
    await page.locator(".launcher").click()
    await page.locator(".panel > .composer .field").fill("Is it in stock?")
    await page.keyboard.press("Enter")
    await clew.until(lambda: clew.streams)
    await clew.say("Yes: https://shop.example/pot")
    await expect(page.locator(".row .text a")).to_be_visible()
    await page.locator(".more").click()
    await expect(page.locator(".menu")).to_be_visible()
    await clean()
    await page.locator(".more").click()
    await clew.say("Bye", author="system", agent=None)
    clew.state = "closed"
    await expect(page.locator(".star").first).to_be_visible()
    await page.locator(".star").nth(3).click()
    await clean()
    await page.close()
