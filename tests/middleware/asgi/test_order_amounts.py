"""An order that several sources report: whose amount counts, in the order and in the postback."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog
from clew.orders.model import OrderSeen
from order_shops import INSIDE, SELECTORS, TYPED, Shop, linked, order_shops, ordered


@pytest_asyncio.fixture
async def shops(tmp_path: Path) -> AsyncIterator[Any]:
    async with order_shops(tmp_path) as make:
        yield make


async def figures(shop: Shop) -> tuple[str, str, str | None]:
    """The order's total and its source, and the amount of the postback."""
    (order,), rows = await shop.orders(), await shop.postbacks()
    return str(order.total), order.source, rows[0].report.amount if rows else None


async def opened_by_a_stranger(shop: Shop) -> str:
    """Order 1001 is held for a stranger. Returns the cookie of the visitor who ordered."""
    shop.pages["/thank-you/1001"] = ordered()
    async with shop.landed("thief") as thief:
        await thief.get("/thank-you/1001", headers=TYPED)
        await shop.settled()
    async with shop.landed("right") as buyer:
        return str(buyer.cookies["clew_visitor"])


async def test_the_servers_amount_counts_in_order_and_postback_if_it_names_another_visitor(
    shops: Any,
) -> None:
    """The order kept the page's total, while the partner got the server's."""
    shop = await shops()
    value = await opened_by_a_stranger(shop)
    with structlog.testing.capture_logs() as lines:
        answer = await shop.report(total="49.90", visitor=value)
    assert (answer.status_code, answer.json()["total"]) == (200, "49.90")
    assert await figures(shop) == ("49.90", "api", "49.90")
    (row,) = await shop.postbacks()
    assert (row.state, row.report.click_id) == ("due", "right")
    assert [e["order"] for e in lines if e["event"] == "order_corrected"] == ["1001"]
    assert not [key for key in await shop.notices() if key[0] == "order_conflict"]
    again = await shop.report(total="49.90", visitor=value)
    assert again.json()["total"] == "49.90"
    assert not [key for key in await shop.notices() if key[0] == "order_conflict"]


async def test_the_servers_amount_counts_if_no_partner_earns_the_order(shops: Any) -> None:
    shop = await shops()
    shop.pages["/thank-you/1001"] = ordered()
    async with shop.visitor() as visitor:
        await visitor.get("/checkout", headers=TYPED)
        await visitor.get("/thank-you/1001", headers=INSIDE)
        await shop.settled()
    assert (await shop.report(total="49.90")).json()["total"] == "49.90"
    assert await figures(shop) == ("49.90", "api", None)


async def test_a_page_that_names_the_visitor_does_not_change_the_servers_amount(shops: Any) -> None:
    """The partner got the page's amount."""
    shop = await shops()
    shop.pages["/thank-you/1001"] = ordered(total="71.28 €")
    assert (await shop.report()).status_code == 201
    async with shop.landed() as visitor:
        await visitor.post("/checkout", headers=INSIDE)
        await visitor.get("/thank-you/1001", headers=INSIDE)
    assert await figures(shop) == ("59.90", "api", "59.90")


async def test_the_amount_of_the_paid_order_counts(shops: Any) -> None:
    shop = await shops(order={"page": "/thank-you*"})
    shop.pages["/thank-you"] = linked(orderStatus="OrderPaymentDue")
    async with shop.landed() as visitor:
        await visitor.post("/checkout", headers=INSIDE)
        await visitor.get("/thank-you", headers=INSIDE)
        await shop.settled()
        shop.pages["/thank-you"] = linked(price="54.90")
        await visitor.get("/thank-you", headers=INSIDE)
    assert await figures(shop) == ("54.90", "page", "54.90")


@pytest.mark.parametrize("known", [False, True], ids=["new", "shown before"])
async def test_the_response_to_the_server_says_that_its_order_is_held(shops: Any, known: bool) -> None:
    """The response said `created`, although the partner was not notified."""
    shop = await shops(order={**SELECTORS, "confirm": "server"})
    for number in range(6):
        assert "held" not in (await shop.report(id=f"a{number}")).json()
    async with shop.landed() as visitor:
        value = visitor.cookies["clew_visitor"]
        if known:
            shop.pages["/thank-you/b"] = ordered("b", "60.00 €")
            await visitor.get("/thank-you/b", headers=INSIDE)
            await shop.settled()
    for _ in range(3):
        answer = await shop.report(id="b", total="5990.00", visitor=value)
        why = "5990.00 EUR, but the median of the site's last 6 orders is 59.90 EUR"
        assert answer.json()["held"].endswith(why)
        assert answer.json()["held"].count(why) == 1
        assert "released" not in answer.json()["held"]
    (row,) = await shop.postbacks()
    assert (row.state, row.hold, row.report.amount) == ("held", "amount", "5990.00")


async def test_a_currency_counts_as_new_only_once(shops: Any) -> None:
    """Of two currencies, orders in the rarer one were held whenever fifty in the other had come since."""
    shop = await shops()
    async with shop.landed() as visitor:
        value = visitor.cookies["clew_visitor"]
    ordering, site = shop.clew.service.ordering, shop.clew.service.sites["shop"]
    await shop.report(id="first", currency="GBP", visitor=value)
    for number in range(55):
        await ordering.record(site, OrderSeen(f"a{number}", Decimal(60), "EUR", "api"), visitor=None)
    assert "held" not in (await shop.report(id="rare", currency="GBP", visitor=value)).json()
    held = (await shop.report(id="new", currency="USD", visitor=value)).json()["held"]
    assert held == "59.90 USD, but the site's last 50 orders are in EUR, GBP"
