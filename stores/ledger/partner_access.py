"""Who may open a partner's pages: the generation of its links, and its sessions.

They are apart from the agents' sessions, so that no partner's token is ever found where an agent's is looked
for, nor the other way round.
"""

import secrets
from dataclasses import dataclass

from sqlalchemy import and_, delete, insert, or_, select, update

from .agents import SESSION_SECONDS, digest_of
from .connection import Connection, executing
from .database import Database
from .schema import agents, partner_links, partner_sessions

# Sessions of one partner at one site that are open at once; the oldest ends where there are more.
MOST = 50
_C, _L = partner_sessions.c, partner_links.c


@dataclass(frozen=True, slots=True)
class PartnerSession:
    """A partner's login. `account` is the name it logged in with, None if it came by a link. `csrf` has to
    come with every form; `expires_at` in unix seconds."""

    partner: str
    account: str | None
    csrf: str
    expires_at: float


class PartnerAccess:
    """The links and sessions of all partners."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def generation(self, site: str, partner: str) -> int:
        """The generation of the links that are valid now."""
        query = select(_L.generation).where(_L.site == site, _L.partner == partner)
        async with self._db.read() as connection:
            return int(await connection.scalar(query) or 0)

    async def revoke(self, site: str, partner: str, now: float, *, by: str) -> int:
        """End all links to the partner's pages, and the sessions that began with one; the new generation."""
        own = (_L.site == site, _L.partner == partner)

        async def work(tx: Connection) -> int:
            await tx.lock("partner_links")
            found = await tx.scalar(select(_L.generation).where(*own))
            changed = {"generation": (found or 0) + 1, "by": by[:64], "at": now}
            if found is None:
                await tx.execute(insert(partner_links).values(site=site, partner=partner, **changed))
            else:
                await tx.execute(update(partner_links).where(*own).values(**changed))
            by_link = (_C.site == site, _C.partner == partner, _C.account.is_(None))
            await tx.execute(delete(partner_sessions).where(*by_link))
            return int(changed["generation"])

        return await self._db.transact(work)

    async def enter(
        self, site: str, partner: str, host: str, now: float, *, generation: int, until: float
    ) -> str | None:
        """Begin a session by a link that is valid until `until`; the token for the cookie. None if the link's
        generation was revoked."""

        async def work(tx: Connection) -> str | None:
            own = select(_L.generation).where(_L.site == site, _L.partner == partner)
            # Whoever revokes it now waits, and then ends this session as well.
            if int(await tx.scalar(own.with_for_update(read=True)) or 0) != generation:
                return None
            ends = min(now + SESSION_SECONDS, until)
            return await _begin(tx, site, partner, host, now, ends, generation=generation)

        return await self._db.transact(work)

    async def log_in(self, name: str, site: str, host: str, now: float, verified: str) -> str | None:
        """Begin a session of an account; `verified` is what `Agents.verify` returned. None if the account was
        removed, or its password changed, since."""

        async def work(tx: Connection) -> str | None:
            same = (
                agents.c.name == name,
                agents.c.site == site,
                agents.c.password == verified,
                agents.c.active,
            )
            partner = await tx.scalar(select(agents.c.partner).where(*same).with_for_update(read=True))
            if partner is None:
                return None
            return await _begin(tx, site, partner, host, now, now + SESSION_SECONDS, account=name)

        return await self._db.transact(work)

    async def session(self, token: str, site: str, host: str, now: float) -> PartnerSession | None:
        """The session of a token that is valid now and was opened at this site and host; else None."""
        own = (_L.site == _C.site, _L.partner == _C.partner)
        of_account = and_(
            agents.c.active,
            agents.c.partner == _C.partner,
            agents.c.site == _C.site,
            agents.c.name.is_not(None),
        )
        of_link = _C.account.is_(None) & (
            (_L.generation == _C.generation) | (_L.generation.is_(None) & (_C.generation == 0))
        )
        query = (
            select(_C.partner, _C.account, _C.csrf, _C.expires_at)
            .outerjoin(partner_links, and_(*own))
            .outerjoin(agents, agents.c.name == _C.account)
            .where(_C.token == digest_of(token), _C.site == site, _C.host == host, _C.expires_at > now)
            .where(or_(of_link, of_account))
        )
        async with self._db.read() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else PartnerSession(*row)

    async def leave(self, token: str) -> None:
        """Log out."""
        gone = delete(partner_sessions).where(_C.token == digest_of(token))
        await self._db.transact(executing(gone))


async def _begin(
    tx: Connection,
    site: str,
    partner: str,
    host: str,
    now: float,
    until: float,
    *,
    account: str | None = None,
    generation: int | None = None,
) -> str:
    token = secrets.token_urlsafe(32)
    own = (_C.site == site, _C.partner == partner)
    await tx.execute(delete(partner_sessions).where(*own, _C.expires_at <= now))
    kept = select(_C.token).where(*own).order_by(_C.created_at.desc(), _C.token).limit(MOST - 1)
    await tx.execute(delete(partner_sessions).where(*own, _C.token.not_in(kept)))
    session = {
        "token": digest_of(token),
        "site": site,
        "partner": partner,
        "host": host,
        "account": account,
        "generation": generation,
        "csrf": secrets.token_urlsafe(32),
        "created_at": now,
        "expires_at": until,
    }
    await tx.execute(insert(partner_sessions).values(**session))
    return token
