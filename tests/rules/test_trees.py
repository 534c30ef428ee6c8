"""`all`, `any` and `not` of lines: which rule acts, what is missing, and what is said of a wrong table."""

from typing import Any

import pytest
from clew.rules.compiler import DEPTH, LINES, RuleErrors
from clew.rules.evaluation import BranchExplained, LineExplained
from clew.rules.ruleset import RuleSet
from clew.settings.model import Rule
from hypothesis import given, settings
from hypothesis import strategies as st

LEAVES = ["order.placed", "chat.open", "visit.pages >= 3", "!chat.talked", "visit.pages * 2 > 4"]
FACTS = st.fixed_dictionaries(
    {},
    optional={
        "order": st.fixed_dictionaries({"placed": st.booleans()}),
        "chat": st.fixed_dictionaries({}, optional={"open": st.booleans(), "talked": st.booleans()}),
        "visit": st.fixed_dictionaries({"pages": st.integers(0, 5)}),
    },
)
CONDITION: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: (
        st.fixed_dictionaries({"all": st.lists(inner, min_size=1, max_size=3)})
        | st.fixed_dictionaries({"any": st.lists(inner, min_size=1, max_size=3)})
        | st.fixed_dictionaries({"not": inner})
    ),
    max_leaves=5,
)


def rule(name: str, *when: Any, **more: Any) -> Rule:
    return Rule.model_validate({"name": name, "when": list(when), "action": "invite", **more})


def value(condition: Any, facts: dict[str, dict[str, Any]]) -> bool | None:
    """A condition's value, in the plainest way: None where facts do not tell."""
    if isinstance(condition, str):
        path, test = {
            "order.placed": ("order.placed", lambda v: v),
            "chat.open": ("chat.open", lambda v: v),
            "visit.pages >= 3": ("visit.pages", lambda v: v >= 3),
            "!chat.talked": ("chat.talked", lambda v: not v),
            "visit.pages * 2 > 4": ("visit.pages", lambda v: v * 2 > 4),
        }[condition]
        group, name = path.split(".")
        known = facts.get(group, {}).get(name)
        return None if known is None else test(known)
    [(kind, held)] = condition.items()
    if kind == "not":
        inner = value(held, facts)
        return None if inner is None else not inner
    values = [value(one, facts) for one in held]
    if kind == "all":
        return False if False in values else None if None in values else True
    return True if True in values else None if None in values else False


def nested(depth: int) -> Any:
    condition: Any = "chat.open"
    for _ in range(depth):
        condition = {"any": [condition]}
    return condition


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(CONDITION, max_size=3), min_size=1, max_size=6), FACTS)
def test_the_first_rule_acts_of_which_everything_is_true(
    whens: list[list[Any]], facts: dict[str, dict[str, Any]]
) -> None:
    """In the order of priority, whatever lines rules share and in whichever order they are evaluated."""
    rules = [rule(f"r{n}", *when, priority=-n) for n, when in enumerate(whens)]
    expected = next(
        (one.name for one in rules if all(value(c, facts) is True for c in one.when)),
        None,
    )
    ruleset = RuleSet(rules)
    found = ruleset.decide(facts).rule
    assert (found.name if found else None) == expected
    for explained in ruleset.explain(facts).rules:
        values = [value(c, facts) is True for c in explained.rule.when]
        assert [line.holds for line in explained.lines] == values


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("!chat.talked", False),
        ({"not": "chat.talked"}, False),
        ({"not": {"not": "chat.talked"}}, False),
        ({"any": ["chat.talked", "visit.pages > 1"]}, True),
        ({"any": ["chat.talked", "visit.pages > 9"]}, False),
        ({"not": {"any": ["chat.talked", "visit.pages > 9"]}}, False),
        ({"not": {"all": ["chat.talked", "visit.pages > 9"]}}, True),
        ({"not": "has(chat.talked)"}, True),
        ({"not": "chat.talked && visit.pages > 9"}, True),
    ],
)
def test_a_missing_fact_makes_nothing_true_also_under_not(condition: Any, holds: bool) -> None:
    assert bool(RuleSet([rule("r", condition)]).decide({"visit": {"pages": 3}}).rule) is holds


def test_explain_shows_each_line_with_its_value_and_what_is_missing() -> None:
    when = {"any": ["visit.pages > 5", {"not": "chat.open"}, "cart.value > 1.0"]}
    facts = {"visit": {"pages": 3}, "chat": {"open": False}}
    (explained,) = RuleSet([rule("r", when)]).explain(facts).rules
    (branch,) = explained.lines
    assert isinstance(branch, BranchExplained)
    pages, negated, cart = branch.parts
    assert (branch.kind, branch.holds) == ("any", True)
    assert isinstance(pages, LineExplained)
    assert (pages.holds, pages.facts) == (False, {"visit.pages": 3})
    assert isinstance(negated, BranchExplained)
    assert negated.holds
    assert negated.parts[0].holds is False
    assert isinstance(cart, LineExplained)
    assert cart.missing == ("cart.value",)


def test_a_table_that_waits_is_waited_for() -> None:
    when = {"any": ["visit.seconds >= 60", "page.seconds >= 20"]}
    decision = RuleSet([rule("r", when)]).decide({"visit": {"seconds": 10}, "page": {"seconds": 5}})
    assert decision.retry_after == 15.0
    when = {"not": {"all": ["visit.seconds < 60", "visit.pages > 0"]}}
    assert RuleSet([rule("r", when)]).decide({"visit": {"seconds": 10, "pages": 1}}).retry_after == 50.0


@pytest.mark.parametrize(
    ("condition", "place", "text"),
    [
        ({"any": []}, ("when", 0, "any"), "not empty"),
        ({"any": "chat.open"}, ("when", 0, "any"), "must be a list"),
        ({"any": ["chat.open"], "all": ["chat.open"]}, ("when", 0), "one of `all`, `any` and `not`"),
        ({"not": ["chat.open"]}, ("when", 0, "not"), "must be a line, or a table"),
        (
            {"any": ["chat.open", {"not": "chat.opn"}]},
            ("when", 0, "any", 1, "not"),
            "unknown fact `chat.opn`",
        ),
        (nested(DEPTH + 1), ("when", 0, *["any", 0] * DEPTH), f"nested {DEPTH} deep"),
    ],
)
def test_a_wrong_table_is_reported_at_its_place(condition: Any, place: tuple[Any, ...], text: str) -> None:
    with pytest.raises(RuleErrors) as caught:
        RuleSet([rule("r", condition)])
    (problem,) = caught.value.problems
    assert problem.place == place
    assert text in problem.message


def test_lines_in_tables_count_towards_the_bound() -> None:
    with pytest.raises(RuleErrors, match="at most"):
        RuleSet([rule("r", {"any": ["true"] * LINES}, "true")])
    assert RuleSet([rule("r", nested(DEPTH))]).decide({"chat": {"open": True}}).rule
