"""How busy the agents are: conversations that take a place, and the gate of each site, for all processes."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Float,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from ...chat.load import Gate
from .connection import Connection, executing
from .conversations import OWN
from .database import Database
from .desk_log import Done, log
from .prepared import Prepared
from .schema import conversations, load_gates

LEAVING_TALKS = 1000
"""Most visitors that are looked up of agents at the end of their shift."""

_C, _G = conversations.c, load_gates.c
_QUEUED = and_(_C.waiting_since.is_not(None), _C.agent.is_(None))
_ONE: ColumnElement[int] = literal_column("1")
_NONE: ColumnElement[int] = literal_column("0")
# As in `assignment.py`: one in which nobody has written for a while takes no place, one that waits does.
_ACTIVE = Prepared(
    select(
        _C.site,
        _C.agent,
        func.count().label("count"),
        func.sum(case((_QUEUED, _ONE), else_=_NONE)).label("queue"),
        func.min(case((_QUEUED, _C.waiting_since))).label("waiting_since"),
    )
    .where(
        _C.state == "open",
        OWN,
        or_(_C.waiting_since.is_not(None), _C.updated_at > bindparam("since", type_=Float)),
    )
    .group_by(_C.site, _C.agent)
)
_CROWDS = Prepared(
    select(
        _C.site,
        func.count().label("count"),
        func.sum(case((_C.agent.is_(None), _ONE), else_=_NONE)).label("queue"),
    )
    .where(
        _C.state == "open",
        OWN,
        _C.waiting_since.is_not(None),
        _C.answered_at.is_(None),
        _C.client.is_not(None),
    )
    .group_by(_C.site, _C.client)
    .having(func.count() > _ONE)
)
_GATES = Prepared(select(_G.site, _G.busy, _G.since, _G.flips))


@dataclass(frozen=True, slots=True)
class Active:
    """The conversations of a site that take a place: by agent, None for those that nobody has; how many of
    these wait for an agent, and since when the first of them does."""

    by_agent: Mapping[str | None, int]
    queue: int = 0
    waiting_since: float | None = None


NOTHING = Active({})


@dataclass(frozen=True, slots=True)
class Crowded:
    """Of one client network: how many conversations wait for their first answer, and how many of these nobody
    has."""

    waiting: int
    queue: int


class Load:
    """Of all sites. Times in unix seconds."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def active(self, since: float) -> Mapping[str, Active]:
        """The conversations that wait for an answer, or in which somebody wrote after `since`, by site."""
        rows = (await self._db.query(executing(_ACTIVE, {"since": since}))).all()
        counts: defaultdict[str, dict[str | None, int]] = defaultdict(dict)
        queues: dict[str, tuple[int, float | None]] = {}
        for row in rows:
            counts[row.site][row.agent] = int(row.count)
            if row.agent is None:
                queues[row.site] = int(row.queue or 0), row.waiting_since
        return {site: Active(by_agent, *queues.get(site, (0, None))) for site, by_agent in counts.items()}

    async def crowds(self) -> Mapping[str, Sequence[Crowded]]:
        """The client networks of which several conversations wait for a first answer, by site."""
        found: defaultdict[str, list[Crowded]] = defaultdict(list)
        for row in await self._db.query(executing(_CROWDS)):
            found[row.site].append(Crowded(int(row.count), int(row.queue)))
        return found

    async def held_by(self, agents: Collection[str]) -> frozenset[tuple[str, str]]:
        """The sites and visitors of the open conversations that these agents have."""
        if not agents:
            return frozenset()
        query = select(_C.site, _C.visitor).where(_C.agent.in_(sorted(agents)), _C.state == "open", OWN)
        async with self._db.read() as connection:
            rows = await connection.execute(query.order_by(_C.updated_at.desc()).limit(LEAVING_TALKS))
            return frozenset((row.site, row.visitor) for row in rows)

    async def gates(self) -> Mapping[str, Gate]:
        """The gates of the sites whose agents were ever busy."""
        rows = (await self._db.query(executing(_GATES))).all()
        return {row.site: Gate(bool(row.busy), row.since, row.flips) for row in rows}

    async def flip(self, site: str, before: Gate, now: float, told: str) -> Gate | None:
        """Close or open the gate of a site, if it is still as it was; the gate, None if another process has
        changed it. `told` is for the log."""
        gate = Gate(not before.busy, now, before.flips + 1)

        async def work(tx: Connection) -> Gate | None:
            await tx.lock(f"load gate {site}")
            row = (await tx.execute(select(_G.flips).where(_G.site == site))).first()
            if (0 if row is None else row.flips) != before.flips:
                return None
            values = {"busy": gate.busy, "since": gate.since, "flips": gate.flips}
            if row is None:
                await tx.execute(insert(load_gates).values(site=site, **values))
            else:
                await tx.execute(update(load_gates).where(_G.site == site).values(**values))
            await log(tx, Done("load", site, why="busy" if gate.busy else "free", text=told, at=now))
            return gate

        return await self._db.transact(work)
