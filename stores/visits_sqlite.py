"""The visit store in a SQLite file, for one machine.

By the standard library's `sqlite3`, in the loop's own thread: an operation takes some 60 µs, a quarter of
what handing it to another thread costs. What waits for the disk is not done there: see `housekeeping`.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from ..referral.visitor import Change, Viewed, Visitor, changed
from .files import make_private
from .housekeeping import Housekeeping
from .ledger.schema import TABLES as LEDGER_TABLES
from .shared import SIGN_SECONDS, SIGNS_AT_ONCE, SIGNS_KEPT
from .visits import FOUND_AT_ONCE, SEEN_AT_ONCE, TABLES, Fold, VisitsBusyError, VisitsError
from .visits_record import EXPIRY_STEP, keep_seconds, packed, unpacked

PAGE_SECONDS = 0.2  # for which the copy of a page waits while another process writes
BUSY_SECONDS = 5
# Another process may be writing. Its lock is waited for outside SQLite, so that the loop goes on.
BUSY_PAUSES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1)
# After a wait in vain the next ones do not wait as well.
BUSY_REST = 0.5
# Pages of the log after which the loop's own thread empties it if no other thread has: 64 MB.
LOG_PAGES = 16384
# Of the file's pages in memory: some 30,000 visitors. A page that is not there is read again for each change.
CACHED_KB = 16384


class SqliteVisits:
    """Visits in a SQLite file, which may be the ledger's own: then `write_lock` is the ledger's.

    See `Database` for why.
    """

    def __init__(self, path: Path, write_lock: asyncio.Lock | None = None) -> None:
        self._path = path
        self._lock = write_lock or asyncio.Lock()
        self._connection: sqlite3.Connection | None = None
        self._house: Housekeeping | None = None
        self._log: asyncio.Task[None] | None = None
        self._row: _Row  # the one that `folded` changes
        self._locked_until = 0.0  # monotonic; another process has the file until then, as far as we know

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise VisitsError("the visit store is not open")
        return self._connection

    async def open(self) -> None:
        """Open the file and build the table. Raises VisitsError if that cannot be done."""
        make_private(self._path)
        connection = None
        try:
            connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
            self._prepare(connection)
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise VisitsError(
                f"the visit store {self._path} cannot be used: {error}. See that its folder is there and "
                "that this user may write to it; if it is no file of clew's, name another one as `store`"
            ) from error
        self._connection = connection
        self._house = Housekeeping(self._path, self._lock)
        self._log = asyncio.create_task(self._house.keep_log_short(), name="clew-visits-log")

    def _prepare(self, connection: sqlite3.Connection) -> None:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        others = {row[0] for row in found} - TABLES - LEDGER_TABLES
        if foreign := sorted(name for name in others if not name.startswith("sqlite_")):
            raise sqlite3.DatabaseError(f"it has a table {foreign[0][:40]!r}, which is another program's")
        connection.execute("PRAGMA journal_mode=WAL")
        # NORMAL: a power cut may cost the last visits, a killed process costs nothing.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}")
        connection.execute(f"PRAGMA cache_size={-CACHED_KB}")
        for statement in _TABLES:
            connection.execute(statement)
        connection.execute("PRAGMA busy_timeout=0")
        connection.create_function("folded", 2, self._fold_row)

    async def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._house is not None and self._log is not None:
            self._log.cancel()
            with suppress(asyncio.CancelledError, sqlite3.Error):
                await self._log
            await self._house.close()
            self._house = self._log = None

    async def get(self, site: str, visitor: str) -> Visitor | None:
        """See `Visits.get`."""
        with _own_errors():
            return self._read(site, visitor)

    def _read(self, site: str, visitor: str) -> Visitor | None:
        row = self._db.execute(
            "SELECT data FROM visits WHERE site = ? AND visitor = ?", (site, visitor)
        ).fetchone()
        return unpacked(row[0]) if row else None

    async def seen_at(self, site: str, visitors: Sequence[str]) -> Mapping[str, float]:
        """See `Visits.seen_at`."""
        with _own_errors():
            rows = self._db.execute(
                "SELECT visitor, seen_at FROM visits "
                "WHERE site = ? AND visitor IN (SELECT value FROM json_each(?))",
                (site, json.dumps(list(visitors[:SEEN_AT_ONCE]))),
            )
            return dict(rows.fetchall())

    async def ending(self, site: str, letters: str) -> Sequence[str]:
        """See `Visits.ending`."""
        with _own_errors():
            rows = self._db.execute(
                "SELECT visitor FROM visits WHERE site = ?1 AND substr(visitor, -length(?2)) = ?2 "
                "ORDER BY seen_at DESC LIMIT ?3",
                (site, letters, FOUND_AT_ONCE),
            )
            return [row[0] for row in rows]

    async def update(self, site: str, visitor: str, fold: Fold, now: float) -> Visitor:
        """One transaction; see `Visits.update`."""
        return await self._update(site, visitor, fold, now, in_place=True)

    async def _update(self, site: str, visitor: str, fold: Fold, now: float, *, in_place: bool) -> Visitor:
        if (found := self._updated_at_once(site, visitor, fold, now, in_place=in_place)) is not None:
            return found
        async with self._lock:
            await self._begin()
            with _own_errors():
                return self._folded(site, visitor, fold, now)

    def update_at_once(self, site: str, visitor: str, fold: Fold, now: float) -> Visitor | None:
        """One transaction if no other process writes; see `Visits.update_at_once`."""
        return self._updated_at_once(site, visitor, fold, now, in_place=True)

    def _updated_at_once(
        self, site: str, visitor: str, fold: Fold, now: float, *, in_place: bool
    ) -> Visitor | None:
        """`in_place`: it may be a page view."""
        if self._lock.locked():
            return None
        try:
            if in_place and (found := self._folded_in_place(site, visitor, fold, now)) is not None:
                return found
            return None if self._try_begin() is not None else self._folded(site, visitor, fold, now)
        except sqlite3.Error as error:
            raise _own_error(error) from error

    def _folded_in_place(self, site: str, visitor: str, fold: Fold, now: float) -> Visitor | None:
        """A page view of a stored visitor, the usual change, in one statement, which takes less time than the
        four of a transaction. None, and nothing is done, for any other change, and where others write."""
        row = self._row = _Row(fold, now)
        try:
            self._db.execute(_FOLD, (now, site, visitor))
        except (sqlite3.OperationalError, sqlite3.IntegrityError):
            if row.error is not None:
                raise row.error from None
            return None
        return row.found

    def _fold_row(self, data: bytes, expires_at: float) -> bytes | None:
        """The SQL function `folded`: the new data of a row. NULL, which the column does not take, ends the
        statement."""
        row = self._row
        try:
            found = row.fold(unpacked(data))
            if found.seen_at != row.now or _moves(found, row.now, expires_at):
                return None
            row.found = found
            return packed(found)
        except BaseException as error:
            row.error = error
            return None

    def _folded(self, site: str, visitor: str, fold: Fold, now: float) -> Visitor:
        """Read, fold, write, and end the transaction."""
        db = self._db
        try:
            row = db.execute(_READ, (site, visitor)).fetchone()
            found = fold(unpacked(row[1]) if row is not None else None)
            # `seen_at` is the last page view: an agent's answer is no sign of the visitor.
            data, seen_at, expires_at = packed(found), found.seen_at or now, now + keep_seconds(found)
            if row is None:
                db.execute(_INSERT, (site, visitor, data, seen_at, expires_at))
            elif _moves(found, now, row[2]):
                db.execute(_MOVE, (data, seen_at, expires_at, row[0]))
            else:
                db.execute(_UPDATE, (data, seen_at, row[0]))
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
        return found

    async def change(self, site: str, visitor: str, changes: Sequence[Change], now: float) -> Visitor:
        """See `Visits.change`."""
        in_place = any(isinstance(change, Viewed) for change in changes)

        def fold(stored: Visitor | None) -> Visitor:
            return changed(stored, visitor, changes, now)

        return await self._update(site, visitor, fold, now, in_place=in_place)

    async def forget(self, site: str, visitor: str) -> None:
        """See `Visits.forget`."""
        async with self._lock:
            await self._begin()
            self._finish("DELETE FROM visits WHERE site = ? AND visitor = ?", (site, visitor))
        await self.put_page(site, visitor, None, 0, 0)

    async def put_page(self, site: str, visitor: str, page: bytes | None, now: float, seconds: float) -> None:
        """See `Visits.put_page`."""
        async with self._lock:
            if page is None:
                await self._begin()
                self._finish("DELETE FROM pages WHERE site = ? AND visitor = ?", (site, visitor))
                return
            # A copy is long: it is written outside of the loop's thread, by a connection of its own.
            with _own_errors():
                await asyncio.to_thread(_write_page, self._path, (site, visitor, page, now + seconds))

    async def page(self, site: str, visitor: str, now: float) -> bytes | None:
        """See `Visits.page`."""
        with _own_errors():
            row = self._db.execute(_PAGE, (site, visitor, now)).fetchone()
        return row[0] if row else None

    async def noted_up_to(self) -> int | None:
        """See `Visits.noted_up_to`."""
        with _own_errors():
            row = self._db.execute("SELECT value FROM marks WHERE name = 'messages'").fetchone()
            return row[0] if row else None

    async def set_noted_up_to(self, message: int) -> None:
        """See `Visits.set_noted_up_to`."""
        async with self._lock:
            await self._begin()
            self._finish("INSERT OR REPLACE INTO marks VALUES ('messages', ?)", (message,))

    async def add_signs(self, signs: Sequence[bytes]) -> None:
        """See `PassesSigns`."""
        async with self._lock:
            await self._begin()
            with _own_errors():
                try:
                    # That of all processes that use the file, as the other engines have their server's.
                    (now,) = self._db.execute(_NOW).fetchone()
                    self._db.executemany(
                        "INSERT INTO signs (at, data) VALUES (?, ?)", [(now, sign) for sign in signs]
                    )
                    self._db.execute(_DROP_SIGNS, (now - SIGN_SECONDS, now + SIGN_SECONDS, SIGNS_KEPT))
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise

    async def signs_after(self, last: str | None) -> tuple[str, Sequence[bytes]]:
        """See `PassesSigns`."""
        with _own_errors():
            if last is None:
                found = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'signs'").fetchone()
                return str(found[0] if found else 0), ()
            rows = self._db.execute(_SIGNS, (int(last), SIGNS_AT_ONCE)).fetchall()
            return str(rows[-1][0]) if rows else last, [row[1] for row in rows]

    async def prune(self, now: float) -> int:
        """See `Visits.prune`."""
        if self._house is None:
            raise VisitsError("the visit store is not open")
        with _own_errors():
            gone = await self._house.prune(now)
        async with self._lock:
            await self._begin()
            self._finish("DELETE FROM pages WHERE until <= ?", (now,))
        return gone

    async def probe(self) -> None:
        """See `Visits.probe`."""
        async with self._lock:
            await self._begin()
            self._finish("DELETE FROM visits WHERE id IS NULL", ())

    def _finish(self, statement: str, values: tuple[object, ...]) -> None:
        """Execute one statement, and end the transaction."""
        with _own_errors():
            try:
                self._db.execute(statement, values)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _try_begin(self) -> sqlite3.OperationalError | None:
        """Begin to write; why not, if another process writes."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return error
        self._locked_until = 0.0
        return None

    async def _begin(self) -> None:
        """Begin to write, or raise VisitsBusyError if another process writes for 0.15 seconds."""
        pauses = BUSY_PAUSES if time.monotonic() >= self._locked_until else BUSY_PAUSES[:1]
        for pause in pauses:
            await asyncio.sleep(pause)
            with _own_errors():
                if (busy := self._try_begin()) is None:
                    return
        self._locked_until = time.monotonic() + BUSY_REST
        raise VisitsBusyError(f"another process writes to the visit store: {busy}")


class _Row:
    """A change of one row: what is folded in, and what it comes to."""

    __slots__ = ("error", "fold", "found", "now")

    def __init__(self, fold: Fold, now: float) -> None:
        self.fold = fold
        self.now = now
        self.found: Visitor | None = None
        self.error: BaseException | None = None


def _moves(visitor: Visitor, now: float, expires_at: float) -> bool:
    """Whether a visitor's time of expiry has to be updated."""
    return abs(now + keep_seconds(visitor) - expires_at) > EXPIRY_STEP


@contextmanager
def _own_errors() -> Iterator[None]:
    """Raise VisitsError for what sqlite3 raises."""
    try:
        yield
    except sqlite3.Error as error:
        raise _own_error(error) from error


def _write_page(path: Path, row: tuple[str, str, bytes, float]) -> None:
    with closing(sqlite3.connect(path, timeout=PAGE_SECONDS, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(_PUT_PAGE, row)


def _own_error(error: sqlite3.Error) -> VisitsError:
    return VisitsError(f"the visit store failed: {error}")


_TABLES = (
    "CREATE TABLE IF NOT EXISTS visits (id INTEGER PRIMARY KEY, site TEXT NOT NULL, visitor TEXT NOT NULL, "
    "data BLOB NOT NULL, seen_at REAL NOT NULL, expires_at REAL NOT NULL, UNIQUE (site, visitor))",
    "CREATE INDEX IF NOT EXISTS visits_expiry ON visits (expires_at)",
    "CREATE TABLE IF NOT EXISTS leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until REAL NOT NULL)",
    "INSERT OR IGNORE INTO leases VALUES ('prune', '', 0)",
    # AUTOINCREMENT: a reader goes on from the last one, also after all were deleted.
    "CREATE TABLE IF NOT EXISTS signs (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, "
    "data BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS pages (site TEXT NOT NULL, visitor TEXT NOT NULL, data BLOB NOT NULL, "
    "until REAL NOT NULL, PRIMARY KEY (site, visitor))",
)
_PUT_PAGE = "INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?)"
_PAGE = "SELECT data FROM pages WHERE site = ? AND visitor = ? AND until > ?"
_READ = "SELECT id, data, expires_at FROM visits WHERE site = ? AND visitor = ?"
_INSERT = "INSERT INTO visits (site, visitor, data, seen_at, expires_at) VALUES (?, ?, ?, ?, ?)"
_MOVE = "UPDATE visits SET data = ?, seen_at = ?, expires_at = ? WHERE id = ?"
_FOLD = "UPDATE visits SET data = folded(data, expires_at), seen_at = ? WHERE site = ? AND visitor = ?"
_NOW = "SELECT (julianday('now') - 2440587.5) * 86400.0"  # unix seconds
_DROP_SIGNS = "DELETE FROM signs WHERE at < ? OR at > ? OR id <= (SELECT max(id) FROM signs) - ?"
_SIGNS = "SELECT id, data FROM signs WHERE id > ? ORDER BY id LIMIT ?"
_UPDATE = "UPDATE visits SET data = ?, seen_at = ? WHERE id = ?"
