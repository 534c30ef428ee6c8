"""Reads a network's report of its transactions: CSV or JSON, by the formats in `reports.toml`."""

import csv
import io
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..orders.status import LATEST

Status = Literal["pending", "approved", "declined", "paid"]
FIELDS: Final = ("order", "amount", "currency", "status", "time")
LARGEST: Final = 64 * 1024 * 1024
"""Bytes of a file."""

ROWS: Final = 1_000_000
"""Rows of a file; what is kept of each takes some 300 bytes."""

MEAN_IT: Final = 'Say what it means: --status "WORD=approved", or pending, declined, paid'
_NEEDED: Final = ("order", "amount")
_MARKS: Final = re.compile(r"[\W_]+")
_NUMBER: Final = re.compile(r"-?\d[\d.,' ]*")


class ReportFileError(ValueError):
    """The file cannot be read; the text says what is missing, and what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """A transaction as the network has it. `line` counts the file's rows from 1, `at` is in unix seconds;
    `currency`, `status` and `at` are None if the report does not say them."""

    line: int
    order: str
    amount: Decimal
    currency: str | None
    status: Status | None
    at: float | None


def _zone(value: str) -> str:
    ZoneInfo(value)  # raises ValueError or KeyError for a name that is none
    return value


class Format(BaseModel):
    """One entry of `reports.toml`; see there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str = ""
    name: str = ""
    confidence: Literal["verified", "likely"]
    source: Annotated[list[str], Field(min_length=1)]
    columns: dict[Literal["order", "amount", "currency", "status", "time"], list[str]]
    statuses: dict[Status, list[str]]
    zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    dates: Literal["day first", "month first"] = "day first"
    records: Annotated[str, Field(pattern=r"^(/[^/]+)*$")] = ""

    def words(self) -> Mapping[str, Status]:
        """Our word for each of the network's."""
        return {plain(word): ours for ours, theirs in self.statuses.items() for word in theirs}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    generic: Format
    report: list[Format]


@cache
def _formats() -> _File:
    text = files(__package__).joinpath("reports.toml").read_text("utf-8")
    return _File.model_validate(tomllib.loads(text))


def format_of(network: str | None) -> Format:
    """The format of a network's report; the generic one for all others."""
    known = _formats()
    return next((one for one in known.report if one.network == network), known.generic)


def read_report(
    body: bytes,
    form: Format,
    named: Mapping[str, str],
    zone: ZoneInfo | None = None,
    meant: Mapping[str, Status] = {},
) -> tuple[Row, ...]:
    """The transactions in a file. `named` has by field the column that a person chose, `zone` is the time
    zone of times without one; by default the format's. `meant` has what a person says of statuses.

    Raises ReportFileError that names the column that is missing, or the line that cannot be read.
    """
    if len(body) > LARGEST:
        raise ReportFileError(f"the file has {len(body)} bytes; at most {LARGEST} are read: split it")
    text = text_of(body)
    is_json = text.lstrip()[:1] in ("[", "{")
    header, records = _of_json(text, form) if is_json else _of_csv(text)
    if not header:
        raise ReportFileError("the file has no rows")
    columns = _columns(header, form, named)
    found = list[_Values]()
    for record in records:
        if len(found) >= ROWS:
            raise ReportFileError(f"the file has more than {ROWS} rows: split it")
        found.append(_Values(*(_said(record, columns.get(field)) for field in FIELDS)))
    if not found:
        raise ReportFileError("the file has no rows")
    comma = _comma_is_decimal(one.amount for one in found)
    words = {**form.words(), **{plain(word): status for word, status in meant.items()}}
    times = _Times(zone or ZoneInfo(form.zone), form.dates == "month first")
    return tuple(
        _row(number, values, words, times, _amount(values.amount, comma, number))
        for number, values in enumerate(found, 1)
        if values.order
    )


def _said(record: Mapping[str, Any], column: str | None) -> str:
    return "" if column is None else str(record.get(column) or "").strip()


class _Values(NamedTuple):
    """What a record says, as text, by FIELDS."""

    order: str
    amount: str
    currency: str
    status: str
    time: str


def text_of(body: bytes) -> str:
    """The text of a file: UTF-16 or UTF-8 with its mark, UTF-8, else Windows' western encoding."""
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return body.decode("utf-16", "replace")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return body.decode("cp1252", "replace")


def _of_csv(text: str) -> tuple[Sequence[str], Iterator[Mapping[str, Any]]]:
    head = text[: text.find("\n")]
    delimiter = max(",;\t|", key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)

    def records() -> Iterator[Mapping[str, Any]]:
        try:
            yield from reader
        except csv.Error as error:
            raise ReportFileError(f"the file is not CSV: {error}") from None

    try:
        return list(reader.fieldnames or ()), records()
    except csv.Error as error:
        raise ReportFileError(f"the file is not CSV: {error}") from None


def _of_json(text: str, form: Format) -> tuple[Sequence[str], Iterator[Mapping[str, Any]]]:
    try:
        found = json.loads(text, parse_float=str, parse_int=str)
    except (ValueError, RecursionError) as error:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            found = [json.loads(line, parse_float=str, parse_int=str) for line in lines]
        except (ValueError, RecursionError):
            raise ReportFileError(f"the file is not JSON: {error}") from None
    if isinstance(found, Mapping):
        for key in form.records.split("/")[1:]:
            found = found.get(key) if isinstance(found, Mapping) else None
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise ReportFileError(f"the file has no list of records at {form.records or 'its top'}")
    return list(_flat(found[0])) if found else [], map(_flat, found)


def _flat(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A record whose values are no objects: `{"sale": {"amount": 1}}` has `sale/amount`."""
    found: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            found |= {f"{name}/{inner}": one for inner, one in value.items()}
        else:
            found[name] = value
    return found


def plain(text: str) -> str:
    """A column's name, or a status, without letter case, blanks and signs."""
    return _MARKS.sub("", text.casefold())


def _columns(there: Sequence[str], form: Format, named: Mapping[str, str]) -> Mapping[str, str]:
    by_name = {plain(name or ""): name for name in reversed(there)}
    found = {}
    for field in FIELDS:
        wanted = [named[field]] if field in named else form.columns.get(field, ())
        match = next((by_name[p] for name in wanted if (p := plain(name)) in by_name), None)
        if match is not None:
            found[field] = match
        elif field in named or field in _NEEDED:
            tried = ", ".join(wanted)
            columns = ", ".join(name or "" for name in there[:40])
            raise ReportFileError(
                f"there is no column {tried} for the {field}; the file has {columns}. "
                f'Name it: --column {field}="…"'
            )
    return found


def _row(number: int, values: _Values, words: Mapping[str, Status], times: "_Times", amount: Decimal) -> Row:
    status = values.status
    known = words.get(plain(status)) if status else None
    if status and known is None:
        raise ReportFileError(
            f"row {number}: unknown status {status[:40]!r}; known are {', '.join(words)}. {MEAN_IT}"
        )
    currency = values.currency.upper() or None
    return Row(number, values.order, amount, currency, known, times.at(values.time))


def _comma_is_decimal(amounts: Iterable[str]) -> bool:
    """Whether "1.234,50" is the way in which this file writes amounts. A file writes them all alike."""
    comma, dot = 0, 0
    for text in amounts:
        sign = max(text.rfind(","), text.rfind("."))
        if sign < 0:
            continue
        digits = len(re.sub(r"\D", "", text[sign + 1 :]))
        # Three digits after a sign that stands alone may be a group, "1.234", or a currency's minor digits.
        if digits != 3 or (("," in text) and ("." in text)):
            comma += text[sign] == ","
            dot += text[sign] == "."
    return comma > dot


def _amount(text: str, comma: bool, number: int) -> Decimal:
    found = _NUMBER.search(text.replace("\xa0", " ").replace("\u202f", " "))
    if found is None:
        raise ReportFileError(f"row {number}: {text[:40]!r} is no amount")
    plain = re.sub(r"[' ]", "", found[0])
    plain = plain.replace(".", "").replace(",", ".") if comma else plain.replace(",", "")
    if plain.count(".") > 1:
        raise ReportFileError(f"row {number}: {text[:40]!r} is no amount")
    return Decimal(plain.rstrip("."))


@dataclass(frozen=True, slots=True)
class _Times:
    """How a file writes times: those without a zone are of `zone`; `month_first`: "11/23/2026"."""

    zone: ZoneInfo
    month_first: bool

    def at(self, text: str) -> float | None:
        """Unix seconds; None for what is no time."""
        if text.isascii() and text.isdigit() and len(text) >= 9:
            return min(float(text[:10]), LATEST)
        order = r"\3-\1-\2" if self.month_first else r"\3-\2-\1"
        written = re.sub(r"^(\d\d)[./](\d\d)[./](\d{4})", order, text)
        try:
            found = datetime.fromisoformat(written)
        except ValueError:
            return None
        at = (found if found.tzinfo else found.replace(tzinfo=self.zone)).timestamp()
        # "0001-01-01" and "9999-12-31" stand for no time.
        return at if 0 < at < LATEST else None


def rows_of(rows: Iterable[Row], since: float | None, until: float | None) -> Iterator[Row]:
    """Those of a period; rows without a time belong to each."""
    for row in rows:
        if row.at is None or ((since is None or row.at >= since) and (until is None or row.at < until)):
            yield row
