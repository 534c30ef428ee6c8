"""Facts from a copy of a page: a hint, read within bounds whatever the page holds."""

import subprocess
import sys
from decimal import Decimal

import pytest
from clew.injector.linked import JSON, OBJECTS, SCRIPTS
from clew.injector.markup import PageError
from clew.injector.page import read
from clew.injector.selectors import SELECTOR, selector_error
from clew.injector.shown import BREAK, EDGE, RAISED, TEXT
from costs import assert_linear
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


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        ("<p>€12<sup>99</sup></p>", f"€12{RAISED}99{EDGE}"),
        ("<p><span>35</span><span>00</span></p>", f"{EDGE}35{EDGE}{EDGE}00{EDGE}"),
        ("<p>12<!-- x -->99</p>", "1299"),
        ("<p>12<br>99<div>5</div></p>", f"12{BREAK}99"),
        ("<td>12<table><td>1<td>2</table>3</td>", None),
        ("<p>12<script>9</script><style>8</style>.99</p>", "12.99"),
        ("<p>12\ufdd099</p>", "1299"),
    ],
)
def test_the_edges_of_elements_within_are_shown(html: str, shown: str | None) -> None:
    """field A1"""
    found = read(html.encode(), "utf-8").shown("p")
    assert (found.text if found is not None else None) == shown


SEEN = [
    ("<del>15,99 €</del> <ins>12,99 €</ins>", "12,99 €"),
    ("<s>15</s>12<strike>9</strike>", "12"),
    ("<b class='x line-through'>15</b> 12", "12"),
    ("<b style='color:red;text-decoration: line-through'>15</b> 12", "12"),
    ("<b hidden>15</b> 12", "12"),
    ("<b style='DISPLAY : none !important'>15</b> 12", "12"),
    ("<b style='visibility:hidden'>15</b> 12", "12"),
    ("<b style='display:none-such'>15</b>,00", "15 ,00"),
    ("<b class='d-none'>15</b> 12", "12"),
    ("<b class='hidden md:inline'>15</b> €", "15 €"),
    ("<b class='sr-only'>Was:</b> 12", "12"),
    ("<b class='a-offscreen'>$12.99</b>", "$12.99"),
    ("<b class='price__visually-hidden--inline'>Now</b> 12", "12"),
    ("<b class='screen-reader-text'>Now</b><b hidden>5</b>", "Now"),
    ("<b hidden>5</b>", None),
    ("<del>5</del>", None),
    ("12<del>15</del>99", "12 99"),
]


@pytest.mark.parametrize(("html", "text"), SEEN)
def test_struck_through_and_hidden_text_is_omitted(html: str, text: str | None) -> None:
    assert read(f"<p>{html}</p>".encode(), "utf-8").text("p") == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<del><b>15</b></del><ins><b>12</b></ins>", "12"),
        ("<div hidden><b>15</b></div><b>12</b>", "12"),
        ("<b class=sr-only>15</b><b>12</b>", "12"),
        ("<div style='display: none'><b>15</b></div>", "15"),
        ("<del><b>15</b></del>", None),
    ],
)
def test_a_visible_match_comes_before_a_hidden_one(html: str, text: str | None) -> None:
    """Hidden text may be there for programs; struck-through text never is."""
    assert read(html.encode(), "utf-8").text("b") == text


@pytest.mark.parametrize(
    ("html", "sighted", "aloud"),
    [
        ("<i aria-hidden=true>$12<sup>99</sup></i><i class=sr-only>$12.99</i>", "$12.99", "$12.99"),
        ("<i aria-hidden=true>12</i><i aria-hidden=true>99</i>", "12.99", ""),
        ("<i>15</i><i class=sr-only> less </i><i>12</i>", "", "15 less 12"),
        ("12,99", None, None),
    ],
)
def test_text_for_sighted_readers_and_for_screen_readers_is_kept_apart(
    html: str, sighted: str | None, aloud: str | None
) -> None:
    found = read(f"<p>{html}</p>".encode(), "utf-8").shown("p")
    assert found is not None

    def unmarked(text: str | None) -> str | None:
        marks = {ord(EDGE): "", ord(RAISED): ".", ord(BREAK): ""}
        return (
            text.replace(f"12{EDGE}{EDGE}99", "12.99").translate(marks).strip() if text is not None else None
        )

    assert (unmarked(found.sighted_only), unmarked(found.read_aloud)) == (sighted, aloud)


@pytest.mark.parametrize(
    "piece", ["<i class=a>1</i>", "<sup>1</sup>", "<i aria-hidden=true>1</i>", "<br>", "1 \n "]
)
def test_reading_the_text_of_an_element_takes_linear_time(piece: str) -> None:
    """field E4: selectolax compares nodes by their HTML, which made each step as long as the page."""
    pages = {n: read(f"<div>{piece * n}</div>".encode(), "utf-8") for n in (400, 4000)}
    assert_linear(lambda n: pages[n].shown("div"), 400)


def test_the_content_attribute_and_the_language_are_read_with_the_text() -> None:
    page = "<html lang=de><p itemprop=price content=12.90>12,90</p><div lang=en><meta content=5></div>"
    document = read(page.encode(), "utf-8")
    price = document.shown("p")
    assert price is not None
    assert (price.text, price.from_attribute, price.content, price.language) == (
        "12,90",
        False,
        "12.90",
        "de",
    )
    machine = document.shown("meta")
    assert machine is not None
    assert (machine.text, machine.from_attribute, machine.language) == ("5", True, "en")


HIDDEN = [
    "<script>{}</script>", "<style>{}</style>", "<!--{}-->", "<svg>{}</svg>", "<math>{}</math>",
    "<title>{}</title>", "<textarea>{}</textarea>", "<iframe>{}</iframe>", "<xmp>{}</xmp>", "<![CDATA[{}]]>",
]  # fmt: skip


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("around", ["{}", "<svg>{}</svg>", "<math>{}</math>", "<select>{}</select>"])
def test_markup_inside_scripts_and_comments_does_not_reach_the_parser(hidden: str, around: str) -> None:
    """field E4: markup that is a tag in one tokenizer state and text in another is removed."""
    page = around.format(hidden.format("<b id=evil>")) + "<p>x</p>"
    document = read(page.encode(), None)
    assert not document.has("#evil") or hidden.startswith("<![CDATA")
    assert document.text("p") == "x"


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
        (ld('{"a": 1,}', '{"b": 2}'), [{"a": 1}, {"b": 2}]),
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
def test_structured_data_is_flattened_and_invalid_json_omitted(html: bytes, objects: list[object]) -> None:
    assert read(html, None).jsonld().objects == objects


def test_fractions_are_never_floats() -> None:
    (found,) = read(ld('{"price": 0.1}'), None).jsonld().objects
    assert found["price"] + found["price"] + found["price"] == Decimal("0.3")


def test_structured_data_is_bounded() -> None:
    assert len(read(ld("[" + ",".join(["{}"] * (OBJECTS + 5)) + "]"), None).jsonld().objects) == OBJECTS
    assert len(read(ld(*["{}"] * (SCRIPTS + 5)), None).jsonld().objects) == SCRIPTS
    assert read(ld('{"a": 1}', '{"b": "%s"}' % ("x" * JSON), '{"c": 3}'), None).jsonld().objects == [{"a": 1}]


RUNAWAYS = {
    "nested": b"<div>" * 100_000,
    "nested and closed": b"<div>" * 40_000 + b"</div>" * 40_000,
    "made anew": b"<p>" + b"".join(b"<b a=%d>" % n for n in range(900)) + b"<p>x" * 20_000,
    "attributes": b"<p " + b" ".join(b"a%d" % n for n in range(120_000)) + b">",
    "attributes in quotes": b"<p " + b"".join(b"a%d='<p>'" % n for n in range(300)) + b">",
    "attributes of many bodies": b"<body a b>" * 5_000,
    "options": b"<select>" + b"<option>x" * 10_000,
    "end tags of nothing": b"<x-y>" * 15_000 + b"</z>" * 15_000,
    "closed by another": b"<div></ul>" * 20_000,
    "tags": b"<br>" * 100_000,
    "behind a script": b"<script>x</script>" + b"<div>" * 100_000,
    "behind a script in svg": b"<svg><script></svg><p " + b"a " * 300 + b"></script>" + b"<div>" * 100_000,
    "behind a comment": b"<!-- x -->" + b"<ul>" * 100_000,
    "open scripts": b"<div>" * 5000 + b"<script " * 60_000,
    "in lists": b"<ul><li>" * 50_000,
}


@pytest.mark.parametrize("name", RUNAWAYS)
def test_page_that_is_too_costly_to_parse_is_refused(name: str) -> None:
    """field E4"""
    with pytest.raises(PageError):
        read(b"<title>x</title>" + RUNAWAYS[name], None)


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
def test_extreme_selectors_are_refused_before_parsing(selector: str) -> None:
    assert selector_error(selector) is not None


CRASH = """
from clew.injector.shown import BREAK, EDGE, RAISED, TEXT
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
    assert isinstance(document.jsonld().objects, list)
    document.text("p")


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
def test_a_valid_selector_can_be_evaluated(selector: str) -> None:
    document = read(b"<p class=a id=b>x</p>", None)
    if selector_error(selector) is not None:
        return
    assert document.text(selector) in (None, "x")
