"""Reports for people: lists of orders, and their sums by partner and channel.

Sums are exact: the database adds up whole minor units, a bounded number of orders at a time; only orders of
which a part was refunded, or that several partners share, are added up here (`amounts.py`).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from decimal import Decimal
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Join, Row, ScalarSelect, Select, and_, case, func, not_, or_, select

from ...postbacks.model import STATES
from .amounts import (
    NONE,
    amount_of,
    count,
    is_made_up,
    is_plain,
    is_sale,
    money,
    of_share,
    parts_of,
    units,
)
from .connection import Connection, executing
from .database import Database
from .schema import commissions, decisions, orders, postbacks, shares

AT_ONCE: Final = 5_000
"""Orders of one question for sums."""

SECONDS: Final = 10.0
"""Most time of such a question."""


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
    whose last call is due, held, dead or unknown, `refused` those that a person has refused. What a partner
    is told and earns may be in another currency than the order (`[sites.net]`): it is in the line of that
    one.
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
_EVERY = orders.outerjoin(decisions, decisions.c.id == orders.c.decision).outerjoin(
    shares, shares.c.decision == orders.c.decision
)
# From the partner's shares on: an outer join would go through all orders.
_EARNED = shares.join(
    orders, and_(orders.c.id == shares.c.order, orders.c.decision == shares.c.decision)
).join(decisions, decisions.c.id == orders.c.decision)


def _credited(wanted: OrderFilter) -> Join:
    """Orders beside their credit."""
    return _EVERY if wanted.partner is None else _EARNED


class Reports:
    """The reports. They only read the ledger."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def orders(self, wanted: OrderFilter, limit: int | None = None) -> tuple[OrderLine, ...]:
        """The matching orders, newest first. Raises LedgerBusyError where the question of a site takes longer
        than SECONDS."""
        query = (
            select(
                orders.c.id.label("row"),
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
            # One number under two names: a partner's orders are in order by an index of the credits.
            .order_by((orders.c.id if wanted.partner is None else shares.c.order).desc())
            .limit(limit)
        )
        # That index begins with the site.
        one_by_one = wanted.partner is not None and wanted.site is None
        sites = await self._sites() if one_by_one else [wanted.site]
        found: list[Row[Any]] = []
        for site in sites:
            of_site = query.where(*_conditions(replace(wanted, site=site)))
            found += (await self._db.query(executing(of_site), SECONDS)).all()
        found.sort(key=lambda row: -row.row)
        names = OrderLine.__slots__
        return tuple(
            OrderLine(**{name: getattr(row, name) for name in names} | {"state": row.state or "none"})
            for row in found[:limit]
        )

    async def sums(self, wanted: OrderFilter) -> tuple[Sum, ...]:
        """Number and total of the matching orders, credited ones first. However many they are, `AT_ONCE` of
        them are read in one question. Raises LedgerBusyError where one takes longer than SECONDS."""
        found: defaultdict[tuple[str, str | None, str, str], _Amounts] = defaultdict(_Amounts)
        for site in [wanted.site] if wanted.site is not None else await self._sites():
            of_site, after = replace(wanted, site=site), None
            while True:
                some, after = await self._db.query(partial(_added, of_site, after), SECONDS)
                for (partner, channel, currency), amounts in some:
                    found[site, partner, channel, currency].add(amounts)
                if after is None:
                    break
        sums = [Sum(*key, **asdict(amounts)) for key, amounts in found.items()]
        return tuple(sorted(sums, key=lambda s: (s.site, s.partner is None, s.partner or "", s.channel)))

    async def _sites(self) -> list[str]:
        """The sites that have orders: one step of an index for each."""
        found: list[str] = []
        async with self._db.read() as connection:
            first = select(func.min(orders.c.site))
            while (site := await connection.scalar(first)) is not None:
                found.append(site)
                first = select(func.min(orders.c.site)).where(orders.c.site > site)
        return found


@dataclass(slots=True)
class _Amounts:
    """What a `Sum` comes to, so far."""

    orders: int = 0
    main: int = 0
    total: Decimal = Decimal()
    commission: Decimal = Decimal()
    reported: int = 0
    reported_total: Decimal = Decimal()
    waiting: int = 0
    refused: int = 0

    def add(self, other: "_Amounts") -> None:
        """Add another one."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


_Place = tuple[float, int]
_Line = tuple[str | None, str, str]
_TOLD = postbacks.c.report
_FINE: Final = 10**9


async def _added(
    wanted: OrderFilter, after: _Place | None, connection: Connection
) -> tuple[Sequence[tuple[_Line, _Amounts]], _Place | None]:
    """The sums of the next orders of a site in the order in which they were recorded, by partner, channel and
    currency; and the place of the last one, None if there are no more."""
    at = (orders.c.recorded_at, orders.c.id)
    within = [orders.c.site == wanted.site, *_recorded(wanted), *_between(after, None)]
    places = select(*at).where(*within).order_by(*at).offset(AT_ONCE - 1).limit(1)
    last = (await connection.execute(places)).first()
    end = None if last is None else (last.recorded_at, last.id)
    # A test order is no order, and nobody knows whether one is that only a browser has told.
    counted = (orders.c.state != "test", not_(is_made_up()))
    conditions = (*_conditions(wanted), *_between(after, end), *counted)
    summed = (await connection.execute(_summed(wanted, conditions))).all()
    found = [
        (
            (row.partner, row.channel, row.currency),
            _Amounts(
                orders=row.orders,
                main=int(row.main),
                total=money(row.total, row.currency),
                reported=row.reported,
                waiting=int(row.waiting),
                refused=int(row.refused),
            ),
        )
        for row in summed
    ]
    found += [
        (
            (row.partner, row.channel, row.told_currency or row.currency),
            _Amounts(reported_total=_whole(row, "told", row.told_currency)),
        )
        for row in summed
        if row.reported
    ]
    found += [
        (
            (row.partner, row.channel, row.currency),
            _Amounts(commission=_whole(row, "commission", row.currency)),
        )
        for row in await connection.execute(_earned(wanted, conditions))
        if row.commission or row.commission_rest
    ]
    rows = (await connection.execute(_single(wanted, conditions))).all()
    parts = await parts_of(connection, {row.decision for row in rows if row.part not in (None, "1")})
    found += [
        ((row.partner, row.channel, row.currency), _Amounts(total=amount_of(row, parts))) for row in rows
    ]
    return found, end


def _summed(wanted: OrderFilter, conditions: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """What the database adds up; beside the currency of the orders, by that of what the partner was told."""
    own = ("channel", "currency", "state", "total", "refunded")
    shared = ("partner", "place", "part")
    each = (
        select(
            *(orders.c[name] for name in own),
            *(shares.c[name] for name in shared),
            _STATE.label("call"),
            _of_last(_TOLD["amount"].as_string(), "delivered").label("told"),
            _of_last(_TOLD["currency"].as_string(), "delivered").label("told_currency"),
        )
        .select_from(_credited(wanted))
        .where(*conditions)
        .cte("each_order")
        # Else the postbacks are looked up again for each of the sums.
        .prefix_with("MATERIALIZED")
    ).c
    line = (each.partner, each.channel, each.currency, each.told_currency)
    sale = and_(is_sale(each.state), is_plain(each, each))
    waits = and_(each.call.is_not(None), each.call.not_in(("delivered", "refused")))
    return select(
        *line,
        func.count().label("orders"),
        count(func.coalesce(each.place, NONE) == NONE).label("main"),
        func.sum(case((sale, units(each.total)), else_=NONE)).label("total"),
        func.count(each.told).label("reported"),
        *_exactly(units(each.told), "told"),
        count(waits).label("waiting"),
        count(func.coalesce(each.call, "") == "refused").label("refused"),
    ).group_by(*line)


def _earned(wanted: OrderFilter, conditions: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """What partners earn by the orders, by the currency in which they are paid."""
    line = (shares.c.partner, orders.c.channel, commissions.c.currency)
    query = select(*line, *_exactly(commissions.c.amount, "commission"))
    joined = _credited(wanted).join(commissions, of_share())
    return query.select_from(joined).where(*conditions).group_by(*line)


def _single(wanted: OrderFilter, conditions: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """The orders that are added up here."""
    own = ("channel", "currency", "state", "total", "refunded", "decision")
    shared = ("partner", "place", "part")
    columns = (*(orders.c[name] for name in own), *(shares.c[name] for name in shared))
    query = select(*columns).select_from(_credited(wanted)).where(*conditions)
    return query.where(is_sale(orders.c.state), orders.c.total.is_not(None), not_(is_plain()))


def _exactly(number: ColumnElement[int], name: str) -> Sequence[ColumnElement[int]]:
    """The sum of amounts of any size in two parts, since SQLite has no whole number that is large enough."""
    return func.sum(number // _FINE).label(name), func.sum(number % _FINE).label(f"{name}_rest")


def _whole(row: Any, name: str, currency: str | None) -> Decimal:
    high, rest = getattr(row, name), getattr(row, f"{name}_rest")
    return Decimal() if high is None else money(int(high) * _FINE + int(rest), currency)


def _between(after: _Place | None, end: _Place | None) -> Sequence[ColumnElement[bool]]:
    """Behind one place, and up to another, in the order of `ix_orders_recorded`."""
    at, row = orders.c.recorded_at, orders.c.id
    found: list[ColumnElement[bool]] = []
    if after is not None:
        found += [at >= after[0], or_(at > after[0], row > after[1])]
    if end is not None:
        found += [at <= end[0], or_(at < end[0], row <= end[1])]
    return found


def _recorded(wanted: OrderFilter) -> Sequence[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.since is not None:
        found.append(orders.c.recorded_at >= wanted.since)
    if wanted.until is not None:
        found.append(orders.c.recorded_at < wanted.until)
    return found


def _conditions(wanted: OrderFilter) -> Sequence[ColumnElement[bool]]:
    found = [orders.c.merged_into.is_(None), *_recorded(wanted)]
    if wanted.site is not None:
        found.append(orders.c.site == wanted.site)
    if wanted.partner is not None:
        found += [shares.c.site == wanted.site, shares.c.partner == wanted.partner]
    if wanted.channel is not None:
        found.append(orders.c.channel == wanted.channel)
    if wanted.state not in (None, "none", "delivered"):
        # Most are none of these: found by the index, before each order is looked at.
        found.append(orders.c.id.in_(select(postbacks.c.order).where(postbacks.c.state == wanted.state)))
    if wanted.state is not None:
        found.append(_STATE.is_(None) if wanted.state == "none" else _STATE.in_([wanted.state]))
    if wanted.number is not None:
        found.append(orders.c.order_id == wanted.number)
    return found
