"""Where the chat is: never over what the visitor needs to buy, and as dark as the shop (field G16, G20)."""

from typing import Any

import pytest
from fake_clew import INVITE, SHOW, FakeClew, shop_page
from playwright.async_api import Browser, Locator, Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

BOX = "position:fixed;right:0;bottom:{bottom}px;width:{width}px;height:{height}px"
BUY = f'<button class="buy" style="{BOX.format(bottom=0, width=400, height=80)}">Add to basket</button>'
TOTAL = f'<p class="sum" style="{BOX.format(bottom=0, width=400, height=60)}">Together <b>1 299,00 €</b></p>'
LINKS = "".join(f'<a href="/{n}" style="display:block">link {n}</a>' for n in range(200))


def at(**changes: Any) -> dict[str, Any]:
    return SHOW | {"widget": {"color": "#1b5e9e", "side": "right", "title": None, **changes}}


PANEL = "document.querySelector('clew-chat').shadowRoot.querySelector('.panel')"
# Longer than until the chat looks again, and until the page is idle.
LOOKED = "new Promise((done) => setTimeout(() => requestIdleCallback(done), 2500))"


async def overlap(page: Page, ours: Locator, theirs: Locator) -> bool:
    one, other = await ours.bounding_box(), await theirs.bounding_box()
    assert one is not None
    assert other is not None
    return (
        one["x"] < other["x"] + other["width"]
        and other["x"] < one["x"] + one["width"]
        and one["y"] < other["y"] + other["height"]
        and other["y"] < one["y"] + one["height"]
    )


def launcher(page: Page) -> Locator:
    return page.get_by_role("button", name="Ask us")


@pytest.mark.parametrize(
    ("body", "what"),
    [
        pytest.param(BUY, ".buy", id="a button"),
        pytest.param(BUY.replace("button", "a").replace("<a ", '<a href="/buy" '), ".buy", id="a link"),
        pytest.param(TOTAL, ".sum b", id="a sum"),
        pytest.param(
            f'<div class="cart-total" style="{BOX.format(bottom=0, width=300, height=50)}">1299</div>',
            ".cart-total",
            id="a sum without a currency",
        ),
        pytest.param(
            f'<iframe class="pay" style="{BOX.format(bottom=0, width=300, height=60)}"></iframe>',
            ".pay",
            id="a frame",
        ),
    ],
)
@pytest.mark.parametrize("width", [1280, 390])
async def test_the_button_covers_nothing_that_buys_and_no_sum(
    clew: FakeClew, page: Page, body: str, what: str, width: int
) -> None:
    """field G20"""
    await page.set_viewport_size({"width": width, "height": 720})
    clew.add_page("/", shop_page(body))
    await page.goto(clew.url)
    await expect(launcher(page)).to_be_in_viewport(ratio=1)
    assert not await overlap(page, launcher(page), page.locator(what))


async def test_it_moves_when_a_button_comes_under_it(clew: FakeClew, page: Page) -> None:
    buy = '<button class="buy" style="display:block;width:100%;height:120px">Add to basket</button>'
    clew.add_page("/", shop_page(f'<div style="height:3000px"></div>{buy}'))
    await page.goto(clew.url)
    await expect(launcher(page)).to_be_visible()
    home = await launcher(page).bounding_box()
    await page.evaluate("scrollTo(0, document.body.scrollHeight)")
    assert home is not None
    node = "document.querySelector('clew-chat').shadowRoot.querySelector('.launcher')"
    await page.wait_for_function(f"{node}.getBoundingClientRect().y !== {home['y']}")
    assert await launcher(page).bounding_box() != home
    assert not await overlap(page, launcher(page), page.locator(".buy"))


async def test_links_alone_do_not_drive_it_from_its_corner_for_good(clew: FakeClew, page: Page) -> None:
    clew.add_page("/", shop_page(LINKS))
    await page.goto(clew.url)
    await expect(launcher(page)).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("side", ["left", "right"])
async def test_it_stands_where_the_settings_say(clew: FakeClew, page: Page, side: str) -> None:
    clew.answer = at(side=side, offset=90)
    await page.goto(clew.url)
    await expect(launcher(page)).to_be_visible()
    box = await launcher(page).bounding_box()
    assert box is not None
    assert box["y"] + box["height"] == 720 - 90
    assert (box["x"] == 20) is (side == "left")


async def test_an_invite_waits_until_it_covers_nothing_that_buys(clew: FakeClew, page: Page) -> None:
    everywhere = "".join(
        f'<button style="position:absolute;left:0;top:{top}px;width:100%;height:60px">Buy</button>'
        for top in range(0, 1400, 70)
    )
    clew.add_page("/", shop_page(f'{everywhere}<div style="height:4000px"></div>'))
    clew.answer = INVITE
    await page.goto(clew.url)
    await expect(page.locator(".launcher")).to_be_visible()
    await expect(page.locator(".invite")).to_be_hidden()
    await page.evaluate("scrollTo(0, 2500)")
    await expect(page.get_by_role("region", name="Invitation to chat")).to_be_visible()
    await clew.until(lambda: any(event["kind"] == "seen" for event in clew.events))


async def test_an_open_chat_is_small_on_the_next_page_if_it_would_cover_what_buys(
    clew: FakeClew, page: Page
) -> None:
    wide = "".join(
        f'<button style="position:fixed;{side}:10px;bottom:100px;width:300px;height:80px">Buy</button>'
        for side in ("left", "right")
    )
    clew.add_page("/two", shop_page(wide))
    await page.goto(clew.url)
    await launcher(page).click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.goto(clew.url + "/three")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.goto(clew.url + "/two")
    await expect(launcher(page)).to_be_visible()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.goto(clew.url + "/three")
    await expect(page.get_by_role("dialog")).to_be_visible()


async def test_an_open_chat_goes_to_the_side_where_nothing_is_bought(clew: FakeClew, page: Page) -> None:
    buy = '<button class="buy" style="position:fixed;right:10px;top:300px;width:200px">Add to basket</button>'
    clew.add_page("/", shop_page(buy))
    await page.goto(clew.url)
    await launcher(page).click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert not await overlap(page, page.get_by_role("dialog"), page.locator(".buy"))


async def opened_at_the_top(clew: FakeClew, page: Page, below: str) -> Locator:
    clew.add_page(
        "/", shop_page(f'<div style="height:2000px"></div>{below}<div style="height:2000px"></div>')
    )
    await page.goto(clew.url)
    async with page.expect_event("requestfinished", lambda request: "m.js" in request.url):
        await launcher(page).click()
    await expect(page.get_by_role("dialog").locator("button[aria-label=More]")).to_have_count(1)
    return page.get_by_role("dialog")


def order(style: str) -> str:
    return f'<button class="buy" style="display:block;height:60px;{style}">Place order</button>'


async def test_an_open_chat_makes_way_for_what_is_scrolled_under_it(clew: FakeClew, page: Page) -> None:
    """field G20: a checkout whose button is at the right below"""
    dialog = await opened_at_the_top(clew, page, order("margin-left:auto;width:300px"))
    await page.locator(".buy").evaluate("(node) => node.scrollIntoView({ block: 'center' })")
    await expect(dialog).to_be_in_viewport(ratio=1)
    await page.wait_for_function(f"{PANEL}.getBoundingClientRect().left < 100")
    assert not await overlap(page, dialog, page.locator(".buy"))
    await page.locator(".buy").click(trial=True)


async def test_it_is_lower_where_both_sides_are_needed_and_grows_again(clew: FakeClew, page: Page) -> None:
    dialog = await opened_at_the_top(clew, page, order("width:100%"))
    before = await page.evaluate(f"{PANEL}.offsetHeight")
    await page.locator(".buy").evaluate("(node) => node.scrollIntoView({ block: 'start' })")
    await page.evaluate("scrollBy(0, -150)")
    await page.wait_for_function(f"{PANEL}.offsetHeight === 440")
    assert not await overlap(page, dialog, page.locator(".buy"))
    await page.evaluate("scrollTo(0, 0)")
    await page.wait_for_function(f"{PANEL}.offsetHeight === {before}")


async def test_it_is_small_where_nothing_else_helps_unless_the_visitor_writes(
    clew: FakeClew, page: Page
) -> None:
    dialog = await opened_at_the_top(clew, page, order("width:100%"))
    await page.locator(".panel textarea.field").fill("Is it")
    into_view = "(node) => node.scrollIntoView({ block: 'end' })"
    await page.locator(".buy").evaluate(into_view)
    await page.evaluate(f"scrollTo(0, scrollY + 60); {LOOKED}")
    await expect(dialog).to_be_visible()
    await page.locator(".panel textarea.field").fill("")
    await expect(dialog).to_have_count(0)
    await expect(launcher(page)).to_be_visible()
    # Opened there again, it stays.
    await launcher(page).click()
    await page.evaluate(f"{LOOKED}")
    await expect(page.get_by_role("dialog")).to_be_visible()


async def test_a_closed_chat_is_closed_on_the_next_page(clew: FakeClew, page: Page) -> None:
    await page.goto(clew.url)
    await launcher(page).click()
    await page.get_by_role("button", name="Minimise chat").click()
    await page.goto(clew.url + "/two")
    await expect(launcher(page)).to_have_attribute("aria-expanded", "false")
    await expect(page.get_by_role("dialog")).to_have_count(0)


@pytest.mark.parametrize("system", ["light", "dark"])
@pytest.mark.parametrize(
    ("style", "dark"),
    [
        ("", False),
        ("body { background: #fdfdfd }", False),
        ("html { background: #101418 } body { color: #eee }", True),
        ("body { background: oklch(0.2 0.02 250) }", True),
        ("body { background: color(srgb 0.98 0.98 0.98) }", False),
        (":root { color-scheme: dark }", True),
        ("body { background: rgb(0 0 0 / 0%) url(/night.png); color: white }", True),
    ],
)
async def test_the_chat_is_dark_where_the_shop_is_and_not_where_the_system_is(
    clew: FakeClew, page: Page, system: Any, style: str, dark: bool
) -> None:
    await page.emulate_media(color_scheme=system)
    clew.add_page("/", shop_page(head=f"<style>{style}</style>"))
    await page.goto(clew.url)
    await launcher(page).click()
    surface = "rgb(30, 35, 40)" if dark else "rgb(255, 255, 255)"
    await expect(page.get_by_role("dialog")).to_have_css("background-color", surface)


async def test_the_chat_follows_a_shop_that_becomes_dark_and_the_settings_decide(
    clew: FakeClew, page: Page
) -> None:
    await page.goto(clew.url)
    await expect(page.locator(".root.dark")).to_have_count(0)
    await page.evaluate("document.body.style.background = '#111'")
    await expect(page.locator(".root.dark")).to_have_count(1)
    clew.answer = at(scheme="light")
    await page.evaluate("history.pushState(null, '', '/two')")
    await expect(page.locator(".root.dark")).to_have_count(0)


async def test_a_chat_that_fills_the_screen_keeps_the_focus(clew: FakeClew, page: Page) -> None:
    """field G16"""
    await page.set_viewport_size({"width": 390, "height": 740})
    clew.add_page("/", shop_page('<a href="/a">a</a>'))
    await page.goto(clew.url)
    await expect(launcher(page)).to_have_attribute("aria-expanded", "false")
    # What keeps the focus comes with the rest of the chat.
    async with page.expect_event("requestfinished", lambda request: "m.js" in request.url):
        await launcher(page).click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_have_attribute("aria-modal", "true")
    await expect(dialog.locator("button[aria-label=More]")).to_have_count(1)
    for key in ("Tab", "Shift+Tab"):
        for _ in range(12):
            await page.keyboard.press(key)
            assert await page.evaluate("document.activeElement.localName") == "clew-chat"
    await page.set_viewport_size({"width": 1280, "height": 740})
    await expect(dialog).to_have_attribute("aria-modal", "false")


async def test_title_avatar_and_texts_are_those_of_the_settings(clew: FakeClew, page: Page) -> None:
    clew.add_page("/face.svg", '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    clew.answer = at(title="Tea talk", avatar="/face.svg", texts={"button": "Tea?", "greeting": "Hello tea!"})
    await page.goto(clew.url)
    await page.get_by_role("button", name="Tea?").click()
    dialog = page.get_by_role("dialog", name="Tea talk")
    await expect(dialog).to_contain_text("Hello tea!")
    # What is no picture is left out.
    await expect(dialog.locator("img")).to_have_count(0)


@pytest.mark.parametrize("language", ["en", "ar"])
@pytest.mark.parametrize(
    ("width", "height", "scale"),
    [pytest.param(320, 568, 1, id="320 px"), pytest.param(640, 400, 2, id="1280 px at 200 %")],
)
async def test_the_chat_can_be_used_on_small_screens(
    clew: FakeClew, chromium: Browser, language: str, width: int, height: int, scale: int
) -> None:
    page = await chromium.new_page(
        viewport={"width": width, "height": height}, device_scale_factor=scale, reduced_motion="reduce"
    )
    clew.answer = INVITE | {"language": language}
    await page.goto(clew.url)
    await expect(page.locator(".invite")).to_be_in_viewport(ratio=1)
    assert not await overlap(page, page.locator(".invite"), page.locator(".launcher"))
    await page.locator(".launcher").click()
    await page.locator(".panel textarea.field").fill("Is it in stock?")
    await page.keyboard.press("Enter")
    await clew.until(lambda: clew.streams)
    await clew.say("Yes, " + "in every shop " * 30)
    for part in (".head", ".panel > .composer"):
        await expect(page.locator(part)).to_be_in_viewport(ratio=1)
    log = await page.locator(".log").bounding_box()
    assert log is not None
    assert log["height"] >= 100
    sideways = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert await page.evaluate(sideways) is False
    await page.close()
