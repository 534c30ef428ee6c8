"""The outbox: postbacks due, in work and done. What is here is delivered once, or its state says why not.

A worker takes a row in two steps. `claim` leases it while nothing has been sent: when that lease runs out,
the row is simply due again. `begin` marks it as sending, in a transaction of its own, before the call's first
byte leaves: when that lease runs out, the process died between the first byte and the answer, and the outcome
is unknown. Every step checks the lease it was given, so a worker that was stopped for longer than its lease
cannot send what another has taken over.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Row,
    bindparam,
    func,
    insert,
    or_,
    select,
    text,
    union_all,
    update,
)

from ...postbacks.due import VERDICTS, Plan, Planned, after_dead, resent, retried, told_again
from ...postbacks.model import OPEN, STATES, Attempt, Outcome, Postback, Report, State, Waiting
from .adding import Additions, NumberOf
from .connection import Connection, executing
from .database import Database
from .entries import verdict_of
from .prepared import Prepared, values_of
from .schema import attempts as attempts_table
from .schema import orders as orders_table
from .schema import postbacks as postbacks_table

LIST_LIMIT = 500
_C = postbacks_table.c
_RETRIABLE: frozenset[State] = frozenset({"due", "dead", "unknown"})


class OutboxError(LookupError):
    """A postback cannot be retried; the text says which one and why."""


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
        rows = await self._db.query(executing(_QUEUES[self._db.dialect], given))
        return tuple(Waiting(*row) for row in rows)

    async def claim(self, ids: Sequence[str], now: float, until: float) -> tuple[Postback, ...]:
        """Lease those of them that are still due and free. Nothing of them has been sent."""
        if not ids:
            return ()
        given = {"now": now, "until": until} | {f"id{place}": one for place, one in enumerate(ids)}
        rows = (await self._db.transact(executing(_claim(len(ids)), given))).all()
        return tuple(sorted((postback_of(row) for row in rows), key=lambda p: p.next_at))

    async def begin(self, postback: Postback, until: float) -> Postback | None:
        """Mark a claimed row as sending, which has to be on the disk before the first byte leaves.

        None if the lease was lost: then nothing may be sent.
        """
        tried = postback.attempts + 1
        given = {"row": postback.id, "lease": postback.lease_until, "until": until, "tried": tried}
        begun = await self._db.transact(executing(_BEGIN, given))
        if not begun.rowcount:
            return None
        return replace(postback, state="sending", lease_until=until, attempts=tried)

    async def finish(self, postback: Postback, attempt: Attempt, state: State, next_at: float) -> bool:
        """Write down an attempt and what it makes of the row, which is no longer held.

        `postback` is what `claim` or `begin` gave. False if the row had been taken over meanwhile: the
        attempt is written down all the same, but only a delivery counts, for then nothing is left to send.
        """
        tried = postback.attempts + (postback.state == "due")
        settled = {
            "row": postback.id,
            "lease": postback.lease_until,
            "state": state,
            "attempts": tried,
            "next_at": next_at,
            "last_answer": attempt.answer,
            "last_status": attempt.status,
            "finished_at": None if state == "due" else attempt.at,
        }
        finish = _FINISH_DELIVERED if state == "delivered" else _FINISH

        async def work(tx: Connection) -> bool:
            if state == "dead":
                await lock_order(tx, postback.order)
            await tx.execute(_ATTEMPT, _attempt(postback.id, attempt))
            changed = bool((await tx.execute(finish, settled)).rowcount)
            if changed and state == "dead":
                own = (_C.order == postback.order, _C.partner == postback.partner)
                query = select(postbacks_table).where(*own).order_by(_C.sequence).with_for_update()
                rows = [postback_of(row) for row in await tx.execute(query)]
                planned = after_dead(rows, postback)
                await apply_plan(tx, postback.order, postback.site, planned, attempt.at)
            return changed

        return await self._db.transact(work)

    async def release(self, postback: Postback, until: float, *, at: float | None = None) -> None:
        """Give a row back of which nothing was sent: it is due as it was before `claim`, or at another time.

        `until` is what `begin` was asked for: one that was cancelled may have been written, or not.
        """
        leases = (postback.lease_until, until)
        released = (
            update(postbacks_table)
            .where(_C.id == postback.id, _C.state.in_(("due", "sending")), _C.lease_until.in_(leases))
            .values(
                state="due",
                lease_until=None,
                attempts=postback.attempts,
                next_at=postback.next_at if at is None else at,
            )
        )
        await self._db.transact(executing(released))

    async def hold(self, postback: Postback, why: str) -> None:
        """Hold a claimed row of which nothing was sent: no call can tell the partner of it any more."""
        held = {"state": "held", "hold": "manual", "why": why, "lease_until": None}
        own = (_C.id == postback.id, _C.state == "due", _C.lease_until == postback.lease_until)
        await self._db.transact(executing(update(postbacks_table).where(*own).values(**held)))

    async def expire(self, now: float, repeats: Callable[[Postback], bool]) -> tuple[Postback, ...]:
        """Settle the rows whose call was cut off by the end of its process.

        Where `repeats` says that the destination takes the same call twice, the row is due again; else its
        outcome is unknown, for a person to find out. Returns the rows as they are now.
        """
        given = {"now": now}
        if (await self._db.query(executing(_IS_CUT_OFF, given))).first() is None:
            return ()

        async def work(tx: Connection) -> tuple[Postback, ...]:
            found = await tx.execute(_CUT_OFF_ROWS, given)
            rows = [postback_of(row) for row in found.all()]
            settled = tuple(_cut_off(row, now, repeatable=repeats(row)) for row in rows)
            for row in settled:
                outcome: Outcome = "retry" if row.state == "due" else "unknown"
                await tx.execute(
                    _ATTEMPT, _attempt(row.id, Attempt(now, "", None, row.last_answer or "", outcome))
                )
                await tx.execute(
                    update(postbacks_table)
                    .where(_C.id == row.id)
                    .values({c: getattr(row, c) for c in _SETTLED})
                )
            return settled

        return await self._db.transact(work)

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
            return tuple(postback_of(row) for row in (await connection.execute(listed.limit(limit))).all())

    async def attempts(self, postback_id: str) -> tuple[Attempt, ...]:
        """All attempts of one postback, oldest first."""
        own = attempts_table.c
        query = select(own.at, own.request, own.status, own.answer, own.outcome)
        async with self._db.read() as connection:
            rows = (await connection.execute(query.where(own.postback == postback_id).order_by(own.id))).all()
        return tuple(Attempt(*row) for row in rows)

    async def retry(self, postback_id: str, now: float, *, site: str | None = None) -> Postback:
        """Make a postback due at once, with the schedule of retries before it; with `site` only one of that
        site. Returns the row that is due.

        Where later events about the order were sent to the partner meanwhile, it is not sent after them: it
        is superseded, and what is due instead, if anything is, is a new row (see `due.retried`). Where
        nothing is, the superseded row is returned.

        Raises OutboxError for an unknown id, and for one that was delivered, is being sent or is in doubt.
        """
        own = select(postbacks_table).where(_C.id == postback_id)

        async def work(tx: Connection) -> Postback:
            row = (await tx.execute(own)).first()
            if row is None or site not in (None, row.site):
                raise OutboxError(f"{postback_id}: no such postback")
            await lock_order(tx, row.order)
            every = select(postbacks_table).where(_C.order == row.order, _C.partner == row.partner)
            query = every.order_by(_C.sequence).with_for_update()
            rows = [postback_of(one) for one in await tx.execute(query)]
            found = next(one for one in rows if one.id == postback_id)
            if found.state not in _RETRIABLE or (found.lease_until or 0) > now:
                why = _NOT_AGAIN.get(found.state, "is being sent right now")
                raise OutboxError(f"{postback_id}: it {why}, so it is not sent again")
            if not found.report.click_id:
                raise OutboxError(
                    f"{postback_id}: its visitor was forgotten, and the click id with it: "
                    "report the order by hand, by its number"
                )
            if (instead := retried(rows, found)) is not None:
                instead = await _with_verdict(tx, rows, found, instead)
                added = await apply_plan(tx, found.order, found.site, instead, now)
                return next(iter(added), replace(found, state="superseded", finished_at=now))
            if any(one.sequence > found.sequence and (one.lease_until or 0) > now for one in rows):
                raise OutboxError(
                    f"{postback_id}: a later one about the order is being sent right now: try again after it"
                )
            # What the partner may have is not unsent: a change is reported after it, not in its place.
            tries = int(found.state != "dead" and found.attempts > 0)
            again = replace(
                found, state="due", attempts=tries, next_at=now, lease_until=None, finished_at=None
            )
            await tx.execute(
                update(postbacks_table)
                .where(_C.id == postback_id)
                .values({c: getattr(again, c) for c in _SETTLED})
            )
            rows[rows.index(found)] = again
            await apply_plan(tx, found.order, found.site, await _with_verdict(tx, rows, again, Plan()), now)
            return again

        return await self._db.transact(work)

    async def resend(
        self, postback_id: str, now: float, *, by: str, event: str | None, manual: Callable[[Postback], str]
    ) -> Postback:
        """Tell a partner again what it took, as another event if one is given. `manual` says why no call can
        do so; empty if one can. Returns the new postback.

        Raises OutboxError for an unknown id, for one that was not delivered, or after which a later one was
        sent, and if no call can be made.
        """

        async def work(tx: Connection) -> Postback:
            row = (await tx.execute(select(postbacks_table).where(_C.id == postback_id))).first()
            if row is None:
                raise OutboxError(f"{postback_id}: no such postback")
            await lock_order(tx, row.order)
            every = select(postbacks_table).where(_C.order == row.order, _C.partner == row.partner)
            query = every.order_by(_C.sequence).with_for_update()
            rows = [postback_of(one) for one in await tx.execute(query)]
            found = next(one for one in rows if one.id == postback_id)
            if not found.report.click_id:
                raise OutboxError(f"{postback_id}: its click id is not known: report it by hand")
            try:
                plan = resent(rows, found, event or found.event, f"sent again by {by}")
            except ValueError as error:
                raise OutboxError(f"{postback_id}: {error}, so it is not sent again") from None
            (planned,) = plan.added
            if why := manual(replace(found, event=planned.report.event, report=planned.report)):
                raise OutboxError(f"{postback_id}: {why}")
            plan = await _with_verdict(tx, rows, found, plan)
            added, *_ = await apply_plan(tx, found.order, found.site, plan, now)
            return added

        return await self._db.transact(work)

    async def get(self, postback_id: str, *, site: str | None = None) -> Postback | None:
        """One postback; with `site` only one of that site."""
        async with self._db.read() as connection:
            row = (await connection.execute(select(postbacks_table).where(_C.id == postback_id))).first()
        return None if row is None or site not in (None, row.site) else postback_of(row)

    async def mark_reported(self, postback_id: str, now: float, *, by: str) -> Postback:
        """A person has reported what the partner's call cannot report: the postback counts as delivered.

        Raises OutboxError unless it is held for that.
        """
        held = (_C.id == postback_id, _C.state == "held", _C.hold == "manual")
        done = {"state": "delivered", "finished_at": now, "last_answer": f"reported by hand by {by}"}
        changed = update(postbacks_table).where(*held).values(hold=None, **done)
        row = (await self._db.transact(executing(changed.returning(*postbacks_table.c)))).first()
        if row is None:
            raise OutboxError(f"{postback_id}: it is not held for a call that cannot be made")
        return postback_of(row)

    async def held(self, order: int) -> str | None:
        """Why the order's postback is held, None where it is not."""
        query = select(_C.why).where(_C.order == order, _C.state == "held").limit(1)
        async with self._db.read() as connection:
            found = (await connection.execute(query)).first()
        return None if found is None else found[0] or "in doubt"

    async def retry_dead(self, now: float) -> int:
        """Retry all dead postbacks, the oldest first; how many are due. See `retry`."""
        dead = select(_C.id).where(_C.state == "dead").order_by(_C.created_at, _C.sequence)
        async with self._db.read() as connection:
            ids = [row[0] for row in await connection.execute(dead)]
        due = 0
        for postback_id in ids:
            with suppress(OutboxError):  # somebody else was faster
                due += (await self.retry(postback_id, now)).state == "due"
        return due

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
        """How many postbacks of each of these sites wait, by state (OPEN), with 0 where there is none. It
        costs as much as there are: what is delivered is not looked at."""
        # One state at a time, so that each is a part of an index in its order, and no row is read.
        each = [
            select(_C.state, _C.site, func.count().label("n"))
            .where(_C.state == state)
            .group_by(_C.state, _C.site)
            for state in OPEN
        ]
        async with self._db.read() as connection:
            rows = (await connection.execute(union_all(*each))).all()
        found = {(row[1], row[0]): row[2] for row in rows}
        return {site: {state: found.get((site, state), 0) for state in OPEN} for site in sites}


# The heads of the partners' queues are found by leaps through the index, then the first rows of each queue.
# Site and partner are compared one by one: of a pair SQLite uses the site alone, and goes through all of it.
_WAITING_IN = """
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
SELECT id, site, partner, event FROM (
    SELECT w.id, w.site, w.partner, w.event, w.next_at,
        row_number() OVER (PARTITION BY w.site, w.partner ORDER BY w.next_at, w.id) AS turn
    FROM heads JOIN postbacks AS h ON h.id = heads.id {queue} (
        SELECT {columns} FROM postbacks AS d
        WHERE d.state = 'due' AND d.site = h.site AND d.partner = h.partner AND d.next_at <= :now
            AND (d.lease_until IS NULL OR d.lease_until <= :now)
            AND NOT EXISTS (
                SELECT 1 FROM postbacks AS e WHERE e."order" = d."order" AND e.partner = d.partner
                AND e.sequence < d.sequence AND e.state IN ('due', 'sending')
            )
        ORDER BY d.next_at, d.id LIMIT :each
    ) {named}
) AS queued
ORDER BY turn, next_at, id LIMIT :limit
"""
# SQLite has no LATERAL. With IN, PostgreSQL asks for each queue anew for each postback that there ever was.
_WAITING = {
    "sqlite": text(_WAITING_IN.format(queue="JOIN postbacks AS w ON w.id IN", columns="d.id", named="")),
    "postgresql": text(
        _WAITING_IN.format(
            queue="CROSS JOIN LATERAL", columns="d.id, d.site, d.partner, d.event, d.next_at", named="AS w"
        )
    ),
}
_QUEUES = {
    name: Prepared(query.columns(_C.id, _C.site, _C.partner, _C.event)) for name, query in _WAITING.items()
}


@lru_cache
def _claim(count: int) -> Prepared:
    """Lease so many rows, if they are due and free."""
    ids = [bindparam(f"id{place}", type_=_C.id.type) for place in range(count)]
    now = bindparam("now", type_=_C.next_at.type)
    # Written so that no index fits it: SQLite would go through all that is due instead of a few ids.
    is_due = (func.coalesce(_C.state, "") == "due") & (_C.next_at + 0 <= now)
    is_free = or_(_C.lease_until.is_(None), _C.lease_until <= now)
    free = select(_C.id).where(_C.id.in_(ids), is_due, is_free).with_for_update(skip_locked=True)
    leased = update(postbacks_table).where(_C.id.in_(free)).values(lease_until=bindparam("until"))
    return Prepared(leased.returning(*postbacks_table.c))


_INTERRUPTED = select(postbacks_table).where(
    _C.state == "sending", _C.lease_until <= bindparam("now", type_=_C.next_at.type)
)
_IS_CUT_OFF = Prepared(_INTERRUPTED.limit(1))
_CUT_OFF_ROWS = Prepared(_INTERRUPTED.with_for_update(skip_locked=True))
_ATTEMPT = Prepared(
    insert(attempts_table).inline().values(values_of([c for c in attempts_table.c if c.name != "id"]))
)
_OWN = (_C.id == bindparam("row"), _C.lease_until == bindparam("lease"))
_BEGIN = Prepared(
    update(postbacks_table)
    .where(*_OWN, _C.state == "due")
    .values(state="sending", lease_until=bindparam("until"), attempts=bindparam("tried"))
)
_OUTCOME = values_of(
    [_C[n] for n in ("state", "attempts", "next_at", "last_answer", "last_status", "finished_at")]
)
_FINISH = Prepared(update(postbacks_table).where(*_OWN).values(lease_until=None, **_OUTCOME))
# A late delivery counts, as long as nobody else has the row: nothing is left to send.
_FINISH_DELIVERED = Prepared(
    update(postbacks_table)
    .where(_OWN[0], or_(_OWN[1], _C.lease_until.is_(None)))
    .values(lease_until=None, **_OUTCOME)
)
_SETTLED = ("state", "attempts", "next_at", "lease_until", "last_answer", "last_status", "finished_at")
_COLUMNS = tuple(column.name for column in postbacks_table.c if column.name != "written")
_NOT_AGAIN: Mapping[State, str] = {
    "delivered": "was delivered",
    "held": "is held: release or correct it",
    "refused": "was refused: release it if it is to be sent after all",
    "superseded": "was replaced by a later one, or the partner is not to have it any more",
}
_CUT_OFF = "the process that sent it ended before the answer came"


def _cut_off(row: Postback, now: float, *, repeatable: bool) -> Postback:
    return replace(
        row,
        state="due" if repeatable else "unknown",
        next_at=now,
        lease_until=None,
        last_answer=_CUT_OFF,
        last_status=None,
        finished_at=None if repeatable else now,
    )


def postback_of(row: Row[Any]) -> Postback:
    """A postback from its row."""
    fields = row._asdict()
    del fields["written"]
    return Postback(**fields | {"report": Report.from_json(fields["report"])})


async def lock_order(tx: Connection, row: int) -> None:
    """Keep others from planning for an order; who plans locks it first, and then its postbacks."""
    await tx.execute(select(orders_table.c.id).where(orders_table.c.id == row).with_for_update())


async def _with_verdict(tx: Connection, rows: Sequence[Postback], row: Postback, planned: Plan) -> Plan:
    """The plan for a call about an order that is sent again, with a decision that waited for it."""
    if row.event in VERDICTS or all(one.event not in VERDICTS for one in rows):
        return planned
    return told_again(rows, planned, await verdict_of(tx, row.order, row.partner))


async def apply_plan(tx: Connection, row: int, site: str, planned: Plan, now: float) -> tuple[Postback, ...]:
    """Write a plan for the postbacks of an order; returns those that are new or in another state."""
    new = Additions()
    written = await plan_with(tx, new, row, site, planned, now)
    if new.rows:
        await tx.add(new.rows)
    return written


async def plan_with(
    tx: Connection, new: Additions, order: int | NumberOf, site: str, planned: Plan, now: float
) -> tuple[Postback, ...]:
    """Write a plan, except for the postbacks that it adds, which are `new` rows. The order of those has
    number 0 here if it is new, too."""
    if planned.superseded:
        await tx.execute(
            update(postbacks_table)
            .where(_C.id.in_(planned.superseded))
            .values(state="superseded", lease_until=None, finished_at=now)
        )
    for one in planned.changed:
        ended = now if one.state == "refused" else None
        state = {"state": one.state, "hold": one.hold, "why": one.why, "next_at": now, "finished_at": ended}
        await tx.execute(update(postbacks_table).where(_C.id == one.id).values(**state))
    added = [_added(0 if isinstance(order, NumberOf) else order, site, p, now) for p in planned.added]
    for postback in added:
        values = {name: getattr(postback, name) for name in _COLUMNS}
        new.add(postbacks_table, values | {"report": postback.report.to_json(), "order": order})
    return (*planned.changed, *added)


def _added(row: int, site: str, planned: Planned, now: float) -> Postback:
    return Postback(
        # Also the `webhook-id`: the receiver's key against repeats, the same over all attempts.
        id=f"pb_{secrets.token_hex(10)}",
        order=row,
        site=site,
        partner=planned.report.partner,
        sequence=planned.sequence,
        event=planned.report.event,
        report=planned.report,
        state=planned.state,
        attempts=0,
        next_at=now,
        lease_until=None,
        last_answer=None,
        created_at=now,
        finished_at=now if planned.state == "refused" else None,
        hold=planned.hold,
        why=planned.why,
    )


def _attempt(postback_id: str, attempt: Attempt) -> dict[str, Any]:
    return {
        "postback": postback_id,
        "at": attempt.at,
        "request": attempt.request,
        "status": attempt.status,
        "answer": attempt.answer,
        "outcome": attempt.outcome,
    }
