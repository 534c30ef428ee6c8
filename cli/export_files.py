"""The formats of `clew export`, written row by row."""

import csv
import json
from collections.abc import Sequence
from typing import IO, Any, Protocol

from ..referral.masking import cells
from ..stores.ledger.export_rows import Line
from ..stores.ledger.exports import NUMBERS

FORMATS = ("csv", "ndjson", "parquet")
# Rows of a parquet file that are held in memory.
GROUP = 5000


class MissingParquetError(ImportError):
    """pyarrow is not installed; the text says how to install it."""


class Writer(Protocol):
    """Takes lines until it is closed."""

    def write(self, lines: Sequence[Line]) -> None:
        """Write lines."""

    def close(self) -> None:
        """Write what is left. The stream stays open."""


def writer(name: str, columns: Sequence[str], to: IO[bytes]) -> Writer:
    """A writer of a format (one of FORMATS) onto a binary stream. Raises MissingParquetError."""
    if name == "csv":
        return _Csv(columns, to)
    return _Ndjson(to) if name == "ndjson" else _Parquet(columns, to)


class _Ndjson:
    def __init__(self, to: IO[bytes]) -> None:
        self._to = to

    def write(self, lines: Sequence[Line]) -> None:
        for line in lines:
            self._to.write(json.dumps(line, ensure_ascii=False).encode("utf-8") + b"\n")

    def close(self) -> None:
        pass


class _Csv:
    """RFC 4180 in UTF-8. A text that a spreadsheet would take for a formula has an apostrophe before it."""

    def __init__(self, columns: Sequence[str], to: IO[bytes]) -> None:
        self._columns = columns
        self._to = to
        self._rows = csv.writer(self)
        self._rows.writerow(columns)

    def write(self, lines: Any) -> None:
        if isinstance(lines, str):  # from csv.writer
            self._to.write(lines.encode("utf-8"))
            return
        for line in lines:
            self._rows.writerow(cells(line[name] for name in self._columns))

    def close(self) -> None:
        pass


class _Parquet:
    """Whole numbers are int64, all else is string; row groups of 5,000 rows."""

    def __init__(self, columns: Sequence[str], to: IO[bytes]) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError:
            raise MissingParquetError(
                "parquet needs pyarrow, which is not installed: pip install 'clew[parquet]', "
                "or choose --format csv or ndjson"
            ) from None
        self._arrow = pyarrow
        types = [(name, pyarrow.int64() if name in NUMBERS else pyarrow.string()) for name in columns]
        self._schema = pyarrow.schema(types)
        self._file = parquet.ParquetWriter(to, self._schema)
        self._waiting: list[Line] = []

    def write(self, lines: Sequence[Line]) -> None:
        self._waiting += lines
        if len(self._waiting) >= GROUP:
            self._flush()

    def _flush(self) -> None:
        self._file.write_table(self._arrow.Table.from_pylist(self._waiting, self._schema))
        self._waiting = []

    def close(self) -> None:
        if self._waiting:
            self._flush()
        self._file.close()
