"""Lines that are evaluated without the engine have the value that the engine finds, or none as there."""

from typing import Any

import pytest
from clew.rules.conditions import compile_line
from clew.rules.evaluation import Moment, Plan

NUMBERS: list[Any] = [None, -1, 0, 3, 2**60, True, 3.0, "3"]
DOUBLES: list[Any] = [None, 0.0, 199.99, 200, 200.5, float("nan"), float("inf"), "200.0"]
TEXTS: list[Any] = [None, "", "/cart", "/Cart/x", "é/cart", "\ud800/cart", 3]
ORDER = ("==", "!=", "<", "<=", ">", ">=")
NUMBER_LINES = [f"visit.pages {op} {n}" for op in ORDER for n in ("3", "2.5")]
NUMBER_LINES += ["3 < visit.pages", "3 >= visit.pages", "visit.pages > 1 && visit.pages != 3"]
TEXT_LINES = [f'visit.landing {op} "/cart"' for op in ORDER]
TEXT_LINES += [f'visit.landing.{method}("/cart")' for method in ("startsWith", "endsWith", "contains")]
TEXT_LINES += ['visit.landing.contains("?")', 'visit.landing in ["/cart", "/x"]', '"/b" < visit.landing']
TEXT_LINES += ['visit.landing == "/cart" || visit.landing.contains("x")', '!(visit.landing == "/cart")']
TEXT_LINES += [
    '!(visit.landing in ["/cart"] && !has(visit.landing))',
    "has(visit.landing)",
    "!has(visit.landing)",
]
TEXT_LINES += [
    r'visit.landing.matches("^/[cé]")',
    'visit.landing.fits("/cart*")',
    '!starts(visit.landing, "/CART")',
]
TEXT_LINES += ['visit.returning || visit.landing == "/cart"', 'visit.landing != "/cart" && visit.returning']
FLAG_LINES = ["visit.returning", "!visit.returning", "visit.returning == false", "true != visit.returning"]
FLAG_LINES += ["visit.returning || !visit.returning", "!visit.returning && visit.returning"]
LINES = {
    "visit.pages": (NUMBERS, NUMBER_LINES),
    "cart.value": (DOUBLES, [f"cart.value {op} 200.0" for op in ORDER]),
    "visit.landing": (TEXTS, TEXT_LINES),
    "visit.returning": ([None, True, False, 1, "true"], FLAG_LINES),
}


@pytest.mark.parametrize(("fact", "value"), [(f, v) for f, (values, _) in LINES.items() for v in values])
def test_a_line_has_the_value_that_the_engine_finds(fact: str, value: Any) -> None:
    group, name = fact.split(".")
    facts: dict[str, dict[str, Any]] = {group: {name: value} if value is not None else {}}
    conditions = [compile_line(line) for line in LINES[fact][1]]
    plan = Plan(conditions)
    for number, condition in enumerate(conditions):
        value = condition.value(Moment(conditions, plan, facts).context)
        expected = value if isinstance(value, bool) else None
        assert Moment(conditions, plan, facts).truth(number) is expected, condition.text


@pytest.mark.parametrize("query", [{}, {"size": "m"}, {"size": ""}, {"sort": "m"}])
@pytest.mark.parametrize("key", ["size", "sort"])
def test_a_parameter_of_the_page_is_read_as_the_engine_reads_it(query: dict[str, str], key: str) -> None:
    lines = [f'page.query.{key} == "m"', f'page.query["{key}"] != "m"', f'page.query.{key} in ["m", "l"]']
    conditions = [compile_line(line) for line in lines]
    facts, plan = {"page": {"query": query}}, Plan(conditions)
    for number, condition in enumerate(conditions):
        value = condition.value(Moment(conditions, plan, facts).context)
        expected = value if isinstance(value, bool) else None
        assert Moment(conditions, plan, facts).truth(number) is expected, condition.text


def test_the_usual_forms_need_no_engine_and_others_do() -> None:
    usual = ["visit.pages >= 3", 'page.query.sort == "name"', "order.placed", "!chat.open || cart.items == 0"]
    usual += [
        "has(page.type)",
        '!page.path.matches("^/x")',
        'page.url.fits("/x*")',
        'host(page.url, "a.example")',
    ]
    others = ["visit.pages + 1 > 3", "size(page.query) > 1", "visit.pages > cart.items", "has(page.query)"]
    assert all(compile_line(line).direct is not None for line in usual)
    assert all(compile_line(line).direct is None for line in others)
