"""What of an order's amount a network is told for each item and commission group, also after refunds."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from clew.credit.sale import left_of
from clew.orders.history import project
from clew.orders.model import Item, Refund, RefundItem
from clew.orders.sighting import Sighting
from clew.postbacks.lines import Part, lines, parts
from clew.postbacks.model import Report

GOODS = (
    Item(id="camera", category="Cameras", price=Decimal("80.00")),
    Item(id="laptop", category="Laptops", price=Decimal("500.00")),
    Item(id="mug", category="Mugs", price=Decimal("10.00"), quantity=Decimal(4)),
)
GROUPS = {"Cameras": "CAM", "Mugs": "MUG"}


def left(*refunds: Refund, items: tuple[Item, ...] = GOODS) -> tuple[Decimal, ...]:
    order = Sighting(
        site="shop", source="api", at=1.0, id="1", total=Decimal("620.00"), currency="EUR", state="placed",
        items=items, refunds=refunds,
    )  # fmt: skip
    return left_of(project([order]))


def went(name: str, pieces: int, amount: str | None) -> Refund:
    given = None if amount is None else Decimal(amount)
    return Refund(name, given or Decimal(1), (RefundItem(name, Decimal(pieces), given),))


def told(amount: str, **more: Any) -> tuple[Sequence[Decimal], tuple[Part, ...], Sequence[Decimal]]:
    report = Report("adjust", "awin", "c", "1", amount, "EUR", "web", 1, 1, items=GOODS, **more)
    found = lines(report, GROUPS, "DEFAULT", "")
    return [one.total for one in found], parts(report, found, "DEFAULT"), [one.change for one in found]


def test_an_item_that_went_back_has_nothing_of_the_amount() -> None:
    kept = left(went("camera", 1, "80.00"))
    totals, groups, changes = told("540.00", before="620.00", left=kept)
    assert totals == [Decimal(0), Decimal("500.00"), Decimal("40.00")]
    assert groups == (Part("DEFAULT", Decimal("500.00")), Part("MUG", Decimal("40.00")))
    assert changes == [Decimal("-80.00"), Decimal(0), Decimal(0)]


def test_a_second_refund_changes_only_what_it_names() -> None:
    first = left(went("camera", 1, "80.00"))
    second = left(went("camera", 1, "80.00"), went("mug", 1, "10.00"))
    totals, _, changes = told("530.00", before="540.00", left=second, left_before=first)
    assert totals == [Decimal(0), Decimal("500.00"), Decimal("30.00")]
    assert changes == [Decimal(0), Decimal(0), Decimal("-10.00")]


@pytest.mark.parametrize(
    ("refunds", "kept"),
    [
        ((), ()),
        ((Refund("r", Decimal(20)),), ()),
        ((went("mug", 3, "30.00"),), ("80", "500", "10")),
        ((went("mug", 3, None),), ("80", "500", "10")),
        # Half of the price back as a favour, the camera stays.
        ((Refund("r", Decimal(40), (RefundItem("camera", Decimal(0), Decimal(40)),)),), ("40", "500", "40")),
        ((went("unknown", 1, "5.00"),), ()),
    ],
)
def test_what_is_left_of_each_item(refunds: tuple[Refund, ...], kept: tuple[str, ...]) -> None:
    assert left(*refunds) == tuple(map(Decimal, kept))


def test_where_all_goods_went_back_the_rest_is_spread_over_all() -> None:
    kept = left(went("camera", 1, "80"), went("laptop", 1, "500"), went("mug", 4, "40"))
    totals, groups, _ = told("6.20", before="626.20", left=kept)
    assert totals == [Decimal("0.80"), Decimal("5.00"), Decimal("0.40")]
    assert sum(one.amount for one in groups) == Decimal("6.20")


def test_what_is_left_survives_the_ledger() -> None:
    report = Report(
        "adjust", "awin", "c", "1", "5.00", "EUR", "web", 1, 1, left=(Decimal(0), Decimal("500.00"))
    )
    assert Report.from_json(report.to_json()) == report
