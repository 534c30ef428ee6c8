"""Rows that are added together: in one statement where each is a round trip to the server."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import CTE, Column, ScalarSelect, Select, Table, bindparam, func, insert, null, select, update

from .prepared import Prepared, Rows, values_of

Row = tuple[Table, dict[str, Any]]
Shape = tuple[tuple[Table, tuple[str, ...], tuple[tuple[str, int], ...]], ...]


@dataclass(frozen=True, slots=True)
class Absent:
    """Values that a column must not have anywhere in its table for rows to be added."""

    column: Column[str]
    values: tuple[str, ...]


class PresentError(Exception):
    """The column has one of the values."""

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value


@dataclass(frozen=True, slots=True)
class NumberOf:
    """A value that the database has yet to give: the number of the row at this place."""

    place: int


class Additions:
    """Collects rows. A value may be the number that another row gets; also of a later one, if its column may
    be NULL."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def add(self, table: Table, values: Mapping[str, Any]) -> NumberOf:
        """One more row; its number, once it has one."""
        self.rows.append((table, dict(values)))
        return NumberOf(len(self.rows) - 1)

    def set(self, place: NumberOf, column: str, value: Any) -> None:
        """Set a value of a row that was added."""
        self.rows[place.place][1][column] = value


def add_each(
    execute: Callable[[Prepared, Mapping[str, Any]], Rows], rows: Sequence[Row], absent: Absent | None = None
) -> list[int | None]:
    """Add rows one after the other; their numbers, None where a table has none. Raises PresentError."""
    if absent is not None:
        present = _is_present(absent.column, len(absent.values))
        if (value := execute(present, _given(absent)).scalar()) is not None:
            raise PresentError(value)
    numbers: list[int | None] = []
    late: list[tuple[int, str, int]] = []
    for place, (table, values) in enumerate(rows):
        given = values
        for name, value in values.items():
            if type(value) is NumberOf:
                if given is values:
                    given = dict(values)
                is_known = value.place < place
                given[name] = numbers[value.place] if is_known else None
                if not is_known:
                    late.append((place, name, value.place))
        added = execute(_insert(table, tuple(values)), given)
        numbers.append(added.scalar())
    for place, name, other in late:
        table = rows[place][0]
        execute(_set(table, name), {"row_number": numbers[place], name: numbers[other]})
    return numbers


def together(rows: Sequence[Row], absent: Absent | None = None) -> tuple[Prepared, dict[str, Any]]:
    """One statement that adds rows, with its parameters. Its result are one of the values that should be
    `absent`, or NULL, and the numbers of those rows that have one. PostgreSQL's: each row is added by a part
    of it (a CTE), whose numbers the others read."""
    shape, parameters = [], {}
    for place, (table, values) in enumerate(rows):
        numbered = []
        for name, value in values.items():
            if type(value) is NumberOf:
                numbered.append((name, value.place))
            else:
                parameters[f"{name}_{place}"] = value
        shape.append((table, tuple(values), tuple(numbered)))
    if absent is None:
        return _together(tuple(shape)), parameters
    return _together(tuple(shape), absent.column, len(absent.values)), parameters | _given(absent)


@lru_cache
def _insert(table: Table, columns: tuple[str, ...]) -> Prepared:
    statement = insert(table).inline().values(values_of([table.c[name] for name in columns]))
    number = table.autoincrement_column
    return Prepared(statement if number is None else statement.returning(number))


@lru_cache
def _set(table: Table, column: str) -> Prepared:
    number: Any = table.autoincrement_column
    statement = update(table).where(number == bindparam("row_number", type_=number.type))
    return Prepared(statement.values(values_of([table.c[column]])))


@lru_cache
def _is_present(column: Column[str], count: int) -> Prepared:
    return Prepared(_present(column, count))


def _present(column: Column[str], count: int) -> Select[Any]:
    values = [bindparam(f"absent_{place}", type_=column.type) for place in range(count)]
    return select(column).where(column.in_(values)).limit(1)


def _given(absent: Absent) -> dict[str, Any]:
    return {f"absent_{place}": value for place, value in enumerate(absent.values)}


@lru_cache
def _together(shape: Shape, absent: Column[str] | None = None, count: int = 0) -> Prepared:
    # A number that an earlier row needs is drawn when that one is added.
    drawn = {
        later: (place, name)
        for place, (_, _, refs) in enumerate(shape)
        for name, later in refs
        if later > place
    }
    parts: list[CTE] = []
    for place, (table, columns, refs) in enumerate(shape):
        number, numbered = table.autoincrement_column, dict(refs)
        values: dict[str, Any] = {}
        for name in columns:
            if name not in numbered:
                values[name] = bindparam(f"{name}_{place}", type_=table.c[name].type)
            elif numbered[name] < place:
                values[name] = _one(parts[numbered[name]], _number_name(shape[numbered[name]][0]))
            else:
                other = shape[numbered[name]][0]
                sequence = func.pg_get_serial_sequence(other.name, _number_name(other))
                values[name] = func.nextval(sequence)
        if place in drawn:
            values[_number_name(table)] = _one(parts[drawn[place][0]], drawn[place][1])
        returned = [table.c[name] for name, later in refs if later > place]
        returned.insert(0, number if number is not None else next(iter(table.primary_key)))
        parts.append(insert(table).values(values).returning(*returned).cte(f"added_{place}"))
    numbers = [
        _one(part, _number_name(table)).label(f"number_{place}")
        for place, (part, (table, _, _)) in enumerate(zip(parts, shape, strict=True))
        if table.autoincrement_column is not None
    ]
    present = null() if absent is None else _present(absent, count).scalar_subquery()
    return Prepared(select(present.label("present"), *numbers).add_cte(*parts))


def _one(part: CTE, column: str) -> ScalarSelect[Any]:
    return select(part.c[column]).scalar_subquery()


def _number_name(table: Table) -> str:
    number = table.autoincrement_column
    assert number is not None
    return number.name
