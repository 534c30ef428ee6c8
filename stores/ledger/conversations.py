"""Conversations in the ledger. Every question is bound to a site: an id of another site finds nothing."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ...chat.model import Added, Author, Conversation, Crowd, Entry, Message, Sender
from ...referral.visitor import Talk
from .database import Database
from .schema import conversations, messages

# A visitor who writes again within a day goes on with the same conversation; later a new one begins, so
# that a talk started by one rule is not counted for the invite of another, weeks later.
REOPEN_SECONDS = 24 * 3600
PAGE = 500
INBOX_OPEN = 50
INBOX_CLOSED = 20
# More waiting conversations than this from one client network are shown as one line.
CROWD = 5
CROWDS = 20
CLOSED_AT_ONCE = 500
PREVIEW = 200
ANSWERS = 50  # unread ones that are told apart

_CONVERSATION = [
    conversations.c[name]
    for name in ("id", "site", "visitor", "language", "rule", "state", "agent", "started_at", "updated_at")
]
_MESSAGE = [messages.c[name] for name in ("id", "author", "agent", "text", "at")]


NOBODY = Sender()
Note = Callable[[Conversation], str | None]


class NoConversationError(LookupError):
    """The site has no conversation of this id."""


class Conversations:
    """The conversations of all sites. Times in unix seconds."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # -- the visitor's side

    async def open_for(self, site: str, visitor: str) -> Conversation | None:
        """The visitor's open conversation, or None."""
        async with self._db.read() as connection:
            found = await _latest(connection, site, visitor)
        return found if found is not None and found.state == "open" else None

    async def talk(self, site: str, visitor: str) -> Talk:
        """What the visitor's own record says of its newest conversation."""
        async with self._db.read() as connection:
            found = await _latest(connection, site, visitor)
            if found is None:
                return Talk()
            newest = (
                select(messages.c.id, messages.c.author)
                .where(messages.c.conversation == found.id)
                .order_by(messages.c.id.desc())
                .limit(ANSWERS)
            )
            rows = (await connection.execute(newest)).all()
        since = list(takewhile(lambda row: row.author != "visitor", rows))
        answers = tuple(row.id for row in reversed(since) if row.author == "agent")
        return Talk(rows[0].id if rows else 0, found.state == "open", answers)

    async def visitor_messages(
        self, site: str, visitor: str, after: int = 0
    ) -> tuple[Conversation | None, tuple[Message, ...]]:
        """The visitor's newest conversation, open or closed, and the next messages of it (at most 500)."""
        async with self._db.read() as connection:
            found = await _latest(connection, site, visitor)
            if found is None:
                return None, ()
            return found, await _messages(connection, found, after, PAGE)

    async def add_visitor_message(
        self,
        site: str,
        visitor: str,
        text: str,
        *,
        client_id: str,
        language: str,
        rule: str | None,
        now: float,
        sender: Sender = NOBODY,
        opening: Callable[[], None] = lambda: None,
    ) -> Added:
        """Write a visitor's message into its conversation, which is opened or reopened if it has to be.

        A `client_id` that this visitor has sent before adds nothing and returns the first message. `opening`
        is called before a new conversation is made; if it raises, nothing is written.
        """
        async with self._db.write() as tx:
            repeat = (
                await tx.execute(
                    select(messages.c.conversation, *_MESSAGE)
                    .join(conversations, conversations.c.id == messages.c.conversation)
                    .where(
                        conversations.c.site == site,
                        conversations.c.visitor == visitor,
                        messages.c.client_id == client_id,
                    )
                )
            ).first()
            if repeat is not None:
                return Added(await _found(tx, site, repeat.conversation), _message(repeat[1:]), created=False)
            found = await _latest(tx, site, visitor)
            opened = found is None or found.state == "closed"
            if found is None or (opened and now - found.updated_at > REOPEN_SECONDS):
                opening()
                found = Conversation(_new_id(), site, visitor, language, rule, "open", None, now, now)
                row = {c.name: getattr(found, c.name) for c in _CONVERSATION}
                await tx.execute(insert(conversations).values(**row, said=0))
            message = await _add(tx, found, "visitor", None, text, client_id, now)
            found = await _touch(
                tx,
                found,
                now,
                state="open",
                waiting_since=func.coalesce(conversations.c.waiting_since, now),
                said=conversations.c.said + 1,
                last=message.id,
                partner=sender.partner,
                page=sender.page,
                client=sender.client,
            )
        return Added(found, message, created=True, opened=opened)

    async def visitor_talked(self, site: str, visitor: str, since: float, until: float) -> str | None:
        """The conversation in which the visitor last wrote in [since, until), or None."""
        said = (
            select(messages.c.conversation)
            .join(conversations, conversations.c.id == messages.c.conversation)
            .where(
                conversations.c.site == site,
                conversations.c.visitor == visitor,
                messages.c.author == "visitor",
                messages.c.at >= since,
                messages.c.at < until,
            )
            .order_by(messages.c.id.desc())
            .limit(1)
        )
        async with self._db.read() as connection:
            return await connection.scalar(said)

    # -- the agent's side

    async def get(self, site: str, conversation: str) -> Conversation | None:
        """One conversation of the site, or None."""
        async with self._db.read() as connection:
            return await _get(connection, site, conversation)

    async def messages(
        self, conversation: Conversation, after: int = 0, *, limit: int = PAGE
    ) -> tuple[Message, ...]:
        """The messages after an id, oldest first, at most `limit`."""
        async with self._db.read() as connection:
            return await _messages(connection, conversation, after, limit)

    async def newest(self, conversation: Conversation, limit: int = PAGE) -> tuple[Message, ...]:
        """The last `limit` messages, oldest first."""
        last = (
            select(*_MESSAGE)
            .where(messages.c.conversation == conversation.id)
            .order_by(messages.c.id.desc())
            .limit(limit)
        )
        async with self._db.read() as connection:
            rows = (await connection.execute(last)).all()
        return tuple(_message(row) for row in reversed(rows))

    async def add_agent_message(
        self, site: str, conversation: str, text: str, *, agent: str, client_id: str | None, now: float
    ) -> Added:
        """Write an agent's answer. Who answers has the conversation, and a closed one is open again.

        Raises NoConversationError. A repeated `client_id` adds nothing and returns the first message.
        """
        async with self._db.write() as tx:
            found = await _found(tx, site, conversation)
            if (repeat := await _sent(tx, found, client_id)) is not None:
                return Added(found, repeat, created=False)
            message = await _add(tx, found, "agent", agent, text, client_id, now)
            opened = found.state == "closed"
            found = await _touch(
                tx,
                found,
                now,
                state="open",
                agent=agent,
                waiting_since=None,
                said=conversations.c.said + 1,
                last=message.id,
            )
        return Added(found, message, created=True, opened=opened)

    async def claim(self, site: str, conversation: str, agent: str, now: float) -> Conversation:
        """Give the conversation to an agent, whoever had it before. Raises NoConversationError."""
        async with self._db.write() as tx:
            return await _touch(tx, await _found(tx, site, conversation), now, agent=agent)

    async def close(
        self, site: str, conversation: str, now: float, note: Note = lambda found: None
    ) -> Conversation:
        """Close it; the next message opens it again. Raises NoConversationError.

        `note` gives the system's word on that, which both sides read; it is written once.
        """
        async with self._db.write() as tx:
            found = await _found(tx, site, conversation)
            return found if found.state == "closed" else await _close(tx, found, now, note)

    async def close_many(
        self,
        site: str,
        now: float,
        *,
        ids: Sequence[str] = (),
        client: str | None = None,
        note: Note = lambda found: None,
    ) -> tuple[Conversation, ...]:
        """Close the open ones of `ids`, and all of a client network that nobody has taken or answered.

        At most 500 at once; those that were closed.
        """
        wanted = or_(
            conversations.c.id.in_(ids[:CLOSED_AT_ONCE]),
            and_(_untaken(), conversations.c.client == client) if client else false(),
        )
        found = (
            select(*_CONVERSATION)
            .where(conversations.c.site == site, conversations.c.state == "open", wanted)
            .limit(CLOSED_AT_ONCE)
        )
        async with self._db.write() as tx:
            rows = (await tx.execute(found)).all()
            return tuple([await _close(tx, _conversation(row), now, note) for row in rows])

    async def inbox(self, site: str, page: int = 0, client: str | None = None) -> tuple[Entry, ...]:
        """A page of 50 open conversations: those that wait, the newest first, then the answered ones.

        The crowds' are left out; `client` lists the untaken ones of one client network instead.
        """
        mine = [conversations.c.site == site, conversations.c.state == "open"]
        async with self._db.read() as connection:
            if client is not None:
                mine += [_untaken(), conversations.c.client == client]
            elif crowds := [crowd.client for crowd in await _crowds(connection, site)]:
                theirs = and_(conversations.c.client.is_not(None), conversations.c.client.in_(crowds))
                mine.append(~and_(_untaken(), theirs))
            listed = (
                _entries(*mine)
                .order_by(
                    conversations.c.waiting_since.desc().nulls_last(), conversations.c.updated_at.desc()
                )
                .limit(INBOX_OPEN)
                .offset(page * INBOX_OPEN)
            )
            return tuple(_entry(row) for row in (await connection.execute(listed)).all())

    async def closed(self, site: str) -> tuple[Entry, ...]:
        """The last 20 that were closed."""
        listed = (
            _entries(conversations.c.site == site, conversations.c.state == "closed")
            .order_by(conversations.c.updated_at.desc())
            .limit(INBOX_CLOSED)
        )
        async with self._db.read() as connection:
            return tuple(_entry(row) for row in (await connection.execute(listed)).all())

    async def crowds(self, site: str) -> tuple[Crowd, ...]:
        """Client networks with more than 5 waiting conversations that nobody has taken; the
        newest first, at most 20."""
        async with self._db.read() as connection:
            return await _crowds(connection, site)

    async def of_visitor(self, site: str, visitor: str, limit: int = INBOX_CLOSED) -> tuple[Entry, ...]:
        """The visitor's conversations, newest first."""
        listed = (
            _entries(conversations.c.site == site, conversations.c.visitor == visitor)
            .order_by(conversations.c.started_at.desc())
            .limit(limit)
        )
        async with self._db.read() as connection:
            return tuple(_entry(row) for row in (await connection.execute(listed)).all())

    async def counts(self, site: str) -> Mapping[str | None, int]:
        """Open conversations by the agent who has them; None for those that nobody has."""
        grouped = (
            select(conversations.c.agent, func.count())
            .where(conversations.c.site == site, conversations.c.state == "open")
            .group_by(conversations.c.agent)
        )
        async with self._db.read() as connection:
            return {row[0]: row[1] for row in (await connection.execute(grouped)).all()}

    async def open_by_site(self) -> Mapping[str, int]:
        """How many conversations are open at each site that has any."""
        grouped = (
            select(conversations.c.site, func.count())
            .where(conversations.c.state == "open")
            .group_by(conversations.c.site)
        )
        async with self._db.read() as connection:
            return {row[0]: row[1] for row in (await connection.execute(grouped)).all()}

    async def last_message(self) -> int:
        """The id of the newest message of all sites."""
        async with self._db.read() as connection:
            return int(await connection.scalar(select(func.coalesce(func.max(messages.c.id), 0))) or 0)

    async def written_after(self, message: int) -> tuple[int, Sequence[tuple[str, str]]]:
        """The site and the visitor of each conversation in which something was written after a message, of
        the next 500 messages; and the id of the last of these."""
        later = (
            select(messages.c.id, conversations.c.site, conversations.c.visitor)
            .join(conversations, conversations.c.id == messages.c.conversation)
            .where(messages.c.id > message)
            .order_by(messages.c.id)
            .limit(PAGE)
        )
        async with self._db.read() as connection:
            rows = (await connection.execute(later)).all()
        return (rows[-1].id if rows else message), list(dict.fromkeys((r.site, r.visitor) for r in rows))

    async def numbers(self, site: str) -> tuple[int, int]:
        """How many conversations are open, and how many of them wait for an answer."""
        # COUNT of a column leaves out NULL.
        both = select(func.count(), func.count(conversations.c.waiting_since)).where(
            conversations.c.site == site, conversations.c.state == "open"
        )
        async with self._db.read() as connection:
            count, waiting = (await connection.execute(both)).one()
        return int(count), int(waiting)

    async def version(self, site: str) -> str:
        """A short text that differs whenever the open conversations of the site do."""
        # Answered from the index alone. A sum, not a maximum: clocks of several processes may differ.
        drawn = select(func.count(), func.coalesce(func.sum(conversations.c.updated_at), 0)).where(
            conversations.c.site == site, conversations.c.state == "open"
        )
        async with self._db.read() as connection:
            count, total = (await connection.execute(drawn)).one()
        return f"{count}-{total:.6f}"


def _new_id() -> str:
    return secrets.token_urlsafe(16)


def _conversation(row: Sequence[Any]) -> Conversation:
    return Conversation(*row)


def _message(row: Sequence[Any]) -> Message:
    return Message(*row)


async def _get(connection: AsyncConnection, site: str, conversation: str) -> Conversation | None:
    one = select(*_CONVERSATION).where(conversations.c.site == site, conversations.c.id == conversation)
    row = (await connection.execute(one)).first()
    return None if row is None else _conversation(row)


async def _found(tx: AsyncConnection, site: str, conversation: str) -> Conversation:
    found = await _get(tx, site, conversation)
    if found is None:
        raise NoConversationError(f"site {site!r} has no conversation {conversation!r}")
    return found


async def _latest(connection: AsyncConnection, site: str, visitor: str) -> Conversation | None:
    newest = (
        select(*_CONVERSATION)
        .where(conversations.c.site == site, conversations.c.visitor == visitor)
        .order_by(conversations.c.started_at.desc())
        .limit(1)
    )
    row = (await connection.execute(newest)).first()
    return None if row is None else _conversation(row)


async def _messages(
    connection: AsyncConnection, conversation: Conversation, after: int, limit: int
) -> tuple[Message, ...]:
    following = (
        select(*_MESSAGE)
        .where(messages.c.conversation == conversation.id, messages.c.id > after)
        .order_by(messages.c.id)
        .limit(limit)
    )
    return tuple(_message(row) for row in (await connection.execute(following)).all())


async def _sent(tx: AsyncConnection, conversation: Conversation, client_id: str | None) -> Message | None:
    if client_id is None:
        return None
    first = select(*_MESSAGE).where(
        messages.c.conversation == conversation.id, messages.c.client_id == client_id
    )
    row = (await tx.execute(first)).first()
    return None if row is None else _message(row)


async def _add(
    tx: AsyncConnection,
    conversation: Conversation,
    author: Author,
    agent: str | None,
    text: str,
    client_id: str | None,
    now: float,
) -> Message:
    row = insert(messages).values(
        conversation=conversation.id, author=author, agent=agent, text=text, client_id=client_id, at=now
    )
    key = (await tx.execute(row)).inserted_primary_key
    assert key is not None
    return Message(int(key[0]), author, agent, text, now)


async def _touch(
    tx: AsyncConnection, conversation: Conversation, now: float, **changes: object
) -> Conversation:
    change = (
        update(conversations)
        .where(conversations.c.id == conversation.id)
        .values(updated_at=now, **changes)
        .returning(*_CONVERSATION)
    )
    return _conversation((await tx.execute(change)).one())


async def _close(tx: AsyncConnection, found: Conversation, now: float, note: Note) -> Conversation:
    changes: dict[str, object] = {"state": "closed", "waiting_since": None}
    if (text := note(found)) is not None:
        changes["last"] = (await _add(tx, found, "system", None, text, None, now)).id
    return await _touch(tx, found, now, **changes)


def _untaken() -> ColumnElement[bool]:
    return and_(conversations.c.waiting_since.is_not(None), conversations.c.agent.is_(None))


async def _crowds(connection: AsyncConnection, site: str) -> tuple[Crowd, ...]:
    newest = func.max(conversations.c.waiting_since)
    listed = (
        select(conversations.c.client, func.count(), newest)
        .where(
            conversations.c.site == site,
            conversations.c.state == "open",
            _untaken(),
            conversations.c.client.is_not(None),
        )
        .group_by(conversations.c.client)
        .having(func.count() > CROWD)
        .order_by(newest.desc())
        .limit(CROWDS)
    )
    return tuple(Crowd(*row) for row in (await connection.execute(listed)).all())


def _entries(*where: ColumnElement[bool]) -> Select[Any]:
    return (
        select(
            *_CONVERSATION,
            *(messages.c[name] for name in ("id", "author", "agent")),
            func.substr(messages.c.text, 1, PREVIEW),
            messages.c.at,
            *(conversations.c[name] for name in ("said", "waiting_since", "partner", "page")),
        )
        .select_from(conversations.outerjoin(messages, messages.c.id == conversations.c.last))
        .where(and_(*where))
    )


def _entry(row: Sequence[Any]) -> Entry:
    told = len(_CONVERSATION)
    last = row[told:-4]
    return Entry(_conversation(row[:told]), None if last[0] is None else _message(last), *row[-4:])
