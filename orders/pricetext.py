"""Money as people read it on a page: "£1,234.50", "1.299,00 €", "CHF 1'299.–".

A wrong reading pays a partner a thousand times too much, so what has two readings is refused and the owner is
told what to set, instead of being guessed.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from price_parser import Price

from .model import OrderError
from .money import is_currency, minor_digits

TEXT_LIMIT = 200  # characters of a total; a selector that matches more holds more than the total

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

# Marks that differ in code only: the typographic apostrophe, Arabic separators, dashes.
_SAME = str.maketrans({"’": "'", "ʼ": "'", "٬": ",", "٫": ".", "−": "-", "–": "-", "—": "-"})
_PERCENT = re.compile(r"\d+(?:[.,]\d+)?\s?%")

_SIGN = "|".join(re.escape(s) for s in sorted(_SIGNS.keys() | _AMBIGUOUS, key=len, reverse=True))
_SIGN = rf"(?<![^\W\d_])(?:{_SIGN}|[A-Z]{{3}})(?![^\W\d_])"
# A code counts only beside the number: "ALL", "TOP" and "TRY" are currencies, and words too.
_MONEY = re.compile(rf"(?:({_SIGN}) ?)?(?:({_SIGN}) ?)?-?[.,]?\d[\d .,']*-?(?: ?({_SIGN}))?(?: ?({_SIGN}))?")
_SIGNS_ALONE = re.compile(rf"\(?({_SIGN})(?: ?({_SIGN}))?\)?")
_NEGATIVE = re.compile(r"-(?=[.,]?\d)|(?<![\w.,])-(?:[^\w\s]{1,3}|[A-Z]{3}) ?\d")

# What a number may look like, each with the separator of its decimals: "1,234.50", "1.234,50", "1 234,50",
# "1'299.50", "12,34,567.00" (India), "59.90", ".75", "35€99".
_SHAPES: tuple[tuple[re.Pattern[str], str | None], ...] = (
    (re.compile(r"\d+"), None),
    (re.compile(r"\d{1,3}(?:(?:,\d{3})+|(?: \d{3})+)\.\d+|\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?"), "."),
    (re.compile(r"\d{1,3}(?:(?:\.\d{3})+|(?: \d{3})+),\d+"), ","),
    (re.compile(r"\d{1,3}(?: \d{3})+|\d{1,3}(?:,\d{3}){2,}"), "."),
    (re.compile(r"\d{1,3}(?:\.\d{3}){2,}"), ","),
    (re.compile(r"\d+€\d\d"), "€"),
)
_BAD_GROUP = re.compile(r"\d'(?!\d{3}(?!\d))(?=\d)")  # price-parser drops every apostrophe
_ONE_SEPARATOR = re.compile(r"(\d*)([.,])(\d+)")


def _plain(text: str, part: str) -> str:
    text = " ".join(text.translate(_SAME).split())
    if len(text) > TEXT_LIMIT:
        raise OrderError(f"{part}: the element holds {len(text)} characters; choose a smaller one")
    return text


def read_currency(text: str, part: str = "currency") -> str | None:
    """The ISO 4217 code that a text names, as a code or by a sign that means one currency; else None.

    Raises OrderError naming `part` where the sign means several currencies, or two different ones stand.
    """
    plain = _PERCENT.sub(" ", _plain(text, part)).strip()
    found = _MONEY.search(plain) or _SIGNS_ALONE.fullmatch(plain)
    if found is None:
        return plain.upper() if is_currency(plain.upper()) else None
    signs = [s for s in found.groups() if s]
    codes = {s for s in signs if is_currency(s)} | {_SIGNS[s] for s in signs if s in _SIGNS}
    if len(codes) > 1:
        raise OrderError(f"{part}: {plain!r} names several currencies: {', '.join(sorted(codes))}")
    if codes:
        return codes.pop()
    unclear = next((s for s in signs if s in _AMBIGUOUS), None)
    if unclear is not None:
        raise OrderError(
            f'{part}: {unclear!r} is the sign of several currencies; set `currency` to a code, like "USD"'
        )
    return None


def read_amount(text: str, currency: str, part: str = "total") -> Decimal:
    """The one amount in a text, with whatever digits stand there.

    A single separator with three digits after it groups thousands ("1.299 €"), except in a currency of three
    minor digits ("1.299 KWD") and after a lone zero. Raises OrderError naming `part` where there is no
    amount, a negative one, more than one, or one that cannot be read for sure.
    """
    plain = _PERCENT.sub(" ", _plain(text, part))
    if _NEGATIVE.search(plain):
        raise OrderError(f"{part}: {plain!r} is negative; an order's total is zero or more")
    digits = re.findall(r"\d", plain)
    if not digits:
        raise OrderError(f"{part}: {plain!r} holds no amount")
    number = Price.fromstring(plain).amount_text or ""
    if re.findall(r"\d", number) != digits:
        raise OrderError(
            f"{part}: {plain!r} holds several numbers; choose an element that holds only the total"
        )
    amount = Price.fromstring(number, decimal_separator=_decimal_separator(number, currency, part)).amount
    if amount is None or _BAD_GROUP.search(plain):
        raise OrderError(f"{part}: {plain!r} cannot be read as an amount")
    return amount


def _decimal_separator(number: str, currency: str, part: str) -> str | None:
    """The separator for price-parser, which by itself takes "0.500" for 500 and "1,234.567" for a million."""
    if (one := _ONE_SEPARATOR.fullmatch(number)) is not None:
        whole, separator, rest = one.groups()
        thousands = len(rest) == 3 and 1 <= len(whole) <= 3 and whole != "0" and minor_digits(currency) != 3
        other = "," if separator == "." else "."
        return other if thousands else separator
    for shape, separator in _SHAPES:
        if shape.fullmatch(number):
            return separator
    raise OrderError(f"{part}: {number!r} is no number that can be read for sure")
