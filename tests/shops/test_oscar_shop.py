"""The real shop that the journeys lead through does what a shop does, without clew."""

import oscar_guest
import pytest
from oscar_shops import OscarShop
from playwright.async_api import BrowserContext

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_guest_can_buy_and_see_the_confirmation_again(
    context: BrowserContext, oscar_shop: OscarShop
) -> None:
    page = await context.new_page()
    await page.goto(f"{oscar_shop.address}/go/{oscar_guest.PRODUCT_SLUG}/?awc=1_2_3")
    assert "?" not in page.url

    await oscar_guest.put_into_basket(page)
    bought = await oscar_guest.check_out(page)
    assert bought == oscar_guest.Bought("100001", "£289.90")

    await page.reload()
    assert await page.locator("p.lead strong").inner_text() == "100001"
