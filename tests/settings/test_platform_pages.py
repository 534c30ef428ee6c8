"""The presets against real shops: what they select is what the page says."""

from decimal import Decimal

import oscar_guest
import pytest
from clew.injector.page import read
from clew.orders.cart import read_cart
from clew.settings.platforms import platforms
from order_pages import read_order
from oscar_shops import OscarShop
from playwright.async_api import BrowserContext

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_django_oscars_cart_and_order_are_read(context: BrowserContext, oscar_shop: OscarShop) -> None:
    preset = platforms()["django-oscar"]
    page = await context.new_page()

    async def shown(path: str) -> bytes:
        """The page as the shop sends it to this visitor, before any script has run."""
        return await (await context.request.get(f"{oscar_shop.address}{path}")).body()

    assert read_cart(read(await shown("/catalogue/"), "utf-8"), preset.cart) is None
    await page.goto(f"{oscar_shop.address}/go/{oscar_guest.PRODUCT_SLUG}/")
    await oscar_guest.put_into_basket(page)
    for path in ("/catalogue/", "/basket/", "/search/?q=burr"):
        cart = read_cart(read(await shown(path), "utf-8"), preset.cart)
        assert cart == {"value": str(oscar_guest.PRICE), "currency": oscar_guest.CURRENCY}, path

    bought = await oscar_guest.check_out(page)
    assert preset.order is not None
    confirmation = await shown("/checkout/thank-you/")
    order = read_order(confirmation, "utf-8", preset.order)
    assert order is not None
    assert (order.id, order.total, order.currency) == (bought.number, Decimal("289.90"), "GBP")
    assert read_cart(read(confirmation, "utf-8"), preset.cart) is None
    assert read_order(await shown("/basket/"), "utf-8", preset.order) is None
