"""Sightings that name no number: kept until evidence joins them to an order, or a person places them."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, func, or_, select, update

from ...orders.join import WINDOW
from ...orders.sighting import Sighting
from .connection import Connection
from .database import Database
from .forgotten import add_unless_forgotten, keep_from_forgetting
from .history import Histories, sighting_values
from .known import Known, Moved, Stored, known_of, last_moved, stored_of, stored_query, surviving
from .prepared import Prepared
from .schema import orders as orders_table
from .schema import placements as placements_table
from .schema import sightings as sightings_table

_S, _P = sightings_table.c, placements_table.c
CANDIDATES: Final = 20
"""Most orders that a sighting is compared with. With more there is none that it belongs to for sure."""

_ANY = Prepared(select(_S.id).where(_S.site == bindparam("site"), _S.loose.is_(True)).limit(1))
_PLAIN = (_S.visitor, _S.email_hash, _S.coupon)


class Loose:
    """The sightings of all sites that name no number."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._histories = Histories(db)

    async def placed(self, site: str, key: str) -> str | None:
        """The order number that a person chose for the sighting with this content; None if none did."""
        query = select(_P.number).where(_P.site == site, _P.key == key).order_by(_P.id.desc()).limit(1)
        async with self._db.read() as connection:
            found: str | None = await connection.scalar(query)
        return found

    async def last_placement(self, row: int) -> Moved | None:
        """Where a person moved a sighting last; None if none did."""
        async with self._db.read() as connection:
            return await last_moved(connection, row)

    async def get(self, site: str, row: int) -> Stored | None:
        """One sighting of a site, with or without a number."""
        async with self._db.read() as connection:
            found = (await connection.execute(stored_query().where(_S.id == row, _S.site == site))).first()
        return None if found is None else stored_of(found)

    async def add(self, sighting: Sighting, raw: str | None) -> tuple[Stored, bool]:
        """Keep a sighting without a number, unless the same report is here already, sent within the window in
        which sightings are joined. Returns what is kept, and whether it is new. Raises ForgottenError."""
        values = sighting_values(sighting, None, raw)

        async def work(tx: Connection) -> tuple[Stored, bool]:
            # One process at a time, or two that are sent the same report would both find none.
            await tx.lock(f"report {sighting.site} {sighting.key}")
            found = (await tx.execute(_twin(sighting))).first()
            if found is not None:
                return stored_of(found), False
            people = await keep_from_forgetting(tx, sighting)
            row = sightings_table, {"order": None, **values}
            [number] = await add_unless_forgotten(tx, [row], people)
            assert number is not None
            return Stored(number, sighting, None), True

        return await self._db.transact(work)

    async def any(self, site: str) -> bool:
        """Whether the site has any."""

        async def work(connection: Connection) -> bool:
            return (await connection.execute(_ANY, {"site": site})).first() is not None

        return await self._db.query(work)

    async def near(self, known: Known) -> tuple[Stored, ...]:
        """Those that evidence joins to this order or may join to it: they share some, near in time."""
        seen = [stored.sighting for stored in known.sightings]
        times = [s.placed_at or s.at for s in seen]
        evidence = zip(_PLAIN, _evidence(seen), strict=True) if seen else ()
        shared = [column.in_(values) for column, values in evidence if values]
        loose = (_S.site == known.site, _S.loose.is_(True))
        within = _S.around.between(min(times) - WINDOW, max(times) + WINDOW) if times else None
        found: dict[int, Stored] = {}
        async with self._db.read() as connection:
            own = stored_query().where(*loose, _S.order == known.row)
            for row in await connection.execute(own):
                found[row.id] = stored_of(row)
            for one in shared if within is not None else ():
                for row in await connection.execute(stored_query().where(*loose, one, within)):
                    found[row.id] = stored_of(row)
        return tuple(found[row] for row in sorted(found))

    async def candidates(self, sighting: Sighting, *, sure: bool = True) -> tuple[Known, ...]:
        """The orders to which evidence joins a sighting; none where there are too many. If it need not be
        `sure`, also those of its e-mail address or coupon without the amount."""
        around = sighting.placed_at or sighting.at
        near = (_S.site == sighting.site, _S.order.is_not(None), _S.loose.is_(False))
        window = _S.around.between(around - WINDOW, around + WINDOW)
        visitor, email, coupon = _evidence_of(sighting)
        rows: set[int] = set()
        async with self._db.read() as connection:
            for is_shared in _shared(visitor, email, coupon, sighting, sure=sure):
                query = select(_S.order).where(*near, window, is_shared).distinct().limit(CANDIDATES + 1)
                rows |= {row[0] for row in await connection.execute(query)}
            if len(rows) > CANDIDATES:
                return ()
            query = select(orders_table).where(orders_table.c.id.in_(rows)).order_by(orders_table.c.id)
            found = (await connection.execute(query)).all()
            return tuple([await known_of(connection, row) for row in await surviving(connection, found)])

    async def order_at(self, row: int) -> Known | None:
        """The order of the ledger's own number, as it is, also one that was merged into another."""
        return await self._order(orders_table.c.id == row)

    async def order_of(self, site: str, numbers: Collection[str]) -> Known | None:
        """The oldest order that was first known by one of these numbers, also one that was merged."""
        own = orders_table.c
        return await self._order(and_(own.site == site, own.order_id.in_(numbers)))

    async def _order(self, condition: ColumnElement[bool]) -> Known | None:
        query = select(orders_table).where(condition).order_by(orders_table.c.id).limit(1)
        async with self._db.read() as connection:
            row = (await connection.execute(query)).first()
            return None if row is None else await known_of(connection, row)

    async def waiting(self, site: str, since: float, limit: int) -> tuple[Stored, ...]:
        """Those that belong to no order yet, from the time `since` on, newest first."""
        query = stored_query().where(*_unplaced(site), _S.at >= since).order_by(_S.id.desc()).limit(limit)
        async with self._db.read() as connection:
            return tuple(stored_of(row) for row in await connection.execute(query))

    async def next_waiting(self, after: int, since: float, limit: int) -> tuple[Stored, ...]:
        """Those of all sites that belong to no order yet, from the time `since` on: the next ones by their
        row, after this one."""
        waits = (_S.order.is_(None), _S.loose.is_(True), _S.id > after)
        query = stored_query().where(*waits, _S.at >= since).order_by(_S.id).limit(limit)
        async with self._db.read() as connection:
            return tuple(stored_of(row) for row in await connection.execute(query))

    async def count(self, site: str, since: float) -> int:
        """How many belong to no order yet, from the time `since` on."""
        query = select(func.count()).where(*_unplaced(site), _S.at >= since)
        async with self._db.read() as connection:
            return int(await connection.scalar(query) or 0)

    async def give_up(self, site: str, since: float, most: int) -> int:
        """Stop looking for the order of those that came before `since`, and of the oldest beyond `most`. They
        stay in the ledger. Returns how many they are."""

        async def work(tx: Connection) -> int:
            newest = select(_S.id).where(*_unplaced(site), _S.at >= since).order_by(_S.id.desc()).limit(most)
            kept = [row[0] for row in await tx.execute(newest)]
            oldest = min(kept, default=None)
            gone = or_(_S.at < since, _S.id < oldest if oldest is not None else _S.at < since)
            ended = update(sightings_table).where(*_unplaced(site), gone).values(loose=False)
            return int((await tx.execute(ended)).rowcount)

        return await self._db.transact(work)


def _twin(sighting: Sighting) -> Any:
    """The same report."""
    around = sighting.placed_at or sighting.at
    query = stored_query().where(
        _S.site == sighting.site,
        _S.key == sighting.key,
        _S.around.between(around - WINDOW, around + WINDOW),
        or_(_S.loose.is_(True), _S.placed.is_not(None)),
    )
    own = [c == v for c, v in zip(_PLAIN, _evidence_of(sighting), strict=True) if v is not None]
    return query.where(*own).limit(1)


def _unplaced(site: str) -> tuple[ColumnElement[bool], ...]:
    return _S.site == site, _S.loose.is_(True), _S.order.is_(None)


def _evidence_of(sighting: Sighting) -> tuple[str | None, str | None, str | None]:
    return sighting.carrier or sighting.visitor, sighting.email_hash, sighting.coupon


def _evidence(seen: Sequence[Sighting]) -> tuple[set[str], ...]:
    every = [_evidence_of(sighting) for sighting in seen]
    return tuple({value for value in column if value is not None} for column in zip(*every, strict=True))


def _shared(
    visitor: str | None, email: str | None, coupon: str | None, sighting: Sighting, *, sure: bool
) -> list[ColumnElement[bool]]:
    """The visitor alone joins; an e-mail address and a coupon do with the amount beside them."""
    found: list[ColumnElement[bool]] = [] if visitor is None else [_S.visitor == visitor]
    if not sure:
        weak = ((_S.email_hash, email), (_S.coupon, coupon))
        return found + [column == value for column, value in weak if value is not None]
    if sighting.total is not None:
        twin: Any = sightings_table.alias()
        total = f"{sighting.total.normalize():f}"
        amount = select(twin.c.id).where(twin.c.order == _S.order, twin.c.total == total).exists()
        found += [
            and_(column == value, amount)
            for column, value in ((_S.email_hash, email), (_S.coupon, coupon))
            if value is not None
        ]
    return found
