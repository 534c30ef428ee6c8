"""Rules that wait for a time or for a signal of the browser, and those that an event ends."""

from typing import Any

import pytest
from clew.referral.invites import WITHDRAWN, Invited, Offered, offer_of
from clew.referral.invites import Withdrawn as Ended
from clew.referral.visitor import Page, Viewed, Visitor, changed
from clew.rules.ranked import SIGNALS, Refusal
from clew.rules.ruleset import RuleSet
from clew.settings.model import Rule
from pydantic import ValidationError

HERE: dict[str, dict[str, Any]] = {"visit": {"seconds": 30, "pages": 2}, "page": {"seconds": 5}}


def rule(name: str, *when: str, priority: int = 0, **more: Any) -> Rule:
    return Rule.model_validate(
        {"name": name, "when": list(when), "action": "invite", "priority": priority, **more}
    )


def decided(rules: list[Rule], *told: str, **facts: Any) -> tuple[str | None, float | None, tuple[str, ...]]:
    found = RuleSet(rules).decide(HERE | facts, told=frozenset(told))
    return found.rule.name if found.rule else None, found.retry_after, found.signals


def test_waits_are_lines_of_the_rule() -> None:
    rules = [rule("r", wait="90s", wait_page="1m")]
    assert decided(rules) == (None, 60.0, ())
    assert decided(rules, page={"seconds": 61}) == (None, 60.0, ())
    assert decided(rules, page={"seconds": 60}, visit={"seconds": 90})[0] == "r"
    (explained,) = RuleSet(rules).explain(HERE).rules
    assert [getattr(line, "line", "") for line in explained.lines] == [
        "visit.seconds >= 90",
        "page.seconds >= 60",
    ]


def test_a_rule_that_waits_for_a_signal_blocks_none_that_is_ready() -> None:
    rules = [rule("armed", on=["exit", "scroll 60%"], priority=2), rule("now", "visit.pages > 1")]
    assert decided(rules) == ("now", None, ("exit", "scroll 60%"))
    assert decided(rules, "scroll 60%") == ("armed", None, ())
    assert decided(rules, "rage") == ("now", None, ("exit", "scroll 60%"))


def test_only_a_rule_whose_lines_are_all_true_is_armed() -> None:
    rules = [rule("r", "visit.pages > 5", on=["exit"]), rule("late", wait="60s", on=["back"])]
    assert decided(rules) == (None, 30.0, ())
    assert decided(rules, visit={"seconds": 60, "pages": 2}) == (None, None, ("back",))
    # The signal of a rule whose lines are false shows nothing.
    assert decided(rules, "exit", "back") == (None, 30.0, ())


def test_a_rule_behind_the_one_that_acts_is_not_armed() -> None:
    assert decided([rule("now", priority=1), rule("armed", on=["exit"])]) == ("now", None, ())


def test_a_rule_that_may_not_act_is_not_armed_and_one_that_is_armed_counts_as_waiting() -> None:
    asked = []

    def refuse(rule: Rule, waits: bool) -> Refusal | None:
        asked.append((rule.name, waits))
        return Refusal("in a talk") if rule.name == "never" else None

    rules = RuleSet([rule("never", on=["exit"], priority=1), rule("r", on=["back"])])
    assert rules.decide(HERE, refuse).signals == ("back",)
    assert asked == [("never", True), ("r", True)]
    asked.clear()
    assert rules.decide(HERE, refuse, frozenset({"back"})).rule is not None
    assert asked == [("never", True), ("r", False)]


def test_events_that_end_an_invite_are_watched_for_while_it_waits_and_while_it_is_shown() -> None:
    cancel = {"cancel_on": ["add_to_cart"]}
    event = "event add_to_cart"
    assert decided([rule("r", **cancel)]) == ("r", None, (event,))
    assert decided([rule("r", wait="60s", **cancel)]) == (None, 30.0, (event,))
    assert decided([rule("r", on=["exit"], **cancel)]) == (None, None, ("exit", event))
    assert decided([rule("r", "visit.pages > 5", **cancel)]) == (None, None, ())


def test_the_signals_of_an_answer_are_bounded() -> None:
    rules = [rule(f"r{n}", on=[f"event e{n}-{m}" for m in range(10)]) for n in range(20)]
    assert len(decided(rules)[2]) == SIGNALS


def test_explain_says_what_a_rule_waits_for() -> None:
    rules = RuleSet([rule("r", "visit.pages > 1", on=["exit"])])
    assert rules.explain(HERE).rules[0].verdict == "armed"
    assert rules.explain(HERE, told=frozenset({"exit"})).rules[0].verdict == "acts"


@pytest.mark.parametrize(
    "signal",
    ["scroll", "scroll 101%", "idle 0s", "idle 5", "visible ", "event", "event a b", "leave", "exit 3"],
)
def test_a_signal_that_there_is_not_is_an_error_that_names_those_there_are(signal: str) -> None:
    with pytest.raises(ValidationError, match="scroll 60%"):
        rule("r", on=[signal])
    with pytest.raises(ValidationError, match="90s"):
        rule("r", wait="90")


def test_an_event_ends_an_invite_for_the_visit_and_does_not_count_as_a_dismissal() -> None:
    def seen(at: float, view: str) -> Viewed:
        return Viewed(Page(view, at, "https://shop.example/", ""))

    visitor = changed(None, "v", [seen(1.0, "view-1"), Offered((), "r", "view-1"), Invited("r", "seen")], 1.0)
    visitor = changed(visitor, "v", [Ended(("add_to_cart", "other"), ("r",))], 2.0)
    offer = offer_of(visitor.offers, "r", visitor.visits)
    assert offer is not None
    assert (offer.end, visitor.withdrawn, visitor.dismissals) == ("withdrawn", ("add_to_cart", "other"), 0)
    # What was not shown uses up no limit; what was answered before stays so.
    assert len(visitor.offers) == 1
    accepted = changed(visitor, "v", [Invited("r", "accepted"), Ended(("add_to_cart",), ("r",))], 3.0)
    assert accepted.offers[0].end == "accepted"
    # A page may tell any number of events.
    many = changed(visitor, "v", [Ended(tuple(f"e{n}" for n in range(3 * WITHDRAWN)))], 4.0)
    assert many.withdrawn == tuple(f"e{n}" for n in range(2 * WITHDRAWN, 3 * WITHDRAWN))
    later: Visitor = changed(accepted, "v", [seen(9000.0, "view-2")], 9000.0)
    assert later.withdrawn == ()
