"""Parses amounts of money in the text of a page: "£1,234.50", "1.299,00 €", "CHF 1'299.–", "12<sup>99</sup>
€".

A wrong reading could pay a partner a thousand times too much. So a text with two readings is refused, and the
error says what to set. A number is read by the conventions of the currency and of the page's language
(`conventions`), by the currency's minor digits, and by the elements inside (`injector.shown.EDGE`). A text of
more than `TEXT_LIMIT` characters is refused before any expression sees it.
"""

import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

from ..injector.shown import BREAK, RAISED, Shown
from .asides import DIGITS, minor_part, seen, without_asides, without_notes
from .beside import NegativeError, Text, check_sign, check_units
from .conventions import printed_digits
from .model import OrderError, SharedSignError
from .money import is_currency
from .numerals import MARKS, Number
from .signs import own_signs

TEXT_LIMIT = 200  # characters of a total; a selector that matches more holds more than the total
# Maximum length before it is normalised: marks and white space do not count above.
_RAW_LIMIT = 4_000

# Signs that mean one currency. "$", "¥", "kr" and "Fr" mean several, and are refused if nothing else decides.
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

# Characters with the same meaning: apostrophes, the Arabic thousands separator (which groups only, as an
# apostrophe does), dashes, full-width forms. The Arabic decimal separator stays: it has one meaning.
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
# Not inside a longer number: "1.299,50%" is unclear.
_PERCENT = re.compile(
    r"(?<![0-9.,'٫])(?<![0-9] )[0-9]{1,3}(?:[.,][0-9]{1,2})?\s?%|%\s?[0-9]{1,3}(?![0-9.,'٫]| [0-9])"
)

_SIGN = "|".join(re.escape(s) for s in sorted(_SIGNS.keys() | _AMBIGUOUS, key=len, reverse=True))
_SIGN = rf"(?<![^\W\d_])(?:{_SIGN}|[A-Z]{{3}})(?![^\W\d_])"
# A code counts only next to the number: "ALL", "TOP" and "TRY" are currencies, and words too.
_MONEY = re.compile(rf"(?:({_SIGN}) ?)?(?:({_SIGN}) ?)?-?[.,]?\d[\d .,']*-?(?: ?({_SIGN}))?(?: ?({_SIGN}))?")
_SIGNS_ALONE = re.compile(rf"\(?({_SIGN})(?: ?({_SIGN}))?\)?")

_SEVERAL = "has several numbers; choose an element that has only the total"

# Sign, whole digits, decimals, exponent.
_MACHINE = re.compile(r"[+-]?(\d{1,40})(?:\.(\d{1,40}))?([eE][+-]?\d{1,2})?", re.ASCII)


class UnclearError(OrderError):
    """An amount with two readings, or without a certain one."""


def _normalised(text: str, part: str) -> Text:
    """The text with ASCII digits, one kind of dash and apostrophe, and no invisible characters."""
    if len(text) > _RAW_LIMIT:
        raise OrderError(f"{part}: the element has {len(text)} characters; choose a smaller one")
    seen = "".join(c for c in text.translate(_SAME) if unicodedata.category(c) != "Cf")
    seen = "".join(str(unicodedata.decimal(c)) if not c.isascii() and c.isdecimal() else c for c in seen)
    marked = " ".join(seen.split())
    plain = " ".join(marked.translate(MARKS).split())
    if len(plain) > TEXT_LIMIT:
        raise OrderError(f"{part}: the element has {len(plain)} characters; choose a smaller one")
    return Text(marked, plain, part)


def read_currency(text: str, part: str = "currency") -> str | None:
    """The ISO 4217 code in a text, as a code or as a sign that means one currency; None if there is none.

    Raises OrderError naming `part` if the sign means several currencies, or the text names two.
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
    omitted_digits: bool = False,
) -> Decimal:
    """The one amount in a text, with the digits as written.

    `currency` is an ISO 4217 code, or None if it is unknown: then two minor digits are assumed, and signs
    of currencies are ignored. `language` is the page's, as a BCP 47 tag. `text` may contain EDGE, RAISED
    and BREAK. A number of items, included tax or shipping, and footnotes are ignored. `omitted_digits` is
    that of `Shown`.

    Raises OrderError naming `part` if there is no amount, a negative one (NegativeError), more than one,
    one with two readings (UnclearError), or one with the sign of another currency.
    """
    given = _normalised(text, part)
    marked = _PERCENT.sub(" ", given.marked)
    if currency is None:
        return _one(given, marked, None, (), language).amount
    own = own_signs(currency, language)
    digits = printed_digits(currency)
    rest = without_asides(without_notes(marked, own, digits), own)
    minor = minor_part(rest.text, currency, own) if digits == 2 else None
    found = _one(given, minor[0] if minor else rest.text, currency, own, language)
    exponent = found.amount.as_tuple().exponent
    if minor is not None and exponent != 0:
        given.refuse(_SEVERAL)
    amount = found.amount + Decimal(minor[1]).scaleb(-2) if minor else found.amount
    if (rest.found or omitted_digits) and not (found.signed or exponent == -digits != 0):
        given.refuse(_SEVERAL)  # "3 (59)": which of them is the amount?
    included = [Number(*_runs(number), currency, language).amount() for number in rest.included]
    # In no country is the tax more than half of what is paid.
    if any(part is None for part in included) or sum(filter(None, included)) * 2 > amount:
        given.refuse(_SEVERAL)
    return amount


class _Read(NamedTuple):
    amount: Decimal
    signed: bool


def _one(given: Text, marked: str, currency: str | None, own: tuple[str, ...], language: str | None) -> _Read:
    runs = list(DIGITS.finditer(marked))
    if not runs:
        given.refuse("has no amount")
    digits, separators = _runs(marked)
    if any(_separates_numbers(mark) for mark in separators):
        given.refuse(_SEVERAL)
    before, behind = seen(marked[: runs[0].start()]), seen(marked[runs[-1].end() :])
    if before.rstrip().endswith("%") or behind.lstrip().startswith("%"):
        given.refuse("may be a percentage; choose an element that has only the total")
    before, leading = _leading_separator(given, before, own)
    behind = re.sub(r"\A[.,:]\s?-{1,3}", "", behind)
    check_sign(given, before, behind)
    number = Number(digits, separators, currency or "EUR", language)
    amount = Decimal(f"0.{digits[0]}") if leading else number.amount()
    whole = amount is not None and amount.as_tuple().exponent == 0
    signed = currency is not None and check_units(given, before, behind, currency, own, whole=whole)
    if ":" in "".join(separators) and not signed and int(digits[0][:3]) < 25:
        given.refuse("may be a time of day; choose an element that also shows the currency")
    if leading and (separators or len(digits[0]) != printed_digits(number.currency)):
        given.refuse("begins with a separator and cannot be read with certainty")
    if amount is None:
        raise UnclearError(
            f"{given.part}: {given.plain[:60]!r} can be read in two ways or in none as "
            f"{currency or 'money'}; choose an element that shows the total unambiguously"
        )
    return _Read(amount, signed)


def _runs(marked: str) -> tuple[list[str], list[str]]:
    """The runs of digits, and the separators between them."""
    runs = list(DIGITS.finditer(marked))
    return [run[0] for run in runs], [marked[a.end() : b.start()] for a, b in pairwise(runs)]


def read_shown(shown: Shown, currency: str | None, part: str = "total") -> Decimal:
    """Like `read_amount`, for the text of an element.

    The attribute `content` holds the amount for programs. If both can be read they must agree; if the text is
    unclear, the attribute decides. In an attribute a dot is the decimal separator, as schema.org defines;
    three digits after it have two readings unless the currency has three.
    """
    if shown.from_attribute:
        return read_machine_amount(shown.text, currency, part, shown.language)
    content = None
    if shown.content is not None:
        try:
            content = read_machine_amount(shown.content, currency, part, shown.language)
        except OrderError:
            content = None  # a template that was not filled in
    try:
        amount = _visible_amount(shown, currency, part)
    except UnclearError:
        if content is None:
            raise
        return content
    if content is not None and content != amount:
        raise OrderError(f"{part}: the element shows {amount}, but its attribute `content` says {content}")
    return amount


def _visible_amount(shown: Shown, currency: str | None, part: str) -> Decimal:
    """The amount for sighted readers, compared with the one for screen readers.

    Amazon's and WooCommerce's pages write an amount twice: for sighted readers (`aria-hidden`) and for screen
    readers (`sr-only`). Two different amounts are refused, two equal ones count once, even if only the shop's
    style sheet hides the second. The one for screen readers may have the decimal separator that the other
    lacks.
    """
    try:
        visible = read_amount(shown.text, currency, part, shown.language, omitted_digits=shown.omitted_digits)
    except NegativeError:
        raise
    except OrderError:
        read_aloud = _attempt(shown.read_aloud, shown, currency)
        sighted_only = _attempt(shown.sighted_only, shown, currency)
        same_digits = DIGITS.findall(shown.text) and (
            "".join(DIGITS.findall(shown.text)) == "".join(DIGITS.findall(shown.read_aloud or ""))
        )
        if read_aloud is None or not (read_aloud == sighted_only or same_digits):
            raise
        return read_aloud
    read_aloud = _attempt(shown.read_aloud, shown, currency)
    if read_aloud is not None and read_aloud != visible:
        raise OrderError(f"{part}: the element shows {visible}, but is read aloud as {read_aloud}")
    return visible


def _attempt(text: str | None, shown: Shown, currency: str | None) -> Decimal | None:
    """The amount in another text of the element; None if it has none. Raises NegativeError."""
    if not text:
        return None
    try:
        return read_amount(text, currency, language=shown.language, omitted_digits=shown.omitted_digits)
    except NegativeError:
        raise
    except OrderError:
        return None


def read_machine_amount(
    text: str, currency: str | None, part: str = "total", language: str | None = None
) -> Decimal:
    """An amount in an attribute or in JSON-LD. A text of another form is read by `read_amount`.

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


def _separates_numbers(mark: str) -> bool:
    """Whether the text between two runs of digits makes them two numbers."""
    if BREAK in mark and RAISED not in mark:
        return True
    bare = mark.translate(MARKS)
    return re.fullmatch(r"[.,'٫:]? ?|[€$£]", bare) is None


def _leading_separator(given: Text, before: str, own: tuple[str, ...]) -> tuple[str, bool]:
    """The text before the number, without a dot that belongs to a word ("Rs.500"); and whether the number
    begins with a separator."""
    if not before.endswith((".", ",", "'")):
        return before, False
    word = re.search(r"[^\W\d_]+\Z", before[:-1])
    named = before.endswith(".") and (word is None or not is_currency(word[0]))
    if named and (word is not None or before.endswith(tuple(sign for sign in own if sign.endswith(".")))):
        return before, False
    if word is None:
        return before[:-1], True
    return given.refuse("has a separator before the number and cannot be read with certainty")
