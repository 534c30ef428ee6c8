"""An agent sees the visitor's page with its consent and proposes another one: both sides in Chromium."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from accessibility import faults
from desks import PASSWORD, DeskServer
from playwright.async_api import Browser, Page, Route, expect

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]
TAG = '<script async src="/-/clew/l.js" data-clew="1"></script>'
POTS = (
    '<!doctype html><html lang="en"><title>Pots</title><link rel="stylesheet" href="/shop.css">'
    f'{TAG}<main><h1>Pots</h1><p class="price">9 EUR</p><label>Name <input value="Anna"></label>'
    '<p id="late"></p><a href="/lids">Lids</a><img src="/pot.svg" alt="A pot"></main>'
    "<script>document.getElementById('late').textContent = 'made by a script'</script>"
)
LIDS = f'<!doctype html><html lang="en"><title>Lids</title>{TAG}<main><h1>Lids</h1></main>'
ACCOUNT = f'<!doctype html><html lang="en"><title>Account</title>{TAG}<main><h1>Account of Anna</h1></main>'
PAGES = {"/pots": POTS, "/lids": LIDS, "/account": ACCOUNT}


@pytest_asyncio.fixture(loop_scope="session")
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    built = DeskServer(tmp_path, more={"cobrowsing": {"enabled": True, "mask": [".price"]}})
    await built.service.start()
    await built.agents.add("bo", PASSWORD, site=None, now=built.service.clock.now())
    yield built
    await built.service.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def address(desk: DeskServer) -> AsyncIterator[str]:
    async with desk.served() as address:
        yield address


async def shop(tab: Page, address: str, asked: list[str]) -> None:
    """Serve the shop's pages to a tab, and note what it asks of the shop."""

    async def page(route: Route) -> None:
        path = "/" + route.request.url.removeprefix(address.removesuffix("-/clew/")).partition("?")[0]
        asked.append(path)
        if path == "/shop.css":
            await route.fulfill(body="h1 { color: rgb(1, 2, 3) }", content_type="text/css")
        elif path == "/pot.svg":
            pot = '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20"/>'
            await route.fulfill(body=pot, content_type="image/svg+xml")
        else:
            await route.fulfill(body=PAGES[path], content_type="text/html")

    base = address.removesuffix("-/clew/")
    for path in (*PAGES, "/shop.css", "/pot.svg"):
        await tab.route(f"{base}{path.removeprefix('/')}", page)


async def test_the_agent_sees_the_page_and_opens_another_one_with_the_visitors_word(
    chromium: Browser, desk: DeskServer, address: str
) -> None:
    base, asked, seen_by_desk = address.removesuffix("-/clew/"), list[str](), list[str]()
    visitor = await (await chromium.new_context(locale="en-GB")).new_page()
    await shop(visitor, address, asked)
    await visitor.goto(f"{base}pots")
    await visitor.get_by_role("button", name="Ask us").click()
    chat = visitor.get_by_role("dialog")
    await chat.get_by_label("Write a message").fill("Which lid fits?")
    await visitor.keyboard.press("Enter")
    await expect(chat.locator(".visitor")).to_have_count(1)
    await visitor.get_by_label("Name").fill("Anna Smith of Elm Street")

    agent = await (await chromium.new_context(locale="en-GB")).new_page()
    await shop(agent, address, seen_by_desk)
    refused: list[str] = []
    agent.on("console", lambda message: refused.append(message.text) if message.type == "error" else None)
    await agent.goto(f"{address}desk/")
    await agent.get_by_label("Name").fill("bo")
    await agent.get_by_label("Password").fill(PASSWORD)
    await agent.get_by_role("button", name="Log in").click()
    await agent.get_by_role("link", name="Visitor").first.click()
    await expect(agent.locator("#pulse-text")).to_have_text("live")
    await agent.get_by_role("button", name="Ask to see the visitor's page").click()
    await expect(agent.get_by_text("The visitor was asked for its page.")).to_be_visible()

    await expect(chat.get_by_text("May I see the page that you have open?")).to_be_visible()
    assert await desk.service.visits.page("shop", await known(desk), desk.clock.now()) is None
    await chat.get_by_role("button", name="Yes, you may see my page").click()
    await expect(chat.get_by_text("Our team sees the page that you have open.")).to_be_visible()

    frame = agent.frame_locator(".shown-page")
    await expect(frame.get_by_role("heading", name="Pots")).to_be_visible()
    await expect(frame.get_by_text("made by a script")).to_be_visible()
    assert (
        await frame.get_by_role("heading", name="Pots").evaluate("h => getComputedStyle(h).color")
        == "rgb(1, 2, 3)"
    )
    whole = await frame.locator("html").evaluate("html => html.outerHTML")
    for secret in ("9 EUR", "Anna", "Elm Street", "<script", "/lids"):
        assert secret not in whole, secret
    assert await frame.locator("html").evaluate("() => self.origin") == "null"
    assert {"/shop.css", "/pot.svg"} <= set(seen_by_desk)

    # Beside the conversation it is as wide as a phone: the agent may see it as the visitor does.
    await agent.get_by_label("As wide as this window").check()
    assert await frame.locator("html").evaluate("() => innerWidth") > 1200
    await agent.get_by_label("As wide as this window").uncheck()
    assert await frame.locator("html").evaluate("() => innerWidth") < 400

    # The next page follows, a private one does not.
    await visitor.goto(f"{base}lids")
    await expect(frame.get_by_role("heading", name="Lids")).to_be_visible()
    async with visitor.expect_response(lambda response: "/cobrowsing?url=" in response.url) as told:
        await visitor.goto(f"{base}account")
    assert (await (await told.value).json())["page"] is False
    await expect(frame.get_by_role("heading", name="Lids")).to_be_visible()
    assert [one for one in await faults(agent) if "cobrowsing" in str(one) or "shown-page" in str(one)] == []

    await agent.get_by_text("Propose a page").click()
    await agent.get_by_label("Address of a page of the shop").fill(f"{base}pots")
    await agent.get_by_role("button", name="Propose", exact=True).click()
    await visitor.get_by_role("dialog").get_by_role("button", name="Open the page").click()
    await expect(visitor.get_by_role("heading", name="Pots")).to_be_visible()
    await expect(frame.get_by_role("heading", name="Pots")).to_be_visible()

    launcher = visitor.get_by_role("button", name="Ask us")
    if await launcher.is_visible():
        await expect(launcher).to_have_class("launcher shares")
        await launcher.click()
    await visitor.get_by_role("dialog").get_by_role("button", name="Stop showing it").click()
    await expect(agent.locator(".shown-page")).to_have_count(0)
    await expect(visitor.get_by_role("dialog").locator(".sharing")).to_have_count(0)
    assert await desk.service.visits.page("shop", await known(desk), desk.clock.now()) is None
    await expect(agent.get_by_role("button", name="Ask to see the visitor's page")).to_be_visible()


async def known(desk: DeskServer) -> str:
    """The id of the only visitor."""
    entries = await desk.service.ledger.inbox.page("shop", 0, None)
    return entries[0].conversation.visitor


async def test_the_visitor_says_no_and_is_not_seen(chromium: Browser, desk: DeskServer, address: str) -> None:
    base, asked = address.removesuffix("-/clew/"), list[str]()
    visitor = await (await chromium.new_context(locale="en-GB")).new_page()
    await shop(visitor, address, asked)
    sent: list[str] = []
    visitor.on("request", lambda request: sent.append(request.url) if request.url.endswith("/page") else None)
    await visitor.goto(f"{base}pots")
    await visitor.get_by_role("button", name="Ask us").click()
    chat = visitor.get_by_role("dialog")
    await chat.get_by_label("Write a message").fill("Hello")
    await visitor.keyboard.press("Enter")
    await expect(chat.locator(".visitor")).to_have_count(1)
    await expect(chat.get_by_text("Sending")).to_have_count(0)
    site = desk.service.sites.get("shop")
    entry = (await desk.service.ledger.inbox.page("shop", 0, None))[0].conversation
    assert site is not None
    await desk.service.cobrowsing.ask(site, entry, "bo")
    await chat.get_by_role("button", name="No, thank you").click()
    await expect(chat.locator(".visitor")).to_have_count(2)
    await expect(chat.get_by_role("button", name="Yes, you may see my page")).to_have_count(0)
    assert await desk.service.cobrowsing.state(site, entry) == "off"
    assert sent == []


async def test_the_visitor_hears_that_its_page_is_shown_no_more_when_the_conversation_is_closed(
    chromium: Browser, desk: DeskServer, address: str
) -> None:
    visitor = await (await chromium.new_context(locale="en-GB")).new_page()
    await shop(visitor, address, [])
    await visitor.goto(address.removesuffix("-/clew/") + "pots")
    await visitor.get_by_role("button", name="Ask us").click()
    chat = visitor.get_by_role("dialog")
    await chat.get_by_label("Write a message").fill("Hello")
    await visitor.keyboard.press("Enter")
    await expect(chat.locator(".visitor .status")).to_have_text("Sent")
    site = desk.service.sites.get("shop")
    entry = (await desk.service.ledger.inbox.page("shop", 0, None))[0].conversation
    assert site is not None
    await desk.service.cobrowsing.ask(site, entry, "bo")
    await chat.get_by_role("button", name="Yes, you may see my page").click()
    await expect(chat.locator(".sharing")).to_be_visible()
    await desk.service.conversations.close("shop", entry.id, "bo")
    await expect(chat.get_by_text("This conversation has ended.")).to_be_visible()
    await expect(chat.locator(".sharing")).to_have_count(0)
