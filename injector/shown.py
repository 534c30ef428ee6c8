"""The visible text of an element, without struck-through and hidden parts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

import re2  # type: ignore[import-untyped]
from selectolax.lexbor import LexborNode

TEXT: Final = 10_000
"""Maximum length of a returned text, in characters."""

# Elements whose value is in an attribute (HTML §5.2.4 and, for forms, §4.10.5).
_VALUES: Final = {"data": "value", "input": "value", "meta": "content"}

# Inline elements do not separate the text before and after their tags; all other elements do.
_INLINE_NAMES: Final = (
    "a abbr b bdi bdo big cite code data em font i ins label mark q small span strong sub sup time tt u var"
)
_INLINE: Final = frozenset(_INLINE_NAMES.split())
_NOT_SHOWN: Final = frozenset(["script", "style", "template", "noscript", "datalist"])

# Text that was taken back: an old price beside the new one (HTML §4.5.5, §4.7.2).
_STRUCK: Final = frozenset(["del", "s", "strike"])
_STRUCK_CLASSES: Final = frozenset(["line-through", "text-decoration-line-through"])  # Tailwind, Bootstrap
_STRUCK_STYLE: Final = re2.compile(r"(?i)(?:^|;)\s*text-decoration(?:-line)?\s*:[^;]*line-through")
_HIDDEN_STYLE: Final = re2.compile(
    r"(?i)(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse))\s*(?:!|;|$)"
)
# `hidden` is Tailwind's and Dawn's, `d-none` Bootstrap's. Beside a class such as `md:block` or `d-md-inline`
# they hold for some screens only, and what stands there is text like any other.
_HIDDEN_CLASSES: Final = frozenset(["hidden", "d-none", "is-hidden", "uk-hidden", "w-hidden"])
_SOME_SCREENS: Final = re2.compile(r"(?:^|\s)(?:(?:xs|sm|md|lg|xl|xxl|\dxl)[:@]|d-(?:sm|md|lg|xl|xxl)-)")
# Classes of what is only read aloud, of Bootstrap, WordPress, Shopify, Amazon, Drupal, Foundation, Bulma.
_SPOKEN_CLASS: Final = re2.compile(
    r"(?i)(?:^|\s)(?:[\w-]*(?:visually-?hidden|sr-?only|screen-?reader(?:s|-text|-only)?|-offscreen)"
    r"|offscreen|hidden-visually|show-for-sr|sr-text|element-invisible|assistive-text|a11y-hidden)"
    r"(?:--?[\w-]*)?(?:\s|$)"
)

# Classes of one price among several: "was-price", "price--sale", "oldPrice". Its digits are its own.
_PRICE_CLASS: Final = re2.compile(
    r"(?:^|[\s_-])(?i:old|was|regular|before|original|former|previous|struck|striked?|strikethrough|crossed|compare"
    r"|list|rrp|msrp|uvp|new|now|sale|special|reduced|final|current|discount(?:ed)?|from|to|min|max|unit)"
    r"(?:$|[\s_-]|[A-Z])"
)

_LANGUAGE: Final = 35  # the longest language tag that software has to bear (RFC 5646 §4.4.1)

EDGE: Final = "\ufdd0"
"""Marks in `Shown.text` where an inline element begins or ends."""

RAISED: Final = "\ufdd1"
"""Marks in `Shown.text` where a `<sup>` begins."""

BREAK: Final = "\ufdd2"
"""Stands in `Shown.text` where a block begins or ends, or a line breaks in the source: no number goes on."""

_MARKS: Final = dict.fromkeys(map(ord, (EDGE, RAISED, BREAK)))
_BLANKS: Final = dict.fromkeys(_MARKS, " ")
_SPACE: Final = re.compile(r"\s+")
_SPACE_OR_BREAK: Final = re.compile(rf"[\s{BREAK}]+")


class Veil(Enum):
    """What keeps an element's text from readers: nothing, being struck through, being hidden, being only
    drawn (`aria-hidden`), being only read aloud (`sr-only`)."""

    NONE = 0
    STRUCK = 1
    HIDDEN = 2
    DRAWN = 3
    SPOKEN = 4


_LEFT_OUT: Final = frozenset([Veil.STRUCK, Veil.HIDDEN])
_SEEN: Final = frozenset([Veil.NONE, Veil.DRAWN])
_DRAWN: Final = frozenset([Veil.DRAWN])
_SPOKEN: Final = frozenset([Veil.NONE, Veil.SPOKEN])
_FOR_NOBODY: Final = frozenset([Veil.DRAWN, Veil.SPOKEN])  # one within the other


@dataclass(frozen=True, slots=True)
class Shown:
    """What an element shows: its text with `EDGE`, `RAISED` and `BREAK`, white space collapsed, up to `TEXT`
    characters.

    What is struck through or hidden within is left out, and so is what is only read aloud, unless nothing
    else is there. `machine` is whether it is an attribute's value instead. `stated` is the attribute
    `content` of an element with microdata or RDFa, beside its text. `language` is the nearest `lang`. Where
    a part is only drawn (`aria-hidden`) or only read aloud (`sr-only`), `drawn` is the text of the former
    alone, and `spoken` all that is read aloud; else both are None. `cut` is whether digits were left out.
    """

    text: str
    machine: bool = False
    stated: str | None = None
    language: str | None = None
    drawn: str | None = None
    spoken: str | None = None
    cut: bool = False


def plain(text: str) -> str:
    """The text of `Shown.text` without marks, white space collapsed."""
    return " ".join(text.translate(_BLANKS).split())


def shown(node: LexborNode) -> Shown | None:
    """What an element shows, or the attribute that holds its value; None where that is nothing."""
    attributes = node.attributes
    attribute = _VALUES.get(node.tag or "")
    if attribute:
        value = " ".join((attributes.get(attribute) or "").translate(_MARKS).split())[:TEXT]
        return Shown(value, machine=True, language=_language(node)) if value else None
    pieces = list(_pieces(node))
    text = _joined(pieces, _SEEN)
    drawn = spoken = None
    if len({veil for _, veil in pieces} - _LEFT_OUT) > 1:
        drawn = _joined(pieces, _DRAWN)
        spoken = _joined(pieces, _SPOKEN)
    if not plain(text):
        text = spoken or ""
    if not plain(text):
        return None
    stated = attributes.get("content") if "itemprop" in attributes or "property" in attributes else None
    cut = any(veil in _LEFT_OUT and any(map(str.isdigit, piece)) for piece, veil in pieces)
    return Shown(text, stated=stated, language=_language(node), drawn=drawn, spoken=spoken, cut=cut)


def _joined(pieces: list[tuple[str, Veil]], veils: frozenset[Veil]) -> str:
    """The text under some veils; words under others leave a break, so that digits around them do not join."""
    kept = (piece if veil in veils else _gap(piece) for piece, veil in pieces)
    text = _SPACE_OR_BREAK.sub(lambda run: BREAK if BREAK in run[0] else " ", "".join(kept))
    return text.strip(f" {BREAK}")[:TEXT]


def _lines(text: str) -> str:
    """A text with `BREAK` where its source breaks a line or aligns by blanks: no group of digits does."""
    return _SPACE.sub(lambda run: run[0] if len(run[0]) == 1 and run[0] not in "\t\n\r\f" else BREAK, text)


def _gap(piece: str) -> str:
    return EDGE if piece in (EDGE, RAISED) else BREAK if any(c.isalnum() for c in piece) else ""


def _veil(node: LexborNode) -> Veil:
    """Whether an element takes its text away from some or all readers."""
    if node.tag in _STRUCK:
        return Veil.STRUCK
    attributes = node.attributes
    if not attributes:
        return Veil.NONE
    style, classes = attributes.get("style") or "", attributes.get("class") or ""
    names = frozenset(classes.split())
    if names & _STRUCK_CLASSES or _STRUCK_STYLE.search(style):
        return Veil.STRUCK
    if "hidden" in attributes or _HIDDEN_STYLE.search(style):
        return Veil.HIDDEN
    if _SPOKEN_CLASS.search(classes):
        return Veil.SPOKEN
    if names & _HIDDEN_CLASSES and not _SOME_SCREENS.search(classes):
        return Veil.HIDDEN
    return Veil.DRAWN if (attributes.get("aria-hidden") or "").strip().lower() == "true" else Veil.NONE


def veil_around(node: LexborNode) -> Veil:
    """STRUCK within an element that is struck through, HIDDEN in one that not everybody sees, else NONE."""
    found = Veil.NONE
    above: LexborNode | None = node
    for _ in range(TEXT):
        if above is None or above.tag == "-document":
            break
        veil = _veil(above)
        if veil is Veil.STRUCK:
            return Veil.STRUCK
        found = Veil.HIDDEN if veil in (Veil.HIDDEN, Veil.SPOKEN) else found
        above = above.parent
    return found


def _pieces(top: LexborNode) -> Iterator[tuple[str, Veil]]:
    """The text nodes within and what parts them, each as NONE, DRAWN or SPOKEN; at most `TEXT` nodes."""
    node: LexborNode | None = top.child
    veiled: LexborNode | None = None  # the outermost element around that is only drawn or only read aloud
    veil = Veil.NONE
    for _ in range(TEXT):
        if node is None:
            return
        if node.tag == "-text":
            yield _lines((node.text_content or "").translate(_MARKS)), veil
        elif not (node.tag or "-").startswith("-") and node.tag not in _NOT_SHOWN:
            own = _veil(node)
            if own in _LEFT_OUT or {own, veil} == _FOR_NOBODY:
                yield BREAK, veil
                yield node.text(deep=True), own
            else:
                if _apart(node):
                    yield BREAK, veil
                yield RAISED if node.tag == "sup" else _edge(node), veil
                if node.child is not None:
                    if own is not Veil.NONE and veiled is None:
                        veiled, veil = node, own
                    node = node.child
                    continue
        while True:
            yield _edge(node), veil
            if _apart(node):
                yield BREAK, veil
            if node.next is not None:
                node = node.next
                break
            node = node.parent
            # Nodes are told apart by `mem_id`: `==` compares their whole HTML.
            if node is None or node.mem_id == top.mem_id:
                return
            if veiled is not None and node.mem_id == veiled.mem_id:
                veiled, veil = None, Veil.NONE


def _apart(node: LexborNode) -> bool:
    """Whether an element is a price of its own by its class, or by one that bears the same before it."""
    classes = node.attributes.get("class") if not (node.tag or "-").startswith("-") else None
    if not classes:
        return False
    before = node.prev
    same = before is not None and before.tag == node.tag and before.attributes.get("class") == classes
    return same or _PRICE_CLASS.search(classes) is not None


def _edge(node: LexborNode) -> str:
    tag = node.tag or ""
    return "" if tag.startswith("-") or tag in _NOT_SHOWN else EDGE if tag in _INLINE else BREAK


def _language(node: LexborNode | None) -> str | None:
    for _ in range(TEXT):
        if node is None or node.tag == "-document":
            return None
        if (language := node.attributes.get("lang")) and language.strip():
            return language.strip()[:_LANGUAGE]
        node = node.parent
    return None
