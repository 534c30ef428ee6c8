"""An agent with several conversations at once: side by side, by keyboard, and told of what comes."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from accessibility import faults
from desks import PASSWORD, DeskServer, desk_server, hidden
from playwright.async_api import BrowserContext, expect
from playwright.async_api import Page as Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")
VISITORS = ["aaaabbbbccccddddeeeeffff11", "aaaabbbbccccddddeeeeffff22", "aaaabbbbccccddddeeeeffff33"]
HOST = "http://127.0.0.1"


@pytest_asyncio.fixture(loop_scope="session")
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path) as built:
        await built.agents.add("bo", PASSWORD, site=None, now=built.service.clock.now())
        yield built


@pytest_asyncio.fixture(loop_scope="session")
async def talks(desk: DeskServer) -> list[str]:
    """Three conversations of bo, and one of nobody."""
    found = []
    for number, visitor in enumerate(VISITORS):
        now = desk.service.clock.now()
        talk = await desk.says(f"question {number}", visitor, now=now + number / 1000)
        await desk.conversations.claim("shop", talk, "bo", now)
        found.append(talk)
    await desk.says("nobody answers", "zzzzbbbbccccddddeeeeffff44")
    return found


@pytest_asyncio.fixture(loop_scope="session")
async def address(desk: DeskServer) -> AsyncIterator[str]:
    async with desk.served() as address:
        yield address


@pytest_asyncio.fixture(loop_scope="session")
async def tab(talks: list[str], context: BrowserContext, address: str) -> AsyncIterator[Tab]:
    tab = await context.new_page()
    said: list[str] = []
    tab.on("pageerror", lambda error: said.append(str(error)))
    await tab.goto(f"{address}desk/")
    await tab.get_by_label("Name").fill("bo")
    await tab.get_by_label("Password").fill(PASSWORD)
    await tab.get_by_role("button", name="Log in").click()
    await expect(tab.locator("#pulse-text")).to_have_text("live")
    yield tab
    assert said == []


async def write(desk: DeskServer, visitor: str, text: str) -> None:
    sent = await desk.visitor(visitor, HOST).post(
        "messages", json={"text": text, "client_id": f"widget-{abs(hash(text))}"}
    )
    assert sent.status_code == 201


async def test_all_conversations_of_the_agent_are_live_side_by_side(
    desk: DeskServer, tab: Tab, talks: list[str], address: str
) -> None:
    await tab.goto(f"{address}desk/talks")
    columns = tab.locator("[data-talk]")
    await expect(columns).to_have_count(3)
    await expect(tab.locator("#pulse-text")).to_have_text("live")
    await write(desk, VISITORS[1], "one more")
    await expect(columns.nth(1).locator(".messages")).to_contain_text("one more")
    await expect(columns.nth(0).locator(".messages")).not_to_contain_text("one more")
    # Each keeps its own half-written answer, also over a reload.
    for number in range(3):
        await columns.nth(number).locator("textarea").fill(f"half {number}")
    await tab.reload()
    for number in range(3):
        await expect(columns.nth(number).locator("textarea")).to_have_value(f"half {number}")
    await columns.nth(2).locator("textarea").press("Enter")
    await expect(columns.nth(2).locator(".by-agent .text")).to_have_text("half 2")
    await expect(columns.nth(2).locator("textarea")).to_have_value("")
    await expect(columns.nth(0).locator("textarea")).to_have_value("half 0")
    sent = (await desk.visitor(VISITORS[2], HOST).get("messages")).json()["messages"]
    assert [one["text"] for one in sent] == ["question 2", "half 2"]


async def test_conversations_come_and_go_without_a_reload(
    desk: DeskServer, tab: Tab, talks: list[str], address: str
) -> None:
    await tab.goto(f"{address}desk/talks")
    await expect(tab.locator("#pulse-text")).to_have_text("live")
    columns = tab.locator("[data-talk]")
    await columns.nth(0).locator("textarea").fill("kept")
    shop = desk.service.sites["shop"]
    await desk.service.conversations.close(shop.name, talks[1])
    await expect(columns).to_have_count(2)
    new = await desk.says("new here", "qqqqbbbbccccddddeeeeffff55")
    await desk.service.conversations.take(shop.name, new, "bo")
    await expect(columns).to_have_count(3)
    await expect(columns.nth(2).locator(".messages")).to_contain_text("new here")
    await expect(columns.nth(0).locator("textarea")).to_have_value("kept")
    await columns.nth(2).locator("textarea").fill("Welcome")
    await columns.nth(2).locator("textarea").press("Enter")
    await expect(columns.nth(2).locator(".by-agent .text")).to_have_text("Welcome")


async def test_pages_are_no_longer_than_the_window_and_boxes_stand_beside_their_words(
    tab: Tab, talks: list[str], address: str
) -> None:
    longer = "document.documentElement.scrollHeight - innerHeight"
    for path in (f"conversations/{talks[0]}", "talks"):
        await tab.goto(f"{address}desk/{path}")
        await expect(tab.locator("textarea").first).to_be_visible()
        assert await tab.evaluate(longer) <= 0, path
    await tab.goto(f"{address}desk/account")
    box = await tab.locator("[name=sound]").bounding_box()
    words = await tab.get_by_text("with a sound").bounding_box()
    assert box is not None
    assert words is not None
    assert box["width"] < 24
    assert words["y"] < box["y"] + box["height"] / 2 < words["y"] + words["height"]


async def test_one_is_closed_from_its_column_and_the_others_stay(
    tab: Tab, talks: list[str], address: str
) -> None:
    await tab.goto(f"{address}desk/talks")
    columns = tab.locator("[data-talk]")
    await columns.nth(1).get_by_role("button", name="Close").click()
    await expect(columns).to_have_count(2)
    await tab.wait_for_url("**/desk/talks")
    await expect(tab.get_by_text("question 1")).to_have_count(0)


async def test_the_keyboard_switches_between_them_and_marks_what_is_unread(
    desk: DeskServer, tab: Tab, talks: list[str], address: str
) -> None:
    own = tab.locator("#own-talks")
    await expect(own.locator(".unread-count")).to_have_count(3)
    await tab.keyboard.press("2")
    await tab.wait_for_url(f"**/{talks[1]}")
    await expect(tab.locator("#messages")).to_contain_text("question 1")
    # It is read now, by the agent's eyes.
    await expect(own.locator(".unread-count")).to_have_count(2)
    await expect(tab.locator("#pulse-text")).to_have_text("live")
    field = tab.get_by_label("Your answer")
    await field.fill("half")
    await field.press("Alt+ArrowDown")
    await tab.wait_for_url(f"**/{talks[2]}")
    await expect(tab.get_by_label("Your answer")).to_be_focused()
    await tab.keyboard.press("Alt+ArrowUp")
    await tab.wait_for_url(f"**/{talks[1]}")
    await expect(field).to_have_value("half")
    await expect(tab.locator("#pulse-text")).to_have_text("live")
    await write(desk, VISITORS[2], "are you there?")
    await expect(own.locator(f"[data-own='{talks[2]}'] .unread-count")).to_contain_text("1")
    await tab.keyboard.press("Escape")
    await tab.keyboard.press("m")
    await tab.wait_for_url("**/talks")
    await tab.keyboard.press("1")
    await expect(tab.locator("[data-talk]").nth(0).locator("textarea")).to_be_focused()
    await tab.keyboard.press("Alt+ArrowDown")
    await expect(tab.locator("[data-talk]").nth(1).locator("textarea")).to_be_focused()


async def test_the_list_of_keys_opens_by_a_key_and_letters_can_be_turned_off(
    desk: DeskServer, tab: Tab, address: str
) -> None:
    await tab.keyboard.press("?")
    overlay = tab.get_by_role("dialog", name="Keyboard")
    await expect(overlay).to_be_visible()
    assert await faults(tab) == []
    await tab.keyboard.press("Escape")
    await expect(overlay).to_be_hidden()
    await tab.keyboard.press("j")
    await expect(tab.locator("#inbox .line a").first).to_be_focused()
    await tab.goto(f"{address}desk/account")
    await tab.get_by_label("single letters are keys").uncheck()
    await tab.get_by_role("button", name="Save").click()
    await expect(tab.get_by_text("It is set")).to_be_visible()
    await tab.goto(f"{address}desk/")
    await expect(tab.locator("#pulse-text")).to_have_text("live")
    await tab.keyboard.press("s")
    await tab.keyboard.press("?")
    await expect(overlay).to_be_visible()
    assert tab.url.endswith("/desk/")


async def test_messages_are_told_as_the_agent_wants_it(
    desk: DeskServer, tab: Tab, talks: list[str], address: str
) -> None:
    """field G14: a page that is not looked at shows a notification; a button has asked the browser before."""
    await tab.add_init_script(
        """window.told = [];
        window.Notification = class extends EventTarget {
          static permission = "default";
          static async requestPermission() { this.permission = localStorage.said = "granted"; }
          constructor(title, { body }) {
            super();
            told.push([title, body]);
            document.documentElement.dataset.told = JSON.stringify(told);
          }
          close() {}
        };
        Notification.permission = localStorage.said ?? "default";
        Object.defineProperty(document, "hasFocus", { value: () => false });"""
    )
    await tab.goto(f"{address}desk/account")
    await expect(tab.locator("#notify-state")).to_have_text("This browser was not asked yet.")
    await tab.get_by_role("button", name="Allow notifications").click()
    await expect(tab.locator("#notify-state")).to_have_text("This browser shows notifications.")
    await tab.goto(f"{address}desk/")
    await expect(tab.locator("#pulse-text")).to_have_text("live")
    await write(desk, VISITORS[0], "hello?")
    told = tab.locator("html")
    await expect(told).to_have_attribute("data-told", '[["New message","hello?"]]')
    # Somebody who waits, only if the agent wants it.
    await tab.goto(f"{address}desk/account")
    await tab.get_by_label("Tell you").select_option("all")
    await tab.get_by_role("button", name="Save").click()
    await tab.goto(f"{address}desk/")
    await expect(tab.locator("#pulse-text")).to_have_text("live")
    await write(desk, "qqqqbbbbccccddddeeeeffff55", "anybody?")
    await expect(told).to_have_attribute("data-told", re.compile("A visitor waits for an answer"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
async def test_side_by_side_is_accessible(tab: Tab, address: str, scheme: Any, width: int) -> None:
    """field G17"""
    await tab.emulate_media(color_scheme=scheme)
    await tab.set_viewport_size({"width": width, "height": 700})
    for path in ("talks", "", "account"):
        await tab.goto(f"{address}desk/{path}")
        assert await faults(tab) == [], path
        assert await tab.evaluate("document.documentElement.scrollWidth") <= width, path


async def test_earlier_conversations_are_there_with_their_text(desk: DeskServer) -> None:
    now = desk.service.clock.now()
    old = await desk.says("how long is the rope?", VISITORS[0], now=now - 5 * 86400)
    await desk.conversations.add_agent_message(
        "shop", old, "Ten metres.", agent="bo", client_id=None, now=now - 5 * 86400
    )
    await desk.conversations.close("shop", old, now - 5 * 86400)
    talk = await desk.says("and the other one?", VISITORS[0])
    assert talk != old
    client = await desk.agent()
    page = (await client.get(f"desk/conversations/{talk}")).text
    earlier = page.partition('id="v-earlier"')[2]
    assert "how long is the rope?" in earlier
    assert "Ten metres." in earlier
    assert f"/conversations/{old}" in earlier
    assert hidden(page)
