"""Amounts of money: decimal, never float, with the currency's minor digits."""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from types import MappingProxyType

from babel.core import get_global

from .model import OrderError

LIMIT = Decimal(10) ** 15  # larger than any order in any currency

# CLDR, and so Babel, gives these no minor digits, because people do not write them; ISO 4217 does. CLDR's
# digits would cut off cents that a shop charged.
_ISO_DIGITS: Mapping[str, int] = MappingProxyType(
    {
        "AFN": 2,
        "ALL": 2,
        "IQD": 3,
        "IRR": 2,
        "KPW": 2,
        "LAK": 2,
        "LBP": 2,
        "MGA": 2,
        "MMK": 2,
        "RSD": 2,
        "SLL": 2,
        "SOS": 2,
        "SYP": 2,
        "YER": 2,
    }
)
_NOT_MONEY = frozenset({"XXX", "XTS"})  # ISO 4217: "no currency" and "for testing"


def is_currency(code: str) -> bool:
    """Whether `code` is an ISO 4217 code, in upper case."""
    return code in get_global("all_currencies") and code not in _NOT_MONEY


def currencies() -> list[str]:
    """All codes of ISO 4217, in alphabetical order."""
    return sorted(code for code in get_global("all_currencies") if is_currency(code))


def minor_digits(currency: str) -> int:
    """Digits after the dot by ISO 4217: 2 for EUR, 0 for JPY, 3 for KWD."""
    if currency in _ISO_DIGITS:
        return _ISO_DIGITS[currency]
    fractions = get_global("currency_fractions")
    digits: int = fractions.get(currency, fractions["DEFAULT"])[0]
    return digits


def checked_currency(code: str) -> str:
    """The code in upper case, without blanks around it. Raises OrderError if ISO 4217 has no such code."""
    found = code.strip().upper()
    if not is_currency(found):
        raise OrderError(f'currency: {_short(code)} is not an ISO 4217 code; write for example "EUR"')
    return found


def checked_total(total: Decimal, currency: str) -> Decimal:
    """The total with the currency's minor digits, halves rounded up.

    Raises OrderError unless it is finite, not negative and below 10^15.
    """
    if not total.is_finite():
        raise OrderError(f"total: {total} is not an amount of money")
    if total < 0:
        raise OrderError(f"total: {_short(str(total))} is negative; an order's total is zero or more")
    if total >= LIMIT:
        raise OrderError(f"total: {_short(str(total))} is too large; the limit is 10^15")
    # abs: a shop that computes -0.00 means 0.00
    return abs(total).quantize(Decimal(1).scaleb(-minor_digits(currency)), ROUND_HALF_UP)


def amount_text(total: Decimal, currency: str) -> str:
    """The total for a call to a partner: a dot, the currency's minor digits, no grouping: "59.90", "7200"."""
    return format(checked_total(total, currency), "f")


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
