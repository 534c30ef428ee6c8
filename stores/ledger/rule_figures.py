"""What visitors in experiments and conversations come to, by week: read from their rows, and from the sums of
those that are deleted."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Integer, Row, Select, and_, case, cast, exists, func, or_, select

from ...referral.visitor import VISIT_GAP
from ...rules.sums import BUCKETS, UNITS, Experimented, Sums, Talked, WeekSums, add, added
from .amounts import is_made_up, is_sale, money
from .connection import Connection
from .database import Database
from .exposures import counts, first_order, judged_units, units
from .rule_sums import kept_sums
from .schema import commissions, conversations, exposures, orders
from .totals import FRESH, Kept

NEWEST_SECONDS: Final = 10.0
"""The same for the week that goes on."""

SECONDS: Final = 30.0
"""Most time of a reading; it is not made while somebody waits."""

OLD_DAYS: Final = 100
OLD_FRESH: Final = 3600.0
"""How long the sums of a week that began so many days ago are taken as they are, in seconds."""

LONGEST_WORK: Final = 7200.0
"""Seconds that a conversation counts as work for at most: some go on the next morning."""

SATISFIED: Final = 4
MOST_STARS: Final = 5
BEST: Final = 10
_AT_ONCE: Final = 500
_E, _C, _O = exposures.c, conversations.c, orders.c
_WHO = ("rule", "edition", "arm")


@dataclass(frozen=True, slots=True)
class BestTalk:
    """A conversation to learn from."""

    id: str
    started_at: float
    rule: str | None
    agent: str | None
    rating: int | None
    ordered: bool


class RuleFigures:
    """Of all sites. Times in unix seconds; `window` is the time in which an order counts, in seconds."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._kept = Kept[WeekSums](5_000)

    async def of(
        self, site: str, weeks: Sequence[tuple[float, float]], now: float, window: float
    ) -> WeekSums:
        """What the weeks come to that begin and end at these times; the newer ones at most FRESH seconds old,
        the others OLD_FRESH. It takes seconds where much is new. Raises LedgerError."""
        found = []
        for start, end in weeks:
            seconds = FRESH if now - start < OLD_DAYS * 86400 else OLD_FRESH
            seconds = NEWEST_SECONDS if end > now else seconds
            read = partial(self.read, site, start, end, now, window)
            found.append(await self._kept.get((site, start, end, window), now, read, seconds))
        return await asyncio.to_thread(added, found)

    async def read(self, site: str, start: float, end: float, now: float, window: float) -> WeekSums:
        """What a time comes to, as it is now. Raises LedgerError."""
        began = (_C.site == site, _C.started_at >= start, _C.started_at < end)
        seen = (_E.site == site, _E.eligible_at >= start, _E.eligible_at < end)

        async def work(connection: Connection) -> WeekSums:
            exposed = await exposed_sums(connection, now, window, *seen)
            talked = await talked_sums(connection, window, *began)
            return added([WeekSums(exposed, talked), await kept_sums(connection, site, start, end)])

        return await self._db.query(work, SECONDS)

    async def best(
        self, site: str, start: float, end: float, window: float, rule: str | None = None
    ) -> Sequence[BestTalk]:
        """The best conversations that began in a time, of one rule or of all: those with an order and the
        best rating, the newest first. Raises LedgerError."""
        which = [_C.site == site, _C.started_at >= start, _C.started_at < end]
        which += [] if rule is None else [_C.rule == rule]
        order = first_order(_C.site, _C.visitor, _C.started_at, _C.started_at + window)
        ordered = case((order.correlate(conversations).scalar_subquery().is_not(None), 1), else_=0)
        agent = func.coalesce(_C.agent, _C.answered_by)
        found = select(
            _C.id, _C.started_at, _C.rule, agent.label("agent"), _C.rating, ordered.label("ordered")
        )
        best = found.where(*which, _C.answered_at.is_not(None)).subquery("best")
        own = best.c
        good = or_(own.ordered == 1, own.rating == MOST_STARS)
        worth = (own.ordered.desc(), func.coalesce(own.rating, 0).desc(), own.started_at.desc())
        query = select(best).where(good).order_by(*worth).limit(BEST)

        async def work(connection: Connection) -> list[BestTalk]:
            rows = (await connection.execute(query)).all()
            return [
                BestTalk(row.id, row.started_at, row.rule, row.agent, row.rating, bool(row.ordered))
                for row in rows
            ]

        return await self._db.query(work, SECONDS)


async def exposed_sums(
    connection: Connection, now: float, window: float, *which: ColumnElement[bool]
) -> Mapping[Experimented, Sums]:
    """What the exposures come to for which all of this holds."""
    judged = judged_units(units(window, *which), window)
    own = judged.c
    bucket = case(
        *((own.seconds >= start, start) for start in reversed(BUCKETS)), else_=cast(None, Integer)
    ).label("bucket")
    newly = case((own.visit.is_(None), None), (own.visit <= 1, 1), else_=0).label("newly")
    over = and_(own.assigned_at.is_not(None), own.assigned_at <= now - VISIT_GAP)
    group = (*(own[name] for name in _WHO), bucket, newly)
    query = select(
        *group,
        *counts(judged, now, window),
        _sum(over).label("over"),
        _sum(and_(over, own.went_on_at.is_(None))).label("exits"),
    ).group_by(*group)
    found: defaultdict[Experimented, Sums] = defaultdict(dict)
    for row in (await connection.execute(query)).all():
        more = {name: int(getattr(row, name)) for name in UNITS}
        if row.bucket is not None and row.newly is not None:
            kind = "new" if row.newly else "back"
            for name in ("rendered", "accepted"):
                more[f"{name}:{row.bucket}:{kind}"] = more[name]
        add(found[Experimented(row.rule, row.edition, row.arm)], more)
    return found


async def talked_sums(
    connection: Connection, window: float, *which: ColumnElement[bool]
) -> Mapping[Talked, Sums]:
    """What the conversations come to for which all of this holds."""
    rows = (await connection.execute(_talks(window, which))).all()
    sold = [
        *(await connection.execute(_sold(window, which))).all(),
        *(await connection.execute(_named(which))).all(),
    ]
    earned = await _earned(connection, {row.id for row in sold})
    by_talk: defaultdict[str, list[Row[Any]]] = defaultdict(list)
    for row in sold:
        by_talk[row.talk].append(row)
    found: defaultdict[Talked, Sums] = defaultdict(dict)
    for row in rows:
        key = Talked(row.rule or "", row.arm or "", row.partner or "", row.agent or row.answered_by or "")
        add(found[key], _talk_sums(row, by_talk.get(row.id, ()), earned))
    return found


def _talks(window: float, which: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """Conversations with the exposure that led to them, and the first sale of those before them."""
    own = (_E.site == _C.site, _E.visitor == _C.visitor, _E.rule == _C.rule, _E.assigned_at <= _C.started_at)
    led = select(_E.id).where(*own).order_by(_E.assigned_at.desc(), _E.id.desc()).limit(1)
    bought = first_order(_C.site, _C.visitor, _C.started_at - window, _C.started_at)
    return (
        select(
            *(_C.id, _C.rule, _C.partner, _C.agent, _C.answered_by, _C.started_at, _C.answered_at),
            *(_C.said_at, _C.updated_at, _C.rating),
            *(func.coalesce(_E[name], _C[name]).label(name) for name in ("arm", "cart", "cart_currency")),
            bought.correlate(conversations).scalar_subquery().label("bought_at"),
        )
        .select_from(conversations)
        .outerjoin(exposures, _E.id == led.correlate(conversations).scalar_subquery())
        .where(*which)
    )


def _sales() -> list[ColumnElement[bool]]:
    return [is_sale(_O.state), _O.merged_into.is_(None), ~is_made_up(), _O.total.is_not(None)]


_SOLD = (_O.id, _C.id.label("talk"), _O.total, _O.refunded, _O.currency, _O.placed_at)


def _sold(window: float, which: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """The visitor's orders within the window after a conversation, each for the last one before it."""
    later = conversations.alias("later")
    between = (later.c.site == _C.site, later.c.visitor == _C.visitor, later.c.started_at <= _O.placed_at)
    after = exists().where(*between, later.c.started_at > _C.started_at).correlate(conversations, orders)
    same = (_O.site == _C.site, _O.visitor == _C.visitor, _O.conversation.is_(None))
    within = (_O.placed_at >= _C.started_at, _O.placed_at < _C.started_at + window)
    joined = conversations.join(orders, and_(*same, *within))
    return select(*_SOLD).select_from(joined).where(*which, *_sales(), ~after)


def _named(which: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """Orders that say in which conversation they were made."""
    same = (_O.site == _C.site, _O.conversation == _C.id, _O.placed_at >= _C.started_at)
    return select(*_SOLD).select_from(conversations.join(orders, and_(*same))).where(*which, *_sales())


async def _earned(connection: Connection, sold: set[int]) -> Mapping[int, list[tuple[str, Decimal]]]:
    """What partners earn by these orders, as amounts with their currency."""
    own, wanted = commissions.c, sorted(sold)
    found: defaultdict[int, list[tuple[str, Decimal]]] = defaultdict(list)
    for start in range(0, len(wanted), _AT_ONCE):
        some = own.order.in_(wanted[start : start + _AT_ONCE])
        query = select(own.order, own.currency, func.sum(own.amount).label("amount")).where(some)
        rows = await connection.execute(query.group_by(own.order, own.currency))
        for row in rows:
            if row.amount:
                found[row.order].append((row.currency, money(row.amount, row.currency)))
    return found


def _talk_sums(
    row: Row[Any], sold: Sequence[Row[Any]], earned: Mapping[int, list[tuple[str, Decimal]]]
) -> Sums:
    found: Sums = {}
    last = row.updated_at if row.said_at is None else row.said_at
    answered = row.answered_at is not None
    add(
        found,
        {
            "talks": 1,
            "answered": int(answered),
            "ratings": int(row.rating is not None),
            "stars": row.rating or 0,
            "satisfied": int((row.rating or 0) >= SATISFIED),
            "work": _work(row.answered_at, last),
        },
    )
    if row.bought_at is not None:
        # Sales that the conversation did not bring: seed E13.
        return add(found, {"post": 1, "post_orders": len(sold)})
    add(found, {"ordered": int(bool(sold)), "orders": len(sold)})
    for one in sold:
        currency = one.currency or ""
        paid = max(Decimal(one.total) - Decimal(one.refunded or 0), Decimal())
        add(found, {f"revenue {currency}": paid, f"orders {currency}": 1})
        for earned_in, amount in earned.get(one.id, ()):
            add(found, {f"commission {earned_in}": amount})
    first = min(sold, key=lambda one: (one.placed_at, one.id), default=None)
    if first is not None and row.cart is not None and row.cart_currency == first.currency:
        before, after = Decimal(row.cart), Decimal(first.total)
        currency = row.cart_currency
        add(found, {f"carts {currency}": 1, f"before {currency}": before, f"after {currency}": after})
    return found


def _work(answered_at: float | None, last: float) -> Decimal:
    if answered_at is None:
        return Decimal()
    return Decimal(round(min(LONGEST_WORK, max(0.0, last - answered_at))))


def _sum(which: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((which, 1), else_=0))
