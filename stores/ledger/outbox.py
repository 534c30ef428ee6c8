"""The outbox: postbacks due, in work and done. What stands here is delivered once, or its state tells why.

A worker takes a row in two steps. `claim` leases it while nothing has been sent: when that lease runs out,
the row is simply due again. `begin` marks it as sending, in a transaction of its own, before the call's first
byte leaves: when that lease runs out, the process died between the first byte and the answer, and the outcome
is unknown. Every step checks the lease it was given, so a worker that was stopped for longer than its lease
cannot send what another has taken over.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Insert, Row, func, insert, or_, select, text, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ...orders.doubt import Doubt
from ...orders.model import OrderError
from ...orders.money import amount_text, checked_currency
from ...postbacks.model import STATES, Attempt, Outcome, Postback, Report, State, Waiting
from .database import Database
from .schema import attempts as attempts_table
from .schema import orders as orders_table
from .schema import postbacks as postbacks_table

LIST_LIMIT = 500
_C = postbacks_table.c
_RETRIABLE: frozenset[State] = frozenset({"due", "dead", "unknown"})


class OutboxError(LookupError):
    """A postback cannot be retried; the text says which one and why."""


class Confirmed(NamedTuple):
    """The postbacks that the server's word on an order changed, and whether a partner may have been told
    another amount before."""

    changed: tuple[Postback, ...]
    too_late: bool


class Outbox:
    """The postbacks of all sites. All times are unix seconds and come from the caller."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # -- a worker's way

    async def waiting(self, now: float, *, each: int, limit: int) -> tuple[Waiting, ...]:
        """What is due and held by nobody: the oldest of each partner, then the next of each, and so on; at
        most `each` of one partner, `limit` in all. It costs as many steps as there are partners, however much
        is due."""
        given = {"now": now, "each": each, "limit": limit}
        async with self._db.read() as connection:
            rows = (await connection.execute(_WAITING, given)).all()
        return tuple(Waiting(*row) for row in rows)

    async def claim(self, ids: Sequence[str], now: float, until: float) -> tuple[Postback, ...]:
        """Lease those of them that are still due and free. Nothing of them has been sent."""
        # Written so that no index fits it: SQLite would go through all that is due instead of a few ids.
        is_due = (func.coalesce(_C.state, "") == "due") & (_C.next_at + 0 <= now)
        async with self._db.write() as tx:
            rows = (
                await tx.execute(
                    update(postbacks_table)
                    .where(_C.id.in_(ids), is_due, _free(now))
                    .values(lease_until=until)
                    .returning(*postbacks_table.c)
                )
            ).all()
        return tuple(sorted((_postback(row) for row in rows), key=lambda p: p.next_at))

    async def begin(self, postback: Postback, until: float) -> Postback | None:
        """Mark a claimed row as sending, which has to be on the disk before the first byte leaves.

        None if the lease was lost: then nothing may be sent.
        """
        async with self._db.write() as tx:
            row = (
                await tx.execute(
                    update(postbacks_table)
                    .where(_C.id == postback.id, _C.state == "due", _C.lease_until == postback.lease_until)
                    .values(state="sending", lease_until=until, attempts=postback.attempts + 1)
                    .returning(*postbacks_table.c)
                )
            ).first()
        return None if row is None else _postback(row)

    async def finish(self, postback: Postback, attempt: Attempt, state: State, next_at: float) -> bool:
        """Write down an attempt and what it makes of the row, which is no longer held.

        `postback` is what `claim` or `begin` gave. False if the row had been taken over meanwhile: the
        attempt is written down all the same, but only a delivery counts, for then nothing is left to send.
        """
        held = _C.lease_until == postback.lease_until
        counts = or_(held, _C.lease_until.is_(None)) if state == "delivered" else held
        tried = postback.attempts + (postback.state == "due")
        async with self._db.write() as tx:
            await tx.execute(_attempt(postback.id, attempt))
            result = await tx.execute(
                update(postbacks_table)
                .where(_C.id == postback.id, counts)
                .values(
                    state=state,
                    attempts=tried,
                    next_at=next_at,
                    lease_until=None,
                    last_answer=attempt.answer,
                    last_status=attempt.status,
                    finished_at=None if state == "due" else attempt.at,
                )
            )
        return bool(result.rowcount)

    async def release(self, postback: Postback, until: float) -> None:
        """Give a row back of which nothing was sent: it is due as it was before `claim`.

        `until` is what `begin` was asked for: one that was cancelled may have been written, or not.
        """
        leases = (postback.lease_until, until)
        async with self._db.write() as tx:
            await tx.execute(
                update(postbacks_table)
                .where(_C.id == postback.id, _C.state.in_(("due", "sending")), _C.lease_until.in_(leases))
                .values(state="due", lease_until=None, attempts=postback.attempts)
            )

    async def expire(self, now: float, repeats: Callable[[Postback], bool]) -> tuple[Postback, ...]:
        """Settle the rows whose call was cut off by the end of its process.

        Where `repeats` says that the destination takes the same call twice, the row is due again; else its
        outcome is unknown, for a person to find out. Returns the rows as they are now.
        """
        cut_off = select(postbacks_table).where(_C.state == "sending", _C.lease_until <= now)
        async with self._db.read() as connection:
            if (await connection.execute(cut_off.limit(1))).first() is None:
                return ()
        async with self._db.write() as tx:
            rows = [_postback(row) for row in (await tx.execute(cut_off)).all()]
            settled = tuple(_cut_off(row, now, again=repeats(row)) for row in rows)
            for row in settled:
                outcome: Outcome = "retry" if row.state == "due" else "unknown"
                await tx.execute(_attempt(row.id, Attempt(now, "", None, row.last_answer or "", outcome)))
                await tx.execute(
                    update(postbacks_table)
                    .where(_C.id == row.id)
                    .values({c: getattr(row, c) for c in _SETTLED})
                )
        return settled

    async def next_due(self) -> float | None:
        """When there is something to do next: a row becomes due, or a lease runs out. None if never."""
        due = select(func.min(_C.next_at)).where(_C.state == "due", _C.lease_until.is_(None))
        cut_off = select(func.min(_C.lease_until)).where(_C.state == "sending")
        async with self._db.read() as connection:
            times = [await connection.scalar(due), await connection.scalar(cut_off)]
        return min((t for t in times if t is not None), default=None)

    # -- for people

    async def list(
        self, state: State | None = None, *, site: str | None = None, limit: int = LIST_LIMIT
    ) -> tuple[Postback, ...]:
        """Postbacks of one state, or of all, newest first."""
        # The newest of each state by an index, then the newest of those: all states together have none.
        newest = [
            select(_C.id).where(_C.state == s).order_by(_C.created_at.desc(), _C.id).limit(limit)
            for s in (STATES if state is None else (state,))
        ]
        if site is not None:
            newest = [query.where(_C.site == site) for query in newest]
        ids = union_all(*(select(query.subquery()) for query in newest))
        listed = select(postbacks_table).where(_C.id.in_(ids)).order_by(_C.created_at.desc(), _C.id)
        async with self._db.read() as connection:
            return tuple(_postback(row) for row in (await connection.execute(listed.limit(limit))).all())

    async def attempts(self, postback_id: str) -> tuple[Attempt, ...]:
        """All attempts of one postback, oldest first."""
        own = attempts_table.c
        query = select(own.at, own.request, own.status, own.answer, own.outcome)
        async with self._db.read() as connection:
            rows = (await connection.execute(query.where(own.postback == postback_id).order_by(own.id))).all()
        return tuple(Attempt(*row) for row in rows)

    async def retry(self, postback_id: str, now: float, *, site: str | None = None) -> Postback:
        """Make a postback due at once, with the whole schedule before it; with `site` only one of that site.

        Raises OutboxError for an unknown id, and for one that was delivered, is being sent or is in doubt.
        """
        async with self._db.write() as tx:
            row = (await tx.execute(select(postbacks_table).where(_C.id == postback_id))).first()
            if row is None or site not in (None, row.site):
                raise OutboxError(f"{postback_id}: no such postback")
            found = _postback(row)
            if found.state not in _RETRIABLE or (found.lease_until or 0) > now:
                why = _NOT_AGAIN.get(found.state, "is being sent right now")
                raise OutboxError(f"{postback_id}: it {why}, so it is not sent again")
            again = replace(found, state="due", attempts=0, next_at=now, lease_until=None, finished_at=None)
            await tx.execute(
                update(postbacks_table)
                .where(_C.id == postback_id)
                .values({c: getattr(again, c) for c in _SETTLED})
            )
        return again

    async def settle(
        self,
        postback_id: str,
        now: float,
        *,
        by: str,
        send: bool = True,
        amount: Decimal | None = None,
        currency: str | None = None,
        site: str | None = None,
    ) -> Postback:
        """End a doubt: a held postback is due now, with another amount if one is given, or refused.

        `by` says who decides. What was refused may still be sent. With `site` only one of that site is found.
        Raises OutboxError for an unknown id and for any other state, OrderError for an amount that cannot be.
        """
        async with self._db.write() as tx:
            row = (await tx.execute(select(postbacks_table).where(_C.id == postback_id))).first()
            found = None if row is None else _postback(row)
            if found is None or site not in (None, found.site):
                raise OutboxError(f"{postback_id}: no such postback")
            if found.state not in ("held", "refused"):
                raise OutboxError(f"{postback_id}: it is {found.state}, not held")
            return await _settled(tx, found, now, by=by, send=send, amount=amount, currency=currency)

    async def confirm(
        self,
        order: int,
        now: float,
        *,
        by: str,
        total: Decimal,
        currency: str,
        doubt: Doubt | None,
        unsure: Doubt | None = None,
    ) -> Confirmed:
        """Settle an order by the server's word on its amount, which from now on is the order's.

        Its postbacks of which nothing was sent are due with that amount, or held where it is in doubt; what
        is held stays so where it is `unsure` whose the order is.
        """
        amount = amount_text(total, currency)
        own, changed, too_late = orders_table.c, [], False
        async with self._db.write() as tx:
            change = update(orders_table).where(own.id == order)
            await tx.execute(change.values(total=amount, currency=currency, source="api"))
            found = (await tx.execute(select(postbacks_table).where(_C.order == order))).all()
            for row in map(_postback, found):
                same = (Decimal(row.report.amount), row.report.currency) == (total, currency)
                waits = row.state == "due" and (row.lease_until is None or row.lease_until <= now)
                if row.state != "held" and not (waits and not same):
                    too_late |= not same and row.state in ("due", "sending", "delivered", "unknown")
                    continue
                against = doubt or (unsure if row.state == "held" else None)
                if not same or against is None:
                    right = (None, None) if same else (total, currency)
                    row = await _settled(tx, row, now, by=by, amount=right[0], currency=right[1])
                changed.append(row if against is None else await _held(tx, row, against))
        return Confirmed(tuple(changed), too_late)

    async def held(self, order: int) -> str | None:
        """Why the order's postback is held, None where it is not."""
        query = select(_C.why).where(_C.order == order, _C.state == "held").limit(1)
        async with self._db.read() as connection:
            found = (await connection.execute(query)).first()
        return None if found is None else found[0] or "in doubt"

    async def hold(self, order: int, doubt: Doubt) -> int:
        """Hold an order's postbacks that are due and of which nothing was sent; how many they were."""
        async with self._db.write() as tx:
            waits = (_C.order == order, _C.state == "due", _C.lease_until.is_(None), _C.attempts == 0)
            result = await tx.execute(
                update(postbacks_table).where(*waits).values(state="held", hold=doubt.kind, why=doubt.text)
            )
        return int(result.rowcount)

    async def retry_dead(self, now: float) -> int:
        """Make all dead postbacks due at once; how many they were."""
        async with self._db.write() as tx:
            result = await tx.execute(
                update(postbacks_table)
                .where(_C.state == "dead")
                .values(state="due", attempts=0, next_at=now, lease_until=None, finished_at=None)
            )
        return int(result.rowcount)

    async def counts(self, site: str | None = None, states: Sequence[State] = STATES) -> dict[State, int]:
        """How many postbacks are in each of these states, of one site or of all, with 0 where there is none.

        All states are all postbacks that there ever were: who wants to know of those that wait names them.
        """
        query = select(_C.state, func.count()).where(_C.state.in_(states)).group_by(_C.state)
        if site is not None:
            query = query.where(_C.site == site)
        async with self._db.read() as connection:
            found = {row[0]: row[1] for row in (await connection.execute(query)).all()}
        return {state: found.get(state, 0) for state in states}

    async def holds(self, site: str) -> dict[str, int]:
        """How many of the site's postbacks are held for each kind of doubt."""
        query = select(_C.hold, func.count()).where(_C.state == "held", _C.site == site).group_by(_C.hold)
        async with self._db.read() as connection:
            return {row[0]: row[1] for row in (await connection.execute(query)).all()}

    async def counts_by_site(self, sites: Iterable[str]) -> dict[str, dict[State, int]]:
        """How many postbacks each of these sites has in each state, with 0 where there is none."""
        query = select(_C.site, _C.state, func.count()).group_by(_C.site, _C.state)
        async with self._db.read() as connection:
            found = {(row[0], row[1]): row[2] for row in (await connection.execute(query)).all()}
        return {site: {state: found.get((site, state), 0) for state in STATES} for site in sites}


# The heads of the partners' queues are found by leaps through the index, then the first rows of each queue.
# Site and partner are compared one by one: of a pair SQLite uses the site alone, and goes through all of it.
_WAITING = text("""
WITH RECURSIVE heads(id) AS (
    SELECT (SELECT id FROM postbacks WHERE state = 'due' ORDER BY site, partner LIMIT 1)
    UNION ALL
    SELECT coalesce(
        (SELECT n.id FROM postbacks AS n
        WHERE n.state = 'due' AND n.site = h.site AND n.partner > h.partner
        ORDER BY n.partner LIMIT 1),
        (SELECT n.id FROM postbacks AS n
        WHERE n.state = 'due' AND n.site > h.site
        ORDER BY n.site, n.partner LIMIT 1)
    )
    FROM heads JOIN postbacks AS h ON h.id = heads.id
)
SELECT id, site, partner FROM (
    SELECT w.id, w.site, w.partner, w.next_at,
        row_number() OVER (PARTITION BY w.site, w.partner ORDER BY w.next_at, w.id) AS turn
    FROM heads JOIN postbacks AS h ON h.id = heads.id JOIN postbacks AS w ON w.id IN (
        SELECT d.id FROM postbacks AS d
        WHERE d.state = 'due' AND d.site = h.site AND d.partner = h.partner AND d.next_at <= :now
            AND (d.lease_until IS NULL OR d.lease_until <= :now)
        ORDER BY d.next_at, d.id LIMIT :each
    )
) AS queued
ORDER BY turn, next_at, id LIMIT :limit
""")

_SETTLED = ("state", "attempts", "next_at", "lease_until", "last_answer", "last_status", "finished_at")
_NOT_AGAIN: Mapping[State, str] = {
    "delivered": "was delivered",
    "held": "is held: release or correct it",
    "refused": "was refused: release it if it is to be sent after all",
}
_CUT_OFF = "the process that sent it ended before the answer came"


async def _settled(
    tx: AsyncConnection,
    found: Postback,
    now: float,
    *,
    by: str,
    send: bool = True,
    amount: Decimal | None = None,
    currency: str | None = None,
) -> Postback:
    report, said = found.report, "released" if send else "refused"
    if amount is not None or currency is not None:
        code = checked_currency(currency) if currency is not None else report.currency
        right = Decimal(report.amount) if amount is None else amount
        total = amount_text(right, code)
        if Decimal(total) != right:
            raise OrderError(f"total: {code} has fewer digits after the separator than {right}")
        said = f"corrected from {report.amount} {report.currency} to {total} {code}"
        report = replace(report, amount=total, currency=code)
        # What is known of the order is what the next one is compared with.
        order = update(orders_table).where(orders_table.c.id == found.order)
        await tx.execute(order.values(total=total, currency=code))
    settled = replace(
        found,
        report=report,
        state="due" if send else "refused",
        next_at=now,
        finished_at=None if send else now,
        hold=None,
        why="; ".join(filter(None, (found.why, f"{said} by {by}"))),
    )
    changed = ("state", "next_at", "finished_at", "hold", "why")
    values = {name: getattr(settled, name) for name in changed}
    await tx.execute(
        update(postbacks_table).where(_C.id == found.id).values(report=report.to_json(), **values)
    )
    return settled


async def _held(tx: AsyncConnection, row: Postback, doubt: Doubt) -> Postback:
    held = replace(row, state="held", hold=doubt.kind, why=f"{row.why}; {doubt.text}")
    values = {"state": held.state, "hold": held.hold, "why": held.why}
    await tx.execute(update(postbacks_table).where(_C.id == row.id).values(**values))
    return held


def _cut_off(row: Postback, now: float, *, again: bool) -> Postback:
    return replace(
        row,
        state="due" if again else "unknown",
        next_at=now,
        lease_until=None,
        last_answer=_CUT_OFF,
        last_status=None,
        finished_at=None if again else now,
    )


def _free(now: float) -> ColumnElement[bool]:
    return or_(_C.lease_until.is_(None), _C.lease_until <= now)


def _postback(row: Row[Any]) -> Postback:
    fields = dict(row._mapping)
    return Postback(**fields | {"report": Report.from_json(fields["report"])})


def _attempt(postback_id: str, attempt: Attempt) -> Insert:
    return insert(attempts_table).values(
        postback=postback_id,
        at=attempt.at,
        request=attempt.request,
        status=attempt.status,
        answer=attempt.answer,
        outcome=attempt.outcome,
    )
