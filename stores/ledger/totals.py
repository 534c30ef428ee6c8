"""What orders come to by partner, channel and week: sums by currency, exact to the last minor unit.

Sums are made by the database, week by week, from an index (`ix_orders_placed`). Only orders of which a part
was refunded, or that several partners share, are added up here (`amounts.py`).
"""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final, Generic, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Row, Select, and_, case, func, not_, select

from ...orders.model import OrderState
from ...payouts.account import STATES, State
from .amounts import NONE, amount_of, count, is_plain, is_sale, made_up, money, parts_of, units
from .commissions import AMENDED_APPROVED
from .connection import Connection
from .database import Database
from .schema import commissions, orders, shares

T = TypeVar("T")

UNDONE: Final[frozenset[OrderState]] = frozenset({"refunded", "cancelled", "charged_back"})
"""The states of orders that were sales, and are none any more."""

MOST_WEEKS: Final = 53
"""Most weeks that are asked for at once."""

SECONDS: Final = 10.0
"""Most time of the sums of a week."""

KEPT: Final = 2_000
"""Weeks of sites whose sums are kept."""

FRESH: Final = 60.0
"""How long the sums of a week are taken as they are, in seconds."""


@dataclass(frozen=True, slots=True)
class Total:
    """What the orders of one site, partner (None: credited to nobody), channel, week and currency come to.

    `week` is the time of its Monday, 0:00, in unix seconds. `orders` are those that are sales in which the
    partner has a part, `main` those of which it has the largest; `undone` were cancelled, charged back or
    refunded as a whole. `revenue` is what the customers paid and did not get back, a partner's part of it.
    `earning` are the orders of which the partner's commission is not declined, `commission` what it earns by
    them: both as in the list of commissions, so that all pages say the same of a time. A commission is in the
    currency in which it is paid (`[sites.net]`), which may be another one than the order's.
    """

    site: str
    partner: str | None
    channel: str
    week: float
    currency: str
    orders: int
    main: int
    undone: int
    earning: int
    revenue: Decimal
    commission: Decimal


@dataclass(frozen=True, slots=True)
class StateTotal:
    """What the commissions of a partner come to that are in one state (`payouts.account.State`), in a
    currency: how many there are, and what they earn. `approved`: they are amended, and were approved."""

    partner: str
    state: State
    currency: str
    approved: bool
    count: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Weeks:
    """Weeks from Monday to Sunday of a time zone, one after the other: `starts` are their Mondays, 0:00, in
    unix seconds, and `end` the one after the last."""

    starts: tuple[float, ...]
    end: float

    @classmethod
    def until(cls, now: float, number: int, zone: ZoneInfo) -> "Weeks":
        """The week of `now` and those before it, `number` of them (at most MOST_WEEKS)."""
        day = datetime.fromtimestamp(now, zone).date()
        monday = day - timedelta(days=day.weekday())
        count = max(1, min(number, MOST_WEEKS))
        days = [monday + timedelta(weeks=n) for n in range(1 - count, 2)]
        times = [datetime(d.year, d.month, d.day, tzinfo=zone).timestamp() for d in days]
        return cls(tuple(times[:-1]), times[-1])

    def pairs(self) -> Iterable[tuple[float, float]]:
        """The start and the end of each."""
        return zip(self.starts, (*self.starts[1:], self.end), strict=True)


class Kept(Generic[T]):
    """What is costly to read, for FRESH seconds, and read by one caller at a time: however many pages ask,
    the ledger is asked once."""

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._turn = asyncio.Lock()
        self._kept: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()

    async def get(
        self, key: Hashable, now: float, read: Callable[[], Awaitable[T]], seconds: float = FRESH
    ) -> T:
        """What was read under this key at most so many seconds ago, or is read now. `now` is in unix seconds.
        Raises what `read` does."""
        if (kept := self._fresh(key, now, seconds)) is not None:
            return kept[1]
        async with self._turn:
            if (kept := self._fresh(key, now, seconds)) is not None:
                return kept[1]
            found = await read()
            self._kept[key] = (now, found)
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return found

    def drop(self, key: Hashable) -> None:
        """Read it again the next time."""
        self._kept.pop(key, None)

    def _fresh(self, key: Hashable, now: float, seconds: float) -> tuple[float, T] | None:
        kept = self._kept.get(key)
        # A clock may have been set back.
        return kept if kept is not None and abs(now - kept[0]) < seconds else None


class Totals:
    """The totals. They only read the ledger."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._kept = Kept[tuple[Total, ...]]()
        self._states = Kept[tuple[StateTotal, ...]]()

    async def of(
        self, sites: Sequence[str], weeks: Weeks, now: float, *, partner: str | None = None
    ) -> tuple[Total, ...]:
        """The totals of these sites in these weeks; with `partner` of that one only. At most FRESH seconds
        old at `now`, in unix seconds. Raises LedgerError."""
        found: list[Total] = []
        for start, end in weeks.pairs():
            for site in sites:
                key = (site, start, end)
                found += await self._kept.get(key, now, partial(self.week, *key))
        return tuple(total for total in found if partner is None or total.partner == partner)

    async def states(self, site: str, weeks: Weeks, now: float) -> tuple[StateTotal, ...]:
        """The commissions for the site's orders of these weeks, by partner and state. At most FRESH seconds
        old at `now`. Raises LedgerError."""
        own = commissions.c
        placed = (own.placed_at >= weeks.starts[0], own.placed_at < weeks.end)
        key = (own.partner, own.state, own.currency, AMENDED_APPROVED)
        # By the states that there are, an index finds those of the time.
        query = (
            select(*key, func.count(), func.coalesce(func.sum(own.amount), 0))
            .where(own.site == site, own.state.in_(STATES), *placed)
            .where(own.order.not_in(made_up(site, weeks.starts[0], weeks.end)))
            .group_by(*key)
            .order_by(*key)
        )

        async def work(connection: Connection) -> tuple[StateTotal, ...]:
            rows = await connection.execute(query)
            return tuple(
                StateTotal(row[0], row[1], row[2], bool(row[3]), row[4], money(row[5], row[2]))
                for row in rows
            )

        return await self._states.get(
            (site, weeks.starts[0], weeks.end), now, lambda: self._db.query(work, SECONDS)
        )

    async def week(self, site: str, start: float, end: float) -> tuple[Total, ...]:
        """The totals of a site's orders that were placed from `start` and before `end`, as they are now.
        Raises LedgerError."""

        async def work(connection: Connection) -> defaultdict[_Line, _Sums]:
            sums: defaultdict[_Line, _Sums] = defaultdict(_Sums)
            for row in await connection.execute(_summed(site, start, end)):
                sums[row.partner, row.channel, row.currency or ""] = _Sums(
                    int(row.orders), int(row.main), int(row.undone), revenue=money(row.revenue, row.currency)
                )
            rows = (await connection.execute(_single(site, start, end))).all()
            parts = await parts_of(connection, {row.decision for row in rows if row.part not in (None, "1")})
            for row in rows:
                sums[row.partner, row.channel, row.currency or ""].revenue += amount_of(row, parts)
            return sums

        async def earned(connection: Connection) -> Sequence[Row[Any]]:
            rows: Sequence[Row[Any]] = (await connection.execute(_earned(site, start, end))).all()
            return rows

        # At the same time: each takes about as long as the other.
        sums, rows = await asyncio.gather(self._db.query(work, SECONDS), self._db.query(earned, SECONDS))
        for row in rows:
            # Who has no part any more has a commission of nothing, and so has what was in another currency.
            if row.earning or row.commission:
                own = sums[row.partner, row.channel, row.currency]
                own.earning, own.commission = int(row.earning), money(row.commission, row.currency)
        return tuple(
            Total(site, partner, channel, start, currency, *found.values())
            for (partner, channel, currency), found in sums.items()
        )


_Line = tuple[str | None, str, str]


@dataclass(slots=True)
class _Sums:
    orders: int = 0
    main: int = 0
    undone: int = 0
    earning: int = 0
    revenue: Decimal = Decimal()
    commission: Decimal = Decimal()

    def values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))


_O, _S, _C = orders.c, shares.c, commissions.c
_IS_SALE, _PLAIN = is_sale(_O.state), is_plain()
_JOINED = orders.outerjoin(shares, _S.decision == _O.decision)


def _placed(site: str, start: float, end: float) -> tuple[ColumnElement[bool], ...]:
    times = (_O.placed_at >= start, _O.placed_at < end)
    return _O.site == site, *times, _O.merged_into.is_(None), _O.id.not_in(made_up(site, start, end))


def _summed(site: str, start: float, end: float) -> Select[Any]:
    """A row for each partner, channel and currency, with what the database adds up."""
    line = (_S.partner, _O.channel, _O.currency)
    return (
        select(
            *line,
            count(_IS_SALE).label("orders"),
            count(and_(_IS_SALE, func.coalesce(_S.place, NONE) == NONE)).label("main"),
            count(_O.state.in_(sorted(UNDONE))).label("undone"),
            func.sum(case((and_(_IS_SALE, _PLAIN), units(_O.total)), else_=NONE)).label("revenue"),
        )
        .select_from(_JOINED)
        .where(*_placed(site, start, end))
        .group_by(*line)
    )


def _earned(site: str, start: float, end: float) -> Select[Any]:
    """A row for each partner, channel and currency of commissions, with what they come to."""
    line = (_C.partner, _O.channel, _C.currency)
    return (
        select(
            *line,
            count(_C.state != "declined").label("earning"),
            func.coalesce(func.sum(_C.amount), NONE).label("commission"),
        )
        .select_from(orders.join(commissions, _C.order == _O.id))
        .where(*_placed(site, start, end))
        .group_by(*line)
    )


def _single(site: str, start: float, end: float) -> Select[Any]:
    """The orders that are added up here."""
    columns = (
        _S.partner,
        _O.channel,
        _O.currency,
        _O.state,
        _O.total,
        _O.refunded,
        _O.decision,
        _S.place,
        _S.part,
    )
    return (
        select(*columns)
        .select_from(_JOINED)
        .where(*_placed(site, start, end), _IS_SALE, _O.total.is_not(None), not_(_PLAIN))
    )
