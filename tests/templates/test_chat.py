"""The chat: messages arrive once, answers are shown, and a bad connection only delays them."""

import asyncio
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from fake_clew import PREFIX, SHOW, FakeClew, look_away, pass_time, settled
from playwright.async_api import Browser, Locator, Page, Route, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

TALKING = SHOW | {"conversation": True}
STREAM = f"GET {PREFIX}stream"
MESSAGES = f"GET {PREFIX}messages"


async def opened(clew: FakeClew, page: Page) -> Locator:
    """The open chat's dialog."""
    await page.goto(clew.url)
    await page.get_by_role("button", name="Ask us").click()
    return page.get_by_role("dialog")


async def write(page: Page, text: str) -> None:
    await page.get_by_label("Write a message").fill(text)
    await page.keyboard.press("Enter")


def texts(page: Page) -> Locator:
    """The texts of the bubbles, without the greeting."""
    return page.locator(".row .text").locator("visible=true").filter(has_not_text="How can we help you?")


async def test_nothing_is_fetched_or_held_open_before_the_chat_is_opened(clew: FakeClew, page: Page) -> None:
    """injection 5.14."""
    await page.goto(clew.url)
    await expect(page.get_by_role("button", name="Ask us")).to_be_visible()
    await page.evaluate(f"fetch('{PREFIX}events', {{ method: 'POST', body: '{{}}' }})")
    assert MESSAGES not in clew.requests
    await settled(page)
    assert STREAM not in clew.requests
    await page.get_by_role("button", name="Ask us").click()
    await clew.until(lambda: STREAM in clew.requests)


async def test_messages_are_shown_live_on_both_sides(clew: FakeClew, page: Page) -> None:
    await opened(clew, page)
    await write(page, "Is the pot in stock?")
    await clew.until(lambda: clew.streams)
    await clew.say("Yes, five of them.")
    await clew.say("Anna has left.", author="system", agent=None)
    await expect(texts(page)).to_have_text(["Is the pot in stock?", "Yes, five of them.", "Anna has left."])
    await expect(page.get_by_role("log")).to_contain_text("Anna")
    assert (clew.posted[0]["text"], clew.posted[0]["rule"]) == ("Is the pot in stock?", None)


async def test_an_answer_that_is_faster_than_the_response_to_its_question_is_below_it(
    clew: FakeClew, page: Page
) -> None:
    sent = asyncio.Event()

    async def late(route: Route) -> None:
        response = await route.fetch()
        await sent.wait()
        await route.fulfill(response=response)

    await opened(clew, page)
    await write(page, "Hello?")
    await clew.until(lambda: clew.streams)
    await page.route("**/messages", late)
    await write(page, "Is the pot in stock?")
    await clew.until(lambda: len(clew.posted) == 2)
    await clew.say("Yes, five of them.")
    await expect(page.get_by_text("Yes, five of them.")).to_be_visible()
    sent.set()
    await expect(texts(page)).to_have_text(["Hello?", "Is the pot in stock?", "Yes, five of them."])


async def test_an_update_older_than_the_first_message_does_not_close_the_chat(
    clew: FakeClew, page: Page
) -> None:
    sent = asyncio.Event()

    async def late(route: Route) -> None:
        response = await route.fetch()
        await sent.wait()
        await route.fulfill(response=response)

    await page.route("**/messages?after=0", late)
    await opened(clew, page)
    await write(page, "Hello?")
    await clew.until(lambda: clew.streams)
    sent.set()
    await expect(page.get_by_text("Sending")).to_have_count(0)
    await settled(page)
    await clew.say("Good morning")
    await expect(texts(page)).to_have_text(["Hello?", "Good morning"])
    assert len(clew.resumed) == 1


async def test_messages_are_in_the_servers_order(clew: FakeClew, page: Page) -> None:
    await opened(clew, page)
    await write(page, "first")
    await clew.until(lambda: clew.streams)
    clew.failures["POST messages"] = [503]
    await write(page, "third")
    await clew.say("second")
    await expect(texts(page)).to_have_text(["first", "second", "third"])
    await clew.until(lambda: len(clew.posted) == 2)
    await clew.say("fourth")
    await expect(texts(page)).to_have_text(["first", "second", "third", "fourth"])


async def test_shift_enter_is_a_new_line_and_composing_is_not_sending(clew: FakeClew, page: Page) -> None:
    await opened(clew, page)
    field = page.get_by_label("Write a message")
    await field.press_sequentially("one")
    await field.press("Shift+Enter")
    await field.press_sequentially("two")
    await field.dispatch_event("keydown", {"key": "Enter", "isComposing": True})
    await expect(field).to_have_value("one\ntwo")
    await field.press("Enter")
    await clew.until(lambda: clew.posted)
    assert clew.posted[0]["text"] == "one\ntwo"
    await expect(field).to_have_value("")
    await expect(field).to_be_focused()


@pytest.mark.parametrize("statuses", [[503, 429, 502], [0], [500, 0]], ids=str)
async def test_a_message_is_sent_until_it_arrives_and_arrives_once(
    clew: FakeClew, page: Page, statuses: list[int]
) -> None:
    clew.failures["POST messages"] = list(statuses)
    clew.failures["stream"] = [503] * 1000  # else it says that the message has arrived
    await page.clock.install()
    await page.goto(clew.url)
    await pass_time(page, lambda: clew.asked)
    await page.get_by_role("button", name="Ask us").click()
    await write(page, "Hello?")
    await pass_time(page, lambda: len(clew.posted) == 1 + statuses.count(0))
    await expect(page.get_by_text("Sending")).to_have_count(0)
    assert len({posted["client_id"] for posted in clew.posted}) == 1
    assert [message["text"] for message in clew.messages] == ["Hello?"]
    await expect(texts(page)).to_have_text(["Hello?"])


async def test_the_widget_shows_when_a_limited_message_will_be_sent(clew: FakeClew, page: Page) -> None:
    """field E3, G18."""
    clew.failures["POST messages"] = [429]
    clew.retry_after = 40
    await page.clock.install()
    await page.goto(clew.url)
    await pass_time(page, lambda: clew.asked)
    await page.get_by_role("button", name="Ask us").click()
    await write(page, "Hello?")
    said = re.compile(r"Too many messages at once.*sent at .*\d\d:\d\d:\d\d")
    await expect(page.get_by_text(said)).to_be_visible()
    await page.clock.fast_forward(30_000)
    assert clew.posted == []
    await pass_time(page, lambda: clew.posted)
    await expect(page.get_by_text("Too many")).to_have_count(0)
    await expect(texts(page)).to_have_text(["Hello?"])


async def test_the_widget_shows_a_long_wait_and_offers_a_manual_retry(clew: FakeClew, page: Page) -> None:
    """field E3, G18."""
    clew.failures["POST messages"] = [429]
    clew.retry_after = 7200
    await opened(clew, page)
    await write(page, "Hello?")
    await expect(page.get_by_text("Not sent: too many messages. Possible again from")).to_be_visible()
    await page.get_by_role("button", name="Try again").click()
    await clew.until(lambda: clew.posted)
    await expect(page.get_by_text("Not sent")).to_have_count(0)


async def test_a_message_that_cannot_be_sent_is_marked_and_can_be_retried(clew: FakeClew, page: Page) -> None:
    clew.failures["POST messages"] = [400]
    await opened(clew, page)
    await write(page, "Hello?")
    await expect(page.get_by_text("Not sent.")).to_be_visible()
    await page.get_by_role("button", name="Try again").click()
    await clew.until(lambda: clew.posted)
    await expect(page.get_by_text("Not sent.")).to_have_count(0)
    await expect(texts(page)).to_have_text(["Hello?"])


async def test_an_unsent_message_is_carried_to_the_next_page(clew: FakeClew, page: Page) -> None:
    clew.failures["POST messages"] = [503] * 2
    await opened(clew, page)
    await write(page, "Hello?")
    await write(page, "Anybody?")
    await clew.until(lambda: len(clew.failures["POST messages"]) == 1)
    await page.goto(clew.url + "/two")
    await clew.until(lambda: len(clew.posted) == 2)
    assert [message["text"] for message in clew.messages] == ["Hello?", "Anybody?"]
    await expect(texts(page)).to_have_text(["Hello?", "Anybody?"])
    await page.goto(clew.url + "/three")
    await expect(texts(page)).to_have_text(["Hello?", "Anybody?"])
    await settled(page)
    assert len(clew.posted) == 2


async def test_a_broken_stream_resumes_where_it_broke(clew: FakeClew, page: Page) -> None:
    await opened(clew, page)
    await write(page, "Hello?")
    await clew.until(lambda: clew.streams and clew.messages)
    await clew.say("Good morning")
    await expect(texts(page)).to_have_text(["Hello?", "Good morning"])
    await clew.break_streams()
    await clew.until(lambda: not clew.streams)
    await clew.say("Are you there?")
    await expect(texts(page)).to_have_text(["Hello?", "Good morning", "Are you there?"])
    assert clew.resumed[-1] == "2"


async def test_answers_come_even_where_no_stream_does(clew: FakeClew, page: Page) -> None:
    await clew.say("Good morning")
    clew.answer = TALKING
    clew.failures["stream"] = [503] * 1000
    await page.clock.install()
    await page.goto(clew.url)
    await pass_time(page, lambda: MESSAGES in clew.requests)
    await page.get_by_role("button", name="Ask us").click()
    await clew.say("Are you there?")
    asked = clew.requests.count(MESSAGES)
    await pass_time(page, lambda: clew.requests.count(MESSAGES) > asked + 5)
    await expect(texts(page)).to_have_text(["Good morning", "Are you there?"])
    clew.failures["stream"].clear()
    await pass_time(page, lambda: clew.streams)
    await clew.say("Now it flows")
    await expect(texts(page).last).to_have_text("Now it flows")


async def test_the_widget_shows_when_the_connection_is_lost_and_restored(clew: FakeClew, page: Page) -> None:
    await clew.say("Good morning")
    clew.answer = TALKING
    clew.failures["messages"] = [503] * 8
    await page.clock.install()
    await page.goto(clew.url)
    await pass_time(page, lambda: len(clew.failures["messages"]) < 8)
    await page.get_by_role("button", name="Ask us").click()
    await pass_time(page, lambda: len(clew.failures["messages"]) < 2)
    await expect(page.get_by_text("No connection.")).to_be_visible()
    await pass_time(page, lambda: clew.streams)
    await expect(page.get_by_text("No connection.")).to_have_count(0)
    await expect(texts(page)).to_have_text(["Good morning"])


async def test_a_hidden_tab_holds_no_connection_and_misses_no_message(clew: FakeClew, page: Page) -> None:
    await clew.say("Good morning")
    clew.answer = TALKING
    await opened(clew, page)
    await clew.until(lambda: clew.streams)
    await look_away(page)
    await clew.until(lambda: not clew.streams)
    await clew.say("Are you there?")
    await look_away(page, away=False)
    await expect(texts(page)).to_have_text(["Good morning", "Are you there?"])
    await clew.until(lambda: clew.streams)


async def test_an_answer_behind_the_minimised_chat_is_counted_and_announced(
    clew: FakeClew, page: Page
) -> None:
    await opened(clew, page)
    await write(page, "Hello?")
    await clew.until(lambda: clew.streams)
    await page.get_by_role("button", name="Minimise chat").click()
    await clew.say("Good morning")
    await expect(page.get_by_role("button", name="Ask us 1 new message")).to_be_visible()
    await expect(page.locator(".root > [role=status]")).to_have_text("New message from Anna: Good morning")
    await clew.say("Are you there?")
    clew.answer = TALKING
    await page.goto(clew.url + "/two")
    await page.get_by_role("button", name="Ask us 2 new messages").click()
    await page.get_by_role("button", name="Minimise chat").click()
    await expect(page.get_by_role("button", name="Ask us", exact=True)).to_be_visible()
    await page.goto(clew.url + "/three")
    await clew.until(lambda: len(clew.streams) == 1)
    await expect(page.get_by_role("button", name="Ask us", exact=True)).to_be_visible()


async def test_a_new_tab_counts_what_the_server_counts(clew: FakeClew, page: Page) -> None:
    for text in ("one", "two", "three"):
        await clew.say(text)
    clew.answer = TALKING | {"unread": 2}
    await page.goto(clew.url)
    await clew.until(lambda: clew.streams)
    await expect(page.get_by_role("button", name="Ask us 2 new messages")).to_be_visible()


async def test_an_open_chat_and_its_draft_are_kept_on_the_next_page(clew: FakeClew, page: Page) -> None:
    await opened(clew, page)
    await page.get_by_label("Write a message").fill("What I wanted to as")
    await page.goto(clew.url + "/two")
    await expect(page.get_by_label("Write a message")).to_have_value("What I wanted to as")
    assert await page.evaluate("document.activeElement === document.body")


async def test_the_widget_shows_when_no_agent_is_online(clew: FakeClew, page: Page) -> None:
    clew.answer = SHOW | {"online": False}
    dialog = await opened(clew, page)
    await expect(dialog).to_contain_text("Nobody is here right now.")
    clew.answer = SHOW
    await page.evaluate("history.pushState(null, '', '/two')")
    await expect(dialog).not_to_contain_text("Nobody is here right now.")


@pytest.mark.parametrize(
    ("zone", "shown"), [("Europe/Berlin", "Monday, Nov 30"), ("Asia/Tokyo", "Tuesday, Dec 1")]
)
async def test_outside_the_office_hours_the_widget_says_when_somebody_is_there_again(
    clew: FakeClew, chromium: Browser, zone: str, shown: str
) -> None:
    """In the visitor's own time zone and language."""
    back = datetime(2026, 11, 30, 17, 0, tzinfo=UTC).timestamp()
    clew.answer = SHOW | {"online": False, "back": back}
    context = await chromium.new_context(timezone_id=zone, locale="en-US")
    try:
        dialog = await opened(clew, await context.new_page())
        await expect(dialog).to_contain_text(f"Somebody is here again: {shown}")
    finally:
        await context.close()


async def test_an_ended_conversation_is_marked_and_an_agent_can_continue_it(
    clew: FakeClew, page: Page
) -> None:
    dialog = await opened(clew, page)
    await write(page, "Hello?")
    await clew.until(lambda: clew.streams)
    await clew.say("Bye", author="system", agent=None)
    clew.state = "closed"
    await expect(dialog).to_contain_text("This conversation has ended.")
    await clew.until(lambda: clew.streams)
    await clew.say("I forgot something")
    await expect(dialog).to_contain_text("I forgot something")
    await expect(dialog).not_to_contain_text("This conversation has ended.")


async def test_a_visitor_can_write_into_an_ended_conversation(clew: FakeClew, page: Page) -> None:
    await clew.say("Bye")
    clew.state = "closed"
    dialog = await opened(clew, page)
    await expect(dialog).to_contain_text("This conversation has ended.")
    await write(page, "One more thing")
    await expect(dialog).not_to_contain_text("This conversation has ended.")


async def test_only_http_addresses_become_links(clew: FakeClew, page: Page) -> None:
    await clew.say(
        f"See {clew.url}/pot?a=1&b=2. (Or https://other.example/x)! javascript:alert(1) //evil.example "
        'ftp://old.example https://"onmouseover=alert(1) data:text/html,x https://'
    )
    clew.answer = TALKING
    await opened(clew, page)
    links: list[Any] = await page.locator(".row a").evaluate_all(
        "links => links.map(link => [link.getAttribute('href'), link.textContent, link.rel, link.target])"
    )
    rel = "noopener noreferrer"
    assert links == [
        [f"{clew.url}/pot?a=1&b=2", f"{clew.url}/pot?a=1&b=2", rel, ""],
        ["https://other.example/x", "https://other.example/x", rel, "_blank"],
    ]


async def test_a_link_of_the_visitor_stays_text(clew: FakeClew, page: Page) -> None:
    await opened(clew, page)
    await write(page, "https://other.example/x")
    await expect(texts(page)).to_have_text(["https://other.example/x"])
    await expect(page.locator(".row a")).to_have_count(0)


async def test_text_from_anywhere_stays_text(clew: FakeClew, page: Page) -> None:
    evil = "<img src=x onerror=window.hit=1><script>window.hit=1</script>${window.hit=1}"
    await clew.say(evil, agent=evil)
    await clew.say(evil, author=f'"><b class="{evil}', agent=None)
    clew.messages.append({"id": "7", "author": "agent", "agent": {}, "text": "no number", "at": "then"})
    clew.messages.append({"id": 9, "author": "agent", "agent": None, "text": evil, "at": "then"})
    colour = "red;} * { display: none } :host { --x: url(//evil.example)"
    clew.answer = SHOW | {
        "action": "invite",
        "rule": evil,
        "language": "__proto__",
        "invite": {"rule": evil, "text": evil, "question": True},
        "widget": {"color": colour, "side": evil, "title": evil},
        "conversation": True,
        "unread": evil,
    }
    await page.goto(clew.url)
    await expect(page.get_by_role("region")).to_contain_text(evil)
    await page.get_by_label("Your question").fill(evil)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name=evil)).to_be_visible()
    await expect(texts(page)).to_have_count(5)
    await expect(texts(page).last).to_have_text(evil)
    inside = "document.querySelector('clew-chat').shadowRoot.querySelectorAll('img, script, b').length"
    assert await page.evaluate(inside) == 0
    assert await page.evaluate("window.hit") is None


async def test_a_long_history_is_shown_up_to_its_bound(clew: FakeClew, page: Page) -> None:
    for number in range(310):
        await clew.say(f"message {number}")
    clew.answer = TALKING
    await opened(clew, page)
    await expect(texts(page)).to_have_count(300)
    await expect(texts(page).first).to_have_text("message 10")
    await expect(texts(page).last).to_be_in_viewport()


async def test_a_mark_below_a_message_goes_to_the_next_one(clew: FakeClew, page: Page) -> None:
    await opened(clew, page)
    marks = page.locator(".row.visitor .status")
    for number in range(3):
        await write(page, f"question {number}")
        await clew.until(lambda: clew.streams)
        await clew.say(f"answer {number}")
        await expect(texts(page)).to_have_count(2 * (number + 1))
        await expect(marks).to_have_text(["Sent"])
        await expect(page.locator(".row.visitor").last.locator(".status")).to_have_count(1)


async def test_the_newest_message_stays_in_sight_when_the_chat_gets_lower(clew: FakeClew, page: Page) -> None:
    for number in range(12):
        await clew.say(f"message {number}")
    clew.answer = TALKING
    dialog = await opened(clew, page)
    await expect(dialog.get_by_role("button", name="More")).to_be_visible()
    await expect(texts(page).last).to_be_in_viewport(ratio=1)
    await dialog.evaluate("(node) => (node.style.maxHeight = '300px')")
    await expect(texts(page).last).to_be_in_viewport(ratio=1)
    # Who reads older ones is left there.
    await texts(page).first.scroll_into_view_if_needed()
    await clew.say("one more")
    await expect(texts(page)).to_have_count(13)
    await expect(texts(page).first).to_be_in_viewport()


async def test_a_visitor_who_talks_gives_signs_while_it_looks_at_the_page(clew: FakeClew, page: Page) -> None:
    await page.clock.install()
    dialog = await opened(clew, page)
    await expect(dialog.locator(".menu")).to_have_count(1)
    await page.clock.run_for(60_000)
    assert [event for event in clew.events if event["kind"] == "here"] == []
    await write(page, "Is the pot in stock?")
    await clew.until(lambda: clew.streams)
    await page.clock.run_for(60_000)
    await clew.until(lambda: {"kind": "here"} in clew.events)


async def test_read_messages_are_reported_once_they_are_visible(clew: FakeClew, page: Page) -> None:
    clew.answer = TALKING | {"unread": 1}
    clew.state = "open"
    await clew.say("Yes, five of them.")
    await page.goto(clew.url)
    await clew.until(lambda: MESSAGES in clew.requests)
    await settled(page)
    assert [event for event in clew.events if event["kind"] == "read"] == []
    await page.get_by_role("button", name="Ask us").click()
    await clew.until(lambda: clew.events)
    newest = clew.messages[-1]["id"]
    assert clew.events == [{"kind": "read", "message": newest}]


async def test_a_page_that_changes_its_language_gets_the_texts_of_the_other(
    clew: FakeClew, page: Page
) -> None:
    await page.goto(clew.url)
    await expect(page.get_by_role("button", name="Ask us")).to_be_visible()
    clew.answer = SHOW | {"language": "fi"}
    await page.evaluate("history.pushState(null, '', '/two')")
    await expect(page.get_by_role("button", name="Kysy meiltä")).to_be_visible()
    clew.answer = SHOW
    await page.evaluate("history.pushState(null, '', '/three')")
    await expect(page.get_by_role("button", name="Ask us")).to_be_visible()
    assert clew.requests.count(f"GET {PREFIX}w.js") == 2
