"""Sending a postback again: which may be, and what is sent in its place after later ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from sqlalchemy import select, update

from ...orders.doubt import Doubt
from ...postbacks.approvals import with_verdicts
from ...postbacks.due import VERDICTS, Plan
from ...postbacks.model import Postback, Report, State
from ...postbacks.sent_again import resent, retried
from .connection import Connection
from .entries import verdict_of
from .planned import apply_plan, lock_order, rows_of
from .schema import postbacks as postbacks_table

_C = postbacks_table.c
Able = Callable[[str, Report], Doubt | None]
"""Why no call can tell a network of a decision about a commission, by site and report; None if one can (see
`approvals.verdict_doubt`)."""

_RETRIABLE: frozenset[State] = frozenset({"due", "dead", "unknown"})
_NOT_AGAIN: Mapping[State, str] = {
    "delivered": "was delivered",
    "accepted": "was accepted, and the network is asked what became of it",
    "held": "is held: release or correct it",
    "refused": "was refused: release it if it is to be sent after all",
    "superseded": "was replaced by a later one, or the partner is not to have it any more",
}


class OutboxError(LookupError):
    """A postback cannot be retried; the text says which one and why."""


async def retry(tx: Connection, postback_id: str, now: float, site: str | None, able: Able) -> Postback:
    """See `Outbox.retry`."""
    rows, found = await _with_others(tx, postback_id, site)
    if found.state not in _RETRIABLE or (found.lease_until or 0) > now:
        why = _NOT_AGAIN.get(found.state, "is being sent right now")
        raise OutboxError(f"{postback_id}: it {why}, so it is not sent again")
    if not found.report.click_id:
        raise OutboxError(
            f"{postback_id}: its visitor was forgotten, and the click id with it: "
            "report the order by hand, by its number"
        )
    try:
        instead = retried(rows, found, partial(able, found.site))
    except ValueError as error:
        raise OutboxError(f"{postback_id}: {error}") from None
    if instead is not None:
        instead = await with_verdict(tx, rows, found, instead, able)
        added = await apply_plan(tx, found.order, found.site, instead, now)
        return next(iter(added), replace(found, state="superseded", finished_at=now))
    if any(one.sequence > found.sequence and (one.lease_until or 0) > now for one in rows):
        raise OutboxError(
            f"{postback_id}: a later one about the order is being sent right now: try again after it"
        )
    # What the partner may have is not unsent: a change is reported after it, not in its place.
    tries = int(found.state != "dead" and found.attempts > 0)
    again = replace(found, state="due", attempts=tries, next_at=now, lease_until=None, finished_at=None)
    values = {"state": "due", "attempts": tries, "next_at": now, "lease_until": None, "finished_at": None}
    await tx.execute(update(postbacks_table).where(_C.id == postback_id).values(values))
    rows[rows.index(found)] = again
    planned = await with_verdict(tx, rows, again, Plan(), able)
    await apply_plan(tx, found.order, found.site, planned, now)
    return again


async def resend(
    tx: Connection,
    postback_id: str,
    now: float,
    *,
    by: str,
    event: str | None,
    manual: Callable[[Postback], str],
    able: Able,
) -> Postback:
    """See `Outbox.resend`."""
    rows, found = await _with_others(tx, postback_id, None)
    if not found.report.click_id:
        raise OutboxError(f"{postback_id}: its click id is not known: report it by hand")
    try:
        plan = resent(rows, found, event or found.event, f"sent again by {by}")
    except ValueError as error:
        raise OutboxError(f"{postback_id}: {error}, so it is not sent again") from None
    (planned,) = plan.added
    if why := manual(replace(found, event=planned.report.event, report=planned.report)):
        raise OutboxError(f"{postback_id}: {why}")
    plan = await with_verdict(tx, rows, found, plan, able)
    added, *_ = await apply_plan(tx, found.order, found.site, plan, now)
    return added


async def mark_reported(
    tx: Connection, postback_id: str, now: float, by: str, site: str | None, able: Able
) -> Postback:
    """See `Outbox.mark_reported`."""
    rows, found = await _with_others(tx, postback_id, site)
    if found.state != "held" or found.hold != "manual":
        raise OutboxError(f"{postback_id}: it is not held for a call that cannot be made")
    answer = f"reported by hand by {by}"
    done = replace(found, state="delivered", hold=None, finished_at=now, last_answer=answer)
    values = {"state": "delivered", "hold": None, "finished_at": now, "last_answer": answer}
    await tx.execute(update(postbacks_table).where(_C.id == postback_id).values(values))
    rows[rows.index(found)] = done
    planned = await with_verdict(tx, rows, done, Plan(), able)
    await apply_plan(tx, found.order, found.site, planned, now)
    return done


async def _with_others(tx: Connection, postback_id: str, site: str | None) -> tuple[list[Postback], Postback]:
    """All postbacks of an order to a partner, and this one of them; the order is locked."""
    row = (await tx.execute(select(postbacks_table).where(_C.id == postback_id))).first()
    if row is None or site not in (None, row.site):
        raise OutboxError(f"{postback_id}: no such postback")
    await lock_order(tx, row.order)
    rows = await rows_of(tx, row.order, row.partner)
    return rows, next(one for one in rows if one.id == postback_id)


async def with_verdict(
    tx: Connection, rows: Sequence[Postback], row: Postback, planned: Plan, able: Able
) -> Plan:
    """The plan for a call about an order that goes out after all, with the decision that follows it: there
    may be one that was made while the partner did not have the order. `rows` are all postbacks of the order
    to the partner."""
    if row.event in VERDICTS:
        return planned
    word = await verdict_of(tx, row.order, row.partner)
    return with_verdicts(rows, planned, {row.partner: word}, partial(able, row.site))
