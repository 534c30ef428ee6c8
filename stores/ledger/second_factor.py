"""The second factor of agents: the secret of an authenticator, recovery codes, logins that wait for a code.

What a code is, and how the secret is encrypted, is `service/second_factor.py`'s.
"""

import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, delete, func, insert, select, update

from .agents import Place, begin_session, digest_of
from .connection import Connection
from .database import Database
from .roles import has_role
from .schema import agent_sessions, agents, login_steps, recovery_codes, second_factors

STEP_SECONDS: Final = 300
"""How long a login waits for its code."""

TRIES: Final = 10
TRIES_SECONDS: Final = 3600.0
"""Wrong codes of a person in this time, over all processes; then none is taken. Of a million codes three are
right at a time: who knows the password guesses one within a year with a probability of a quarter."""

_WAITING = 5  # logins of a person that wait for a code at once
_F, _R, _S = second_factors.c, recovery_codes.c, login_steps.c

Right = Callable[[str], int | None]
"""Says of an encrypted secret for which step of time a code is right, None for none."""


@dataclass(frozen=True, slots=True)
class Factor:
    """An agent's second factor. `secret` is encrypted; `confirmed_at` is None until a first code was given;
    `codes` is the number of recovery codes that are left."""

    secret: str
    confirmed_at: float | None
    codes: int


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether a code was right; `wait` in seconds if too many were wrong. `recovery`: it was a recovery
    code."""

    right: bool
    wait: float = 0
    recovery: bool = False


class SecondFactors:
    """The second factors of all agents."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find(self, agent: str) -> Factor | None:
        """The agent's second factor, also one that is not confirmed."""
        query = select(_F.secret, _F.confirmed_at).where(_F.agent == agent)
        async with self._db.read() as connection:
            row = (await connection.execute(query)).first()
            left = int(await connection.scalar(select(func.count()).where(_R.agent == agent)) or 0)
        return None if row is None else Factor(row.secret, row.confirmed_at, left)

    async def having(self, names: Collection[str]) -> frozenset[str]:
        """Those of the agents who have a confirmed one."""
        query = select(_F.agent).where(_F.agent.in_(names), _F.confirmed_at.is_not(None))
        async with self._db.read() as connection:
            return frozenset((await connection.execute(query)).scalars())

    async def begin(self, agent: str, secret: str, now: float) -> None:
        """Keep a new secret until a first code confirms it. One that is confirmed stays."""

        async def work(tx: Connection) -> None:
            await tx.execute(delete(second_factors).where(_F.agent == agent, _F.confirmed_at.is_(None)))
            if (await tx.execute(select(_F.agent).where(_F.agent == agent))).first() is None:
                new = {"agent": agent, "secret": secret, "step": 0, "tries": 0, "tries_since": now}
                await tx.execute(insert(second_factors).values(**new))

        await self._db.transact(work)

    async def confirm(
        self, agent: str, now: float, right: Right, codes: Collection[str], keep: str
    ) -> Checked:
        """Confirm the secret by a first code, with the digests of new recovery codes. All of the agent's
        sessions but the one with the id `keep` end: they began without a code."""

        async def work(tx: Connection) -> Checked:
            checked = await _check(tx, agent, now, right, None, confirmed=False)
            if checked.right:
                await tx.execute(update(second_factors).where(_F.agent == agent).values(confirmed_at=now))
                await _write_codes(tx, agent, codes)
                own = agent_sessions.c
                others = delete(agent_sessions).where(own.agent == agent, ~own.token.startswith(keep))
                await tx.execute(others)
                await tx.execute(delete(login_steps).where(_S.agent == agent))
            return checked

        return await self._db.transact(work)

    async def check(self, agent: str, now: float, right: Right, recovery: str) -> Checked:
        """Take a code: it is `right` by the secret, or `recovery` is the digest of a recovery code."""
        return await self._db.transact(lambda tx: _check(tx, agent, now, right, recovery))

    async def renew_codes(self, agent: str, codes: Collection[str]) -> None:
        """Replace all recovery codes by new ones, given as digests."""
        await self._db.transact(lambda tx: _write_codes(tx, agent, codes))

    async def reset(self, agent: str) -> bool:
        """Take the second factor away, and end all sessions of the agent. Whether there was one."""
        return await self._db.transact(lambda tx: drop_factor(tx, agent))

    # -- logins that wait for a code

    async def start_step(self, agent: str, place: Place, now: float, verified: str) -> str | None:
        """Begin to wait for a code after the right password; the token for the cookie. `verified` is what
        `Agents.verify` returned. None if the agent was removed, or its password changed, since."""
        token = secrets.token_urlsafe(32)

        async def work(tx: Connection) -> str | None:
            same = (agents.c.name == agent, agents.c.password == verified, agents.c.active)
            own = select(agents.c.name).where(*same).with_for_update(read=True)
            if (await tx.execute(own)).first() is None:
                return None
            await tx.execute(delete(login_steps).where(_S.expires_at <= now))
            newest = select(_S.token).where(_S.agent == agent).order_by(_S.created_at.desc(), _S.token)
            kept = (await tx.execute(newest.limit(_WAITING - 1))).scalars().all()
            await tx.execute(delete(login_steps).where(_S.agent == agent, _S.token.not_in(kept)))
            step = {"token": digest_of(token), "agent": agent, "site": place.site, "host": place.host}
            times = {"created_at": now, "expires_at": now + STEP_SECONDS}
            await tx.execute(insert(login_steps).values(**step, **times))
            return token

        return await self._db.transact(work)

    async def waiting(self, token: str, place: Place, now: float) -> str | None:
        """The agent whose login waits for a code, at this very place; None if it does not."""
        async with self._db.read() as connection:
            found: str | None = await connection.scalar(select(_S.agent).where(*_of(token, place, now)))
            return found

    async def finish_step(
        self, token: str, place: Place, now: float, *, device: str, network: str
    ) -> str | None:
        """Turn a login whose code was right into a session, once; the token for the cookie. None if it ended,
        or if the agent may not log in here any more."""

        async def work(tx: Connection) -> str | None:
            agent = await tx.scalar(select(_S.agent).where(*_of(token, place, now)))
            if agent is None:
                return None
            gone = await tx.execute(delete(login_steps).where(_S.token == digest_of(token)))
            same = (agents.c.name == agent, agents.c.active, has_role(place.site))
            own = select(agents.c.name).where(*same).with_for_update(read=True)
            if not gone.rowcount or (await tx.execute(own)).first() is None:
                return None
            return await begin_session(tx, agent, place, now, device=device, network=network)

        return await self._db.transact(work)


def _of(token: str, place: Place, now: float) -> tuple[ColumnElement[bool], ...]:
    own = (_S.token == digest_of(token), _S.expires_at > now)
    return (*own, _S.site.is_not_distinct_from(place.site), _S.host == place.host)


async def _check(
    tx: Connection, agent: str, now: float, right: Right, recovery: str | None, *, confirmed: bool = True
) -> Checked:
    query = select(_F.secret, _F.step, _F.tries, _F.tries_since).where(_F.agent == agent)
    is_confirmed = _F.confirmed_at.is_not(None) if confirmed else _F.confirmed_at.is_(None)
    row = (await tx.execute(query.where(is_confirmed).with_for_update())).first()
    if row is None:
        return Checked(right=False)
    # After a clock was set back, a time of an hour ahead does not count.
    fresh = not 0 <= now - row.tries_since < TRIES_SECONDS
    tries, since = (0, now) if fresh else (row.tries, row.tries_since)
    if tries >= TRIES:
        return Checked(right=False, wait=since + TRIES_SECONDS - now)
    own = update(second_factors).where(_F.agent == agent)
    step = right(row.secret)
    if step is not None and step > row.step:
        await tx.execute(own.values(step=step, tries=0))
        return Checked(right=True)
    if recovery is not None:
        used = await tx.execute(delete(recovery_codes).where(_R.agent == agent, _R.code == recovery))
        if used.rowcount:
            await tx.execute(own.values(tries=0))
            return Checked(right=True, recovery=True)
    await tx.execute(own.values(tries=tries + 1, tries_since=since))
    return Checked(right=False)


async def _write_codes(tx: Connection, agent: str, codes: Collection[str]) -> None:
    await tx.execute(delete(recovery_codes).where(_R.agent == agent))
    for code in codes:
        await tx.execute(insert(recovery_codes).values(agent=agent, code=code))


async def drop_factor(tx: Connection, agent: str) -> bool:
    """Delete an agent's second factor, and end its sessions."""
    await tx.execute(delete(recovery_codes).where(_R.agent == agent))
    gone = await tx.execute(delete(second_factors).where(_F.agent == agent))
    await tx.execute(delete(login_steps).where(_S.agent == agent))
    await tx.execute(delete(agent_sessions).where(agent_sessions.c.agent == agent))
    return bool(gone.rowcount)
