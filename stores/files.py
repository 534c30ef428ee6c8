"""Files that only their owner may read, because they contain visitors, conversations and orders."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PRIVATE = 0o600
_BESIDE = ("", "-wal", "-shm", "-journal")


def make_private(path: Path) -> None:
    """Create a SQLite file, readable by its owner only, unless it exists. SQLite gives its WAL files the same
    mode. An existing file keeps its mode, and `clew check` warns about it. Errors are left to SQLite."""
    if str(path) != ":memory:":
        with suppress(OSError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE))


def readable_by_others(path: Path) -> Iterator[Path]:
    """The SQLite file and its WAL files, if the group or others may read or write them."""
    for end in _BESIDE:
        file = path.with_name(path.name + end)
        try:
            if file.stat().st_mode & 0o066:
                yield file
        except OSError:
            continue
