"""Removes what is beside a total but not part of it: "(2 items)", "(inc. VAT £216.50)", footnotes.

A text is removed only if each word of it is known. Otherwise it stays, and the total is refused because it
has several numbers.
"""

import re
import unicodedata
from typing import NamedTuple

from ..injector.shown import BREAK, EDGE, RAISED
from .signs import NAMES, ends_with_sign
from .words import COUNTS, INCLUDED, MINOR, SHIPPING, SMALL, TAX

DIGITS = re.compile(r"\d++", re.ASCII)
_NUMBER = re.compile(r"[0-9](?:[.,'٫ ]?[0-9])*+")
_BRACKETS = re.compile(r"[(\[][^()\[\]]*+[)\]]")
_LETTERS = re.compile(r"[^\W\d_]++")
_PARTS = re.compile(r"[0-9]++|[^\W\d_]++|[^\s:.]")
_NOTE = re.compile(rf"{RAISED}\s?([(\[]?)([0-9]{{1,2}}|[*†‡§]{{1,3}})[)\]]?\s?(?:{EDGE}|{BREAK}|\Z)")
_SMALL_NOTE = re.compile(r"[¹²³⁰⁴-⁹⁽⁾]{1,4}")
# "2 items - $59.90", as in mini-carts. A minus sign would be directly before its amount.
_COUNTED = re.compile(
    rf"[\s{EDGE}{BREAK}]*([0-9]{{1,4}} ?[^\W\d_]{{2,20}})[\s{EDGE}]*[-:|][\s{EDGE}]+(?=[^\s{EDGE}])"
)
_JOINED = frozenset(("and", "und", "et", "y", "e", "i", "и", "og", "och", "en", ","))


_BLANKS = dict.fromkeys(map(ord, (EDGE, RAISED, BREAK)), " ")


class WithoutAsides(NamedTuple):
    """A text without its asides. `included` are the amounts that the text says its total includes; `found` is
    whether anything was removed."""

    text: str
    included: tuple[str, ...] = ()
    found: bool = False


def seen(text: str) -> str:
    """The text with blanks instead of marks."""
    return re.sub(r"\s+", " ", text.translate(_BLANKS))


def without_notes(marked: str, own: tuple[str, ...], digits: int) -> str:
    """The text without footnotes after the sign of its currency: "59,90 €<sup>1</sup>", "59,90 €¹".

    Two digits there are minor units, as in "12 €<sup>99</sup>", unless the number already has decimals.
    """

    def note(found: re.Match[str]) -> str:
        head = seen(marked[: found.start()]).rstrip()
        if not ends_with_sign(head, own):
            return found[0]
        mark = found[2] if found.re is _NOTE else "*"
        whole = digits > 0 and re.search(r"[.,][0-9]{2}[^0-9]*\Z", head) is None
        minor = len(mark) == 2 and mark.isdecimal() and not found[1] and whole
        return found[0] if minor else " "

    return _SMALL_NOTE.sub(note, _NOTE.sub(note, marked))


def without_asides(marked: str, own: tuple[str, ...]) -> WithoutAsides:
    """The text without the number of items, and without the tax or shipping that its amount includes."""
    text = re.sub(r"(?<=\w)\(s\)", "s", marked, flags=re.IGNORECASE)
    included: list[str] = []
    found = False
    for group in reversed(list(_BRACKETS.finditer(text))):
        within = seen(group[0][1:-1])
        if not DIGITS.search(within) or all(
            DIGITS.search(side) for side in (text[: group.start()], text[group.end() :])
        ):
            continue
        if (amounts := () if _counts(within) else _included(within, own)) is not None:
            text = f"{text[: group.start()]} {text[group.end() :]}"
            included += amounts
            found = True
    counted = _COUNTED.match(text)
    if counted and _counts(counted[1]) and DIGITS.search(text, counted.end()):
        text, found = text[counted.end() :], True
    number = DIGITS.search(text)
    for word in _LETTERS.finditer(text, number.end()) if number else ():
        if word[0].casefold() in INCLUDED:
            amounts = _included(seen(text[word.start() :]), own)
            if amounts:
                return WithoutAsides(text[: word.start()], (*included, *amounts), found=True)
            break
    return WithoutAsides(text, tuple(included), found)


def _counts(text: str) -> bool:
    """Whether a text is a number of items: "2 items", "x2", "3"."""
    parts = _PARTS.findall(text)
    numbers = [part for part in parts if part.isdecimal()]
    words = {part.casefold() for part in parts if not part.isdecimal()}
    return len(numbers) == 1 and len(numbers[0]) <= 4 and words <= COUNTS | {"x", "×"}


def _included(text: str, own: tuple[str, ...]) -> tuple[str, ...] | None:
    """The numbers in "includes £10.00 VAT, £2.00 City Tax"; None if a word or sign has another meaning."""
    numbers = tuple(_NUMBER.findall(text))
    said = part = False
    for token in _NUMBER.sub(" ", text).replace("/", " ").split():
        bare = token.strip(",:;.&()[]")
        word = bare.casefold()
        if not bare or bare in own or word in SMALL:
            continue
        both = word in INCLUDED and unicodedata.category(word[0]) == "Lo"
        said = said or word in INCLUDED
        part = part or word in TAX or word in SHIPPING or both
        if not (word in INCLUDED or word in TAX or word in SHIPPING):
            return None
    return numbers if said and part else None


def minor_part(marked: str, currency: str, own: tuple[str, ...]) -> tuple[str, int] | None:
    """The text in major units and the hundredths of "1 299 руб. 50 коп."; None for another kind of text."""
    runs = list(DIGITS.finditer(marked))
    if len(runs) < 2 or len(runs[-1][0]) > 2:
        return None
    behind = seen(marked[runs[-1].end() :])
    word = re.match(r"\s?([^\W\d_]+)\.?", behind)
    if word is None or currency not in MINOR.get(word[1].casefold(), ()):
        return None
    between = [
        part for part in seen(marked[runs[-2].end() : runs[-1].start()]).split() if part not in _JOINED
    ]
    sign = " ".join(between)
    if sign not in own and currency not in NAMES.get(sign.casefold().rstrip("."), ()):
        return None
    return f"{marked[: runs[-1].start()]} {behind[word.end() :]}", int(runs[-1][0])
