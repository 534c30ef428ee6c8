"""Conversations in the ledger. Every question is bound to a site: an id of another site finds nothing."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ...chat.model import Added, Author, Conversation, Entry, Message
from .database import Database
from .schema import conversations, messages

# A visitor who writes again within a day goes on with the same conversation; later a new one begins, so
# that a talk started by one rule is not counted for the invite of another, weeks later.
REOPEN_SECONDS = 24 * 3600
PAGE = 500
INBOX_OPEN = 200
INBOX_CLOSED = 20
PREVIEW = 200

_CONVERSATION = [
    conversations.c[name]
    for name in ("id", "site", "visitor", "language", "rule", "state", "agent", "started_at", "updated_at")
]
_MESSAGE = [messages.c[name] for name in ("id", "author", "agent", "text", "at")]


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

    async def unread(self, site: str, visitor: str) -> int:
        """How many messages of agents follow the visitor's last word in his open conversation."""
        async with self._db.read() as connection:
            found = await _latest(connection, site, visitor)
            if found is None or found.state != "open":
                return 0
            said = select(func.coalesce(func.max(messages.c.id), 0)).where(
                messages.c.conversation == found.id, messages.c.author == "visitor"
            )
            after = select(func.count()).where(
                messages.c.conversation == found.id,
                messages.c.author == "agent",
                messages.c.id > said.scalar_subquery(),
            )
            return int(await connection.scalar(after) or 0)

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
        opening: Callable[[], None] = lambda: None,
    ) -> Added:
        """Write a visitor's message into his conversation, which is opened or reopened if it has to be.

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
                await tx.execute(
                    insert(conversations).values({c.name: getattr(found, c.name) for c in _CONVERSATION})
                )
            message = await _add(tx, found, "visitor", None, text, client_id, now)
            found = await _touch(tx, found, now, state="open")
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
            found = await _touch(tx, found, now, state="open", agent=agent)
        return Added(found, message, created=True, opened=opened)

    async def add_system_message(
        self, site: str, conversation: str, text: str, *, client_id: str | None, now: float
    ) -> Added:
        """Write a note that both sides read. Raises NoConversationError; repeats as with the others."""
        async with self._db.write() as tx:
            found = await _found(tx, site, conversation)
            if (repeat := await _sent(tx, found, client_id)) is not None:
                return Added(found, repeat, created=False)
            message = await _add(tx, found, "system", None, text, client_id, now)
            found = await _touch(tx, found, now)
        return Added(found, message, created=True)

    async def claim(self, site: str, conversation: str, agent: str, now: float) -> Conversation:
        """Give the conversation to an agent, whoever had it before. Raises NoConversationError."""
        async with self._db.write() as tx:
            return await _touch(tx, await _found(tx, site, conversation), now, agent=agent)

    async def close(self, site: str, conversation: str, now: float) -> Conversation:
        """Close it; the next message opens it again. Raises NoConversationError."""
        async with self._db.write() as tx:
            return await _touch(tx, await _found(tx, site, conversation), now, state="closed")

    async def inbox(self, site: str) -> tuple[Entry, ...]:
        """Open conversations, the longest waiting first, then the answered ones; then the last closed."""
        mine = conversations.c.site == site
        waiting = _waiting_since()
        opened = (
            _entries(mine, conversations.c.state == "open")
            .order_by(case((waiting.is_(None), 1), else_=0), waiting, conversations.c.updated_at.desc())
            .limit(INBOX_OPEN)
        )
        closed = (
            _entries(mine, conversations.c.state == "closed")
            .order_by(conversations.c.updated_at.desc())
            .limit(INBOX_CLOSED)
        )
        async with self._db.read() as connection:
            rows = [*(await connection.execute(opened)).all(), *(await connection.execute(closed)).all()]
        return tuple(_entry(row) for row in rows)

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
    tx: AsyncConnection, conversation: Conversation, now: float, **changes: str | None
) -> Conversation:
    change = (
        update(conversations)
        .where(conversations.c.id == conversation.id)
        .values(updated_at=now, **changes)
        .returning(*_CONVERSATION)
    )
    return _conversation((await tx.execute(change)).one())


def _waiting_since() -> ColumnElement[float | None]:
    answers = messages.alias()
    answered = (
        select(func.coalesce(func.max(answers.c.id), 0))
        .where(answers.c.conversation == conversations.c.id, answers.c.author == "agent")
        .correlate(conversations)
        .scalar_subquery()
    )
    return (
        select(func.min(messages.c.at))
        .where(
            messages.c.conversation == conversations.c.id,
            messages.c.author == "visitor",
            messages.c.id > answered,
        )
        .correlate(conversations)
        .scalar_subquery()
    )


def _entries(*where: ColumnElement[bool]) -> Select[Any]:
    told, newest, last = messages.alias(), messages.alias(), messages.alias()
    count = (
        select(func.count())
        .where(told.c.conversation == conversations.c.id, told.c.author != "system")
        .correlate(conversations)
        .scalar_subquery()
    )
    last_id = (
        select(func.max(newest.c.id))
        .where(newest.c.conversation == conversations.c.id)
        .correlate(conversations)
        .scalar_subquery()
    )
    return (
        select(
            *_CONVERSATION,
            last.c.id,
            last.c.author,
            last.c.agent,
            func.substr(last.c.text, 1, PREVIEW),
            last.c.at,
            count,
            _waiting_since(),
        )
        .select_from(conversations.outerjoin(last, last.c.id == last_id))
        .where(and_(*where))
    )


def _entry(row: Sequence[Any]) -> Entry:
    told = len(_CONVERSATION)
    conversation, last, count, waiting = _conversation(row[:told]), row[told:-2], row[-2], row[-1]
    return Entry(
        conversation,
        None if last[0] is None else _message(last),
        count,
        waiting if conversation.state == "open" else None,
    )
