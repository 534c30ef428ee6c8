"""What conversations come to: seed B17, B18, E14."""

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from clew.chat.figures import Order, Spread, Talk, figures

BERLIN = ZoneInfo("Europe/Berlin")
EUR = Order(Decimal("59.90"), "EUR")


def at(hour: int, minute: int = 0, day: int = 26) -> float:
    return datetime(2026, 10, day, hour, minute, tzinfo=BERLIN).timestamp()


def talk(name: str, start: float, **more: object) -> Talk:
    return Talk(name, start, start + 600, 8, **more)  # type: ignore[arg-type]


def test_of_ten_waits_nine_are_at_most_the_90th_percentile() -> None:
    assert Spread.of([]) == Spread(0, None, None)
    assert Spread.of([7.0]) == Spread(1, 7.0, 7.0)
    assert Spread.of([float(n) for n in (10, 1, 2, 3, 4, 5, 6, 7, 8, 900)]) == Spread(10, 5.5, 10.0)


def test_they_are_counted_where_they_began_in_the_sites_zone() -> None:
    """Also in the night in which the clock is set back: an hour that comes twice is one hour of the day."""
    first = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)
    twice = [first.timestamp(), first.replace(fold=1).timestamp()]
    assert twice[1] - twice[0] == 3600
    found = figures([talk("a", twice[0]), talk("b", twice[1]), talk("c", at(9))], BERLIN)
    assert {hour: line.talks for hour, line in found.hours.items()} == {2: 2, 9: 1}
    assert {day: line.talks for day, line in found.days.items()} == {"2026-10-25": 2, "2026-10-26": 1}


def test_a_first_answer_is_of_who_gave_it_and_the_rest_of_who_has_the_talk() -> None:
    start = at(9)
    given = {"answered_at": start + 30, "answered_by": "anna", "agent": "bo", "rating": 5, "orders": [EUR]}
    found = figures([talk("a", start, rule="hesitates", department="sales", **given)], BERLIN)
    anna, bo = found.agents["anna"], found.agents["bo"]
    assert (anna.talks, anna.first_answer) == (0, Spread(1, 30.0, 30.0))
    assert (bo.talks, bo.first_answer.n, bo.orders, bo.revenue) == (1, 0, 1, {"EUR": Decimal("59.90")})
    assert found.pairs["bo", "hesitates"].orders == 1
    assert found.rules["hesitates"].first_answer.median == 30
    assert (found.departments["sales"].rating, found.departments["sales"].ratings) == (5, 1)


def test_who_asked_outside_the_office_hours_waits_for_nobody() -> None:
    night, day = at(3), at(10)
    late = talk("a", night, answered_at=night + 6 * 3600, answered_by="anna")
    soon = talk("b", day, answered_at=day + 20, answered_by="anna")
    found = figures([late, soon], BERLIN, lambda moment: moment == day)
    assert (found.outside, found.all.talks, found.all.first_answer) == (1, 2, Spread(1, 20.0, 20.0))


def test_no_answer_no_rating_and_no_order_are_counted_as_such() -> None:
    rated = talk("b", at(9), rating=3, answered_at=at(9), answered_by="anna", agent="anna")
    found = figures([talk("a", at(9)), rated], BERLIN)
    assert (found.all.unanswered, found.all.ratings, found.all.rating, found.all.satisfied) == (1, 1, 3, 0)
    assert (found.all.orders, found.all.ordered, found.all.revenue) == (0, 0, {})
    assert figures([], BERLIN).all.talks == 0


def test_currencies_are_not_added_and_the_best_are_those_with_orders() -> None:
    other = Order(Decimal(7200), "JPY")
    sold, praised, plain = (
        talk("sold", at(9), orders=[EUR, other], rating=4),
        talk("praised", at(8), rating=5),
        talk("plain", at(7), rating=4),
    )
    found = figures([plain, praised, sold], BERLIN)
    assert found.all.revenue == {"EUR": Decimal("59.90"), "JPY": Decimal(7200)}
    assert (found.all.orders, found.all.ordered) == (2, 1)
    assert [one.id for one in found.best] == ["sold", "praised"]
