"""What of an order counts for partners."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from clew.orders.history import Order, project
from clew.orders.model import Item, Refund, RefundItem
from clew.orders.net import NetRule, net, netted
from clew.orders.sighting import Sighting
from hypothesis import given
from hypothesis import strategies as st

D = Decimal


def order(**changes: Any) -> Order:
    given_values: dict[str, Any] = {"total": D("119.00"), "tax": D("19.00"), "shipping": D("4.90"), **changes}
    refunds = given_values.pop("refunds", ())
    values = {"id": "1001", "currency": "EUR", "source": "webhook", "state": "paid", "discount": D("10.00")}
    return project([Sighting(site="shop", at=1.0, refunds=refunds, **{**values, **given_values})])


@pytest.mark.parametrize(
    ("rule", "amount"),
    [
        (NetRule(), "119.00"),
        (NetRule(tax=False), "100.00"),
        (NetRule(shipping=False), "114.10"),
        (NetRule(tax=False, shipping=False), "95.10"),
        (NetRule(discount=False), "129.00"),
        (NetRule(tax=False, shipping=False, discount=False), "105.10"),
    ],
)
def test_tax_shipping_and_discount(rule: NetRule, amount: str) -> None:
    assert net(order(), rule) == D(amount)


def test_the_shops_own_net_amount_counts_before_a_computed_one() -> None:
    assert net(order(net=D("95.11")), NetRule(tax=False, shipping=False)) == D("95.11")


def test_a_part_refund_takes_its_part_of_what_counts_and_a_whole_one_all() -> None:
    rule = NetRule(tax=False)
    half = order(refunds=(Refund("r1", D("59.50")),))
    assert net(half, rule) == D("50.00")
    assert net(order(refunds=(Refund("r1", D("119.00")),)), rule) == D(0)


MUG = Item(id="MUG", category="Kitchen", quantity=D(2), price=D("37.00"))
CARD = Item(id="GIFT-50", category="Gift cards", price=D("40.10"))
SOLD: dict[str, Any] = {"items": (MUG, CARD), "total": D("114.10"), "tax": None, "shipping": None}


@pytest.mark.parametrize("pattern", ["gift cards", "GIFT-*"])
def test_goods_that_do_not_count_are_left_out_by_category_or_id(pattern: str) -> None:
    found, missing = netted(order(**SOLD), NetRule(without=(pattern,)))
    assert (found.total, found.items, missing) == (D("74.00"), (MUG,), ())


def test_a_refund_of_goods_that_do_not_count_takes_nothing() -> None:
    rule = NetRule(without=("gift*",))
    card = Refund("r1", D("40.10"), (RefundItem("GIFT-50", D(1), D("40.10")),))
    mug = Refund("r2", D("37.00"), (RefundItem("MUG", D(1), D("37.00")),))
    assert net(order(**SOLD, refunds=(card,)), rule) == D("74.00")
    assert net(order(**SOLD, refunds=(card, mug)), rule) == D("37.00")


def test_an_order_of_gift_cards_alone_counts_nothing() -> None:
    assert net(order(**{**SOLD, "items": (CARD,)}), NetRule(without=("gift*",))) == D(0)


@pytest.mark.parametrize(
    ("currency", "total", "rate", "amount"),
    [
        ("USD", "100.00", "0.915", "91.50"),
        ("JPY", "7200", "0.00612", "44.06"),
        ("KWD", "10.005", "3", "30.02"),
    ],
)
def test_other_currencies_are_converted_by_the_owners_rates(
    currency: str, total: str, rate: str, amount: str
) -> None:
    rule = NetRule(currency="EUR", rates={currency: D(rate)})
    sold = order(currency=currency, total=D(total), tax=None, shipping=None, discount=None)
    found, missing = netted(sold, rule)
    assert (found.amount, found.currency, missing) == (D(amount), "EUR", ())


def test_without_a_rate_nothing_is_converted_and_it_is_said() -> None:
    found, missing = netted(order(currency="USD"), NetRule(currency="EUR", rates={"CHF": D(1)}))
    assert (found.currency, missing) == ("USD", ("a rate for USD",))


def test_what_the_order_does_not_say_is_named() -> None:
    sold = order(tax=None, shipping=None)
    found, missing = netted(sold, NetRule(tax=False, shipping=False, without=("gift*",)))
    assert (found.total, missing) == (D("119.00"), ("tax", "shipping", "items"))


AMOUNTS = st.decimals(0, 1000, places=2)


@given(
    total=AMOUNTS,
    tax=AMOUNTS,
    shipping=AMOUNTS,
    back=st.lists(AMOUNTS, max_size=4),
    rule=st.builds(NetRule, st.booleans(), st.booleans(), st.just(True)),
)
def test_what_counts_is_never_negative_nor_more_than_what_was_paid(
    total: Decimal, tax: Decimal, shipping: Decimal, back: list[Decimal], rule: NetRule
) -> None:
    refunds = tuple(Refund(str(n), amount) for n, amount in enumerate(back) if amount)
    sold = order(total=total, tax=tax, shipping=shipping, discount=None, refunds=refunds)
    found = net(sold, rule)
    assert D(0) <= found <= sold.amount + D("0.03")
    if sum(back) >= total:
        assert found == 0
    assert net(sold, replace(rule, tax=True, shipping=True)) == sold.amount
