"""Payouts: what was paid to a partner for a period, each once, and the lines that it is made of."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, case, func, insert, literal, null, select, true, update

from ...payouts.account import KINDS
from ...payouts.standing import outgoing
from .connection import Connection
from .database import Database
from .schema import commission_entries as entries
from .schema import commissions, orders, payouts

_C, _E, _P, _O = commissions.c, entries.c, payouts.c, orders.c
STEP: Final = 500
"""Lines that are read in one go."""

LINES: Final = 50_000
"""Lines of a payout at most: it is written in one transaction, and others wait for that."""

WAIT: Final = 60.0
"""Seconds that a payout waits for other writers."""

LOCKED: Final = 5_000
"""Locked orders that a statement names at most."""

_OF_REASONS: Final = tuple(kind for kind in KINDS if kind not in ("locked", "paid"))
_OF_MONEY: Final = tuple(kind for kind in KINDS if kind not in ("locked", "paid", "approved"))


@dataclass(frozen=True, slots=True)
class Due:
    """What is settled and not paid, in minor units: the sum of a partner's commissions in a currency, how
    many they are, and the number of the last order."""

    currency: str
    amount: int
    lines: int
    last: int


@dataclass(frozen=True, slots=True)
class Payout:
    """A payout. `amount` is in minor units, `made_at` in unix seconds. `creditor` is who was paid, as it was
    in the settings, `document` the payment as SEPA XML; None: by other means."""

    name: str
    site: str
    partner: str
    period: str
    currency: str
    amount: int
    lines: int
    made_at: float
    creditor: Mapping[str, Any]
    document: str | None


@dataclass(frozen=True, slots=True)
class PayoutLine:
    """What was paid for an order: `amount` in minor units, negative for a claw-back, `value` is the partner's
    part of the order's amount, `part` that part, `reason` and `at` why and when it came to that. The order
    was placed at `placed_at`."""

    number: str
    placed_at: float
    at: float
    part: str
    value: int
    amount: int
    reason: str


class Payouts:
    """The payouts of all sites."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def of_period(self, site: str, partner: str, period: str) -> tuple[Payout, ...]:
        """The payouts that were made, by currency."""
        own = (_P.site == site, _P.partner == partner, _P.period == period)
        return await self._db.query(lambda connection: _listed(connection, own))

    async def list(self, site: str, *, partner: str | None = None, limit: int = 100) -> tuple[Payout, ...]:
        """The newest payouts of a site, newest first."""
        own = [_P.site == site] + ([] if partner is None else [_P.partner == partner])
        return await self._db.query(lambda connection: _listed(connection, own, limit))

    async def due(self, site: str, partner: str, period: str) -> tuple[Due, ...]:
        """What is settled up to a period and not paid, by currency."""
        return await self._db.query(lambda connection: _due(connection, site, partner, period))

    async def unpaid(self, site: str, partner: str) -> tuple[tuple[str, int], ...]:
        """What of a partner's commissions is settled and not paid: the sum by currency."""
        own = (_C.site == site, _C.partner == partner, _C.unpaid)
        query = select(_C.currency, func.sum(_C.locked - _C.paid)).where(*own)
        async with self._db.read() as connection:
            rows = await connection.execute(query.group_by(_C.currency).order_by(_C.currency))
            return tuple((row[0], int(row[1])) for row in rows)

    async def pay(self, payout: Payout, due: Due) -> Payout | None:
        """Write a payout, with an entry of each commission that it pays. The payout that is there already, if
        another process was faster; None if what is due has changed meanwhile."""

        async def work(tx: Connection) -> Payout | None:
            await tx.lock(f"payout {payout.name}")
            if found := await _listed(tx, [_P.name == payout.name]):
                return found[0]
            which = _which(payout.site, payout.partner, payout.period, payout.currency, due.last)
            locked = await _lock(tx, which)
            if await _sum(tx, due.currency, which, locked) != due:
                return None
            await tx.execute(insert(payouts).values(**{n: getattr(payout, n) for n in Payout.__slots__}))
            for some in locked:
                await _enter(tx, payout, [*which, _C.order.in_(some)])
            return payout

        return await self._db.transact(work, wait=WAIT)

    async def reasons(self, given: Sequence[int]) -> Mapping[tuple[int, str, str], str]:
        """The reason of the last decision or change, by order, partner and currency, for files that leave the
        shop: see `payouts.standing.outgoing`."""
        key = (_E.order, _E.partner, _E.currency)
        own = (_E.order.in_(list(given)), _E.kind.in_(_OF_REASONS))
        last = select(func.max(_E.id)).where(*own).group_by(*key)
        async with self._db.read() as connection:
            rows = await connection.execute(select(*key, _E.kind, _E.why).where(_E.id.in_(last)))
            return {(row[0], row[1], row[2]): outgoing(row[3], row[4]) for row in rows}

    async def lines(self, payout: Payout) -> AsyncIterator[PayoutLine]:
        """The lines of a payout, in the order of the orders; always the same."""
        after = 0
        while True:
            found = await self._db.query(partial(_lines, payout=payout, after=after))
            for entry, line in found:
                after = entry
                yield line
            if len(found) < STEP:
                return


def _which(site: str, partner: str, period: str, currency: str, last: int) -> list[ColumnElement[bool]]:
    own = [_C.site == site, _C.partner == partner, _C.unpaid, _C.ref <= period]
    return [*own, _C.currency == currency, _C.order <= last]


async def _listed(
    connection: Connection, own: Sequence[ColumnElement[bool]], limit: int = 1000
) -> tuple[Payout, ...]:
    query = (
        select(*(_P[name] for name in Payout.__slots__))
        .where(*own)
        .order_by(_P.made_at.desc(), _P.name)
        .limit(limit)
    )
    return tuple(Payout(**row._mapping) for row in await connection.execute(query))


async def _due(connection: Connection, site: str, partner: str, period: str) -> tuple[Due, ...]:
    own = (_C.site == site, _C.partner == partner, _C.unpaid, _C.ref <= period)
    oldest = (
        select(_C.order, _C.currency, (_C.locked - _C.paid).label("amount"))
        .where(*own)
        .order_by(_C.order)
        .limit(LINES)
        .subquery()
    )
    sums = (func.sum(oldest.c.amount), func.count(), func.max(oldest.c.order))
    query = select(oldest.c.currency, *sums).group_by(oldest.c.currency).order_by(oldest.c.currency)
    return tuple(Due(row[0], int(row[1]), row[2], row[3]) for row in await connection.execute(query))


async def _lock(tx: Connection, which: Sequence[ColumnElement[bool]]) -> Sequence[Sequence[int]]:
    """Lock the orders of some commissions; their numbers, ascending, LOCKED at a time.

    Who changes a commission locks its order first, so these stay as they are. Others may come to match
    `which` at any time (READ COMMITTED): they are not part of it.
    """
    query = select(_O.id).where(_O.id.in_(select(_C.order).where(*which))).order_by(_O.id).with_for_update()
    found = [row[0] for row in await tx.execute(query)]
    return [found[start : start + LOCKED] for start in range(0, len(found), LOCKED)]


async def _sum(
    tx: Connection, currency: str, which: Sequence[ColumnElement[bool]], locked: Sequence[Sequence[int]]
) -> Due:
    """What is due for those of the locked orders that still match."""
    amount = lines = last = 0
    sums = (func.coalesce(func.sum(_C.locked - _C.paid), 0), func.count(), func.max(_C.order))
    for some in locked:
        row = (await tx.execute(select(*sums).where(*which, _C.order.in_(some)))).one()
        amount, lines, last = amount + int(row[0]), lines + int(row[1]), row[2] or last
    return Due(currency, amount, lines, last)


async def _enter(tx: Connection, payout: Payout, which: Sequence[ColumnElement[bool]]) -> None:
    """What `payouts.account.paid` and `after` do, of all commissions together."""
    at = literal(payout.made_at)
    values = {
        "site": _C.site,
        "order": _C.order,
        "partner": _C.partner,
        "currency": _C.currency,
        "kind": literal("paid"),
        "at": at,
        "source": literal("payout"),
        "by": literal(""),
        "why": literal(f"paid with {payout.name}"),
        "amount": _C.locked - _C.paid,
        "value": literal(0),
        "earned": null(),
        "stands": true(),
        "due_at": null(),
        "ref": literal(payout.name),
        "part": literal("1"),
    }
    paid = select(*values.values()).where(*which).order_by(_C.order)
    await tx.execute(insert(entries).from_select(list(values), paid))
    state = case((_C.state == "locked", literal("paid")), else_=_C.state)
    done = {"paid": _C.locked, "unpaid": False, "state": state, "ref": payout.name}
    await tx.execute(update(commissions).where(*which).values(**done, changed_at=payout.made_at))


async def _lines(connection: Connection, payout: Payout, after: int) -> Sequence[tuple[int, PayoutLine]]:
    own = (_E.ref == payout.name, _E.kind == "paid", _E.id > after)
    query = (
        select(_E.id, _E.order, _E.at, _E.amount, _O.order_id, _O.placed_at)
        .join_from(entries, orders, _O.id == _E.order)
        .where(*own)
        .order_by(_E.id)
        .limit(STEP)
    )
    paid = (await connection.execute(query)).all()
    earlier: defaultdict[int, list[Any]] = defaultdict(list)
    same = (_E.partner == payout.partner, _E.currency == payout.currency, _E.kind.in_(_OF_MONEY))
    history = select(_E.id, _E.order, _E.at, _E.value, _E.part, _E.why, _E.kind).where(
        _E.order.in_([row.order for row in paid]), *same
    )
    for row in await connection.execute(history.order_by(_E.id)):
        earlier[row.order].append(row)
    return [(row.id, _line(row, [e for e in earlier[row.order] if e.id < row.id])) for row in paid]


def _line(paid: Any, before: Sequence[Any]) -> PayoutLine:
    credited = [e for e in before if e.kind != "declined"]
    return PayoutLine(
        paid.order_id,
        paid.placed_at,
        before[-1].at if before else paid.at,
        credited[-1].part if credited else "1",
        sum(e.value for e in before),
        paid.amount,
        outgoing(before[-1].kind, before[-1].why) if before else "",
    )
