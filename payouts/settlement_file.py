"""Files by which networks, partners and owners settle commissions: CSV, written by the formats in
`settlements.toml`, read by those in `postbacks/reports.toml`."""

import csv
import io
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..orders.ids import normalised
from ..orders.model import OrderError
from ..postbacks.report_file import MEAN_IT, Status, plain, text_of
from ..postbacks.report_file import Format as ReportFormat

LARGEST: Final = 64 * 1024 * 1024
"""Bytes of a file."""

ROWS: Final = 1_000_000
"""Rows of a file."""

SOURCES: Final = (
    *("order", "partner", "state", "value", "commission", "currency"),
    *("channel", "placed", "decided", "reason"),
)
# Our own words, which every file may use.
_OWN: Final[Mapping[str, Status]] = {
    "pending": "pending",
    "amended": "pending",
    "amended, approved": "approved",
    "approved": "approved",
    "locked": "approved",
    "declined": "declined",
    "paid": "paid",
}


class SettlementFileError(ValueError):
    """The file cannot be read; the text names line and column, and says what to do."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Model):
    """One column of a file."""

    name: str
    source: str = Field(alias="from")
    values: dict[str, str] = {}

    @model_validator(mode="after")
    def _is_known(self) -> "Column":
        word = self.source.partition(":")[0]
        if self.source not in SOURCES and word not in ("const", "setting"):
            raise ValueError(f"from: {self.source!r} is none of {', '.join(SOURCES)}, const:…, setting:…")
        return self


class Format(_Model):
    """One entry of `settlements.toml`; see there."""

    network: str = ""
    name: str = ""
    confidence: Literal["verified", "likely"]
    source: Annotated[list[str], Field(min_length=1)]
    states: list[Literal["pending", "amended", "approved", "declined", "locked", "paid"]] = []
    columns: Annotated[list[Column], Field(min_length=1)]


class _File(_Model):
    generic: Format
    file: list[Format]


@cache
def _formats() -> _File:
    text = files(__package__).joinpath("settlements.toml").read_text("utf-8")
    return _File.model_validate(tomllib.loads(text))


def format_for(network: str | None) -> Format:
    """The format of a network's file; the generic one for all others."""
    known = _formats()
    return next((one for one in known.file if one.network == network), known.generic)


def written(form: Format, values: Mapping[str, str], settings: Mapping[str, Any]) -> list[str]:
    """One row of a file. `values` are by source, and `shown` is the state for people; `settings` are those of
    the partner."""
    return [_cell(column, values, settings) for column in form.columns]


def _cell(column: Column, values: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    word, _, argument = column.source.partition(":")
    if word == "const":
        return argument
    found = str(settings.get(argument, "")) if word == "setting" else values[column.source]
    if column.source == "state":
        return column.values.get(found, values["shown"])
    return column.values.get(found, found)


@dataclass(frozen=True, slots=True)
class Row:
    """What a file says of an order: `line` counts the file's lines from 1, `number` is the order's, in our
    spelling. `currency` is None if the file does not say it."""

    line: int
    number: str
    status: Status
    currency: str | None


def read_rows(
    body: bytes, form: ReportFormat, named: Mapping[str, str], meant: Mapping[str, Status] = {}
) -> Iterator[Row]:
    """The rows of a file, one after the other. `named` has by field the column that a person chose, `meant`
    what a person says of statuses. Rows without a status, such as sums, are left out.

    Raises SettlementFileError.
    """
    if len(body) > LARGEST:
        raise SettlementFileError(f"the file has more than {LARGEST} bytes: split it")
    text = text_of(body)
    delimiter = max(",;\t|", key=text[: text.find("\n")].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    places: Mapping[str, int] | None = None
    header: list[str] = []
    words = {**_OWN_PLAIN, **form.words(), **{plain(word): status for word, status in meant.items()}}
    while True:
        try:
            values = next(reader, None)
        except csv.Error as error:
            raise SettlementFileError(f"line {reader.line_num}: it is not CSV: {error}") from None
        if values is None:
            break
        if reader.line_num > ROWS:
            raise SettlementFileError(f"the file has more than {ROWS} lines: split it")
        if places is None:
            header, places = values, _places(values, form, named)
        elif any(value.strip() for value in values):
            yield from _row(reader.line_num, values, places, header, words)
    if places is None:
        raise SettlementFileError("the file is empty: its first line names the columns")


def _places(header: Sequence[str], form: ReportFormat, named: Mapping[str, str]) -> Mapping[str, int]:
    there = {plain(name): place for place, name in reversed(list(enumerate(header)))}
    found = {}
    for field in ("order", "status", "currency"):
        names = [named[field]] if field in named else form.columns.get(field, [])
        names = names if field in named else [*names, *_NAMES[field]]
        place = next((there[p] for name in names if (p := plain(name)) in there), None)
        if place is not None:
            found[field] = place
        elif field != "currency":
            columns = ", ".join(header[:40])
            raise SettlementFileError(
                f"line 1: there is no column {', '.join(names)} for the {field}; the file has {columns}. "
                f'Name it: --column {field}="…"'
            )
    return found


def _row(
    line: int,
    values: Sequence[str],
    places: Mapping[str, int],
    header: Sequence[str],
    words: Mapping[str, Status],
) -> Iterator[Row]:
    def value(field: str) -> str:
        place = places.get(field, len(values))
        return values[place].strip().removeprefix("'") if place < len(values) else ""

    def where(field: str) -> str:
        return f"line {line}, column {header[places[field]]}"

    if not (word := value("status")):
        return
    status = words.get(plain(word))
    if status is None:
        known = ", ".join(words)
        raise SettlementFileError(
            f"{where('status')}: unknown status {word[:40]!r}; known are {known}. {MEAN_IT}"
        )
    try:
        number = normalised(value("order"), "order").id
    except OrderError as error:
        raise SettlementFileError(f"{where('order')}: {error}") from None
    yield Row(line, number, status, value("currency").upper() or None)


_OWN_PLAIN: Final = {plain(word): status for word, status in _OWN.items()}
_NAMES: Final = {"order": ["order"], "status": ["status", "state"], "currency": ["currency"]}
