"""Links by which a person gets an account of the desk, or sets a new password. Each is good once, and for a
time; the ledger keeps only a digest of what stands in it."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import delete, insert, select, update

from .agents import AgentError, Agents, digest_of
from .connection import Connection
from .database import Database
from .roles import Role
from .schema import agents, desk_links

Kind = Literal["invitation", "password"]
SECONDS: Final[dict[Kind, float]] = {"invitation": 7 * 86400.0, "password": 86400.0}
"""How long each kind of link is good."""

MOST: Final = 200
"""Links of one person that are open at once; its oldest end where there are more."""

NOTE_LENGTH: Final = 100
_C = desk_links.c


@dataclass(frozen=True, slots=True)
class DeskLink:
    """A link that is open. `agent` is whose password it sets; an invitation has `role` and `sites`, of which
    the empty one stands for all. Times in unix seconds."""

    id: str
    kind: Kind
    agent: str | None
    role: Role | None
    sites: Sequence[str]
    note: str
    by: str
    created_at: float
    expires_at: float


class DeskLinks:
    """The links of the desk."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def invite(self, role: Role, sites: Collection[str], now: float, *, by: str, note: str = "") -> str:
        """Make an invitation; what has to stand in the link."""
        return await self._make("invitation", now, by=by, role=role, sites=sorted(sites), note=note)

    async def reset(self, agent: str, now: float, *, by: str) -> str:
        """Make a link by which an agent sets a new password; those made before end. Raises AgentError."""
        return await self._make("password", now, by=by, agent=agent)

    async def _make(self, kind: Kind, now: float, *, by: str, **values: Any) -> str:
        token = secrets.token_urlsafe(32)
        times = {"created_at": now, "expires_at": now + SECONDS[kind]}
        names = {"id": secrets.token_hex(8), "kind": kind, "token": digest_of(token), "by": by[:64]}
        note = "".join(c for c in values.pop("note", "") if c.isprintable())[:NOTE_LENGTH].strip()

        async def work(tx: Connection) -> str:
            await tx.lock("desk_links")
            if (agent := values.get("agent")) is not None:
                theirs = (agents.c.name == agent, agents.c.active, agents.c.partner.is_(None))
                if (await tx.execute(select(agents.c.name).where(*theirs))).first() is None:
                    raise AgentError(f"there is no agent {agent!r}: `clew desk users` lists them")
                await tx.execute(
                    update(desk_links).where(_C.agent == agent, *_is_open(now)).values(revoked_at=now)
                )
            await tx.execute(insert(desk_links).values(**names, **times, **values, note=note))
            own = (_C.by == names["by"], *_is_open(now))
            newest = select(_C.id).where(*own).order_by(_C.created_at.desc(), _C.id).limit(MOST)
            kept = (await tx.execute(newest)).scalars().all()
            await tx.execute(delete(desk_links).where(*own, _C.id.not_in(kept)))
            return token

        return await self._db.transact(work)

    async def open(self, now: float) -> tuple[DeskLink, ...]:
        """The links that are neither used, revoked nor expired, the newest first."""
        query = select(desk_links).where(*_is_open(now)).order_by(_C.created_at.desc(), _C.id)
        async with self._db.read() as connection:
            return tuple(_link(row) for row in (await connection.execute(query)).all())

    async def find(self, token: str, kind: Kind, now: float) -> DeskLink | None:
        """The link with this token, if it is good now."""
        query = select(desk_links).where(_C.token == digest_of(token), _C.kind == kind, *_is_open(now))
        async with self._db.read() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else _link(row)

    async def revoke(self, link: str, now: float) -> bool:
        """End a link by its id; whether it was open."""

        async def work(tx: Connection) -> bool:
            own = update(desk_links).where(_C.id == link, *_is_open(now))
            return bool((await tx.execute(own.values(revoked_at=now))).rowcount)

        return await self._db.transact(work)

    async def accept(
        self, token: str, name: str, password: str, now: float, people: Agents, *, shown: str | None
    ) -> DeskLink | None:
        """Make the account of an invitation, once; None if the link is not good any more. Raises AgentError
        for a name or password that cannot be, BusyError; the link then stays good."""
        used: list[DeskLink] = []

        async def take(tx: Connection) -> None:
            used[:] = [await _take(tx, token, "invitation", now)]

        link = await self.find(token, "invitation", now)
        if link is None or link.role is None:
            return None
        try:
            await people.add(
                name,
                password,
                site=None,
                sites=link.sites,
                role=link.role,
                now=now,
                shown=shown,
                first=take,
                back=False,
            )
        except LinkUsedError:
            return None
        return used[0]

    async def set_password(self, token: str, password: str, now: float, people: Agents) -> str | None:
        """Set the password of a link's agent, once, and end all its sessions; the agent. None if the link is
        not good any more. Raises AgentError, BusyError; the link then stays good."""
        link = await self.find(token, "password", now)
        if link is None or link.agent is None:
            return None

        async def take(tx: Connection) -> None:
            await _take(tx, token, "password", now)

        try:
            await people.change_password(link.agent, password, first=take)
        except LinkUsedError:
            return None
        return link.agent


class LinkUsedError(Exception):
    """A link was used, revoked or expired meanwhile."""


async def _take(tx: Connection, token: str, kind: Kind, now: float) -> DeskLink:
    """Use a link up, within the transaction of what it is for. Raises LinkUsedError."""
    good = (_C.token == digest_of(token), _C.kind == kind, *_is_open(now))
    row = (await tx.execute(update(desk_links).where(*good).values(used_at=now).returning(*_C))).first()
    if row is None:
        raise LinkUsedError
    return _link(row)


def _is_open(now: float) -> tuple[Any, ...]:
    return _C.used_at.is_(None), _C.revoked_at.is_(None), _C.expires_at > now


def _link(row: Any) -> DeskLink:
    ends = (row.note, row.by, row.created_at, row.expires_at)
    return DeskLink(row.id, row.kind, row.agent, row.role, row.sites or (), *ends)
