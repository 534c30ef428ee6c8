"""Rules as a text of their own: read, written, and changed rule by rule."""

import tomllib
from datetime import date
from typing import Any

import pytest
from clew.settings import rule_text
from clew.settings.load import SettingsErrors
from clew.settings.model import Rule
from clew.settings.rule_changes import changes_between
from clew.settings.rule_text import RuleText, table_of, table_text, text_of
from hypothesis import given
from hypothesis import strategies as st

TEXT = """# Ours.
[[rules]]
name = "first"  # the one
when = [
  "visit.pages > 2",  # not at once
]
action = "invite"

# About the second.
[[rules]]
name = "second"
action = "show"
[rules.text]
en = '''
# no comment
'''

# The end.
"""


def problems(text: str) -> list[tuple[int | None, str]]:
    with pytest.raises(SettingsErrors) as error:
        RuleText.read(text)
    return [(one.line, one.message) for one in error.value.problems]


def test_what_is_no_rules_is_told_with_its_line() -> None:
    assert problems("[[rules]]\nname = \n")[0][0] == 2
    assert problems("a = 1\n[[rules]]\n") == [(1, "only [[rules]] may stand here")]
    assert problems('[[sites.rules]]\nname = "a"\n') == [
        (1, "these are rules of one site, without their site")
    ]
    assert problems("[rules]\nname = 1\n") == [(1, "must be a list")]
    assert problems("a = '\udc80'") == [(None, "is not UTF-8")]
    assert "at most" in problems("#" * (rule_text.LONGEST + 1))[0][1]
    assert problems("a = " + "[" * 9000)[0][0] in (1, None)
    assert "digits" in problems("[[rules]]\npriority = " + "9" * 5000)[0][1]
    # tomllib takes minutes for half a megabyte of this.
    for part in ("a", '"a b"', "'a'"):
        deep = " . ".join([part] * 40_000)
        for text in (f"[[rules]]\n{deep} = 1", f"\n[{deep}]", f"\nx = {{ {deep} = 1 }}"):
            assert problems(text) == [(2, "is nested too deeply")]
    assert RuleText.read("").tables == []
    assert RuleText.read("\ufeff# nothing\r\n").text == "# nothing\n"


def test_one_rule_is_changed_and_the_rest_stays_as_it_was_written() -> None:
    text = RuleText.read(TEXT)
    changed = text.with_rule(0, {"name": "first", "action": "hide", "priority": 5})
    assert changed == TEXT.replace(
        TEXT[TEXT.index("[[rules]]") : TEXT.index("\n# About")],
        '[[rules]]\nname = "first"\naction = "hide"\npriority = 5\n',
        1,
    )
    changed = text.with_rule(1, {"name": "second", "action": "hide"})
    assert changed.startswith(TEXT[: TEXT.index('name = "second"')])
    assert changed.endswith('[[rules]]\nname = "second"\naction = "hide"\n\n# The end.\n')
    added = text.with_rule(None, {"name": "third", "action": "show"})
    assert added == TEXT + '\n[[rules]]\nname = "third"\naction = "show"\n'
    assert RuleText.read("").with_rule(None, {"name": "a"}) == '[[rules]]\nname = "a"\n'
    assert [t["name"] for t in RuleText.read(text.without_rule(0)).tables] == ["second"]
    assert "# Ours." in text.without_rule(0)
    assert "# About the second." in text.without_rule(0)
    inline = RuleText.read('rules = [{ name = "a" }, { name = "b" }]')
    assert [t["name"] for t in RuleText.read(inline.without_rule(0)).tables] == ["b"]
    assert RuleText.read(inline.with_rule(1, {"name": "c"})).tables == [{"name": "a"}, {"name": "c"}]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.recursive(
    st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | st.dates(min_value=date(1000, 1, 1)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
tables = st.lists(st.dictionaries(texts, values, max_size=4), max_size=4)


@given(tables)
def test_any_values_are_written_so_that_they_are_read_again(given: list[dict[str, Any]]) -> None:
    assert tomllib.loads(text_of(given)).get("rules", []) == given


@given(tables, tables, st.data(), st.sampled_from(["\n", "\n# [[rules]]\n", "\n\n#\n", ""]))
def test_a_change_of_one_rule_changes_no_other(
    given: list[dict[str, Any]], others: list[dict[str, Any]], data: st.DataObject, between: str
) -> None:
    text = RuleText.read(between.join(map(table_text, given)) + between)
    place = data.draw(st.none() | st.integers(0, len(given) - 1)) if given else None
    table = others[0] if others else {}
    changed = RuleText.read(text.with_rule(place, table)).tables
    expected = [*given]
    expected[len(given) if place is None else place : len(given) if place is None else place + 1] = [table]
    assert changed == expected
    if place is not None:
        expected.pop(place)
        assert RuleText.read(text.without_rule(place)).tables == expected


def test_a_rule_of_the_settings_is_written_with_the_keys_that_it_has() -> None:
    table = {
        "name": "a",
        "action": "invite",
        "when": ["visit.pages > 2", {"any": ["cart.items > 0", {"not": "chat.open"}]}],
        "text": {"en": 'A "word"?', "de": "Ein Wort?"},
        "starts": date(2026, 12, 24),
        "hours": {"mon": ["09:00-17:30"]},
        "variants": [{"name": "b", "text": "B"}],
        "share": 50.0,
    }
    written = text_of([table_of(Rule.model_validate(table))])
    again = tomllib.loads(written)["rules"][0]
    assert again == table
    assert Rule.model_validate(again) == Rule.model_validate(table)


def test_changes_are_told_by_rule_and_key() -> None:
    before = [
        {"name": "a", "action": "show", "when": ["x", "y"]},
        {"name": "b", "action": "show", "share": 50},
        {"name": "gone", "action": "hide"},
    ]
    after = [
        {"name": "b", "action": "show", "share": 50.0},
        {"name": "a", "action": "show", "when": ["x", "z"], "priority": 3},
        {"name": "new", "action": "hide"},
    ]
    lines = [line for one in changes_between(before, after) for line in one.lines()]
    assert lines == [
        "a: changed",
        '  - when = "y"',
        '  + when = "z"',
        "  + priority = 3",
        "gone: removed",
        '  - action = "hide"',
        "new: added",
        '  + action = "hide"',
    ]
    assert changes_between(before, before[::-1]) == []
