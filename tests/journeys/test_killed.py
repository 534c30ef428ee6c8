"""`clew serve` is killed between an order and its postback."""

from pathlib import Path

import oscar_guest
import pytest
from clews import ClewFolder, ClewServe, wait_for_event
from oscar_shops import OscarShop
from playwright.async_api import BrowserContext
from processes import free_port
from receiver import Receiver

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

SETTINGS = """
secret = "env:CLEW_SECRET"
log = "json"

[delivery]
timeout = 2
schedule = [1, 1, 1, 1, 1, 1, 1, 1]

[[sites]]
name = "oscar"
upstream = "{shop}"

[[sites.partners]]
id = "friend"
param = "friend"
postback = "http://127.0.0.1:{port}/sale?click={{click_id}}&order={{order_id}}&sum={{amount}}&via={{channel}}"

[sites.order]
page = "/checkout/thank-you/"
id = "p.lead strong"
total = "#basket_totals h3.price_color"
currency = "GBP"
"""


async def test_a_postback_survives_sigkill_and_is_delivered_once(
    context: BrowserContext, oscar_shop: OscarShop, tmp_path: Path
) -> None:
    # Nobody listens here yet.
    port = free_port()
    folder = ClewFolder(tmp_path / "clew", SETTINGS.format(shop=oscar_shop.address, port=port))
    page = await context.new_page()
    with ClewServe(folder) as clew:
        await page.goto(f"{clew.address}/go/{oscar_guest.PRODUCT_SLUG}/?friend=a%2Bb")
        await oscar_guest.put_into_basket(page)
        bought = await oscar_guest.check_out(page)
        wait_for_event(clew, "order")
        clew.kill()

    with Receiver(port) as receiver:
        with ClewServe(folder):
            await receiver.waited()
        (call,) = receiver.calls
    assert call.query == {"click": "a+b", "order": bought.number, "sum": "289.90", "via": "web"}
    (postback,) = folder.rows("SELECT * FROM postbacks")
    assert postback["state"] == "delivered"
    assert folder.rows("SELECT count(*) AS orders FROM orders") == [{"orders": 1}]
