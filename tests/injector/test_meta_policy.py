"""Policies in the head of a page: read, and made longer by exactly what is missing."""

import gzip

import pytest
from clew.injector.codings import decoder
from clew.injector.edit import PageEdit
from clew.injector.meta_policy import MetaPolicies
from hypothesis import given
from hypothesis import strategies as st

NEEDED = {"script-src": ("https://chat.example",), "connect-src": ("wss://chat.example",)}
META = b"""<meta http-equiv="Content-Security-Policy" content="script-src 'self'; connect-src 'self'">"""
LONGER = (
    b"""<meta http-equiv="Content-Security-Policy" content="script-src 'self' https://chat.example;"""
    b""" connect-src 'self' wss://chat.example">"""
)
FORBIDDEN = {"script-src": ("https://chat.example",), "connect-src": ("wss://chat.example",)}


def through(text: bytes, *, extend: bool = True, size: int = 0) -> tuple[bytes, MetaPolicies]:
    metas = MetaPolicies(NEEDED, extend=extend)
    chunks = [text[n : n + size] for n in range(0, len(text), size)] if size else [text]
    return b"".join(metas.feed(chunk) for chunk in chunks) + metas.end(), metas


@pytest.mark.parametrize("size", [0, 1, 2, 7, 50])
def test_each_policy_of_the_head_is_extended_wherever_chunks_end(size: int) -> None:
    before = (
        b"<title>A <b> shop</title>\n<!-- a comment > -->" + META + b"<script>if (a < b) {}</script>" + META
    )
    after = b"</head><body>" + META
    found, metas = through(before + after, size=size)
    assert found == before.replace(META, LONGER) + after
    assert metas.forbidden == FORBIDDEN
    assert metas.done


@pytest.mark.parametrize(
    "page",
    [
        b"<!-- %s --></head>",
        b"<script>'%s'</script></head>",
        b"<noscript>%s</noscript></head>",
        b"<template>%s</template></head>",
        b"<title>%s</title></head>",
        b"</head>%s",
        b"<body>%s",
        b"<div>%s",
        b"text %s",
    ],
)
def test_what_is_no_policy_of_the_page_is_left_as_it_is(page: bytes) -> None:
    text = page % META
    found, metas = through(text)
    assert found == text
    assert metas.forbidden == {}


@pytest.mark.parametrize(
    ("meta", "longer"),
    [
        (
            b"<META HTTP-EQUIV=content-security-policy CONTENT='script-src &#39;self&#39;'/>",
            b"""<META HTTP-EQUIV=content-security-policy CONTENT="script-src 'self' https://chat.example"/>""",
        ),
        (
            b"""<meta content="default-src 'none'" http-equiv=" Content-Security-Policy ">""",
            b"""<meta content="default-src 'none'; script-src https://chat.example; """
            b"""connect-src wss://chat.example" http-equiv=" Content-Security-Policy ">""",
        ),
        (b'<meta name="content" content="script-src">', b'<meta name="content" content="script-src">'),
        (
            b"""<meta http-equiv="Content-Security-Policy" content="img-src 'self'">""",
            b"""<meta http-equiv="Content-Security-Policy" content="img-src 'self'">""",
        ),
        (
            b"<meta http-equiv=Content-Security-Policy content=script-src>",
            b'<meta http-equiv=Content-Security-Policy content="script-src https://chat.example">',
        ),
        (
            b"""<meta http-equiv=Content-Security-Policy data-content="x" content="script-src 'self'">""",
            b"""<meta http-equiv=Content-Security-Policy data-content="x" """
            b"""content="script-src 'self' https://chat.example">""",
        ),
    ],
)
def test_forms_of_the_element(meta: bytes, longer: bytes) -> None:
    assert through(meta + b"</head>")[0] == longer + b"</head>"
    # Once is enough.
    assert through(longer + b"</head>")[0] == longer + b"</head>"


def test_it_is_only_read_where_the_owner_does_not_want_it_extended() -> None:
    text = META + b"</head>"
    found, metas = through(text, extend=False)
    assert (found, metas.forbidden) == (text, FORBIDDEN)


@given(
    text=st.lists(
        st.sampled_from(
            [b"<", b">", b"meta ", b'"', b"'", b"<!--", b"-->", b"<script>", b"</script", b"a", META]
        )
    ),
    size=st.integers(1, 9),
)
def test_bytes_are_never_lost_and_chunks_do_not_matter(text: list[bytes], size: int) -> None:
    whole = b"".join(text)
    assert through(whole, extend=False, size=size)[0] == whole
    assert through(whole, size=size)[0] == through(whole)[0]


def test_what_comes_late_or_is_too_long_is_let_through() -> None:
    for text in (b"<!--" + b" " * 100_000 + META, b"<style>" + b" " * 70_000 + b"</style>" + META):
        assert through(text, size=4096)[0] == text


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize("size", [1, 40, 100_000])
def test_a_page_gets_the_tag_and_longer_policies(coding: str, size: int) -> None:
    page = b"<!doctype html><html><head>" + META + b"</head><body>" + b"text " * 2000 + b"</body></html>"
    body = gzip.compress(page) if coding == "gzip" else page
    edit = PageEdit(b"<TAG>", coding, coding, 0, MetaPolicies(NEEDED, extend=True))
    chunks = [body[n : n + size] for n in range(0, len(body), size)]
    sent = b"".join(edit.feed(chunk) for chunk in chunks) + edit.end()
    assert edit.added is None
    if coding == "gzip":
        read = decoder("gzip")
        sent = b"".join(read.decode(sent))
    assert sent == page.replace(b"<head>", b"<head><TAG>").replace(META, LONGER)
