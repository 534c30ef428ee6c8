"""The visitor's widget against the real desk: what each side sees of the other, what the visitor may do."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from clew.stores.ledger.schema import conversations
from desks import PASSWORD, VISITOR, DeskServer, desk_server, until
from playwright.async_api import BrowserContext, Page, expect
from sqlalchemy import select

pytestmark = pytest.mark.asyncio(loop_scope="session")
HOST = "http://127.0.0.1"
ANSWER = {"action": "show", "language": "en", "conversation": True, "online": False, "widget": {}}
Open = Callable[..., Any]


@pytest_asyncio.fixture(loop_scope="session")
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path) as built:
        await built.agents.add("bo", PASSWORD, site=None, now=built.service.clock.now(), shown="Bo")
        yield built


@pytest_asyncio.fixture(loop_scope="session")
async def shop(desk: DeskServer, context: BrowserContext) -> AsyncIterator[Open]:
    """Opens a page of the shop in the visitor's browser, with the chat as `decide` would have it."""
    async with desk.served() as address:

        async def opened(**changes: Any) -> Page:
            name, _, value = desk.cookie(base=address.removesuffix("/-/clew/")).partition("=")
            await context.add_cookies([{"name": name, "value": value, "url": address}])
            page = await context.new_page()
            await page.goto(f"{address}health")
            await page.evaluate(
                "async ([base, answer]) => (await import(base + 'w.js?en')).update(base, 'view-1', answer)",
                [address, ANSWER | changes],
            )
            await page.get_by_role("button", name="Ask us").click()
            return page

        yield opened


async def bo(desk: DeskServer) -> httpx2.AsyncClient:
    return await desk.agent("bo", base=HOST)


async def answers(desk: DeskServer, talk: str, text: str) -> None:
    site = desk.service.sites["shop"]
    await desk.service.conversations.agent_says(site, talk, text, agent="bo", client_id=None)


async def test_the_visitor_sees_that_its_message_was_sent_read_and_is_being_answered(
    desk: DeskServer, shop: Open
) -> None:
    """field G14"""
    talk = await desk.says("is it blue?")
    page = await shop()
    await expect(page.locator(".row.visitor .status")).to_have_text("Sent")
    await until(lambda: len(desk.service.hub) == 1)
    found = await desk.conversations.own("shop", VISITOR)
    assert found is not None
    attention = desk.service.attention
    await attention.agent_saw(found, "bo", 1)
    await expect(page.locator(".row.visitor .status")).to_have_text("Read")
    await attention.agent_types(found, "bo", True)
    await expect(page.locator(".writing")).to_have_text("Bo is writing…")
    await answers(desk, talk, "It is.")
    await expect(page.locator(".row.agent .text", has_text="It is.")).to_be_visible()
    await expect(page.locator(".writing")).to_be_empty()


@pytest.mark.parametrize("shown", [True, False])
async def test_the_desk_hears_that_the_visitor_writes_and_what_only_where_the_visitor_is_told(
    desk: DeskServer, shop: Open, shown: bool
) -> None:
    await desk.says("is it blue?")
    page = await shop(typing_preview=shown, online=True)
    told = page.get_by_text("We see what you write before you send it.")
    await until(lambda: len(desk.service.hub) == 1)
    async with page.expect_request("**/typing") as first:
        await page.get_by_label("Write a message").press_sequentially("or green?", delay=1)
    sent = (await first.value).post_data_json
    assert sent["typing"] is True
    assert ("text" in sent) is shown
    async with page.expect_request("**/typing") as emptied:
        await page.get_by_label("Write a message").fill("")
    assert (await emptied.value).post_data_json == {"typing": False}
    # What is more pressing is said first.
    await expect(told).to_have_count(0)
    await (await bo(desk)).get("desk/")
    await expect(told).to_have_count(int(shown))


async def test_the_visitor_hears_at_once_that_somebody_has_come_or_gone(desk: DeskServer, shop: Open) -> None:
    """field G13"""
    await desk.says("is it blue?")
    page = await shop()
    presence = page.locator(".presence")
    await expect(presence).to_have_text("Away at the moment")
    await until(lambda: len(desk.service.hub) == 1)
    client = await bo(desk)
    await client.get("desk/")
    await expect(presence).to_have_text("We are here for you")
    # It is looked once a second, in which no real clock goes on by two minutes.
    await desk.service.desk_work.look()
    desk.clock.ahead += 120
    await expect(presence).to_have_text("Away at the moment")


async def test_the_invite_that_began_the_talk_stays_its_first_line(desk: DeskServer, shop: Open) -> None:
    visitor = desk.visitor(base=HOST)
    await desk.invited("after-wait")
    body = {"text": "yes", "client_id": "client-0001", "rule": "after-wait", "language": "en"}
    assert (await visitor.post("messages", json=body)).status_code == 201
    page = await shop()
    first = page.locator(".row .text").first
    await expect(first).to_have_text("Can we help you? Ask your question here.")
    await page.close()
    await expect((await shop()).locator(".row .text").first).to_have_text(
        "Can we help you? Ask your question here."
    )


async def test_a_closed_talk_is_rated_once_with_a_word(desk: DeskServer, shop: Open) -> None:
    talk = await desk.says("is it blue?", language="en")
    await answers(desk, talk, "It is.")
    page = await shop()
    rating = page.get_by_role("group", name="How was this conversation?")
    await expect(page.get_by_role("button", name="More")).to_be_visible()
    await expect(rating).to_have_count(0)
    await until(lambda: len(desk.service.hub) == 1)
    await desk.service.conversations.close("shop", talk)
    await rating.get_by_role("button", name="4 of 5").click()
    await rating.get_by_label("Comment (optional)").fill("quick, and blue")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Thank you!")).to_be_visible()

    async def kept() -> list[tuple[Any, ...]]:
        c = conversations.c
        async with desk.service.ledger.db.read() as connection:
            return [tuple(row) for row in await connection.execute(select(c.rating, c.rating_text))]

    async with asyncio.timeout(30):
        while await kept() != [(4, "quick, and blue")]:  # noqa: ASYNC110 - the ledger has no event for it
            await asyncio.sleep(0.05)
    page = await shop()
    await expect(page.get_by_text("This conversation has ended.")).to_be_visible()
    await expect(page.get_by_role("button", name="More")).to_be_visible()
    await expect(page.get_by_role("group", name="How was this conversation?")).to_have_count(0)


async def test_the_visitor_takes_its_own_talk_along(desk: DeskServer, shop: Open) -> None:
    talk = await desk.says("is it blue?\nor green?", language="en")
    await desk.says("somebody else's", visitor="zzzzbbbbccccddddeeeeffff22")
    await answers(desk, talk, "It is \u202eeulb.")
    page = await shop()
    await page.get_by_role("button", name="More").click()
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Save conversation").click()
    file = await (await download.value).path()
    text = await asyncio.to_thread(lambda: Path(file).read_bytes().decode("utf-8-sig"))
    assert (await download.value).suggested_filename == "chat.txt"
    lines = text.split("\r\n")
    assert re.fullmatch(r"127\.0\.0\.1:\d+, \d{4}-\d\d-\d\d \d\d:\d\d UTC[+-]\d{4}", lines[0])
    assert lines[2].endswith("\u2068You\u2069:")
    assert lines[3:5] == ["is it blue?", "or green?"]
    assert lines[6].endswith("\u2068Bo\u2069:")
    assert lines[7] == "It is eulb."
    assert "else" not in text


async def test_the_visitor_has_its_talk_deleted_after_a_question(desk: DeskServer, shop: Open) -> None:
    talk = await desk.says("my secret", language="en")
    await answers(desk, talk, "I keep it.")
    page = await shop()
    await expect(page.get_by_text("my secret")).to_be_visible()
    more = page.get_by_role("button", name="More")
    await more.click()
    await page.get_by_role("button", name="Delete conversation").click()
    await page.get_by_role("button", name="Keep").click()
    await expect(page.get_by_text("my secret")).to_be_visible()
    await more.click()
    await page.get_by_role("button", name="Delete conversation").click()
    await page.get_by_role("button", name="Delete conversation").click()
    await expect(page.get_by_text("my secret")).to_have_count(0)
    await expect(page.get_by_text("The conversation was deleted.")).to_have_count(1)
    found = (await desk.visitor(base=HOST).get("messages")).json()
    assert (found["messages"], found["state"]) == ([], "none")
    assert (await desk.visitor(base=HOST).get("transcript")).status_code == 404
    # The next message begins another one.
    await page.get_by_label("Write a message").fill("hello again")
    await page.keyboard.press("Enter")
    await expect(page.locator(".row.visitor .status")).to_have_text("Sent")
    assert await desk.conversations.own("shop", VISITOR) is not None


async def test_a_message_counts_in_the_title_of_a_hidden_page(desk: DeskServer, shop: Open) -> None:
    talk = await desk.says("is it blue?")
    page = await shop()
    await page.evaluate("document.title = 'Pots'")
    await page.clock.install()
    await until(lambda: len(desk.service.hub) == 1)
    hide = """state => {
      Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
      document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
    }"""
    await page.evaluate(hide, "hidden")
    await until(lambda: len(desk.service.hub) == 0)
    await answers(desk, talk, "It is.")
    async with page.expect_response("**/messages?*"):
        await page.clock.run_for(31_000)
    await expect(page).to_have_title("(1) Pots")
    await page.evaluate(hide, "visible")
    await expect(page).to_have_title("Pots")


async def test_a_sound_is_asked_for_first_and_comes_only_while_the_chat_is_not_looked_at(
    desk: DeskServer, shop: Open
) -> None:
    talk = await desk.says("is it blue?")
    page = await shop(widget={"sound": True})
    await page.evaluate("""() => {
      window.tones = 0;
      const start = OscillatorNode.prototype.start;
      OscillatorNode.prototype.start = function (...args) { tones++; return start.apply(this, args); };
    }""")
    await until(lambda: len(desk.service.hub) == 1)

    async def hears(text: str) -> int:
        """The tones after an agent's next message, to a minimised chat."""
        await page.get_by_role("button", name="Minimise chat").click()
        await answers(desk, talk, text)
        await expect(page.get_by_role("button", name="1 new message")).to_be_visible()
        await page.get_by_role("button", name="1 new message").click()
        await expect(page.locator(".row.agent .text", has_text=text)).to_be_visible()
        return int(await page.evaluate("tones"))

    assert await hears("It is.") == 0, "nobody was asked yet"
    await page.get_by_role("button", name="More").click()
    await page.get_by_role("button", name="Sound for new messages").click()
    await page.wait_for_function("tones === 2")
    await page.get_by_role("button", name="More").click()
    # What is before the visitor's eyes needs no sound.
    await answers(desk, talk, "And green.")
    await expect(page.locator(".row.agent .text", has_text="And green.")).to_be_visible()
    assert await page.evaluate("tones") == 2
    await hears("And red.")
    await page.wait_for_function("tones === 4")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"rating": 0}, 422),
        ({"rating": 6}, 422),
        ({"rating": "5"}, 422),
        ({"rating": 5, "text": "x" * 501}, 422),
        ({"rating": 5}, 404),
    ],
)
async def test_a_rating_that_cannot_be_is_refused(
    desk: DeskServer, body: dict[str, Any], status: int
) -> None:
    assert (await desk.visitor(base=HOST).post("rating", json=body)).status_code == status


async def test_nobody_rates_or_deletes_without_limit_or_from_elsewhere(desk: DeskServer) -> None:
    await desk.says("is it blue?")
    visitor = desk.visitor(base=HOST)
    for path, body in (("rating", {"rating": 5}), ("forget-talk", {})):
        stranger = await desk.client(base=HOST).post(path, json=body)
        assert stranger.status_code == 403
        elsewhere = {"sec-fetch-site": "cross-site", "origin": "https://evil.test"}
        assert (await visitor.post(path, json=body, headers=elsewhere)).status_code == 403
        form = await visitor.post(path, content=json.dumps(body), headers={"content-type": "text/plain"})
        assert form.status_code == 415
    statuses = {(await visitor.post("rating", json={"rating": 5})).status_code for _ in range(12)}
    assert statuses == {204, 429}
    assert (await visitor.get("transcript?offset=x")).status_code == 400
