"""Who gets which arm, and when an experiment begins anew."""

from typing import Any

import pytest
from clew.rules.experiments import (
    HELD_OUT,
    INVITED,
    NO_INVITE,
    PLAIN,
    Experiment,
    experiment_of,
    holdout_of,
    place_of,
    share_salt,
    version_of,
)
from clew.settings.model import Invites, Rule

VISITORS = [f"visitor-{number:06}" for number in range(40_000)]
TEXTS = [{"name": "a", "text": "May I help?"}, {"name": "b", "text": "A question?", "weight": 3}]


def rule(**more: Any) -> Rule:
    return Rule.model_validate({"name": "r", "action": "invite", "when": ["visit.pages > 1"], **more})


def counts(experiment: Experiment) -> dict[str, int]:
    found = {arm.name: 0 for arm in experiment.arms}
    for visitor in VISITORS:
        found[experiment.arm(visitor)] += 1
    return found


def test_the_arms_have_their_parts_of_the_visitors() -> None:
    """By chi-squared, as reports test for a mismatch of samples. The hash is fixed: it cannot flicker."""
    experiment = experiment_of("shop", rule(variants=TEXTS, no_invite=20))
    assert [(arm.name, pytest.approx(arm.part)) for arm in experiment.arms] == [
        (NO_INVITE, 0.2),
        ("a", 0.2),
        ("b", 0.6),
    ]
    found = counts(experiment)
    expected = {arm.name: arm.part * len(VISITORS) for arm in experiment.arms}
    assert sum((found[name] - n) ** 2 / n for name, n in expected.items()) < 13.816  # p > 0.001


def test_a_visitor_keeps_its_arm_and_no_two_processes_disagree() -> None:
    """The values are the same on every machine and in every version: they may only change with the salt."""
    one, same = (experiment_of("shop", rule(variants=TEXTS)) for _ in range(2))
    assert [one.arm(v) for v in VISITORS[:1000]] == [same.arm(v) for v in VISITORS[:1000]]
    assert place_of(b"salt", "visitor") == pytest.approx(0.365652, abs=1e-5)


def test_experiments_are_independent_of_each_other() -> None:
    """Two rules, a rule and the hold-out, a rule and its share: no arm says anything about another."""
    first = experiment_of("shop", rule(variants=[{**t, "weight": 1} for t in TEXTS]))
    second = experiment_of("shop", rule(name="other", variants=[{**t, "weight": 1} for t in TEXTS]))
    held = holdout_of("shop", Invites(holdout=50))
    salt = share_salt("shop", "r")
    shares = ["in" if place_of(salt, v) < 0.5 else "out" for v in VISITORS]
    for others in ([second.arm(v) for v in VISITORS], [held.arm(v) for v in VISITORS], shares):
        names = sorted(set(others))
        table = {(a, b): 0 for a in "ab" for b in names}
        for visitor, other in zip(VISITORS, others, strict=True):
            table[first.arm(visitor), other] += 1
        statistic = sum((n - len(VISITORS) / 4) ** 2 / (len(VISITORS) / 4) for n in table.values())
        assert statistic < 21.108, table  # p > 0.0001


def test_a_larger_hold_out_holds_the_same_visitors_and_more() -> None:
    five, ten = (holdout_of("shop", Invites(holdout=percent)) for percent in (5, 10))
    held = {v for v in VISITORS if five.arm(v) == HELD_OUT}
    assert 0.045 < len(held) / len(VISITORS) < 0.055
    assert held < {v for v in VISITORS if ten.arm(v) == HELD_OUT}
    assert five.version != ten.version
    nobody = holdout_of("shop", Invites(holdout=0))
    assert {nobody.arm(v) for v in VISITORS} == {INVITED}


@pytest.mark.parametrize(
    "more",
    [
        {"when": ["visit.pages > 2"]},
        {"text": "Another text"},
        {"text": {"en": "A", "de": "B"}},
        {"variants": TEXTS},
        {"no_invite": 10},
        {"question": False},
        {"action": "show"},
    ],
)
def test_what_is_compared_begins_anew_when_it_changes(more: dict[str, Any]) -> None:
    assert version_of(rule(**more)) != version_of(rule())


@pytest.mark.parametrize(
    "more",
    [
        {"priority": 7},
        {"enabled": False},
        {"forced": True},
        {"share": 50},
        {"starts": "2026-12-01"},
        {"goal": "support", "target": 0.5, "stage": "cart"},
        {"pages": 1},
        {"question": True},
    ],
)
def test_another_order_time_or_share_changes_no_version(more: dict[str, Any]) -> None:
    assert version_of(rule(**more)) == version_of(rule())


def test_a_rule_with_one_text_has_one_arm() -> None:
    experiment = experiment_of("shop", rule())
    assert [arm.name for arm in experiment.arms] == [PLAIN]
    assert experiment.arm("anybody") == PLAIN
