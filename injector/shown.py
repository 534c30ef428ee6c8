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

# Struck-through text: an old price beside the new one (HTML §4.5.5, §4.7.2).
_STRUCK_TAGS: Final = frozenset(["del", "s", "strike"])
_STRUCK_CLASSES: Final = frozenset(["line-through", "text-decoration-line-through"])  # Tailwind, Bootstrap
_STRUCK_STYLE: Final = re2.compile(r"(?i)(?:^|;)\s*text-decoration(?:-line)?\s*:[^;]*line-through")
_HIDDEN_STYLE: Final = re2.compile(
    r"(?i)(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse))\s*(?:!|;|$)"
)
# `hidden` is Tailwind's and Dawn's, `d-none` Bootstrap's. Beside a class such as `md:block` or `d-md-inline`
# they apply to some screens only, so the text counts as visible.
_HIDDEN_CLASSES: Final = frozenset(["hidden", "d-none", "is-hidden", "uk-hidden", "w-hidden"])
_SOME_SCREENS: Final = re2.compile(r"(?:^|\s)(?:(?:xs|sm|md|lg|xl|xxl|\dxl)[:@]|d-(?:sm|md|lg|xl|xxl)-)")
# Classes for screen readers only, of Bootstrap, WordPress, Shopify, Amazon, Drupal, Foundation, Bulma.
_SCREEN_READER_CLASS: Final = re2.compile(
    r"(?i)(?:^|\s)(?:[\w-]*(?:visually-?hidden|sr-?only|screen-?reader(?:s|-text|-only)?|-offscreen)"
    r"|offscreen|hidden-visually|show-for-sr|sr-text|element-invisible|assistive-text|a11y-hidden)"
    r"(?:--?[\w-]*)?(?:\s|$)"
)

# Classes of one price among several: "was-price", "price--sale", "oldPrice". Its digits are a number of
# their own.
_PRICE_CLASS: Final = re2.compile(
    r"(?:^|[\s_-])(?i:old|was|regular|before|original|former|previous|struck|striked?|strikethrough|crossed|compare"
    r"|list|rrp|msrp|uvp|new|now|sale|special|reduced|final|current|discount(?:ed)?|from|to|min|max|unit)"
    r"(?:$|[\s_-]|[A-Z])"
)

_LANGUAGE: Final = 35  # the longest language tag that software must support (RFC 5646 §4.4.1)

EDGE: Final = "\ufdd0"
"""Marks the begin or end of an inline element in `Shown.text`."""

RAISED: Final = "\ufdd1"
"""Marks the begin of a `<sup>` in `Shown.text`."""

BREAK: Final = "\ufdd2"
"""Marks the begin or end of a block, or a line break of the source, in `Shown.text`: a number ends there."""

_MARKS: Final = dict.fromkeys(map(ord, (EDGE, RAISED, BREAK)))
_BLANKS: Final = dict.fromkeys(_MARKS, " ")
_SPACE: Final = re.compile(r"\s+")
_SPACE_OR_BREAK: Final = re.compile(rf"[\s{BREAK}]+")


class Visibility(Enum):
    """Who gets the text of an element: everybody, nobody because it is struck through, nobody because it is
    hidden, sighted readers only (`aria-hidden`), or screen readers only (`sr-only`)."""

    EVERYBODY = 0
    STRUCK_THROUGH = 1
    HIDDEN = 2
    SIGHTED = 3
    SCREEN_READERS = 4


_OMITTED: Final = frozenset([Visibility.STRUCK_THROUGH, Visibility.HIDDEN])
_SEEN: Final = frozenset([Visibility.EVERYBODY, Visibility.SIGHTED])
_SIGHTED_ONLY: Final = frozenset([Visibility.SIGHTED])
_READ_ALOUD: Final = frozenset([Visibility.EVERYBODY, Visibility.SCREEN_READERS])
# One inside the other: nobody gets the text.
_EXCLUSIVE: Final = frozenset([Visibility.SIGHTED, Visibility.SCREEN_READERS])


@dataclass(frozen=True, slots=True)
class Shown:
    """The text of an element with `EDGE`, `RAISED` and `BREAK`, white space collapsed, up to `TEXT`
    characters.

    Struck-through and hidden parts are omitted. Parts for screen readers only are omitted too, unless there
    is nothing else. `omitted_digits` is whether an omitted part has digits.

    - `from_attribute`: the text is an attribute's value instead.
    - `content`: the attribute `content` of an element with microdata or RDFa.
    - `language`: the nearest `lang`.
    - `sighted_only`, `read_aloud`: the parts with `aria-hidden`, and the text that a screen reader reads.
      Both are None if sighted readers and screen readers get the same text.
    """

    text: str
    from_attribute: bool = False
    content: str | None = None
    language: str | None = None
    sighted_only: str | None = None
    read_aloud: str | None = None
    omitted_digits: bool = False


def plain(text: str) -> str:
    """The text of `Shown.text` without marks, white space collapsed."""
    return " ".join(text.translate(_BLANKS).split())


def shown(node: LexborNode) -> Shown | None:
    """The text of an element, or of the attribute that holds its value; None if it is empty."""
    attributes = node.attributes
    attribute = _VALUES.get(node.tag or "")
    if attribute:
        value = " ".join((attributes.get(attribute) or "").translate(_MARKS).split())[:TEXT]
        return Shown(value, from_attribute=True, language=_language(node)) if value else None
    pieces = list(_pieces(node))
    text = _joined(pieces, _SEEN)
    sighted_only = read_aloud = None
    if len({visibility for _, visibility in pieces} - _OMITTED) > 1:
        sighted_only = _joined(pieces, _SIGHTED_ONLY)
        read_aloud = _joined(pieces, _READ_ALOUD)
    if not plain(text):
        text = read_aloud or ""
    if not plain(text):
        return None
    return Shown(
        text,
        content=attributes.get("content") if "itemprop" in attributes or "property" in attributes else None,
        language=_language(node),
        sighted_only=sighted_only,
        read_aloud=read_aloud,
        omitted_digits=any(kind in _OMITTED and any(map(str.isdigit, piece)) for piece, kind in pieces),
    )


def _joined(pieces: list[tuple[str, Visibility]], wanted: frozenset[Visibility]) -> str:
    """The pieces of the wanted kinds. Other words become a `BREAK`, so that digits around them do not
    join."""
    kept = (piece if kind in wanted else _gap(piece) for piece, kind in pieces)
    text = _SPACE_OR_BREAK.sub(lambda run: BREAK if BREAK in run[0] else " ", "".join(kept))
    return text.strip(f" {BREAK}")[:TEXT]


def _lines(text: str) -> str:
    """The text with `BREAK` for line breaks and runs of blanks in the source: a number contains neither."""
    return _SPACE.sub(lambda run: run[0] if len(run[0]) == 1 and run[0] not in "\t\n\r\f" else BREAK, text)


def _gap(piece: str) -> str:
    return EDGE if piece in (EDGE, RAISED) else BREAK if any(c.isalnum() for c in piece) else ""


def _visibility(node: LexborNode) -> Visibility:
    """The visibility that an element's own tag, style and classes give its text."""
    if node.tag in _STRUCK_TAGS:
        return Visibility.STRUCK_THROUGH
    attributes = node.attributes
    if not attributes:
        return Visibility.EVERYBODY
    style, classes = attributes.get("style") or "", attributes.get("class") or ""
    names = frozenset(classes.split())
    if names & _STRUCK_CLASSES or _STRUCK_STYLE.search(style):
        return Visibility.STRUCK_THROUGH
    if "hidden" in attributes or _HIDDEN_STYLE.search(style):
        return Visibility.HIDDEN
    if _SCREEN_READER_CLASS.search(classes):
        return Visibility.SCREEN_READERS
    if names & _HIDDEN_CLASSES and not _SOME_SCREENS.search(classes):
        return Visibility.HIDDEN
    return (
        Visibility.SIGHTED
        if (attributes.get("aria-hidden") or "").strip().lower() == "true"
        else Visibility.EVERYBODY
    )


def visibility_of(node: LexborNode) -> Visibility:
    """STRUCK_THROUGH if the element or one around it is struck through, HIDDEN if it is hidden from sighted
    readers, else EVERYBODY."""
    found = Visibility.EVERYBODY
    above: LexborNode | None = node
    for _ in range(TEXT):
        if above is None or above.tag == "-document":
            break
        visibility = _visibility(above)
        if visibility is Visibility.STRUCK_THROUGH:
            return Visibility.STRUCK_THROUGH
        if visibility in (Visibility.HIDDEN, Visibility.SCREEN_READERS):
            found = Visibility.HIDDEN
        above = above.parent
    return found


def _pieces(top: LexborNode) -> Iterator[tuple[str, Visibility]]:
    """The texts inside an element and the marks between them, with their visibility; at most `TEXT` nodes."""
    node: LexborNode | None = top.child
    restricted: LexborNode | None = None  # the outermost element for sighted or screen readers only
    visibility = Visibility.EVERYBODY
    for _ in range(TEXT):
        if node is None:
            return
        if node.tag == "-text":
            yield _lines((node.text_content or "").translate(_MARKS)), visibility
        elif not (node.tag or "-").startswith("-") and node.tag not in _NOT_SHOWN:
            own = _visibility(node)
            if own in _OMITTED or {own, visibility} == _EXCLUSIVE:
                yield BREAK, visibility
                yield node.text(deep=True), own
            else:
                if _is_separate_price(node):
                    yield BREAK, visibility
                yield RAISED if node.tag == "sup" else _edge(node), visibility
                if node.child is not None:
                    if own is not Visibility.EVERYBODY and restricted is None:
                        restricted, visibility = node, own
                    node = node.child
                    continue
        while True:
            yield _edge(node), visibility
            if _is_separate_price(node):
                yield BREAK, visibility
            if node.next is not None:
                node = node.next
                break
            node = node.parent
            # By `mem_id`, since `==` compares the whole HTML of nodes.
            if node is None or node.mem_id == top.mem_id:
                return
            if restricted is not None and node.mem_id == restricted.mem_id:
                restricted, visibility = None, Visibility.EVERYBODY


def _is_separate_price(node: LexborNode) -> bool:
    """Whether an element is a price of its own: by its class, or because the one before has the same
    class."""
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
