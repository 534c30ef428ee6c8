"""Keeps the visit store's file small, in a separate thread: deletes expired visitors, checkpoints the log.

The file has one writer at a time, and pages wait for it. So expired rows are found, and read into the caches,
before the file is locked. The lock is held for a few rows, as many as can be deleted in about two
milliseconds, and between two steps there is time for other writers. A lease in the file makes sure that one
process at a time does this.
"""

import asyncio
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from .undisturbed import undisturbed

PRUNE_EVERY = 300.0  # seconds between two rounds, for all processes together
LEASE_SECONDS = 60.0
STEP_SECONDS = 0.002
STEP_ROWS = (5, 100)
# The maximum share of time spent on pruning, and the minimum pause in seconds.
SHARE, PAUSE = 0.1, 0.01
CHECKPOINT_EVERY = 1.0
# A log that is always in use is emptied at this size, while readers and writers wait.
LOG_BYTES = 32 * 2**20

T = TypeVar("T")


class Housekeeping:
    """`lock` is the one that all writers of this process hold."""

    def __init__(self, path: Path, lock: asyncio.Lock) -> None:
        self._path = path
        self._lock = lock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="clew-visits")
        self._connection: sqlite3.Connection | None = None
        self._holder = secrets.token_hex(8)

    async def close(self) -> None:
        """End the thread."""
        await undisturbed(self._in_thread(self._disconnect))
        self._thread.shutdown()

    async def prune(self, now: float) -> int:
        """Delete visitors that have expired at `now`. Returns how many; 0 if another process just did it."""
        began, gone, rows = time.monotonic(), 0, STEP_ROWS[0]
        while True:
            at = now + time.monotonic() - began
            due = await undisturbed(self._in_thread(partial(self._due, at, rows)))
            async with self._lock:
                took = time.monotonic()
                more = await undisturbed(self._in_thread(partial(self._step, at, due)))
                took = time.monotonic() - took
            if more is None:
                return gone
            gone += more
            if not due:
                return gone
            rows = max(STEP_ROWS[0], rows // 2) if took > STEP_SECONDS else min(STEP_ROWS[1], rows + 5)
            await asyncio.sleep(max(PAUSE, took * (1 / SHARE - 1)))

    async def keep_log_short(self) -> None:
        """Checkpoint the log into the file from time to time, until cancelled.

        SQLite would do this at a commit, in the loop's thread, which would wait for the disk.
        """
        while True:
            await asyncio.sleep(CHECKPOINT_EVERY)
            # Writers report a disk that is full or fails; it may have room again.
            with suppress(sqlite3.Error):
                await undisturbed(self._in_thread(partial(self._checkpoint, "PASSIVE")))
                if self._log_bytes() > LOG_BYTES:
                    async with self._lock:
                        await undisturbed(self._in_thread(partial(self._checkpoint, "RESTART")))

    # -- in the thread

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect(self._path, timeout=1, isolation_level=None)
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute("PRAGMA wal_autocheckpoint=0")
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _due(self, now: float, rows: int) -> list[int]:
        """The next expired rows. Their lengths are read so that their pages are in memory when deleted."""
        found = self._db.execute(
            "SELECT id, length(data), (SELECT other.id FROM visits AS other "
            "WHERE (other.site, other.visitor) = (visits.site, visits.visitor)) "
            "FROM visits WHERE expires_at <= ? ORDER BY expires_at LIMIT ?",
            (now, rows),
        )
        return [row[0] for row in found]

    def _step(self, now: float, due: list[int]) -> int | None:
        """Delete those that are still due, if this process has the lease. Returns how many, or None if
        another process has it."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            until = now + (LEASE_SECONDS if due else PRUNE_EVERY)
            # A lease that ends too far in the future was taken before the clock was set back.
            held = db.execute(
                "UPDATE leases SET holder = ?1, until = ?2 "
                "WHERE name = 'prune' AND (holder = ?1 OR until <= ?3 OR until > ?3 + ?4)",
                (self._holder, until, now, 2 * PRUNE_EVERY),
            )
            gone = None
            if held.rowcount:
                deleted = db.execute(
                    "DELETE FROM visits WHERE id IN (SELECT value FROM json_each(?)) AND expires_at <= ?",
                    (json.dumps(due), now),
                )
                gone = deleted.rowcount
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
        return gone

    def _checkpoint(self, kind: str) -> None:
        self._db.execute(f"PRAGMA wal_checkpoint({kind})").fetchall()

    def _log_bytes(self) -> int:
        try:
            return os.stat(f"{self._path}-wal").st_size
        except OSError:
            return 0
