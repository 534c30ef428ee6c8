"""The desk's other pages in Chromium: axe-core finds nothing, on a phone, zoomed, by day and by night."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from accessibility import faults
from clew.service.order_links import OrderLink, order_link_address
from desks import PASSWORD, DeskServer
from owner_orders import order, set_call
from playwright.async_api import Browser, Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    built = DeskServer(tmp_path, hold={"amounts": False})
    await built.service.open()
    await built.agents.add("bo", PASSWORD, site=None, now=built.service.clock.now())
    for number, state in (("1001", "held"), ("1002", "dead"), ("1003", "unknown")):
        await set_call(built, await order(built, number, "1234.50"), state)
    yield built
    await built.service.close()


async def looked_at(tab: Page, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    # 1280 px at 200 % are 640.
    for width in (320, 640, 1280):
        await tab.set_viewport_size({"width": width, "height": 800})
        beyond = await tab.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert beyond <= 0, (name, width, beyond)
        for scheme in ("light", "dark"):
            await tab.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            if one := await faults(tab):
                found[f"{name} {width} {scheme}"] = one
    return found


async def test_axe_finds_nothing_on_the_page_by_which_others_agents_record_an_order(
    desk: DeskServer, chromium: Browser
) -> None:
    link = OrderLink("", "kim", int(desk.clock.now()) + 3600)
    made = order_link_address(desk.service.settings, "shop", link)
    path = "desk/chat-order?key=" + made.partition("key=")[2]
    tab = await chromium.new_page()
    async with desk.served() as address:
        await tab.goto(address + path)
        assert await looked_at(tab, "chat-order") == {}
        await tab.locator("[name=conversation]").fill("none")
        await tab.locator("[name=order]").fill("1001 59.90 EUR")
        await tab.locator("form button").click()
        await expect(tab.get_by_role("alert")).to_be_visible()
        assert await looked_at(tab, "chat-order, refused") == {}
        await tab.goto(address + "desk/chat-order?key=wrong")
        await expect(tab.get_by_role("alert")).to_be_visible()
        assert await looked_at(tab, "a link that is not valid") == {}
    await tab.close()


async def test_axe_finds_nothing_on_problems_postbacks_and_access(
    desk: DeskServer, chromium: Browser
) -> None:
    tab = await chromium.new_page()
    async with desk.served() as address:
        await tab.goto(f"{address}desk/")
        await tab.get_by_label("Name").fill("bo")
        await tab.get_by_label("Password").fill(PASSWORD)
        await tab.get_by_role("button", name="Log in").click()
        await expect(tab.locator("#main")).to_be_visible()
        calls = [f"postbacks?state={state}" for state in ("held", "dead", "unknown", "due")]
        for page in ("conversations/none", "orders/999", *calls, "access"):
            await tab.goto(f"{address}desk/{page}")
            assert await looked_at(tab, page) == {}
        await tab.goto(f"{address}desk/access")
        await tab.locator("form[action$='access/link'] button").first.click()
        await expect(tab.locator("[value*='partner/enter?key=']")).to_be_visible()
        assert await looked_at(tab, "access, with a link") == {}
    await tab.close()


async def test_rules_are_previewed_in_the_sites_colours_and_axe_finds_nothing_on_their_pages(
    tmp_path: Path, chromium: Browser
) -> None:
    rules = [{"name": "sizes", "action": "invite", "when": [], "text": "Which size?"}]
    built = DeskServer(tmp_path, more={"rules": rules, "widget": {"color": "#ffd400"}})
    await built.service.open()
    await built.agents.add("bo", PASSWORD, site=None, now=built.service.clock.now())
    tab = await chromium.new_page()
    async with built.served() as address:
        await tab.goto(f"{address}desk/")
        await tab.get_by_label("Name").fill("bo")
        await tab.get_by_label("Password").fill(PASSWORD)
        await tab.get_by_role("button", name="Log in").click()
        await expect(tab.locator("#main")).to_be_visible()
        await tab.goto(f"{address}desk/rules/preview")
        await tab.get_by_label("A page of the shop").fill("/")
        await tab.get_by_role("button", name="Show").click()
        # The page's own policy lets the colours in, and the bubbles are light and dark on a page of any kind.
        for scheme, surface in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(30, 35, 40)")):
            bubble = tab.locator(f".bubble.{scheme}")
            await expect(bubble).to_contain_text("Which size?")
            await expect(bubble).to_have_css("background-color", surface)
            await expect(bubble.locator(".send")).to_have_css("background-color", "rgb(255, 212, 0)")
        assert await looked_at(tab, "preview") == {}
        for page in ("rules/review", "rules/rule?name=sizes"):
            await tab.goto(f"{address}desk/{page}")
            assert await looked_at(tab, page) == {}
    await tab.close()
    await built.service.close()
