"""Reports for people: lists of orders, and their sums by partner and channel."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Join, ScalarSelect, and_, func, or_, select

from ...credit.division import divided
from ...orders.model import SALES
from ...payouts.account import decimal
from ...postbacks.model import STATES
from .connection import Connection
from .database import Database
from .schema import commissions, decisions, orders, postbacks, shares


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """A filter for orders; None matches all. `since` (inclusive) and `until` (exclusive) are Unix seconds, of
    the time an order was recorded. `state` is that of its postback, or `none` if it has none. `number` is an
    order's normalised number (`orders/ids.py`)."""

    site: str | None = None
    partner: str | None = None
    channel: str | None = None
    state: str | None = None
    since: float | None = None
    until: float | None = None
    number: str | None = None


@dataclass(frozen=True, slots=True)
class OrderLine:
    """An order in a list, or a partner's part of it; `state` as in `OrderFilter`, `order_state` is the
    order's own, `at` in Unix seconds. `total` and `currency` are None if no report had them; `refunded` is
    what of it was refunded."""

    site: str
    id: str
    total: str | None
    currency: str | None
    refunded: str
    order_state: str
    channel: str
    source: str
    partner: str | None
    part: str | None
    reason: str
    state: str
    at: float


@dataclass(frozen=True, slots=True)
class Sum:
    """What the orders of one site, partner (None: credited to nobody), channel and currency come to.

    `orders` counts all in which the partner has a part, `main` those of which it has the largest.
    `total` is what the customers paid and did not get back, a partner's part of it, `commission` what the
    partner earns by it, as in the list of commissions. `reported` are the orders
    that the partner has accepted a call for, `reported_total` the amounts last reported; `waiting` are those
    whose last call is due, held, dead or unknown, `refused` those that a person has refused.
    """

    site: str
    partner: str | None
    channel: str
    currency: str
    orders: int
    total: Decimal
    reported: int
    reported_total: Decimal
    waiting: int
    refused: int
    main: int
    commission: Decimal


def of_share() -> ColumnElement[bool]:
    """Joins a share's commission, as it stands, to the order's share. There is one for each currency that the
    order had; those of others come to nothing."""
    own = commissions.c
    return and_(own.order == orders.c.id, own.partner == shares.c.partner, own.currency == orders.c.currency)


def _of_last(column: ColumnElement[Any], *states: str) -> ScalarSelect[Any]:
    """Of an order's postbacks to a partner, the last one's of these states."""
    own = postbacks.c
    # What there was nothing to report of was never to be told: it is no state of the order's calls.
    real = func.coalesce(own.hold, "") != "nothing"
    query = select(column).where(own.order == orders.c.id, own.state.in_(states), real)
    to_partner = query.where(or_(own.partner == shares.c.partner, shares.c.partner.is_(None)))
    last = to_partner.order_by(own.created_at.desc(), own.sequence.desc()).limit(1)
    return last.correlate(orders, shares).scalar_subquery()


_STATE = _of_last(postbacks.c.state, *(state for state in STATES if state != "superseded"))
_REPORTED = _of_last(postbacks.c.report, "delivered")
_EVERY = orders.outerjoin(decisions, decisions.c.id == orders.c.decision).outerjoin(
    shares, shares.c.decision == orders.c.decision
)
# From the partner's shares on: an outer join would go through all orders.
_EARNED = shares.join(
    orders, and_(orders.c.id == shares.c.order, orders.c.decision == shares.c.decision)
).join(decisions, decisions.c.id == orders.c.decision)


_AMOUNTS = (
    orders.c.state,
    orders.c.total,
    orders.c.refunded,
    shares.c.decision,
    shares.c.place,
    shares.c.part,
    commissions.c.amount,
)
# Decisions that one query asks for.
_AT_ONCE = 500


def _credited(wanted: OrderFilter) -> Join:
    """Orders beside their credit."""
    return _EVERY if wanted.partner is None else _EARNED


class Reports:
    """The reports. They only read the ledger."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def orders(self, wanted: OrderFilter, limit: int | None = None) -> tuple[OrderLine, ...]:
        """The matching orders, newest first."""
        query = (
            select(
                orders.c.site,
                orders.c.order_id.label("id"),
                orders.c.total,
                orders.c.currency,
                orders.c.refunded,
                orders.c.state.label("order_state"),
                orders.c.channel,
                orders.c.source,
                shares.c.partner,
                shares.c.part,
                decisions.c.reason,
                _STATE.label("state"),
                orders.c.recorded_at.label("at"),
            )
            .select_from(_credited(wanted))
            .where(*_conditions(wanted))
            # One number under two names: a partner's orders are in order by an index of the credits.
            .order_by((orders.c.id if wanted.partner is None else shares.c.order).desc())
            .limit(limit)
        )
        async with self._db.read() as connection:
            rows = (await connection.execute(query)).all()
        return tuple(OrderLine(**{**row._mapping, "state": row.state or "none"}) for row in rows)

    async def sums(self, wanted: OrderFilter) -> tuple[Sum, ...]:
        """Number and total of the matching orders, credited ones first."""
        line = (orders.c.site, shares.c.partner, orders.c.channel, orders.c.currency)
        query = (
            select(*line, *_AMOUNTS, _STATE, _REPORTED)
            .select_from(_credited(wanted).outerjoin(commissions, of_share()))
            .where(*_conditions(wanted))
        )
        found: defaultdict[tuple[str, str | None, str, str], list[_Amounts]] = defaultdict(list)
        async with self._db.read() as connection:
            for row in await connection.execute(query):
                values: tuple[Any, ...] = tuple(row)
                found[values[:4]].append(_Amounts(*values[3:]))
            every = (row for rows in found.values() for row in rows)
            several = {
                row.decision for row in every if row.decision is not None and row.part not in (None, "1")
            }
            parts = await parts_of(connection, several)
        sums = [_sum(key, rows, parts) for key, rows in found.items()]
        return tuple(sorted(sums, key=lambda s: (s.site, s.partner is None, s.partner or "", s.channel)))


class _Amounts(NamedTuple):
    """An order's amounts, a partner's part of it, the state of its last postback, and the values of the last
    one that was delivered; None where there is none."""

    currency: str | None
    state: str
    total: str | None
    refunded: str
    decision: int | None
    place: int | None
    part: str | None
    commission: int | None
    postback: str | None
    reported: Mapping[str, Any] | None


def amount_of(row: Any, parts: Mapping[int, Sequence[Decimal]]) -> Decimal:
    """What a partner's part of an order comes to, of what the customer paid and did not get back; zero where
    the order is no sale. `row` has the order's state, total, refunded and currency, and decision and place of
    the partner's share; `parts` are those of all partners, by decision (`parts_of`)."""
    if row.total is None or row.currency is None or row.state not in SALES:
        return Decimal()
    amount = max(Decimal(row.total) - Decimal(row.refunded), Decimal())
    if row.decision is None or row.place is None or row.decision not in parts:
        return amount
    mine: Decimal = divided(amount, row.currency, parts[row.decision])[row.place]
    return mine


async def parts_of(connection: Connection, several: Collection[int]) -> Mapping[int, Sequence[Decimal]]:
    """The parts of all partners of these decisions, the largest first."""
    found: defaultdict[int, list[Decimal]] = defaultdict(list)
    wanted = list(several)
    for start in range(0, len(wanted), _AT_ONCE):
        query = select(shares.c.decision, shares.c.part).where(
            shares.c.decision.in_(wanted[start : start + _AT_ONCE])
        )
        for row in await connection.execute(query.order_by(shares.c.decision, shares.c.place)):
            found[row.decision].append(Decimal(row.part))
    return found


def _sum(
    key: tuple[str, str | None, str, str],
    rows: Sequence[_Amounts],
    parts: Mapping[int, Sequence[Decimal]],
) -> Sum:
    # Exact, so not in the database: SQLite would add up as floats.
    reported = [Decimal(row.reported["amount"]) for row in rows if row.reported]
    refused = sum(row.postback == "refused" for row in rows)
    return Sum(
        *key,
        orders=len(rows),
        main=sum(not row.place for row in rows),
        total=sum((amount_of(row, parts) for row in rows), Decimal()),
        commission=sum(
            (decimal(row.commission, row.currency) for row in rows if row.commission and row.currency),
            Decimal(),
        ),
        reported=len(reported),
        reported_total=sum(reported, Decimal()),
        waiting=sum(row.postback not in (None, "delivered", "refused") for row in rows),
        refused=refused,
    )


def _conditions(wanted: OrderFilter) -> Sequence[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [orders.c.merged_into.is_(None)]
    if wanted.site is not None:
        found.append(orders.c.site == wanted.site)
    if wanted.partner is not None:
        found.append(shares.c.partner == wanted.partner)
    if wanted.channel is not None:
        found.append(orders.c.channel == wanted.channel)
    if wanted.state not in (None, "none", "delivered"):
        # Most are none of these: found by the index, before each order is looked at.
        found.append(orders.c.id.in_(select(postbacks.c.order).where(postbacks.c.state == wanted.state)))
    if wanted.state is not None:
        found.append(_STATE.is_(None) if wanted.state == "none" else _STATE.in_([wanted.state]))
    if wanted.since is not None:
        found.append(orders.c.recorded_at >= wanted.since)
    if wanted.until is not None:
        found.append(orders.c.recorded_at < wanted.until)
    if wanted.number is not None:
        found.append(orders.c.order_id == wanted.number)
    return found
