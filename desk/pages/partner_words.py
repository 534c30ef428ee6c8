"""The texts of a partner's pages, in the languages that there are."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path

from babel.dates import format_date, format_datetime
from babel.numbers import format_currency, format_decimal, format_percent
from starlette.requests import Request

from ... import templates
from ...payouts.account import decimal
from ...templates import accepted_languages

_FILE = Path(templates.__file__).parent / "desk" / "partner.toml"


@dataclass(frozen=True, slots=True)
class Words:
    """The texts of one language by name, and how it writes numbers, amounts and days."""

    language: str
    texts: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.texts[name]

    def named(self, kind: str, value: str) -> str:
        """The word for one of the ledger's values: a state, a channel."""
        return self.texts.get(f"{kind}_{value}", value.replace("_", " "))

    def number(self, value: int | float | Decimal) -> str:
        """A number: `1,234`."""
        return format_decimal(value, locale=self.language)

    def percent(self, part: Decimal | float) -> str:
        """A part of one: `33.33 %`."""
        return format_percent(part, "#,##0.##\u00a0%", locale=self.language)

    def money(self, amount: Decimal | str | None, currency: str | None) -> str:
        """An amount with its currency; empty if it is not known."""
        if amount is None or currency is None:
            return ""
        return format_currency(Decimal(amount), currency, locale=self.language)

    def units(self, units: int | None, currency: str) -> str:
        """Minor units of a currency as an amount with it; empty if they are not known."""
        return "" if units is None else self.money(decimal(units, currency), currency)

    def difference(self, part: Decimal) -> str:
        """A change as a part of one: `+12 %`."""
        sign = "+" if part > 0 else "−" if part < 0 else "±"
        return sign + format_percent(abs(part), "#,##0\u00a0%", locale=self.language)

    def short_day(self, at: date) -> str:
        """A day without its year: `27 Nov`."""
        return format_date(at, "d MMM", locale=self.language)

    def day(self, at: date) -> str:
        """A day: `27 Nov 2026`."""
        return format_date(at, "d MMM y", locale=self.language)

    def moment(self, at: datetime) -> str:
        """Day and time."""
        return format_datetime(at, "d MMM y, HH:mm", locale=self.language)


@cache
def _words() -> Mapping[str, Words]:
    found = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return {language: Words(language, texts) for language, texts in found.items()}


def words_for(request: Request, otherwise: str) -> Words:
    """The texts in the language that the browser asks for first (RFC 9110 §12.5.4), else in that of the site,
    else in English."""
    known = _words()
    accepted = accepted_languages(request.headers.get("accept-language", ""))
    return next((known[tag] for tag in accepted if tag in known), known.get(otherwise, known["en"]))
