"""Lists and counts of a site's conversations."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, and_, bindparam, func, select

from ...chat.model import Crowd, Entry
from ..readings import Readings
from .connection import Connection, executing
from .conversations import CONVERSATION, OWN, conversation_of, message_of, untaken
from .database import Database
from .prepared import Prepared
from .schema import conversations, messages

INBOX_OPEN = 50
INBOX_CLOSED = 20
# More waiting conversations than this from one client network are shown as one line.
CROWD = 5
CROWDS = 20
PREVIEW = 200
# Seconds between two readings of one site's version, which all its streams share: it takes as long as there
# are open conversations, and in PostgreSQL also as many as were changed lately.
VERSION_PAUSE = 0.2


# Answered from the index alone. A sum, not a maximum: clocks of several processes may differ.
_VERSION = Prepared(
    select(
        func.count().label("count"), func.coalesce(func.sum(conversations.c.updated_at), 0.0).label("total")
    ).where(conversations.c.site == bindparam("site"), conversations.c.state == "open", OWN)
)


class Inbox:
    """The lists and counts of all sites. Times are in Unix seconds."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._versions = Readings[str, str](VERSION_PAUSE)

    async def page(
        self,
        site: str,
        number: int = 0,
        client: str | None = None,
        crowds: Sequence[Crowd] | None = None,
    ) -> tuple[Entry, ...]:
        """One page of 50 open conversations: the waiting ones, newest first, then the answered ones.

        Those of crowds are omitted: these are `crowds`, if they were read already. `client` lists the untaken
        ones of one client network instead.
        """
        mine = [conversations.c.site == site, conversations.c.state == "open", OWN]
        async with self._db.read() as connection:
            if client is not None:
                mine += [untaken(), conversations.c.client == client]
            elif crowds := await _crowds(connection, site) if crowds is None else crowds:
                known = conversations.c.client.is_not(None)
                theirs = conversations.c.client.in_([crowd.client for crowd in crowds])
                mine.append(~and_(untaken(), known, theirs))
            listed = (
                entries(*mine)
                .order_by(
                    conversations.c.waiting_since.desc().nulls_last(), conversations.c.updated_at.desc()
                )
                .limit(INBOX_OPEN)
                .offset(number * INBOX_OPEN)
            )
            return tuple(entry_of(row) for row in (await connection.execute(listed)).all())

    async def closed(self, site: str) -> tuple[Entry, ...]:
        """The last 20 closed conversations."""
        listed = (
            entries(conversations.c.site == site, conversations.c.state == "closed", OWN)
            .order_by(conversations.c.updated_at.desc())
            .limit(INBOX_CLOSED)
        )
        async with self._db.read() as connection:
            return tuple(entry_of(row) for row in (await connection.execute(listed)).all())

    async def crowds(self, site: str) -> tuple[Crowd, ...]:
        """Client networks with more than 5 waiting conversations that no agent has taken; newest first, at
        most 20."""
        async with self._db.read() as connection:
            return await _crowds(connection, site)

    async def of_visitor(self, site: str, visitor: str, limit: int = INBOX_CLOSED) -> tuple[Entry, ...]:
        """The visitor's conversations, newest first."""
        listed = (
            entries(conversations.c.site == site, conversations.c.visitor == visitor)
            .order_by(conversations.c.started_at.desc())
            .limit(limit)
        )
        async with self._db.read() as connection:
            return tuple(entry_of(row) for row in (await connection.execute(listed)).all())

    async def of_agent(self, site: str, agent: str, limit: int) -> tuple[tuple[Entry, int], ...]:
        """The open conversations of an agent, the one that began first before the others; each with the
        number of the visitor's messages that no agent has read."""
        mine = {"site": site, "agent": agent, "limit": limit}
        rows = (await self._db.query(executing(_OF_AGENT, mine))).all()
        return tuple((entry_of(row[:-1]), int(row[-1])) for row in rows)

    async def numbers(self, site: str) -> tuple[int, int]:
        """The number of open conversations, and of those that wait for an answer."""
        # COUNT of a column omits NULL.
        both = select(func.count(), func.count(conversations.c.waiting_since)).where(
            conversations.c.site == site, conversations.c.state == "open", OWN
        )
        async with self._db.read() as connection:
            count, waiting = (await connection.execute(both)).one()
        return int(count), int(waiting)

    async def version(self, site: str) -> str:
        """A short text that differs whenever the open conversations of the site do."""
        row = (await self._db.query(executing(_VERSION, {"site": site}))).first()
        return f"{row.count}-{row.total:.6f}"

    async def shared_version(self, site: str) -> str:
        """The same for streams, of which many ask: one reading each `VERSION_PAUSE` seconds serves all."""
        return await self._versions.of(site, lambda: self.version(site))


async def _crowds(connection: Connection, site: str) -> tuple[Crowd, ...]:
    newest = func.max(conversations.c.waiting_since)
    listed = (
        select(conversations.c.client, func.count(), newest)
        .where(
            conversations.c.site == site,
            conversations.c.state == "open",
            OWN,
            untaken(),
            conversations.c.client.is_not(None),
        )
        .group_by(conversations.c.client)
        .having(func.count() > CROWD)
        .order_by(newest.desc())
        .limit(CROWDS)
    )
    return tuple(Crowd(*row) for row in (await connection.execute(listed)).all())


def entries(*where: ColumnElement[bool]) -> Select[Any]:
    """Conversations as lines, each with its newest message."""
    return (
        select(
            *CONVERSATION,
            *(messages.c[name] for name in ("id", "author", "agent")),
            func.substr(messages.c.text, 1, PREVIEW),
            messages.c.at,
            *(conversations.c[name] for name in ("said", "waiting_since", "partner", "page")),
        )
        .select_from(conversations.outerjoin(messages, messages.c.id == conversations.c.last))
        .where(and_(*where))
    )


def entry_of(row: Sequence[Any]) -> Entry:
    """The conversation in a row of `entries`."""
    width = len(CONVERSATION)
    last = row[width:-4]
    return Entry(conversation_of(row[:width]), None if last[0] is None else message_of(last), *row[-4:])


def _of_agent() -> Prepared:
    said, c = messages.alias(), conversations.c
    unread = (
        select(func.count())
        .select_from(said)
        .where(
            said.c.conversation == c.id,
            said.c.id > func.coalesce(c.agent_saw, 0),
            said.c.author == "visitor",
        )
        .correlate(conversations)
        .scalar_subquery()
    )
    own = entries(c.site == bindparam("site"), c.agent == bindparam("agent"), c.state == "open", OWN)
    # Not by an index: for their order SQLite would go through all conversations of the site.
    order = c.started_at + 0.0
    own = own.add_columns(unread.label("unread")).order_by(order)
    return Prepared(own.limit(bindparam("limit", type_=Integer)))


_OF_AGENT = _of_agent()
