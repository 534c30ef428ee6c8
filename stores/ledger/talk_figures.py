"""The conversations of a time, for figures: read by an index, at most so many at once."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Row, and_, case, select

from ...chat.figures import Figures, Order, Talk, figures
from .amounts import is_made_up, is_sale
from .connection import Connection
from .database import Database
from .schema import conversations, orders
from .totals import FRESH, Kept

MOST: Final = 50_000
"""Conversations of which the figures are made; of more, those that began last."""

KEPT: Final = 100
"""Times of sites whose figures are kept in memory."""

NEWEST_SECONDS: Final = 10.0
"""How long the figures of a time that goes on are taken as they are."""

SECONDS: Final = 10.0
"""Most time of a reading."""

_C, _O = conversations.c, orders.c
_COLUMNS = (
    *(_C.id, _C.started_at, _C.said_at, _C.updated_at, _C.said, _C.answered_at, _C.answered_by, _C.agent),
    *(_C.rule, _C.department, _C.rating),
)


COUNTS: Final = case(
    (and_(is_sale(_O.state), _O.placed_at >= _C.started_at, _O.merged_into.is_(None), ~is_made_up()), 1),
    else_=0,
)
"""1 for an order that counts for its conversation: who orders in it or after it is its customer, who had
ordered before is not, whatever was asked then. No condition: it would lead SQLite to an index of far more."""


class TalkFigures:
    """Of all sites. Times in unix seconds."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._kept = Kept[Figures](KEPT)

    async def of(
        self,
        site: str,
        start: float,
        end: float,
        now: float,
        zone: ZoneInfo,
        open_at: Callable[[float], bool] = lambda at: True,
    ) -> Figures:
        """The figures of a site's conversations that began from `start` and before `end`; at most a minute
        old, or ten seconds if the time is not over. Raises LedgerError."""
        seconds = NEWEST_SECONDS if end > now else FRESH

        async def read() -> Figures:
            talks = await self.read(site, start, end)
            # In a thread: of very many conversations it takes longer than the loop may be held up.
            made = len(talks) > MOST
            return await asyncio.to_thread(figures, talks[-MOST:], zone, open_at, cut=made)

        return await self._kept.get((site, start, end), now, read, seconds)

    async def read(self, site: str, start: float, end: float) -> Sequence[Talk]:
        """These conversations, in the order in which they began: the last MOST, and one more if there are
        more."""
        began = (_C.site == site, _C.started_at >= start, _C.started_at < end, _C.said > 0)
        newest = select(*_COLUMNS).where(*began).order_by(_C.started_at.desc(), _C.id.desc()).limit(MOST + 1)
        sold = (
            select(_O.conversation, _O.total, _O.refunded, _O.currency, COUNTS.label("counts"))
            .select_from(conversations)
            .join(orders, and_(_O.site == site, _O.conversation == _C.id))
            .where(*began)
            .limit(MOST)
        )

        async def work(connection: Connection) -> tuple[Sequence[Row[Any]], Sequence[Row[Any]]]:
            rows: Sequence[Row[Any]] = (await connection.execute(newest)).all()
            sales: Sequence[Row[Any]] = (await connection.execute(sold)).all()
            return rows, sales

        return await asyncio.to_thread(_talks, *await self._db.query(work, SECONDS))


def _talks(rows: Sequence[Row[Any]], sales: Sequence[Row[Any]]) -> Sequence[Talk]:
    ordered: defaultdict[str, list[Order]] = defaultdict(list)
    for row in sales:
        if not row.counts:
            continue
        paid = Decimal(row.total or 0) - Decimal(row.refunded or 0)
        ordered[row.conversation].append(Order(max(paid, Decimal()), row.currency or ""))
    return [
        Talk(
            row.id,
            row.started_at,
            row.updated_at if row.said_at is None else row.said_at,
            row.said,
            row.answered_at,
            row.answered_by,
            row.agent or row.answered_by,
            row.rule,
            row.department,
            row.rating,
            ordered.get(row.id, ()),
        )
        for row in reversed(rows)
    ]
