"""What the ledger knows of an order's customer and of a coupon, from other orders of the site."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Integer, String, bindparam, cast, func, or_, select, union

from ...credit.sale import Origin
from ...orders.model import SALES
from .connection import Connection
from .database import Database
from .prepared import Prepared, one_of
from .schema import orders as orders_table
from .schema import shares as shares_table
from .schema import sightings as sightings_table

_O, _S, _H = orders_table.c, sightings_table.c, shares_table.c

MOST = 1000
"""Of how many orders a customer's or a coupon's past is counted."""

AMONG = 1000
"""How many reports of one e-mail hash are read."""

_BY_EMAIL = select(_S.order).where(_S.site == bindparam("site"), _S.email_hash == bindparam("email"))
_BY_VISITOR = select(_O.id).where(_O.site == bindparam("site"), _O.visitor == bindparam("visitor"))
# A union, because an OR of both would make PostgreSQL go through all orders. The site is compared and the
# rows are sorted so that no index fits: SQLite would go through all orders of the site.
_EARLIER = Prepared(
    select(_O.id, _O.placed_at, _O.decision)
    .where(func.coalesce(_O.site, "") == bindparam("site"), _O.id != bindparam("row"))
    .where(_O.merged_into.is_(None), _O.placed_at < bindparam("before"), one_of(_O.state, sorted(SALES)))
    .where(_O.id.in_(union(_BY_VISITOR, _BY_EMAIL)))
    .order_by(func.coalesce(_O.placed_at, 0.0), _O.id)
    .limit(bindparam("limit", type_=Integer))
)
_ORIGIN = Prepared(select(shares_table).where(_H.decision == bindparam("decision")).order_by(_H.place))
_CODE = Prepared(
    select(_H.partner, _H.touched_at)
    .select_from(
        orders_table.outerjoin(
            shares_table, (_H.decision == _O.decision) & (_H.partner == bindparam("partner"))
        )
    )
    .where(_O.site == bindparam("site"), _O.id != bindparam("row"), _O.merged_into.is_(None))
    .where(func.lower(_O.coupon) == bindparam("coupon"), _O.coupon.is_not(None))
    .where(_O.placed_at > bindparam("since"), _O.placed_at <= bindparam("until"))
    # What only a browser has told may be made up, to raise the alarm or to keep it quiet.
    .where(or_(_O.source != "browser", cast(_O.doubts, String) == "[]"))
    .limit(bindparam("limit", type_=Integer))
)
_NEWEST = (
    select(_S.id, _S.order, _S.visitor)
    .where(_S.site == bindparam("site"), _S.email_hash == bindparam("email"))
    .order_by(_S.around.desc())
    .limit(bindparam("among", type_=Integer))
    .subquery("newest")
)
_N = _NEWEST.c
_LINKED = Prepared(
    select(_N.visitor)
    .join_from(_NEWEST, orders_table, _O.id == _N.order)
    # Anybody can begin an order with somebody's address, and never pay for it.
    .where(one_of(_O.state, sorted({*SALES, "refunded"})))
    .where(_N.visitor.is_not(None), _N.visitor != bindparam("visitor"))
    .group_by(_N.visitor)
    .order_by(func.max(_N.id).desc())
    .limit(bindparam("limit", type_=Integer))
)


@dataclass(frozen=True, slots=True)
class Past:
    """A customer's earlier sales: how many, when the first was placed, and who earned it."""

    count: int
    first_at: float | None = None
    origin: tuple[Origin, ...] = ()


class Customers:
    """The pasts of customers and coupons. They only read the ledger."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def past(
        self, site: str, *, row: int, before: float, visitor: str | None, email: str | None
    ) -> Past:
        """The sales of the same visitor or e-mail hash that were placed before; `row` is the order itself, 0
        for one that is not in the ledger yet."""
        given = {"site": site, "row": row, "before": before, "visitor": visitor, "email": email}

        async def work(connection: Connection) -> Past:
            found = (await connection.execute(_EARLIER, {**given, "limit": MOST})).all()
            if not found:
                return Past(0)
            first, origin = found[0], tuple[Origin, ...]()
            if first.decision is not None:
                rows = (await connection.execute(_ORIGIN, {"decision": first.decision})).all()
                origin = tuple(
                    Origin(
                        partner=one.partner,
                        part=Decimal(one.part),
                        click=tuple(one.click[:3]) if one.click else None,
                        touched_at=one.touched_at,
                    )
                    for one in rows
                )
            return Past(len(found), first.placed_at, origin)

        return await self._db.query(work)

    async def code_uses(
        self, site: str, *, row: int, coupon: str, partner: str, since: float, until: float
    ) -> tuple[int, int]:
        """How many other orders used a coupon in a time, and how many of them its partner earned without a
        click."""
        given = {"site": site, "row": row, "coupon": coupon.lower(), "partner": partner}

        async def work(connection: Connection) -> tuple[int, int]:
            times = {"since": since, "until": until, "limit": MOST}
            rows = (await connection.execute(_CODE, {**given, **times})).all()
            return len(rows), sum(one.partner is not None and one.touched_at is None for one in rows)

        return await self._db.query(work)

    async def linked(self, site: str, email: str, visitor: str, limit: int) -> Sequence[str]:
        """Other visitors with orders of the same e-mail hash, the newest first: those that are or were
        sales. Of the newest AMONG reports of this hash."""
        given = {"site": site, "email": email, "visitor": visitor, "limit": limit, "among": AMONG}

        async def work(connection: Connection) -> Sequence[str]:
            return [one.visitor for one in (await connection.execute(_LINKED, given)).all()]

        return await self._db.query(work)
