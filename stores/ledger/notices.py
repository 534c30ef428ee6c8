"""What needs a person, kept until one marks it as done: a few rows a site, however often it happens."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, insert, select, update

from .connection import Connection, executing
from .database import Database
from .schema import notices as notices_table

MOST = 200  # rows of a site; what was not seen for longest goes first
SHOWN = 50
_C = notices_table.c


@dataclass(frozen=True, slots=True)
class Noted:
    """What happened since it was last written down: how often, and the details of the last time."""

    site: str
    event: str
    key: str
    count: int
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Notice:
    """A row. `count` is how often it happened from `first_at` to `last_at`, unix seconds."""

    id: int
    site: str
    event: str
    key: str
    first_at: float
    last_at: float
    count: int
    details: Mapping[str, Any]


class Notices:
    """The notices of all sites, each known once by (site, event, key)."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(self, noted: Sequence[Noted], now: float) -> None:
        """Write down what happened, in one transaction; several processes may tell of the same."""

        async def work(tx: Connection) -> None:
            await tx.lock("notices")
            for one in noted:
                same = (_C.site == one.site, _C.event == one.event, _C.key == one.key)
                latest = {"last_at": now, "details": dict(one.details)}
                seen = await tx.execute(
                    update(notices_table).where(*same).values(count=_C.count + one.count, **latest)
                )
                if not seen.rowcount:
                    names = {"site": one.site, "event": one.event, "key": one.key}
                    await tx.execute(
                        insert(notices_table).values(**names, first_at=now, count=one.count, **latest)
                    )
            for site in {one.site for one in noted}:
                kept = select(_C.id).where(_C.site == site).order_by(_C.last_at.desc(), _C.id.desc())
                await tx.execute(delete(notices_table).where(_C.site == site, _C.id.not_in(kept.limit(MOST))))

        await self._db.transact(work)

    async def list(self, sites: Collection[str], limit: int = SHOWN) -> tuple[Notice, ...]:
        """The newest notices of these sites, newest first."""
        query = select(notices_table).where(_C.site.in_(sites)).order_by(_C.last_at.desc(), _C.id.desc())
        async with self._db.read() as connection:
            rows = (await connection.execute(query.limit(limit))).all()
        return tuple(Notice(**row._mapping) for row in rows)

    async def version(self, sites: Collection[str]) -> tuple[int, int, float]:
        """Differs whenever what `list` returns does."""
        parts = func.count(), func.coalesce(func.sum(_C.count), 0), func.coalesce(func.max(_C.last_at), 0.0)
        async with self._db.read() as connection:
            row = (await connection.execute(select(*parts).where(_C.site.in_(sites)))).one()
        return row[0], row[1], row[2]

    async def done(self, sites: Collection[str], notice: int) -> Notice | None:
        """Take a notice of these sites away, and return it; if it happens again it is there again."""
        gone = delete(notices_table).where(_C.id == notice, _C.site.in_(sites))
        row = (await self._db.transact(executing(gone.returning(*_C)))).first()
        return None if row is None else Notice(**row._mapping)
