"""Facts read off a copy of a page, after its bytes were sent: selectors, structured data, the title.

What is found here is a hint from a page that anybody could have written; it is never the truth about money.
"""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from .charsets import decoded

NODES: Final = 500_000
STEPS: Final = 20_000_000
"""Most nodes and steps that a page may cost the parser, by its tags times the depth to which it nests
formatting elements, and others. The largest category pages come to a tenth of that. Beyond, 16 KB of `<b>`
and `<p>` take 660 MB, because each open `<b>` is made anew for each `<p>` (HTML §13.2.4.3), and 100,000
nested `<div>` take 23 seconds."""

SCRIPTS: Final = 50
"""Most JSON-LD scripts read on a page."""

JSON: Final = 262_144
"""Most characters of JSON-LD read on a page."""

OBJECTS: Final = 1_000
"""Most JSON-LD objects returned."""

MATCHES: Final = 20
"""Most elements of a selector that are looked at for a text."""

TEXT: Final = 10_000
"""Longest text returned, in characters."""

# Elements whose value stands in an attribute (HTML §5.2.4 and, for forms, §4.10.5).
_VALUES: Final = {"data": "value", "input": "value", "meta": "content"}

# What nests: formatting elements, and those that have the parser look through all that is open. What stands
# in scripts, styles and comments is none.
_NESTING: Final = re.compile(
    r"""<(?: (script|style|textarea|title|xmp|iframe|noembed|noframes)(?=[\s/>]).*?(?:</\1|\Z)
      | !--.*?(?:-->|\Z)
      | (/?)(?:(a|b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)
             |address|article|aside|blockquote|center|details|dialog|dir|div|dl|fieldset|figcaption|figure|footer
             |form|h[1-6]|header|hgroup|listing|main|menu|nav|ol|pre|search|section|summary|table|ul
             |applet|button|marquee|object|select|template)(?=[\s/>]) )""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)

# What old editors and CMSs put around a script's text, so that still older browsers would not show it.
_OPENING: Final = re.compile(r"<!--|(?://|/\*)?\s*+<!\[CDATA\[(?:\s*+\*/)?")
_CLOSING: Final = (";", "-->", "*/", "]]>", "//", "/*")


def read(copy: bytes, charset: str | None) -> "Document":
    """The page of which `copy` holds the first bytes, decoded from its content coding.

    `charset` is that of the Content-Type header, None where it names none. A page that would make the parser
    run away (`NODES`, `STEPS`) reads as an empty one. Takes about 1.5 ms per 100 KB.
    """
    text = decoded(copy, charset)
    return Document(LexborHTMLParser("" if _runs_away(text) else text))


class Document:
    """A parsed page, to be asked and dropped."""

    __slots__ = ("_tree",)

    def __init__(self, tree: LexborHTMLParser) -> None:
        self._tree = tree

    @property
    def title(self) -> str:
        """The text of the first `<title>`, white space collapsed; empty where there is none."""
        return self.text("title") or ""

    def text(self, selector: str) -> str | None:
        """The text of the first element that matches and has any, white space collapsed, up to `TEXT`
        characters.

        Of `meta` it is the attribute `content`, of `input` and `data` the `value`. None where nothing
        matches, or where the selector is none (`selectors.selector_error` tells).
        """
        try:
            nodes = self._tree.css(selector)
        except (SelectolaxError, UnicodeEncodeError):
            return None
        texts = (" ".join(_text(node).split()) for node in nodes[:MATCHES])
        return next((text[:TEXT] for text in texts if text), None)

    def has(self, selector: str) -> bool:
        """Whether an element matches; false where the selector is none."""
        try:
            return self._tree.css_first(selector) is not None
        except (SelectolaxError, UnicodeEncodeError):
            return False

    def jsonld(self) -> list[dict[str, Any]]:
        """The page's JSON-LD objects in order: lists and `@graph` laid flat, scripts that are no JSON left
        out.

        Strings may hold raw control characters; comments and CDATA marks around the whole are taken off.
        Fractions are Decimals, never floats.
        """
        found: list[dict[str, Any]] = []
        room = JSON
        for source in self._jsonld_sources():
            room -= len(source)
            if room < 0:
                break
            try:
                data = json.loads(_unwrapped(source), strict=False, parse_float=Decimal)
            except (ValueError, ArithmeticError, RecursionError):
                continue
            for item in _flat(data):
                found.append(item)
                if len(found) == OBJECTS:
                    return found
        return found

    def _jsonld_sources(self) -> Iterator[str]:
        scripts = 0
        for node in self._tree.css("script[type]"):
            kind = (node.attributes.get("type") or "").split(";", 1)[0].strip().lower()
            if kind == "application/ld+json":
                yield node.text() or ""
                scripts += 1
                if scripts == SCRIPTS:
                    return


def _text(node: LexborNode) -> str:
    attribute = _VALUES.get(node.tag or "")
    return (node.attributes.get(attribute) if attribute else node.text()) or ""


def _unwrapped(source: str) -> str:
    text = source.strip()
    opening = _OPENING.match(text)
    text = text[opening.end() :] if opening else text
    for mark in _CLOSING:
        text = text.removesuffix(mark).rstrip()
    return text


def _flat(data: Any) -> Iterator[dict[str, Any]]:
    waiting = [data]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(reversed(item))
        elif isinstance(item, dict):
            graph = item.get("@graph")
            if isinstance(graph, list | dict):
                waiting.append(graph)
            else:
                yield item


def _runs_away(text: str) -> bool:
    tags = text.count("<")
    if tags * tags <= NODES:
        return False
    depth, deepest = [0, 0], [0, 0]  # of others, of formatting elements
    for found in _NESTING.finditer(text):
        if found[2] is not None:
            kind = found[3] is not None
            depth[kind] = max(0, depth[kind] - 1) if found[2] else depth[kind] + 1
            deepest[kind] = max(deepest[kind], depth[kind])
    return tags * deepest[0] > STEPS or tags * deepest[1] > NODES
