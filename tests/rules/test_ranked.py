"""Each distinct line is asked once a decision, the cheapest of a rule first, and no more than needed."""

from collections import Counter
from typing import Any

import pytest
from clew.rules import evaluation
from clew.rules.compiler import Compiler
from clew.rules.facts import RULE_FACTS
from clew.rules.ranked import BLOCK, blocks_of, first_of
from clew.rules.ruleset import RuleSet
from clew.rules.trees import Tree
from clew.rules.values import NONE_KNOWN
from clew.settings.model import Rule

COUNT = BLOCK * 2 + 100


def rules_of(count: int) -> list[Rule]:
    return [
        Rule(
            name=f"r{n:05}",
            when=[f'page.path == "/{n % 50}"', f"visit.pages > {n % 7}", f"cart.value > {n}.0"],
            action="invite",
            priority=-n,
        )
        for n in range(count)
    ]


def asked(rules: list[Rule], true: set[str]) -> tuple[str | None, Counter[str]]:
    """The rule that acts if these lines are true, and how often each line was asked."""
    compiler = Compiler(rules, NONE_KNOWN, RULE_FACTS)
    lines = [condition.text for condition in compiler.conditions]
    held: dict[Tree, object] = {}
    found: Counter[str] = Counter()

    def truth(tree: Tree) -> bool:
        assert isinstance(tree, int)
        found[lines[tree]] += 1
        held[tree] = value = lines[tree] in true
        return value

    winner = first_of(blocks_of(compiler.ranked), truth, held, None).winner
    return (winner.rule.name if winner else None), found


def test_each_line_is_asked_once_over_all_blocks() -> None:
    name, found = asked(rules_of(COUNT), {'page.path == "/7"', "visit.pages > 1"})
    assert name is None
    assert set(found.values()) == {1}
    # The second and third lines only of rules whose lines before are true.
    assert sum(line.startswith("page.path") for line in found) == 50
    left = [n for n in range(COUNT) if n % 50 == 7 and n % 7 == 1]
    assert sum(line.startswith("cart.value") for line in found) == len(left)


def test_nothing_is_asked_of_rules_behind_the_one_that_acts() -> None:
    name, found = asked(rules_of(COUNT), {'page.path == "/3"', "visit.pages > 3", "cart.value > 3.0"})
    assert name == "r00003"
    assert not [line for line in found if line.startswith("cart.value") and line != "cart.value > 3.0"]
    assert len(found) == 4 + 2


def test_rules_that_share_no_line_are_each_asked_once() -> None:
    rules = [Rule(name=f"r{n}", when=[f"visit.pages > {n}"], action="invite") for n in range(COUNT)]
    name, found = asked(rules, set())
    assert (name, len(found), set(found.values())) == (None, COUNT, {1})


def test_what_the_engine_has_to_be_asked_comes_last() -> None:
    when = ["visit.pages * 2 > 4", "visit.seconds >= 9", "visit.pages > 3"]
    (ranked,) = Compiler([Rule(name="r", when=when, action="invite")], NONE_KNOWN, RULE_FACTS).ranked
    assert [when[tree] for tree in ranked.timeless if isinstance(tree, int)] == [when[2], when[0]]
    assert ranked.timed == (1,)


def test_many_rules_that_wait_cost_a_bounded_number_of_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some cannot be told but by trying one moment after the other."""
    lines = [f"visit.seconds % {n} == {n - 1} && page.seconds > {n}" for n in range(2, 2002)]
    ruleset = RuleSet([Rule(name=f"r{n}", when=[line], action="invite") for n, line in enumerate(lines)])
    calls: Counter[str] = Counter()
    whole = evaluation.Moment.all_hold

    def counted(self: evaluation.Moment, trees: Any) -> bool:
        calls["all_hold"] += 1
        return whole(self, trees)

    monkeypatch.setattr(evaluation.Moment, "all_hold", counted)
    decision = ruleset.decide({"visit": {"seconds": 0}, "page": {"seconds": 0}})
    assert decision.rule is None
    assert decision.retry_after is not None
    assert calls["all_hold"] <= evaluation.EVALUATED
