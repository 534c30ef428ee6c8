"""The outbox: postbacks due, in work and done. What is here is delivered once, or its state says why not.

A worker takes a row in two steps. `claim` leases it while nothing has been sent: when that lease runs out,
the row is simply due again. `begin` marks it as sending, in a transaction of its own, before the call's first
byte leaves: when that lease runs out, the process died between the first byte and the answer, and the outcome
is unknown. Every step checks the lease it was given, so a worker that was stopped for longer than its lease
cannot send what another has taken over.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from sqlalchemy import func, select, union_all, update

from ...postbacks.approvals import told_again
from ...postbacks.due import VERDICTS, Plan
from ...postbacks.model import OPEN, STATES, Attempt, Outcome, Postback, State, Waiting
from ...postbacks.sent_again import after_dead
from . import again
from .again import Able, OutboxError
from .connection import Connection, executing
from .database import Database
from .entries import verdict_of
from .planned import add_attempt, apply_plan, lock_order, postback_of, rows_of
from .queue import BEGIN, CUT_OFF_ROWS, FINISH, FINISH_ACCEPTED, FINISH_DELIVERED, IS_CUT_OFF, QUEUES, claim
from .schema import attempts as attempts_table
from .schema import postbacks as postbacks_table

LIST_LIMIT = 500
_C = postbacks_table.c
_CUT_OFF = "the process that sent it ended before the answer came"


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
        rows = await self._db.query(executing(QUEUES[self._db.dialect], given))
        return tuple(Waiting(*row) for row in rows)

    async def claim(self, ids: Sequence[str], now: float, until: float) -> tuple[Postback, ...]:
        """Lease those of them that are still due and free. Nothing of them has been sent."""
        if not ids:
            return ()
        given = {"now": now, "until": until} | {f"id{place}": one for place, one in enumerate(ids)}
        rows = (await self._db.transact(executing(claim(len(ids)), given))).all()
        return tuple(sorted((postback_of(row) for row in rows), key=lambda p: p.next_at))

    async def begin(self, postback: Postback, until: float) -> Postback | None:
        """Mark a claimed row as sending, which has to be on the disk before the first byte leaves.

        None if the lease was lost: then nothing may be sent.
        """
        tried = postback.attempts + 1
        given = {"row": postback.id, "lease": postback.lease_until, "until": until, "tried": tried}
        begun = await self._db.transact(executing(BEGIN, given))
        if not begun.rowcount:
            return None
        return replace(postback, state="sending", lease_until=until, attempts=tried)

    async def finish(
        self, postback: Postback, attempt: Attempt, state: State, next_at: float, job: str | None = None
    ) -> bool:
        """Write down an attempt and what it makes of the row, which is no longer held. `job` is what the
        network calls the call, if it is `accepted`.

        `postback` is what `claim`, `begin` or `claim_accepted` gave. False if the row had been taken over
        meanwhile: the attempt is written down all the same, but only a delivery counts, for then nothing is
        left to send.
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
            "finished_at": None if state in ("due", "accepted") else attempt.at,
        }
        finish = FINISH_DELIVERED if state == "delivered" else FINISH
        if state == "accepted":
            finish, settled = FINISH_ACCEPTED, settled | {"job": job, "accepted_at": attempt.at}

        async def work(tx: Connection) -> bool:
            if state == "dead":
                await lock_order(tx, postback.order)
            await add_attempt(tx, postback.id, attempt)
            changed = bool((await tx.execute(finish, settled)).rowcount)
            if changed and state == "dead":
                rows = await rows_of(tx, postback.order, postback.partner)
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

    async def hold(self, postback: Postback, why: str, now: float) -> None:
        """Hold a claimed row of which nothing was sent: no call can tell the partner of it any more. A
        decision about the order that was to follow it waits, too, if it needs it."""
        held = {"state": "held", "hold": "manual", "why": why, "lease_until": None, "next_at": now}
        own = (_C.id == postback.id, _C.state == "due", _C.lease_until == postback.lease_until)

        async def work(tx: Connection) -> None:
            await lock_order(tx, postback.order)
            changed = await tx.execute(update(postbacks_table).where(*own).values(**held))
            if not changed.rowcount or postback.event in VERDICTS:
                return
            rows = await rows_of(tx, postback.order, postback.partner)
            word = await verdict_of(tx, postback.order, postback.partner)
            await apply_plan(tx, postback.order, postback.site, told_again(rows, Plan(), word), now)

        await self._db.transact(work)

    async def expire(self, now: float, repeats: Callable[[Postback], bool]) -> tuple[Postback, ...]:
        """Settle the rows whose call was cut off by the end of its process.

        Where `repeats` says that the destination takes the same call twice, the row is due again; else its
        outcome is unknown, for a person to find out. Returns the rows as they are now.
        """
        given = {"now": now}
        if (await self._db.query(executing(IS_CUT_OFF, given))).first() is None:
            return ()

        async def work(tx: Connection) -> tuple[Postback, ...]:
            found = await tx.execute(CUT_OFF_ROWS, given)
            rows = [postback_of(row) for row in found.all()]
            settled = tuple(_cut_off(row, now, repeatable=repeats(row)) for row in rows)
            for row in settled:
                outcome: Outcome = "retry" if row.state == "due" else "unknown"
                attempt = Attempt(now, "", None, row.last_answer or "", outcome)
                await add_attempt(tx, row.id, attempt)
                await tx.execute(
                    update(postbacks_table)
                    .where(_C.id == row.id)
                    .values({c: getattr(row, c) for c in _SETTLED})
                )
            return settled

        return await self._db.transact(work)

    async def claim_accepted(self, now: float, until: float, *, limit: int) -> tuple[Postback, ...]:
        """Lease accepted rows whose outcome is to be asked for now, and again when the lease ends."""
        due = (_C.state == "accepted", _C.next_at <= now)
        ids = select(_C.id).where(*due).order_by(_C.next_at).limit(limit)

        async def work(tx: Connection) -> tuple[Postback, ...]:
            found = [row.id for row in await tx.execute(ids.with_for_update(skip_locked=True))]
            again = {"lease_until": until, "next_at": until}
            leased = update(postbacks_table).where(_C.id.in_(found)).values(**again)
            rows = (await tx.execute(leased.returning(*postbacks_table.c))).all() if found else []
            return tuple(postback_of(row) for row in rows)

        return await self._db.transact(work)

    async def ask_later(self, postbacks: Sequence[Postback], at: float) -> None:
        """Give claimed accepted rows back: their outcome is not known yet, and is asked for at this time."""
        given_back = update(postbacks_table).where(
            _C.id.in_([row.id for row in postbacks]), _C.state == "accepted"
        )
        await self._db.transact(executing(given_back.values(lease_until=None, next_at=at)))

    async def next_result(self) -> float | None:
        """When an outcome is to be asked for next; None if none is."""
        due = select(func.min(_C.next_at)).where(_C.state == "accepted")
        async with self._db.read() as connection:
            found: float | None = await connection.scalar(due)
        return found

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

    async def retry(self, postback_id: str, now: float, *, able: Able, site: str | None = None) -> Postback:
        """Make a postback due at once, with the schedule of retries before it; with `site` only one of that
        site. Returns the row that is due.

        Where later events about the order were sent to the partner meanwhile, it is not sent after them: it
        is superseded, and what is due instead, if anything is, is a new row (see `due.retried`). Where
        nothing is, the superseded row is returned. A decision about the commission follows the order; `able`
        says why no call can tell it.

        Raises OutboxError for an unknown id, for one that was delivered, is being sent or is in doubt, and
        for a decision about an order that the partner does not have.
        """
        return await self._db.transact(lambda tx: again.retry(tx, postback_id, now, site, able))

    async def resend(
        self,
        postback_id: str,
        now: float,
        *,
        by: str,
        event: str | None,
        manual: Callable[[Postback], str],
        able: Able,
    ) -> Postback:
        """Tell a partner again what it took, as another event if one is given. `manual` says why no call can
        do so; empty if one can. Returns the new postback.

        Raises OutboxError for an unknown id, for one that was not delivered, or after which a later one was
        sent, and if no call can be made.
        """
        return await self._db.transact(
            lambda tx: again.resend(tx, postback_id, now, by=by, event=event, manual=manual, able=able)
        )

    async def get(self, postback_id: str, *, site: str | None = None) -> Postback | None:
        """One postback; with `site` only one of that site."""
        async with self._db.read() as connection:
            row = (await connection.execute(select(postbacks_table).where(_C.id == postback_id))).first()
        return None if row is None or site not in (None, row.site) else postback_of(row)

    async def mark_reported(
        self, postback_id: str, now: float, *, by: str, able: Able, site: str | None = None
    ) -> Postback:
        """A person has reported what the partner's call cannot report: the postback counts as delivered. A
        decision about the commission follows it; `able` says why no call can tell it.

        Raises OutboxError unless it is held for that, and of the `site` if there is one.
        """
        return await self._db.transact(lambda tx: again.mark_reported(tx, postback_id, now, by, site, able))

    async def held(self, order: int) -> str | None:
        """Why the order's postback is held, None where it is not."""
        query = select(_C.why).where(_C.order == order, _C.state == "held").limit(1)
        async with self._db.read() as connection:
            found = (await connection.execute(query)).first()
        return None if found is None else found[0] or "in doubt"

    async def retry_dead(self, now: float, *, able: Able) -> int:
        """Retry all dead postbacks, the oldest first; how many are due. See `retry`."""
        dead = select(_C.id).where(_C.state == "dead").order_by(_C.created_at, _C.sequence)
        async with self._db.read() as connection:
            ids = [row[0] for row in await connection.execute(dead)]
        due = 0
        for postback_id in ids:
            with suppress(OutboxError):  # somebody else was faster
                due += (await self.retry(postback_id, now, able=able)).state == "due"
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


_SETTLED = ("state", "attempts", "next_at", "lease_until", "last_answer", "last_status", "finished_at")


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
