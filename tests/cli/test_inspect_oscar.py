"""`clew inspect` and a running django-oscar shop: the file it writes reads that shop's cart and orders."""

import asyncio
from decimal import Decimal
from pathlib import Path

import oscar_guest
import pytest
from clew.cli import app
from clew.injector.page import read
from clew.orders.cart import read_cart
from clew.service.check import check
from clew.settings.platforms import with_platform
from order_pages import read_order
from oscar_shops import OscarShop
from playwright.async_api import BrowserContext
from typer.testing import CliRunner

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_shop_is_named_and_its_cart_and_order_are_read_by_the_written_file(
    context: BrowserContext, oscar_shop: OscarShop, tmp_path: Path
) -> None:
    file = tmp_path / "clew.toml"
    arguments = ["inspect", oscar_shop.address, "--output", str(file)]
    result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    assert result.exit_code == 0, result.output
    assert "platform: django-oscar (certain)" in result.output
    for kind in ("home", "category", "product", "cart", "search"):
        assert f"✓ {kind}: {oscar_shop.address}/" in result.output

    settings, problems = check(
        file, {"CLEW_SECRET": "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"}, need_upstream=True
    )
    assert problems == []
    assert settings is not None
    site = with_platform(settings.sites[0])
    assert site.platform == "django-oscar"
    assert site.order is not None

    page = await context.new_page()
    await page.goto(f"{oscar_shop.address}/go/{oscar_guest.PRODUCT_SLUG}/")
    await oscar_guest.put_into_basket(page)
    basket = await (await context.request.get(f"{oscar_shop.address}/basket/")).body()
    assert read_cart(read(basket, "utf-8"), site.cart) == {"value": "289.90", "currency": "GBP"}
    bought = await oscar_guest.check_out(page)
    thanks = await (await context.request.get(f"{oscar_shop.address}/checkout/thank-you/")).body()
    order = read_order(thanks, "utf-8", site.order)
    assert order is not None
    assert (order.id, order.total) == (bought.number, Decimal("289.90"))
