"""What a partner was told of each order, for the comparison with its own report."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Row, select

from ...postbacks.due import CANCEL, DECLINE
from ...postbacks.reconcile import Told
from .database import Database
from .schema import orders, postbacks, shares

# Variables of one statement, below every engine's limit.
MANY = 500


async def told_of(
    db: Database, site: str, partner: str, since: float | None, until: float | None
) -> tuple[Told, ...]:
    """What the partner was told of the orders that were recorded in a period (unix seconds)."""
    conditions: list[ColumnElement[bool]] = []
    if since is not None:
        conditions.append(orders.c.recorded_at >= since)
    if until is not None:
        conditions.append(orders.c.recorded_at < until)
    return await _told_where(db, site, partner, *conditions)


async def told_of_numbers(db: Database, site: str, partner: str, numbers: Iterable[str]) -> tuple[Told, ...]:
    """What the partner was told of the orders with these normalised numbers, whenever they were recorded."""
    wanted, found = list(numbers), list[Told]()
    for start in range(0, len(wanted), MANY):
        some = orders.c.order_id.in_(wanted[start : start + MANY])
        found += await _told_where(db, site, partner, orders.c.site == site, some)
    return tuple(found)


async def _told_where(
    db: Database, site: str, partner: str, *conditions: ColumnElement[bool]
) -> tuple[Told, ...]:
    own, order = postbacks.c, orders.c
    query = (
        select(own.order, own.id, own.event, own.report, own.state, own.why, order.recorded_at)
        .join_from(postbacks, orders, order.id == own.order)
        .where(own.site == site, own.partner == partner, *conditions)
        .order_by(own.order, own.sequence)
    )
    async with db.read() as connection:
        rows = (await connection.execute(query)).all()
    return tuple(_told(list(group)) for _, group in groupby(rows, key=lambda row: row.order))


def _told(rows: list[Row[Any]]) -> Told:
    last = rows[-1]
    taken = next((row for row in reversed(rows) if row.state == "delivered"), None)
    return Told(
        order=last.report["order_id"],
        amount=None if taken is None else Decimal(taken.report["amount"]),
        currency=None if taken is None else taken.report["currency"],
        cancelled=taken is not None and taken.event in (CANCEL, DECLINE),
        state=last.state,
        why=last.why or "",
        at=last.recorded_at,
        postback=(taken or last).id,
    )


async def credited_elsewhere(
    db: Database, site: str, partner: str, numbers: Iterable[str]
) -> Mapping[str, str]:
    """Those of these numbers that are orders of the site, each with whom it is credited to instead."""
    wanted, found = list(numbers), dict[str, str]()
    order, own = orders.c, shares.c
    joined = orders.outerjoin(shares, own.decision == order.decision)
    for start in range(0, len(wanted), MANY):
        some = wanted[start : start + MANY]
        query = (
            select(order.order_id, own.partner)
            .select_from(joined)
            .where(order.site == site, order.order_id.in_(some))
        )
        async with db.read() as connection:
            for number, earner in (await connection.execute(query)).all():
                if earner != partner:
                    found[number] = f"credited to {earner or 'nobody'}"
    return found
