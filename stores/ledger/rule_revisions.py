"""Revisions of sites' rules: who set which rules when. The newest one of a site is in force.

Revisions are added, and the oldest deleted; none changes. They are written one after the other, over all
sites, so that whoever has read up to a row misses none with a lower number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Integer, bindparam, delete, func, insert, select

from ...referral.masking import without_acting
from .connection import Connection, executing
from .database import Database
from .errors import LedgerConflictError
from .prepared import Prepared
from .schema import rule_revisions

KEPT: Final = 100
"""Revisions of a site that are kept."""

KEPT_BYTES: Final = 8 << 20
"""Bytes of text of all revisions of a site that are kept, besides the newest."""

NOTE_LENGTH: Final = 200
BY_LENGTH: Final = 80
PAGE: Final = 100

_C = rule_revisions.c
_HEAD = (_C.site, _C.number, _C.at, _C.by, _C.note, _C.text.is_(None).label("settings"), _C.count, _C.size)
_LAST = Prepared(select(_C.id).order_by(_C.id.desc()).limit(1))
_AFTER = Prepared(
    select(_C.id, _C.site)
    .where(_C.id > bindparam("after", type_=BigInteger))
    .order_by(_C.id)
    .limit(bindparam("limit", type_=Integer))
)
_NEWEST = Prepared(
    select(_C.site, _C.number, _C.rules, _C.own, _C.by)
    .where(_C.site == bindparam("site"), _C.number < bindparam("number", type_=Integer))
    .order_by(_C.number.desc())
    .limit(1)
)
ANY: Final = 2**31 - 1
"""More than the number of any revision."""


class StaleError(LedgerConflictError):
    """Somebody else has set rules meanwhile; `newest` is that revision."""

    def __init__(self, newest: "Head") -> None:
        super().__init__(
            f"{newest.by} has set revision {newest.number} meanwhile: look at what changed, and try again"
        )
        self.newest = newest


@dataclass(frozen=True, slots=True)
class Head:
    """A revision without its rules: `at` in unix seconds, `by` whom, a note, how many rules and bytes.
    `settings`: it says that the settings' rules are in force."""

    site: str
    number: int
    at: float
    by: str
    note: str
    settings: bool
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class Revision(Head):
    """A revision with its text in TOML; None if it says that the settings' rules are in force."""

    text: str | None


@dataclass(frozen=True, slots=True)
class Stored:
    """What processes run: the rules as JSON, None for those of the settings, and the site's own facts that
    they ask for, with their types."""

    site: str
    number: int
    rules: str | None
    own: Mapping[str, str]
    by: str


@dataclass(frozen=True, slots=True)
class NewRules:
    """Rules that are to be set: as text, as JSON, both None for those of the settings."""

    text: str | None
    rules: str | None
    own: Mapping[str, str]
    count: int


class RuleRevisions:
    """The revisions of all sites."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(
        self, site: str, new: NewRules, by: str, note: str, now: float, base: int | None = None
    ) -> tuple[Head, bool]:
        """Set rules. `base` is the number of the revision that they were made from, 0 if there was none;
        None: whichever it was. Returns the newest revision, and whether it is a new one: rules that are in
        force already make none. Raises StaleError."""

        async def work(tx: Connection) -> tuple[Head, bool]:
            await tx.lock("rule_revisions")
            found = (await tx.execute(_heads(site, 1))).first()
            newest = None if found is None else Head(*found)
            number = 0 if newest is None else newest.number
            if base is not None and base != number and newest is not None:
                raise StaleError(newest)
            if newest is not None:
                is_same = select(_C.id).where(_C.site == site, _C.number == number, _is(new.text))
                if await tx.scalar(is_same) is not None:
                    return newest, False
            size = len((new.text or "").encode("utf-8", "replace"))
            by_line, note_line = without_acting(by)[:BY_LENGTH], without_acting(note)[:NOTE_LENGTH]
            head = Head(site, number + 1, now, by_line, note_line, new.text is None, new.count, size)
            values = {name: getattr(head, name) for name in ("site", "number", "at", "by", "note")}
            await tx.execute(
                insert(rule_revisions).values(
                    **values,
                    text=new.text,
                    rules=new.rules,
                    own=dict(new.own),
                    count=head.count,
                    size=size,
                )
            )
            await _drop_old(tx, site, head.number)
            return head, True

        return await self._db.transact(work)

    async def history(self, site: str, limit: int = PAGE, before: int = ANY) -> Sequence[Head]:
        """The newest revisions before a number."""
        rows = await self._db.query(executing(_heads(site, limit, before)))
        return [Head(*row) for row in rows]

    async def find(self, site: str, number: int | None = None) -> Revision | None:
        """A revision; without a number the newest."""
        query = select(*_HEAD, _C.text).where(_C.site == site).order_by(_C.number.desc()).limit(1)
        if number is not None:
            query = query.where(_C.number == number)
        row = (await self._db.query(executing(query))).first()
        return None if row is None else Revision(*row)

    # -- for processes that run them

    async def last(self) -> int:
        """The number of the last row of all sites; 0 without any."""
        row = (await self._db.query(executing(_LAST, {}), quick=True)).first()
        return 0 if row is None else int(row.id)

    async def after(self, row: int, limit: int = 500) -> Sequence[tuple[int, str]]:
        """The rows after one: their numbers and sites."""
        found = await self._db.query(executing(_AFTER, {"after": row, "limit": limit}), quick=True)
        return [(int(one.id), one.site) for one in found]

    async def stored(self, site: str, before: int = ANY) -> Stored | None:
        """The newest revision of a site before a number, as processes run it."""
        row = (await self._db.query(executing(_NEWEST, {"site": site, "number": before}))).first()
        return None if row is None else Stored(*row)

    async def all_stored(self, up_to: int, page: int = 200) -> Sequence[Stored]:
        """The newest revision of each site, of the rows up to one."""
        newest = select(_C.site, func.max(_C.id).label("id")).where(_C.id <= up_to).group_by(_C.site)
        ids = [int(row.id) for row in await self._db.query(executing(newest.order_by(_C.site)))]
        found: list[Stored] = []
        for start in range(0, len(ids), page):
            some = select(_C.site, _C.number, _C.rules, _C.own, _C.by).where(
                _C.id.in_(ids[start : start + page])
            )
            found += [Stored(*row) for row in await self._db.query(executing(some))]
        return found

    async def numbers(self) -> Mapping[str, Head]:
        """The newest revision of each site that has one."""
        newest = select(func.max(_C.id)).group_by(_C.site)
        rows = await self._db.query(executing(select(*_HEAD).where(_C.id.in_(newest))))
        return {row.site: Head(*row) for row in rows}


def _heads(site: str, limit: int, before: int = ANY) -> Any:
    of_site = select(*_HEAD).where(_C.site == site, _C.number < before)
    return of_site.order_by(_C.number.desc()).limit(limit)


def _is(text: str | None) -> Any:
    return _C.text.is_(None) if text is None else _C.text == text


async def _drop_old(tx: Connection, site: str, newest: int) -> None:
    """Delete revisions beyond those that are kept."""
    sizes = select(_C.number, _C.size).where(_C.site == site, _C.number < newest)
    kept = 0
    for row in await tx.execute(sizes.order_by(_C.number.desc())):
        kept += row.size
        if kept > KEPT_BYTES or row.number <= newest - KEPT:
            await tx.execute(delete(rule_revisions).where(_C.site == site, _C.number <= row.number))
            return
