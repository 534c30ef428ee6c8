"""Where the tag goes."""

import time
from pathlib import Path

import pytest
from clew.injector.scanner import LEADING, LOOK, MARKER, MARKUP, Scanner, attributes

PAGES = sorted((Path(__file__).parent / "pages").glob("*.html"))


CHUNKS = (1, 2, 3, 7, 4096)


def scan(body: bytes, size: int | None = None) -> tuple[int | None, str]:
    """Place and reason, the body fed in chunks of `size` bytes."""
    scanner = Scanner()
    step = size or len(body) or 1
    for start in range(0, len(body), step):
        scanner.feed(body[start : start + step])
    scanner.end()
    assert scanner.done
    return scanner.place, scanner.reason


def marked(body: bytes) -> tuple[int | None, str]:
    """The place as `|` in the body, with the same answer for every chunk size and every single cut
    asserted."""
    whole = scan(body)
    for size in (*CHUNKS, 64):
        assert scan(body, size) == whole, f"chunks of {size} bytes change the place"
    for cut in range(1, len(body)):
        scanner = Scanner()
        scanner.feed(body[:cut])
        scanner.feed(body[cut:])
        scanner.end()
        assert (scanner.place, scanner.reason) == whole, f"a cut at {cut} changes the place"
    return whole


AFTER_HEAD = {
    "plain": b"<!doctype html><html><head>|<title>x",
    "injection 1.1 tags in scripts behind it": (
        b"<!doctype html><head>|<script>a='<head></body>';<!--<script></script><head>--></script></head>"
    ),
    "injection 1.6 a document in an attribute": b"<!doctype html><head>|<iframe srcdoc='<html><head>'>",
    "injection 1.7 a template in the head": b"<!doctype html><head>|<template><head></body></template>",
    "injection 1.12 upper case and white space": b"<!DOCTYPE HTML>\r<HTML\n><HEAD\t\r\n>|<title>",
    "injection 1.12 a slash ends the name": b"<!doctype html><html/><head/>|<title>",
    "injection 1.12 attributes": (
        b"<!doctype html><html lang=de><head prefix='og: http://ogp.me/ns#' class=a>|<meta>"
    ),
    "injection 1.3 a head in an attribute": (
        b"<!doctype html><html data-x=\"<head>\" data-y='<head>' z=<head><head>|"
    ),
    "injection 1.3 an arrow in an attribute": (
        b'<!doctype html><html data-action="a->b"><head data-x=">">|<title>'
    ),
    "injection 1.3 a quote after a name": b"<!doctype html><html a\"b='>' ><head>|",
    "injection 1.3 no space between attributes": b"<!doctype html><html a='1'b='>'c><head>|",
    "injection 1.3 an equals sign as a name": b'<!doctype html><html ="><head>|',
    "injection 1.3 a value after white space": b"<!doctype html><html a \n= \t'>'><head>|",
    "injection 1.3 a missing value": b"<!doctype html><html a=><head>|<b>",
    "injection 1.3 slashes in a bare value": b"<!doctype html><html a=/x/><head>|",
    "injection 1.2 a head in a comment": b"<!doctype html><!-- <head> --><html><!--<head>--><head>|",
    "injection 1.2 an empty comment": b"<!doctype html><!--><head>|--><title>",
    "injection 1.2 an empty comment with a dash": b"<!doctype html><!---><head>|--><title>",
    "injection 1.2 a comment of dashes": b"<!doctype html><!-----><head>|",
    "injection 1.2 a comment closed with a bang": b"<!doctype html><!-- <b> --!><head>|",
    "injection 1.2 a bang is part of the comment": b"<!doctype html><!-- a --! <head> --><head>|",
    "injection 1.2 a dash and a bang close nothing": b"<!doctype html><!---!> <head> --><head>|",
    "injection 1.2 a comment in a comment": b"<!doctype html><!-- <!-- --><head>|-->",
    "injection 1.2 conditional comments": (
        b"<!doctype html><!--[if IE]><head><![endif]--><!--[if !IE]><!--><html><!--<![endif]--><head>|"
    ),
    "injection 1.2 bogus comments": (
        b"<!doctype html><!x <head ><?php <head ?></3 <head ></><![CDATA[<head ></x><head>|"
    ),
    "injection 1.2 a short bang": b"<!doctype html><!><!-><!d><head>|",
    "injection 1.2 a comment before the doctype": b"<!-- a --><!doctype html><head>|",
    "injection 1.2 an XML declaration": b"<?xml version='1.0'?><!doctype html><head>|",
    "injection 1.11 a doctype in a comment": b"<!-- <!doctype html> --><html><head>|",
    "injection 1.11 no doctype": b"<html><head>|",
    "injection 1.11 only a head": b"<head>|<title>",
    "injection 1.11 quotes in the doctype": (
        b'<!DOCTYPE html PUBLIC "-//W3C//DTD HTML 4.01//EN" "http://www.w3.org/TR/html4/strict.dtd"><head>|'
    ),
    "injection 1.11 a doctype without a name": b"<!doctype><head>|",
    "injection 1.11 a foreign doctype before html": b"<!doctype nonsense><html><head>|",
    "injection 1.13 several heads": b"<!doctype html><html><html><head>|<head></head><head>",
    "injection 1.14 a byte order mark": b"\xef\xbb\xbf<!doctype html><head>|",
    "injection 1.14 white space": b" \t\r\n\f<!doctype html>\n<head>|",
    "injection 1.14 two byte order marks": b"\xef\xbb\xbf\xef\xbb\xbf<!doctype html><head>|",
    "injection 1.14 a NUL": b"\0<!doctype html><head>|",
    "injection 1.14 a notice": (
        b"\nNotice: Undefined index: a in /b.php on line 3\n<!doctype html><html><head>|"
    ),
    "injection 1.14, field F7 a stray letter": b"1<!DOCTYPE html><html><head>|",
    "injection 1.14 PHP's own markup": (
        b"<br />\n<b>Warning</b>:  a &quot;b&quot; in <b>/c</b> on line <b>1</b><br />\n"
        b"<!doctype html><head>|"
    ),
    "injection 1.15 a frameset": b"<!doctype html><html><head>|</head><frameset>",
    "end tags before the head are ignored": b"<!doctype html></p></div a='>'><html></title><head>|",
    "injection 4.12 trail bytes that look like letters": (
        b"<!doctype html><html title='\x95\\\x83|\x83]'><head>|"
    ),
    "not AMP": b"<!doctype html><html lang=amp data-amp><head amp>|",
}


@pytest.mark.parametrize("name", AFTER_HEAD)
def test_tag_is_inserted_right_after_the_real_head(name: str) -> None:
    place = AFTER_HEAD[name].index(b">|") + 1
    body = AFTER_HEAD[name][:place] + AFTER_HEAD[name][place + 1 :]
    assert marked(body) == (place, "")


BEFORE = {
    "field F8 a body first": b"|<body class='x'><h1>T</h1>",
    "field F8 a bare body": b"|<body>",
    "field F8 a body behind a comment": b"<!-- saved -->\n|<BODY\nbgcolor=#fff><head>",
    "injection 1.1 a script first": b"<!doctype html>|<script>document.write('<head></body>')</script>",
    "injection 1.1 a script escaped twice": (
        b"<!doctype html>|<script><!--<script></script><head>--></script><head>"
    ),
    **{
        f"injection 1.5 a head in {name}": b"<!doctype html>|<%s><head></%s>" % (name.encode(), name.encode())
        for name in (
            *("style", "textarea", "title", "xmp", "iframe", "noembed", "noframes", "noscript", "plaintext"),
            *("script", "template"),
        )
    },
    "injection 1.6 a document in an attribute": b"<!doctype html>|<iframe srcdoc='<html><head>'></iframe>",
    "injection 1.8 CDATA in a drawing": b"<!doctype html>|<svg><![CDATA[<head></body>]]></svg>",
    "injection 1.8 CDATA in a formula": b"<!doctype html>|<math><![CDATA[<head>]]></math>",
    "injection 1.9 a title in a select": b"<!doctype html>|<select><title><head></title>",
    "injection 1.9 raw text in a select": b"<!doctype html>|<select><xmp><head></xmp>",
    "injection 1.10 a first tag": b"<!doctype html>|<title>x",
    "injection 1.10 white space stays before": b"<!doctype html>\n\n|<body>",
    "injection 1.10 after html": b"<!doctype html><html lang=x> |<link>",
    "injection 1.10 a name that begins like head": b"<!doctype html>|<header>",
    "injection 1.10 a name that begins like html": b"<!doctype html>|<html-x>",
    "injection 1.10 one letter": b"<!doctype html>|<h>",
    "injection 1.15 a frameset without a head": b"<!doctype html>|<frameset>",
    "injection 1.7 a template first": b"<!doctype html>|<template></body>",
    "text opens the body": b"<!doctype html>\n|Hello <head><b>",
    "a lone angle is text": b"<!doctype html>|< head>",
    "an end tag that opens the head": b"<!doctype html></p>|</head><body>",
    "an end tag br": b"<!doctype html>|</br >",
    "injection 4.15 after a byte order mark": b"<html>\n|<body>",
    "injection 7.1 own tag of another version": b"<!doctype html>|<script data-clew='2'>",
}


@pytest.mark.parametrize("name", BEFORE)
def test_tag_is_inserted_before_a_token_that_opens_the_head(name: str) -> None:
    before, after = BEFORE[name].split(b"|")
    assert marked(before + after) == (len(before), "")


PASSED = {
    "field F8 a tag that only begins like a body": (b"<bodyguard>", "no page"),
    "injection 3.1 a fragment": (b"<div><p>x</p></div>", "no page"),
    "injection 3.1 a table row": (b"<!-- row --><tr><td>1</td></tr>", "no page"),
    "injection 3.1 an end tag": (b"</div><html><head>", "fragment"),
    "injection 3.1 a script": (b"<script>var x = '<html><head>'</script>", "no page"),
    "injection 3.1 bold text": (b"<b>Added</b> to your cart<br>", "no page"),
    "injection 3.4 JSON": (b'{"html": "<!doctype html><html><head>"}', "no page"),
    "injection 3.4 a JSON list": (b'["<!doctype html><html><head>"]', "no page"),
    "injection 3.4 a JSON string": (b'"<!doctype html><html><head>"', "no page"),
    "injection 3.4 an XML feed": (b'<?xml version="1.0"?><rss><channel></channel></rss>', "no page"),
    "injection 3.4 an XML doctype": (
        b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN"><svg></svg>',
        "no page",
    ),
    "injection 3.4 JavaScript that writes": (b"document.write('<!doctype html><html><head>')", "no page"),
    "injection 3.4 JavaScript that assigns": (b"var a = 'x <!doctype html><html><head>'", "no page"),
    "injection 3.4 JavaScript with a template": (b"const a = `\n<!doctype html>\n<html><head>`", "no page"),
    "injection 3.4 JavaScript that returns": (b'x("a",\n"<!doctype html><html><head>")', "no page"),
    "injection 3.4 a comment of JavaScript": (b"// <!doctype html><html><head>", "no page"),
    "injection 3.4 CSS": (b"a { content: '<!doctype html><html><head>' }", "no page"),
    "injection 3.4 JSONP": (b"callback({'a': '<!doctype html><head>'})", "no page"),
    "injection 3.4 a payment provider's answer": (b"OK", "no page"),
    "injection 3.4 prose without a doctype": (b"Hello <html><head>", "no page"),
    "injection 3.8 AMP": (b"<!doctype html><html amp lang=en><head>", "amp"),
    "injection 3.8 AMP with a lightning": ("<!doctype html><html ⚡><head>".encode(), "amp"),
    "injection 3.8 AMP with a variation selector": (
        "<!doctype html><html lang=en ⚡️=''><head>".encode(),
        "amp",
    ),
    "injection 3.8 AMP ads": ("<!doctype html><html ⚡4ads><head>".encode(), "amp"),
    "injection 3.8 AMP mail": (b"<!doctype html><html AMP4EMAIL data-css-strict><head>", "amp"),
    "injection 3.8 AMP by the second html tag": (b"<!doctype html><html><html amp><head>", "amp"),
    "injection 1.4 an open quote": (b'<!doctype html><html lang="de><head><title>', "no place"),
    "injection 1.4 an open apostrophe": (b"<!doctype html><html lang='de><head><title>", "no place"),
    "injection 1.4 an open tag": (b"<!doctype html><html lang=de ", "no place"),
    "injection 1.4 an open comment": (b"<!doctype html><!-- <head><title>", "no place"),
    "injection 1.11 only a doctype": (b"<!doctype html>\n", "no place"),
    "injection 1.11 an open doctype": (b"<!doctype html", "no page"),
    "injection 4.11 UTF-16, little end first": ("\ufeff<!doctype html><head>".encode("utf-16-le"), "no page"),
    "injection 4.11 UTF-16, big end first": ("\ufeff<!doctype html><head>".encode("utf-16-be"), "no page"),
    "injection 4.11 UTF-16 without a mark": ("<!doctype html><head>".encode("utf-16-le"), "no page"),
    "injection 4.11 UTF-32": ("<!doctype html><head>".encode("utf-32-be"), "no page"),
    "injection 4.12 ISO-2022-JP in a comment": (
        b"<!doctype html><!-- \x1b$B<head>\x1b(B --><head>",
        "escape sequences",
    ),
    "injection 7.1 tagged before": (
        b'<!doctype html><head><script async src="/-/clew/l.js" data-clew="1" nonce="a"></script>',
        "tagged already",
    ),
    "injection 7.1 tagged by hand": (
        b"<!doctype html>\n<HEAD>\n  <SCRIPT src=x DATA-CLEW=1 >",
        "tagged already",
    ),
    "injection 7.1 tagged without a head": (
        b"<!doctype html><script data-clew='1'></script>",
        "tagged already",
    ),
    "nothing": (b"", "no page"),
    "white space": (b" \n", "no page"),
    "half a byte order mark": (b"\xef\xbb", "no page"),
}


@pytest.mark.parametrize("name", PASSED)
def test_bodies_that_are_not_pages_or_are_excluded_get_no_tag(name: str) -> None:
    body, reason = PASSED[name]
    assert marked(body) == (None, reason)


@pytest.mark.parametrize(
    "after",
    [
        b"<script data-clewx=1>",
        b"<scripts data-clew=1>",
        b"<!-- <script data-clew=1> -->",
        b'<meta content="<script data-clew=1>">',
        b"<script data-clew='2'>",
        b'<script title="data-clew=1">',
        b"<script",
        b"<scr",
        b"\n\n",
        b"",
    ],
)
def test_only_a_real_script_tag_of_ours_keeps_the_tag_out(after: bytes) -> None:
    page = b"<!doctype html><head>"
    assert marked(page + after) == (len(page), "")


def test_own_tag_far_behind_the_place_is_not_looked_for() -> None:
    page = b"<!doctype html><head>"
    near = page + b" " * (MARKER - len("<script data-clew=1>")) + b"<script data-clew=1>"
    assert scan(near) == scan(near, 1) == (None, "tagged already")
    far = page + b" " * MARKER + b"<script data-clew=1>"
    assert scan(far) == scan(far, 1) == scan(far, 700) == (len(page), "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_place_in_pages_of_shops_does_not_depend_on_chunks(page: Path) -> None:
    place, reason = marked(page.read_bytes())
    assert (place is None) == (page.stem == "amp")
    assert reason == ("amp" if place is None else "")


def test_bytes_after_the_first_64_kilobytes_are_not_scanned() -> None:
    """injection 2.8."""
    assert LOOK == 64 * 1024
    start = b"<!doctype html><!--"
    inside = start + b"-" * (LOOK - len(start) - len("--><head>")) + b"--><head>"
    assert len(inside) == LOOK
    assert scan(inside + b"<title>") == scan(inside + b"<title>", 1000) == (LOOK, "")
    outside = start + b"-" * (LOOK - len(start) - len("--><head>") + 1) + b"--><head>"
    assert scan(outside) == scan(outside, 1000) == (None, "look-ahead")


def test_scanner_keeps_only_the_token_that_is_not_complete() -> None:
    scanner = Scanner()
    scanner.feed(b"<!doctype html><!-- a --><html lang=de> <he")
    assert (scanner.settled, scanner.at_boundary, scanner.is_page) == (
        len("<!doctype html><!-- a --><html lang=de> "),
        False,
        True,
    )
    scanner.feed(b"ad>")
    assert scanner.at_boundary
    assert not scanner.done  # our own tag may stand there


def test_a_flushed_doctype_is_known_for_a_page() -> None:
    scanner = Scanner()
    scanner.feed(b"<!doctype html>\n")
    assert (scanner.is_page, scanner.at_boundary, scanner.settled) == (True, True, 16)


@pytest.mark.parametrize(
    "head", [b"<!doctype html><html a='", b"<!doctype ", b"<?php ", b"<!doctype html></a b="]
)
def test_extremely_long_markup_is_not_edited(head: bytes) -> None:
    """injection 2.9."""
    body = head + b"x" * (MARKUP + 1)
    assert scan(body) == scan(body, 100) == (None, "long tag")


@pytest.mark.parametrize(
    ("start", "end"), [(b"<!doctype html><html a='", b"'>"), (b"<!doctype html", b">"), (b"<?", b">")]
)
def test_longest_markup_is_the_same_however_it_comes(start: bytes, end: bytes) -> None:
    last = start.rindex(b"<")
    filled = start + b" " * (MARKUP + last - len(start) - len(end))
    page = b"<html><head><title>" if start == b"<?" else b"<head><title>"
    whole = filled + end + page
    assert scan(whole) == scan(whole, 1) == (whole.index(b"<title>"), "")
    longer = filled + b" " + end + page
    assert scan(longer) == scan(longer, 1) == (None, "long tag")


def test_debugging_output_is_accepted_up_to_its_limit() -> None:
    page = b"<!doctype html><head>"
    longest = b"x" * (LEADING - 1)
    assert scan(longest + page) == scan(longest + page, 1) == (LEADING - 1 + len(page), "")
    assert scan(b"x" + longest + page) == scan(b"x" + longest + page, 1) == (None, "no page")


def test_prose_is_held_no_longer_than_its_bound() -> None:
    scanner = Scanner()
    scanner.feed(b"Importing article 1<br>\n" * 42)
    assert not scanner.done
    scanner.feed(b"Importing article 43<br>\n")
    assert (scanner.done, scanner.place) == (True, None)


@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html><!--" + b"-" * LOOK,
        b"<!doctype html><!--x" + b">" * LOOK,
        b"<!doctype html>" + b"<!-->" * LOOK,
        b"<!doctype html><html a='" + b">" * LOOK,
        b" " * LOOK,
        b"<!doctype html></a " + b'x=">" ' * LOOK,
        b"<html " + b"amp=" * LOOK,
    ],
)
def test_bytes_that_come_one_by_one_take_linear_time(body: bytes) -> None:
    began = time.process_time()
    scan(body[:LOOK], 1)
    assert time.process_time() - began < 2.0  # a tenth of a second for each; quadratic work takes a minute


def test_attributes_are_read_as_the_tokenizer_reads_them() -> None:
    assert attributes(b""" a=1 B='two "x"' c="3>" a=4 d e= f="" /g=/h """) == {
        b"a": b"1",
        b"b": b'two "x"',
        b"c": b"3>",
        b"d": b"",
        b"e": b'f=""',
        b"g": b"/h",
    }
