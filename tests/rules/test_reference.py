"""Random rules have the value that a plain evaluator with three values gives them: true, false, none.

Lines are written from parts whose meaning in Python stands beside their text; each part is evaluated anew,
and a missing fact is None. What the rules do otherwise: they share lines, order them by cost, evaluate most
without the engine, and end early.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from clew.rules.ruleset import RuleSet
from clew.settings.model import Rule
from hypothesis import example, given, settings
from hypothesis import strategies as st

Facts = Mapping[str, Mapping[str, Any]]
Value = bool | None


@dataclass(frozen=True)
class Part:
    """A part of a line, or a condition in TOML, and its value."""

    written: Any
    value: Callable[[Facts], Value]

    def __repr__(self) -> str:
        return repr(self.written)


def about(text: str, path: str, test: Callable[[Any], bool | None], key: str | None = None) -> Part:
    """A part that has a value if the fact is known."""
    group, name = path.split(".")

    def value(facts: Facts) -> Value:
        known = facts.get(group, {}).get(name)
        if key is not None and known is not None:
            known = known.get(key)
        return None if known is None else test(known)

    return Part(text, value)


def known(path: str, key: str | None = None) -> Part:
    """Whether a fact is known; of a map that is not known, no parameter is."""
    group, name = path.split(".")

    def value(facts: Facts) -> Value:
        held = facts.get(group, {}).get(name)
        return held is not None if key is None else key in (held or {})

    return Part(f"has({path})" if key is None else f"has({path}.{key})", value)


NUMBERS = ("visit.pages", "cart.items", "invite.seconds", "touch.age_days")
COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
compared = st.builds(
    lambda path, sign, number: about(f"{path} {sign} {number}", path, lambda v: COMPARISONS[sign](v, number)),
    st.sampled_from(NUMBERS),
    st.sampled_from(sorted(COMPARISONS)),
    st.integers(0, 4),
)
mirrored = st.builds(
    lambda path, sign, number: about(f"{number} {sign} {path}", path, lambda v: COMPARISONS[sign](number, v)),
    st.sampled_from(NUMBERS),
    st.sampled_from(sorted(COMPARISONS)),
    st.integers(0, 4),
)
TEXT = "page.title"
FIXED = [
    about("order.placed", "order.placed", lambda v: v),
    about("chat.open", "chat.open", lambda v: v),
    about("chat.open == false", "chat.open", lambda v: not v),
    about("cart.value > 1.5", "cart.value", lambda v: v > 1.5),
    about(f'{TEXT} == "Sale"', TEXT, lambda v: v == "Sale"),
    about(f'{TEXT}.startsWith("Sa")', TEXT, lambda v: v.startswith("Sa")),
    about(f'{TEXT}.contains("al")', TEXT, lambda v: "al" in v),
    about(f'{TEXT} in ["Sale", "b"]', TEXT, lambda v: v in ("Sale", "b")),
    about(f'{TEXT}.matches("^[a-z]+$")', TEXT, lambda v: v.isascii() and v.isalpha() and v.islower()),
    about(f'in_list({TEXT}, ["SALE", "x"])', TEXT, lambda v: v.lower() in ("sale", "x")),
    about(f'glob({TEXT}, "s*")', TEXT, lambda v: v.lower().startswith("s")),
    about(f'contains_any({TEXT}, ["LE", "b"])', TEXT, lambda v: "le" in v.lower() or "b" in v.lower()),
    about('within_last(touch.age_days, "3d")', "touch.age_days", lambda v: v < 3),
    about("within_last(invite.seconds, 2)", "invite.seconds", lambda v: v <= 2),
    about('page.query.size == "m"', "page.query", lambda v: v == "m", "size"),
    # What only the engine evaluates.
    about("visit.pages * 2 > 4", "visit.pages", lambda v: v * 2 > 4),
    about(f"size({TEXT}) > 1", TEXT, lambda v: len(v) > 1),
    about("10 / cart.items > 2", "cart.items", lambda v: None if v == 0 else 10 // v > 2),
    *map(known, (*NUMBERS, TEXT, "chat.open", "cart.value")),
    known("page.query", "size"),
]


def both(left: Part, right: Part) -> Part:
    return Part(
        f"({left.written} && {right.written})", lambda facts: lowest([left.value(facts), right.value(facts)])
    )


def either(left: Part, right: Part) -> Part:
    return Part(
        f"({left.written} || {right.written})", lambda facts: highest([left.value(facts), right.value(facts)])
    )


def lowest(values: list[Value]) -> Value:
    return False if False in values else None if None in values else True


def highest(values: list[Value]) -> Value:
    return True if True in values else None if None in values else False


def opposite(value: Value) -> Value:
    return None if value is None else not value


def otherwise(test: Part, then: Part, other: Part) -> Part:
    def value(facts: Facts) -> Value:
        found = test.value(facts)
        return None if found is None else then.value(facts) if found else other.value(facts)

    return Part(f"({test.written} ? {then.written} : {other.written})", value)


LINE: st.SearchStrategy[Part] = st.recursive(
    st.sampled_from(FIXED) | compared | mirrored,
    lambda inner: (
        st.builds(both, inner, inner)
        | st.builds(either, inner, inner)
        | st.builds(lambda one: Part(f"!({one.written})", lambda facts: opposite(one.value(facts))), inner)
        | st.builds(otherwise, inner, inner, inner)
    ),
    max_leaves=5,
)


def table(kind: str, parts: list[Part]) -> Part:
    joined = lowest if kind == "all" else highest
    return Part(
        {kind: [one.written for one in parts]}, lambda facts: joined([one.value(facts) for one in parts])
    )


CONDITION: st.SearchStrategy[Part] = st.recursive(
    LINE,
    lambda inner: (
        st.builds(table, st.sampled_from(["all", "any"]), st.lists(inner, min_size=1, max_size=3))
        | st.builds(lambda one: Part({"not": one.written}, lambda facts: opposite(one.value(facts))), inner)
    ),
    max_leaves=4,
)
FACTS = st.fixed_dictionaries(
    {},
    optional={
        "order": st.fixed_dictionaries({}, optional={"placed": st.booleans()}),
        "chat": st.fixed_dictionaries({}, optional={"open": st.booleans()}),
        "visit": st.fixed_dictionaries({}, optional={"pages": st.integers(0, 5)}),
        "invite": st.fixed_dictionaries({}, optional={"seconds": st.integers(0, 5)}),
        "touch": st.fixed_dictionaries({}, optional={"age_days": st.integers(0, 5)}),
        "cart": st.fixed_dictionaries(
            {}, optional={"items": st.integers(0, 5), "value": st.floats(0, 3, allow_nan=False)}
        ),
        "page": st.fixed_dictionaries(
            {},
            optional={
                "title": st.sampled_from(["", "Sale", "SALE", "sale", "b", "ab"]),
                "query": st.fixed_dictionaries({}, optional={"size": st.sampled_from(["m", "l"])}),
            },
        ),
    },
)
MISSING = about("order.placed", "order.placed", lambda v: v)
TRUE = about("visit.pages == 1", "visit.pages", lambda v: v == 1)


@settings(max_examples=200)
@given(st.lists(st.lists(CONDITION, min_size=1, max_size=3), min_size=1, max_size=5), FACTS)
@example([[either(MISSING, TRUE)]], {"visit": {"pages": 1}})
@example([[table("any", [MISSING, TRUE])], [MISSING]], {"visit": {"pages": 1}})
@example([[Part("!has(page.query.size)", lambda facts: True)]], {})
@example(
    [[both(Part("!has(page.query.size)", lambda facts: True), Part("size('a') == 1", lambda _: True))]], {}
)
def test_rules_have_the_value_of_a_plain_evaluator(whens: list[list[Part]], facts: dict[str, Any]) -> None:
    """Of the decision, and of each line of the explanation."""
    rules = [
        Rule.model_validate(
            {"name": f"r{n}", "when": [one.written for one in when], "action": "hide", "priority": -n}
        )
        for n, when in enumerate(whens)
    ]
    expected = [[one.value(facts) for one in when] for when in whens]
    ruleset = RuleSet(rules)
    found = ruleset.decide(facts).rule
    first = next((n for n, values in enumerate(expected) if lowest(values) is True), None)
    assert (found.name if found else None) == (None if first is None else f"r{first}")
    explained = {one.rule.name: [line.holds for line in one.lines] for one in ruleset.explain(facts).rules}
    assert explained == {f"r{n}": [one is True for one in values] for n, values in enumerate(expected)}
