"""Keeps what rows count for in the figures of rules, in the transaction that deletes them."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Final

from sqlalchemy import select, update

from ...rules.sums import Sums, Talked, add
from .connection import Connection
from .rule_figures import exposed_sums, talked_sums
from .rule_sums import day_of, keep_sums
from .schema import conversations, exposures

WINDOW: Final = 7 * 86400.0
"""The window of a site that is not in the settings any more, in seconds."""

WindowOf = Callable[[str], float]
ByDay = Mapping[str, Mapping[Talked, Sums]]
_E, _C = exposures.c, conversations.c


def usual_window(_site: str) -> float:
    """The window where nobody knows the settings."""
    return WINDOW


async def keep_exposed(tx: Connection, ids: Collection[int], now: float, window_of: WindowOf) -> None:
    """Keep what exposures count for that are deleted; and of the conversations that they led to, which text
    it was and what was in the cart."""
    columns = (_E.id, _E.site, _E.rule, _E.visitor, _E.arm, _E.eligible_at, _E.assigned_at)
    query = select(*columns, _E.cart, _E.cart_currency).where(_E.id.in_(ids)).order_by(_E.assigned_at, _E.id)
    days: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for row in (await tx.execute(query)).all():
        days[row.site, day_of(row.eligible_at)].append(row.id)
        if row.rule and row.assigned_at is not None:
            led = (_C.site == row.site, _C.visitor == row.visitor, _C.rule == row.rule)
            known = {"arm": row.arm, "cart": row.cart, "cart_currency": row.cart_currency}
            change = update(conversations).where(*led, _C.started_at >= row.assigned_at)
            await tx.execute(change.values(**known))
    for (site, day), some in sorted(days.items()):
        await keep_sums(tx, site, day, await exposed_sums(tx, now, window_of(site), _E.id.in_(some)))


async def keep_talked(tx: Connection, talk: str, window_of: WindowOf) -> None:
    """Keep what a conversation counts for that is deleted."""
    row = (await tx.execute(select(_C.site, _C.started_at).where(_C.id == talk))).first()
    if row is not None:
        sums = await talked_sums(tx, window_of(row.site), _C.id == talk)
        await keep_sums(tx, row.site, day_of(row.started_at), sums)


async def counted(connection: Connection, site: str, visitor: str, window_of: WindowOf) -> ByDay:
    """What a visitor's conversations count for, by day."""
    query = select(_C.id, _C.started_at).where(_C.site == site, _C.visitor == visitor)
    found: defaultdict[str, dict[Talked, Sums]] = defaultdict(dict)
    for row in (await connection.execute(query)).all():
        sums = await talked_sums(connection, window_of(site), _C.id == row.id)
        for key, own in sums.items():
            add(found[day_of(row.started_at)].setdefault(key, {}), own)
    return found


async def keep_lost(tx: Connection, site: str, before: ByDay, after: ByDay) -> None:
    """Keep what conversations do not count for any more: of a visitor who is not to be recognised nobody
    knows which orders were its own, but its conversations stay."""
    for day, sums in sorted(before.items()):
        lost: dict[Talked, Sums] = {}
        for key, own in sums.items():
            left = after.get(day, {}).get(key, {})
            less = add(dict(own), {name: -value for name, value in left.items()})
            if less := {name: value for name, value in less.items() if value}:
                lost[key] = less
        await keep_sums(tx, site, day, lost)
