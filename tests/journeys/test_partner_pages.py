"""A partner's way in a real browser: the link, its order closed in the chat, the file, a call sent again."""

import csv
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from accessibility import faults
from clew.orders.model import Refund
from desks import PASSWORD, DeskServer, desk_server
from partner_desks import VISITORS, order, token
from playwright.async_api import Browser, BrowserContext, expect
from receiver import Receiver

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TERMS = [{"name": "trial", "when": ['order.channel == "chat"'], "pay": 100}, {"name": "all", "percent": 5}]


@pytest_asyncio.fixture(loop_scope="session")
async def partner_server() -> AsyncIterator[Receiver]:
    with Receiver(secret=SECRET) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def desk(tmp_path: Path, partner_server: Receiver) -> AsyncIterator[DeskServer]:
    address = f"{partner_server.address}/anna"
    anna = {"id": "anna", "param": "aff", "postback": address, "secret": SECRET, "allow_private": True}
    blog = {"id": "blog", "param": "ref", "postback": f"{partner_server.address}/b?c={{click_id}}"}
    more = {"partners": [anna, {**blog, "allow_private": True}], "credit": {"terms": TERMS}}
    async with desk_server(tmp_path, more=more, hold={"amounts": False}) as built:
        await built.agents.add("bo", PASSWORD, site=None, now=built.service.clock.now())
        yield built


async def link_by_the_owner(context: BrowserContext, address: str) -> str:
    """The owner logs in and presses the button."""
    page = await context.new_page()
    await page.goto(f"{address}desk/login")
    await page.get_by_label("Name").fill("bo")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await page.goto(f"{address}desk/access")
    await page.get_by_role("button", name="Make a link for anna").click()
    return await page.get_by_label("Link", exact=True).input_value()


async def test_a_partner_sees_its_order_and_has_its_call_sent_again(
    desk: DeskServer, partner_server: Receiver, context: BrowserContext, chromium: Browser, tmp_path: Path
) -> None:
    await desk.says("which size fits me?", VISITORS["anna"])
    await order(desk, "1001", "200.00")
    await partner_server.waited(1)
    await order(desk, "1001", "200.00", refunds=(Refund("r1", Decimal("50.00")),))
    await partner_server.waited(2)
    await order(desk, "7007", "999.00", "blog")
    async with desk.served() as address:
        link = await link_by_the_owner(context, address)
        # A phone whose browser runs no scripts.
        phone = await chromium.new_context(
            java_script_enabled=False, viewport={"width": 360, "height": 740}, locale="en-GB"
        )
        try:
            page = await phone.new_page()
            await page.goto(link)
            assert "key=" not in page.url
            assert page.url.endswith("/desk/partner/")
            await expect(page.get_by_role("heading", name="Before and after")).to_be_visible()
            await page.get_by_role("link", name="Orders", exact=True).click()
            row = page.get_by_role("row").filter(has_text="1001")
            for text in ("€150.00", "chat", "refunded in part", "€50.00", "€7.50", "100 % of the terms"):
                await expect(row).to_contain_text(text)
            await expect(page.locator("body")).not_to_contain_text("7007")
            assert await page.evaluate("document.documentElement.scrollWidth") <= 360
            async with page.expect_download() as waiting:
                await page.get_by_role("link", name="All orders as CSV").click()
            file = tmp_path / "orders.csv"
            await (await waiting.value).save_as(file)
            (line,) = csv.DictReader(file.read_text("utf-8").splitlines())
            assert (line["order"], line["amount"], line["channel"]) == ("1001", "150.00", "chat")
            await page.get_by_role("link", name="Calls to your server").click()
            last = page.get_by_role("listitem").filter(has_text=re.compile("order changed to €150.00"))
            await last.first.get_by_role("button").click()
            await expect(page.get_by_role("status")).to_contain_text("your server accepted it")
        finally:
            await phone.close()
    calls = [call for call in await partner_server.waited(3) if call.path == "/anna"]
    assert calls[1].headers["webhook-id"] == calls[2].headers["webhook-id"]
    assert calls[1].json() == calls[2].json()


# What of the page's head lies over its main part.
COVERED = """[...document.querySelectorAll("header a, header button")].filter(one => {
    const main = document.querySelector("main").getBoundingClientRect()
    return one.getBoundingClientRect().bottom > main.top
}).map(one => one.textContent.trim())"""


@pytest.mark.parametrize(("width", "scheme", "locale"), [(360, "light", "de-DE"), (1280, "dark", "en-GB")])
async def test_axe_finds_nothing_on_a_partners_pages(
    desk: DeskServer,
    partner_server: Receiver,
    chromium: Browser,
    width: int,
    scheme: Any,
    locale: str,
) -> None:
    await order(desk, "1001", "200.00")
    await partner_server.waited(1)
    async with desk.served() as address:
        # The page's own policy forbids what axe-core needs.
        context = await chromium.new_context(
            bypass_csp=True, viewport={"width": width, "height": 740}, color_scheme=scheme, locale=locale
        )
        try:
            page = await context.new_page()
            for path in (f"enter?key={token(desk)}", "orders", "calls", "enter?key=wrong", "login"):
                await page.goto(f"{address}desk/partner/{path}")
                assert await page.evaluate("document.documentElement.scrollWidth") <= width, path
                assert await page.evaluate(COVERED) == [], path
                assert await faults(page) == [], path
        finally:
            await context.close()


async def test_axe_finds_nothing_where_the_owner_makes_links(desk: DeskServer, chromium: Browser) -> None:
    async with desk.served() as address:
        context = await chromium.new_context(bypass_csp=True, viewport={"width": 360, "height": 740})
        try:
            await link_by_the_owner(context, address)
            page = context.pages[0]
            assert await page.evaluate("document.documentElement.scrollWidth") <= 360
            assert await faults(page) == []
        finally:
            await context.close()
