"""What the ledger knows of an order: its sightings, the decision that holds, its postbacks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, bindparam, select

from ...credit.commission import Commission
from ...credit.decision import Decision, Share
from ...credit.inputs import Inputs
from ...credit.terms import Policy
from ...orders.model import Item
from ...orders.sighting import Sighting
from ...postbacks.model import Postback
from ...referral.touches import Click
from .connection import Connection
from .planned import postback_of
from .prepared import Prepared
from .schema import decisions as decisions_table
from .schema import orders as orders_table
from .schema import placements as placements_table
from .schema import policies as policies_table
from .schema import postbacks as postbacks_table
from .schema import shares as shares_table
from .schema import sightings as sightings_table

_O, _S, _D, _P = orders_table.c, sightings_table.c, decisions_table.c, postbacks_table.c
_M = placements_table.c


@dataclass(frozen=True, slots=True)
class Moved:
    """To the order of which number a person moved a sighting, when and why."""

    at: float
    number: str
    by: str
    why: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A sighting in the ledger. `row` counts them up; `joined_by` is the evidence that joined it. `placed` is
    the order number that a person chose for it. `order` is the ledger's own number of its order; None while
    that is not known. `placements` are what people said of it, oldest first, where they were asked for."""

    row: int
    sighting: Sighting
    joined_by: str | None
    placed: str | None = None
    order: int | None = None
    placements: tuple[Moved, ...] = ()

    @property
    def by_evidence(self) -> bool:
        """Whether it names no number and no person placed it."""
        return not self.sighting.numbers and self.placed is None


def placed_of(stored: Iterable[Stored]) -> dict[str, str]:
    """What people chose, for `join` and `project`."""
    return {s.sighting.key: s.placed for s in stored if s.placed is not None}


@dataclass(frozen=True, slots=True)
class Decided:
    """A credit decision in the ledger. `visitor` is whose touches were weighed."""

    row: int
    order_version: int
    visitor: str | None
    at: float
    policy: Policy
    inputs: Inputs
    decision: Decision


@dataclass(frozen=True, slots=True)
class Known:
    """An order as the ledger holds it. `row` is the ledger's number of it."""

    row: int
    site: str
    number: str
    version: int
    channel: str
    conversation: str | None
    recorded_at: float
    sightings: tuple[Stored, ...]
    decided: Decided | None


async def last_moved(connection: Connection, sighting: int) -> Moved | None:
    """Where a person moved a sighting last; None if none did."""
    query = select(_M.at, _M.number, _M.by, _M.why).where(_M.sighting == sighting).order_by(_M.id.desc())
    found = (await connection.execute(query.limit(1))).first()
    return None if found is None else Moved(*found)


async def surviving(connection: Connection, rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    """The orders that hold: in place of one that was merged, the one that it was merged into."""
    found = {row.id: row for row in rows}
    while gone := [row for row in found.values() if row.merged_into is not None]:
        for row in gone:
            del found[row.id]
        into = {row.merged_into for row in gone} - found.keys()
        if into:
            query = select(orders_table).where(_O.id.in_(into))
            found |= {row.id: row for row in (await connection.execute(query)).all()}
    return [found[key] for key in sorted(found)]


async def known_of(connection: Connection, row: Row[Any]) -> Known:
    """An order from its row, with what belongs to it."""
    seen = _stored(await connection.execute(_SIGHTINGS, {"order": row.id}))
    decided = None
    if row.decision is not None:
        found = (await connection.execute(DECIDED, {"decision": row.decision})).first()
        decided = None if found is None else await decided_of(connection, found)
    return Known(
        row.id,
        row.site,
        row.order_id,
        row.version,
        row.channel,
        row.conversation,
        row.recorded_at,
        tuple(seen),
        decided,
    )


def stored_query() -> Any:
    """What `stored_of` needs."""
    return select(_S.id, _S.said, _S.joined_by, _S.placed, _S.order, _S.key)


def stored_of(row: Row[Any], items: tuple[Item, ...] | None = None) -> Stored:
    """A sighting from its row; `items` are its items if they are known."""
    seen = Sighting.from_json(row.said, row.key, items)
    return Stored(row.id, seen, row.joined_by, row.placed, row.order)


def _stored(rows: Iterable[Row[Any]]) -> list[Stored]:
    """The sightings of an order. Its reports mostly name the same items: these are read once."""
    found: list[Stored] = []
    said, items = None, None
    for row in rows:
        own = row.said.get("items")
        found.append(stored_of(row, items if own is not None and own == said else None))
        if own is not None:
            said, items = own, found[-1].sighting.items
    return found


def decided_query() -> Any:
    """What `decided_of` needs."""
    joined = decisions_table.join(policies_table, policies_table.c.version == _D.policy)
    own = (_D.id, _D.order_version, _D.visitor, _D.at, _D.inputs, _D.reason, _D.considered, _D.compared)
    return select(*own, policies_table.c.policy).select_from(joined)


async def decided_of(connection: Connection, row: Row[Any]) -> Decided:
    """A credit decision from its row."""
    shares = tuple(
        Share(
            s.partner,
            Click(*s.click) if s.click else None,
            s.touched_at,
            Decimal(s.part),
            s.reason,
            None if s.commission is None else _commission(s),
        )
        for s in await connection.execute(_SHARES, {"decision": row.id})
    )
    decision = Decision.of(shares, row.reason, row.considered, row.compared or ())
    policy, inputs = Policy.from_json(row.policy), Inputs.from_json(row.inputs)
    return Decided(row.id, row.order_version, row.visitor, row.at, policy, inputs, decision)


def _commission(row: Row[Any]) -> Commission:
    return Commission(
        Decimal(row.commission),
        row.earned["currency"],
        Decimal(row.operator),
        tuple(row.earned["lines"]),
        row.earned["unpaid"],
        row.earned.get("hold_days"),
    )


async def postbacks_of(connection: Connection, row: int, *, lock: bool = False) -> tuple[Postback, ...]:
    """All postbacks of an order; with `lock` nobody else changes them until the end of the transaction."""
    found = await connection.execute(_LOCKED_POSTBACKS if lock else _POSTBACKS, {"order": row})
    return tuple(postback_of(one) for one in found)


_SIGHTINGS = Prepared(stored_query().where(_S.order == bindparam("order")).order_by(_S.id))
DECIDED = Prepared(decided_query().where(_D.id == bindparam("decision")))
_SHARES = Prepared(
    select(shares_table)
    .where(shares_table.c.decision == bindparam("decision"))
    .order_by(shares_table.c.place)
)
_OF_ORDER = select(postbacks_table).where(_P.order == bindparam("order")).order_by(_P.partner, _P.sequence)
_POSTBACKS, _LOCKED_POSTBACKS = Prepared(_OF_ORDER), Prepared(_OF_ORDER.with_for_update())
