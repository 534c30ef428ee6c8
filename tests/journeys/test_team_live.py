"""A lead watches agents and their conversations over two workers, on SQLite, and on PostgreSQL with Redis:
the gate of the load is one for all, also after a restart. Seed E8, B21."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from accessibility import faults
from clews import PASSWORD, ClewFolder, ClewServe, events
from database_servers import Postgres, Redis
from playwright.async_api import Browser, Locator, Page, expect
from small_shops import SmallShop, html

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(420)]

SETTINGS = """
secret = "env:CLEW_SECRET"
log = "json"
store = "{store}"
ledger = "{ledger}"
limits = {{ decides = {{ client = 30000 }} }}

[[sites]]
name = "shop"
upstream = "{shop}"
chat = {{ assignment = "round_robin", per_agent = 1 }}

[[sites.rules]]
name = "browsing"
when = ["!agents.busy"]
action = "show"
"""


@pytest.fixture(params=["sqlite", "servers"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ClewFolder]:
    with SmallShop({"/": html("<h1>Shop</h1>")}) as shop:
        if request.param == "sqlite":
            store, ledger = f"sqlite:{tmp_path}/visits.db", f"sqlite:{tmp_path}/ledger.db"
            yield people(tmp_path, store, ledger, shop.address)
            return
        with Postgres() as postgres, Redis() as redis:
            yield people(tmp_path, redis.url(1), postgres.url(postgres.database()), shop.address)


def people(path: Path, store: str, ledger: str, shop: str) -> ClewFolder:
    built = ClewFolder(path / "clew", SETTINGS.format(store=store, ledger=ledger, shop=shop))
    for name, role in (("anna", "agent"), ("bo", "agent"), ("cy", "lead")):
        built.run("desk", "add-user", name, "--role", role, "--password-stdin", typed=PASSWORD)
    return built


@pytest_asyncio.fixture(loop_scope="session")
async def browser(chromium: Browser) -> AsyncIterator[Browser]:
    yield chromium
    for context in list(chromium.contexts):
        await context.close()


async def page_of(browser: Browser, *, script: bool = True) -> Page:
    context = await browser.new_context(java_script_enabled=script)
    context.set_default_timeout(60_000)
    return await context.new_page()


async def log_in(browser: Browser, desk: str, name: str, *, script: bool = True) -> Page:
    page = await page_of(browser, script=script)
    await page.goto(f"{desk}/login")
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("button", name="Log out")).to_be_visible()
    return page


async def visitor(browser: Browser, shop: str) -> Locator:
    """The open chat of a new visitor."""
    page = await page_of(browser)
    await page.goto(shop)
    await page.reload()
    await page.get_by_role("button", name="Fragen Sie uns").click()
    return page.get_by_role("dialog")


async def write(chat: Locator, text: str) -> None:
    field = chat.get_by_label("Nachricht schreiben")
    await field.fill(text)
    await field.press("Enter")


async def invites(shop: str, number: int = 12) -> set[bool]:
    """What new visitors are decided, each over a connection of its own, so that the workers share them."""
    found = set()
    for one in range(number):
        async with httpx2.AsyncClient() as client:
            view = {"view": f"view-{one:04}", "url": f"{shop}/", "title": "Shop"}
            answer = await client.post(f"{shop}/-/clew/decide", json=view)
            assert answer.status_code == 200, answer.text
            found.add(answer.json()["rule"] == "browsing")
    return found


async def become(shop: str, wanted: bool) -> None:
    async with asyncio.timeout(60):
        while await invites(shop) != {wanted}:  # noqa: ASYNC110 - other processes decide
            await asyncio.sleep(0.2)


async def test_the_lead_sees_the_team_and_all_workers_have_one_gate(
    folder: ClewFolder, browser: Browser
) -> None:
    with ClewServe(folder, ["--workers", "2"]) as clew:
        shop = f"http://localhost:{clew.port}"
        desk = f"{shop}/-/clew/desk"
        lead = await log_in(browser, desk, "cy")
        await lead.get_by_label("Your presence").select_option(label="Away")
        await lead.get_by_role("button", name="Set").click()
        await lead.goto(f"{desk}/team")
        await expect(lead.locator("#now-facts")).to_contain_text("nobody takes conversations")
        await become(shop, wanted=False)

        agents = [await log_in(browser, desk, name) for name in ("anna", "bo")]
        await become(shop, wanted=True)
        chats = [await visitor(browser, shop) for _ in agents]
        for chat in chats:
            await write(chat, "Is it blue?")
        # Without a reload by anybody.
        await expect(lead.locator("#now-facts")).to_contain_text("100 %, 2 of 2 places")
        await expect(lead.locator("#now-facts")).to_contain_text("busy since")
        await expect(lead.locator("#now-people")).to_contain_text("anna")
        await become(shop, wanted=False)
        assert [one["busy"] for one in events(clew, "load_gate")] == [True]

        waiting = await visitor(browser, shop)
        await write(waiting, "Me too?")
        await expect(lead.locator("#now-facts")).to_contain_text("1, the longest for")

        for page in agents:
            await page.get_by_role("navigation", name="Your conversations").get_by_role("link").click()
            await page.get_by_label("Your answer").fill("Yes, dark blue.")
            await page.get_by_role("button", name="Send", exact=True).click()
        for chat in chats:
            await expect(chat.get_by_text("Yes, dark blue.")).to_be_visible()
        plain = await log_in(browser, desk, "cy", script=False)
        async with asyncio.timeout(60):
            while "1 without an answer" not in await plain.inner_text("#main"):
                await plain.goto(f"{desk}/team")
        await expect(plain.get_by_role("region", name="By agent", exact=True)).to_contain_text("anna")
        assert await plain.locator("svg.chart rect").count() > 0

    # The gate is the ledger's: it is closed after a restart, too.
    with ClewServe(folder, ["--workers", "2"]) as clew:
        shop = f"http://localhost:{clew.port}"
        again = await log_in(browser, f"{shop}/-/clew/desk", "anna")
        assert await again.title()
        await become(shop, wanted=False)
        assert events(clew, "load_gate") == []
        lead = await log_in(browser, f"{shop}/-/clew/desk", "cy")
        await lead.goto(f"{shop}/-/clew/desk/team")
        await expect(lead.locator("#now-facts")).to_contain_text("busy since")
        await lead.set_viewport_size({"width": 320, "height": 800})
        assert await lead.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert await faults(lead) == []
