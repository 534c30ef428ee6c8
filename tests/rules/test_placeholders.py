"""Placeholders: what is said, and what nobody can make a shop say."""

import unicodedata

import pytest
from clew.rules.placeholders import (
    filled,
    filled_as_known,
    first_name,
    keyword_in,
    names_in,
    needed_in,
    plain_value,
    problems,
    written_in,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Any question about {product}?", "Any question about Mill?"),
        ("Hello {visitor|there}, about {product}?", "Hello there, about Mill?"),
        ("Hello{visitor|}!", "Hello!"),
        ("Hello {visitor}!", None),
        ("{product} {product|x}", "Mill Mill"),
        ("No { braces } here", "No { braces } here"),
    ],
)
def test_a_text_has_values_or_fallbacks_or_is_not_said(text: str, said: str | None) -> None:
    assert filled(text, {"product": "Mill", "visitor": ""}) == said


def test_a_value_with_braces_is_not_looked_through_again() -> None:
    assert filled("{product}", {"product": "{cart}", "cart": "1 €"}) == "{cart}"


def test_a_canned_answer_keeps_its_gaps() -> None:
    text = "{visitor}: {product|it} by {agent|us}"
    assert filled_as_known(text, {"product": "Mill"}) == "{visitor}: Mill by us"
    assert (needed_in(text), written_in(text)) == (
        ["{visitor}"],
        ["{visitor}", "{product|it}", "{agent|us}"],
    )
    assert names_in(text) == {"visitor", "product", "agent"}


@pytest.mark.parametrize("text", ["{name}", "{Product}", "{product|a|b}", "{product |x}", "{}"])
def test_what_is_no_placeholder_is_named(text: str) -> None:
    (problem,) = problems(f"Hello {text}")
    assert problem.startswith(f"{text} is no placeholder; there are {{product}}")
    assert [*problems("{product|this product} {cart}")] == []


HOSTILE = [
    "<script>alert(1)</script>",
    "\u202egnp.exe",
    "one\r\ntwo\u2028three",
    "\x00\x1b[31m",
    "\u2066\u2067\u2068",
    "x" * 5000,
    "\ud800",
    "סיר 5 ₪",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_is_one_short_line_that_turns_nothing_around(value: str) -> None:
    _is_plain(plain_value(value))


@given(st.text(max_size=200))
def test_any_value_is_one_short_line_that_turns_nothing_around(value: str) -> None:
    _is_plain(plain_value(value))


def _is_plain(said: str) -> None:
    inner = said.removeprefix("\u2068").removesuffix("\u2069")
    assert len(inner) <= 60
    assert len(said.splitlines()) <= 1
    assert not any(
        c in "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069" for c in inner
    )
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in inner)
    leftwards = any(unicodedata.bidirectional(c) in ("R", "AL") for c in inner)
    assert (said != inner) == leftwards


def test_a_long_value_ends_at_a_word() -> None:
    assert (
        plain_value("A very long name of a thing " * 5)
        == "A very long name of a thing A very long name of a thing A…"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("cheap RUNNING shoes online", "Running shoes"),
        ("shoes", "shoes"),
        ("running-shoes", "Running shoes"),
        ("horseshoes", ""),
        ("your shop is a scam", ""),
        ("<script>shoes</script>", "shoes"),
        ("", ""),
        ("x" * 10_000, ""),
    ],
)
def test_a_search_says_only_words_of_the_owner(words: str, said: str) -> None:
    assert keyword_in(words, ["shoes", "Running shoes", "!!"]) == said


@given(st.text(max_size=300))
def test_whatever_a_link_says_a_keyword_is_the_owners(words: str) -> None:
    assert keyword_in(words, ["mugs", "coffee mugs"]) in ("", "mugs", "coffee mugs")


@pytest.mark.parametrize("name", ["Anna", "Jean-Luc", "O’Neill", "Łukasz", "陽子", "Anna  Maria", "J. R."])
def test_first_names_of_people_are_said(name: str) -> None:
    assert first_name(name) == " ".join(name.split())


@pytest.mark.parametrize(
    "name", ["", "-", "anna@example.com", "<b>Anna</b>", "Anna 4", "{cart}", "visit evil.example/x", "x" * 41]
)
def test_what_is_no_first_name_is_not_said(name: str) -> None:
    assert first_name(name) == ""
