"""Signs of currencies: which currencies a sign beside an amount can mean.

A sign that cannot mean the currency in the settings contradicts it. Sources: CLDR's symbols (through Babel)
for the page's language and the countries that use the currency, and signs.toml for other signs that shops
print.
"""

import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Final

from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.languages import get_official_languages
from babel.numbers import get_currency_name

# U+FFE5 and other full-width signs are replaced before.
SYMBOLS: Final = "".join(c for c in map(chr, range(0x24, 0x20D0)) if unicodedata.category(c) == "Sc") + "﷼₻"
_DATA = tomllib.loads(files(__package__).joinpath("signs.toml").read_text("utf-8"))
MEANS: Final[Mapping[str, frozenset[str]]] = {s: frozenset(c.split()) for s, c in _DATA["signs"].items()}
NAMES: Final[Mapping[str, frozenset[str]]] = {s: frozenset(c.split()) for s, c in _DATA["names"].items()}


# One number for each plural form of most languages.
_COUNTS: Final = (None, 0, 1, 2, 3, 5, 11, 100)


@lru_cache(maxsize=512)
def own_signs(currency: str, language: str | None) -> tuple[str, ...]:
    """The ways to write a currency, longest first: its code, its signs, CLDR's signs in its countries, and
    its names in the page's language and in English."""
    found = {currency, currency.lower(), *(s for s, codes in MEANS.items() if currency in codes)}
    english = Locale("en")
    for locale in (*locales_of(language), *home_locales(currency), english):
        if symbol := locale.currency_symbols.get(currency):
            found.add(_visible(symbol))
    for locale in (*locales_of(language), english):
        found.update(_visible(get_currency_name(currency, count, locale)) for count in _COUNTS)
    found |= {s + "." for s in found if s[-1:].isalpha()} | {s.rstrip(".") for s in found}
    return tuple(sorted((s for s in found if s), key=len, reverse=True))


def _visible(text: str) -> str:
    return " ".join("".join(c for c in text if unicodedata.category(c) != "Cf").split())


def touches(text: str, sign: str, *, ahead: bool) -> bool:
    """Whether a text ends (or begins) with a sign that is not part of a longer word."""
    if not (text.endswith(sign) if ahead else text.startswith(sign)):
        return False
    rest = text[: -len(sign)][-1:] if ahead else text[len(sign) :][:1]
    edge = sign[0] if ahead else sign[-1]
    return not (rest and rest.isalpha() and edge.isalpha() and unicodedata.category(edge) != "Lo") and (
        rest not in SYMBOLS or not rest
    )


def ends_with_sign(text: str, own: tuple[str, ...]) -> bool:
    """Whether a text ends with one of these signs."""
    return any(touches(text, sign, ahead=True) for sign in own)


def locales_of(language: str | None, currency: str | None = None) -> list[Locale]:
    """CLDR's locale for a page's language, with its own territory, else with the currency's. Empty if the
    language is unknown."""
    parts = (language or "").replace("_", "-")[:35].split("-")
    territory = next((p.upper() for p in parts[1:] if len(p) == 2), None) or (currency or "")[:2]
    for identifier in (f"{parts[0]}_{territory}", parts[0]):
        try:
            return [Locale.parse(identifier)]
        except (ValueError, TypeError, UnknownLocaleError):
            continue
    return []


@lru_cache(maxsize=512)
def home_locales(currency: str) -> tuple[Locale, ...]:
    """The locales of the country in the currency's code, else of all countries that use the currency."""
    territories = [currency[:2]] if currency[:2] in get_global("territory_currencies") else []
    if territories and currency in _tender(currency[:2]) and (found := tuple(_locales(territories))):
        return found
    return tuple(_locales([t for t in get_global("territory_currencies") if currency in _tender(t)][:40]))


def _locales(territories: list[str]) -> Iterator[Locale]:
    for territory in territories:
        for language in get_official_languages(territory, de_facto=True):
            try:
                yield Locale.parse(f"{language}_{territory}")
            except (ValueError, UnknownLocaleError):
                continue


def _tender(territory: str) -> set[str]:
    entries = get_global("territory_currencies").get(territory, ())
    return {code for code, _, end, tender in entries if tender and end is None}
