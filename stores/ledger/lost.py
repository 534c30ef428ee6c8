"""Orders that nobody earns, and what the ledger itself knows of whose they may be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Float, Integer, String, bindparam, func, select

from ...orders.model import SALES
from .connection import Connection
from .database import Database
from .known import DECIDED, Decided, decided_of
from .prepared import Prepared, one_of
from .schema import orders as orders_table
from .schema import shares as shares_table
from .schema import sightings as sightings_table

_O, _S, _H = orders_table.c, sightings_table.c, shares_table.c

AMONG: Final = 10_000  # newest orders of a site among which they are looked for
CODE_LEAST: Final = 3  # credited orders with a coupon, of which one partner has most
CODE_PERCENT: Final = 80
MOST: Final = 1000  # newest orders with a coupon that are counted

_ROWS: Final = select(
    *(_O[name] for name in ("id", "order_id", "total", "currency", "channel", "placed_at")),
    *(_O[name] for name in ("visitor", "coupon", "conversation", "decision")),
).select_from(orders_table.outerjoin(shares_table, _H.decision == _O.decision))
_OWN: Final = (_O.merged_into.is_(None), one_of(_O.state, sorted(SALES)), _O.total.is_not(None))
# Nothing says how far back the last one is that nobody earns, so no more are read than `among`
# (`ix_orders_newest`).
_NEWEST = orders_table.alias("newest")
_AMONG = (
    select(_NEWEST.c.id)
    .where(_NEWEST.c.site == bindparam("site"))
    .order_by(_NEWEST.c.id.desc())
    .limit(bindparam("among", type_=Integer))
)
_UNEARNED = Prepared(
    _ROWS.where(_O.id.in_(_AMONG), _O.recorded_at >= bindparam("since", type_=Float))
    .where(*_OWN, _H.partner.is_(None))
    .order_by(_O.id.desc())
    .limit(bindparam("limit", type_=Integer))
)
_ONE = Prepared(_ROWS.where(_O.id == bindparam("row"), *_OWN, _H.partner.is_(None)))
_EMAIL = Prepared(
    select(_S.email_hash)
    .where(_S.order == bindparam("order"), _S.email_hash.is_not(None))
    .order_by(_S.id.desc())
    .limit(1)
)
_WITH_CODE = (
    select(_O.decision)
    .where(_O.site == bindparam("site"), func.lower(_O.coupon) == bindparam("coupon", type_=String))
    .where(_O.coupon.is_not(None), _O.placed_at > bindparam("since", type_=Float))
    .order_by(_O.placed_at.desc())
    .limit(MOST)
    .subquery()
)
_CODE = Prepared(
    select(_H.partner, func.count().label("orders"))
    .select_from(_WITH_CODE.join(shares_table, (_H.decision == _WITH_CODE.c.decision) & (_H.place == 0)))
    .group_by(_H.partner)
)


@dataclass(frozen=True, slots=True)
class Unearned:
    """A sale that no partner earns. `row` is the ledger's own number of it, `email` the hash of the buyer's
    address, `decided` the decision."""

    row: int
    number: str
    total: Decimal
    currency: str
    channel: str
    placed_at: float
    visitor: str | None
    coupon: str | None
    conversation: str | None
    email: str | None
    decided: Decided | None


class Lost:
    """The orders that nobody earns. Only reads the ledger."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def unearned(
        self, site: str, since: float, limit: int, *, among: int = AMONG, seconds: float | None = None
    ) -> Sequence[Unearned]:
        """The newest ones that were recorded since then (unix seconds), of the newest `among` orders of the
        site, without those that a person has credited to nobody, and those whose visitor was forgotten.
        Raises LedgerBusyError if it takes longer than about `seconds`."""
        given = {"site": site, "since": since, "limit": limit, "among": among}
        return await self._db.query(lambda connection: _found(connection, _UNEARNED, given), seconds)

    async def one(self, row: int) -> Unearned | None:
        """The order with this number in the ledger, if it is one of them."""
        found = await self._db.query(lambda connection: _found(connection, _ONE, {"row": row}))
        return found[0] if found else None

    async def code(self, site: str, coupon: str, since: float) -> tuple[str, int, int] | None:
        """The partner that earned nearly all orders with a coupon since then: its id, how many of them, of
        how many. None if none did, or there are too few."""
        given = {"site": site, "coupon": coupon.lower(), "since": since}

        async def work(connection: Connection) -> Mapping[str, int]:
            rows = (await connection.execute(_CODE, given)).all()
            return {row.partner: row.orders for row in rows}

        counts = await self._db.query(work)
        if not counts:
            return None
        every, partner = sum(counts.values()), max(counts, key=lambda one: (counts[one], one))
        enough = every >= CODE_LEAST and counts[partner] * 100 >= CODE_PERCENT * every
        return (partner, counts[partner], every) if enough else None


async def _found(connection: Connection, query: Prepared, given: Mapping[str, Any]) -> Sequence[Unearned]:
    found = []
    for row in (await connection.execute(query, given)).all():
        decided = None
        if row.decision is not None:
            first = (await connection.execute(DECIDED, {"decision": row.decision})).first()
            decided = None if first is None else await decided_of(connection, first)
        if decided is not None and (decided.inputs.partner is not None or decided.inputs.forgotten):
            continue
        email = (await connection.execute(_EMAIL, {"order": row.id})).scalar()
        found.append(
            Unearned(
                row=row.id,
                number=row.order_id,
                total=Decimal(row.total),
                currency=row.currency,
                channel=row.channel,
                placed_at=row.placed_at,
                visitor=row.visitor,
                coupon=row.coupon,
                conversation=row.conversation,
                email=email,
                decided=decided,
            )
        )
    return found
