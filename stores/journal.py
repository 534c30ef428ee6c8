"""The journal of orders: where an order that a page showed waits while the ledger cannot take it.

One file of this process, beside others of other processes. Each entry is a line: a checksum and JSON. It is
on the disk when `add` returns. What is recorded since is marked as done; when nothing waits any more, the
file is emptied. Where something waits for long, as the orders of a site that is gone, it is moved to another
file from time to time, and the rest is dropped. A process that starts takes over what others left behind: a
file that nobody holds a lock on.
"""

import asyncio
import fcntl
import json
import os
import stat
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from .files import PRIVATE
from .undisturbed import undisturbed

LIMIT: Final = 64 * 1024 * 1024
"""Most bytes of a file."""

KEPT: Final = 1024 * 1024
"""Bytes of what is done that may stay in a file."""

FILES: Final = 64
"""Most files, one for each process."""


class JournalError(OSError):
    """The journal cannot be used, or is full; the text says why."""


class Journal:
    """Entries that wait. `path` is what the files' names begin with. Open and close it."""

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self.path = path
        self._limit = limit
        self._file: int | None = None
        self._turn = asyncio.Lock()
        self._next = 0
        self._size = 0
        self._waiting: dict[int, int] = {}  # the bytes of each entry

    @property
    def waiting(self) -> int:
        """How many entries of this process wait."""
        return len(self._waiting)

    @property
    def next(self) -> int:
        """The number of the next entry: they are numbered one after the other."""
        return self._next

    async def open(self) -> list[tuple[int, dict[str, Any]]]:
        """Take a file, and what was left in any that no process holds: each entry with its number.

        Raises JournalError.
        """
        try:
            return await asyncio.to_thread(self._open)
        except OSError as error:
            raise JournalError(f"the journal of orders {self.path}: {error.strerror or error}") from error

    async def add(self, entry: Mapping[str, Any]) -> int:
        """Write an entry; it is on the disk when its number is returned. Raises JournalError."""
        async with self._turn:
            number, self._next = self._next, self._next + 1
            line = _line({"n": number, "entry": entry})
            if self._file is None:
                raise JournalError("the journal of orders is not open")
            if self._size + len(line) > self._limit:
                raise JournalError(f"the journal of orders is full: it has {self._size} bytes")
            # Whoever is cancelled meanwhile leaves it written, so it waits from here on.
            self._waiting[number] = len(line)
            try:
                await undisturbed(asyncio.to_thread(self._write, line))
            except OSError as error:
                self._waiting.pop(number, None)
                raise JournalError(f"the journal of orders {self.path}: {error.strerror}") from error
        return number

    async def done(self, number: int) -> None:
        """Mark an entry as recorded. If that is lost, it is recorded once more, which adds nothing."""
        async with self._turn:
            self._waiting.pop(number, None)
            if self._file is None:
                return
            with suppress(OSError):
                if self._waiting:
                    await undisturbed(asyncio.to_thread(self._mark, number))
                else:
                    await asyncio.to_thread(os.ftruncate, self._file, 0)
                    self._size = 0

    def close(self) -> None:
        """Let go of the file; what waits in it is taken over at the next start."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> list[tuple[int, dict[str, Any]]]:
        found: dict[int, dict[str, Any]] = {}
        for index in range(FILES):
            if self._file is not None and not self._path(index).exists():
                continue
            file = self._opened(index)
            if not _lock(file):
                os.close(file)
            elif self._file is None:
                self._file = file
                self._size = os.fstat(file).st_size
                found = dict(_pending(file))
                self._next = max(found, default=-1) + 1
            else:
                found |= self._take_over([entry for _, entry in _pending(file)])
                # Not deleted: another process may be about to lock it.
                os.ftruncate(file, 0)
                os.close(file)
        if self._file is None:
            raise OSError(None, f"{FILES} processes have one")
        self._waiting = {number: len(_line({"n": number, "entry": entry})) for number, entry in found.items()}
        return sorted(found.items())

    def _path(self, index: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{index}")

    def _opened(self, index: int) -> int:
        path = self._path(index)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, PRIVATE)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            # A pipe would never end, and a device keeps nothing.
            raise OSError(None, f"{path.name} is not a regular file")
        return file

    def _take_over(self, entries: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any]]:
        """Write another process's entries into the file of this one."""
        assert self._file is not None
        numbered = dict(enumerate(entries, self._next))
        self._next += len(entries)
        for number, entry in numbered.items():
            self._append(_line({"n": number, "entry": entry}))
        if numbered:
            os.fdatasync(self._file)
        return numbered

    def _mark(self, number: int) -> None:
        self._append(_line({"n": number, "done": True}))
        if self._size > KEPT + 2 * sum(self._waiting.values()):
            self._move()

    def _move(self) -> None:
        """Go on in another file that is empty, with what waits. Where the process ends half-way, it is in
        both, and is recorded once more, which adds nothing."""
        assert self._file is not None
        lines = b"".join(_line({"n": number, "entry": entry}) for number, entry in _pending(self._file))
        for index in range(FILES):
            file = self._opened(index)
            if not _lock(file):
                os.close(file)
                continue
            if os.fstat(file).st_size == 0:
                break
            os.close(file)  # what another process left is taken over at the next start
        else:
            return
        try:
            if os.write(file, lines) != len(lines):
                raise OSError(None, "only a part could be written")
            os.fsync(file)
        except OSError:
            os.ftruncate(file, 0)
            os.close(file)
            raise
        os.ftruncate(self._file, 0)
        os.close(self._file)
        self._file, self._size = file, len(lines)

    def _write(self, line: bytes) -> None:
        self._append(line)
        assert self._file is not None
        os.fdatasync(self._file)

    def _append(self, line: bytes) -> None:
        assert self._file is not None
        if os.write(self._file, line) != len(line):
            raise OSError(None, "only a part could be written")
        self._size += len(line)


def size(path: Path) -> int:
    """Bytes that wait in the files of all processes."""
    found = 0
    for number in range(FILES):
        with suppress(OSError):
            found += path.with_name(f"{path.name}.{number}").stat().st_size
    return found


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _line(data: Mapping[str, Any]) -> bytes:
    text = json.dumps(data, separators=(",", ":")).encode("ascii")
    return b"\n%08x %s" % (zlib.crc32(text), text)


def _pending(file: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The entries of a file that are not done. A line that was cut off by the end of its process is left out:
    it was never reported as safe."""
    os.lseek(file, 0, os.SEEK_SET)
    with os.fdopen(os.dup(file), "rb") as lines:
        # All of it: a file that took over what others left may be longer than LIMIT.
        content = lines.read()
    waiting: dict[int, dict[str, Any]] = {}
    for line in content.split(b"\n"):
        checksum, _, text = line.partition(b" ")
        if len(checksum) != 8 or checksum != b"%08x" % zlib.crc32(text):
            continue
        data = json.loads(text)
        if data.get("done"):
            waiting.pop(data["n"], None)
        else:
            waiting[data["n"]] = data["entry"]
    yield from sorted(waiting.items())
