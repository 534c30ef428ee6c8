"""`within_last`: what it stands for, and what is said of a wrong one."""

from typing import Any

import pytest
from clew.rules.conditions import ConditionError, compile_line
from clew.rules.ruleset import RuleSet
from clew.settings.model import Rule


def holds(line: str, facts: dict[str, dict[str, Any]]) -> bool:
    return RuleSet([Rule(name="r", when=[line], action="invite")]).decide(facts).rule is not None


@pytest.mark.parametrize(
    ("window", "expected"), [('"7d"', 7), ('"1d"', 1), ('"24h"', 1), ("86400", 1), ('"48h"', 2)]
)
def test_an_age_in_full_days_is_within_a_window_that_is_longer(window: str, expected: int) -> None:
    line = f"within_last(touch.age_days, {window})"
    assert [days for days in range(12) if holds(line, {"touch": {"age_days": days}})] == [*range(expected)]
    assert not holds(line, {})
    assert not holds(f"!{line}", {})


def test_an_age_in_seconds_is_waited_for() -> None:
    line = "within_last(page.seconds, '2m') && visit.pages * 2 > 2"
    rules = RuleSet([Rule(name="r", when=[line], action="invite")])
    found = rules.decide({"page": {"seconds": 30}, "visit": {"pages": 2}})
    assert (found.rule is not None, found.retry_after) == (True, 91.0)
    assert (
        rules.explain({"page": {"seconds": 30}, "visit": {"pages": 2}}).rules[0].lines[0]
        == (rules.explain({"page": {"seconds": 30}, "visit": {"pages": 2}}).rules[0].lines[0])
    )
    assert getattr(rules.explain({}).rules[0].lines[0], "line", "") == line


def test_an_event_is_asked_for_over_its_window() -> None:
    line = "!within_last(events.add_to_cart, '1h')"
    condition = compile_line(line)
    assert [reference.path for reference in condition.references] == ["events.add_to_cart_1h"]
    assert holds(line, {"events": {"add_to_cart_1h": 0}})
    assert not holds(line, {"events": {"add_to_cart_1h": 2}})


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("within_last(touch.age_days)", "needs a fact and a length of time"),
        ("within_last(7, '7d')", "needs a fact and a length of time"),
        ("within_last(touch.age_days, '7 days')", "the length of time is"),
        ("within_last(touch.age_days, '90s')", "counted in full days"),
        ("within_last(order.age_days, '36h')", "counted in full days"),
        ("within_last(touch.age_days, visit.pages)", "the length of time is"),
        ("within_last(visit.pages, '7d')", "no age in seconds or days"),
        ("within_last(events.search, '2h')", "10m, 1h, 24h and 30d"),
        ("within_last(touch.age, '2h')", "unknown fact"),
        ("touch.age_days.within_last('2h')", "unknown function"),
    ],
)
def test_what_is_wrong_is_said(line: str, text: str) -> None:
    with pytest.raises(ConditionError, match=text):
        compile_line(line)


def test_an_event_that_clew_has_seen_withdraws_an_invite() -> None:
    rules = RuleSet([Rule(name="r", action="invite", cancel_on=["add_to_cart", "own_event"])])
    assert rules.facts == {"events": {"add_to_cart"}}
    assert rules.decide({"events": {"add_to_cart": 0}}).rule is not None
    assert rules.decide({}).rule is not None
    assert rules.decide({"events": {"add_to_cart": 1}}).rule is None
