"""For everybody: keyboard, screen reader, small screen, any colour, each language."""

import pytest
from clew import templates
from fake_clew import INVITE, PREFIX, SHOW, FakeClew, shop_page
from playwright.async_api import Browser, Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

INVITED = """
- region "Invitation to chat":
  - paragraph: May I help you choose?
  - button "Close"
  - textbox "Your question"
  - button "Send"
- button "Ask us"
- status
"""

OPEN = """
- dialog "Chat with us":
  - heading "Chat with us" [level=2]
  - paragraph: We are here for you
  - button "Minimise chat"
  - log "Messages":
    - paragraph: How can we help you?
    - paragraph:
      - text: You
      - time
    - paragraph: Is it in stock?
    - paragraph:
      - text: Anna
      - time
    - paragraph:
      - text: "Yes:"
      - link "https://shop.example/pot"
  - textbox "Write a message"
  - button "Send"
- status
"""


async def test_a_screen_reader_finds_the_invite_named(clew: FakeClew, page: Page) -> None:
    clew.answer = INVITE
    await page.goto(clew.url)
    await expect(page.locator("clew-chat")).to_match_aria_snapshot(INVITED)


async def test_a_screen_reader_finds_the_chat_named(clew: FakeClew, page: Page) -> None:
    await page.goto(clew.url)
    await page.get_by_role("button", name="Ask us").click()
    await page.get_by_label("Write a message").fill("Is it in stock?")
    await page.keyboard.press("Enter")
    await clew.until(lambda: clew.streams)
    await clew.say("Yes: https://shop.example/pot")
    await expect(page.locator("clew-chat")).to_match_aria_snapshot(OPEN)


async def test_everything_can_be_done_with_the_keyboard(clew: FakeClew, page: Page) -> None:
    clew.add_page("/", shop_page('<a href="/last" id="last">last link of the shop</a>'))
    clew.answer = INVITE
    await page.goto(clew.url)
    await expect(page.get_by_role("region")).to_be_visible()
    await page.locator("#last").focus()
    for name in ("Close", "Your question"):
        await page.keyboard.press("Tab")
        await expect(page.get_by_label(name)).to_be_focused()
    await page.keyboard.type("Is it in stock?")
    await page.keyboard.press("Enter")
    await clew.until(lambda: clew.posted)
    field = page.get_by_label("Write a message")
    await expect(field).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Send")).to_be_focused()
    await page.keyboard.press("Escape")
    launcher = page.get_by_role("button", name="Ask us")
    await expect(launcher).to_be_focused()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.keyboard.press("Enter")
    await expect(field).to_be_focused()
    await page.keyboard.press("Shift+Tab")
    await expect(page.get_by_role("log")).to_be_focused()


@pytest.mark.parametrize("language", ["ar", "de", "ga", "ja", "uk"])
async def test_the_chat_uses_the_visitors_language(clew: FakeClew, page: Page, language: str) -> None:
    texts = templates.texts(language)
    clew.answer = SHOW | {"language": language, "online": False}
    await page.goto(clew.url)
    await page.get_by_role("button", name=texts["button"]).click()
    dialog = page.get_by_role("dialog", name=texts["title"])
    for key in ("away", "greeting", "offline"):
        await expect(dialog).to_contain_text(texts[key])
    await expect(dialog.get_by_role("textbox", name=texts["message"])).to_be_visible()
    await expect(page.locator(".root")).to_have_attribute("lang", language)
    await expect(page.locator(".root")).to_have_attribute("dir", templates.texts_of(language).direction)


async def test_a_page_of_one_application_may_change_the_language(clew: FakeClew, page: Page) -> None:
    await page.goto(clew.url)
    await expect(page.get_by_role("button", name="Ask us")).to_be_visible()
    for language in ("ar", "de", "en"):
        clew.answer = SHOW | {"language": language}
        await page.evaluate("path => history.pushState(null, '', path)", f"/{language}")
        await expect(page.get_by_role("button", name=templates.text(language, "button"))).to_be_visible()
        await expect(page.locator(".root")).to_have_attribute("dir", "rtl" if language == "ar" else "ltr")


async def test_the_language_before_stays_if_the_new_one_does_not_come(clew: FakeClew, page: Page) -> None:
    await page.goto(clew.url)
    await expect(page.get_by_role("button", name="Ask us")).to_be_visible()
    clew.failures["w.js"] = [503]
    clew.answer = SHOW | {"language": "de", "widget": {"title": "Nur Wein"}}
    await page.evaluate("history.pushState(null, '', '/de')")
    await clew.until(lambda: clew.requests.count(f"GET {PREFIX}w.js") == 2)
    await page.get_by_role("button", name="Ask us").click()
    await expect(page.get_by_role("dialog", name="Nur Wein")).to_be_visible()


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance of "rgb(r, g, b)"."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(
    "colour", ["#1b5e9e", "#ffeb3b", "#ffffff", "#000000", "#808080", "#e53935", "#00c853"]
)
async def test_text_can_be_read_on_any_colour(clew: FakeClew, page: Page, colour: str) -> None:
    clew.answer = SHOW | {"widget": {"color": colour, "side": "right", "title": None}}
    await page.goto(clew.url)
    await expect(page.locator(".launcher")).to_be_visible()
    behind, text = await page.locator(".launcher").evaluate(
        "node => [getComputedStyle(node).backgroundColor, getComputedStyle(node).color]"
    )
    darker, lighter = sorted((luminance(behind), luminance(text)))
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


async def test_the_chat_fills_the_screen_of_a_phone(clew: FakeClew, chromium: Browser) -> None:
    page = await chromium.new_page(
        viewport={"width": 390, "height": 740}, has_touch=True, is_mobile=True, reduced_motion="reduce"
    )
    clew.answer = INVITE
    await page.goto(clew.url)
    invite = await page.get_by_role("region").bounding_box()
    assert invite is not None
    assert invite["width"] == 390 - 28
    await page.get_by_role("button", name="Ask us").tap()
    dialog = page.get_by_role("dialog")
    assert await dialog.bounding_box() == {"x": 0, "y": 0, "width": 390, "height": 740}
    # A field in focus would call up the keyboard over half the messages.
    await expect(dialog).to_be_focused()
    await page.goto(clew.url + "/two")
    await expect(page.get_by_role("button", name="Ask us")).to_be_visible()
    await page.close()


@pytest.mark.parametrize("side", ["left", "right"])
async def test_the_chat_stands_on_the_side_that_the_shop_chose(clew: FakeClew, page: Page, side: str) -> None:
    clew.answer = SHOW | {"widget": {"color": "#1b5e9e", "side": side, "title": "Tea talk"}}
    await page.goto(clew.url)
    await page.get_by_role("button", name="Ask us").click()
    dialog = page.get_by_role("dialog", name="Tea talk")
    box = await dialog.bounding_box()
    assert box is not None
    assert box["x"] == (20 if side == "left" else 1280 - 20 - box["width"])


async def test_reduced_motion_is_respected_and_the_chat_is_not_printed(clew: FakeClew, page: Page) -> None:
    """injection 7.10."""
    clew.answer = INVITE
    await page.goto(clew.url)
    invite = page.locator(".invite")
    await expect(invite).to_have_css("animation-name", "rise")
    await page.emulate_media(reduced_motion="reduce")
    await expect(invite).to_have_css("animation-name", "none")
    await page.emulate_media(media="print")
    await expect(invite).to_be_hidden()
