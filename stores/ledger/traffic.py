"""A sample of page views with the facts that rules could ask about, for trying rules out; see
`service/traffic.py`."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import func, select, text, tuple_

from .connection import Connection, executing
from .database import Database
from .forgotten import not_forgotten
from .schema import traffic

BATCH: Final = 200
"""Rows of a statement."""

_C = traffic.c
# Of a page that asks again only the time that it was shown for is new.
_ADD = text(
    "INSERT INTO traffic (site, visitor, page_view, visit, at, shown, weight, facts) "
    "VALUES (:site, :visitor, :page_view, :visit, :at, :shown, :weight, :facts) "
    "ON CONFLICT (site, visitor, page_view) DO UPDATE SET shown = excluded.shown "
    "WHERE traffic.shown < excluded.shown"
)
_SHOWN = text(
    "UPDATE traffic SET shown = :shown "
    "WHERE site = :site AND visitor = :visitor AND page_view = :page_view AND shown < :shown"
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A page view of a visitor, in which `visit` (1 for its first). `at` is in unix seconds, `shown` for how
    many seconds the page was shown as far as it told, `weight` how many page views it stands for. `facts` are
    JSON by group, None for what only says that a page is shown longer."""

    site: str
    visitor: str
    page_view: str
    visit: int
    at: float
    shown: int
    weight: float
    facts: str | None


class Traffic:
    """The sample of all sites. Every method raises the ledger's errors."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def write(self, rows: Collection[Recorded]) -> None:
        """Add page views, and have those that are there shown longer; none of people who are forgotten.
        Several processes may."""
        # In one order, so that two processes never wait for each other.
        ordered = sorted(rows, key=lambda one: (one.site, one.visitor, one.page_view))
        for start in range(0, len(ordered), BATCH):
            await self._db.transact(_adding([asdict(one) for one in ordered[start : start + BATCH]]))

    async def read(self, site: str, since: float, limit: int) -> Sequence[Recorded]:
        """The newest page views of a site since a time, by visitor and time."""
        newest = select(_C.id).where(_C.site == site, _C.at >= since).order_by(_C.at.desc(), _C.id.desc())
        names = ("site", "visitor", "page_view", "visit", "at", "shown", "weight", "facts")
        query = select(*(_C[name] for name in names)).where(_C.id.in_(newest.limit(limit)))
        rows = await self._db.query(executing(query.order_by(_C.visitor, _C.at, _C.id)))
        return [Recorded(*row) for row in rows]

    async def batches(self, site: str, since: float, limit: int) -> AsyncIterator[Sequence[Recorded]]:
        """The same, the newest first, some at a time: what all of them hold is not in memory at once."""
        names = ("site", "visitor", "page_view", "visit", "at", "shown", "weight", "facts")
        query = select(_C.id, *(_C[name] for name in names)).where(_C.site == site, _C.at >= since)
        last: tuple[float, int] | None = None
        while limit > 0:
            further = query if last is None else query.where(tuple_(_C.at, _C.id) < tuple_(*last))
            ordered = further.order_by(_C.at.desc(), _C.id.desc()).limit(min(BATCH, limit))
            rows = (await self._db.query(executing(ordered))).all()
            if not rows:
                return
            yield [Recorded(*row[1:]) for row in rows]
            last, limit = (rows[-1].at, rows[-1].id), limit - len(rows)

    async def count(self, site: str, since: float) -> int:
        """How many page views of a site are recorded since a time."""
        query = select(func.count()).where(_C.site == site, _C.at >= since)
        return int((await self._db.query(executing(query))).scalar_one())


def _adding(values: list[dict[str, Any]]) -> Any:
    async def work(tx: Connection) -> None:
        known = await not_forgotten(tx, {(one["site"], one["visitor"]) for one in values})
        for one in values:
            if (one["site"], one["visitor"]) not in known:
                continue
            if one["facts"] is not None:
                await tx.execute(_ADD, one)
            else:
                await tx.execute(_SHOWN, {k: one[k] for k in ("site", "visitor", "page_view", "shown")})

    return work
