"""Gives conversations to agents: in turn, by a transfer, or back to all when their agent has gone.

Each is one transaction. Whoever gives conversations to agents holds one lock until it has committed, so that
two workers never fill the same place. An agent's places are counted over all sites.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, bindparam, case, exists, func, or_, select, update

from ...chat.assignment import Crowd, Person, Waiting, Way, assignments
from ...chat.model import Conversation
from .agents import present_now
from .connection import Connection, executing
from .conversations import CONVERSATION, OWN, conversation_of, untaken
from .database import Database
from .desk_agents import PERSON, Colleague, colleague_of, write
from .desk_log import Done, log
from .errors import NoConversationError
from .prepared import Prepared
from .roles import has_role
from .schema import agents, conversations, desk_agents

AT_ONCE: Final = 50
"""Conversations that one transaction gives."""

_C = conversations.c
_WAITING_FOR = Prepared(
    select(_C.site, func.count().label("count"))
    .where(_C.agent == bindparam("agent"), _C.state == "open", OWN, _C.waiting_since.is_not(None))
    .group_by(_C.site)
)
# Who waits is open: without that SQLite would go through all that nobody ever took.
_WAITS = Prepared(select(_C.site).where(untaken(), _C.state == "open").distinct())
_HOLDERS = Prepared(
    select(agents.c.name, agents.c.active, agents.c.seen_at, desk_agents.c.presence, desk_agents.c.left_at)
    .outerjoin(desk_agents, desk_agents.c.agent == agents.c.name)
    .where(exists().where(_C.agent == agents.c.name, _C.state == "open", OWN))
)
# Of those that an agent has answered, one network may have as many as there are.
_NETWORK = case((_C.answered_at.is_(None), _C.client)).label("network")
_LOCK: Final = "assignment"


@dataclass(frozen=True, slots=True)
class Terms:
    """How a site assigns: see `[sites.chat]` in the settings. `idle` and `widen` in seconds; `per_network` is
    for conversations that nobody has answered."""

    way: Way
    capacity: int
    widen: float
    idle: float
    per_network: int


@dataclass(frozen=True, slots=True)
class Assigned:
    """The conversations that were given, how many of those that were looked at wait on, and since when."""

    given: tuple[Conversation, ...] = ()
    left: int = 0
    since: float | None = None


class TransferError(ValueError):
    """A conversation cannot be given to somebody; the text says why and what to do."""


class Assignment:
    """Of all sites. Times in unix seconds."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def waits(self) -> Sequence[str]:
        """The sites at which a conversation waits that nobody has."""
        return [row.site for row in await self._db.query(executing(_WAITS))]

    async def waiting_for(self, agent: str) -> Mapping[str, int]:
        """How many conversations of an agent wait for its answer, by site."""
        rows = await self._db.query(executing(_WAITING_FOR, {"agent": agent}))
        return {row.site: row.count for row in rows}

    async def assign(self, site: str, terms: Terms, now: float) -> Assigned:
        """Give waiting conversations of a site to those who can take them."""
        if terms.way == "free":
            return Assigned()

        async def work(tx: Connection) -> Assigned:
            await tx.lock(_LOCK)
            queue = (
                select(*CONVERSATION, _C.waiting_since, _NETWORK)
                .where(_C.site == site, _C.state == "open", OWN, untaken())
                .where(_C.id.in_(_first_of_each_network(site, terms.per_network)))
                .order_by(_C.waiting_since, _C.id)
                .limit(AT_ONCE)
            )
            rows = (await tx.execute(queue.with_for_update())).all()
            if not rows:
                return Assigned()
            there = [one for one in await _colleagues(tx, site, terms, now) if one.takes]
            people = [
                Person(one.name, one.places, one.languages, one.departments, one.given_at) for one in there
            ]
            waiting = [
                Waiting(row.id, row.language, row.department, row.waiting_since, row.network) for row in rows
            ]
            crowd = Crowd(terms.per_network, await _taken(tx, site, [row.network for row in rows]))
            given = assignments(waiting, people, terms.way, terms.widen, now, crowd)
            found = []
            for place, (talk, agent) in enumerate(given):
                found.append(await _give(tx, talk, now, agent=agent))
                # The order within one transaction counts as well.
                await _given(tx, agent, now + place * 1e-6)
            lines = [Done("assigned", site, one.id, agent=one.agent, at=now) for one in found]
            await log(tx, *lines)
            taken = {one.id for one in found}
            left = [one.since for one in waiting if one.id not in taken]
            return Assigned(tuple(found), len(left), min(left, default=None))

        return await self._db.transact(work)

    async def transfer(
        self,
        site: str,
        conversation: str,
        terms: Terms,
        now: float,
        *,
        by: str,
        agent: str | None = None,
        department: str | None = None,
        note: str = "",
    ) -> Conversation:
        """Give a conversation to an agent, or to a department, whose agents it waits for. Raises
        NoConversationError, and TransferError for somebody who takes nothing now."""

        async def work(tx: Connection) -> Conversation:
            await tx.lock(_LOCK)
            one = select(*CONVERSATION).where(_C.site == site, _C.id == conversation)
            row = (await tx.execute(one.with_for_update())).first()
            if row is None:
                raise NoConversationError(f"site {site!r} has no conversation {conversation!r}")
            before = conversation_of(row)
            if before.state == "closed":
                raise TransferError("the conversation is closed: write in it to open it again")
            if agent is not None and agent == before.agent:
                raise TransferError(f"{agent} has it already")
            if agent is not None:
                await _require_place(tx, site, terms, now, agent)
                await _given(tx, agent, now)
            # Whoever gets it has to do something, also if the visitor was answered before.
            values: dict[str, Any] = {"agent": agent, "waiting_since": func.coalesce(_C.waiting_since, now)}
            if agent is None:
                values["department"] = department
            found = await _give(tx, before.id, now, **values)
            told = {"by": by, "agent": agent, "before": before.agent, "department": department}
            await log(tx, Done("transferred", site, before.id, **told, text=note or None, at=now))
            return found

        return await self._db.transact(work)

    async def release(self, agents_: Collection[str], now: float, why: str) -> tuple[Conversation, ...]:
        """Take the open conversations from agents, so that others have them; those that were taken, at most
        so many at once."""
        mine = (_C.agent.in_(list(agents_)), _C.state == "open", OWN)

        async def work(tx: Connection) -> tuple[Conversation, ...]:
            await tx.lock(_LOCK)
            query = select(*CONVERSATION).where(*mine).order_by(_C.id).limit(AT_ONCE)
            rows = (await tx.execute(query.with_for_update())).all()
            before = [conversation_of(row) for row in rows]
            found = [await _give(tx, one.id, now, agent=None) for one in before]
            lines = [Done("released", one.site, one.id, before=one.agent, why=why, at=now) for one in before]
            await log(tx, *lines)
            return tuple(found)

        return await self._db.transact(work)

    async def gone(self, now: float, seconds: float) -> Mapping[str, str]:
        """The agents who have open conversations, and whose desk is not open: `left`, those who have ended
        their shift or have no access any more; `gone`, those who were not seen for so many seconds."""
        rows = await self._db.query(executing(_HOLDERS))
        found = {}
        for row in rows:
            last = max(row.seen_at or 0.0, row.left_at or 0.0)
            if not row.active or (row.presence == "leaving" and row.seen_at is None):
                found[row.name] = "left"
            elif last and abs(now - last) > seconds:
                found[row.name] = "gone"
        return found

    async def colleagues(self, site: str, terms: Terms, now: float) -> Sequence[Colleague]:
        """The agents of a site who have a desk open, with what they do."""
        async with self._db.read() as connection:
            return await _colleagues(connection, site, terms, now)


async def _colleagues(
    tx: Connection, site: str, terms: Terms, now: float, *more: ColumnElement[bool]
) -> Sequence[Colleague]:
    query = (
        select(*PERSON)
        .select_from(agents.outerjoin(desk_agents, desk_agents.c.agent == agents.c.name))
        .where(present_now(now), agents.c.partner.is_(None), has_role(site), *more)
        .order_by(agents.c.name)
    )
    rows = (await tx.execute(query)).all()
    busy = select(_C.agent, func.count()).where(
        _C.agent.in_([row.name for row in rows]), _C.state == "open", OWN, _takes_a_place(terms, now)
    )
    counts = {row[0]: row[1] for row in await tx.execute(busy.group_by(_C.agent))} if rows else {}
    return [colleague_of(row, counts.get(row.name, 0), terms.capacity) for row in rows]


def _first_of_each_network(site: str, most: int) -> Select[tuple[str]]:
    """The ids of what waits at a site, of each client network the oldest: those behind them cannot be given
    yet, and would keep all others out of what one transaction looks at."""
    place = func.row_number().over(
        partition_by=func.coalesce(_NETWORK, _C.id), order_by=[_C.waiting_since, _C.id]
    )
    waiting = select(_C.id, place.label("place"))
    found = waiting.where(_C.site == site, _C.state == "open", OWN, untaken()).subquery()
    return select(found.c.id).where(found.c.place <= most)


async def _taken(tx: Connection, site: str, networks: Collection[str | None]) -> Mapping[str, int]:
    """How many conversations of these client networks agents have that nobody has answered."""
    query = select(_C.client, func.count()).where(
        _C.site == site,
        _C.state == "open",
        OWN,
        _C.waiting_since.is_not(None),
        _C.agent.is_not(None),
        _C.answered_at.is_(None),
        _C.client.in_(sorted({one for one in networks if one is not None})),
    )
    return {row[0]: row[1] for row in await tx.execute(query.group_by(_C.client))}


def _takes_a_place(terms: Terms, now: float) -> ColumnElement[bool]:
    """A conversation in which nobody has written for a while takes no place; one that waits always does."""
    return or_(_C.waiting_since.is_not(None), _C.updated_at > now - terms.idle)


async def _require_place(tx: Connection, site: str, terms: Terms, now: float, agent: str) -> None:
    found = await _colleagues(tx, site, terms, now, agents.c.name == agent)
    if not found:
        raise TransferError(f"{agent} has no desk open at this site: choose another person, or a department")
    if found[0].presence != "available":
        raise TransferError(f"{agent} is {found[0].doing}: choose another person, or a department")
    if found[0].places < 1:
        raise TransferError(f"{agent} has no place free: choose another person, or a department")


async def _give(tx: Connection, conversation: str, now: float, **values: Any) -> Conversation:
    change = update(conversations).where(_C.id == conversation).values(updated_at=now, **values)
    return conversation_of((await tx.execute(change.returning(*CONVERSATION))).one())


async def _given(tx: Connection, agent: str, now: float) -> None:
    await write(tx, agent, now, given_at=now)
