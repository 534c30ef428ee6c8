"""How many orders each partner of a site has brought by the hour, of the last weeks: kept in memory, and read
anew from time to time, so that no order waits for it."""

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Float, Integer, String, bindparam, cast, func, or_, select

from .connection import Connection
from .database import Database
from .errors import LedgerBusyError, LedgerError
from .prepared import Prepared
from .schema import orders as orders_table
from .schema import shares as shares_table

_LOG = logging.getLogger("clew.ledger")

HOUR, DAY = 3600, 86400
DAYS: Final = 28  # of history, before the day that is judged
KNOWN_DAYS: Final = 7  # of history without which nothing is judged
FRESH_SECONDS: Final = 2.0
SHARE: Final = 0.02  # of the time that reading may take
WAIT_SECONDS: Final = 0.05  # how long an order waits for newer figures

_O, _S = orders_table.c, shares_table.c
_HOUR = cast(_O.placed_at / HOUR, Integer)
_CLEAN = cast(_O.doubts, String) == "[]"
_COUNTS = Prepared(
    select(_S.partner, _HOUR.label("hour"), _CLEAN.label("clean"), func.count().label("orders"))
    .select_from(orders_table.outerjoin(shares_table, (_S.decision == _O.decision) & (_S.place == 0)))
    .where(_O.site == bindparam("site"), _O.recorded_at >= bindparam("since", type_=Float))
    .where(_O.merged_into.is_(None), or_(_O.total.is_not(None), _O.state == "placed"))
    .group_by(_S.partner, _HOUR, _CLEAN)
)


@dataclass(slots=True)
class _Hours:
    """Orders by hour (unix seconds / 3600): all, and those without a doubt."""

    every: dict[int, int] = field(default_factory=dict)
    clean: dict[int, int] = field(default_factory=dict)

    def add(self, hour: int, clean: bool, orders: int) -> None:
        self.every[hour] = self.every.get(hour, 0) + orders
        if clean:
            self.clean[hour] = self.clean.get(hour, 0) + orders

    def day(self, hour: int, *, clean: bool = False) -> int:
        """All orders of the 24 hours up to this one, or those without a doubt."""
        counts = self.clean if clean else self.every
        return sum(counts.get(one, 0) for one in range(hour - 23, hour + 1))

    def busiest(self, hour: int) -> int:
        """The most orders without a doubt of one of the `DAYS` days before these 24 hours."""
        days: dict[int, int] = {}
        for one, count in self.clean.items():
            before = (hour - one) // 24
            if 1 <= before <= DAYS:
                days[before] = days.get(before, 0) + count
        return max(days.values(), default=0)

    def known(self, hour: int) -> bool:
        """Whether there are orders that are old enough to judge newer ones by."""
        return min(self.clean, default=hour) <= hour - KNOWN_DAYS * 24


class Pace:
    """The orders of one site by partner and hour. Pure."""

    def __init__(self, counts: Iterable[tuple[str | None, int, bool, int]] = ()) -> None:
        self._partners: dict[str | None, _Hours] = {}
        self._all = _Hours()
        for partner, hour, clean, orders in counts:
            self._partners.setdefault(partner, _Hours()).add(hour, clean, orders)
            self._all.add(hour, clean, orders)

    def excess(self, partner: str, at: float, least: int, factor: float) -> str:
        """Why a partner has too many orders within the 24 hours before `at` (unix seconds); empty if it has
        not: fewer than `least`, or not more than `factor` times its busiest day of four weeks. If the other
        orders of the site are as many times more as they ever were, so many more are allowed: a sale. A new
        partner is compared with the busiest day of the whole site."""
        hour, own = int(at // HOUR), self._partners.get(partner, _Hours())
        count = own.day(hour)
        if count < least or not self._all.known(hour):
            return ""
        # Without those in doubt: any browser can report orders, and would make room for its own.
        others = self._all.day(hour, clean=True) - own.day(hour, clean=True)
        usual = self._all.busiest(hour)
        growth = max(1.0, others / max(1, usual))
        if own.known(hour):
            busiest = own.busiest(hour)
            allowed, what = (
                factor * max(1, busiest) * growth,
                f"its busiest day of the {DAYS} before had {busiest}",
            )
        else:
            allowed, what = usual * growth, f"it is new, and the busiest day of the shop had {usual}"
        return "" if count <= max(least, allowed) else f"{count} orders within a day; {what}"


@dataclass(slots=True)
class _Kept:
    pace: Pace = field(default_factory=Pace)
    until: float = float("-inf")
    reading: asyncio.Task[None] | None = None


class Paces:
    """The paces of all sites. They only read the ledger."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._kept: dict[str, _Kept] = {}

    async def of(self, site: str, at: float) -> Pace:
        """The pace of a site, at `at`: as it was read last, a few seconds ago, and longer ago in a large
        ledger. Nothing is known before it was read once."""
        kept = self._kept.setdefault(site, _Kept())
        idle = kept.reading is None or kept.reading.done()
        if idle and time.monotonic() >= kept.until:
            kept.reading = asyncio.create_task(self._read(site, at, kept), name="clew-paces")
        if kept.reading is not None and not kept.reading.done():
            await asyncio.wait({kept.reading}, timeout=WAIT_SECONDS)
        return kept.pace

    async def read(self, site: str, at: float) -> Pace:
        """The pace of a site, read now. Raises the ledger's errors."""
        since = at - (DAYS + 1) * DAY

        async def work(connection: Connection) -> Pace:
            rows = (await connection.execute(_COUNTS, {"site": site, "since": since})).all()
            return Pace((row.partner, int(row.hour), bool(row.clean), row.orders) for row in rows)

        return await self._db.query(work)

    async def _read(self, site: str, at: float, kept: _Kept) -> None:
        began = time.monotonic()
        try:
            kept.pace = await self.read(site, at)
        except LedgerBusyError:
            pass  # who writes the order tells of it
        except LedgerError:
            _LOG.exception("the orders of site %s by hour cannot be read", site)
        finally:
            ended = time.monotonic()
            kept.until = max(ended + FRESH_SECONDS, began + (ended - began) / SHARE)
