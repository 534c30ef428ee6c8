"""The scanner against two parsers: html5lib, which builds the tree, and lol-html, which streams."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import html5lib
import lolhtml
import pytest
from clew.injector.scanner import Scanner
from hypothesis import assume, given, settings
from hypothesis import strategies as st

PAGES = [path.read_bytes() for path in sorted((Path(__file__).parent / "pages").glob("*.html"))]
TAG = b'<script data-clew="9"></script>'
XHTML = "{http://www.w3.org/1999/xhtml}"

PIECES = [
    *(b"<!doctype html>", b"<!DOCTYPE html SYSTEM 'about:legacy-compat'>", b"<!doctype>", b"<!doctype x>"),
    *(b"<html>", b"<html lang=de>", b"<html data-a='>' b>", b'<html c=">"d/>', b"</html>"),
    *(b"<head>", b"<head/>", b"<HEAD\na=<head>>", b"</head>", b"</head >"),
    *(b"<body>", b"</body>", b"<frameset>", b"<title>", b"</title>", b"<p>", b"</p>", b"<br>", b"</br>"),
    *(
        b"<script>",
        b"</script>",
        b"<style>",
        b"</style>",
        b"<noscript>",
        b"<template>",
        b"</template>",
        b"<link>",
    ),
    *(
        b"<svg>",
        b"<math>",
        b"<table>",
        b"<select>",
        b"<textarea>",
        b"<plaintext>",
        b"<h1>",
        b"<header>",
        b"<htmlx>",
    ),
    *(
        b"<!--",
        b"-->",
        b"--!>",
        b"<!-->",
        b"<!--->",
        b"<!-- a -->",
        b"<!---- -->",
        b"<!--[if IE]><!-->",
        b"-",
        b"!",
    ),
    *(
        b"<!x>",
        b"<?x?>",
        b"</3>",
        b"</>",
        b"<![CDATA[",
        b"]]>",
        b"<",
        b"</",
        b"<!",
        b"<a",
        b"<html",
        b"<head",
        b"<!d",
    ),
    *(
        b">",
        b'"',
        b"'",
        b"=",
        b"/",
        b" ",
        b"\n",
        b"\t",
        b"\f",
        b"x",
        b"\0",
        b"\xc3\xa9",
        b"\xef\xbb\xbf",
        b"&lt;",
    ),
]

pages = st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join)
likely_pages = st.tuples(st.sampled_from([b"<!doctype html>", b"<html>", b"<head>", b""]), pages).map(
    b"".join
)


@st.composite
def mutated_pages(draw: st.DrawFn) -> bytes:
    """A shop's page with a few bytes cut out, doubled or replaced near its start."""
    page = bytearray(draw(st.sampled_from(PAGES)))
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, min(len(page), 200)))
        page[at : at + draw(st.integers(0, 6))] = draw(
            st.one_of(st.sampled_from(PIECES), st.binary(max_size=3))
        )
    return bytes(page)


def scan(chunks: list[bytes]) -> Scanner:
    scanner = Scanner()
    for chunk in chunks:
        scanner.feed(chunk)
    scanner.end()
    return scanner


def split(body: bytes, cuts: list[int]) -> Iterator[bytes]:
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    return (body[a:b] for a, b in pairwise(edges))


class OracleError(Exception):
    """html5lib has given up on a page, as it does on some within tables and foreign elements."""


def tree(body: bytes) -> Any:
    if b"<!--\0" in body:
        # In html5lib a comment that begins with NUL still counts as just begun, so that ">" ends it.
        raise OracleError
    try:
        return html5lib.parse(body, transport_encoding="utf-8", namespaceHTMLElements=True, scripting=True)
    except (AssertionError, AttributeError, IndexError, TypeError) as error:
        raise OracleError from error


def serialized(root: Any) -> list[tuple[Any, ...]]:
    """The tree as a flat list, neighbouring texts as one."""
    flat: list[tuple[Any, ...]] = []

    def text(value: str | None) -> None:
        if not value:
            return
        if flat and flat[-1][0] == "text":
            flat[-1] = ("text", flat[-1][1] + value)
        else:
            flat.append(("text", value))

    def walk(node: Any) -> None:
        flat.append(("open", str(node.tag), tuple(sorted(node.attrib.items()))))
        text(node.text)
        for child in node:
            walk(child)
            text(child.tail)
        flat.append(("close",))

    walk(root)
    return flat


def check_by_tree(body: bytes) -> None:
    """With the tag at the scanner's place the parser runs it in the head, and sees nothing else changed."""
    scanner = scan([body])
    if scanner.place is None:
        return
    edited = body[: scanner.place] + TAG + body[scanner.place :]
    root = tree(edited)
    scripts = [(parent, child) for parent in root.iter() for child in parent if child.get("data-clew") == "9"]
    assert len(scripts) == 1, "the tag is not one element"
    parent, script = scripts[0]
    assert script.tag == f"{XHTML}script"
    if not opened_before(body[: scanner.place]):
        assert parent.tag == f"{XHTML}head"
        assert next(child for child in parent if isinstance(child.tag, str)) is script
    remove(parent, script)
    assert serialized(root) == serialized(tree(body))


def opened_before(start: bytes) -> bool:
    """Whether debugging output in front of the doctype has opened the body: then there is no head to be
    in."""
    # The comment makes html5lib decode what may be half a character.
    body = tree(start[: max(0, start.lower().rfind(b"<!doctype"))] + b"<!---->").find(f"{XHTML}body")
    return body is not None and (len(body) > 0 or bool(body.text))


def remove(parent: Any, script: Any) -> None:
    at = list(parent).index(script)
    if at:
        parent[at - 1].tail = (parent[at - 1].tail or "") + (script.tail or "")
    else:
        parent.text = (parent.text or "") + (script.tail or "")
    parent.remove(script)


@pytest.mark.parametrize("page", PAGES)
def test_tag_runs_in_the_head_of_pages_of_shops(page: bytes) -> None:
    """injection 1.19, 7.4: and no other node of the page is changed, added or moved."""
    check_by_tree(page)


@settings(max_examples=1500, deadline=None)
@given(likely_pages)
def test_tag_runs_in_the_head_of_any_page(body: bytes) -> None:
    with suppress(OracleError):
        check_by_tree(body)


@settings(max_examples=700, deadline=None)
@given(mutated_pages())
def test_tag_runs_in_the_head_of_broken_pages(body: bytes) -> None:
    with suppress(OracleError):
        check_by_tree(body)


@settings(max_examples=700, deadline=None)
@given(
    st.one_of(likely_pages, mutated_pages(), st.binary(max_size=80)),
    st.lists(st.integers(0, 10_000), max_size=12),
)
def test_place_does_not_depend_on_chunks(body: bytes, cuts: list[int]) -> None:
    whole, cut = scan([body]), scan(list(split(body, cuts)))
    assert (whole.place, whole.reason) == (cut.place, cut.reason)


class FirstHead:
    """A handler of lol-html that puts the tag into the first `head` element."""

    def __init__(self) -> None:
        self.seen = False

    def element(self, element: lolhtml.Element) -> None:
        if not self.seen:
            element.prepend(TAG.decode(), lolhtml.ContentType.HTML)
        self.seen = True


def by_lolhtml(body: bytes) -> int | None:
    """Where lol-html puts the tag into the first `head` element; None where it finds none or refuses the
    page."""
    out: list[bytes] = []
    rewriter = lolhtml.HTMLRewriter(lambda chunk: out.append(bytes(chunk)))
    rewriter.on("head", FirstHead())
    try:
        rewriter.write(body)
        rewriter.end()
    except RuntimeError:
        return None  # its strict mode, where a page is ambiguous
    edited = b"".join(out)
    place = edited.find(TAG)
    assert edited.replace(TAG, b"") == body
    return None if place < 0 else place


@pytest.mark.parametrize("page", PAGES)
def test_place_is_that_of_lol_html(page: bytes) -> None:
    scanner = scan([page])
    if scanner.place is not None and page[: scanner.place].endswith(b">"):
        assert by_lolhtml(page) == scanner.place


@pytest.mark.slow
@settings(max_examples=1500, deadline=None)
@given(st.one_of(likely_pages, mutated_pages()))
def test_place_after_a_head_is_that_of_lol_html(body: bytes) -> None:
    """injection 10."""
    place, theirs = scan([body]).place, by_lolhtml(body)
    assume(place is not None)
    # Without a head lol-html puts nothing anywhere; a head that comes too late it takes for one.
    if place is not None and theirs is not None and theirs <= place:
        assert theirs == place
