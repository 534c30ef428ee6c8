"""The values that a fact can have: a line that compares it with any other is never true.

Some are the same for all shops (`Fact.values`), some belong to one site (its partners), and for some only the
format is known: a language, a currency, a date.
"""

import re
from collections.abc import Collection, Mapping
from datetime import date
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

from babel import Locale
from babel.numbers import is_currency, list_currencies

from ..settings.letters import not_ascii
from .facts import Fact

Known = Mapping[str, Collection[str]]
"""The values that facts of one site can have, by the fact's name."""

NONE_KNOWN: Known = MappingProxyType({})
_SHOWN: Final = 12
_LANGUAGE: Final = re.compile(r"([A-Za-z]{2,3})(?:-[A-Za-z0-9]{2,8})*")
_PATHS: Final = frozenset(("page.path", "visit.landing"))


def wrong_value(fact: Fact, value: str, known: Known) -> tuple[str, str] | None:
    """Why a fact never has this text, and what to do; None if it can have it."""
    values = known.get(fact.name, fact.values or None)
    if values is not None:
        return None if value in values else _not_one_of(fact, value, values)
    if fact.name in _PATHS or fact.name == "page.url":
        return wrong_address(fact, value)
    match fact.name:
        case "page.language":
            return _language(value)
        case "cart.currency" | "order.currency":
            return _currency(value)
        case "clock.date" | "order.date":
            return _date(value)
    return None


def wrong_address(fact: Fact, value: str) -> tuple[str, str] | None:
    """Why no path or URL begins with this text, and what to do; None if one can."""
    if fact.name == "page.url":
        if re.match(r"h(t|tt|ttp|ttps|$)", value) or value == "":
            return None
        return "`page.url` is the full URL, with https:// and host", f'write page.url.fits("{value}")'
    if fact.name in _PATHS:
        if "?" in value:
            return f"`{fact.name}` has no query", f'write page.url.fits("{value}")'
        if not value.startswith("/") and value:
            return f"`{fact.name}` begins with /", f'write "/{value}"'
    return None


def _not_one_of(fact: Fact, value: str, values: Collection[str]) -> tuple[str, str]:
    folded = {v.lower(): v for v in values}
    begins = next((v for v in values if value.lower().startswith(v.lower()) and v), None)
    close = get_close_matches(value.lower(), folded, 1, 0.6)
    meant = begins or (folded[close[0]] if close else None)
    hint = f'write "{meant}"' if meant else ""
    if not values:
        return f"`{fact.name}` has no values: the site has no partner", "add the partner first"
    if len(values) > _SHOWN:
        return f"`{fact.name}` is never {value!r}{not_ascii(value)}", hint or "see docs/rules.md#facts"
    named = ", ".join(v or "(nothing)" for v in values)
    return f"`{fact.name}` is one of {named}{not_ascii(value)}", hint


def _language(value: str) -> tuple[str, str] | None:
    found = _LANGUAGE.fullmatch(value)
    languages = Locale("en").languages
    if found is not None and found[1].lower() in languages:
        return None
    named = {name.lower(): code for code, name in languages.items()}
    code = named.get(value.lower())
    hint = f'write "{code}"' if code else 'write for example "de" or "en-GB", as your pages do in <html lang>'
    return f"{value!r} is not a language code (BCP 47), as in `page.language`{not_ascii(value)}", hint


def _currency(value: str) -> tuple[str, str] | None:
    if is_currency(value):
        return None
    begins = value[:3].upper()
    hint = f'write "{begins}"' if begins in list_currencies() else 'write for example "EUR"'
    return f"{value!r} is not an ISO 4217 code{not_ascii(value)}", hint


def _date(value: str) -> tuple[str, str] | None:
    try:
        # Python accepts more formats than the fact has.
        if date.fromisoformat(value).isoformat() == value:
            return None
    except ValueError:
        pass
    return f"{value!r} is not a date", 'write it as "2026-12-24"'
