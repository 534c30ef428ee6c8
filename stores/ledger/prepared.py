"""Statements that are executed often: compiled once for each engine, and run by the driver itself.

To build, compile and wrap a short statement takes SQLAlchemy several times as long as the statement takes the
database. A statement is still written once, as an expression; its values are still converted by the types of
the columns.
"""

from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Dialect, Executable, Float, bindparam, literal
from sqlalchemy.types import TypeEngine

Convert = Callable[[Any], Any]


class Rows:
    """The result of a statement. `rowcount` is how many rows it found, or changed."""

    __slots__ = ("_rows", "rowcount")

    def __init__(self, rows: Sequence[Any], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def all(self) -> Sequence[Any]:
        """All rows."""
        return self._rows

    def first(self) -> Any:
        """The first row; None if there is none."""
        return self._rows[0] if self._rows else None

    def scalar(self) -> Any:
        """The first column of the first row; None if there is none."""
        return self._rows[0][0] if self._rows else None


class Compiled:
    """A statement as the driver of one engine executes it."""

    __slots__ = ("_converted", "_given", "_row", "returns_rows", "text")

    def __init__(self, statement: Executable, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        self.text: str = compiled.string
        self._given = tuple(_Given.of(compiled.binds[name], dialect) for name in compiled.positiontup or ())
        columns = list(statement.exported_columns)  # type: ignore[attr-defined]
        self.returns_rows = bool(columns)
        converts = enumerate(_read(column.type, dialect) for column in columns)
        self._converted = tuple((at, convert) for at, convert in converts if convert is not None)
        row: Any = namedtuple("Row", [c.name for c in columns], rename=True)  # type: ignore[misc]
        self._row = row._make

    def values(self, parameters: Mapping[str, Any]) -> list[Any]:
        """What the driver is given, in the order of the statement. Raises KeyError if one is missing."""
        return [
            fixed if required is None else convert(parameters[required]) if convert else parameters[required]
            for required, fixed, convert in self._given
        ]

    def rows(self, found: Sequence[Any]) -> Sequence[Any]:
        """Rows of the driver as named tuples of Python's values."""
        make, converted = self._row, self._converted
        if not converted:
            return [make(row) for row in found]
        rows = []
        for row in found:
            values = list(row)
            for at, convert in converted:
                values[at] = convert(values[at])
            rows.append(make(values))
        return rows


class _Given(NamedTuple):
    """A parameter: its name if the caller gives it, else its value."""

    required: str | None
    fixed: Any
    convert: Convert | None

    @classmethod
    def of(cls, bind: Any, dialect: Dialect) -> "_Given":
        convert = bind.type.dialect_impl(dialect).bind_processor(dialect)
        if bind.required:
            return cls(bind.key, None, convert)
        return cls(None, convert(bind.value) if convert else bind.value, None)


class Prepared:
    """A statement whose parameters are named by `bindparam`. One that has any of them a list of values
    (`expanding`) cannot be prepared, since its text differs from call to call."""

    __slots__ = ("_compiled", "statement")

    def __init__(self, statement: Executable) -> None:
        self.statement = statement
        self._compiled: dict[str, Compiled] = {}

    def of(self, dialect: Dialect) -> Compiled:
        """For an engine."""
        found = self._compiled.get(dialect.name)
        if found is None:
            found = self._compiled[dialect.name] = Compiled(self.statement, dialect)
        return found


def values_of(columns: Sequence[Any]) -> dict[str, Any]:
    """Parameters named like these columns, for `insert(…).values(…)`."""
    return {column.name: bindparam(column.name, type_=column.type) for column in columns}


def one_of(column: Any, values: Iterable[Any]) -> ColumnElement[bool]:
    """Whether a column has one of these values: `in_`, which can be prepared."""
    found: ColumnElement[bool] = column.in_([literal(value, column.type) for value in values])
    return found


def _read(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    if isinstance(kind, Float):
        return None  # the drivers give floats
    convert: Convert | None = kind.dialect_impl(dialect).result_processor(dialect, None)
    return convert
