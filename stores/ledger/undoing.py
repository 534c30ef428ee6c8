"""Which orders of a visitor can still be undone, and whether a visitor has ordered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from ...orders.model import SALES
from ...orders.sighting import Sighting, standing
from .database import Database
from .schema import orders as orders_table
from .schema import sightings as sightings_table

LONGEST = 3600.0
"""Seconds: the longest time that the settings give."""

_O, _S = orders_table.c, sightings_table.c


@dataclass(frozen=True, slots=True)
class Undoable:
    """What an agent recorded, and no partner has heard of. `order` is the ledger's own number."""

    order: int
    sighting: Sighting


@dataclass(frozen=True, slots=True)
class Bought:
    """A visitor's orders: how many, and when the last one was placed."""

    count: int
    last_at: float


class Undoing:
    """Reads what was recorded last."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def of_visitor(self, site: str, visitor: str, now: float) -> tuple[Undoable, ...]:
        """What agents have recorded of the visitor and may undo now, newest first."""
        own = (_S.site == site, _S.visitor == visitor, _S.around >= now - LONGEST, _S.source == "agent")
        async with self._db.read() as connection:
            found = (await connection.execute(select(_S.order).where(*own))).all()
            rows = sorted({row.order for row in found if row.order is not None})
            if not rows:
                return ()
            told = select(_S.order, _S.said).where(_S.order.in_(rows), _S.source == "agent").order_by(_S.id)
            reports = (await connection.execute(told)).all()
        by_order: dict[int, list[Sighting]] = {}
        for row, said in reports:
            by_order.setdefault(row, []).append(Sighting.from_json(said))
        return tuple(
            Undoable(row, one)
            for row in reversed(by_order)
            for one in standing(by_order[row])
            if one.visitor == visitor and one.undo_until is not None and one.undo_until > now
        )

    async def bought(self, site: str, visitors: Sequence[str]) -> Mapping[str, Bought]:
        """What these visitors have ordered, of those that have."""
        if not visitors:
            return {}
        own = (_O.site == site, _O.visitor.in_(set(visitors)), _O.state.in_(sorted(SALES)))
        counted = (
            select(_O.visitor, func.count(), func.max(_O.placed_at))
            .where(*own, _O.merged_into.is_(None))
            .group_by(_O.visitor)
        )
        async with self._db.read() as connection:
            rows = (await connection.execute(counted)).all()
        return {visitor: Bought(count, last_at) for visitor, count, last_at in rows}
