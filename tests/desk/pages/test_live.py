"""The desk in Debian's Chromium: the script that makes the pages live, under the pages' own policy."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio
from clew.desk.pages.live import LOOK_SECONDS
from clew.orders.model import OrderSeen
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Page, Touched, Viewed
from clew.service.ordering.correcting import settle
from desks import PASSWORD, VISITOR, DeskServer, desk_server, until
from playwright.async_api import BrowserContext, expect
from playwright.async_api import Page as Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")
HOST = "http://127.0.0.1"


@pytest_asyncio.fixture(loop_scope="session")
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path) as built:
        await built.agents.add("bo", PASSWORD, site=None, now=built.service.clock.now())
        yield built


@pytest_asyncio.fixture(loop_scope="session")
async def address(desk: DeskServer) -> AsyncIterator[str]:
    async with desk.served() as address:
        yield address


@pytest_asyncio.fixture(loop_scope="session")
async def tab(context: BrowserContext, address: str) -> AsyncIterator[Tab]:
    """A tab with the inbox, whose console has to stay silent but for requests that a test cuts off."""
    tab = await context.new_page()
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("dialog", lambda dialog: said.append(dialog.message))
    await tab.goto(f"{address}desk/")
    await tab.get_by_label("Name").fill("bo")
    await tab.get_by_label("Password").fill(PASSWORD)
    await tab.get_by_role("button", name="Log in").click()
    await expect(tab.locator("#pulse-text")).to_have_text("live")
    yield tab
    assert [line for line in said if "net::ERR_FAILED" not in line] == []


async def write(desk: DeskServer, text: str, number: int = 1) -> None:
    """A message by the visitor's own endpoint."""
    sent = await desk.visitor(base=HOST).post(
        "messages", json={"text": text, "client_id": f"widget-id-{number}"}
    )
    assert sent.status_code == 201, sent.text


async def test_a_new_conversation_appears_in_the_open_inbox(desk: DeskServer, tab: Tab) -> None:
    await expect(tab.get_by_text("Nobody is waiting")).to_be_visible()
    await write(desk, "is it blue?")
    await expect(tab.get_by_text("is it blue?")).to_be_visible()
    await expect(tab).to_have_title("(1) Inbox, shop · clew")


async def test_lines_for_a_person_appear_and_disappear_in_the_open_inbox(desk: DeskServer, tab: Tab) -> None:
    """The page said "live", and showed neither an order that was held since nor one that was settled."""
    soon = (LOOK_SECONDS + 5) * 1000  # the stream looks at what needs a person by itself
    now = desk.service.clock.now()
    touched = Touched(Touch(int(now - 60), (Click("", "aff", "c1", "anna"),)))
    await desk.service.visits.change("shop", VISITOR, [touched], now)
    shop, ordering = desk.service.sites["shop"], desk.service.ordering
    for number in range(5):
        before = OrderSeen(f"a{number}", Decimal("12.99"), "EUR", "api")
        await ordering.record(shop, before, visitor=None)
    await expect(tab.get_by_text("Needs attention")).to_have_count(0)
    await ordering.record(shop, OrderSeen("b", Decimal("1299.00"), "EUR", "api"), visitor=VISITOR)
    await expect(tab.get_by_text("1 call to partners: held")).to_be_visible(timeout=soon)
    await expect(tab.get_by_text("1299.00 EUR, but the median of the site")).to_be_visible()
    (row,) = await desk.service.ledger.outbox.list("held")
    await settle(desk.service.ledger, lambda _: [], row.id, now, by="bo", send=False)
    await expect(tab.get_by_text("Needs attention")).to_have_count(0, timeout=soon)


async def test_agent_and_visitor_talk_without_a_reload(desk: DeskServer, tab: Tab, address: str) -> None:
    talk = await desk.says("is it blue?")
    await tab.goto(f"{address}desk/conversations/{talk}")
    await tab.evaluate("window.same = true")
    await tab.get_by_label("Your answer").fill("First line")
    await tab.keyboard.press("Shift+Enter")
    await tab.keyboard.type("second line")
    await tab.keyboard.press("Enter")
    await expect(tab.locator(".by-agent .text")).to_have_text("First line\nsecond line")
    await expect(tab.get_by_label("Your answer")).to_have_value("")
    await tab.keyboard.type("half a thou")
    await write(desk, "<img src=x onerror=alert(1)>")
    await expect(tab.locator(".by-visitor .text").last).to_have_text("<img src=x onerror=alert(1)>")
    # What is being typed stays, and so does the page.
    await expect(tab.get_by_label("Your answer")).to_have_value("half a thou")
    assert await tab.evaluate("window.same") is True
    read = (await desk.visitor(base=HOST).get("messages")).json()["messages"]
    assert [m["author"] for m in read] == ["visitor", "agent", "visitor"]


async def test_the_open_chat_shows_that_the_conversation_is_closed(
    desk: DeskServer, tab: Tab, address: str, context: BrowserContext
) -> None:
    """field D11: the real widget, the real stream, the real desk."""
    talk = await desk.says("is it blue?")
    name, _, value = desk.cookie(base=address.removesuffix("/-/clew/")).partition("=")
    await context.add_cookies([{"name": name, "value": value, "url": address}])
    shop = await context.new_page()
    await shop.goto(f"{address}health")
    answer = {"action": "show", "language": "en", "conversation": True, "online": True, "widget": {}}
    await shop.evaluate(
        "async ([base, answer]) => (await import(base + 'w.js')).update(base, 'view-1', answer)",
        [address, answer],
    )
    await shop.get_by_role("button", name="Ask us").click()
    await expect(shop.locator(".row .text", has_text="is it blue?")).to_be_visible()
    await until(lambda: len(desk.service.hub) == 2)
    await tab.goto(f"{address}desk/conversations/{talk}")
    await tab.get_by_role("button", name="Close", exact=True).click()
    await expect(shop.get_by_text("This conversation has ended")).to_be_visible()
    await expect(shop.locator(".row.system", has_text="Das Gespräch wurde beendet.")).to_be_visible()


async def test_the_trail_grows_while_the_agent_looks_on(desk: DeskServer, tab: Tab, address: str) -> None:
    """feature B10: the stream looks at the visit store by itself."""
    talk = await desk.says("hello")
    await tab.goto(f"{address}desk/conversations/{talk}")
    now = desk.service.clock.now()
    page = Page("view-1", now, f"{address.removesuffix('-/clew/')}basket", "Your basket")
    await desk.service.visits.change("shop", VISITOR, [Viewed(page)], now)
    await expect(tab.locator(".trail .now")).to_contain_text("Your basket")


async def test_an_answer_that_could_not_be_sent_stays_in_the_field(
    desk: DeskServer, tab: Tab, address: str
) -> None:
    talk = await desk.says("hello")
    await tab.goto(f"{address}desk/conversations/{talk}")
    await tab.route("**/messages", lambda route: route.abort())
    await tab.get_by_label("Your answer").fill("precious")
    await tab.get_by_role("button", name="Send").click()
    await expect(tab.get_by_role("alert").first).to_contain_text("no connection to the server")
    await expect(tab.get_by_label("Your answer")).to_have_value("precious")
    await tab.unroute("**/messages")
    await tab.get_by_role("button", name="Send").click()
    await expect(tab.locator(".by-agent .text")).to_have_text("precious")
    assert len((await desk.visitor(base=HOST).get("messages")).json()["messages"]) == 2


async def test_a_canned_response_is_inserted_and_not_sent(desk: DeskServer, tab: Tab, address: str) -> None:
    talk = await desk.says("hallo")
    await tab.goto(f"{address}desk/conversations/{talk}")
    await tab.locator("summary", has_text="Canned answers").click()
    await tab.get_by_role("link", name="Guten Tag").click()
    await expect(tab.get_by_label("Your answer")).to_have_value("Guten Tag! Wie kann ich Ihnen helfen?")
    assert len((await desk.visitor(base=HOST).get("messages")).json()["messages"]) == 1


async def test_a_removed_agent_is_logged_out(desk: DeskServer, tab: Tab, address: str) -> None:
    talk = await desk.says("hello")
    await tab.goto(f"{address}desk/conversations/{talk}")
    # It is read, and the page has asked for what that changes.
    await expect(tab.locator(".line[data-unread]")).to_have_count(0)
    await desk.agents.deactivate("bo")
    await tab.get_by_label("Your answer").fill("too late")
    await tab.get_by_role("button", name="Send").click()
    await expect(tab.get_by_role("button", name="Log in")).to_be_visible()
    assert len((await desk.visitor(base=HOST).get("messages")).json()["messages"]) == 1


async def test_the_desk_works_at_a_shop_without_tls(
    desk: DeskServer, context: BrowserContext, address: str
) -> None:
    """There a browser sends no fetch metadata: `Origin` has to do, and the pages must not suppress it."""
    talk = await desk.says("hello")
    tab = await context.new_page()
    await tab.goto(f"{address.replace('127.0.0.1', 'shop.test')}desk/conversations/{talk}")
    await tab.get_by_label("Name").fill("bo")
    await tab.get_by_label("Password").fill(PASSWORD)
    await tab.get_by_role("button", name="Log in").click()
    await tab.get_by_label("Your answer").fill("hi")
    await tab.keyboard.press("Enter")
    await expect(tab.locator(".by-agent .text")).to_have_text("hi")
    await tab.get_by_role("button", name="Close", exact=True).click()
    await expect(tab.get_by_text("Nobody is waiting")).to_be_visible()


async def test_the_agent_sees_that_the_visitor_writes_and_has_read(desk: DeskServer, tab: Tab) -> None:
    await write(desk, "is it blue?")
    await tab.get_by_text("is it blue?").click()
    typing, visitor = tab.locator(".typing"), desk.visitor(base=HOST)
    await expect(tab.locator("#messages")).to_contain_text("is it blue?")
    await visitor.post("typing", json={"typing": True, "text": "a secret"})
    await expect(typing).to_contain_text("is writing …")
    await visitor.post("typing", json={"typing": False})
    await expect(typing).to_be_empty()
    await visitor.post("typing", json={"typing": True})
    await write(desk, "hello?", 2)
    await expect(tab.locator("#messages")).to_contain_text("hello?")
    await expect(typing).to_be_empty()
    await tab.get_by_label("Your answer").fill("Yes.")
    await tab.keyboard.press("Enter")
    await expect(tab.locator(".by-agent")).to_have_count(1)
    await expect(tab.locator(".seen")).to_have_count(0)
    last = (await visitor.get("messages")).json()["messages"][-1]["id"]
    await visitor.post("events", json={"kind": "read", "message": last})
    await expect(tab.locator(".seen")).to_be_visible()
    await tab.reload()
    await expect(tab.locator(".seen")).to_be_visible()


async def test_what_the_visitor_writes_is_shown_where_the_site_wants_it(tmp_path: Path) -> None:
    async with desk_server(tmp_path, chat={"typing_preview": True}) as desk:
        talk = await desk.says("hello")
        with desk.service.hub.listen(f"talk/shop/{talk}") as listener:
            await desk.visitor().post("typing", json={"typing": True, "text": "<b>is it"})
            assert [one.data["text"] for one in listener.given()] == ["<b>is it"]


async def test_a_half_written_answer_survives_a_reload_and_another_conversation(
    desk: DeskServer, tab: Tab
) -> None:
    await write(desk, "is it blue?")
    other = await desk.says("and green?", "zzzzbbbbccccddddeeeeffff22")
    await tab.get_by_text("is it blue?").click()
    field = tab.get_by_label("Your answer")
    await field.fill("Half an ans")
    await tab.reload()
    await expect(field).to_have_value("Half an ans")
    await tab.get_by_text("and green?").click()
    await tab.wait_for_url(f"**/{other}")
    await expect(field).to_have_value("")
    await tab.get_by_text("is it blue?").click()
    await expect(field).to_have_value("Half an ans")
    await field.press("Enter")
    await expect(tab.locator(".by-agent")).to_have_count(1)
    await expect(field).to_have_value("")
    await tab.reload()
    await expect(field).to_have_value("")
    await field.fill("not for the next one")
    await tab.get_by_role("button", name="Log out").click()
    await expect(tab.get_by_label("Password")).to_be_visible()
    assert await tab.evaluate("Object.keys(sessionStorage).length") == 0
