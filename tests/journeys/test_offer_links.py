"""An offer from the desk to the order, and an order at the desk that is undone: browsers, and a real shop."""

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import oscar_guest
import pytest
from accessibility import faults
from clews import AGENT, PASSWORD, ClewFolder, ClewServe
from oscar_shops import OscarShop
from playwright.async_api import Browser, BrowserContext, Page, expect
from receiver import Receiver

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

QUESTION = "Is there a discount?"
LABEL = "Ten percent off the grinder"
PRODUCT = f"/go/{oscar_guest.PRODUCT_SLUG}/"
SETTINGS = """
secret = "env:CLEW_SECRET"
log = "json"
store = "sqlite:{path}/clew.db"
ledger = "sqlite:{path}/clew.db"

[[sites]]
name = "oscar"
upstream = "{shop}"

[[sites.partners]]
id = "anna"
param = "aff"
postback = "{receiver}/?c={{click_id}}&o={{order_id}}&channel={{channel}}&e={{event}}"
allow_private = true

[[sites.offers.coupons]]
name = "ten"
label = "Ten percent"

[sites.cart]
value = ".basket-mini"

[sites.order]
page = "/checkout/thank-you/"
id = "p.lead strong"
total = "#basket_totals h3.price_color"
currency = "GBP"
"""


def folder_of(path: Path, shop: OscarShop, receiver: Receiver) -> ClewFolder:
    text = SETTINGS.format(path=path, shop=shop.address, receiver=receiver.address)
    folder = ClewFolder(path, text)
    folder.add_agent()
    return folder


async def visitor_asks(context: BrowserContext, address: str) -> Page:
    """A visitor whom a partner sent asks in the chat."""
    page = await context.new_page()
    await page.goto(f"{address}{PRODUCT}?aff=c-77")
    await page.goto(f"{address}{PRODUCT}")
    await page.get_by_role("button", name="Ask us").click()
    chat = page.get_by_role("dialog")
    field = chat.get_by_label("Write a message")
    await field.fill(QUESTION)
    await field.press("Enter")
    await expect(chat.get_by_text(QUESTION)).to_be_visible()
    return page


async def agent_opens(context: BrowserContext, address: str) -> Page:
    """An agent logs in and opens the visitor's conversation."""
    desk = await context.new_page()
    await desk.goto(f"{address}/-/clew/desk/")
    await desk.get_by_label("Name").fill(AGENT)
    await desk.get_by_label("Password").fill(PASSWORD)
    await desk.get_by_role("button", name="Log in").click()
    await desk.get_by_role("link", name=re.compile("Visitor")).click()
    await expect(desk.locator(".messages")).to_contain_text(QUESTION)
    return desk


@pytest.mark.parametrize("script", [True, False], ids=["with JavaScript", "without JavaScript"])
async def test_an_offer_is_followed_by_an_order_of_the_partner_who_sent_the_visitor(
    tmp_path: Path,
    context: BrowserContext,
    chromium: Browser,
    oscar_shop: OscarShop,
    receiver: Receiver,
    script: bool,
) -> None:
    folder = folder_of(tmp_path / "clew", oscar_shop, receiver)
    assert "2 of 2 codes are new" in folder.run("coupons", "add", "ten", typed="TEN-1\nTEN-2\n")
    with ClewServe(folder) as clew:
        page = await visitor_asks(context, clew.address)
        other = await chromium.new_context(java_script_enabled=script)
        other.set_default_timeout(60_000)
        desk = await agent_opens(other, clew.address)
        await desk.get_by_role("link", name="Link or offer").click()
        await desk.get_by_label("What the visitor reads").fill(LABEL)
        await desk.get_by_label("Page of the shop").fill(PRODUCT)
        await desk.get_by_label("Coupon").select_option("ten")
        if script:
            assert await faults(desk) == []
        await desk.get_by_role("button", name="Send").click()
        await expect(desk.locator("#offers")).to_contain_text("Not clicked yet")
        # In its place beside the conversation, and not over something else.
        inside = """(list) => {
          const [a, b] = [list, list.closest("section")].map((node) => node.getBoundingClientRect());
          return a.top >= b.top && a.bottom <= b.bottom && a.left >= b.left && a.right <= b.right;
        }"""
        assert await desk.locator("#offer-lines").evaluate(inside)

        chat = page.get_by_role("dialog")
        link = chat.get_by_role("link", name=f"{LABEL} (TEN-1)")
        await expect(link).to_be_visible()
        await link.click()
        await expect(page).to_have_url(re.compile("/catalogue/"))
        # The chat stays open on the next pages where it covers nothing at first: the visitor closes it there.
        minimise = page.get_by_role("button", name="Minimise chat")
        await page.add_locator_handler(minimise, lambda found: found.click())
        await oscar_guest.put_into_basket(page)
        bought = await oscar_guest.check_out(page)
        await receiver.waited()

        await desk.reload()
        await expect(desk.locator("#offers")).to_contain_text(f"Order {bought.number} followed, by its click")
        await desk.get_by_role("link", name=re.compile("^Orders")).first.click()
        await desk.goto(f"{clew.address}/-/clew/desk/coupons")
        await expect(desk.locator("tbody").last).to_contain_text("anna")
        if script:
            assert await faults(desk) == []
        await other.close()
        clew.end()

    (call,) = receiver.calls
    query = parse_qs(urlsplit(call.target).query)
    assert query == {"c": ["c-77"], "o": [bought.number], "channel": ["chat"], "e": ["order"]}
    (offer,) = folder.rows("SELECT * FROM offers")
    assert (offer["clicks"], offer["coupon_code"], offer["followed_by"]) == (1, "TEN-1", "click")
    (order,) = folder.rows("SELECT * FROM orders")
    assert (offer["order"], offer["visitor"]) == (order["id"], order["visitor"])
    assert re.search(r"ten .*anna .*1 .*1 .*1", folder.run("coupons", "report"))


@pytest.mark.parametrize("script", [True, False], ids=["with JavaScript", "without JavaScript"])
async def test_an_order_at_the_desk_is_undone_before_the_partner_hears_of_it(
    tmp_path: Path,
    context: BrowserContext,
    chromium: Browser,
    oscar_shop: OscarShop,
    receiver: Receiver,
    script: bool,
) -> None:
    folder = folder_of(tmp_path / "clew", oscar_shop, receiver)
    with ClewServe(folder) as clew:
        await visitor_asks(context, clew.address)
        other = await chromium.new_context(java_script_enabled=script)
        other.set_default_timeout(60_000)
        desk = await agent_opens(other, clew.address)
        await desk.get_by_text("Record an order closed here").click()
        await desk.get_by_label("Order number").fill("77")
        await desk.get_by_label("Total").fill("1199.00")
        await desk.get_by_label("Currency").fill("GBP")
        await desk.get_by_role("button", name="Record order").click()
        undo = desk.locator("form.undo")
        await expect(undo).to_contain_text("partners are notified at")
        # A bar that gets shorter by itself, also without a script.
        bar = undo.locator("rect")
        await expect(bar).to_have_count(1)
        width = await bar.evaluate("bar => bar.width.animVal.value")
        assert 0 < width <= 100
        if script:
            assert await faults(desk) == []
        await undo.get_by_role("combobox").select_option("The customer has not ordered")
        await undo.get_by_role("button", name="Undo").click()
        await expect(desk.locator("#orders")).to_contain_text("The order is undone")
        await expect(undo).to_have_count(0)
        await other.close()
        clew.end()
    assert receiver.calls == []
    (row,) = folder.rows("SELECT * FROM postbacks")
    assert row["state"] == "superseded"
