"""Confirmation pages at one address for every order, as in OpenCart: shown again, and the next order."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest_asyncio
import structlog
from order_shops import INSIDE, SELECTORS, order_shops, ordered, page

DRAWN = {"title": "T", "view": "view-0001", "language": "en"}


@pytest_asyncio.fixture
async def shops(tmp_path: Path) -> AsyncIterator[Any]:
    async with order_shops(tmp_path) as make:
        yield make


async def test_a_reload_that_no_longer_shows_the_order_is_not_reported(shops: Any) -> None:
    """Each reload of a page that shows an order once was a line of "Needs attention"."""
    shop = await shops()
    shop.pages["/thank-you"] = ordered("1")
    async with shop.landed() as visitor:
        await visitor.post("/checkout", headers=INSIDE)
        await visitor.get("/thank-you?lang=en", headers=INSIDE)
        await shop.settled()
        shop.pages["/thank-you"] = page("Thank you")
        with structlog.testing.capture_logs() as lines:
            await visitor.get("/thank-you?lang=en", headers=INSIDE)
            await shop.settled()
        assert [e["page"] for e in lines if e["event"] == "order_repeated"] == ["/thank-you?lang"]
        assert await shop.notices() == {}
        # It buys again, and the order cannot be read: that one is missing.
        await visitor.post("/checkout", headers=INSIDE)
        await visitor.get("/thank-you?lang=en", headers=INSIDE)
        assert ("order_unreadable", "no order") in await shop.notices()
    async with shop.landed("c2") as other:
        await other.get("/thank-you", headers=INSIDE)
    assert ("order_unreadable", "no order") in await shop.notices()


async def test_a_page_without_an_order_that_the_server_reported_is_not_reported(shops: Any) -> None:
    shop = await shops()
    shop.pages["/thank-you"] = page("Thank you")
    async with shop.landed() as visitor:
        await visitor.post("/checkout", headers=INSIDE)
        assert (await shop.report(visitor=visitor.cookies["clew_visitor"])).status_code == 201
        await visitor.get("/thank-you", headers=INSIDE)
    assert await shop.notices() == {}


async def test_the_reported_page_has_the_query_that_identifies_it(shops: Any) -> None:
    """Of a shop whose pages are all /index.php one read "Last seen on /index.php"."""
    shop = await shops(platform="opencart", order={**SELECTORS, "page": "*?route=checkout/success"})
    shop.pages["/index.php"] = page("Thank you")
    async with shop.landed() as visitor:
        await visitor.get("/index.php?route=checkout/success&token=s3cret", headers=INSIDE)
    told = (await shop.notices())["order_unreadable", "no order"]
    assert told["page"] == "/index.php?route=checkout/success&token"


async def wanted(visitor: httpx2.AsyncClient) -> bool:
    """Whether the loader should look for an order on the page."""
    ask = {**DRAWN, "url": "https://shop.example/thank-you", "referrer": "", "seconds": 1}
    return "order" in (await visitor.post("/-/clew/decide", json=ask)).json()


async def test_the_next_order_rendered_at_the_same_address_is_reported(shops: Any) -> None:
    """The browser was asked for the first order only, so the second was silently missed."""
    shop = await shops()
    shop.pages["/thank-you"] = page('<div id="app"></div>')
    html = '<p id="number">{}</p><p id="total">59.90 €</p>'
    async with shop.landed() as visitor:
        for number in ("1", "2"):
            await visitor.post("/checkout", headers=INSIDE)
            await visitor.get("/thank-you", headers=INSIDE)
            assert await wanted(visitor)
            told = {"url": "https://shop.example/thank-you", "referrer": "", "html": html.format(number)}
            assert (await visitor.post("/-/clew/order-page", json=told)).status_code == 204
            await shop.settled()
            assert not await wanted(visitor)
    assert [order.order_id for order in await shop.orders()] == ["2", "1"]
