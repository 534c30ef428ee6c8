"""Checks the text before and after a number: signs of its currency, a minus, words by which it is not the
whole amount."""

import re
import unicodedata
from itertools import pairwise
from typing import NamedTuple, NoReturn

from .model import OrderError
from .money import is_currency
from .signs import MEANS, NAMES, SYMBOLS, touches
from .words import (
    FROM,
    INCLUDED,
    KNOWN,
    MINOR,
    MULTIPLIERS,
    NUMBERS,
    PER,
    RATE,
    REDUCTION,
    SHIPPING,
    SMALL,
    TAX,
    TOTAL,
    UNIT,
)

_UNIT = rf"(?:[^\W\d_]|[{re.escape(SYMBOLS)}'״\"/.])"
_UNIT_BEFORE = re.compile(rf"(?<!\S)[^\s]*?({_UNIT}+)\Z|({_UNIT}+)\Z")
_UNIT_BEHIND = re.compile(rf"{_UNIT}+")
_WORDS = re.compile(r"[^\W\d_]+(?:['.][^\W\d_]+)*")
_MAGNITUDES = frozenset("十百千万萬億亿兆백천만억조")
_GROSS = frozenset(("ttc", "ht"))  # "TTC 59,90 €" is the amount with tax, not the tax
_MINUS = re.compile(r"(?:\b(?:minus|moins|menos|meno|минус|eksi)|[△▲▼])\Z", re.IGNORECASE)


class NegativeError(OrderError):
    """An amount below zero."""


class Text(NamedTuple):
    """A text that is parsed: `marked` with marks for elements, `plain` for error messages."""

    marked: str
    plain: str
    part: str

    def refuse(self, why: str) -> NoReturn:
        """Raise OrderError with the text."""
        raise OrderError(f"{self.part}: {self.plain[:60]!r} {why}")

    def negative(self, why: str) -> NoReturn:
        """Raise NegativeError with the text."""
        raise NegativeError(f"{self.part}: {self.plain[:60]!r} {why}; an order's total is zero or more")


def check_sign(given: Text, before: str, behind: str) -> None:
    """Refuse a negative amount, in all usual notations."""
    signs = rf"[\s{re.escape(SYMBOLS)}]*(?:(?<![^\W\d_])[^\W\d_]{{1,4}}\.?[\s{re.escape(SYMBOLS)}]*)?\Z"
    head = re.sub(signs, "", before) if not before.endswith("-") else before
    dashed = next((h for h in (before.rstrip(), head.rstrip()) if h.endswith("-")), None)
    # "Total - €5.00": a dash between a word and the amount, with blanks on both sides.
    label = (
        dashed is not None and re.search(r"\w\s-\Z", dashed) and re.match(r"\s", before[len(dashed) :] or "x")
    )
    bracket = before.count("(") > before.count(")") or before.count("[") > before.count("]")
    minus = any(_MINUS.search(h.rstrip()) for h in (before, head))
    tail = re.sub(rf"\A[\s{re.escape(SYMBOLS)}]+", "", behind)
    trailing = tail.startswith("-") and not re.match(r"\A\s+-\s+[^\W\d_]{2}", behind)
    unit_then_dash = re.match(r"\A\s*[^\W\d_]{1,4}\.?\s?-(?!\s*\w)", behind)
    if (dashed is not None and not label) or minus or trailing or unit_then_dash:
        given.negative("is negative")
    if bracket:
        given.negative("is in brackets, like a negative amount")


def check_units(
    given: Text, before: str, behind: str, currency: str, own: tuple[str, ...], *, whole: bool
) -> bool:
    """Whether the amount has a sign of its currency; `whole` is whether it has no decimals.

    Refuses a sign that cannot mean the currency, an unknown sign, and words by which it is not the whole
    amount.
    """
    rests, signed = [], False
    for text, ahead in ((before, True), (behind, False)):
        rest, found = _without_signs(given, text, currency, own, ahead=ahead)
        rests.append(rest)
        signed = signed or found
    _check_words(given, *rests, signed=signed, whole=whole)
    return signed


def _without_signs(
    given: Text, text: str, currency: str, own: tuple[str, ...], *, ahead: bool
) -> tuple[str, bool]:
    stripped, signed = text.strip(), False
    attached = text == (text.rstrip() if ahead else text.lstrip())
    for _ in range(2):
        sign = next((s for s in own if touches(stripped, s, ahead=ahead)), None)
        if sign is None:
            unit = _unit_of(stripped, ahead=ahead)
            if unit and (why := _contradiction(unit, currency, attached=attached)):
                given.refuse(f"{why} {currency}")
            signed = signed or currency in (MEANS.get(unit) or NAMES.get(unit.casefold()) or ())
            break
        signed = True
        stripped = stripped[: -len(sign)] if ahead else stripped[len(sign) :]
        attached = not stripped[-1:].isspace() if ahead else not stripped[:1].isspace()
        stripped = stripped.strip()
    return stripped, signed


def _check_words(given: Text, before: str, behind: str, *, signed: bool, whole: bool) -> None:
    """Refuse "from €10", "€10 per month", "+ €10"; and without a sign "3 pieces", "Order 1001"."""
    words = [word.casefold() for word in _WORDS.findall(before)]
    after = [word.casefold() for word in _WORDS.findall(behind)]
    if (
        before.endswith(tuple("+<>~≈≤≥±"))
        or behind.startswith(("+", "~", "〜"))
        or FROM & set(words[-3:])
        or FROM & set(after[:1])
    ):
        given.refuse("is not an exact amount; choose the element that has the total")
    pairs = [*pairwise(words), *pairwise(after[:2])]
    if (
        re.match(r"/\s?\w", behind)
        or RATE & {*words[-2:], *after[:2]}
        or any(first in PER and second in UNIT for first, second in pairs)
    ):
        given.refuse("is the price of a part; choose the element that has the total")
    parts = (REDUCTION | SHIPPING | TAX - _GROSS) & set(words) and not (TOTAL | INCLUDED) & set(words)
    if parts or REDUCTION & set(after[:2]):
        given.refuse("is labelled as shipping, tax or a discount; choose the element that has the total")
    label = next((word for word in reversed(words) if word not in SMALL), "")
    # "July 2004": a whole number without a sign is an amount only if a word says so.
    unknown = whole and words and not TOTAL & set(words[-4:])
    if before.endswith(("#", "№", "#:")) or (not signed and (label in NUMBERS or unknown)):
        given.refuse("is a number, but not certainly an amount; choose the element that has the total")
    if not signed and after and after[0] not in KNOWN:
        given.refuse(f"is followed by {after[0][:20]!r}, which is not the sign of a currency")


def _unit_of(text: str, *, ahead: bool) -> str:
    found = (_UNIT_BEFORE if ahead else _UNIT_BEHIND).search(text) if ahead else _UNIT_BEHIND.match(text)
    unit = (
        (found[1] if found.lastindex == 1 else found[found.lastindex]) if found and found.lastindex else None
    )
    return (unit or (found[0] if found and not ahead else "")).strip("'\"/.")


def _contradiction(unit: str, currency: str, *, attached: bool) -> str | None:
    """Why a word or sign beside the amount contradicts the currency; None if it does not."""
    codes = MEANS.get(unit) or NAMES.get(unit.casefold())
    if codes is None and (unit in MEANS or unit.casefold() in MINOR):
        codes = frozenset()
    if codes is None and is_currency(unit):
        codes = frozenset((unit,))
    if codes is not None:
        if currency in codes:
            return None
        return f"is in {' or '.join(sorted(codes)[:4]) or unit}, not in"
    if any(c in SYMBOLS for c in unit):
        return f"has the sign {unit!r}, which is not one of"
    if unit[0] in _MAGNITUDES or unit.casefold() in MULTIPLIERS:
        return f"has {unit[:10]!r}, which multiplies it; cannot be read in"
    if unit.casefold() in KNOWN or unicodedata.category(unit[0]) == "Lo":
        return None
    if attached or len(unit) < 3 or (unit.isupper() and len(unit) < 5):
        return f"has {unit!r}, which is not a known sign of"
    return None
