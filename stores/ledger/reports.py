"""What people ask the ledger: which orders there are, and what they come to by partner and channel."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, ScalarSelect, select

from .database import Database
from .schema import credits_, orders, postbacks


@dataclass(frozen=True, slots=True)
class Asked:
    """Which orders; None is all. `since` (from then on) and `until` (before then) are unix seconds, by the
    time an order was recorded. `state` is that of its postback, or `none` where nobody is told. `number` is
    an order's, normalised (`orders/ids.py`)."""

    site: str | None = None
    partner: str | None = None
    channel: str | None = None
    state: str | None = None
    since: float | None = None
    until: float | None = None
    number: str | None = None


@dataclass(frozen=True, slots=True)
class OrderLine:
    """An order in a list; `state` as in `Asked`, `at` in unix seconds."""

    site: str
    id: str
    total: str
    currency: str
    channel: str
    source: str
    partner: str | None
    reason: str
    state: str
    at: float


@dataclass(frozen=True, slots=True)
class Sum:
    """What the orders of one site, partner (None: credited to nobody), channel and currency come to.

    `told` are those that the partner has taken, and `told_total` the amounts of these calls; `waiting` those
    whose call is due, held, dead or unknown, `refused` those that a person has refused.
    """

    site: str
    partner: str | None
    channel: str
    currency: str
    orders: int
    total: Decimal
    told: int
    told_total: Decimal
    waiting: int
    refused: int


def _of_last(column: ColumnElement[Any]) -> ScalarSelect[Any]:
    """Of an order's postbacks, which a later event may add to, the last one's."""
    last = select(column).where(postbacks.c.order == orders.c.id).order_by(postbacks.c.created_at.desc())
    return last.limit(1).correlate(orders).scalar_subquery()


_STATE, _REPORT = _of_last(postbacks.c.state), _of_last(postbacks.c.report)


class Reports:
    """Read only."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def orders(self, asked: Asked, limit: int | None = None) -> tuple[OrderLine, ...]:
        """The orders asked for, newest first."""
        joined = orders.join(credits_, credits_.c.order == orders.c.id)
        query = (
            select(
                orders.c.site,
                orders.c.order_id,
                orders.c.total,
                orders.c.currency,
                orders.c.channel,
                orders.c.source,
                credits_.c.partner,
                credits_.c.reason,
                _STATE,
                orders.c.recorded_at,
            )
            .select_from(joined)
            .where(*_conditions(asked))
            # One number under two names: a partner's orders are in order by an index of the credits.
            .order_by((orders.c.id if asked.partner is None else credits_.c.order).desc())
            .limit(limit)
        )
        async with self._db.read() as connection:
            rows = (await connection.execute(query)).all()
        return tuple(OrderLine(*row[:8], row[8] or "none", row[9]) for row in rows)

    async def sums(self, asked: Asked) -> tuple[Sum, ...]:
        """Number and total of the orders asked for, credited ones first."""
        line = (orders.c.site, credits_.c.partner, orders.c.channel, orders.c.currency)
        query = (
            select(*line, orders.c.total, _STATE, _REPORT)
            .select_from(orders.join(credits_, credits_.c.order == orders.c.id))
            .where(*_conditions(asked))
        )
        found: defaultdict[tuple[str, str | None, str, str], list[_Amounts]] = defaultdict(list)
        async with self._db.read() as connection:
            async for row in await connection.stream(query):
                found[tuple(row[:4])].append(_Amounts(*row[4:]))
        sums = [_sum(key, rows) for key, rows in found.items()]
        return tuple(sorted(sums, key=lambda s: (s.site, s.partner is None, s.partner or "", s.channel)))


class _Amounts(NamedTuple):
    """An order's total, and of its last postback the state and the values, None where there is none."""

    total: str
    state: str | None
    report: Mapping[str, Any] | None


def _sum(key: tuple[str, str | None, str, str], rows: Sequence[_Amounts]) -> Sum:
    # Exact, so not in the database: SQLite would add up as floats.
    told = [Decimal(row.report["amount"]) for row in rows if row.state == "delivered" and row.report]
    refused = sum(row.state == "refused" for row in rows)
    return Sum(
        *key,
        orders=len(rows),
        total=sum((Decimal(row.total) for row in rows), Decimal()),
        told=len(told),
        told_total=sum(told, Decimal()),
        waiting=sum(row.state is not None for row in rows) - len(told) - refused,
        refused=refused,
    )


def _conditions(asked: Asked) -> Sequence[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if asked.site is not None:
        found.append(orders.c.site == asked.site)
    if asked.partner is not None:
        found.append(credits_.c.partner == asked.partner)
    if asked.channel is not None:
        found.append(orders.c.channel == asked.channel)
    if asked.state not in (None, "none", "delivered"):
        # Most are none of these: found by the index, before each order is looked at.
        found.append(orders.c.id.in_(select(postbacks.c.order).where(postbacks.c.state == asked.state)))
    if asked.state is not None:
        found.append(_STATE.is_(None) if asked.state == "none" else _STATE.in_([asked.state]))
    if asked.since is not None:
        found.append(orders.c.recorded_at >= asked.since)
    if asked.until is not None:
        found.append(orders.c.recorded_at < asked.until)
    if asked.number is not None:
        found.append(orders.c.order_id == asked.number)
    return found
