"""Every page of the desk at 320 px: nothing scrolls sideways, its header neither; axe-core finds nothing."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from accessibility import faults
from clew.desk.roles import RULES
from desks import PASSWORD, DeskServer
from owner_orders import order, set_call
from playwright.async_api import Browser, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")
PHONE = {"width": 320, "height": 640}
# What is no page that one opens: files, streams, and what is opened by a link that is for one person.
_OTHER = (
    ".css",
    ".js",
    ".csv",
    ".ndjson",
    "/stream",
    "/lines",
    "/join",
    "/reset",
    "/enter",
    "/code",
    "/chat-order",
    "/rule",
)
PAGES = [
    path
    for path in (name.removeprefix("GET /") for name in RULES if name.startswith("GET /"))
    if "{" not in path and not path.startswith(("partner/", "login")) and not f"/{path}".endswith(_OTHER)
]
_BEYOND = """[document.documentElement, ...document.querySelectorAll("header.top")]
    .map(one => one.scrollWidth - one.clientWidth)"""


@pytest_asyncio.fixture(loop_scope="session")
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    more = {"callback": {"country": "DE"}, "rules": [{"name": "after-wait", "when": [], "action": "invite"}]}
    built = DeskServer(tmp_path, hold={"amounts": False}, more=more)
    await built.service.open()
    await built.agents.add("an-agent-with-a-long-name", PASSWORD, site=None, now=built.service.clock.now())
    await set_call(built, await order(built, "1001", "1234.50"), "held")
    yield built
    await built.service.close()


async def test_no_page_of_the_desk_scrolls_sideways_on_a_phone(desk: DeskServer, chromium: Browser) -> None:
    """field G17"""
    talk = await desk.says("Does the Aurora fit under a shelf?", invite="Any question?", rule="after-wait")
    context = await chromium.new_context(viewport=PHONE)  # type: ignore[arg-type]
    tab = await context.new_page()
    found: dict[str, Any] = {}
    async with desk.served() as address:
        await tab.goto(f"{address}desk/")
        await tab.get_by_label("Name").fill("an-agent-with-a-long-name")
        await tab.get_by_label("Password").fill(PASSWORD)
        await tab.get_by_role("button", name="Log in").click()
        await expect(tab.locator("#main")).to_be_visible()
        rule = "rules/rule?name=after-wait"
        for path in (*PAGES, rule, f"conversations/{talk}", f"conversations/{talk}/offers", "orders/1"):
            answer = await tab.goto(f"{address}desk/{path}")
            assert answer is not None
            assert answer.status == 200, path
            if any(beyond > 0 for beyond in await tab.evaluate(_BEYOND)):
                found[f"{path}: sideways"] = await tab.evaluate(_BEYOND)
            if wrong := await faults(tab):
                found[path] = wrong
        assert found == {}
        # What the header has no room for is in its menu, which needs no script.
        await tab.goto(f"{address}desk/")
        await tab.get_by_text("Menu", exact=True).click()
        assert await faults(tab) == []
        await tab.get_by_role("link", name="Team").click()
        await expect(tab.get_by_role("heading", name="Now")).to_be_visible()
        await tab.get_by_text("Menu", exact=True).click()
        await tab.get_by_role("button", name="Log out").click()
        await expect(tab.get_by_label("Password")).to_be_visible()
    await context.close()
