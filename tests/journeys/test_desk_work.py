"""Two visitors and two agents at two sites of one clew with two workers, in browsers: who gets whom, what the
open chat hears, and what visitors never see."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import clews
import pytest
import pytest_asyncio
from accessibility import faults
from clews import PASSWORD, ClewFolder, ClewServe
from playwright.async_api import Browser, Locator, Page, expect
from processes import free_port
from small_shops import SmallShop, html

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

SETTINGS = """
secret = "env:CLEW_SECRET"
log = "json"
store = "sqlite:{path}/visits.db"
ledger = "{ledger}"
desk_host = "desk.test:{port}"

[[sites]]
name = "one"
hosts = ["one.test"]
upstream = "{shop}"
chat = {{ assignment = "round_robin", per_agent = 1, departments = ["billing"] }}

[[sites]]
name = "two"
hosts = ["two.test"]
upstream = "{shop}"
chat = {{ assignment = "round_robin", per_agent = 1 }}
"""
NOTE = "Promised him a discount on the phone"


@pytest.fixture
def clew(ledger_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClewServe]:
    """`clew serve` in front of both shops. Anna works for the first one, Bo for both."""
    with SmallShop({"/": html("<h1>Shop</h1>")}) as shop:
        # The desk's host has a port, which has to be known before the program runs.
        port = free_port()
        monkeypatch.setattr(clews, "free_port", lambda: port)
        text = SETTINGS.format(port=port, path=tmp_path, ledger=ledger_address, shop=shop.address)
        folder = ClewFolder(tmp_path / "clew", text)
        for name, sites in (("anna", ["one"]), ("bo", ["one", "two"])):
            options = [part for site in sites for part in ("--site", site)]
            folder.run(
                "desk", "add-user", name, "--role", "lead", *options, "--password-stdin", typed=PASSWORD
            )
        with ClewServe(folder, ["--workers", "2"]) as serving:
            yield serving


class People:
    """The browsers of visitors and agents, each with a profile of its own."""

    def __init__(self, chromium: Browser, clew: ClewServe) -> None:
        self._chromium = chromium
        self._port = clew.port

    async def _page(self) -> Page:
        context = await self._chromium.new_context()
        context.set_default_timeout(60_000)
        return await context.new_page()

    async def visitor(self, site: str) -> tuple[Page, Locator]:
        """A visitor with an open chat."""
        page = await self._page()
        await page.goto(f"http://{site}.test:{self._port}/")
        # The cookie comes back with the second request.
        await page.reload()
        await page.get_by_role("button", name="Fragen Sie uns").click()
        return page, page.get_by_role("dialog")

    async def agent(self, name: str, site: str) -> Page:
        """An agent who has logged in and looks at the inbox of a site."""
        page = await self._page()
        await page.goto(f"http://desk.test:{self._port}/-/clew/desk/login")
        await page.get_by_label("Name").fill(name)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_role("button", name="Log out")).to_be_visible()
        await self.at(page, site)
        return page

    async def at(self, page: Page, site: str) -> None:
        """Go to the inbox of a site."""
        await page.goto(f"http://desk.test:{self._port}/-/clew/site/{site}/desk/")
        await expect(page.locator("#pulse-text")).to_have_text("live")


@pytest_asyncio.fixture(loop_scope="session")
async def people(chromium: Browser, clew: ClewServe) -> AsyncIterator[People]:
    yield People(chromium, clew)
    for context in list(chromium.contexts):
        await context.close()


async def write(chat: Locator, text: str) -> None:
    field = chat.get_by_label("Nachricht schreiben")
    await field.fill(text)
    await field.press("Enter")


async def answer(desk: Page, text: str) -> None:
    await desk.get_by_label("Your answer").fill(text)
    await desk.get_by_role("button", name="Send", exact=True).click()


async def set_presence(desk: Page, label: str) -> None:
    await desk.get_by_label("Your presence").select_option(label=label)
    await expect(desk.locator(".presence [role=status]")).to_have_text(f"Set: {label}")


async def test_two_agents_and_two_visitors_at_two_sites(people: People) -> None:
    first, chat = await people.visitor("one")
    await expect(chat.locator(".presence")).to_have_text("Gerade nicht am Platz")
    anna = await people.agent("anna", "one")
    # Pushed to the open chat, before a word was written (field G13).
    await expect(chat.locator(".presence")).to_have_text("Wir sind für Sie da")
    await write(chat, "Is it blue?")
    await expect(anna.locator(".line .tag", has_text="yours")).to_be_visible()

    # Anna has as many as she takes; Bo, at the other site, gets the one there.
    bo = await people.agent("bo", "two")
    _, other = await people.visitor("two")
    await write(other, "Where is my parcel?")
    await expect(bo.locator(".line .tag", has_text="yours")).to_be_visible()

    # A chat that is open hears that the agent closes it (field D11), and Bo has a place again.
    await bo.get_by_role("link", name=re.compile("Visitor.*is on the site")).click()
    await answer(bo, "It comes today.")
    await expect(other.get_by_text("It comes today.")).to_be_visible()
    await bo.get_by_role("button", name="Close", exact=True).click()
    await expect(other.locator(".notice")).to_contain_text("beendet")

    await anna.get_by_role("link", name=re.compile("Visitor.*is on the site")).click()
    await answer(anna, "Yes, dark blue.")
    await expect(chat.get_by_text("Yes, dark blue.")).to_be_visible()
    await anna.locator("summary", has_text="Transfer").click()
    await anna.get_by_label("To", exact=True).select_option("agent:bo")
    await anna.get_by_label("Note for them").fill(NOTE)
    await anna.get_by_role("button", name="Transfer").click()
    await expect(anna.locator("#talk-who")).to_contain_text("with bo")

    # Bo is at the other site, and hears of it there.
    await bo.get_by_role("link", name="one: 1").click()
    await bo.get_by_role("link", name=re.compile("Visitor.*is on the site")).click()
    await expect(bo.locator("#messages")).to_contain_text(NOTE)
    assert await faults(bo) == []

    # Anna is asked before she writes there (field G15).
    await answer(anna, "One more thing")
    over = anna.get_by_role("button", name="Send, and take it over")
    await expect(over).to_be_focused()
    await expect(anna.get_by_label("Your answer")).to_have_value("One more thing")
    await expect(chat.get_by_text("One more thing")).to_have_count(0)
    await over.click()
    await expect(chat.get_by_text("One more thing")).to_be_visible()
    await expect(bo.locator("#messages")).to_contain_text("anna took over from you")

    # Nothing of what agents wrote for each other is anywhere in what the visitor gets.
    told = await first.evaluate("fetch('/-/clew/messages?after=0').then((answer) => answer.text())")
    assert "One more thing" in told
    assert NOTE not in told
    assert NOTE not in await chat.inner_text()

    # At the end of her shift Anna still answers this visitor; when she is away as Bo is, nobody does.
    await set_presence(bo, "Away")
    await set_presence(anna, "End of shift")
    await expect(chat.locator(".presence")).to_have_text("Wir sind für Sie da")
    await set_presence(anna, "Away")
    await expect(chat.locator(".presence")).to_have_text("Gerade nicht am Platz")

    await anna.get_by_role("link", name=re.compile("Visitor.*is on the site")).click()
    await anna.locator("summary", has_text="Block").click()
    await anna.get_by_role("button", name="Block", exact=True).click()
    await expect(anna.get_by_text("The visitor is blocked until")).to_be_visible()
    await write(chat, "Hello?")
    await expect(chat.locator(".status.wrong")).to_contain_text("Sie können hier zurzeit nicht schreiben.")
    await anna.get_by_role("link", name="Blocked visitors").click()
    assert await faults(anna) == []
    await anna.get_by_role("button", name=re.compile("End the block")).click()
    await chat.get_by_role("button", name="Noch einmal versuchen").click()
    await expect(chat.locator(".status.wrong")).to_have_count(0)


# Of workers that share a ledger in SQLite, the test above.
@pytest.mark.parametrize("ledger_address", ["postgresql"], indirect=True)
async def test_the_talks_of_an_agent_who_ends_the_shift_are_for_others(people: People) -> None:
    """A closed desk counts as closed within seconds (field D12)."""
    anna, bo = await people.agent("anna", "one"), await people.agent("bo", "two")
    _, chat = await people.visitor("one")
    await write(chat, "Is it blue?")
    await expect(anna.locator(".line .tag", has_text="yours")).to_be_visible()
    await set_presence(anna, "End of shift")
    await anna.context.close()
    await people.at(bo, "one")
    await expect(bo.locator(".line .tag", has_text="yours")).to_be_visible()
