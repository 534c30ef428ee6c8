"""clew's own functions of lines, compared with a plain reading; and what is said of wrong ones."""

import re
from functools import cache
from typing import Any
from unicodedata import normalize

import pytest
from clew.rules.conditions import ConditionError, compile_line
from clew.rules.evaluation import Moment, Plan
from clew.rules.helpers import HELPERS, compiled_test
from hypothesis import given, settings
from hypothesis import strategies as st

TEXT = st.text(st.sampled_from("abAB -*?.é\u0301ẞßİ/1_"), max_size=8) | st.text(max_size=8)
SOME = TEXT.filter(bool)


def plain(text: str) -> str:
    return normalize("NFC", text.casefold())


@cache
def globs(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return globs(pattern[1:], text) or bool(text and globs(pattern, text[1:]))
    return bool(text) and pattern[0] in ("?", text[0]) and globs(pattern[1:], text[1:])


def words(text: str) -> list[str]:
    return re.findall(r"\w+", plain(text))


def has_words(text: str, value: str) -> bool:
    all_, wanted = words(text), words(value)
    return any(all_[n : n + len(wanted)] == wanted for n in range(len(all_)))


PLAIN: dict[str, Any] = {
    "contains_any": lambda text, value: plain(value) in plain(text),
    "ends": lambda text, value: plain(text).endswith(plain(value)),
    "glob": lambda text, value: globs(plain(value), plain(text)),
    "has_word": has_words,
    "in_list": lambda text, value: plain(value) == plain(text),
    "starts": lambda text, value: plain(text).startswith(plain(value)),
}


@pytest.mark.parametrize("name", PLAIN)
def test_a_function_tests_what_its_plain_reading_says(name: str) -> None:
    @settings(max_examples=150, deadline=None)
    @given(TEXT, st.lists(SOME, min_size=1, max_size=3))
    def check(text: str, values: list[str]) -> None:
        if name == "has_word":
            values = [value for value in values if words(value)] or ["a"]
        expected = any(PLAIN[name](text, value) for value in values)
        assert compiled_test(name, values)(text) is expected
        assert compiled_test(name, values[0])(text) is PLAIN[name](text, values[0])

    check()
    assert set(HELPERS) == {*PLAIN, "host"}


@pytest.mark.parametrize(
    ("url", "host", "expected"),
    [
        ("https://www.google.com/search?q=a", "google.com", True),
        ("https://GOOGLE.com:443/", "google.com", True),
        ("https://google.com.", "google.com", True),
        ("https://notgoogle.com/", "google.com", False),
        ("https://google.com.evil.example/", "google.com", False),
        ("https://evil.example/google.com", "google.com", False),
        ("https://google.com@evil.example/", "google.com", False),
        ("shop.google.com", "google.com", True),
        ("https://bücher.example/", "bücher.example", False),
        ("https://xn--bcher-kva.example/", "bücher.example", True),
        ("https://[::1", "google.com", False),
        ("", "google.com", False),
    ],
)
def test_a_host_is_the_same_or_below(url: str, host: str, expected: bool) -> None:
    assert compiled_test("host", host)(url) is expected


@pytest.mark.parametrize(
    "line",
    [
        'in_list(partner.id, ["A", "b"])',
        '!contains_any(page.title, ["SALE", "rebate"])',
        'glob(campaign.name, "summer-*") || visit.pages > 3',
        'host(touch.referrer, ["google.com", "bing.com"])',
        'has_word(campaign.term, "cheap shoes") && starts(page.path, "/A")',
        '[page.title, page.path].exists(text, ends(text, "Z"))',
    ],
)
def test_the_engine_and_the_way_without_it_agree(line: str) -> None:
    condition = compile_line(line)
    plan = Plan([condition])
    texts = ["", "a", "B", "Sale now", "summer-9", "https://google.com/", "CHEAP  shoes!", "xyz"]
    for text in texts:
        facts: dict[str, dict[str, Any]] = {
            "page": {"title": text, "path": f"/{text}"},
            "partner": {"id": text},
            "campaign": {"name": text, "term": text},
            "touch": {"referrer": text},
            "visit": {"pages": 1},
        }
        by_engine = condition.value(Moment([condition], plan, facts).context)
        assert Moment([condition], plan, facts).truth(0) is by_engine, text


@pytest.mark.parametrize(
    ("line", "at", "text", "hint"),
    [
        ("in_list(partner.id, [])", 20, "the list is empty", "at least one"),
        ('starts(page.path, "")', 18, "an empty text is in every text", "remove it"),
        ('host(page.url, "https://a.example/x")', 15, "is not the name of a host", "host(touch.referrer"),
        ('has_word(page.title, "...")', 21, "is no word", "letters or digits"),
        ("glob(page.title, page.path)", 17, "in quotes", "glob(page.title"),
        ('contains_any(page.title, ["a", page.path])', 25, "in quotes", "contains_any(page.title"),
        ('in_list(visit.pages, ["a"])', 0, "needs a text", "in_list(page.title"),
        ('in_list(page.title)', 0, "needs a text", "in_list(page.title"),
        ('page.title.in_list(["a"])', 0, "unknown function", "write in_list(…)"),
        ('contain_any(page.title, ["a"])', 0, "unknown function", "did you mean contains_any?"),
        (f'glob(page.title, "{"?" * 900}")', 17, "too long together", "fewer or shorter"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place_and_a_hint(line: str, at: int, text: str, hint: str) -> None:
    with pytest.raises(ConditionError) as caught:
        compile_line(line)
    (problem,) = caught.value.problems
    assert problem.at == at
    assert text in problem.message
    assert hint in problem.hint
