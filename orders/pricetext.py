"""Money as people read it on a page: "£1,234.50", "1.299,00 €", "CHF 1'299.–", "12<sup>99</sup> €".

A wrong reading pays a partner a thousand times too much, so what has two readings is refused and the owner is
told what to set, instead of being guessed. What a number means is decided by the conventions of the
currency and of the page's language (`conventions`), by the digits that the currency has, and by the edges
of the elements within (`injector.page.EDGE`). Every text is at most `TEXT_LIMIT` characters long before an
expression sees it.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from types import MappingProxyType
from typing import NoReturn

from ..injector.page import EDGE, RAISED, Shown
from .conventions import of_home, of_language, printed_digits
from .model import OrderError
from .money import is_currency, minor_digits
from .signs import MEANS, NAMES, SYMBOLS, own_signs

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
_PERCENT = re.compile(r"\d++(?:[.,]\d++)?+\s?%|%\s?\d++(?:[.,]\d++)?+", re.ASCII)

_SIGN = "|".join(re.escape(s) for s in sorted(_SIGNS.keys() | _AMBIGUOUS, key=len, reverse=True))
_SIGN = rf"(?<![^\W\d_])(?:{_SIGN}|[A-Z]{{3}})(?![^\W\d_])"
# A code counts only beside the number: "ALL", "TOP" and "TRY" are currencies, and words too.
_MONEY = re.compile(rf"(?:({_SIGN}) ?)?(?:({_SIGN}) ?)?-?[.,]?\d[\d .,']*-?(?: ?({_SIGN}))?(?: ?({_SIGN}))?")
_SIGNS_ALONE = re.compile(rf"\(?({_SIGN})(?: ?({_SIGN}))?\)?")

_DIGITS = re.compile(r"\d++", re.ASCII)
_UNIT = rf"(?:[^\W\d_]|[{re.escape(SYMBOLS)}'״\"/.])"
_UNIT_BEFORE = re.compile(rf"(?<!\S)[^\s]*?({_UNIT}+)\Z|({_UNIT}+)\Z")
_UNIT_BEHIND = re.compile(rf"{_UNIT}+")
# Words in capitals, or shorter than four letters, that stand beside amounts and are no currency.
_WORDS_TEXT = (
    "ttc ht tva iva vat mwst ust gst hst pst moms mva btw dph pvn pdv kdv áfa afa alv km tax taxes "
    "net netto brutto incl inkl inc exc excl ex zzgl tot sum de da du of la le les el il um per pro "
    "por par à a al für for to is au ab von vom en et und and y e o i og och ja with mit con com "
    "avec cad was now ab nur only tou sub inclus"
)
_WORDS = frozenset(_WORDS_TEXT.split())


_MAGNITUDES = frozenset("十百千万萬億亿兆백천만억조")
_MULTIPLIERS_TEXT = (
    "lakh lakhs lac crore crores cr mio mill million millions millionen mrd mil mln tsd tys тыс млн "
    "thousand tausend k m bn"
)
_MULTIPLIERS = frozenset(_MULTIPLIERS_TEXT.split())
_MINUS = re.compile(r"(?:\b(?:minus|moins|menos|meno|минус|eksi)|[△▲▼])\Z", re.IGNORECASE)


# A sign of its own, whole digits, decimals, an exponent.
_MACHINE = re.compile(r"[+-]?(\d{1,40})(?:\.(\d{1,40}))?([eE][+-]?\d{1,2})?", re.ASCII)


class UnclearError(OrderError):
    """An amount that has two readings, or none that is sure."""


@dataclass(frozen=True, slots=True)
class _Text:
    """A text on its way to an amount: `marked` with the edges of elements, `plain` as errors show it."""

    marked: str
    plain: str
    part: str

    def refuse(self, why: str) -> NoReturn:
        """Raise OrderError with the text."""
        raise OrderError(f"{self.part}: {self.plain[:60]!r} {why}")


def _normalised(text: str, part: str) -> _Text:
    """Digits of all scripts as ASCII, one kind of dash and apostrophe, nothing that cannot be seen."""
    if len(text) > _RAW_LIMIT:
        raise OrderError(f"{part}: the element holds {len(text)} characters; choose a smaller one")
    seen = "".join(c for c in text.translate(_SAME) if unicodedata.category(c) != "Cf")
    seen = "".join(str(unicodedata.decimal(c)) if not c.isascii() and c.isdecimal() else c for c in seen)
    marked = " ".join(seen.split())
    plain = " ".join(marked.replace(EDGE, "").replace(RAISED, "").split())
    if len(plain) > TEXT_LIMIT:
        raise OrderError(f"{part}: the element holds {len(plain)} characters; choose a smaller one")
    return _Text(marked, plain, part)


def read_currency(text: str, part: str = "currency") -> str | None:
    """The ISO 4217 code that a text names, as a code or by a sign that means one currency; else None.

    Raises OrderError naming `part` where the sign means several currencies, or two different ones stand.
    """
    plain = _PERCENT.sub(" ", _normalised(text.replace(EDGE, " ").replace(RAISED, " "), part).plain).strip()
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


def read_amount(text: str, currency: str | None, part: str = "total", language: str | None = None) -> Decimal:
    """The one amount in a text, with whatever digits stand there.

    `currency` is an ISO 4217 code; None where nothing tells it, then two minor digits are taken for granted
    and signs contradict nothing. `language` is the page's, as BCP 47 has it. `text` may hold EDGE and
    RAISED. Raises OrderError naming `part` where there is no amount, a negative one, more than one, one
    that can be read in two ways, or one with the sign of another currency.
    """
    given = _normalised(text, part)
    marked = _PERCENT.sub(" ", given.marked)
    runs = list(_DIGITS.finditer(marked))
    if not runs:
        given.refuse("holds no amount")
    before, behind = marked[: runs[0].start()], marked[runs[-1].end() :]
    glues = [marked[a.end() : b.start()] for a, b in pairwise(runs)]
    if any(_apart(glue) for glue in glues):
        given.refuse("holds several numbers; choose an element that holds only the total")
    before, behind = _seen(before), _seen(behind)
    own = own_signs(currency, language) if currency is not None else ()
    before, leading = _leading_separator(given, before, own)
    behind = re.sub(r"\A[.,:]\s?-{1,3}", "", behind)
    _check_sign(given, before, behind)
    if currency is not None:
        _check_units(given, before, behind, currency, own)
    number = _Number([run[0] for run in runs], glues, currency or "EUR", language)
    if leading and (glues or len(number.runs[0]) != printed_digits(number.currency)):
        given.refuse("begins with a separator and cannot be read for sure")
    amount = Decimal(f"0.{number.runs[0]}") if leading else number.amount()
    if amount is None:
        raise UnclearError(
            f"{part}: {given.plain[:60]!r} can be read in two ways or in none as {currency or 'money'}; "
            "choose an element that shows the total without doubt"
        )
    return amount


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
        amount = read_amount(shown.text, currency, part, shown.language)
    except UnclearError:
        if stated is None:
            raise
        return stated
    if stated is not None and stated != amount:
        raise OrderError(f"{part}: the element shows {amount}, but its attribute `content` says {stated}")
    return amount


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


def _seen(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace(EDGE, " ").replace(RAISED, " "))


def _apart(glue: str) -> bool:
    """Whether what stands between two runs of digits parts two numbers."""
    bare = glue.replace(EDGE, "").replace(RAISED, "")
    return re.fullmatch(r"[.,'٫:]? ?|[€$£]", bare) is None


def _leading_separator(given: _Text, before: str, own: tuple[str, ...]) -> tuple[str, bool]:
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


def _check_sign(given: _Text, before: str, behind: str) -> None:
    """Refuses what is negative, in every notation of it."""
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
    if (dashed is not None and not label) or minus or trailing:
        given.refuse("is negative; an order's total is zero or more")
    unit_then_dash = re.match(r"\A\s*[^\W\d_]{1,4}\.?\s?-(?!\s*\w)", behind)
    if unit_then_dash:
        given.refuse("is negative; an order's total is zero or more")
    if bracket:
        given.refuse("stands in brackets, as negative amounts do; an order's total is zero or more")


def _check_units(given: _Text, before: str, behind: str, currency: str, own: tuple[str, ...]) -> None:
    """Refuses a sign beside the amount that cannot mean the currency, and one that nobody knows."""
    for text, ahead in ((before, True), (behind, False)):
        stripped = text.strip()
        attached = text == (text.rstrip() if ahead else text.lstrip())
        for _ in range(2):
            sign = next((s for s in own if _touches(stripped, s, ahead=ahead)), None)
            if sign is not None:
                stripped = stripped[: -len(sign)] if ahead else stripped[len(sign) :]
                attached = not stripped[-1:].isspace() if ahead else not stripped[:1].isspace()
                stripped = stripped.strip()
                continue
            unit = _unit_of(stripped, ahead=ahead)
            if unit and (why := _contradiction(unit, currency, attached=attached)):
                given.refuse(f"{why} {currency}")
            break


def _touches(text: str, sign: str, *, ahead: bool) -> bool:
    """Whether a text ends (or begins) with a sign that is not the end (or beginning) of a longer word."""
    if not (text.endswith(sign) if ahead else text.startswith(sign)):
        return False
    rest = text[: -len(sign)][-1:] if ahead else text[len(sign) :][:1]
    edge = sign[0] if ahead else sign[-1]
    return not (rest and rest.isalpha() and edge.isalpha() and unicodedata.category(edge) != "Lo") and (
        rest not in SYMBOLS or not rest
    )


def _unit_of(text: str, *, ahead: bool) -> str:
    found = (_UNIT_BEFORE if ahead else _UNIT_BEHIND).search(text) if ahead else _UNIT_BEHIND.match(text)
    unit = (
        (found[1] if found.lastindex == 1 else found[found.lastindex]) if found and found.lastindex else None
    )
    return (unit or (found[0] if found and not ahead else "")).strip("'\"/.")


def _contradiction(unit: str, currency: str, *, attached: bool) -> str | None:
    """Why a word or sign beside the amount speaks against the currency; None if it does not."""
    codes = MEANS.get(unit) or NAMES.get(unit.casefold())
    if codes is None and unit in MEANS:
        codes = frozenset()
    if codes is None and is_currency(unit):
        codes = frozenset((unit,))
    if codes is not None:
        if currency in codes:
            return None
        return f"is in {' or '.join(sorted(codes)[:4]) or unit}, not in"
    if any(c in SYMBOLS for c in unit):
        return f"bears the sign {unit!r}, which is none of"
    if unit[0] in _MAGNITUDES or unit.casefold() in _MULTIPLIERS:
        return f"bears {unit[:10]!r}, which multiplies it; cannot be read in"
    if unit.casefold() in _WORDS or unicodedata.category(unit[0]) == "Lo":
        return None
    if attached or len(unit) < 3 or (unit.isupper() and len(unit) < 5):
        return f"bears {unit!r}, which is no known sign of"
    return None


@dataclass(frozen=True, slots=True)
class _Number:
    """Runs of digits and what stands between them, read by the conventions of currency and language."""

    runs: list[str]
    glues: list[str]
    currency: str
    language: str | None

    def amount(self) -> Decimal | None:
        """The one reading, None where there is none or more than one."""
        if not self.glues:
            return Decimal(self.runs[0])
        last = self.glues[-1]
        bare = last.replace(EDGE, "").replace(RAISED, "")
        if bare.strip() in ("", "€", "$", "£") and (EDGE in last or RAISED in last or bare.strip()):
            return self._with_cents(tight=RAISED in last or " " not in bare)
        marks = [glue.replace(EDGE, "").replace(RAISED, "") for glue in self.glues]
        loose = [len(mark) > 1 for mark in marks]
        marks = [mark.strip() or " " for mark in marks]
        if any(loose[:-1]) or (loose[-1] and len(self.runs[-1]) != 2):
            return None
        return self._one_separator(marks[0]) if len(marks) == 1 else self._several(marks)

    def _with_cents(self, *, tight: bool) -> Decimal | None:
        """The last run is an element of its own, or stands behind the sign: minor units, if it fits them."""
        digits = printed_digits(self.currency)
        whole = _Number(self.runs[:-1], self.glues[:-1], self.currency, self.language)._grouped()
        if not tight or digits == 0 or len(self.runs[-1]) != digits or whole is None:
            return None
        return Decimal(f"{whole}.{self.runs[-1]}")

    def _grouped(self) -> str | None:
        """The digits of a whole number, grouped by threes by one mark or not at all."""
        marks = set(self.glues)
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
            nordic = self.currency in ("SEK", "NOK", "DKK") and len(rest) == 2
            return Decimal(f"{whole}.{rest}") if nordic else None
        if len(rest) != 3 or len(whole) > 3 or not whole.strip("0"):
            return self._decimal(whole, rest)
        language, home = of_language(self.language, self.currency), of_home(self.currency)
        told = language or home
        if printed_digits(self.currency) == 3:
            sure = mark in told.decimals and mark not in told.groups | home.groups
            return Decimal(f"{whole}.{rest}") if sure else None
        if minor_digits(self.currency) == 0:
            return Decimal(whole + rest)
        if language is not None and mark in language.decimals:
            return None  # three decimals, of a currency that has none or two
        return Decimal(whole + rest) if mark in told.groups | home.groups else None

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
        nordic = last == ":" and self.currency in ("SEK", "NOK", "DKK")
        if len(set(first)) > 1 or first[0] not in ".,' " or not (last in ".,٫" or nordic) or not groups:
            return None
        return self._decimal("".join(self.runs[:-1]), self.runs[-1])

    def _decimal(self, whole: str, rest: str) -> Decimal | None:
        """A decimal fraction that the currency can have: further digits than its own may only be zeros."""
        fits = not rest[minor_digits(self.currency) :].strip("0")
        return Decimal(f"{whole}.{rest}") if fits else None
