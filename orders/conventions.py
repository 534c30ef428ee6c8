"""The group and decimal separators of languages and currencies: CLDR, through Babel."""

from functools import lru_cache
from typing import NamedTuple

from babel import Locale
from babel.core import get_global

from .money import minor_digits
from .signs import home_locales, locales_of


class Convention(NamedTuple):
    """The group and decimal separators of a page's language or a currency's countries."""

    groups: frozenset[str]
    decimals: frozenset[str]


def printed_digits(currency: str) -> int:
    """Minor digits as people print them (CLDR), which for some currencies are fewer than ISO 4217's."""
    fractions = get_global("currency_fractions")
    found: int = fractions.get(currency, fractions["DEFAULT"])[0]
    return min(found, minor_digits(currency))


@lru_cache(maxsize=512)
def of_language(language: str | None, currency: str) -> Convention | None:
    """The separators of the page's language; None if it is unknown."""
    locales = locales_of(language, currency)
    return _convention(tuple(locales)) if locales else None


@lru_cache(maxsize=512)
def of_home(currency: str) -> Convention:
    """The separators of the countries that use the currency."""
    return _convention(home_locales(currency))


def _convention(locales: tuple[Locale, ...]) -> Convention:
    groups: set[str] = set()
    decimals: set[str] = set()
    for locale in locales:
        for symbols in locale.number_symbols.values():
            groups.update(symbols.get(k, "") for k in ("group", "currencyGroup"))
            decimals.update(symbols.get(k, "") for k in ("decimal", "currencyDecimal"))
    return Convention(frozenset(groups), frozenset(decimals))
