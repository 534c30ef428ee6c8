"""The list of orders for the owner: filtered, newest first, page by page.

A page costs a bounded number of steps, whatever is asked for. Orders come from an index in the order of time,
and at most SEARCHED of them are looked at for a page; where too few of those match, the page ends there, and
says where to go on. What is rare is found by an index of its own: a partner with few orders, held postbacks.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, func, literal_column, or_, select

from ...payouts.account import decimal, worded
from .connection import Connection
from .database import Database
from .schema import commissions, decisions, orders, postbacks, shares

SEARCHED: Final = 20_000
"""Most orders of a site that are looked at for a page."""

RARE: Final = 2_000
"""Up to so many of a kind are taken from an index of their own."""

SECONDS: Final = 5.0
"""Most time of a page."""

NOBODY: Final = "-"
"""The partner of orders that are credited to nobody."""

Place = tuple[float, int]
"""Where an order stands in the list: when it was placed, and its row."""
_O, _S, _P, _C = orders.c, shares.c, postbacks.c, commissions.c
# Of an order, found by the order: by the state SQLite would go through all that are held.
_IS_HELD = func.coalesce(_P.state, "") == "held"


@dataclass(frozen=True, slots=True)
class WantedList:
    """Which orders: all conditions that are not None hold. `since` (inclusive) and `until` (exclusive) are
    for the time when they were placed, in unix seconds. `held`: only those of which a postback is held."""

    partner: str | None = None
    state: str | None = None
    channel: str | None = None
    held: bool = False
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A partner's part of an order, from 0 to 1, and its commission as it stands: decimal text, None without
    terms, in `currency`, which may be another one than the order's (`[sites.net]`). `states` are those of the
    commission for people (`payouts.account.worded`), one for each currency that it had."""

    partner: str
    part: str
    commission: str | None
    currency: str | None = None
    states: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ListedOrder:
    """An order in the list. Amounts are decimal text; `total` and `currency` are None if no report had them.
    `reason` says why it is credited to `parts`, or to nobody; `held` why a postback is held.
    `undone`: an agent recorded it and undid it, which `reason` tells; nothing else reported it."""

    row: int
    site: str
    order_id: str
    spelling: str | None
    state: str
    total: str | None
    currency: str | None
    refunded: str
    channel: str
    placed_at: float
    doubts: tuple[str, ...]
    reason: str
    parts: tuple[Part, ...]
    held: str | None
    undone: bool = False

    @property
    def shown_state(self) -> str:
        """The state for people."""
        return "undone" if self.undone else self.state.replace("_", " ")


@dataclass(frozen=True, slots=True)
class ListPage:
    """Orders, newest first, and the place behind which the next page begins; None after the last. `searched`:
    the page ended because so many orders were looked at, and there may be more that match."""

    orders: tuple[ListedOrder, ...]
    after: Place | None
    searched: bool = False


class Lists:
    """Pages of the list. They only read the ledger."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(
        self, sites: Sequence[str], wanted: WantedList, *, after: Place | None = None, limit: int
    ) -> ListPage:
        """The next orders of these sites behind a place. Raises LedgerError, LedgerBusyError where it takes
        longer than SECONDS."""

        async def work(connection: Connection) -> ListPage:
            found: list[Place] = []
            ends: list[Place] = []
            for site in sites:
                places, end = await _places(connection, site, wanted, after, limit)
                found += places
                ends += [] if end is None else [end]
            # Below the place down to which each site was searched, others may have orders in between.
            floor = max(ends, default=None)
            if floor is not None:
                found = [place for place in found if place >= floor]
            found.sort(reverse=True)
            rest = floor if len(found) <= limit else found[limit - 1]
            listed = await _listed(connection, [row for _, row in found[:limit]])
            return ListPage(listed, rest, searched=rest is not None and len(listed) < limit)

        return await self._db.query(work, SECONDS)

    async def rows(self, rows: Sequence[int]) -> tuple[ListedOrder, ...]:
        """The orders of these rows, newest first."""

        async def work(connection: Connection) -> tuple[ListedOrder, ...]:
            return await _listed(connection, rows)

        return await self._db.query(work, SECONDS)


async def _places(
    connection: Connection, site: str, wanted: WantedList, after: Place | None, limit: int
) -> tuple[list[Place], Place | None]:
    """The places of the next orders of a site, one more than `limit` if there are; and the place down to
    which all that match are among them, None if that is the end."""
    places = select(_O.placed_at, _O.id).where(*_behind(after))
    rare = await _rare(connection, site, wanted)
    if rare is not None:
        # Written and sorted so that no index fits but that of the rows: SQLite would go through all of it.
        own = func.coalesce(_O.site, "") == site
        query = places.where(_O.id.in_(rare), own, *_conditions(site, wanted)[1:])
        rows = await connection.execute(query) if rare else ()
        found = sorted(((row.placed_at, row.id) for row in rows), reverse=True)
        return found[: limit + 1], found[limit] if len(found) > limit else None
    query = places.where(*_conditions(site, wanted))
    newest = (_O.placed_at.desc(), _O.id.desc())
    within = places.where(*_range(site, wanted)).order_by(*newest)
    last = (await connection.execute(within.offset(SEARCHED - 1).limit(1))).first()
    end = None if last is None else (last.placed_at, last.id)
    if end is not None:
        query = query.where(_O.placed_at >= end[0])
    rows = await connection.execute(query.order_by(*newest).limit(limit + 1))
    found = [(row.placed_at, row.id) for row in rows]
    found = [place for place in found if end is None or place >= end]
    return found, found[limit] if len(found) > limit else end


async def _rare(connection: Connection, site: str, wanted: WantedList) -> list[int] | None:
    """The orders of what is rare among that is wanted; None if nothing is."""
    queries: list[Select[Any]] = []
    if wanted.held:
        queries.append(select(_P.order).where(_P.site == site, _P.state == "held"))
    if wanted.partner not in (None, NOBODY):
        queries.append(select(_S.order).where(_S.site == site, _S.partner == wanted.partner))
    for query in queries:
        found = {row[0] for row in await connection.execute(query.limit(RARE + 1))}
        if len(found) <= RARE:
            return sorted(found)
    return None


def _range(site: str, wanted: WantedList) -> list[ColumnElement[bool]]:
    """What an index finds: the site first."""
    found: list[ColumnElement[bool]] = [_O.site == site]
    if wanted.state is not None:
        found.append(_O.state == wanted.state)
    if wanted.since is not None:
        found.append(_O.placed_at >= wanted.since)
    if wanted.until is not None:
        found.append(_O.placed_at < wanted.until)
    return found


def _behind(after: Place | None) -> list[ColumnElement[bool]]:
    if after is None:
        return []
    return [_O.placed_at <= after[0], or_(_O.placed_at < after[0], _O.id < after[1])]


def _conditions(site: str, wanted: WantedList) -> list[ColumnElement[bool]]:
    found = [*_range(site, wanted), _O.merged_into.is_(None)]
    if wanted.channel is not None:
        found.append(_O.channel == wanted.channel)
    # Values, not EXISTS: PostgreSQL would begin with all shares of the partner.
    one: ColumnElement[int] = literal_column("1")
    shared = select(one).where(_S.decision == _O.decision)
    if wanted.partner == NOBODY:
        found.append(shared.limit(1).scalar_subquery().is_(None))
    elif wanted.partner is not None:
        found.append(shared.where(_S.partner == wanted.partner).scalar_subquery() == one)
    if wanted.held:
        own = select(one).where(_P.order == _O.id, _IS_HELD).limit(1)
        found.append(own.scalar_subquery() == one)
    return found


async def _listed(connection: Connection, rows: Sequence[int]) -> tuple[ListedOrder, ...]:
    if not rows:
        return ()
    names = ("site", "order_id", "spelling", "state", "total", "currency", "refunded", "channel", "placed_at")
    query = (
        select(_O.id, _O.decision, _O.doubts, _O.source, *(_O[name] for name in names), decisions.c.reason)
        .outerjoin_from(orders, decisions, decisions.c.id == _O.decision)
        .where(_O.id.in_(rows))
        .order_by(_O.placed_at.desc(), _O.id.desc())
    )
    found = (await connection.execute(query)).all()
    parts: defaultdict[int, list[Part]] = defaultdict(list)
    states: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    earned: dict[tuple[int, str], tuple[str, str]] = {}
    own = select(_C.order, _C.partner, _C.currency, _C.state, _C.amount, _C.waits_until).where(
        _C.order.in_(rows)
    )
    for one in await connection.execute(own.order_by(_C.currency)):
        states[one.order, one.partner].append(worded(one.state, approved=one.waits_until is None))
        # Of several, those of earlier currencies were taken back.
        if one.amount is not None and (one.state != "declined" or (one.order, one.partner) not in earned):
            earned[one.order, one.partner] = f"{decimal(one.amount, one.currency):f}", one.currency
    columns = (_S.decision, _S.order, _S.partner, _S.part)
    decided = [row.decision for row in found if row.decision is not None]
    for share in await connection.execute(
        select(*columns).where(_S.decision.in_(decided)).order_by(_S.decision, _S.place)
    ):
        commission, currency = earned.get((share.order, share.partner), (None, None))
        own_states = tuple(states[share.order, share.partner])
        parts[share.decision].append(Part(share.partner, share.part, commission, currency, own_states))
    held = select(_P.order, _P.why).where(_P.order.in_(rows), _IS_HELD)
    why = {row.order: row.why or "in doubt" for row in await connection.execute(held)}
    return tuple(
        ListedOrder(
            row=row.id,
            **{name: getattr(row, name) for name in names},
            doubts=tuple(doubt["text"] for doubt in row.doubts),
            reason=row.reason or "",
            parts=tuple(parts[row.decision]),
            held=why.get(row.id),
            # Shops and webhooks report a cancellation without an amount too, but no agent does.
            undone=row.state == "cancelled" and row.total is None and row.source == "agent",
        )
        for row in found
    )
