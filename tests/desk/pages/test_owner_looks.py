"""The owner's pages in Debian's Chromium: for everybody, on a phone, by night, and without JavaScript."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from accessibility import faults
from desks import PASSWORD, DeskServer
from owner_orders import order, set_call
from playwright.async_api import Browser, BrowserContext, expect
from playwright.async_api import Page as Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")
PAGES = (
    "team",
    "team?period=week",
    "results",
    "results?weeks=1",
    "orders",
    "waiting",
    "partners",
    "networks",
    "revenue",
    "orders?number=1",
    "revenue?weeks=53",
)

# Single words of tables that go over several lines.
BROKEN = """[...document.querySelectorAll(".sheet th, .sheet td, .sheet time")].filter(one => {
    const text = one.textContent.trim(), range = document.createRange(), head = one.closest("thead")
    if (head && getComputedStyle(head).position === "absolute") return false  // for screen readers only
    range.selectNodeContents(one)
    return /^[a-z0-9:]{2,20}$/i.test(text) && new Set([...range.getClientRects()].map(r => r.top)).size > 1
}).map(one => one.textContent.trim())"""


@pytest_asyncio.fixture(loop_scope="session")
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    built = DeskServer(tmp_path, hold={"amounts": False})
    await built.service.open()
    await built.agents.add("bo", PASSWORD, site=None, now=built.service.clock.now())
    await set_call(built, await order(built, "1001", "1234.50"), "held")
    await set_call(built, await order(built, "1002", channel="chat"), "dead")
    await set_call(built, await order(built, "a-long-number-of-an-order-0123456789"), "unknown")
    await order(built, "1004", "7200", currency="JPY", partner=None)
    built.service.events.notice("order_conflict", site="shop", key="1002", order="1002", why="two totals")
    for number, (agent, seconds) in enumerate((("bo", 40), ("bo", 95), ("a-long-name-of-an-agent", 7000))):
        talk = await built.says("hello", f"{number}" * 26, rule="after-wait", now=built.service.clock.now())
        at = built.service.clock.now() + seconds
        given = {"agent": agent, "client_id": None, "now": at}
        await built.conversations.add_agent_message("shop", talk, "yes", **given)
        await built.conversations.rate("shop", f"{number}" * 26, 5 - number, None, at)
    yield built
    await built.service.close()


@pytest_asyncio.fixture(loop_scope="session")
async def address(desk: DeskServer) -> AsyncIterator[str]:
    async with desk.served() as address:
        yield address


async def log_in(context: BrowserContext, address: str) -> Tab:
    tab = await context.new_page()
    await tab.goto(f"{address}desk/")
    await tab.get_by_label("Name").fill("bo")
    await tab.get_by_label("Password").fill(PASSWORD)
    await tab.get_by_role("button", name="Log in").click()
    await expect(tab.locator("#main")).to_be_visible()
    return tab


async def test_axe_finds_nothing_on_a_phone_and_a_desk_by_day_and_night(
    context: BrowserContext, address: str
) -> None:
    """field G17"""
    tab = await log_in(context, address)
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    found: dict[str, Any] = {}
    for name in PAGES:
        await tab.goto(f"{address}desk/{name}")
        for width in (320, 1280):
            await tab.set_viewport_size({"width": width, "height": 800})
            beyond = await tab.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert beyond <= 0, (name, width, beyond)
            assert await tab.evaluate(BROKEN) == [], (name, width)
            for scheme in ("light", "dark"):
                await tab.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                if one := await faults(tab):
                    found[f"{name} {width} {scheme}"] = one
    assert found == {}
    # Nothing that the pages' own policy forbids stands in them.
    assert said == []


async def test_the_text_of_charts_is_as_large_as_that_of_the_page(
    context: BrowserContext, address: str
) -> None:
    tab = await log_in(context, address)
    for width in (320, 1280):
        await tab.set_viewport_size({"width": width, "height": 800})
        await tab.goto(f"{address}desk/revenue")
        heights = await tab.evaluate(
            "[...document.querySelectorAll('.chart text')].map(t => t.getBoundingClientRect().height)"
        )
        assert heights
        assert min(heights) > 9, (width, min(heights))
        assert max(heights) < 24, (width, max(heights))


async def test_without_javascript_it_is_all_there(chromium: Browser, address: str) -> None:
    context = await chromium.new_context(java_script_enabled=False, locale="en-GB")
    try:
        tab = await log_in(context, address)
        await tab.goto(f"{address}desk/revenue")
        assert await tab.locator("svg.chart rect").count() > 0
        await expect(tab.get_by_role("region", name="By partner")).to_contain_text("1434.50")
        await tab.get_by_role("link", name="Orders").last.click()
        await tab.get_by_label("Partner", exact=True).select_option("nobody")
        await tab.get_by_role("button", name="Show").click()
        await expect(tab.get_by_role("region", name="Orders")).to_contain_text("7200 JPY")
        await expect(tab.get_by_role("region", name="Orders")).not_to_contain_text("1001")
        await tab.get_by_role("link", name="Waiting").click()
        await tab.locator("li.need", has_text="1002").get_by_role("button", name="Send again").click()
        await expect(tab.get_by_role("status")).to_have_text("Done.")
        await expect(tab.locator("li.need", has_text="said dead")).to_have_count(0)
    finally:
        await context.close()
