"""Which sightings are about one order, and by which evidence."""

from dataclasses import replace
from decimal import Decimal

import pytest
from clew.orders.join import WINDOW, join
from clew.orders.sighting import Sighting
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_790_000_000.0


def seen(*numbers: str, at: float = 0.0, total: str | None = None, **evidence: object) -> Sighting:
    amount = None if total is None else Decimal(total)
    return Sighting(
        site="shop",
        source="webhook",
        at=NOW + at,
        id=numbers[0] if numbers else None,
        further=numbers[1:],
        total=amount,
        currency=None if total is None else "EUR",
        **evidence,  # type: ignore[arg-type]
    )


def test_numbers_join_directly_and_through_each_other() -> None:
    one, two, three, other = seen("1001"), seen("x5", "1001"), seen("x5", total="3"), seen("1002")
    orders, proposals = join([one, two, three, other])
    assert [o.numbers for o in orders] == [("1001", "x5"), ("1002",)]
    assert orders[0].sightings == tuple(sorted((one, two, three), key=lambda s: s.key))
    assert {m.by for m in orders[0].members} == {("number",)}
    assert proposals == ()


@pytest.mark.parametrize(
    ("evidence", "by"),
    [
        ({"carrier": "t"}, ("carrier", "amount")),
        ({"visitor": "t"}, ("carrier", "amount")),
        ({"coupon": "SAVE"}, ("coupon", "amount")),
        ({"email_hash": "e"}, ("email", "amount")),
    ],
)
def test_a_sighting_without_a_number_is_joined_by_its_evidence(
    evidence: dict[str, str], by: tuple[str, ...]
) -> None:
    order = seen("1001", total="10.00", carrier="t", coupon="SAVE", email_hash="e")
    orders, proposals = join([order, seen(at=60, total="10.00", **evidence), seen("1002", total="10.00")])
    assert [m.by for m in orders[0].members] == [("number",), by]
    assert proposals == ()


@pytest.mark.parametrize(
    ("without", "why"),
    [
        (seen(total="10.00"), "the amount alone"),
        (seen(coupon="SAVE"), "many customers use one coupon"),
        (seen(email_hash="e"), "one customer may order twice"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_uncertain_matches_are_proposed(without: Sighting, why: str) -> None:
    order = seen("1001", total="10.00", coupon="SAVE", email_hash="e")
    orders, (proposal,) = join([order, without])
    assert len(orders[0].members) == 1, why
    assert [c[0] for c in proposal.candidates] == ["1001"], why


@pytest.mark.parametrize(
    "without",
    [seen(total="11.00", carrier="t"), seen(at=WINDOW + 1, total="10.00", carrier="t"), seen(carrier="u")],
    ids=["another amount", "too late", "another carrier"],
)
def test_contradicting_evidence_excludes_a_candidate(without: Sighting) -> None:
    _, (proposal,) = join([seen("1001", total="10.00", carrier="t"), without])
    assert proposal.candidates == ()


def test_the_amount_chooses_between_two_orders_and_equal_ones_are_proposed() -> None:
    first, second = seen("1", total="10.00", carrier="t"), seen("2", total="20.00", carrier="t")
    orders, _ = join([first, second, seen(total="20.00", carrier="t")])
    assert [len(o.members) for o in orders] == [1, 2]
    _, (proposal,) = join([first, replace(second, total=Decimal("10.00")), seen(total="10.00", carrier="t")])
    assert [name for name, _ in proposal.candidates] == ["1", "2"]


def test_a_person_assigns_a_sighting() -> None:
    wrong, right, lost = seen("1001", total="10.00"), seen("1001", total="99.00"), seen(total="5.00")
    orders, proposals = join([wrong, right, lost], {right.key: "1001-old", lost.key: "1001"})
    assert [(o.numbers, len(o.members)) for o in orders] == [(("1001",), 2), (("1001-old",), 1)]
    assert orders[1].members[0].by == ("person",)
    assert proposals == ()


few = st.sampled_from(["a", "b"])
anything = st.builds(
    Sighting,
    site=st.just("shop"),
    source=st.sampled_from(["page", "api", "webhook"]),
    at=st.floats(NOW, NOW + 2 * WINDOW),
    id=st.none() | st.sampled_from(["1", "2", "3"]),
    further=st.just(()) | st.sampled_from([("1",), ("2",)]),
    total=st.none() | st.sampled_from([Decimal(1), Decimal(2)]),
    currency=st.just("EUR"),
    carrier=st.none() | few,
    coupon=st.none() | few,
    email_hash=st.none() | few,
)


@given(st.lists(anything, max_size=7), st.randoms())
def test_any_order_of_arrival_joins_the_same(sightings: list[Sighting], random: object) -> None:
    shuffled = list(sightings)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert join(shuffled) == join(sightings)


@given(st.lists(anything, max_size=7))
def test_every_sighting_is_in_one_order_or_a_question(sightings: list[Sighting]) -> None:
    orders, proposals = join(sightings)
    placed = [s for o in orders for s in o.sightings] + [p.sighting for p in proposals]
    assert sorted(placed, key=lambda s: (s.at, s.key)) == sorted(
        {(s.at, s.key): s for s in sightings}.values(), key=lambda s: (s.at, s.key)
    )
    numbers = [n for o in orders for n in o.numbers]
    assert len(numbers) == len(set(numbers))
