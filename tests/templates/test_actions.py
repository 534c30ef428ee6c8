"""Invites that have more than a text and a field: a chat that opens by itself, calls, codes, personas."""

from typing import Any

import pytest
from accessibility import faults
from fake_clew import INVITE, SHOW, TAG, FakeClew, settled, shop_page
from playwright.async_api import Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

SEEN = {"kind": "seen", "rule": "hesitates"}
DISMISSED = {"kind": "dismissed", "rule": "hesitates"}
ACCEPTED = {"kind": "accepted", "rule": "hesitates"}
PAGE = f'<!doctype html><html lang="en"><title>Shop</title>{TAG}<main><h1>Shop</h1></main>'
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


def invite(question: bool = False, **more: Any) -> dict[str, Any]:
    found = {"rule": "hesitates", "text": "May I help you choose?", "question": question, "more": more}
    return INVITE | {"invite": found}


async def test_the_chat_opens_by_itself_and_the_first_message_accepts(clew: FakeClew, page: Page) -> None:
    clew.add_page("/", PAGE)
    clew.answer = invite(True, open=True, persona={"name": "Anna", "picture": PIXEL})
    await page.goto(clew.url)
    chat = page.get_by_role("dialog", name="Chat with us")
    await expect(chat.get_by_role("log")).to_contain_text("May I help you choose?")
    await expect(chat.get_by_role("log")).to_contain_text("Anna")
    await clew.until(lambda: SEEN in clew.events)
    # It takes no focus.
    assert await page.evaluate("document.activeElement === document.body")
    assert await faults(page) == []
    await page.get_by_label("Write a message").fill("Yes, please")
    await page.keyboard.press("Enter")
    await clew.until(lambda: clew.posted)
    assert clew.posted[0]["rule"] == "hesitates"
    await page.get_by_role("button", name="Minimise chat").click()
    await clew.until(lambda: ACCEPTED in clew.events)
    assert DISMISSED not in clew.events


async def test_who_puts_it_away_has_dismissed_it_and_it_stays_away(clew: FakeClew, page: Page) -> None:
    clew.answer = invite(True, open=True)
    await page.goto(clew.url)
    await page.get_by_role("button", name="Minimise chat").click()
    await clew.until(lambda: DISMISSED in clew.events)
    await page.reload()
    # Even if the server knew nothing of it: once in a visit.
    await expect(page.get_by_role("region", name="Invitation to chat")).to_be_visible()
    await expect(page.get_by_role("dialog")).to_have_count(0)


@pytest.mark.parametrize("where", ["field", "phone"])
async def test_it_does_not_open_over_what_the_visitor_does(clew: FakeClew, page: Page, where: str) -> None:
    if where == "phone":
        await page.set_viewport_size({"width": 390, "height": 800})
    clew.add_page("/", shop_page('<input aria-label="Search" autofocus>' if where == "field" else ""))
    clew.answer = invite(True, open=True)
    await page.goto(clew.url)
    await expect(page.get_by_role("region", name="Invitation to chat")).to_be_visible()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.get_by_label("Your question")).to_be_visible()


async def test_a_visitor_leaves_its_number_in_the_invite(clew: FakeClew, page: Page) -> None:
    clew.add_page("/", PAGE)
    clew.answer = invite(callback=True, persona={"name": "Anna", "picture": None})
    await page.goto(clew.url)
    bubble = page.get_by_role("region", name="Invitation to chat")
    await expect(bubble).to_contain_text("Anna")
    assert await faults(page) == []
    field = bubble.get_by_label("Your phone number with country code")
    await field.fill("12")
    await page.keyboard.press("Enter")
    await expect(bubble).to_contain_text("Please check the phone number.")
    await expect(field).to_have_attribute("aria-invalid", "true")
    # What is being typed stays, whatever the next answer says.
    clew.answer = SHOW
    await page.evaluate("history.pushState(null, '', '/two')")
    await clew.until(lambda: len(clew.asked) == 2)
    await settled(page)
    await field.fill("+49 30 1234567")
    await bubble.get_by_role("button", name="We call you back").click()
    await expect(bubble).to_contain_text("We will call you at +49 30 1234567.")
    await clew.until(lambda: ACCEPTED in clew.events)
    await bubble.get_by_role("button", name="Close").click()
    await expect(bubble).to_have_count(0)
    assert clew.called == ["12", "+49 30 1234567"]
    assert clew.events == [SEEN, ACCEPTED]


async def test_a_number_can_be_dialled_and_stays_to_be_read(clew: FakeClew, page: Page) -> None:
    clew.add_page("/", PAGE)
    clew.answer = invite(number={"tel": "+49301234567", "shown": "+49 30 1234567"})
    await page.goto(clew.url)
    link = page.get_by_role("link", name="+49 30 1234567")
    await expect(link).to_have_attribute("href", "tel:+49301234567")
    assert await faults(page) == []
    await page.evaluate("addEventListener('click', event => event.preventDefault())")
    await link.click()
    await clew.until(lambda: ACCEPTED in clew.events)
    await expect(link).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(link).to_have_count(0)
    assert clew.events == [SEEN, ACCEPTED]


async def test_a_code_is_shown_to_who_asks_and_goes_into_the_talk(clew: FakeClew, page: Page) -> None:
    clew.add_page("/", PAGE)
    clew.answer = invite(True, offer="10 % off")
    await page.goto(clew.url)
    bubble = page.get_by_role("region", name="Invitation to chat")
    await expect(bubble).to_contain_text("10 % off")
    assert clew.called == []
    assert await faults(page) == []
    await bubble.get_by_role("button", name="Show the code").press("Enter")
    await expect(bubble).to_contain_text("SUMMER-7")
    await expect(bubble.get_by_role("link", name="10 % off")).to_have_attribute("href", "/-/clew/o/x")
    assert clew.called == ["hesitates"]
    assert await faults(page) == []
    await bubble.get_by_label("Your question").fill("For all?")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("log")).to_contain_text("10 % off: SUMMER-7")


async def test_hostile_texts_stay_texts(clew: FakeClew, page: Page) -> None:
    evil = "<img src=x onerror='document.title=\"hit\"'>"
    answer = invite(True, persona={"name": evil, "picture": PIXEL}, offer=evil)
    answer["invite"]["text"] = evil
    clew.answer = answer
    await page.goto(clew.url)
    bubble = page.get_by_role("region", name="Invitation to chat")
    await expect(bubble).to_contain_text(evil)
    assert await bubble.locator("img").count() == 1
    assert await page.title() == "Shop"
