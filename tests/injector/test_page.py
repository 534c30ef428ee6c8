"""Facts from a copy of a page: a hint, read within bounds whatever the page holds."""

import subprocess
import sys
import time
from decimal import Decimal

import pytest
from clew.injector.page import JSON, OBJECTS, SCRIPTS, TEXT, read
from clew.injector.selectors import SELECTOR, selector_error
from hypothesis import given, settings
from hypothesis import strategies as st


def ld(*texts: str, kind: str = "application/ld+json") -> bytes:
    return "".join(f"<script type='{kind}'>{text}</script>" for text in texts).encode()


@pytest.mark.parametrize(
    ("html", "selector", "text"),
    [
        ("<p id=a> 12,90&nbsp;€\n <b>x</b></p>", "#a", "12,90 € x"),
        ('<meta property="og:title" content=" Tea  pot ">', 'meta[property="og:title"]', "Tea pot"),
        ("<input name=id value=4711>", "input[name=id]", "4711"),
        ("<data class=p value=9.90>nine</data>", "data.p", "9.90"),
        ("<p class=x></p><p class=x> </p><p class=x>y</p>", ".x", "y"),
        ("<p>x</p>", ".none", None),
        ("<p class=x></p>", ".x", None),
        ("<meta name=a><meta name=a content>", "meta", None),
        ("<p>x</p>", "p[", None),
        ("<p>x</p>", "p\ud800", None),
        ("<TITLE>A\n B</TITLE>", "title", "A B"),
        ("<a>1<!-- 2 -->3</a>", "a", "13"),
    ],
)
def test_text_of_a_selector(html: str, selector: str, text: str | None) -> None:
    assert read(html.encode(), "utf-8").text(selector) == text


def test_title_is_that_of_the_page_and_never_none() -> None:
    assert read("<title> Käse\n&amp; Brot </title>".encode(), None).title == "Käse & Brot"
    assert read(b"", None).title == ""
    assert read(b"<p>no title</p>", None).title == ""


def test_text_is_bounded() -> None:
    assert read(b"<p>" + b"x" * (TEXT + 100), None).text("p") == "x" * TEXT


@pytest.mark.parametrize(
    ("html", "objects"),
    [
        (ld('{"@type": "Order", "a": 1}'), [{"@type": "Order", "a": 1}]),
        (ld('{"a": 1}', '{"b": 2}'), [{"a": 1}, {"b": 2}]),
        (ld('[{"a": 1}, [{"b": 2}], 3, "x"]'), [{"a": 1}, {"b": 2}]),
        (ld('{"@context": "x", "@graph": [{"a": 1}, {"b": 2}]}'), [{"a": 1}, {"b": 2}]),
        (ld('{"@graph": {"a": 1}}'), [{"a": 1}]),
        (ld('{"@graph": "x"}'), [{"@graph": "x"}]),
        (ld('{"a": 1,}', '{"b": 2}'), [{"b": 2}]),
        (ld("not json", "", "5", '"x"', "null"), []),
        (ld('{"a": "line\nbreak\ttab"}'), [{"a": "line\nbreak\ttab"}]),
        (ld('<!-- {"a": 1} -->'), [{"a": 1}]),
        (ld('\n//<![CDATA[\n{"a": 1}\n//]]>\n'), [{"a": 1}]),
        (ld('/*<![CDATA[*/{"a": 1}/*]]>*/'), [{"a": 1}]),
        (ld('{"a": 1};'), [{"a": 1}]),
        (ld('{"a": 1}', kind="Application/LD+JSON; charset=utf-8"), [{"a": 1}]),
        (ld('{"a": 1}', kind="application/json"), []),
        (b"<script>{}</script>" + ld('{"a": 1}'), [{"a": 1}]),
        (ld('{"price": 12.30}'), [{"price": Decimal("12.30")}]),
        (ld('{"a": "&quot;"}'), [{"a": "&quot;"}]),
        (ld("[" * 100_000), []),
        (ld('{"a":' * 50_000), []),
        (ld("1" * 10_000), []),
        (ld("1e999999999999999999999"), []),
    ],
)
def test_structured_data_is_laid_flat_and_what_is_no_json_left_out(
    html: bytes, objects: list[object]
) -> None:
    assert read(html, None).jsonld() == objects


def test_fractions_are_never_floats() -> None:
    (found,) = read(ld('{"price": 0.1}'), None).jsonld()
    assert found["price"] + found["price"] + found["price"] == Decimal("0.3")


def test_structured_data_is_bounded() -> None:
    assert len(read(ld("[" + ",".join(["{}"] * (OBJECTS + 5)) + "]"), None).jsonld()) == OBJECTS
    assert len(read(ld(*["{}"] * (SCRIPTS + 5)), None).jsonld()) == SCRIPTS
    assert read(ld('{"a": 1}', '{"b": "%s"}' % ("x" * JSON), '{"c": 3}'), None).jsonld() == [{"a": 1}]


RUNAWAYS = {
    "nested": b"<div>" * 100_000,
    "nested and closed": b"<div>" * 40_000 + b"</div>" * 40_000,
    "made anew": b"<p>" + b"".join(b"<b a=%d>" % n for n in range(900)) + b"<p>x" * 20_000,
    "behind a script": b"<script>x</script>" + b"<div>" * 100_000,
    "behind a comment": b"<!-- x -->" + b"<ul>" * 100_000,
    "open scripts": b"<div>" * 5000 + b"<script" * 60_000,
    "in lists": b"<ul><li>" * 50_000,
    "white space in a script": b"<script type=application/ld+json>" + b" " * 200_000 + b"x</script>",
}


@pytest.mark.parametrize("name", RUNAWAYS)
def test_page_that_would_make_the_parser_run_away_reads_as_empty(name: str) -> None:
    began = time.process_time()
    document = read(b"<title>x</title>" + RUNAWAYS[name], None)
    assert document.jsonld() == []
    assert time.process_time() - began < 1.0
    assert document.title == ("x" if "white space" in name else "")


def test_large_ordinary_page_is_read() -> None:
    card = (
        b"<li class=card><a href=/p><img src=a.jpg><h3>Tea <b>pot</b></h3><p>39,90 <i>EUR</i></a>"
        b"<svg><path d=x /><path d=y /></svg><script>for(i=0;i<n;i++)x+='<div>'</script><br></li>"
    )
    page = b"<title>All</title><body>" + b"<div class=x>" * 40 + b"<ul>" + card * 3000
    document = read(page, None)
    assert document.title == "All"
    assert document.text(".card h3") == "Tea pot"


GOOD_SELECTORS = [
    "#order-id",
    ".order .total > strong",
    'meta[property="og:price:amount" i]',
    "tr:nth-child(2n+1) td:last-child",
    "div:has(> p)",
    "a:not([href]), b",
    ".Ä",
    "dl dt + dd ~ dd",
]
BAD_SELECTORS = [
    "",
    "  ",
    "p >",
    "p[",
    "::",
    "p::before",
    "a,,b",
    "#",
    "td:contains('x')",
    "{",
    "<b>",
    "$x",
    "a > > b",
    "'",
    "@media",
]


@pytest.mark.parametrize("selector", GOOD_SELECTORS)
def test_good_selector_has_no_error(selector: str) -> None:
    assert selector_error(selector) is None


@pytest.mark.parametrize("selector", BAD_SELECTORS)
def test_bad_selector_is_named(selector: str) -> None:
    error = selector_error(selector)
    assert error is not None
    assert "selector" in error


@pytest.mark.parametrize("selector", ["p\0", "a\ud800", "a\nb", "x" * (SELECTOR + 1)])
def test_selector_that_nobody_writes_is_refused_before_the_parser_sees_it(selector: str) -> None:
    assert selector_error(selector) is not None


CRASH = """
from clew.injector.selectors import selector_error
for part, closing in [(":not(", ")"), (":has(", ")"), ("a ", ""), ("[", "]"), ("*|*", ""), (">", "")]:
    selector_error(part * 190 + "a" + closing * 190)
print("alive")
"""


def test_no_selector_crashes_the_process() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", CRASH], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "alive\n")


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from([None, "utf-8", "utf-16", "shift_jis", "nonsense", "hex", "idna"]),
)
def test_any_bytes_are_read_as_a_page(copy: bytes, charset: str | None) -> None:
    document = read(copy, charset)
    assert isinstance(document.title, str)
    assert isinstance(document.jsonld(), list)
    document.text("p")


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
def test_selector_without_error_can_be_asked(selector: str) -> None:
    document = read(b"<p class=a id=b>x</p>", None)
    if selector_error(selector) is not None:
        return
    assert document.text(selector) in (None, "x")
