"""The visit store: what is known of each visitor, for comfort rather than for money.

SQLite by the standard library's `sqlite3`, in the loop's own thread: an operation takes some 45 µs, a fifth
of what handing it to another thread costs.
"""

import asyncio
import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ..referral.visitor import Change, Visitor
from .files import make_private

BUSY_SECONDS = 5

KEEP_SECONDS = 400 * 86400
KEEP_PASSER_BY_SECONDS = 2 * 86400
# Another process may be writing. Its lock is waited for outside SQLite, so that the loop goes on.
BUSY_PAUSES = (0.0, 0.01, 0.03, 0.1, 0.2, 0.5)
PRUNED_AT_ONCE = 500
SEEN_AT_ONCE = 100
FOUND_AT_ONCE = 20


class Visits(Protocol):
    """Where visitors are kept. A change is one round trip: read, fold the changes in, write."""

    async def open(self) -> None:
        """Make ready; raises OSError or sqlite3.Error when the place cannot be used."""

    async def close(self) -> None:
        """Let go."""

    async def get(self, site: str, visitor: str) -> Visitor | None:
        """What is known, or None."""

    async def seen_at(self, site: str, visitors: Sequence[str]) -> Mapping[str, float]:
        """When each of some visitors was last seen; of at most 100, without those that are not known."""

    async def ending(self, site: str, letters: str) -> Sequence[str]:
        """The ids of visitors that end in these letters, last seen first; at most 20."""

    async def change(self, site: str, visitor: str, changes: Sequence[Change], now: float) -> Visitor:
        """Fold `changes` into the visitor, who is made if he is not known, and return him."""

    async def prune(self, now: float) -> int:
        """Forget who was not seen for 400 days, or came once and left nothing two days ago; how many."""


class SqliteVisits:
    """Visits in a SQLite file, which may be the ledger's own.

    `write_lock` is the one of the ledger when both share a file (see `Database`).
    """

    def __init__(self, path: Path, write_lock: asyncio.Lock) -> None:
        self._path = path
        self._lock = write_lock
        self._connection: sqlite3.Connection | None = None

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.ProgrammingError("the visit store is not open")
        return self._connection

    async def open(self) -> None:
        """Open the file and build the table."""
        make_private(self._path)
        connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        # NORMAL: a power cut may cost the last visits, a killed process costs nothing.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS visitors (site TEXT, visitor TEXT, data TEXT NOT NULL, "
            "seen_at REAL NOT NULL, passer_by INTEGER NOT NULL, PRIMARY KEY (site, visitor)) WITHOUT ROWID"
        )
        connection.execute("CREATE INDEX IF NOT EXISTS visitors_seen ON visitors (seen_at)")
        connection.execute("PRAGMA busy_timeout=0")
        self._connection = connection

    async def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read(self, site: str, visitor: str) -> Visitor | None:
        row = self._db.execute(
            "SELECT data FROM visitors WHERE site = ? AND visitor = ?", (site, visitor)
        ).fetchone()
        return Visitor.from_json(json.loads(row[0])) if row else None

    async def get(self, site: str, visitor: str) -> Visitor | None:
        """What is known, or None."""
        return self._read(site, visitor)

    async def seen_at(self, site: str, visitors: Sequence[str]) -> Mapping[str, float]:
        """See `Visits.seen_at`."""
        rows = self._db.execute(
            "SELECT visitor, seen_at FROM visitors "
            "WHERE site = ? AND visitor IN (SELECT value FROM json_each(?))",
            (site, json.dumps(list(visitors[:SEEN_AT_ONCE]))),
        )
        return dict(rows.fetchall())

    async def ending(self, site: str, letters: str) -> Sequence[str]:
        """See `Visits.ending`."""
        rows = self._db.execute(
            "SELECT visitor FROM visitors WHERE site = ?1 AND substr(visitor, -length(?2)) = ?2 "
            "ORDER BY seen_at DESC LIMIT ?3",
            (site, letters, FOUND_AT_ONCE),
        )
        return [row[0] for row in rows]

    async def change(self, site: str, visitor: str, changes: Sequence[Change], now: float) -> Visitor:
        """One transaction; see `Visits.change`."""
        async with self._lock:
            await self._begin()
            try:
                found = self._read(site, visitor) or Visitor(visitor)
                for change in changes:
                    found = change.apply(found, now)
                sent = any(click.partner for touch in found.touches for click in touch.clicks)
                passer_by = found.pages <= 1 and not sent and not found.ordered_at
                self._db.execute(
                    "INSERT OR REPLACE INTO visitors VALUES (?, ?, ?, ?, ?)",
                    (site, visitor, json.dumps(found.to_json()), now, passer_by),
                )
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        return found

    async def prune(self, now: float) -> int:
        """See `Visits.prune`."""
        gone = 0
        while True:
            async with self._lock:
                await self._begin()
                cursor = self._db.execute(
                    "DELETE FROM visitors WHERE (site, visitor) IN (SELECT site, visitor FROM visitors "
                    "WHERE seen_at < ? AND (passer_by OR seen_at < ?) LIMIT ?)",
                    (now - KEEP_PASSER_BY_SECONDS, now - KEEP_SECONDS, PRUNED_AT_ONCE),
                )
                self._db.execute("COMMIT")
            gone += cursor.rowcount
            if cursor.rowcount < PRUNED_AT_ONCE:
                return gone
            await asyncio.sleep(0)

    async def _begin(self) -> None:
        """Begin to write, or raise sqlite3.OperationalError if another process writes for 0.8 seconds."""
        for pause in BUSY_PAUSES:
            await asyncio.sleep(pause)
            try:
                self._db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                busy = error
            else:
                return
        raise busy
