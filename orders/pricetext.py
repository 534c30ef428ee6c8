"""Money as people read it on a page: "£1,234.50", "1.299,00 €", "CHF 1'299.–", "12<sup>99</sup> €".

A wrong reading pays a partner a thousand times too much, so what has two readings is refused and the owner is
told what to set, instead of being guessed. What a number means is decided by the conventions of the
currency and of the page's language (`conventions`), by the digits that the currency has, and by the edges
of the elements within (`injector.shown.EDGE`). Every text is at most `TEXT_LIMIT` characters long before an
expression sees it.
"""

import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

from ..injector.shown import BREAK, RAISED, Shown
from .asides import DIGITS, minor_part, parted, seen, without_notes
from .beside import NegativeError, Text, check_sign, check_units
from .conventions import printed_digits
from .model import OrderError, SharedSignError
from .money import is_currency
from .numerals import MARKS, Number
from .signs import own_signs

TEXT_LIMIT = 200  # characters of a total; a selector that matches more holds more than the total
# Characters of a text that is normalised at all: edges of elements and white space do not count above.
_RAW_LIMIT = 4_000

# Signs that mean one currency. "$", "¥", "kr" and "Fr" mean several, and are refused where nothing else says.
_SIGNS: Mapping[str, str] = MappingProxyType(
    {
        "€": "EUR",
        "£": "GBP",
        "₽": "RUB",
        "₹": "INR",
        "₺": "TRY",
        "₴": "UAH",
        "₪": "ILS",
        "₩": "KRW",
        "₫": "VND",
        "₦": "NGN",
        "฿": "THB",
        "₱": "PHP",
        "₸": "KZT",
        "₾": "GEL",
        "₼": "AZN",
        "֏": "AMD",
        "₡": "CRC",
        "₲": "PYG",
        "₮": "MNT",
        "zł": "PLN",
        "Kč": "CZK",
        "Ft": "HUF",
        "лв": "BGN",
        "руб": "RUB",
        "грн": "UAH",
        "US$": "USD",
        "CA$": "CAD",
        "AU$": "AUD",
        "A$": "AUD",
        "NZ$": "NZD",
        "HK$": "HKD",
        "NT$": "TWD",
        "MX$": "MXN",
        "R$": "BRL",
        "S$": "SGD",
        "CN¥": "CNY",
        "JP¥": "JPY",
        "Euro": "EUR",
        "EURO": "EUR",
        "euro": "EUR",
    }
)
_AMBIGUOUS = frozenset({"$", "¥", "￥", "C$", "kr", "kr.", "Kr", "Fr", "Fr.", "lei", "Rs", "Rs."})

# Marks that differ in code only: apostrophes, the Arabic group (grouping only, as an apostrophe does),
# dashes, full-width forms. The Arabic decimal separator stays: it has one meaning.
_SAME = str.maketrans(
    {
        **dict.fromkeys("’‘ʼ`´′٬", "'"),
        **dict.fromkeys("−–—―‐‑‒﹣－⁻", "-"),
        **dict.fromkeys("،⹁", ","),
        "٪": "%",
        "￥": "¥",
        "￡": "£",
        "￦": "₩",
        "﹩": "$",
        **{chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F) if code != 0xFF0D},
    }
)
# No part of a longer number: "1.299,50%" is no percentage and an amount, but unclear.
_PERCENT = re.compile(
    r"(?<![0-9.,'٫])(?<![0-9] )[0-9]{1,3}(?:[.,][0-9]{1,2})?\s?%|%\s?[0-9]{1,3}(?![0-9.,'٫]| [0-9])"
)

_SIGN = "|".join(re.escape(s) for s in sorted(_SIGNS.keys() | _AMBIGUOUS, key=len, reverse=True))
_SIGN = rf"(?<![^\W\d_])(?:{_SIGN}|[A-Z]{{3}})(?![^\W\d_])"
# A code counts only beside the number: "ALL", "TOP" and "TRY" are currencies, and words too.
_MONEY = re.compile(rf"(?:({_SIGN}) ?)?(?:({_SIGN}) ?)?-?[.,]?\d[\d .,']*-?(?: ?({_SIGN}))?(?: ?({_SIGN}))?")
_SIGNS_ALONE = re.compile(rf"\(?({_SIGN})(?: ?({_SIGN}))?\)?")

_SEVERAL = "holds several numbers; choose an element that holds only the total"

# A sign of its own, whole digits, decimals, an exponent.
_MACHINE = re.compile(r"[+-]?(\d{1,40})(?:\.(\d{1,40}))?([eE][+-]?\d{1,2})?", re.ASCII)


class UnclearError(OrderError):
    """An amount that has two readings, or none that is sure."""


def _normalised(text: str, part: str) -> Text:
    """Digits of all scripts as ASCII, one kind of dash and apostrophe, nothing that cannot be seen."""
    if len(text) > _RAW_LIMIT:
        raise OrderError(f"{part}: the element holds {len(text)} characters; choose a smaller one")
    seen = "".join(c for c in text.translate(_SAME) if unicodedata.category(c) != "Cf")
    seen = "".join(str(unicodedata.decimal(c)) if not c.isascii() and c.isdecimal() else c for c in seen)
    marked = " ".join(seen.split())
    plain = " ".join(marked.translate(MARKS).split())
    if len(plain) > TEXT_LIMIT:
        raise OrderError(f"{part}: the element holds {len(plain)} characters; choose a smaller one")
    return Text(marked, plain, part)


def read_currency(text: str, part: str = "currency") -> str | None:
    """The ISO 4217 code that a text names, as a code or by a sign that means one currency; else None.

    Raises OrderError naming `part` where the sign means several currencies, or two different ones stand.
    """
    plain = _PERCENT.sub(" ", _normalised(seen(text), part).plain).strip()
    found = [*_MONEY.finditer(plain)] or [m for m in [_SIGNS_ALONE.fullmatch(plain)] if m]
    if not found:
        return plain.upper() if is_currency(plain.upper()) else None
    signs = [sign for match in found for sign in match.groups() if sign]
    codes = {s for s in signs if is_currency(s)} | {_SIGNS[s] for s in signs if s in _SIGNS}
    if len(codes) > 1:
        raise OrderError(f"{part}: {plain!r} names several currencies: {', '.join(sorted(codes))}")
    if codes:
        return codes.pop()
    unclear = next((s for s in signs if s in _AMBIGUOUS), None)
    if unclear is not None:
        raise SharedSignError(
            f'{part}: {unclear!r} is the sign of several currencies; set `currency` to a code, like "USD"'
        )
    return None


def read_amount(
    text: str,
    currency: str | None,
    part: str = "total",
    language: str | None = None,
    *,
    cut: bool = False,
) -> Decimal:
    """The one amount in a text, with whatever digits stand there.

    `currency` is an ISO 4217 code; None where nothing tells it, then two minor digits are taken for granted
    and signs contradict nothing. `language` is the page's, as BCP 47 has it. `text` may hold EDGE, RAISED
    and BREAK. How many items were ordered, tax or shipping that is said to be included, and footnotes are
    left out. `cut` is whether other numbers were left out before, as `Shown.cut` tells.

    Raises OrderError naming `part` where there is no amount, a negative one (NegativeError), more than one,
    one that can be read in two ways (UnclearError), or one with the sign of another currency.
    """
    given = _normalised(text, part)
    marked = _PERCENT.sub(" ", given.marked)
    if currency is None:
        return _one(given, marked, None, (), language).amount
    own = own_signs(currency, language)
    digits = printed_digits(currency)
    rest = parted(without_notes(marked, own, digits), own)
    minor = minor_part(rest.text, currency, own) if digits == 2 else None
    found = _one(given, minor[0] if minor else rest.text, currency, own, language)
    exponent = found.amount.as_tuple().exponent
    if minor is not None and exponent != 0:
        given.refuse(_SEVERAL)
    amount = found.amount + Decimal(minor[1]).scaleb(-2) if minor else found.amount
    if (rest.found or cut) and not (found.signed or exponent == -digits != 0):
        given.refuse(_SEVERAL)  # "3 (59)": which of them is the amount?
    included = [Number(*_runs(number), currency, language).amount() for number in rest.included]
    # No country taxes a sale so high that the tax is more than half of what is paid.
    if any(part is None for part in included) or sum(filter(None, included)) * 2 > amount:
        given.refuse(_SEVERAL)
    return amount


class _Read(NamedTuple):
    amount: Decimal
    signed: bool


def _one(given: Text, marked: str, currency: str | None, own: tuple[str, ...], language: str | None) -> _Read:
    runs = list(DIGITS.finditer(marked))
    if not runs:
        given.refuse("holds no amount")
    digits, glues = _runs(marked)
    if any(_apart(glue) for glue in glues):
        given.refuse(_SEVERAL)
    before, behind = seen(marked[: runs[0].start()]), seen(marked[runs[-1].end() :])
    if before.rstrip().endswith("%") or behind.lstrip().startswith("%"):
        given.refuse("may be a percentage; choose an element that holds only the total")
    before, leading = _leading_separator(given, before, own)
    behind = re.sub(r"\A[.,:]\s?-{1,3}", "", behind)
    check_sign(given, before, behind)
    number = Number(digits, glues, currency or "EUR", language)
    amount = Decimal(f"0.{digits[0]}") if leading else number.amount()
    whole = amount is not None and amount.as_tuple().exponent == 0
    signed = currency is not None and check_units(given, before, behind, currency, own, whole=whole)
    if ":" in "".join(glues) and not signed and int(digits[0][:3]) < 25:
        given.refuse("may be a time of day; choose an element that shows the sign of the currency too")
    if leading and (glues or len(digits[0]) != printed_digits(number.currency)):
        given.refuse("begins with a separator and cannot be read for sure")
    if amount is None:
        raise UnclearError(
            f"{given.part}: {given.plain[:60]!r} can be read in two ways or in none as "
            f"{currency or 'money'}; choose an element that shows the total without doubt"
        )
    return _Read(amount, signed)


def _runs(marked: str) -> tuple[list[str], list[str]]:
    """The runs of digits, and what stands between them."""
    runs = list(DIGITS.finditer(marked))
    return [run[0] for run in runs], [marked[a.end() : b.start()] for a, b in pairwise(runs)]


def read_shown(shown: Shown, currency: str | None, part: str = "total") -> Decimal:
    """As `read_amount`, of what an element shows.

    The attribute `content` beside a text is what the page tells programs; where both can be read they have
    to agree, and it settles what the text leaves open. In an attribute a dot parts the decimals, as
    schema.org has it, and three digits behind it have two readings unless the currency has three.
    """
    if shown.machine:
        return read_written(shown.text, currency, part, shown.language)
    stated = None
    if shown.stated is not None:
        try:
            stated = read_written(shown.stated, currency, part, shown.language)
        except OrderError:
            stated = None  # a template that was not filled
    try:
        amount = _seen_and_heard(shown, currency, part)
    except UnclearError:
        if stated is None:
            raise
        return stated
    if stated is not None and stated != amount:
        raise OrderError(f"{part}: the element shows {amount}, but its attribute `content` says {stated}")
    return amount


def _seen_and_heard(shown: Shown, currency: str | None, part: str) -> Decimal:
    """The amount that is seen, where a page tells other readers another text.

    Amazon's and WooCommerce's pages draw an amount for those who look (`aria-hidden`) and write it once more
    for those who listen (`sr-only`). Two different ones are refused; two equal ones are one, where a shop's
    own style sheet hides the second; and what is heard may hold the mark that parts the decimals.
    """
    try:
        seen_amount = read_amount(shown.text, currency, part, shown.language, cut=shown.cut)
    except NegativeError:
        raise
    except OrderError:
        heard = _attempt(shown.spoken, shown, currency)
        drawn = _attempt(shown.drawn, shown, currency)
        same_digits = DIGITS.findall(shown.text) and (
            "".join(DIGITS.findall(shown.text)) == "".join(DIGITS.findall(shown.spoken or ""))
        )
        if heard is None or not (heard == drawn or same_digits):
            raise
        return heard
    heard = _attempt(shown.spoken, shown, currency)
    if heard is not None and heard != seen_amount:
        raise OrderError(f"{part}: the element shows {seen_amount}, but is read aloud as {heard}")
    return seen_amount


def _attempt(text: str | None, shown: Shown, currency: str | None) -> Decimal | None:
    """The amount of a text beside the one that is seen; None where it tells none. Raises NegativeError."""
    try:
        return read_amount(text, currency, language=shown.language, cut=shown.cut) if text else None
    except NegativeError:
        raise
    except OrderError:
        return None


def read_written(
    text: str, currency: str | None, part: str = "total", language: str | None = None
) -> Decimal:
    """An amount written for programs, in an attribute or in JSON-LD; text of
    another shape is read as people's.

    Raises OrderError naming `part`.
    """
    text = text.strip()
    if (number := _MACHINE.fullmatch(text)) is None:
        return read_amount(text, currency, part, language)
    if text.startswith("-") and text.strip("-0."):
        raise OrderError(f"{part}: {text!r} is negative; an order's total is zero or more")
    grouped = (
        number[2] is not None and len(number[2]) == 3 and 1 <= len(number[1]) <= 3 and number[1].strip("0")
    )
    if grouped and number[3] is None and printed_digits(currency or "EUR") != 3:
        raise UnclearError(f"{part}: {text!r} can be {number[1]}{number[2]} or {number[1]}.{number[2]}")
    return Decimal(text)


def _apart(glue: str) -> bool:
    """Whether what stands between two runs of digits parts two numbers."""
    if BREAK in glue and RAISED not in glue:
        return True
    bare = glue.translate(MARKS)
    return re.fullmatch(r"[.,'٫:]? ?|[€$£]", bare) is None


def _leading_separator(given: Text, before: str, own: tuple[str, ...]) -> tuple[str, bool]:
    """Text before the number without a dot that belongs to a word ("Rs.500"), and
    whether it starts with one."""
    if not before.endswith((".", ",", "'")):
        return before, False
    word = re.search(r"[^\W\d_]+\Z", before[:-1])
    named = before.endswith(".") and (word is None or not is_currency(word[0]))
    if named and (word is not None or before.endswith(tuple(sign for sign in own if sign.endswith(".")))):
        return before, False
    if word is None:
        return before[:-1], True
    return given.refuse("has a separator before the number and cannot be read for sure")
