"""How people work at the desk: their presence, how many conversations they take, and which."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from sqlalchemy import insert, select, update

from .connection import Connection
from .database import Database
from .desk_log import Done, log
from .roles import ALL_SITES
from .schema import agent_roles, agents, desk_agents

Presence = Literal["available", "away", "leaving"]
"""`away` gets nothing; `leaving`, at the end of a shift, finishes what it has and gets nothing new."""

PRESENCES: Final[tuple[Presence, ...]] = get_args(Presence)
DOING: Final[Mapping[str, str]] = {
    "available": "available",
    "away": "away",
    "leaving": "at the end of the shift",
}
CAPACITY: Final = 50
_DEPARTMENT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_C = desk_agents.c
PERSON = [agents.c.name, agents.c.shown, agents.c.seen_at, _C.presence, _C.capacity]
PERSON += [_C.languages, _C.departments, _C.given_at]


class WorkError(ValueError):
    """An agent cannot work like this; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Colleague:
    """An agent with a desk open: `talks` are the conversations that take a place, `capacity` how many do."""

    name: str
    presence: Presence
    talks: int
    capacity: int
    languages: frozenset[str]
    departments: frozenset[str]
    given_at: float

    @property
    def places(self) -> int:
        """How many more it takes."""
        return max(0, self.capacity - self.talks)

    @property
    def takes(self) -> bool:
        """Whether it gets conversations now."""
        return self.presence == "available" and self.places > 0

    @property
    def doing(self) -> str:
        """The presence in words."""
        return DOING[self.presence]


def colleague_of(row: Any, talks: int, capacity: int) -> Colleague:
    """The colleague in a row of PERSON, at a site where one takes so many conversations."""
    return Colleague(
        row.name,
        row.presence or "available",
        talks,
        row.capacity or capacity,
        frozenset(row.languages or ()),
        frozenset(row.departments or ()),
        row.given_at or 0.0,
    )


@dataclass(frozen=True, slots=True)
class Work:
    """What a person takes: `capacity` is None for as many as the site has."""

    presence: Presence = "available"
    capacity: int | None = None
    languages: Sequence[str] = ()
    departments: Sequence[str] = ()


class DeskAgents:
    """Of all agents. Times in unix seconds."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def of(self, agent: str) -> Work:
        """What an agent takes."""
        query = select(_C.presence, _C.capacity, _C.languages, _C.departments).where(_C.agent == agent)
        async with self._db.read() as connection:
            row = (await connection.execute(query)).first()
        return Work() if row is None else Work(*row)

    async def set_presence(self, agent: str, presence: Presence, now: float) -> bool:
        """Set an agent's presence; whether that is another one than before."""

        async def work(tx: Connection) -> bool:
            await _lock(tx, agent)
            before = await tx.scalar(select(_C.presence).where(_C.agent == agent))
            if (before or "available") == presence:
                return False
            await write(tx, agent, now, presence=presence, since=now)
            await _log(tx, agent, presence, now)
            return True

        return await self._db.transact(work)

    async def set_work(
        self,
        agent: str,
        now: float,
        *,
        capacity: int | None,
        languages: Sequence[str],
        departments: Sequence[str],
    ) -> None:
        """Set how many conversations an agent takes, and which. Raises WorkError."""
        if capacity is not None and not 1 <= capacity <= CAPACITY:
            raise WorkError(f"an agent takes 1 to {CAPACITY} conversations at once, not {capacity}")
        for one in departments:
            if not _DEPARTMENT.fullmatch(one):
                raise WorkError(f"{one[:64]!r} is no department: letters, digits and . _ - are allowed")
        values = {"capacity": capacity, "languages": list(languages), "departments": list(departments)}
        await self._db.transact(lambda tx: write(tx, agent, now, **values))


async def write(tx: Connection, agent: str, now: float, **values: Any) -> None:
    """Write columns of an agent's row."""
    await _lock(tx, agent)
    changed = await tx.execute(update(desk_agents).where(_C.agent == agent).values(**values))
    if changed.rowcount:
        return
    first = {"presence": "available", "since": now, "languages": [], "departments": [], "given_at": 0.0}
    await tx.execute(insert(desk_agents).values(**{"agent": agent, **first, **values}))


async def _lock(tx: Connection, agent: str) -> None:
    await tx.lock(f"desk agent {agent}")


async def begin_shift(tx: Connection, agent: str, now: float) -> None:
    """Who logs in is available again."""
    row = (await tx.execute(select(_C.presence).where(_C.agent == agent))).first()
    if row is not None and row.presence != "available":
        await write(tx, agent, now, presence="available", since=now)
        await _log(tx, agent, "available", now)


async def _log(tx: Connection, agent: str, presence: str, now: float) -> None:
    """A line for each site of the agent; who has all sites has one without a site."""
    rows = (await tx.execute(select(agent_roles.c.site).where(agent_roles.c.agent == agent))).all()
    sites = {row.site for row in rows}
    sites = {ALL_SITES} if ALL_SITES in sites else sites
    await log(tx, *(Done("presence", site, agent=agent, why=presence, at=now) for site in sorted(sites)))
