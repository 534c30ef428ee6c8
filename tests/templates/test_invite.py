"""The invite: offered politely, answered at once, gone when it is not wanted."""

import re

import pytest
from fake_clew import HIDE, INVITE, PREFIX, SHOW, FakeClew, look_away, settled, shop_page
from playwright.async_api import Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

SEEN = {"kind": "seen", "rule": "hesitates"}
DISMISSED = {"kind": "dismissed", "rule": "hesitates"}
ACCEPTED = {"kind": "accepted", "rule": "hesitates"}
TEXT_ONLY = INVITE | {"invite": {"rule": "hesitates", "text": "We can help.", "question": False}}


async def invited(clew: FakeClew, page: Page) -> None:
    """A page that shows the invite, which was seen."""
    await page.goto(clew.url)
    await expect(page.get_by_role("region", name="Invitation to chat")).to_be_visible()
    await clew.until(lambda: clew.events)


async def test_a_question_in_the_invite_opens_the_chat_as_its_first_message(
    clew: FakeClew, page: Page
) -> None:
    clew.answer = INVITE
    await invited(clew, page)
    await page.get_by_label("Your question").fill("  Is it in stock?  ")
    await page.get_by_role("region").get_by_role("button", name="Send").click()
    await clew.until(lambda: clew.posted and ACCEPTED in clew.events)
    (posted,) = clew.posted
    assert re.fullmatch(r"[A-Za-z0-9_-]{8,64}", posted.pop("client_id"))
    assert posted == {"text": "Is it in stock?", "language": "en", "rule": "hesitates"}
    assert clew.events == [SEEN, ACCEPTED]
    log = page.get_by_role("dialog").get_by_role("log")
    await expect(log).to_contain_text("May I help you choose?")
    await expect(log).to_contain_text("Is it in stock?")
    await expect(page.get_by_role("region")).to_have_count(0)


async def test_an_invite_without_a_field_starts_the_chat(clew: FakeClew, page: Page) -> None:
    clew.answer = TEXT_ONLY
    await invited(clew, page)
    await expect(page.get_by_label("Your question")).to_have_count(0)
    await page.get_by_role("button", name="Start chat").click()
    await clew.until(lambda: ACCEPTED in clew.events)
    assert clew.posted == []
    await page.get_by_label("Write a message").fill("Hello")
    await page.keyboard.press("Enter")
    await page.get_by_label("Write a message").fill("One more thing")
    await page.keyboard.press("Enter")
    await clew.until(lambda: len(clew.posted) == 2)
    assert [posted["rule"] for posted in clew.posted] == ["hesitates", None]


async def test_an_empty_question_is_not_sent(clew: FakeClew, page: Page) -> None:
    clew.answer = INVITE
    await invited(clew, page)
    await page.get_by_label("Your question").fill("   ")
    await page.get_by_role("region").get_by_role("button", name="Send").click()
    await expect(page.get_by_label("Your question")).to_be_focused()
    await settled(page)
    assert clew.posted == []
    assert clew.events == [SEEN]


async def test_an_invite_without_a_text_of_its_own_has_one(clew: FakeClew, page: Page) -> None:
    invite = {"rule": "hesitates", "text": "", "question": True}
    clew.answer = INVITE | {"language": "de", "invite": invite}
    await page.goto(clew.url)
    await expect(page.get_by_role("region")).to_contain_text("Können wir Ihnen helfen?")


async def test_an_invite_takes_no_focus_and_is_announced(clew: FakeClew, page: Page) -> None:
    clew.add_page("/", shop_page('<input id="search" autofocus>'))
    clew.answer = INVITE
    await page.goto(clew.url)
    await expect(page.get_by_role("status")).to_have_text("May I help you choose?")
    await expect(page.locator("#search")).to_be_focused()


async def test_seen_requires_a_visible_page_and_is_reported_once(clew: FakeClew, page: Page) -> None:
    clew.answer = INVITE | {"retry_after": 1}
    await page.goto(clew.url)
    await clew.until(lambda: clew.events)
    await clew.until(lambda: len(clew.asked) >= 3)
    clew.answer = INVITE
    await page.evaluate("history.pushState(null, '', '/two')")
    await clew.until(lambda: clew.asked[-1]["url"].endswith("/two"))
    await settled(page)
    assert clew.events == [SEEN]


async def test_an_invite_behind_another_tab_is_not_seen_yet(clew: FakeClew, page: Page) -> None:
    clew.answer = HIDE
    await page.goto(clew.url)
    await clew.until(lambda: clew.asked)
    await settled(page)
    await page.evaluate(
        """async ([base, answer]) => {
          Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
          const { update } = await import(base + "w.js");
          update(base, "view-of-a-test", answer);
          const bubble = document.querySelector("clew-chat").shadowRoot.querySelector(".invite");
          // Two turns of an observer of our own: the widget's has had its turn.
          for (let turn = 0; turn < 2; turn++) {
            await new Promise((done) => new IntersectionObserver(done).observe(bubble));
          }
        }""",
        [clew.url + PREFIX, INVITE],
    )
    await settled(page)
    assert clew.events == []
    await look_away(page, away=False)
    await clew.until(lambda: clew.events == [SEEN])


@pytest.mark.parametrize("focus", [True, False], ids=["from-inside", "from-the-page"])
async def test_escape_dismisses(clew: FakeClew, page: Page, focus: bool) -> None:
    clew.answer = INVITE
    await invited(clew, page)
    if focus:
        await page.get_by_label("Your question").focus()
    await page.keyboard.press("Escape")
    await clew.until(lambda: DISMISSED in clew.events)
    await expect(page.get_by_role("region")).to_have_count(0)
    if focus:
        await expect(page.get_by_role("button", name="Ask us")).to_be_focused()
    else:
        assert await page.evaluate("document.activeElement === document.body")


async def test_escape_that_the_shop_uses_itself_dismisses_nothing(clew: FakeClew, page: Page) -> None:
    clew.add_page("/", shop_page('<input id="search">'))
    clew.answer = INVITE
    await invited(clew, page)
    await page.locator("#search").press("Escape")
    await page.evaluate("document.activeElement.blur()")
    await page.evaluate("addEventListener('keydown', event => event.preventDefault(), true)")
    await page.keyboard.press("Escape")
    await settled(page)
    assert clew.events == [SEEN]
    await expect(page.get_by_role("region")).to_be_visible()


async def test_a_dismissed_invite_does_not_come_back_with_the_next_answer(clew: FakeClew, page: Page) -> None:
    clew.answer = INVITE
    await invited(clew, page)
    await page.get_by_role("button", name="Close").click()
    await clew.until(lambda: DISMISSED in clew.events)
    await page.evaluate("history.pushState(null, '', '/two')")
    await clew.until(lambda: len(clew.asked) == 2)
    await expect(page.get_by_role("button", name="Ask us")).to_be_visible()
    await settled(page)
    await expect(page.get_by_role("region")).to_have_count(0)


async def test_an_invite_disappears_with_its_page(clew: FakeClew, page: Page) -> None:
    clew.answer = INVITE
    await invited(clew, page)
    clew.answer = SHOW
    await page.evaluate("history.pushState(null, '', '/two')")
    await expect(page.get_by_role("region")).to_have_count(0)
    assert clew.events == [SEEN]


@pytest.mark.parametrize("answer", [SHOW, HIDE], ids=["show", "hide"])
async def test_a_question_being_written_is_never_taken_away(
    clew: FakeClew, page: Page, answer: dict[str, object]
) -> None:
    clew.answer = INVITE
    await invited(clew, page)
    await page.get_by_label("Your question").fill("Is it")
    clew.answer = answer
    await page.evaluate("history.pushState(null, '', '/two')")
    await clew.until(lambda: len(clew.asked) == 2)
    await settled(page)
    await page.get_by_label("Your question").press_sequentially(" blue?")
    await page.keyboard.press("Enter")
    await clew.until(lambda: clew.posted)
    assert clew.posted[0]["text"] == "Is it blue?"


async def test_no_invite_interrupts_an_open_chat(clew: FakeClew, page: Page) -> None:
    await page.goto(clew.url)
    await page.get_by_role("button", name="Ask us").click()
    clew.answer = INVITE
    await page.evaluate("history.pushState(null, '', '/two')")
    await clew.until(lambda: len(clew.asked) == 2)
    await settled(page)
    await expect(page.get_by_role("region")).to_have_count(0)
    assert clew.events == []
