"""Agents in the ledger: passwords, sessions and who has a desk open."""

import asyncio
import hashlib
import re
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import ColumnElement, and_, delete, func, insert, or_, select, update

from .connection import Connection, executing
from .database import Database
from .schema import agent_sessions, agents, partner_sessions

SESSION_SECONDS = 12 * 3600
ONLINE_SECONDS = 30
PASSWORD_LENGTH = (10, 200)
SHOWN_LENGTH = 64
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,63}")

# A hash takes 64 MB for some 0.1 s: two at a time; further logins are refused while 40 wait.
HASHES_AT_ONCE = 2
HASHES_WAITING = 40


P = ParamSpec("P")
T = TypeVar("T")


class AgentError(ValueError):
    """An agent cannot be added or changed like this; the text says why and what to do."""


class BusyError(Exception):
    """Too many passwords are being checked at this moment."""


@dataclass(frozen=True, slots=True)
class Agent:
    """Somebody who answers visitors. `site` is the only site they may see, None for all; `shown` is the name
    that visitors see, None for none; times in seconds. With a `partner` it is the account of that partner of
    the site, which sees the partner's own pages and nothing of the desk."""

    name: str
    site: str | None
    active: bool
    created_at: float
    seen_at: float | None
    shown: str | None = None
    partner: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A login at work. `csrf` has to come with every form; `expires_at` and `seen_at` in unix seconds.

    `site` is the only site that the agent may see, None for all.
    """

    agent: str
    csrf: str
    expires_at: float
    seen_at: float | None
    site: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session was opened, and where alone it is worth anything. `site` is None on the desk's own
    host, which serves all sites; `host` is what `host_key` makes of the Host header."""

    site: str | None
    host: str


class Agents:
    """The agents of all sites."""

    def __init__(self, db: Database, hasher: PasswordHasher | None = None) -> None:
        self._db = db
        # argon2id with the parameters of RFC 9106 §4 for little memory, which are the library's own.
        self._hasher = hasher or PasswordHasher()
        self._slots = asyncio.Semaphore(HASHES_AT_ONCE)
        self._waiting = 0

    # -- who there is

    async def add(
        self,
        name: str,
        password: str,
        *,
        site: str | None,
        now: float,
        shown: str | None = None,
        partner: str | None = None,
    ) -> None:
        """Add an agent, or an account of a `partner` of the site, or bring a removed one back. Raises
        AgentError."""
        if not NAME.fullmatch(name):
            raise AgentError(f"{name!r}: a name is a letter or digit, then up to 63 more or any of . _ - + @")
        if partner is not None and site is None:
            raise AgentError("an account of a partner is for one site: name it")
        shown = _shown(shown)
        hashed = await self._hash(password)
        values = {
            "shown": shown,
            "password": hashed,
            "site": site,
            "partner": partner,
            "active": True,
            "created_at": now,
            "seen_at": None,
        }

        async def work(tx: Connection) -> None:
            await tx.lock("agents")
            found = (await tx.execute(select(agents.c.active).where(agents.c.name == name))).first()
            if found is None:
                await tx.execute(insert(agents).values(name=name, **values))
            elif found.active:
                raise AgentError(f"there is an agent {name!r} already: choose another name, or set-password")
            else:
                await tx.execute(update(agents).where(agents.c.name == name).values(**values))

        await self._db.transact(work)

    async def change_password(self, name: str, password: str) -> None:
        """Set a new password and end all sessions of the agent. Raises AgentError."""
        hashed = await self._hash(password)
        await self._db.transact(lambda tx: _change(tx, name, password=hashed))

    async def rename(self, name: str, shown: str | None) -> None:
        """Set the name that visitors see, also on what was written before. Raises AgentError."""
        shown = _shown(shown)
        await self._db.transact(lambda tx: _update(tx, name, shown=shown))

    async def shown(self, names: Collection[str]) -> Mapping[str, str]:
        """The names that visitors see, by login; without those of agents who have none."""
        columns = select(agents.c.name, agents.c.shown).where(
            agents.c.name.in_(names), agents.c.shown.is_not(None)
        )
        async with self._db.read() as connection:
            rows = (await connection.execute(columns)).all()
        return {row.name: row.shown for row in rows}

    async def deactivate(self, name: str) -> None:
        """Take the agent's access away at once; what they wrote stays under their name. Raises AgentError."""
        await self._db.transact(lambda tx: _change(tx, name, active=False))

    async def everyone(self) -> tuple[Agent, ...]:
        """All agents and partners' accounts, also removed ones, by name."""
        return await self._named()

    async def accounts(self, site: str) -> tuple[Agent, ...]:
        """The accounts of the site's partners, by name."""
        return await self._named(agents.c.site == site, agents.c.partner.is_not(None), agents.c.active)

    async def _named(self, *conditions: ColumnElement[bool]) -> tuple[Agent, ...]:
        names = ("name", "site", "active", "created_at", "seen_at", "shown", "partner")
        query = select(*(agents.c[name] for name in names)).where(*conditions).order_by(agents.c.name)
        async with self._db.read() as connection:
            rows = (await connection.execute(query)).all()
        return tuple(Agent(*row) for row in rows)

    # -- logging in

    async def verify(
        self, name: str, password: str, site: str | None, *, of_partner: bool = False
    ) -> str | None:
        """What is stored of this password, for `start_session`, if it is that of an active agent, of the site
        if there is one; else None. With `of_partner` it is that of a partner's account, for
        `PartnerAccess.log_in`, and never an agent's. Raises BusyError.

        An unknown name costs the same work as a wrong password, so that time does not tell who exists.
        """
        async with self._db.read() as connection:
            row = (
                await connection.execute(
                    select(agents.c.password).where(
                        agents.c.name == name,
                        agents.c.active,
                        agents.c.partner.is_not(None) if of_partner else agents.c.partner.is_(None),
                        *([] if site is None else [or_(agents.c.site.is_(None), agents.c.site == site)]),
                    )
                )
            ).first()
        if row is None:
            await self._work(self._hasher.hash, password)
            return None
        known: str = row.password
        if not await self._work(self._matches, known, password):
            return None
        if self._hasher.check_needs_rehash(known):
            stronger = await self._work(self._hasher.hash, password)
            same = update(agents).where(agents.c.name == name, agents.c.password == known)
            done = await self._db.transact(executing(same.values(password=stronger)))
            return stronger if done.rowcount else None
        return known

    async def knows(self, name: str) -> bool:
        """Whether there is an agent of that name, at whatever site, removed ones included."""
        async with self._db.read() as connection:
            found = await connection.execute(select(agents.c.name).where(agents.c.name == name))
            return found.first() is not None

    async def start_session(self, agent: str, place: Place, now: float, verified: str) -> str | None:
        """Begin a session; the token for the cookie. The ledger keeps only the token's SHA-256.

        `verified` is what `verify` returned. None if the agent was removed, or its password changed, since.
        """
        token = secrets.token_urlsafe(32)
        session = {
            "token": digest_of(token),
            "agent": agent,
            "site": place.site,
            "host": place.host,
            "csrf": secrets.token_urlsafe(32),
            "created_at": now,
            "expires_at": now + SESSION_SECONDS,
        }

        async def work(tx: Connection) -> bool:
            same = (agents.c.name == agent, agents.c.password == verified, agents.c.active)
            # Whoever changes the agent now waits, and then ends this session as well.
            own = select(agents.c.name).where(*same, agents.c.partner.is_(None))
            unchanged = own.with_for_update(read=True)
            if (await tx.execute(unchanged)).first() is None:
                return False
            await tx.execute(delete(agent_sessions).where(agent_sessions.c.expires_at <= now))
            await tx.execute(insert(agent_sessions).values(**session))
            return True

        return token if await self._db.transact(work) else None

    async def session(self, token: str, place: Place, now: float, site: str | None = None) -> Session | None:
        """The session of a token that is valid now and was opened at this very place, of an active agent;
        else None. With a `site`, the agent has to be one of it."""
        valid = (
            select(
                agents.c.name,
                agent_sessions.c.csrf,
                agent_sessions.c.expires_at,
                agents.c.seen_at,
                agents.c.site,
            )
            .join(agents, agents.c.name == agent_sessions.c.agent)
            .where(
                agent_sessions.c.token == digest_of(token),
                agent_sessions.c.expires_at > now,
                agent_sessions.c.site.is_not_distinct_from(place.site),
                agent_sessions.c.host == place.host,
                agents.c.active,
                agents.c.partner.is_(None),
            )
        )
        if (site := site or place.site) is not None:
            valid = valid.where(or_(agents.c.site.is_(None), agents.c.site == site))
        async with self._db.read() as connection:
            row = (await connection.execute(valid)).first()
        return None if row is None else Session(*row)

    async def end_session(self, token: str) -> None:
        """Log out."""
        await self._db.transact(
            executing(delete(agent_sessions).where(agent_sessions.c.token == digest_of(token)))
        )

    # -- presence

    async def seen(self, agent: str, now: float) -> None:
        """Note that the agent's desk is open."""
        await self._db.transact(executing(update(agents).where(agents.c.name == agent).values(seen_at=now)))

    async def left(self, agent: str, at: float) -> None:
        """Note that the agent's last desk is closed, unless it was seen elsewhere after `at`."""
        gone = update(agents).where(agents.c.name == agent, agents.c.seen_at <= at).values(seen_at=None)
        await self._db.transact(executing(gone))

    async def online(self, site: str, now: float) -> int:
        """How many agents of the site, those of all sites included, were seen in the last 30 seconds."""
        theirs = select(func.count()).where(
            _present(now), or_(agents.c.site.is_(None), agents.c.site == site)
        )
        async with self._db.read() as connection:
            return int(await connection.scalar(theirs) or 0)

    async def present(self, now: float) -> Sequence[tuple[str | None, float]]:
        """The site (None: all) of each agent that was seen in the last 30 seconds, and when that was."""
        all_of_them = select(agents.c.site, agents.c.seen_at).where(_present(now))
        async with self._db.read() as connection:
            return [(row[0], row[1]) for row in (await connection.execute(all_of_them)).all()]

    # -- hashing

    async def _hash(self, password: str) -> str:
        least, most = PASSWORD_LENGTH
        if not least <= len(password) <= most:
            raise AgentError(f"a password has {least} to {most} characters, this one has {len(password)}")
        return await self._work(self._hasher.hash, password)

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _work(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._waiting >= HASHES_WAITING:
            raise BusyError("too many logins at this moment: try again in a few seconds")
        self._waiting += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(function, *args, **kwargs)
        finally:
            self._waiting -= 1


def _present(now: float) -> ColumnElement[bool]:
    # After a clock was set back, a time of an hour ahead does not count as present.
    return and_(
        agents.c.active,
        agents.c.seen_at > now - ONLINE_SECONDS,
        agents.c.seen_at < now + ONLINE_SECONDS,
    )


def _shown(shown: str | None) -> str | None:
    text = " ".join((shown or "").split())
    if not text:
        return None
    if len(text) > SHOWN_LENGTH or not text.isprintable():
        raise AgentError(f"a name for visitors has up to {SHOWN_LENGTH} characters, all of them printable")
    return text


async def _change(tx: Connection, name: str, **values: object) -> None:
    """Change what the agent's access hangs on, and end all sessions."""
    await _update(tx, name, **values)
    await tx.execute(delete(agent_sessions).where(agent_sessions.c.agent == name))
    await tx.execute(delete(partner_sessions).where(partner_sessions.c.account == name))


async def _update(tx: Connection, name: str, **values: object) -> None:
    changed = await tx.execute(update(agents).where(agents.c.name == name, agents.c.active).values(**values))
    if not changed.rowcount:
        raise AgentError(f"there is no agent {name!r}: `clew desk users` lists them")


def digest_of(token: str) -> str:
    """What the ledger keeps of a session's token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
