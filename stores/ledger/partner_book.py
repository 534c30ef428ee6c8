"""What a partner may see of its orders and of the calls to it. Each query is of one site and one partner."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import and_, func, insert, or_, select

from ...orders.model import OrderState
from ...postbacks.model import Attempt, Postback, State
from .commissions import Commissions, CommissionSum, WantedCommissions
from .connection import executing
from .database import Database
from .planned import postback_of
from .schema import attempts as attempts_table
from .schema import commissions, orders, postbacks
from .schema import shares as shares_table
from .totals import Kept

# Attempts that are read of one postback: its schedule, and what people sent again.
ATTEMPTS = 30
_P, _O, _S, _A = postbacks.c, orders.c, shares_table.c, attempts_table.c


@dataclass(frozen=True, slots=True)
class Detail:
    """An order as its partner may see it. `part` is the partner's of the order, from 0 to 1, None if it earns
    nothing of it any more; `lines` say how the commission came about. `call` is the state of the last call
    about it, None where there was nothing to report, and `doubt` whether that is held for a person to look
    at."""

    number: str
    state: OrderState
    total: Decimal | None
    refunded: Decimal
    currency: str | None
    part: Decimal | None
    lines: tuple[str, ...]
    call: State | None
    doubt: bool


class PartnerBook:
    """The orders and calls of partners."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._commissions = Commissions(db)
        self._kept = Kept[tuple[CommissionSum, ...]]()

    async def sums(
        self, site: str, partner: str, since: float, until: float, now: float
    ) -> tuple[CommissionSum, ...]:
        """The partner's commissions of the orders that were placed in a period, by state and currency; at
        most FRESH seconds old at `now`: those of many orders, asked for again and again, would keep others
        waiting."""
        wanted = WantedCommissions(site=site, partner=partner, since=since, until=until)
        key = (site, partner, since, until)
        return await self._kept.get(key, now, lambda: self._commissions.sums(wanted))

    async def details(self, site: str, partner: str, rows: Sequence[int]) -> Mapping[int, Detail]:
        """Of these orders of the partner, by the ledger's own number."""
        own = and_(_S.decision == _O.decision, _S.partner == partner)
        columns = (_O.id, _O.order_id, _O.spelling, _O.state, _O.total, _O.refunded, _O.currency)
        query = (
            select(*columns, _S.part, _S.earned)
            .join_from(orders, shares_table, own, isouter=True)
            .where(_O.site == site, _O.id.in_(rows))
        )
        calls = (
            select(_P.order, _P.state, _P.hold)
            .where(_P.order.in_(rows), _P.partner == partner, _P.state != "superseded")
            .order_by(_P.order, _P.sequence)
        )
        async with self._db.read() as connection:
            found = (await connection.execute(query)).all()
            last = {call.order: call for call in await connection.execute(calls)}
        details = {}
        for row in found:
            call = last.get(row.id)
            details[row.id] = Detail(
                row.spelling or row.order_id,
                row.state,
                None if row.total is None else Decimal(row.total),
                Decimal(row.refunded),
                row.currency,
                None if row.part is None else Decimal(row.part),
                tuple(row.earned["lines"]) if row.earned else (),
                None if call is None or call.hold == "nothing" else call.state,
                # What no call can tell is reported by hand: nobody doubts it.
                call is not None and call.state == "held" and call.hold != "manual",
            )
        return details

    async def place(self, site: str, partner: str, number: str) -> tuple[float, int] | None:
        """When the partner's order of this normalised number was placed, and the ledger's number of it; None
        if the partner has no such order."""
        of = commissions.c
        query = (
            select(of.placed_at, of.order)
            .join_from(orders, commissions, and_(of.order == _O.id, of.partner == partner))
            .where(_O.site == site, _O.order_id == number, of.site == site)
            .limit(1)
        )
        async with self._db.read() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else (row.placed_at, row.order)

    async def first_order(self, site: str, partner: str) -> float | None:
        """When the partner's first order was placed."""
        of = commissions.c
        query = select(func.min(of.placed_at)).where(of.site == site, of.partner == partner)
        async with self._db.read() as connection:
            found: float | None = await connection.scalar(query)
        return found

    # -- calls

    async def calls(
        self, site: str, partner: str, *, before: Postback | None, limit: int
    ) -> tuple[Postback, ...]:
        """The calls to the partner, newest first; with `before` those before that one."""
        query = select(postbacks).where(_P.site == site, _P.partner == partner)
        if before is not None:
            earlier = and_(_P.created_at == before.created_at, _P.id < before.id)
            query = query.where(or_(_P.created_at < before.created_at, earlier))
            query = query.where(_P.created_at <= before.created_at)
        ordered = query.order_by(_P.created_at.desc(), _P.id.desc()).limit(limit)
        async with self._db.read() as connection:
            return tuple(postback_of(row) for row in await connection.execute(ordered))

    async def call(self, site: str, partner: str, postback: str) -> Postback | None:
        """One call to the partner; None if it has no such one."""
        own = (_P.id == postback, _P.site == site, _P.partner == partner)
        async with self._db.read() as connection:
            row = (await connection.execute(select(postbacks).where(*own))).first()
        return None if row is None else postback_of(row)

    async def attempts(self, postback: str) -> tuple[Attempt, ...]:
        """The newest attempts of a call, newest first; ATTEMPTS at most."""
        columns = (_A.at, _A.request, _A.status, _A.answer, _A.outcome)
        query = select(*columns).where(_A.postback == postback).order_by(_A.id.desc()).limit(ATTEMPTS)
        async with self._db.read() as connection:
            return tuple(Attempt(*row) for row in await connection.execute(query))

    async def followed(self, postback: Postback) -> bool:
        """Whether a later call about the same order says what holds now."""
        later = select(_P.id).where(
            _P.order == postback.order,
            _P.partner == postback.partner,
            _P.sequence > postback.sequence,
            _P.state != "superseded",
        )
        async with self._db.read() as connection:
            return (await connection.execute(later.limit(1))).first() is not None

    async def note(self, postback: str, attempt: Attempt) -> None:
        """Write down an attempt that changes nothing of the call's state."""
        values = {name: getattr(attempt, name) for name in ("at", "request", "status", "answer", "outcome")}
        await self._db.transact(executing(insert(attempts_table).values(postback=postback, **values)))
