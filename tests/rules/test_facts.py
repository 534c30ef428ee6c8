from datetime import datetime, timedelta

import pytest
from clew.rules.facts import FACTS, GROUPS, RULE_FACTS, WEEKDAYS, LazyFacts, advance
from clew.rules.ruleset import RuleSet
from clew.settings.model import Rule
from hypothesis import given
from hypothesis import strategies as st

LOCAL = st.datetimes(datetime.fromisoformat("2000-01-01"), datetime.fromisoformat("2100-01-01"))


def test_every_fact_is_named_once_as_group_and_fact() -> None:
    assert len(RULE_FACTS.by_name) == len(FACTS)
    assert {fact.name.partition(".")[0] for fact in FACTS} == set(GROUPS)
    assert all(fact.name.count(".") == 1 and fact.doc.endswith(".") for fact in FACTS)


def clock(moment: datetime) -> dict[str, int | str]:
    return {
        "hour": moment.hour,
        "minute": moment.minute,
        "second": moment.second,
        "weekday": WEEKDAYS[moment.weekday()],
        "date": moment.date().isoformat(),
    }


@given(LOCAL, st.integers(0, 10**6))
def test_clock_facts_are_right_over_midnight_months_and_leap_days(moment: datetime, seconds: int) -> None:
    later = advance({"clock": clock(moment)}, seconds)
    assert later["clock"] == clock(moment + timedelta(seconds=seconds))


def test_only_facts_that_depend_on_time_are_changed() -> None:
    facts = {
        "visit": {"seconds": 10, "pages": 3},
        "page": {"seconds": 4, "path": "/x"},
        "cart": {"value": 1.5},
        "clock": {},
    }
    assert advance(facts, 5) == {
        "visit": {"seconds": 15, "pages": 3},
        "page": {"seconds": 9, "path": "/x"},
        "cart": {"value": 1.5},
        "clock": {},
    }
    assert facts["visit"]["seconds"] == 10


@pytest.mark.parametrize(
    "broken",
    [
        {"hour": 1, "minute": 2},
        {"hour": 25, "minute": 0, "date": "2026-01-01"},
        {"hour": 1, "minute": 2, "date": "soon"},
        {"hour": 23, "minute": 59, "date": "9999-12-31"},
    ],
)
def test_a_clock_that_cannot_be_moved_stands_still(broken: dict[str, object]) -> None:
    assert advance({"clock": broken}, 3600)["clock"] == broken


def test_without_seconds_the_minute_is_taken_to_have_just_begun() -> None:
    facts = {"clock": {"hour": 9, "minute": 59, "date": "2026-01-01"}}
    assert advance(facts, 59)["clock"]["hour"] == 9
    assert advance(facts, 60)["clock"]["hour"] == 10


def test_a_group_is_gathered_once_and_only_if_a_rule_reads_it() -> None:
    gathered = []

    def source(group: str) -> dict[str, object]:
        gathered.append(group)
        return {"visit": {"pages": 3}, "page": {"path": "/"}, "cart": {"value": 9.0}}[group]

    rules = [
        Rule(name="a", when=["visit.pages > 5", "cart.value > 1.0"], action="hide"),
        Rule(name="b", when=["visit.pages > 2", 'page.path == "/"'], action="hide"),
    ]
    sources = {group: lambda about, group=group: about(group) for group in ("visit", "page", "cart")}
    decision = RuleSet(rules).decide(LazyFacts(sources, source, ("visit", "page", "cart")))
    assert decision.rule is not None
    assert decision.rule.name == "b"
    assert gathered == ["visit", "page"]
