"""Files that only their owner may read: they hold visitors, conversations and orders."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PRIVATE = 0o600
_BESIDE = ("", "-wal", "-shm", "-journal")


def make_private(path: Path) -> None:
    """Make a SQLite file that is not there, for its owner alone. SQLite gives the files beside it the same
    mode. One that is there keeps its mode: `clew check` tells of it. An error is left to SQLite to tell."""
    if str(path) != ":memory:":
        with suppress(OSError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE))


def readable_by_others(path: Path) -> Iterator[Path]:
    """The SQLite file and those beside it that its group or everybody may read or write."""
    for end in _BESIDE:
        file = path.with_name(path.name + end)
        try:
            if file.stat().st_mode & 0o066:
                yield file
        except OSError:
            continue
