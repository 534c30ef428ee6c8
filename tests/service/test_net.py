"""Partners are told what counts of an order by `[sites.net]`; the order keeps what was reported."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest_asyncio
from clew.orders.model import Item, OrderSeen, Refund, RefundItem
from clew.service.ordering.correcting import correct
from clew.stores.ledger import schema
from reporting import Shop, site

D = Decimal
NET = {"tax": "exclude", "shipping": "exclude", "currency": "EUR", "rates": {"USD": "0.5"}}


@pytest_asyncio.fixture
async def shop(tmp_path: Path, ledger_address: str) -> AsyncIterator[Shop]:
    built = Shop(tmp_path, site(net=NET), ledger_address)
    await built.service.open()
    await built.bought("v1")
    yield built
    await built.service.close()


def seen(**changes: object) -> OrderSeen:
    values = {
        "total": D("119.00"),
        "currency": "EUR",
        "state": "paid",
        "tax": D("19.00"),
        "shipping": D("4.90"),
    }
    return OrderSeen(id="1001", source="api", **{**values, **changes})  # type: ignore[arg-type]


async def test_the_partner_is_told_what_counts_and_the_order_keeps_its_total(shop: Shop) -> None:
    await shop.report(seen(), "v1")
    await shop.deliver()
    assert shop.calls == [("order", "1001", "95.10")]
    (order,) = await shop.rows(schema.orders)
    assert (order["total"], order["currency"]) == ("119.00", "EUR")


async def test_refunds_take_their_part_and_all_of_them_leave_nothing(shop: Shop) -> None:
    await shop.report(seen(), "v1")
    await shop.deliver()
    await shop.report(seen(refunds=(Refund("r1", D("59.50")),)))
    await shop.deliver()
    await shop.report(seen(refunds=(Refund("r1", D("59.50")), Refund("r2", D("59.50")))))
    await shop.deliver()
    assert shop.calls == [("order", "1001", "95.10"), ("adjust", "1001", "47.55"), ("cancel", "1001", "0.00")]


async def test_another_currency_is_converted_by_the_owners_rate(shop: Shop) -> None:
    await shop.report(seen(currency="USD"), "v1")
    await shop.deliver()
    assert shop.calls == [("order", "1001", "47.55")]


async def test_what_cannot_be_computed_is_held_until_the_shop_says_it(shop: Shop) -> None:
    await shop.report(seen(tax=None), "v1")
    await shop.deliver()
    (row,) = await shop.rows(schema.postbacks)
    assert (row["state"], row["hold"]) == ("held", "net")
    assert "tax" in row["why"]
    assert shop.calls == []
    await shop.report(seen())
    await shop.deliver()
    assert shop.calls == [("order", "1001", "95.10")]


async def test_a_currency_without_a_rate_is_held(shop: Shop) -> None:
    await shop.report(seen(currency="CHF"), "v1")
    await shop.deliver()
    (row,) = await shop.rows(schema.postbacks)
    assert (row["hold"], shop.calls) == ("net", [])


async def test_a_persons_amount_counts_as_it_is_and_its_state_keeps_the_rule(shop: Shop) -> None:
    await shop.report(seen(), "v1")
    await shop.deliver()
    ledger, partners = shop.service.ledger, list(shop.service.sites["shop"].partners.values())
    (row,) = await shop.rows(schema.orders)
    order = await ledger.orders.at(row["id"])
    assert order is not None
    await correct(ledger, partners, order, shop.now + 1, by="bo", why="a test", state="placed")
    await shop.deliver()
    assert shop.calls == [("order", "1001", "95.10")]
    order = await ledger.orders.at(row["id"])
    assert order is not None
    await correct(ledger, partners, order, shop.now + 2, by="bo", why="a test", amount=D("80.00"))
    shop.now += 10
    await shop.deliver()
    assert shop.calls[-1] == ("adjust", "1001", "80.00")


async def test_goods_that_stay_count_to_the_cent_after_a_refund_of_the_others(
    tmp_path: Path, ledger_address: str
) -> None:
    shop = Shop(tmp_path, site(net={"shipping": "exclude"}), ledger_address)
    await shop.service.open()
    await shop.bought("v1")
    items = Item(id="A", price=D("580.00")), Item(id="B", price=D("101.99"))
    sold = {"total": D("686.98"), "tax": None, "shipping": D("4.99"), "items": items}
    await shop.report(seen(**sold), "v1")
    await shop.deliver()
    await shop.report(seen(**sold, refunds=(Refund("r1", D("101.99"), (RefundItem("B"),)),)))
    await shop.deliver()
    assert shop.calls == [("order", "1001", "681.99"), ("adjust", "1001", "580.00")]
    await shop.service.close()
