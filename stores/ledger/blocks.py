"""Visitors who may not write for a time, and client networks from which nobody may."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import bindparam, delete, func, insert, or_, select, update

from ...chat.model import Conversation
from .connection import Connection
from .database import Database
from .desk_log import Done, log, require_talk
from .prepared import Prepared
from .schema import blocks, conversations

MOST: Final = 1000
"""Blocks of a site that hold at once."""

_C = blocks.c
_COLUMNS = [_C.id, _C.visitor, _C.client, _C.conversation, _C.by, _C.why, _C.at, _C.until]
_UNTIL = Prepared(
    select(func.max(_C.until).label("until")).where(
        _C.site == bindparam("site"),
        _C.visitor == bindparam("visitor"),
        _C.until > bindparam("now"),
        _C.lifted_at.is_(None),
    )
)
_UNTIL_CLIENT = Prepared(
    select(func.max(_C.until).label("until")).where(
        _C.site == bindparam("site"),
        _C.client == bindparam("client"),
        _C.until > bindparam("now"),
        _C.lifted_at.is_(None),
    )
)
_CLIENT: Final = select(conversations.c.client)


async def blocked(
    connection: Connection, site: str, visitor: str, client: str | None, now: float
) -> float | None:
    """See `Blocks.until`."""
    given = {"site": site, "visitor": visitor, "client": client, "now": now}
    found = [(await connection.execute(_UNTIL, given)).scalar()]
    if client is not None:
        found.append((await connection.execute(_UNTIL_CLIENT, given)).scalar())
    return max((one for one in found if one is not None), default=None)


class BlocksFullError(Exception):
    """The site has as many blocks as it may have."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block that holds until `until`, by an agent. With a `client` it holds for the client network, too.
    Times in unix seconds."""

    id: int
    visitor: str
    client: str | None
    conversation: str | None
    by: str
    why: str
    at: float
    until: float


class Blocks:
    """The blocks of all sites."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def until(self, site: str, visitor: str, client: str | None, now: float) -> float | None:
        """Until when the visitor, or who writes from its client network, may not write; None: it may."""
        asked = partial(blocked, site=site, visitor=visitor, client=client, now=now)
        return await self._db.query(asked, quick=True)

    async def add(
        self,
        site: str,
        visitor: str,
        *,
        network: bool,
        conversation: str,
        by: str,
        why: str,
        now: float,
        until: float,
    ) -> str | None:
        """Block a visitor; with `network`, all of the client network of the conversation's last message,
        which is returned. Raises BlocksFullError and NoConversationError."""
        row = {
            "site": site,
            "visitor": visitor,
            "conversation": conversation,
            "by": by,
            "why": why,
            "at": now,
            "until": until,
        }

        async def work(tx: Connection) -> str | None:
            await require_talk(tx, site, conversation)
            await tx.lock(f"blocks {site}")
            holding = select(func.count()).where(_C.site == site, _C.until > now, _C.lifted_at.is_(None))
            if int(await tx.scalar(holding)) >= MOST:
                raise BlocksFullError
            of_talk = select(conversations.c.client).where(conversations.c.id == conversation)
            client: str | None = await tx.scalar(of_talk) if network else None
            await tx.execute(insert(blocks).values(**row, client=client))
            await log(tx, Done("blocked", site, conversation, by=by, at=now))
            return client

        return await self._db.transact(work)

    async def of_talk(self, found: Conversation, now: float) -> tuple[float | None, float | None]:
        """Until when the visitor of a conversation is blocked, and until when the client network of its last
        message; None: it is not."""
        given = {"site": found.site, "visitor": found.visitor, "now": now}

        async def work(connection: Connection) -> tuple[float | None, float | None]:
            client = await connection.scalar(_CLIENT.where(conversations.c.id == found.id))
            own = (await connection.execute(_UNTIL, given)).scalar()
            return own, (await connection.execute(_UNTIL_CLIENT, given | {"client": client})).scalar()

        return await self._db.query(work)

    async def holding(self, site: str, now: float) -> Sequence[Block]:
        """The blocks that hold now, newest first."""
        holding = select(*_COLUMNS).where(_C.site == site, _C.until > now, _C.lifted_at.is_(None))
        async with self._db.read() as connection:
            rows = (await connection.execute(holding.order_by(_C.id.desc()).limit(MOST))).all()
        return [Block(*row) for row in rows]

    async def lift(self, site: str, number: int, *, by: str, now: float) -> Block | None:
        """End a block; None if it does not hold."""
        which = (_C.site == site, _C.id == number, _C.until > now, _C.lifted_at.is_(None))
        ended = update(blocks).where(*which).values(lifted_by=by, lifted_at=now).returning(*_COLUMNS)

        async def work(tx: Connection) -> Block | None:
            row = (await tx.execute(ended)).first()
            if row is None:
                return None
            # Its conversation may be gone: the visitor can have it deleted.
            talk = select(conversations.c.id).where(conversations.c.id == row.conversation)
            if (await tx.execute(talk.with_for_update())).first() is not None:
                await log(tx, Done("unblocked", site, row.conversation, by=by, at=now))
            return Block(*row)

        return await self._db.transact(work)


async def forget_blocked(tx: Connection, site: str, visitors: Sequence[str], *, dry: bool) -> Sequence[int]:
    """Delete the blocks of visitors who are forgotten; what holds for a client network stays without them.
    The rows."""
    which = (_C.site == site, _C.visitor.in_(list(visitors)))
    ids = [row[0] for row in await tx.execute(select(_C.id).where(*which))]
    if ids and not dry:
        await tx.execute(delete(blocks).where(*which, _C.client.is_(None)))
        await tx.execute(update(blocks).where(*which).values(visitor="", conversation=None, why=""))
    return ids


async def delete_ended(tx: Connection, before: float, limit: int) -> int:
    """Delete blocks that ended before a time; how many, at most `limit`."""
    old = or_(_C.until < before, _C.lifted_at < before)
    ids = [row[0] for row in await tx.execute(select(_C.id).where(old).limit(limit))]
    await tx.execute(delete(blocks).where(_C.id.in_(ids)))
    return len(ids)
