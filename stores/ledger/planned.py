"""Rows of postbacks: how what is due of an order becomes rows, and a row a postback."""

import secrets
from typing import Any

from sqlalchemy import Row, insert, select, update

from ...postbacks.due import Plan, Planned
from ...postbacks.model import Attempt, Postback, Report
from .adding import Additions, NumberOf
from .connection import Connection
from .prepared import Prepared, values_of
from .schema import attempts as attempts_table
from .schema import orders as orders_table
from .schema import postbacks as postbacks_table

_C = postbacks_table.c
_COLUMNS = tuple(column.name for column in postbacks_table.c if column.name != "written")
_ATTEMPT = Prepared(
    insert(attempts_table).inline().values(values_of([c for c in attempts_table.c if c.name != "id"]))
)


def postback_of(row: Row[Any]) -> Postback:
    """A postback from its row."""
    fields = row._asdict()
    del fields["written"]
    return Postback(**fields | {"report": Report.from_json(fields["report"])})


async def lock_order(tx: Connection, row: int) -> None:
    """Keep others from planning for an order; who plans locks it first, and then its postbacks."""
    await tx.execute(select(orders_table.c.id).where(orders_table.c.id == row).with_for_update())


async def rows_of(tx: Connection, order: int, partner: str) -> list[Postback]:
    """All postbacks of an order to a partner in their order, locked."""
    query = select(postbacks_table).where(_C.order == order, _C.partner == partner)
    return [postback_of(row) for row in await tx.execute(query.order_by(_C.sequence).with_for_update())]


async def apply_plan(tx: Connection, row: int, site: str, planned: Plan, now: float) -> tuple[Postback, ...]:
    """Write a plan for the postbacks of an order; returns those that are new or in another state."""
    new = Additions()
    written = await plan_with(tx, new, row, site, planned, now)
    if new.rows:
        await tx.add(new.rows)
    return written


async def plan_with(
    tx: Connection,
    new: Additions,
    order: int | NumberOf,
    site: str,
    planned: Plan,
    now: float,
    send_at: float = 0.0,
) -> tuple[Postback, ...]:
    """Write a plan, except for the postbacks that it adds, which are `new` rows. The order of those has
    number 0 here if it is new, too. Nothing of it is due before `send_at`."""
    due = max(now, send_at)
    if planned.superseded:
        await tx.execute(
            update(postbacks_table)
            .where(_C.id.in_(planned.superseded))
            .values(state="superseded", lease_until=None, finished_at=now)
        )
    for one in planned.changed:
        ended = now if one.state == "refused" else None
        state = {"state": one.state, "hold": one.hold, "why": one.why, "next_at": due, "finished_at": ended}
        await tx.execute(update(postbacks_table).where(_C.id == one.id).values(**state))
    row = 0 if isinstance(order, NumberOf) else order
    added = [_added(row, site, p, now, due) for p in planned.added]
    for postback in added:
        values = {name: getattr(postback, name) for name in _COLUMNS}
        new.add(postbacks_table, values | {"report": postback.report.to_json(), "order": order})
    return (*planned.changed, *added)


def _added(row: int, site: str, planned: Planned, now: float, due: float) -> Postback:
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
        next_at=due,
        lease_until=None,
        last_answer=None,
        created_at=now,
        finished_at=now if planned.state == "refused" else None,
        hold=planned.hold,
        why=planned.why,
    )


async def add_attempt(tx: Connection, postback_id: str, attempt: Attempt) -> None:
    """Write an attempt."""
    values = {
        "postback": postback_id,
        "at": attempt.at,
        "request": attempt.request,
        "status": attempt.status,
        "answer": attempt.answer,
        "outcome": attempt.outcome,
    }
    await tx.execute(_ATTEMPT, values)
