"""Orders in the ledger as they stand, for reading. What changes them is in `history.py`."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Integer, Row, Select, and_, bindparam, func, select

from ...orders.doubt import UNDOUBTED, Doubt
from ...orders.model import SALES, OrderState
from ...referral.touches import Click
from .connection import Connection, executing
from .database import Database
from .prepared import Prepared, one_of
from .schema import decisions as decisions_table
from .schema import orders as orders_table
from .schema import postbacks as postbacks_table
from .schema import shares as shares_table


@dataclass(frozen=True, slots=True)
class StoredOrder:
    """An order and its credit. `row` is the ledger's own number; times are unix seconds.

    `total` and `currency` are None while only a refund or a cancellation was reported. `partner`, `click` and
    `touched_at` are those of its largest share, None where nobody earned it; `reason` says why or why not.
    `considered` lists the touches that were weighed, as plain data. `named_by` is the source that said whose
    the order is, as `source` is that of its amount. `sources` has by field the key of the sighting that it
    comes from. `doubts` is what stands against telling a partner.
    """

    row: int
    site: str
    order_id: str
    version: int
    spelling: str | None
    state: OrderState
    total: Decimal | None
    currency: str | None
    refunded: Decimal
    details: Mapping[str, Any]
    channel: str
    source: str
    visitor: str | None
    named_by: str | None
    coupon: str | None
    conversation: str | None
    agent: str | None
    sources: Mapping[str, str]
    doubts: tuple[Doubt, ...]
    placed_at: float
    recorded_at: float
    partner: str | None
    click: Click | None
    touched_at: float | None
    reason: str
    considered: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class WantedOrders:
    """Which orders of a site: all conditions that are not None hold. `since` and `until` are for the time
    when they were recorded, in unix seconds; `before` is the row of the last order of the page before."""

    state: str | None = None
    channel: str | None = None
    since: float | None = None
    until: float | None = None
    before: int | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """The conditions in SQL."""
        own = orders_table.c
        found: list[ColumnElement[bool]] = []
        if self.state is not None:
            found.append(own.state == self.state)
        if self.channel is not None:
            found.append(own.channel == self.channel)
        if self.since is not None:
            found.append(own.recorded_at >= self.since)
        if self.until is not None:
            found.append(own.recorded_at < self.until)
        if self.before is not None:
            found.append(own.id < self.before)
        return found


class Orders:
    """The orders of all sites, each known once by (site, order id)."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def amounts(
        self, site: str, *, limit: int, currency: str | None = None
    ) -> tuple[tuple[Decimal, str], ...]:
        """Total and currency of the site's newest orders that are in no doubt, newest first; with `currency`
        only of those in it."""
        given: dict[str, Any] = {"site": site, "limit": limit}
        if currency is None:
            found = await self._db.query(executing(_AMOUNTS, given))
        else:
            found = await self._db.query(executing(_AMOUNTS_IN, given | {"currency": currency}))
        return tuple((Decimal(total), code) for total, code in found)

    async def get(self, site: str, order_id: str) -> StoredOrder | None:
        """The order of a normalised number (`orders/ids.py`), or None."""
        async with self._db.read() as connection:
            found = (await connection.execute(_one(site, order_id))).first()
        return None if found is None else StoredOrder(**_fields(found))

    async def at(self, row: int) -> StoredOrder | None:
        """The order of the ledger's own number, or None."""

        async def work(connection: Connection) -> StoredOrder | None:
            found = (await connection.execute(_AT, {"row": row})).first()
            return None if found is None else StoredOrder(**_fields(found))

        return await self._db.query(work)

    async def list(
        self, site: str, *, limit: int = 100, before: int | None = None
    ) -> tuple[StoredOrder, ...]:
        """The site's newest orders, newest first; with `before` those recorded before the one of that row."""
        query = _ALL.where(orders_table.c.site == site)
        return await self._newest(query if before is None else query.where(orders_table.c.id < before), limit)

    async def wanted(self, site: str, wanted: WantedOrders, limit: int) -> tuple[StoredOrder, ...]:
        """The newest of these orders, newest first."""
        return await self._newest(_ALL.where(orders_table.c.site == site, *wanted.conditions()), limit)

    async def of_visitor(self, site: str, visitor: str, *, limit: int = 20) -> tuple[StoredOrder, ...]:
        """The visitor's newest orders at the site, newest first."""
        condition = (orders_table.c.site == site, orders_table.c.visitor == visitor)
        return await self._newest(_ALL.where(*condition), limit)

    async def _newest(self, query: Select[Any], limit: int) -> tuple[StoredOrder, ...]:
        async with self._db.read() as connection:
            found = (await connection.execute(query.order_by(orders_table.c.id.desc()).limit(limit))).all()
        return tuple(StoredOrder(**_fields(row)) for row in found)


def _all() -> Select[Any]:
    hidden = ("changed_at", "id", "decision", "merged_into", "written")
    own = [c for c in orders_table.c if c.name not in hidden]
    share = shares_table.c
    joined = orders_table.outerjoin(
        decisions_table, decisions_table.c.id == orders_table.c.decision
    ).outerjoin(shares_table, and_(share.decision == orders_table.c.decision, share.place == 0))
    earned = (share.partner, share.click, share.touched_at)
    why = (decisions_table.c.reason, decisions_table.c.considered)
    return (
        select(orders_table.c.id.label("row"), *own, *earned, *why)
        .select_from(joined)
        .where(orders_table.c.merged_into.is_(None))
    )


_ALL = _all()
_AT = Prepared(_ALL.where(orders_table.c.id == bindparam("row")))


def _amounts(*conditions: ColumnElement[bool]) -> Prepared:
    own, calls = orders_table.c, postbacks_table.c
    in_doubt = (one_of(calls.state, ("held", "refused")), ~one_of(func.coalesce(calls.hold, ""), UNDOUBTED))
    doubtful = select(calls.id).where(calls.order == own.id, *in_doubt)
    return Prepared(
        select(own.total, own.currency)
        .where(own.site == bindparam("site"), one_of(own.state, sorted(SALES)), own.total.is_not(None))
        .where(~doubtful.exists(), *conditions)
        .order_by(own.id.desc())
        .limit(bindparam("limit", type_=Integer))
    )


_AMOUNTS = _amounts()
_AMOUNTS_IN = _amounts(orders_table.c.currency == bindparam("currency"))


def _one(site: str, order_id: str) -> Select[Any]:
    return _ALL.where(orders_table.c.site == site, orders_table.c.order_id == order_id)


def _fields(row: Row[Any]) -> dict[str, Any]:
    fields = row._asdict()
    click, total = fields["click"], fields["total"]
    return fields | {
        "total": None if total is None else Decimal(total),
        "refunded": Decimal(fields["refunded"]),
        "doubts": tuple(Doubt(**doubt) for doubt in fields["doubts"]),
        "click": Click(*click) if click else None,
        "considered": tuple(fields["considered"] or ()),
    }
