"""A lead's way with the rules in Debian's Chromium: without JavaScript, and how the pages look on a phone."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from accessibility import faults
from desks import PASSWORD, DeskServer, desk_server
from playwright.async_api import Browser, expect
from playwright.async_api import Page as Tab
from recorded_visits import visits

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]
PHONE = {"width": 320, "height": 640}


@pytest_asyncio.fixture(loop_scope="session")
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path) as built:
        await built.agents.add("eva", PASSWORD, site=None, role="lead", now=built.service.clock.now())
        yield built


async def opened(chromium: Browser, address: str, *, scripts: bool) -> Tab:
    context = await chromium.new_context(java_script_enabled=scripts, locale="en-GB", viewport=PHONE)
    tab = await context.new_page()
    await tab.goto(f"{address}desk/")
    await tab.get_by_label("Name").fill("eva")
    await tab.get_by_label("Password").fill(PASSWORD)
    await tab.get_by_role("button", name="Log in").click()
    await tab.goto(f"{address}desk/rules")
    return tab


async def test_a_rule_is_written_tried_saved_and_undone_without_javascript(
    chromium: Browser, desk: DeskServer
) -> None:
    await desk.service.ledger.traffic.write(visits(desk.service.clock.now()))
    async with desk.served() as address:
        tab = await opened(chromium, address, scripts=False)
        await expect(tab.get_by_role("heading", name="after-wait")).to_be_visible()
        await tab.get_by_role("link", name="New rule").click()
        await tab.get_by_label("Name", exact=True).fill("sale")
        lines = tab.get_by_label("When: all of these lines are true")
        await lines.fill("page.path == '/sale'\nvisit.pagse > 0")
        await tab.get_by_label("Text", exact=True).fill("May we help?")
        await tab.get_by_role("button", name="Preview").click()
        await expect(tab.locator("#f-when-wrong")).to_contain_text("line 2")
        await lines.fill("page.path == '/sale'")
        await tab.get_by_label("Priority", exact=True).fill("5")
        await tab.get_by_role("button", name="Dry run").click()
        await tab.get_by_role("button", name="Wait 25s on cart pages").click()
        await expect(tab.get_by_label("Wait on the page")).to_have_value("25s")
        await expect(lines).to_have_value("page.path == '/sale'")
        await tab.get_by_label("Wait on the page").fill("")
        await tab.get_by_role("button", name="Preview").click()
        await tab.get_by_label("A page of the shop").fill("/sale")
        await tab.get_by_role("button", name="Show").click()
        await expect(tab.get_by_text("The rule sale acts: invite")).to_be_visible()
        for pages in ("on light pages", "on dark pages"):
            await expect(tab.get_by_role("figure", name=pages)).to_contain_text("May we help?")
        await tab.get_by_role("button", name="Save these rules").click()
        await expect(tab.get_by_text("The rules are set.")).to_be_visible()
        assert desk.service.sites["shop"].revision == 1
        await tab.get_by_role("button", name="Turn off sale").click()
        await expect(tab.locator("#rule-sale")).to_contain_text("off")
        await tab.get_by_role("link", name="History").click()
        await tab.get_by_role("link", name="1", exact=True).click()
        await expect(tab.locator("del")).to_contain_text("enabled = false")
        await tab.get_by_role("button", name="Set these rules again").click()
        await expect(tab.locator("#rule-sale")).to_contain_text("on")
        assert desk.service.sites["shop"].revision == 3
        await tab.context.close()


async def test_the_pages_fit_a_phone_and_have_no_faults(chromium: Browser, desk: DeskServer) -> None:
    async with desk.served() as address:
        await desk.service.ledger.traffic.write(visits(desk.service.clock.now()))
        tab = await opened(chromium, address, scripts=True)
        await tab.goto(f"{address}desk/rules/text")
        long = "page.url.contains('" + "a-long-word-without-a-blank" * 4 + "') || true"
        text = f'[[rules]]\nname = "long"\nwhen = ["{long}"]\naction = "invite"\ntext = "Hello"\n'
        await tab.get_by_label("All rules").fill(text)
        await tab.get_by_role("button", name="Save").click()
        wrong: list[object] = []
        shown = ("", "/edit?name=long", "/edit", "/text", "/preview?url=/x", "/try", "/try?rule=long")
        for path in (*shown, "/history", "/history/1", "/history/0"):
            await tab.goto(f"{address}desk/rules{path}")
            wrong += [(path, fault) for fault in await faults(tab)]
            wide = await tab.evaluate("document.documentElement.scrollWidth")
            wrong += [(path, wide)] if wide > PHONE["width"] else []
        assert wrong == []
        await tab.goto(f"{address}desk/rules/text")
        await tab.get_by_label("All rules").fill("[[rules]]\nname = 'x'\nactoin = 1\n")
        await tab.get_by_role("button", name="Save").click()
        await expect(tab.get_by_role("alert")).to_contain_text("Line 3")
        assert await faults(tab) == []
        await tab.context.close()
