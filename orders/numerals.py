"""The value of digits and the separators between them, by the conventions of a currency and a language.

There are often two readings. One is used only if the other is impossible: the currency has no such minor
digits, or neither the page's language nor the currency's country uses the separator in that way.
"""

from dataclasses import dataclass
from decimal import Decimal

from ..injector.shown import BREAK, EDGE, RAISED
from .conventions import of_home, of_language, printed_digits
from .money import minor_digits

MARKS = {ord(EDGE): "", ord(RAISED): "", ord(BREAK): " "}
"""Replacements for the marks of `Shown.text` between digits."""

_NORDIC = frozenset(("SEK", "NOK", "DKK"))  # "129:90"


@dataclass(frozen=True, slots=True)
class Number:
    """Runs of digits and the separators between them, with EDGE, RAISED and BREAK."""

    runs: list[str]
    separators: list[str]
    currency: str
    language: str | None

    def amount(self) -> Decimal | None:
        """The one reading; None if there is none or more than one."""
        if len(self.runs[0]) > 1 and self.runs[0].startswith("0") and "".join(self.runs).strip("0"):
            return None  # amounts have no leading zeros: a telephone number, a date, an article's number
        if not self.separators:
            return Decimal(self.runs[0])
        last = self.separators[-1]
        bare = last.translate(MARKS)
        if bare.strip() in ("", "€", "$", "£") and (EDGE in last or RAISED in last or bare.strip()):
            return self._with_cents(tight=RAISED in last or " " not in bare)
        marks = [separator.translate(MARKS) for separator in self.separators]
        if any(
            separator != mark and not mark.strip()
            for separator, mark in zip(self.separators, marks, strict=True)
        ):
            return None  # a count and a price: there is a separator between the elements of one number
        loose = [len(mark) > 1 for mark in marks]
        marks = [mark.strip() or " " for mark in marks]
        if any(loose[:-1]) or (loose[-1] and len(self.runs[-1]) != 2):
            return None
        return self._one_separator(marks[0]) if len(marks) == 1 else self._several(marks)

    def _with_cents(self, *, tight: bool) -> Decimal | None:
        """The amount if the last run, in its own element or after the sign, is the minor units; else None."""
        digits = printed_digits(self.currency)
        whole = Number(self.runs[:-1], self.separators[:-1], self.currency, self.language)._grouped()
        if not tight or digits == 0 or len(self.runs[-1]) != digits or whole is None:
            return None
        return Decimal(f"{whole}.{self.runs[-1]}")

    def _grouped(self) -> str | None:
        """The digits of a whole number, grouped by threes by one mark or not at all."""
        marks = set(self.separators)
        if len(marks) > 1 or not marks <= {".", ",", "'", " "} or not self._by_threes(self.runs):
            return None
        return "".join(self.runs)

    @staticmethod
    def _by_threes(runs: list[str]) -> bool:
        return len(runs) == 1 or (len(runs[0]) <= 3 and all(len(run) == 3 for run in runs[1:]))

    @staticmethod
    def _indian(runs: list[str]) -> bool:
        inner = all(len(run) == 2 for run in runs[1:-1])
        return len(runs) > 2 and len(runs[0]) <= 2 and inner and len(runs[-1]) == 3

    def _one_separator(self, mark: str) -> Decimal | None:
        whole, rest = self.runs
        if mark in "' ":
            return Decimal(whole + rest) if self._by_threes(self.runs) and whole != "0" else None
        if mark == "٫":
            return self._decimal(whole, rest)
        if mark == ":":
            return Decimal(f"{whole}.{rest}") if self.currency in _NORDIC and len(rest) == 2 else None
        if len(rest) != 3 or len(whole) > 3 or not whole.strip("0"):
            return self._decimal(whole, rest)
        language, home = of_language(self.language, self.currency), of_home(self.currency)
        local = language or home
        if printed_digits(self.currency) == 3:
            # "1.250 KWD" on an English page is 1.250. Dinars have three minor digits (ISO 4217), CLDR
            # prints them all in every locale, so what formats by ICU does (Magento, PrestaShop, Shopware,
            # Sylius, Intl.NumberFormat), and so does Ruby's money gem (Spree, Solidus): 1250 dinars are
            # "1,250.000". A shop that means 1250 by "1.250" would make two mistakes at once: no minor
            # digits, and grouping by the decimal separator of the page's language. If the language or the
            # currency's country groups by that separator, one mistake is enough, so the amount is refused,
            # as is "1,250 KWD".
            sure = mark in local.decimals and mark not in local.groups | home.groups
            return Decimal(f"{whole}.{rest}") if sure else None
        if minor_digits(self.currency) == 0:
            return Decimal(whole + rest)
        if language is not None and mark in language.decimals:
            return None  # three decimals, of a currency that has none or two
        # "12.990 Ft": CLDR's Hungarian groups with a blank, shops with a dot. It is no decimal separator
        # there.
        grouping = mark in local.groups | home.groups or mark not in local.decimals | home.decimals
        return Decimal(whole + rest) if grouping else None

    def _several(self, marks: list[str]) -> Decimal | None:
        *first, last = marks
        if len(set(marks)) == 1:
            by_threes = self._by_threes(self.runs) and printed_digits(self.currency) != 3
            if last in ".,' " and (by_threes or (last in "' " and self._by_threes(self.runs))):
                return Decimal("".join(self.runs))
            if last == "," and self._indian(self.runs) and printed_digits(self.currency) != 3:
                return Decimal("".join(self.runs))
            cents = last in ".," and len(self.runs[-1]) == 2 == printed_digits(self.currency)
            if cents and self._by_threes(self.runs[:-1]):
                return self._decimal("".join(self.runs[:-1]), self.runs[-1])
            return None
        groups = self._by_threes(self.runs[:-1]) or (first[0] == "," and self._indian(self.runs[:-1]))
        nordic = last == ":" and self.currency in _NORDIC
        if len(set(first)) > 1 or first[0] not in ".,' " or not (last in ".,٫" or nordic) or not groups:
            return None
        return self._decimal("".join(self.runs[:-1]), self.runs[-1])

    def _decimal(self, whole: str, rest: str) -> Decimal | None:
        """A decimal fraction. None if the currency has fewer minor digits, unless the rest are zeros."""
        fits = not rest[minor_digits(self.currency) :].strip("0")
        return Decimal(f"{whole}.{rest}") if fits else None
