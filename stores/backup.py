"""Backup and restore of the ledger and the visits. For commands: all functions block."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

from .files import PRIVATE
from .ledger.upgrade import known_versions

VISITS_ENDING: Final = ".visits"
"""The suffix of the visits' copy, if they are in a separate file."""

# Every connection to a SQLite file in WAL mode holds a shared lock on these bytes ("File Locking And
# Concurrency In SQLite Version 3": SHARED_FIRST, SHARED_SIZE).
_SHARED_FIRST, _SHARED_SIZE = 0x40000002, 510
_COUNTED = (
    "orders",
    "sightings",
    "decisions",
    "shares",
    "postbacks",
    "conversations",
    "messages",
    "files",
    "agents",
)


class BackupError(OSError):
    """A copy cannot be made, is damaged, or cannot be restored; the message says why."""


@dataclass(frozen=True, slots=True)
class Holds:
    """The content of a ledger's copy: rows by table, postbacks by state, and the total of orders by currency,
    as decimal text. `newest` is when the newest order was recorded, in Unix seconds."""

    version: str
    rows: Mapping[str, int]
    postbacks: Mapping[str, int]
    totals: Mapping[str, str]
    newest: float | None


def copy(source: Path, target: Path, *, force: bool = False) -> None:
    """Copy a consistent state of a database, while others write to it. The copy gets its name when it is
    complete, and only its owner may read it. Raises BackupError."""
    if target.exists() and not force:
        raise BackupError(f"{target} already exists: choose another name, or use --force to replace it")
    part = target.with_name(f"{target.name}.part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE))
        with closing(_reading(source)) as origin, closing(sqlite3.connect(part)) as copied:
            # In one step: it reads one snapshot, and in WAL mode keeps nobody from writing.
            origin.backup(copied)
            copied.execute("PRAGMA journal_mode=DELETE").fetchone()
        _sync(part)
        part.replace(target)
        _sync(target.parent)
    except (OSError, sqlite3.Error) as error:
        part.unlink(missing_ok=True)
        raise BackupError(f"{source} cannot be copied to {target}: {error}") from error


def check(file: Path) -> Holds:
    """Verify a copy of a ledger. Raises BackupError if it is damaged, not a ledger, or of a version that this
    clew cannot read."""
    try:
        with closing(_reading(file)) as db:
            _check_integrity(db, file)
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "alembic_version" not in tables:
                raise BackupError(f"{file} is not a ledger of clew: it has no version")
            (version,) = db.execute("SELECT version_num FROM alembic_version").fetchone() or ("none",)
            _check_version(file, version)
            rows = {name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in _COUNTED}  # noqa: S608
            postbacks = dict(
                db.execute("SELECT state, count(*) FROM postbacks GROUP BY state ORDER BY state")
            )
            newest = db.execute("SELECT max(recorded_at) FROM orders").fetchone()[0]
            return Holds(version, rows, postbacks, _totals(db), newest)
    except sqlite3.Error as error:
        raise BackupError(f"{file} cannot be read: {error}") from error


def check_visits(file: Path) -> int:
    """The number of visitors in a copy of the visits. Raises BackupError."""
    try:
        with closing(_reading(file)) as db:
            _check_integrity(db, file)
            return int(db.execute("SELECT count(*) FROM visits").fetchone()[0])
    except sqlite3.Error as error:
        raise BackupError(f"{file} cannot be read: {error}") from error


@contextmanager
def unused(file: Path) -> Iterator[None]:
    """Prevent others from opening a database meanwhile. Raises BackupError if another process has it open."""
    if not file.exists():
        yield
        return
    descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_SIZE, _SHARED_FIRST)
        except OSError:
            raise BackupError(f"{file} is in use: stop all clew processes that have it open first") from None
        yield
    finally:
        os.close(descriptor)


def put_in_place(copied: Path, target: Path, aside: str) -> Path | None:
    """Replace `target` with a copy. The old file and its WAL files get the suffix `aside`. Returns the old
    file's new name. The caller must hold `unused(target)`. Raises BackupError."""
    part = target.with_name(f"{target.name}.part")
    copy(copied, part, force=True)
    old = target.with_name(target.name + aside)
    try:
        there = target.exists()
        for end in ("-wal", "-shm", "-journal", ""):
            beside = target.with_name(target.name + end)
            if beside.exists():
                beside.rename(old.with_name(old.name + end))
        part.rename(target)
        _sync(target.parent)
    except OSError as error:
        raise BackupError(f"{target} cannot be replaced: {error}; its old files end with {aside}") from error
    return old if there else None


def _reading(file: Path) -> sqlite3.Connection:
    if not file.is_file():
        raise BackupError(f"{file} does not exist")
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)


def _check_integrity(db: sqlite3.Connection, file: Path) -> None:
    found = [row[0] for row in db.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise BackupError(f"{file} is damaged: {'; '.join(found)[:300]}")
    if (broken := db.execute("PRAGMA foreign_key_check").fetchone()) is not None:
        raise BackupError(f"{file} is damaged: a row of {broken[0]} refers to a missing row of {broken[2]}")


def _check_version(file: Path, version: str) -> None:
    if version not in known_versions():
        raise BackupError(f"{file} has the version {version!r}, which this clew cannot read: upgrade clew")


def _totals(db: sqlite3.Connection) -> Mapping[str, str]:
    """The totals by currency, added here, because SQLite would add decimal text as floats."""
    found: dict[str, Decimal] = {}
    for currency, total, refunded in db.execute(
        "SELECT currency, total, refunded FROM orders WHERE total IS NOT NULL AND merged_into IS NULL "
        "AND state IN ('placed', 'paid', 'part_refunded')"
    ):
        found[currency] = found.get(currency, Decimal()) + Decimal(total) - Decimal(refunded)
    return {currency: f"{total:f}" for currency, total in sorted(found.items())}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
