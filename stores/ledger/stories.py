"""The whole story of an order, for people: all that the ledger holds of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import select, union

from ...payouts.account import Entry
from ...postbacks.model import Attempt, Postback
from .connection import Connection
from .database import Database
from .entries import entries_of
from .history import Histories
from .known import Decided, Known, Moved, Stored
from .orders import Orders, StoredOrder
from .planned import postback_of
from .schema import attempts as attempts_table
from .schema import order_numbers as numbers_table
from .schema import orders as orders_table
from .schema import placements as placements_table
from .schema import postbacks as postbacks_table


@dataclass(frozen=True, slots=True)
class Story:
    """An order with its sightings (`known`), its credit decisions, oldest first, its postbacks in the order
    in which they came up, also those of orders that turned out to be this one, and by postback id the
    attempts, oldest first. `numbers` are its further numbers. `commissions` are the entries of the partners'
    commissions by partner, oldest first."""

    order: StoredOrder
    known: Known
    numbers: tuple[str, ...]
    decisions: tuple[Decided, ...]
    postbacks: tuple[Postback, ...]
    attempts: Mapping[str, tuple[Attempt, ...]]
    commissions: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)


class Stories:
    """The stories of all orders."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._orders = Orders(db)
        self._histories = Histories(db)

    async def sites(self, number: str) -> tuple[str, ...]:
        """The sites that have an order of this normalised number (`orders/ids.py`), by name."""
        own, every = orders_table.c, numbers_table.c
        query = union(
            select(own.site).where(own.order_id == number),
            select(every.site).where(every.number == number),
        )
        async with self._db.read() as connection:
            return tuple(sorted(row[0] for row in await connection.execute(query)))

    async def at(self, site: str, row: int) -> Story | None:
        """The story of an order of a site by the ledger's own number; None where there is none."""
        own = orders_table.c
        async with self._db.read() as connection:
            number = await connection.scalar(select(own.order_id).where(own.id == row, own.site == site))
        return None if number is None else await self.of(site, number)

    async def of(self, site: str, number: str) -> Story | None:
        """The story of an order of a site by any of its normalised numbers; None where there is none."""
        known = next(iter(await self._histories.known(site, [number])), None)
        order = None if known is None else await self._orders.at(known.row)
        if known is None or order is None:
            return None
        own = numbers_table.c
        async with self._db.read() as connection:
            further = (own.order == known.row, own.number != known.number)
            query = select(own.number).where(own.site == site, *further)
            numbers = tuple(sorted(row[0] for row in await connection.execute(query)))
            postbacks = await _postbacks(connection, site, known.row, numbers)
            attempts = await _attempts(connection, [row.id for row in postbacks])
            known = replace(known, sightings=await _with_placements(connection, known.sightings))
            entries = await entries_of(connection, known.row)
        decisions = await self._histories.decisions(known.row)
        commissions = {partner: tuple(own) for partner, own in entries.items()}
        return Story(order, known, numbers, decisions, postbacks, attempts, commissions)


async def _postbacks(
    connection: Connection, site: str, row: int, numbers: Sequence[str]
) -> tuple[Postback, ...]:
    own, orders = postbacks_table.c, orders_table.c
    # An order that turned out to be this one left it its number.
    same = (orders.site == site, orders.order_id.in_(numbers), orders.merged_into == row)
    merged = select(orders.id).where(*same)
    query = select(postbacks_table).where((own.order == row) | own.order.in_(merged))
    ordered = query.order_by(own.created_at, own.partner, own.sequence)
    return tuple(postback_of(one) for one in await connection.execute(ordered))


async def _with_placements(connection: Connection, seen: tuple[Stored, ...]) -> tuple[Stored, ...]:
    own = placements_table.c
    columns = (own.sighting, own.at, own.number, own.by, own.why)
    query = select(*columns).where(own.sighting.in_([s.row for s in seen if s.placed is not None]))
    found: dict[int, list[Moved]] = {}
    for row in await connection.execute(query.order_by(own.id)):
        found.setdefault(row.sighting, []).append(Moved(*row[1:]))
    return tuple(replace(s, placements=tuple(found.get(s.row, ()))) for s in seen)


async def _attempts(connection: Connection, ids: list[str]) -> Mapping[str, tuple[Attempt, ...]]:
    own = attempts_table.c
    columns = (own.postback, own.at, own.request, own.status, own.answer, own.outcome)
    query = select(*columns).where(own.postback.in_(ids)).order_by(own.id)
    found: dict[str, list[Attempt]] = {}
    for row in await connection.execute(query):
        found.setdefault(row.postback, []).append(Attempt(*row[1:]))
    return {name: tuple(rows) for name, rows in found.items()}
