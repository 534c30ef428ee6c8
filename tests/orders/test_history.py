"""What the sightings of an order come to: the same in every order of arrival, each value with its source."""

from dataclasses import fields, replace
from decimal import Decimal
from itertools import permutations

import pytest
from clew.orders.doubt import Doubt
from clew.orders.history import NAMED_BY_BROWSER, Order, project
from clew.orders.model import STATES, Item, Refund
from clew.orders.sighting import Correction, Sighting, adds_nothing
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_790_000_000.0
CHECKOUT = Doubt("checkout", "no checkout of this visitor was seen")


def page(at: float = 0.0, **said: object) -> Sighting:
    told = {"id": "1001", "total": Decimal("119.00"), "currency": "EUR", "state": "placed"} | said
    return Sighting(site="shop", source="page", at=NOW + at, **told)  # type: ignore[arg-type]


def server(at: float = 0.0, **said: object) -> Sighting:
    told = {"source": "api", "id": "1001", "total": None, "currency": None, "state": None} | said
    return Sighting(site="shop", at=NOW + at, **told)  # type: ignore[arg-type]


def person(at: float, **decided: object) -> Sighting:
    correction = Correction(by="ann", why="she called", **decided)  # type: ignore[arg-type]
    nothing = {"total": None, "currency": None, "state": None}
    return Sighting(site="shop", source="agent", at=NOW + at, id="1001", correction=correction, **nothing)  # type: ignore[arg-type]


PLACED = {"total": Decimal("100.00"), "currency": "EUR", "state": "placed"}
FIVE = (
    page(0),
    page(0, visitor="v1"),
    server(0, **PLACED),
    server(0, state="refunded"),
    server(0, state="cancelled"),
)


@pytest.mark.parametrize("arrival", list(permutations(range(5))), ids=lambda order: "".join(map(str, order)))
def test_five_sightings_of_one_order_come_to_the_same_in_all_120_orders_of_arrival(
    arrival: tuple[int, ...],
) -> None:
    order = project([replace(FIVE[i], at=NOW + n) for n, i in enumerate(arrival)])
    assert (order.number, order.state, order.total, order.currency) == (
        "1001",
        "cancelled",
        Decimal("100.00"),
        "EUR",
    )
    assert (order.visitor, order.amount, order.doubts) == ("v1", Decimal(0), ())


amounts = st.decimals(min_value=0, max_value=500, places=2)
anything = st.builds(
    Sighting,
    site=st.just("shop"),
    source=st.sampled_from(["browser", "page", "agent", "import", "api", "webhook"]),
    at=st.floats(NOW, NOW + 100),
    as_of=st.none() | st.floats(NOW, NOW + 100),
    id=st.just("1001"),
    further=st.just(()) | st.just(("x",)),
    state=st.none() | st.sampled_from(STATES),
    total=st.none() | amounts,
    currency=st.just("EUR"),
    visitor=st.none() | st.sampled_from(["v1", "v2"]),
    coupon=st.none() | st.sampled_from(["A", "B"]),
    guess=st.booleans(),
    refunds=st.lists(st.builds(Refund, st.sampled_from(["r1", "r2"]), amounts), max_size=2).map(tuple),
    doubts=st.lists(st.just(CHECKOUT), max_size=1).map(tuple),
)


@given(st.lists(anything, min_size=1, max_size=6), st.randoms())
def test_the_same_sightings_in_any_order_are_the_same_order(seen: list[Sighting], random: object) -> None:
    shuffled = list(seen)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert project(shuffled) == project(seen)


@given(anything)
def test_a_sighting_survives_the_ledger(sighting: Sighting) -> None:
    again = Sighting.from_json(sighting.to_json())
    assert again == sighting
    assert again.key == sighting.key
    # With what the ledger knows of it, nothing is computed, and all else is the same.
    quick = Sighting.from_json(sighting.to_json(), sighting.key, sighting.items)
    assert quick == sighting
    assert [getattr(quick, one.name) for one in fields(Sighting)] == [
        getattr(sighting, one.name) for one in fields(Sighting)
    ]
    assert replace(quick, id="another number").key == replace(sighting, id="another number").key


def test_items_and_corrections_survive_the_ledger() -> None:
    item = Item(id="a", name="Mug", quantity=Decimal(2), price=Decimal("4.50"))
    full = replace(server(items=(item,), refunds=(Refund("r1", Decimal("4.50")),)), doubts=(CHECKOUT,))
    assert Sighting.from_json(full.to_json()) == full
    ruled = person(1, partner="")
    assert Sighting.from_json(ruled.to_json()) == ruled


@pytest.mark.parametrize(
    ("seen", "total", "source"),
    [
        ((page(0), server(1, **PLACED)), "100.00", "server"),
        ((server(0, **PLACED), page(1)), "100.00", "server"),
        ((page(0, guess=True), page(1, total=Decimal("129.00"))), "129.00", "selector"),
        ((page(0), server(1, **PLACED), person(2)), "100.00", "server"),
        ((server(0, **PLACED), server(1, **PLACED | {"total": Decimal("90.00")})), "90.00", "later"),
        ((page(0), page(5, total=Decimal("1.00"))), "119.00", "first page"),
    ],
)
def test_each_amount_comes_from_the_source_that_counts_most(
    seen: tuple[Sighting, ...], total: str, source: str
) -> None:
    order = project(seen)
    assert order.total == Decimal(total), source
    assert next(s for s in seen if s.key == order.sources["total"]).total == order.total


def test_the_senders_own_time_counts_before_the_arrival() -> None:
    late = server(9, **PLACED | {"total": Decimal("100.00"), "as_of": NOW - 60})
    early = server(1, **PLACED | {"total": Decimal("90.00"), "as_of": NOW - 30})
    assert project([late, early]).total == Decimal("90.00")
    reopened = [
        server(0, state="cancelled", as_of=NOW - 60, **{k: PLACED[k] for k in ("total", "currency")}),
        server(0, state="paid", as_of=NOW - 30),
    ]
    assert project(reopened).state == "paid"


@pytest.mark.parametrize(
    ("refunds", "state", "amount"),
    [
        ((), "placed", "100.00"),
        (("r1:30.00",), "part_refunded", "70.00"),
        (("r1:30.00", "r1:30.00"), "part_refunded", "70.00"),
        (("r1:30.00", "r2:70.00"), "refunded", "0"),
        (("r1:130.00",), "refunded", "0"),
    ],
)
def test_refunds_are_summed_each_once(refunds: tuple[str, ...], state: str, amount: str) -> None:
    seen = [server(0, **PLACED)]
    for n, text in enumerate(refunds):
        number, _, value = text.partition(":")
        seen.append(server(n + 1, refunds=(Refund(number, Decimal(value)),)))
    order = project(seen)
    assert (order.state, order.amount) == (state, Decimal(amount))


def test_an_order_of_which_only_a_refund_is_known_waits_for_its_amount() -> None:
    order = project([server(0, state="refunded")])
    assert (order.total, order.is_sale, order.amount) == (None, False, 0)


def test_the_visitor_is_taken_from_the_server_then_a_page_then_a_browser() -> None:
    browser = replace(page(0, visitor="b"), source="browser")
    assert project([browser, page(1, visitor="p")]).visitor == "p"
    assert project([browser, page(1, visitor="p"), server(2, **PLACED, visitor="s")]).visitor == "s"
    assert project([page(1), server(0, **PLACED)]).visitor is None


def test_a_stranger_who_opens_the_page_first_does_not_take_the_order_from_its_buyer() -> None:
    stranger = replace(page(0, visitor="x"), doubts=(CHECKOUT,))
    order = project([stranger, page(60, visitor="buyer")])
    assert (order.visitor, order.doubts) == ("buyer", ())


def test_a_server_report_confirms_earlier_pages_but_not_later_strangers() -> None:
    doubted = replace(page(10, visitor="v"), doubts=(CHECKOUT,))
    assert project([doubted, server(11, **PLACED)]).doubts == ()
    assert project([doubted, server(9, **PLACED)]).doubts == (CHECKOUT,)
    assert project([doubted, server(9, **PLACED, visitor="v")]).doubts == ()


def test_a_visitor_named_by_a_browser_counts_only_if_the_server_names_it_too() -> None:
    browser = replace(page(0, visitor="v"), source="browser")
    assert project([browser, server(1, **PLACED)]).doubts == (NAMED_BY_BROWSER,)
    assert project([browser, server(1, **PLACED, visitor="v")]).doubts == ()


def test_two_pages_with_different_amounts_are_a_conflict_until_the_server_says() -> None:
    two = [page(0), page(1, total=Decimal("990.00"))]
    (doubt,) = project(two).doubts
    assert doubt.kind == "conflict"
    assert "119.00 EUR" in doubt.text
    assert "990.00 EUR" in doubt.text
    assert project([*two, server(2, **PLACED)]).doubts == ()


def test_an_amount_in_doubt_is_accepted_if_another_source_reports_the_same() -> None:
    odd = Doubt("amount", "ten times the usual")
    doubted = replace(server(1, **PLACED), doubts=(odd,))
    assert project([doubted]).doubts == (odd,)
    assert project([doubted, page(0, total=Decimal("100.00"))]).doubts == ()
    assert project([doubted, replace(page(0, total=Decimal("100.00")), source="browser")]).doubts == (odd,)


def test_a_cancellation_from_a_page_is_a_conflict_and_from_a_server_it_counts() -> None:
    two = [page(0), page(5, state="cancelled")]
    assert project(two).state == "placed"
    assert project(two).doubts[0].kind == "conflict"
    answered = project([*two, server(6, state="cancelled")])
    assert (answered.state, answered.doubts) == ("cancelled", ())


def test_money_that_comes_later_makes_a_sale() -> None:
    assert project([page(0, state="seen"), page(60)]).state == "placed"
    assert project([server(0, **PLACED | {"state": "held"}), server(1, state="paid")]).state == "paid"


def test_a_release_settles_current_but_not_later_doubts() -> None:
    doubted = replace(page(0, visitor="v"), doubts=(CHECKOUT,))
    assert project([doubted, person(1, release=True)]).doubts == ()
    later = page(2, total=Decimal("990.00"), visitor="v")
    assert project([doubted, person(1, refuse=True)]).refused
    assert not project([doubted, person(1, refuse=True), person(3, release=True), later]).refused


def test_a_persons_choice_of_the_partner_is_kept_and_may_be_nobody() -> None:
    assert project([page(0)]).partner is None
    assert project([page(0), person(1, partner="p"), person(2, partner="")]).partner == ""


def test_a_correction_counts_before_all() -> None:
    fixed = replace(person(1), total=Decimal("59.00"), currency="EUR", state="paid")
    order = project([page(0), server(5, **PLACED), fixed])
    assert (order.total, order.state) == (Decimal("59.00"), "paid")


def test_no_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="number"):
        project([page(0, id=None)])


def test_a_repeated_sighting_adds_nothing_but_a_server_may_return_to_an_earlier_value() -> None:
    first, second = server(0, **PLACED), server(1, **PLACED | {"total": Decimal("90.00")})
    assert adds_nothing([page(0)], page(9))
    assert adds_nothing([first], replace(first, at=NOW + 50))
    assert adds_nothing([first, page(0)], replace(first, at=NOW + 50))
    assert not adds_nothing([first, second], replace(first, at=NOW + 50))
    dated = replace(first, as_of=NOW)
    assert adds_nothing([dated, second], replace(dated, at=NOW + 50))


def test_a_persons_correction_repeats_one_if_nothing_was_said_since() -> None:
    assert adds_nothing([page(0), person(1)], person(2))
    assert not adds_nothing([person(1), page(2)], person(3))
    assert not adds_nothing([], person(1))
    for settles in ("release", "refuse"):
        assert not adds_nothing([person(1, **{settles: True})], person(2, **{settles: True}))


def test_an_order_has_its_amount_and_whether_it_is_a_sale() -> None:
    order: Order = project([page(0)])
    assert order.is_sale
    assert order.amount == Decimal("119.00")
    assert not project([page(0, state="test")]).is_sale


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("whose", [{"visitor": "v1"}, {}], ids=["named by the server", "named by nobody"])
def test_a_browser_says_nothing_of_an_order_that_others_report(early: bool, whose: dict[str, str]) -> None:
    told = {"coupon": "MINE", "placed_at": NOW - 9e6, "spelling": "#1001", "state": "cancelled"}
    browser = replace(page(-500.0 if early else 500.0, visitor="stranger", **told), source="browser")
    reported = server(0, **PLACED, **whose)
    order = project([browser, reported])
    alone = project([reported])
    if whose:
        assert replace(order, sources=alone.sources) == alone
    else:
        # It says whose the order is, and holds it by that.
        assert (order.visitor, order.doubts) == ("stranger", (NAMED_BY_BROWSER,))
        shown = page(1.0, visitor="v1")
        assert replace(project([browser, reported, shown]), sources={}) == replace(
            project([reported, shown]), sources={}
        )


def test_a_state_without_a_time_counts_where_it_came_after_the_latest_one_and_is_further() -> None:
    placed = server(0, **PLACED, source="webhook", as_of=NOW)
    refunded, cancelled = server(60, state="refunded"), server(60, state="cancelled")
    assert project([placed, refunded]).state == "refunded"
    assert project([cancelled, placed]).state == "cancelled"
    # What has a time, and is later than that, says what holds.
    paid = server(90, state="paid", source="webhook", as_of=NOW + 90)
    assert project([cancelled, paid, placed]).state == "paid"
    # A late word of the beginning takes nothing back.
    assert project([paid, server(120, state="placed")]).state == "paid"
    assert project([server(0, state="cancelled"), server(0, **PLACED)]).state == "cancelled"
