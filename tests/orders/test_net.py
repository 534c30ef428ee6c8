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


def goods(*lines: tuple[str, str, str | None], **changes: Any) -> dict[str, Any]:
    """Lines of one piece: id, price and tax."""
    items = tuple(Item(id=n, price=D(p), tax=None if t is None else D(t)) for n, p, t in lines)
    return {"items": items, "tax": None, "shipping": None, "discount": None, **changes}


def named(amount: str, *names: str) -> Refund:
    return Refund("r1", D(amount), tuple(RefundItem(name) for name in names))


TWO = goods(("A", "580.00", None), ("B", "101.99", None), total=D("686.98"), shipping=D("4.99"))
# Prices without tax, of which 2.00 a piece are fixed and the rest a fifth.
FIXED = goods(("A", "580.00", "118.00"), ("B", "80.00", "18.00"), total=D("801.00"), shipping=D("5.00"))
FIXED |= {"tax": D("136.00")}
TAXED = goods(("A", "698.00", "118.00"), ("B", "98.00", "18.00"), total=D("801.00"), shipping=D("5.00"))
TAXED |= {"tax": D("136.00")}
BARE = {**TWO, "items": None}
GIVEN = Refund("r1", D("106.98"), (RefundItem("B", D(1), D("101.99")),))
SENT = {**TAXED, "total": D("802.00"), "tax": D("137.00")}
WITHOUT_BOTH = NetRule(tax=False, shipping=False)


@pytest.mark.parametrize(
    ("sold", "refund", "rule", "left"),
    [
        pytest.param(TWO, named("101.99", "B"), NetRule(shipping=False), "580.00", id="goods stay"),
        pytest.param(TWO, named("106.98", "B"), NetRule(shipping=False), "580.00", id="with shipping"),
        pytest.param(TWO, named("106.98", "B"), NetRule(), "580.00", id="gross"),
        pytest.param(TWO, Refund("r1", D("101.99")), NetRule(shipping=False), "580.00", id="not named"),
        pytest.param(TWO, named("51.99", "B"), NetRule(shipping=False), "630.00", id="kept a fee"),
        pytest.param(TWO, named("681.99", "A", "B"), NetRule(shipping=False), "0.00", id="all goods"),
        pytest.param(FIXED, named("98.00", "B"), NetRule(tax=False), "585.00", id="fixed tax"),
        pytest.param(FIXED, named("98.00", "B"), WITHOUT_BOTH, "580.00", id="fixed tax, no shipping"),
        pytest.param(FIXED, Refund("r1", D("98.00")), WITHOUT_BOTH, "580.00", id="fixed tax, not named"),
        pytest.param(TAXED, named("98.00", "B"), WITHOUT_BOTH, "580.00", id="tax in the prices"),
        pytest.param(SENT, named("104.00", "B"), WITHOUT_BOTH, "580.00", id="taxed shipping"),
        pytest.param(SENT, named("104.00", "B"), NetRule(tax=False), "580.00", id="taxed shipping counts"),
        pytest.param(SENT, named("98.00", "B"), NetRule(tax=False), "585.00", id="taxed shipping stays"),
        pytest.param(SENT, named("104.00", "B"), NetRule(shipping=False), "698.00", id="only its tax"),
        pytest.param(BARE, GIVEN, NetRule(shipping=False), "580.00", id="prices are not known"),
        pytest.param(TAXED, named("103.00", "B"), WITHOUT_BOTH, "580.00", id="tax in prices, shipping"),
    ],
)
def test_a_refund_of_goods_takes_what_they_count_to_the_cent(
    sold: dict[str, Any], refund: Refund, rule: NetRule, left: str
) -> None:
    found = netted(order(**sold, refunds=(refund,)), rule)[0]
    assert (found.amount, sum(one.amount for one in found.refunds)) == (D(left), (found.total or 0) - D(left))


def test_a_refund_of_goods_with_an_amount_takes_that_and_no_more_of_what_is_left_out() -> None:
    sold = {**TWO, "items": (*TWO["items"], CARD), "total": D("727.08")}
    part = Refund(
        "r1", D("52.98"), (RefundItem("B", D(1), D("50.99")), RefundItem("GIFT-50", D(1), D("1.99")))
    )
    assert net(order(**sold, refunds=(part,)), NetRule(shipping=False, without=("gift*",))) == D("631.00")


def test_a_refund_of_goods_takes_their_part_of_a_discount_of_the_order() -> None:
    sold = {**TWO, "total": D("618.78"), "discount": D("68.20")}
    left = net(order(**sold, refunds=(named("91.79", "B"),)), NetRule(shipping=False))
    assert left == D("522.00")


def test_many_pieces_that_no_refund_names_are_counted_in_proportion_and_soon() -> None:
    items = tuple(Item(id=str(n), quantity=D(9), price=D(n) / 100) for n in range(1, 200))
    sold = order(total=D("1801.00"), shipping=D("10.00"), items=items, refunds=(Refund("r1", D("900.50")),))
    assert net(sold, NetRule(shipping=False)) == D("895.50")


@given(
    prices=st.lists(st.decimals("0.01", 1000, places=2), min_size=1, max_size=6),
    shipping=AMOUNTS,
    back=st.sets(st.integers(0, 5)),
    rate=st.sampled_from([D(1), D("0.915")]),
)
def test_what_stays_counts_exactly_whatever_goods_went_back(
    prices: list[Decimal], shipping: Decimal, back: set[int], rate: Decimal
) -> None:
    items = tuple(Item(id=str(n), price=price) for n, price in enumerate(prices))
    gone = [n for n in sorted(back) if n < len(prices)]
    refunds = tuple(Refund(str(n), prices[n], (RefundItem(str(n)),)) for n in gone)
    total = sum(prices, shipping)
    rule = NetRule(shipping=False, currency="EUR", rates={"USD": rate})
    sold = order(currency="USD", total=total, shipping=shipping, items=items, tax=None, refunds=refunds)
    stays = sum((price for n, price in enumerate(prices) if n not in gone), D(0))
    assert net(sold, rule) == (stays * rate).quantize(D("0.01"), "ROUND_HALF_UP")
