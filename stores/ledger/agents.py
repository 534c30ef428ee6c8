"""Agents in the ledger: passwords, sessions and who has a desk open."""

import asyncio
import hashlib
import re
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple, ParamSpec, TypeVar, get_args

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import ColumnElement, Float, and_, bindparam, delete, func, insert, or_, select, update

from .connection import Connection, executing
from .database import Database, Work
from .desk_agents import begin_shift, write
from .prepared import Prepared
from .roles import ALL_SITES, Role, Roles, first_role, has_role, role_at, roles_of, suffices, write_roles
from .schema import (
    agent_roles,
    agent_sessions,
    agents,
    canned,
    desk_agents,
    desk_links,
    login_steps,
    partner_sessions,
    recovery_codes,
    second_factors,
)

SESSION_SECONDS = 12 * 3600
ONLINE_SECONDS = 30
# Sessions of one agent that are open at once; the oldest ends where there are more.
MOST_SESSIONS = 50
# How often it is written that a session is in use.
SEEN_SECONDS = 60
PASSWORD_LENGTH = (10, 200)
SHOWN_LENGTH = 64
SESSION_ID = 16  # characters of a token's digest that name a session; they open nothing
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,63}")

# A hash takes 64 MB for some 0.1 s: two at a time; further logins are refused while 40 wait.
HASHES_AT_ONCE = 2
HASHES_WAITING = 40


_C = desk_links.c
_S = agent_sessions.c
_SESSION = Prepared(
    select(agents.c.name, _S.csrf, _S.expires_at, agents.c.seen_at, _S.seen_at)
    .add_columns(agent_roles.c.site, agent_roles.c.role, second_factors.c.confirmed_at)
    .add_columns(desk_agents.c.presence, agents.c.prefs)
    .join(agents, agents.c.name == _S.agent)
    .join(agent_roles, agent_roles.c.agent == _S.agent)
    .outerjoin(second_factors, second_factors.c.agent == _S.agent)
    .outerjoin(desk_agents, desk_agents.c.agent == _S.agent)
    .where(
        _S.token == bindparam("token"),
        _S.expires_at > bindparam("now"),
        _S.site.is_not_distinct_from(bindparam("site", type_=_S.site.type)),
        _S.host == bindparam("host"),
        agents.c.active,
        agents.c.partner.is_(None),
    )
)
_PRESENT = Prepared(
    select(agents.c.name, agent_roles.c.site, agents.c.seen_at)
    .add_columns(desk_agents.c.presence, desk_agents.c.capacity, desk_agents.c.departments)
    .join(agent_roles, agent_roles.c.agent == agents.c.name)
    .outerjoin(desk_agents, desk_agents.c.agent == agents.c.name)
    .where(
        agents.c.active,
        agents.c.seen_at > bindparam("after", type_=Float),
        agents.c.seen_at < bindparam("before", type_=Float),
    )
)

P = ParamSpec("P")
T = TypeVar("T")


class AgentError(ValueError):
    """An agent cannot be added or changed like this; the text says why and what to do."""


class BusyError(Exception):
    """Too many passwords are being checked at this moment."""


@dataclass(frozen=True, slots=True)
class Agent:
    """Somebody who works at the desk, with `roles` by site; `shown` is the name that visitors see, None for
    none; times in seconds. With a `partner` it is the account of that partner at `partner_site`, which sees
    the partner's own pages and nothing of the desk."""

    name: str
    active: bool
    created_at: float
    seen_at: float | None
    shown: str | None = None
    partner: str | None = None
    partner_site: str | None = None
    roles: Roles = field(default_factory=dict)

    @property
    def site(self) -> str | None:
        """The only site of the account, None if it has all or several."""
        return self.partner_site or (next(iter(self.roles)) or None if len(self.roles) == 1 else None)


class Present(NamedTuple):
    """An agent with a desk open, at a site or all (None): when it was seen last, its presence, its own
    number of conversations, None for the site's, and its departments."""

    site: str | None
    seen_at: float
    name: str
    presence: str
    capacity: int | None
    departments: tuple[str, ...] = ()


Notify = Literal["off", "mine", "all"]
"""Of which messages a desk tells its agent: of those in its own conversations, or also of who waits."""


@dataclass(frozen=True, slots=True)
class Prefs:
    """How an agent's desk tells it of messages, and whether single letters are keys."""

    notify: Notify = "mine"
    sound: bool = True
    keys: bool = True

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None) -> "Prefs":
        """From what is stored."""
        known = stored or {}
        notify: Notify = next((one for one in get_args(Notify) if one == known.get("notify")), "mine")
        return cls(notify, bool(known.get("sound", True)), bool(known.get("keys", True)))


@dataclass(frozen=True, slots=True)
class Session:
    """A login at work. `csrf` has to come with every form; `expires_at` and `seen_at`, the last sign of the
    agent's open desk, in unix seconds. `roles` are those that the agent has now, by site; `id` names the
    session to people, `used_at` is when it was last written that it is in use. `factor`: the agent has a
    second factor, by which the session began. `presence` is what it takes of conversations."""

    agent: str
    csrf: str
    expires_at: float
    seen_at: float | None
    roles: Roles
    id: str
    used_at: float
    factor: bool = False
    presence: str = "available"
    prefs: Prefs = Prefs()

    def role_at(self, site: str) -> Role | None:
        """The agent's role at a site."""
        return role_at(self.roles, site)


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session as its list shows it. Times in unix seconds."""

    id: str
    site: str | None
    host: str
    device: str
    network: str
    created_at: float
    seen_at: float


@dataclass(frozen=True, slots=True)
class Decider:
    """Who decides about another agent, and whether the roles that it has at that moment suffice: of two
    owners who remove each other at once, one remains."""

    name: str
    may: Callable[[Roles], bool]


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
        role: Role | None = None,
        sites: Collection[str] = (),
        first: Work[None] | None = None,
        back: bool = True,
    ) -> Roles:
        """Add an agent, or an account of a `partner` of the site, or bring a removed one back; the agent's
        roles. That is `role` at all of `sites`, or without them at `site`, None for all. Without a role the
        first person of a ledger is owner, and others are agents. `first` is done in the same transaction, and
        nothing is done if it raises. With `back=False` the name of a removed agent is refused, too: what that
        one wrote stands under it. Raises AgentError."""
        if not NAME.fullmatch(name):
            raise AgentError(f"{name!r}: a name is a letter or digit, then up to 63 more or any of . _ - + @")
        if partner is not None and site is None:
            raise AgentError("an account of a partner is for one site: name it")
        shown = _shown(shown)
        hashed = await self._hash(password)
        values = {
            "shown": shown,
            "password": hashed,
            "site": None if partner is None else site,
            "partner": partner,
            "active": True,
            "created_at": now,
            "seen_at": None,
        }

        async def work(tx: Connection) -> Roles:
            # Before a link is used up: who removes the one who made it has this lock, and ends the link.
            await tx.lock("agents")
            if first is not None:
                await first(tx)
            given: Roles = {}
            if partner is None:
                given = dict.fromkeys(sites or [site or ALL_SITES], role or await first_role(tx))
            found = (await tx.execute(select(agents.c.active).where(agents.c.name == name))).first()
            if found is None:
                await tx.execute(insert(agents).values(name=name, **values))
            elif found.active or not back:
                raise AgentError(f"there is an agent {name!r} already: choose another name, or set-password")
            else:
                await tx.execute(update(agents).where(agents.c.name == name).values(**values))
                await _end_ways_in(tx, name)
            await write_roles(tx, name, given)
            return given

        return await self._db.transact(work)

    async def set_roles(
        self, name: str, change: Callable[[Roles], Roles], *, by: "Decider | None" = None
    ) -> tuple[Roles, Roles]:
        """Give an agent the roles that `change` makes of the present ones; both. They hold for open sessions
        at once. Links to set the agent's password end, because who has one made it for another account; where
        the agent may do less than before, those that it made itself end, too. Raises AgentError, also for an
        agent who would have none: `deactivate` removes one."""

        async def work(tx: Connection) -> tuple[Roles, Roles]:
            await _decided(tx, by)
            await _lock(tx, name)
            before = (await roles_of(tx, [name])).get(name, {})
            after = change(before)
            if not after:
                raise AgentError(f"{name} would have no role at any site: remove the account instead")
            await write_roles(tx, name, after)
            if after != before:
                less = any(not suffices(role_at(after, site), role) for site, role in before.items())
                ended = _C.agent == name if not less else or_(_C.agent == name, _C.by == name)
                await tx.execute(delete(desk_links).where(ended, _C.used_at.is_(None)))
            return before, after

        return await self._db.transact(work)

    async def change_password(self, name: str, password: str, *, first: Work[None] | None = None) -> None:
        """Set a new password and end all sessions of the agent, and links to set one. `first` is done in the
        same transaction, and nothing is done if it raises. Raises AgentError."""
        hashed = await self._hash(password)

        async def work(tx: Connection) -> None:
            await tx.lock("agents")
            if first is not None:
                await first(tx)
            await _change(tx, name, password=hashed)

        await self._db.transact(work)

    async def rename(self, name: str, shown: str | None) -> None:
        """Set the name that visitors see, also on what was written before. Raises AgentError."""
        shown = _shown(shown)
        await self._db.transact(lambda tx: _update(tx, name, shown=shown))

    async def set_prefs(self, name: str, prefs: Prefs) -> None:
        """Set how an agent's desk tells it of messages. Raises AgentError."""
        await self._db.transact(lambda tx: _update(tx, name, prefs=asdict(prefs)))

    async def shown(self, names: Collection[str]) -> Mapping[str, str]:
        """The names that visitors see, by login; without those of agents who have none."""
        columns = select(agents.c.name, agents.c.shown).where(
            agents.c.name.in_(names), agents.c.shown.is_not(None)
        )
        async with self._db.read() as connection:
            rows = (await connection.execute(columns)).all()
        return {row.name: row.shown for row in rows}

    async def deactivate(self, name: str, *, by: "Decider | None" = None) -> None:
        """Take the agent's access away at once, with the links that it made; what they wrote stays under
        their name. Raises AgentError."""

        async def work(tx: Connection) -> None:
            await _decided(tx, by)
            await _change(tx, name, active=False)
            await _end_ways_in(tx, name)
            await tx.execute(delete(desk_links).where(_C.by == name, _C.used_at.is_(None)))

        await self._db.transact(work)

    async def everyone(self) -> tuple[Agent, ...]:
        """All agents and partners' accounts, also removed ones, by name."""
        return await self._named()

    async def accounts(self, site: str) -> tuple[Agent, ...]:
        """The accounts of the site's partners, by name."""
        return await self._named(agents.c.site == site, agents.c.partner.is_not(None), agents.c.active)

    async def people(self, site: str) -> tuple[Agent, ...]:
        """The agents who have a role at the site, by name."""
        return await self._named(has_role(site), agents.c.partner.is_(None), agents.c.active)

    async def find(self, name: str) -> Agent | None:
        """An active agent, no partner's account, by name."""
        found = await self._named(agents.c.name == name, agents.c.partner.is_(None), agents.c.active)
        return found[0] if found else None

    async def _named(self, *conditions: ColumnElement[bool]) -> tuple[Agent, ...]:
        names = ("name", "active", "created_at", "seen_at", "shown", "partner", "site")
        query = select(*(agents.c[name] for name in names)).where(*conditions).order_by(agents.c.name)
        async with self._db.read() as connection:
            rows = (await connection.execute(query)).all()
            roles = await roles_of(connection, select(agents.c.name).where(*conditions))
        return tuple(
            Agent(
                row.name,
                row.active,
                row.created_at,
                row.seen_at,
                row.shown,
                row.partner,
                row.site,
                roles.get(row.name, {}),
            )
            for row in rows
        )

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
                        *(_of_partner(site) if of_partner else (has_role(site),)),
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

    async def start_session(
        self,
        agent: str,
        place: Place,
        now: float,
        verified: str,
        *,
        device: str = "",
        network: str = "",
    ) -> str | None:
        """Begin a session; the token for the cookie. The ledger keeps only the token's SHA-256. `device` and
        `network` tell the agent later which of its sessions this is.

        `verified` is what `verify` returned. None if the agent was removed, or its password changed, since.
        """

        async def work(tx: Connection) -> str | None:
            same = (agents.c.name == agent, agents.c.password == verified, agents.c.active)
            # Whoever changes the agent now waits, and then ends this session as well.
            own = select(agents.c.name).where(*same, agents.c.partner.is_(None))
            if (await tx.execute(own.with_for_update(read=True))).first() is None:
                return None
            return await begin_session(tx, agent, place, now, device=device, network=network)

        return await self._db.transact(work)

    async def session(self, token: str, place: Place, now: float, site: str | None = None) -> Session | None:
        """The session of a token that is valid now and was opened at this very place, of an active agent;
        else None. With a `site`, the agent has to be one of it."""
        digest = digest_of(token)
        given = {"token": digest, "now": now, "site": place.site, "host": place.host}
        rows = (await self._db.query(executing(_SESSION, given), quick=True)).all()
        roles: Roles = {row[5]: row[6] for row in rows}
        at = site or place.site
        if not roles or (at is not None and role_at(roles, at) is None):
            return None
        name, csrf, expires_at, seen_at, used_at, _, _, confirmed, presence, stored = rows[0]
        factor, presence, prefs = confirmed is not None, presence or "available", Prefs.of(stored)
        number = digest[:SESSION_ID]
        return Session(name, csrf, expires_at, seen_at, roles, number, used_at, factor, presence, prefs)

    async def used(self, token: str, now: float, network: str) -> None:
        """Write that a session is in use, and from which network."""
        own = update(agent_sessions).where(agent_sessions.c.token == digest_of(token))
        await self._db.transact(executing(own.values(seen_at=now, network=network)))

    async def sessions(self, agent: str, now: float) -> tuple[OpenSession, ...]:
        """The open sessions of an agent, the one that was used last first."""
        own = agent_sessions.c
        query = select(own.token, own.site, own.host, own.device, own.network, own.created_at, own.seen_at)
        query = query.where(own.agent == agent, own.expires_at > now).order_by(own.seen_at.desc(), own.token)
        async with self._db.read() as connection:
            rows = (await connection.execute(query)).all()
        return tuple(OpenSession(row[0][:SESSION_ID], *row[1:]) for row in rows)

    async def end_sessions(self, agent: str, chosen: str | None = None, *, keep: str | None = None) -> int:
        """End the session of an agent with the id `chosen`, or all but the one with the id `keep`; how
        many. Another agent's are out of reach."""
        own = agent_sessions.c

        async def work(tx: Connection) -> int:
            tokens = (await tx.execute(select(own.token).where(own.agent == agent))).scalars().all()
            ids = {token: token[:SESSION_ID] for token in tokens}
            ended = [token for token, one in ids.items() if one != keep and chosen in (None, one)]
            await tx.execute(delete(agent_sessions).where(own.token.in_(ended)))
            return len(ended)

        return await self._db.transact(work)

    async def end_session(self, token: str) -> None:
        """Log out."""
        await self._db.transact(
            executing(delete(agent_sessions).where(agent_sessions.c.token == digest_of(token)))
        )

    # -- presence

    async def seen(self, agent: str, now: float) -> None:
        """Note that the agent's desk is open."""
        await self.seen_all([agent], now)

    async def seen_all(self, names: Sequence[str], now: float) -> None:
        """Note that the desks of these agents are open."""
        # Locked in one order, whoever else writes of the same ones.
        locked = select(agents.c.name).where(agents.c.name.in_(names)).order_by(agents.c.name)
        theirs = agents.c.name.in_(locked.with_for_update())
        await self._db.transact(executing(update(agents).where(theirs).values(seen_at=now)))

    async def left(self, agent: str, at: float) -> None:
        """Note that the agent's last desk is closed, unless it was seen elsewhere after `at`."""
        gone = update(agents).where(agents.c.name == agent, agents.c.seen_at <= at).values(seen_at=None)

        async def work(tx: Connection) -> None:
            if (await tx.execute(gone)).rowcount:
                await write(tx, agent, at, left_at=at)

        await self._db.transact(work)

    async def online(self, site: str, now: float) -> int:
        """How many agents of the site, those of all sites included, have a desk open and are not away."""
        available = func.coalesce(desk_agents.c.presence, "available") == "available"
        joined = agents.outerjoin(desk_agents, desk_agents.c.agent == agents.c.name)
        theirs = select(func.count()).select_from(joined)
        theirs = theirs.where(present_now(now), has_role(site), available)
        async with self._db.read() as connection:
            return int(await connection.scalar(theirs) or 0)

    async def present(self, now: float) -> Sequence[Present]:
        """Who was seen in the last 30 seconds: a line for each site (None: all) of each agent."""
        given = {"after": now - ONLINE_SECONDS, "before": now + ONLINE_SECONDS}
        rows = (await self._db.query(executing(_PRESENT, given))).all()
        everywhere = {row.name for row in rows if row.site == ALL_SITES}
        return [
            Present(
                row.site or None,
                row.seen_at,
                row.name,
                row.presence or "available",
                row.capacity,
                tuple(row.departments or ()),
            )
            for row in rows
            if row.site == ALL_SITES or row.name not in everywhere
        ]

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


def _of_partner(site: str | None) -> tuple[ColumnElement[bool], ...]:
    return () if site is None else (agents.c.site == site,)


def present_now(now: float) -> ColumnElement[bool]:
    """Whether a row of `agents` is of somebody whose desk is open."""
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


async def begin_session(
    tx: Connection, agent: str, place: Place, now: float, *, device: str, network: str
) -> str:
    """Add a session within a transaction that has made sure that the agent may have one; its token."""
    await begin_shift(tx, agent, now)
    own, token = agent_sessions.c, secrets.token_urlsafe(32)
    await tx.execute(delete(agent_sessions).where(own.expires_at <= now))
    newest = select(own.token).where(own.agent == agent).order_by(own.created_at.desc(), own.token)
    kept = (await tx.execute(newest.limit(MOST_SESSIONS - 1))).scalars().all()
    await tx.execute(delete(agent_sessions).where(own.agent == agent, own.token.not_in(kept)))
    session = {
        "token": digest_of(token),
        "agent": agent,
        "site": place.site,
        "host": place.host,
        "csrf": secrets.token_urlsafe(32),
        "created_at": now,
        "expires_at": now + SESSION_SECONDS,
        "seen_at": now,
        "device": device[:80],
        "network": network[:64],
    }
    await tx.execute(insert(agent_sessions).values(**session))
    return token


async def _lock(tx: Connection, name: str) -> None:
    own = select(agents.c.name).where(agents.c.name == name, agents.c.active, agents.c.partner.is_(None))
    if (await tx.execute(own.with_for_update())).first() is None:
        raise AgentError(f"there is no agent {name!r}: `clew desk users` lists them")


async def _decided(tx: Connection, by: Decider | None) -> None:
    """Raise AgentError if who decides may not do so any more."""
    await tx.lock("agents")
    if by is None:
        return
    own = select(agents.c.name).where(agents.c.name == by.name, agents.c.active)
    roles = (await roles_of(tx, [by.name])).get(by.name, {})
    if (await tx.execute(own)).first() is None or not by.may(roles):
        raise AgentError("your own role was changed meanwhile")


async def _change(tx: Connection, name: str, **values: object) -> None:
    """Change what the agent's access hangs on, and end all sessions."""
    await _update(tx, name, **values)
    await tx.execute(delete(agent_sessions).where(agent_sessions.c.agent == name))
    await tx.execute(delete(login_steps).where(login_steps.c.agent == name))
    await tx.execute(delete(desk_links).where(desk_links.c.agent == name, desk_links.c.used_at.is_(None)))
    await tx.execute(delete(partner_sessions).where(partner_sessions.c.account == name))


async def _end_ways_in(tx: Connection, name: str) -> None:
    """The second factor and the links of an account that was removed are not those of the next one."""
    for table in (recovery_codes, second_factors, login_steps, desk_links, canned):
        await tx.execute(delete(table).where(table.c.agent == name))


async def _update(tx: Connection, name: str, **values: object) -> None:
    changed = await tx.execute(update(agents).where(agents.c.name == name, agents.c.active).values(**values))
    if not changed.rowcount:
        raise AgentError(f"there is no agent {name!r}: `clew desk users` lists them")


def digest_of(token: str) -> str:
    """What the ledger keeps of a session's token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
