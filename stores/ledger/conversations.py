"""Conversations in the ledger. Every question is bound to a site: an id of another site finds nothing."""

import json
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import takewhile
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Float,
    Integer,
    and_,
    bindparam,
    false,
    func,
    insert,
    or_,
    select,
    update,
)

from ...chat.model import Added, Author, Conversation, Extra, Kind, Message, News, Sender
from ...referral.visitor import Talk
from .blocks import blocked
from .connection import Connection, executing
from .database import Database
from .desk_log import Done, log
from .errors import NoConversationError
from .mails import queue_answer
from .prepared import Prepared, values_of
from .saying import said, saying, usual
from .schema import conversations, files, messages

# A visitor who writes again within a day goes on with the same conversation; later a new one begins, so
# that a talk started by one rule is not counted for the invite of another, weeks later.
REOPEN_SECONDS = 24 * 3600
PAGE = 500
CLOSED_AT_ONCE = 500
CLAIM_SECONDS = 600.0
"""Seconds around the beginning of a conversation in a provider's chat in which a page may say whose it is.
Ids that are numbers in turn can be told beforehand, or later, by somebody else."""
ANSWERS = 50  # unread ones that are counted one by one

CONVERSATION = [
    conversations.c[name]
    for name in (
        *("id", "site", "visitor", "language", "rule", "state", "agent", "started_at", "updated_at"),
        *("agent_saw", "visitor_saw"),
        *("department", "invite", "rating"),
    )
]
OWN = conversations.c.provider.is_(None)
"""Not in another company's chat."""
MESSAGE = [messages.c[name] for name in ("id", "author", "agent", "text", "at", "kind", "extra")]


_TALKED_IN = Prepared(
    select(messages.c.conversation)
    .join(conversations, conversations.c.id == messages.c.conversation)
    .where(
        conversations.c.site == bindparam("site"),
        conversations.c.visitor == bindparam("visitor"),
        messages.c.author == "visitor",
        messages.c.at >= bindparam("since"),
        messages.c.at < bindparam("until"),
    )
    .order_by(messages.c.id.desc())
    .limit(1)
)

_OWN_NEWEST = (
    select(*CONVERSATION)
    .where(
        conversations.c.site == bindparam("site"),
        conversations.c.visitor == bindparam("visitor"),
        OWN,
    )
    .order_by(conversations.c.started_at.desc())
    .limit(1)
)
_LATEST, _LATEST_LOCKED = Prepared(_OWN_NEWEST), Prepared(_OWN_NEWEST.with_for_update())
_GOING_ON = Prepared(
    select(*CONVERSATION)
    .where(
        conversations.c.id == _OWN_NEWEST.with_only_columns(conversations.c.id).scalar_subquery(),
        or_(conversations.c.state == "open", conversations.c.updated_at >= bindparam("since", type_=Float)),
    )
    .with_for_update()
)
_AT = select(*CONVERSATION).where(
    conversations.c.site == bindparam("site"), conversations.c.id == bindparam("conversation")
)
_GET, _GET_LOCKED = Prepared(_AT), Prepared(_AT.with_for_update())
_REPEAT = Prepared(
    select(messages.c.conversation, *MESSAGE)
    .join(conversations, conversations.c.id == messages.c.conversation)
    .where(
        conversations.c.site == bindparam("site"),
        conversations.c.visitor == bindparam("visitor"),
        messages.c.client_id == bindparam("client_id"),
    )
)
_SENT = Prepared(
    select(*MESSAGE).where(
        messages.c.conversation == bindparam("conversation"), messages.c.client_id == bindparam("client_id")
    )
)
_FOLLOWING = Prepared(
    select(*MESSAGE)
    .where(messages.c.conversation == bindparam("conversation"), messages.c.id > bindparam("after"))
    .order_by(messages.c.id)
    .limit(bindparam("limit", type_=Integer))
)
NEWS = [
    *MESSAGE,
    *(messages.c.previous, messages.c.conversation, conversations.c.site, conversations.c.visitor),
]
LATER = Prepared(
    select(*NEWS)
    .join(conversations, conversations.c.id == messages.c.conversation)
    .where(messages.c.id > bindparam("after"))
    .order_by(messages.c.id)
    .limit(PAGE)
)
_NEWEST_OF_TALK = Prepared(
    select(messages.c.id, messages.c.author)
    .where(messages.c.conversation == bindparam("conversation"))
    .order_by(messages.c.id.desc())
    .limit(ANSWERS)
)
_ELSEWHERE = Prepared(
    select(conversations.c.updated_at, conversations.c.state)
    .where(
        conversations.c.site == bindparam("site"),
        conversations.c.visitor == bindparam("visitor"),
        conversations.c.provider.is_not(None),
        conversations.c.said > 0,
    )
    .order_by(conversations.c.updated_at.desc())
    .limit(1)
)
# Its conversation is locked by now, so that the one before it is committed.
_EARLIER = messages.alias("earlier")
_PREVIOUS = (
    select(func.coalesce(func.max(_EARLIER.c.id), 0))
    .where(_EARLIER.c.conversation == bindparam("conversation"))
    .scalar_subquery()
)
_ADD = Prepared(
    insert(messages)
    .values(
        **values_of([column for column in messages.c if column.name not in ("id", "previous")]),
        previous=_PREVIOUS,
    )
    .returning(messages.c.id, messages.c.previous)
)
_OF_AGENT = Prepared(
    select(conversations.c.id)
    .where(
        conversations.c.site == bindparam("site"),
        conversations.c.agent == bindparam("agent"),
        conversations.c.state == "open",
        OWN,
    )
    .order_by(conversations.c.updated_at.desc())
    .limit(bindparam("limit", type_=Integer))
)
# A read mark only grows, and never beyond what was written.
_SAW = {
    name: Prepared(
        update(conversations)
        .where(
            conversations.c.id == bindparam("key"),
            func.coalesce(conversations.c[name], 0) < bindparam("message"),
            conversations.c.last >= bindparam("message"),
        )
        .values({name: bindparam("message", type_=conversations.c.last.type)})
    )
    for name in ("agent_saw", "visitor_saw")
}
_SAID = update(conversations).where(conversations.c.id == bindparam("key"))
_BY_EITHER = {
    "said": conversations.c.said + 1,
    "state": "open",
    "said_at": bindparam("updated_at", type_=Float),
    **values_of([conversations.c.updated_at, conversations.c.last]),
}
_VISITOR_SAID = Prepared(
    _SAID.values(
        **_BY_EITHER,
        **values_of([conversations.c.partner, conversations.c.page, conversations.c.client]),
        waiting_since=func.coalesce(conversations.c.waiting_since, bindparam("updated_at", type_=Float)),
    ).returning(*CONVERSATION)
)
_AGENT_SAID = Prepared(
    _SAID.values(
        **_BY_EITHER,
        **values_of([conversations.c.agent]),
        waiting_since=None,
        answered_at=func.coalesce(conversations.c.answered_at, bindparam("updated_at", type_=Float)),
        answered_by=func.coalesce(
            conversations.c.answered_by, bindparam("agent", type_=conversations.c.agent.type)
        ),
    ).returning(*CONVERSATION)
)

_SAYING, _USUAL = saying(CONVERSATION), usual(CONVERSATION)
_LAST_OF_KIND = Prepared(
    select(*MESSAGE)
    .where(messages.c.conversation == bindparam("conversation"), messages.c.kind == bindparam("kind"))
    .order_by(messages.c.id.desc())
    .limit(1)
)

NOBODY = Sender()
Note = Callable[[Conversation], str | None]


@dataclass(frozen=True, slots=True)
class Written:
    """A conversation in which something was written, and the id of its last message."""

    message: int
    site: str
    visitor: str
    conversation: str


@lru_cache
def _of_several(count: int) -> Prepared:
    """The messages of so many conversations after one."""
    ids = [bindparam(f"conversation{place}", type_=messages.c.conversation.type) for place in range(count)]
    return Prepared(
        select(messages.c.conversation, *MESSAGE)
        .where(messages.c.conversation.in_(ids), messages.c.id > bindparam("after"))
        .order_by(messages.c.id)
        .limit(PAGE)
    )


_RATED = Prepared(
    update(conversations)
    .where(conversations.c.id == bindparam("key"))
    .values(values_of([conversations.c.rating, conversations.c.rating_text]))
)


Text = str | Callable[[Connection], Awaitable[str]]
"""A message's text, or what gives it and writes what belongs to it in the same transaction, which has locked
the conversation."""


class HeldError(Exception):
    """Another agent has the conversation: `agent`."""

    def __init__(self, agent: str) -> None:
        super().__init__(f"{agent} has this conversation")
        self.agent = agent


class Conversations:
    """The conversations of all sites. Times in unix seconds."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # -- the visitor's side

    async def talk(self, site: str, visitor: str) -> Talk:
        """What the visitor's own record says of its newest conversation."""

        async def work(connection: Connection) -> Talk:
            elsewhere = await _elsewhere(connection, site, visitor)
            found = await _latest(connection, site, visitor)
            if found is None:
                return Talk(elsewhere=elsewhere)
            rows = (await connection.execute(_NEWEST_OF_TALK, {"conversation": found.id})).all()
            since = list(takewhile(lambda row: row.author != "visitor", rows))
            answers = tuple(row.id for row in reversed(since) if row.author == "agent")
            return Talk(rows[0].id if rows else 0, found.state == "open", answers, elsewhere)

        return await self._db.query(work, quick=True)

    async def visitor_messages(
        self, site: str, visitor: str, after: int = 0
    ) -> tuple[Conversation | None, tuple[Message, ...]]:
        """The visitor's newest conversation, open or closed, and the next messages of it (at most 500)."""

        async def work(connection: Connection) -> tuple[Conversation | None, tuple[Message, ...]]:
            found = await _latest(connection, site, visitor)
            if found is None:
                return None, ()
            return found, await _messages(connection, found, after, PAGE)

        # The whole of a long conversation is read once.
        return await self._db.query(work, quick=after > 0)

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
        extra: Extra | None = None,
        opening: Callable[[], None] = lambda: None,
        refuse: Callable[[float], None] = lambda until: None,
        department: str | None = None,
        invite: str | None = None,
    ) -> Added:
        """Write a visitor's message into its conversation, which is opened or reopened if it has to be.
        `invite` is the text of the rule's invite.

        A `client_id` that this visitor has sent before adds nothing and returns the first message. `opening`
        is called before a new conversation is made, and `refuse`, for a visitor who is blocked, with the time
        until which it is; if one raises, nothing is written. A new conversation belongs to the `department`.
        """
        whose = {"site": site, "visitor": visitor}
        by = {"partner": sender.partner, "page": sender.page, "client": sender.client}
        given = {**whose, **by, "text": text, "client_id": client_id, "at": now}
        statement = _SAYING.get(self._db.dialect)
        if (
            extra is None
            and statement is not None
            and (row := await said(self._db, statement, given)) is not None
        ):
            message = Message(row.message, "visitor", None, text, now)
            found = conversation_of(row[: len(CONVERSATION)])
            return Added(found, message, created=True, previous=row.previous)

        async def write(tx: Connection, found: Conversation) -> Added:
            message, previous = await _add(tx, found, "visitor", None, text, client_id, now, extra)
            change = {**by, "key": found.id, "updated_at": now, "last": message.id}
            row = (await tx.execute(_VISITOR_SAID, change)).first()
            return Added(conversation_of(row), message, created=True, previous=previous)

        async def work(tx: Connection) -> Added:
            if statement is None and (row := (await tx.execute(_USUAL, given)).first()) is not None:
                return await write(tx, conversation_of(row))
            if (until := await blocked(tx, site, visitor, sender.client, now)) is not None:
                refuse(until)
            row = (await tx.execute(_GOING_ON, whose | {"since": now - REOPEN_SECONDS})).first()
            found = None if row is None else conversation_of(row)
            if found is None:
                # Nothing is locked yet. Of several first messages one begins the conversation.
                await tx.lock(f"talk {site} {visitor}")
                # Locked, so that the numbers of the new one's messages are higher than all of this one.
                found = await _latest(tx, site, visitor, lock=True)
            repeat = (await tx.execute(_REPEAT, whose | {"client_id": client_id})).first()
            if repeat is not None:
                first, where = message_of(repeat[1:]), await _get(tx, site, repeat.conversation)
                assert where is not None
                return Added(where, first, created=False)
            opened = found is None or found.state == "closed"
            if found is None or (opened and now - found.updated_at > REOPEN_SECONDS):
                opening()
                found = Conversation(
                    *(new_id(), site, visitor, language, rule, "open", None, now, now),
                    department=department,
                    invite=invite,
                )
                row = {c.name: getattr(found, c.name) for c in CONVERSATION}
                await tx.execute(insert(conversations).values(**row, said=0))
            added = await write(tx, found)
            if opened:
                agent = added.conversation.agent
                await log(tx, Done("opened", site, found.id, agent=agent, at=now))
            return replace(added, opened=opened)

        return await self._db.transact(work, quick=extra is None)

    async def rate(
        self, site: str, visitor: str, rating: int, text: str | None, now: float
    ) -> Conversation | None:
        """Note how the visitor rates its newest conversation, in place of an earlier rating; the
        conversation, None without one."""

        async def work(tx: Connection) -> Conversation | None:
            found = await _latest(tx, site, visitor, lock=True)
            if found is not None:
                rated = {"key": found.id, "rating": rating, "rating_text": text}
                await tx.execute(_RATED, rated)
                await log(tx, Done("rated", site, found.id, agent=found.agent, why=str(rating), at=now))
            return found

        return await self._db.transact(work)

    async def add_elsewhere(
        self,
        site: str,
        visitor: str,
        provider: str,
        external: str | None,
        *,
        language: str,
        now: float,
        sender: Sender = NOBODY,
        opening: Callable[[], None] = lambda: None,
    ) -> bool:
        """Note that a visitor wrote in a provider's chat; returns whether that is new. `external` is the
        conversation's id there; without it, what is written within a day is one conversation. There is one
        message for it, without a text. `opening` is as in `add_visitor_message`."""

        async def work(tx: Connection) -> bool:
            await tx.lock(f"talk {site} {visitor}")
            if external is not None:
                await tx.lock(f"talk {site} {provider} {external}")
                if await _claimed(tx, site, visitor, provider, external, now):
                    return True
            newest = (
                select(conversations.c.id, conversations.c.external)
                .where(
                    conversations.c.site == site,
                    conversations.c.visitor == visitor,
                    conversations.c.provider == provider,
                )
                .order_by(conversations.c.started_at.desc())
                .limit(1)
            )
            if external is not None:
                named = newest.where(conversations.c.external == external)
                if (row := (await tx.execute(named)).first()) is not None:
                    await _go_on(tx, row.id, now)
                    return False
            recent = newest.where(conversations.c.updated_at >= now - REOPEN_SECONDS)
            row = (await tx.execute(recent)).first()
            if row is not None and (external is None or row.external is None):
                if external is not None:
                    change = update(conversations).where(conversations.c.id == row.id)
                    await tx.execute(change.values(external=external))
                await _go_on(tx, row.id, now)
                return False
            opening()
            found = Conversation(new_id(), site, visitor, language, None, "open", None, now, now)
            values = {c.name: getattr(found, c.name) for c in CONVERSATION}
            values |= {"partner": sender.partner, "page": sender.page, "client": sender.client}
            await tx.execute(
                insert(conversations).values(
                    **values, said=1, said_at=now, provider=provider, external=external
                )
            )
            await _add(tx, found, "visitor", None, "", None, now)
            return True

        return await self._db.transact(work)

    async def end_elsewhere(self, site: str, visitor: str, provider: str) -> None:
        """Note that a page told the end of its visitor's talk in a provider's chat."""
        c = conversations.c
        mine = (c.site == site, c.visitor == visitor, c.provider == provider, c.state == "open")
        change = update(conversations).where(*mine).values(state="closed")
        await self._db.transact(lambda tx: tx.execute(change))

    async def visitor_talked(self, site: str, visitor: str, since: float, until: float) -> str | None:
        """The conversation in which the visitor last wrote in [since, until), or None."""
        given = {"site": site, "visitor": visitor, "since": since, "until": until}
        found: str | None = (await self._db.query(executing(_TALKED_IN, given))).scalar()
        return found

    async def own(self, site: str, visitor: str) -> Conversation | None:
        """The visitor's newest conversation, open or closed, in our own chat."""
        return await self._db.query(lambda connection: _latest(connection, site, visitor), quick=True)

    async def saw(self, conversation: Conversation, who: Literal["agent", "visitor"], message: int) -> bool:
        """Note up to which message an agent or the visitor has read; returns whether that is further than
        before."""
        given = {"key": conversation.id, "message": message}
        done = await self._db.transact(executing(_SAW[f"{who}_saw"], given), quick=True)
        return bool(done.rowcount)

    # -- the agent's side

    async def get(self, site: str, conversation: str) -> Conversation | None:
        """One conversation of the site, or None."""
        return await self._db.query(lambda connection: _get(connection, site, conversation), quick=True)

    async def messages(
        self, conversation: Conversation, after: int = 0, *, limit: int = PAGE
    ) -> tuple[Message, ...]:
        """The messages after an id, oldest first, at most `limit`."""
        async with self._db.read() as connection:
            return await _messages(connection, conversation, after, limit)

    async def newest(self, conversation: Conversation, limit: int = PAGE) -> tuple[Message, ...]:
        """The last `limit` messages, oldest first."""
        last = (
            select(*MESSAGE)
            .where(messages.c.conversation == conversation.id)
            .order_by(messages.c.id.desc())
            .limit(limit)
        )
        async with self._db.read() as connection:
            rows = (await connection.execute(last)).all()
        return tuple(message_of(row) for row in reversed(rows))

    async def add_agent_message(
        self,
        site: str,
        conversation: str,
        text: Text,
        *,
        agent: str,
        client_id: str | None,
        now: float,
        over: str | None = None,
        extra: Extra | None = None,
        mails: bool = False,
    ) -> Added:
        """Write an agent's answer. Who answers has the conversation, and a closed one is open again. `mails`:
        it goes out by mail too, if the visitor asked for that.

        Raises NoConversationError, and HeldError if another agent than `over` has it and it is open. A
        repeated `client_id` adds nothing and returns the first message. What `text` raises is raised, and
        nothing is written.
        """

        async def work(tx: Connection) -> Added:
            found = await _found(tx, site, conversation)
            if (repeat := await _sent(tx, found, client_id)) is not None:
                return Added(found, repeat, created=False)
            opened, before = found.state == "closed", found.agent
            if not opened and before not in (None, agent, over):
                raise HeldError(str(before))
            said = text if isinstance(text, str) else await text(tx)
            message, previous = await _add(tx, found, "agent", agent, said, client_id, now, extra)
            change: dict[str, Any] = {"key": found.id, "updated_at": now, "last": message.id, "agent": agent}
            found = conversation_of((await tx.execute(_AGENT_SAID, change)).first())
            if opened or before != agent:
                await log(
                    tx,
                    Done(
                        "opened" if opened else "taken",
                        site,
                        found.id,
                        by=agent,
                        agent=agent,
                        before=before,
                        at=now,
                    ),
                )
            if mails:
                await queue_answer(tx, site, found.id, message.id, now)
            return Added(found, message, created=True, opened=opened, previous=previous)

        return await self._db.transact(work, quick=extra is None and isinstance(text, str))

    async def claim(self, site: str, conversation: str, agent: str, now: float) -> Conversation:
        """Give the conversation to an agent, whoever had it before. Raises NoConversationError."""

        async def work(tx: Connection) -> Conversation:
            found = await _found(tx, site, conversation)
            if found.agent == agent:
                return found
            taken = await _touch(tx, found, now, agent=agent)
            await log(tx, Done("taken", site, found.id, by=agent, agent=agent, before=found.agent, at=now))
            return taken

        return await self._db.transact(work)

    async def close(
        self,
        site: str,
        conversation: str,
        now: float,
        note: Note = lambda found: None,
        *,
        by: str | None = None,
    ) -> Conversation:
        """Close it; the next message opens it again. Raises NoConversationError.

        `note` gives the system's word on that, which both sides read; it is written once. `by` is the agent
        who closes it.
        """

        async def work(tx: Connection) -> Conversation:
            found = await _found(tx, site, conversation)
            if found.state == "closed":
                return found
            closed = await _close(tx, found, now, note)
            await log(tx, Done("closed", site, found.id, by=by, agent=found.agent, at=now))
            return closed

        return await self._db.transact(work)

    async def close_many(
        self,
        site: str,
        now: float,
        *,
        ids: Sequence[str] = (),
        client: str | None = None,
        note: Note = lambda found: None,
        by: str | None = None,
    ) -> tuple[Conversation, ...]:
        """Close the open ones of `ids`, and all of a client network that nobody has taken or answered.

        At most 500 at once; those that were closed.
        """
        wanted = or_(
            conversations.c.id.in_(ids[:CLOSED_AT_ONCE]),
            and_(untaken(), conversations.c.client == client) if client else false(),
        )
        found = (
            select(*CONVERSATION)
            .where(conversations.c.site == site, conversations.c.state == "open", OWN, wanted)
            .order_by(conversations.c.id)
            .limit(CLOSED_AT_ONCE)
            .with_for_update()
        )

        async def work(tx: Connection) -> tuple[Conversation, ...]:
            rows = (await tx.execute(found)).all()
            closed = tuple([await _close(tx, conversation_of(row), now, note) for row in rows])
            lines = [Done("closed", site, one.id, by=by, agent=one.agent, at=now) for one in closed]
            await log(tx, *lines)
            return closed

        return await self._db.transact(work)

    async def last_of(self, conversation: str, kind: Kind) -> Message | None:
        """The last message of a kind, or None."""
        given = {"conversation": conversation, "kind": kind}
        row = (await self._db.query(executing(_LAST_OF_KIND, given), quick=True)).first()
        return None if row is None else message_of(row)

    async def of_agent(self, site: str, agent: str, limit: int) -> tuple[str, ...]:
        """The ids of the open conversations that an agent has, the newest ones."""
        mine = {"site": site, "agent": agent, "limit": limit}
        rows = await self._db.query(executing(_OF_AGENT, mine), quick=True)
        return tuple(row.id for row in rows)

    async def following(self, conversations: Sequence[str], after: int) -> tuple[tuple[str, Message], ...]:
        """The messages of several conversations after one, each with its conversation's id."""
        statement, given = _of_several(len(conversations)), dict[str, Any]()
        given |= {f"conversation{place}": one for place, one in enumerate(conversations)}

        async def work(connection: Connection) -> tuple[tuple[str, Message], ...]:
            found: list[Any] = []
            more = True
            while more:
                last = found[-1].id if found else after
                rows = (await connection.execute(statement, given | {"after": last})).all()
                found += rows
                more = len(rows) == PAGE
            return tuple((row[0], message_of(row[1:])) for row in found)

        return await self._db.query(work)

    async def written_after(self, message: int) -> Sequence[Written]:
        """The conversations in which something was written after a message, of the next 500 messages; each
        once, in the order of its last one."""
        return written_in((await self._db.query(executing(LATER, {"after": message}))).all())


def news_of(row: Any) -> News:
    """The message in a row of `NEWS`."""
    return News(row.site, row.visitor, row.conversation, message_of(row[: len(MESSAGE)]), row.previous)


def written_in(rows: Sequence[Any]) -> Sequence[Written]:
    """The conversations of rows of `LATER`, each once, in the order of its last one."""
    newest = {row.conversation: row for row in rows}
    found = [Written(row.id, row.site, row.visitor, row.conversation) for row in newest.values()]
    return sorted(found, key=lambda one: one.message)


def new_id() -> str:
    """The id of a new conversation."""
    return secrets.token_urlsafe(16)


def conversation_of(row: Sequence[Any]) -> Conversation:
    """The conversation in a row of `CONVERSATION`."""
    return Conversation(*row)


def message_of(row: Sequence[Any]) -> Message:
    """The message in a row of `MESSAGE`."""
    return Message(*row)


async def _get(
    connection: Connection, site: str, conversation: str, *, lock: bool = False
) -> Conversation | None:
    one = {"site": site, "conversation": conversation}
    row = (await connection.execute(_GET_LOCKED if lock else _GET, one)).first()
    return None if row is None else conversation_of(row)


async def _found(tx: Connection, site: str, conversation: str) -> Conversation:
    found = await _get(tx, site, conversation, lock=True)
    if found is None:
        raise NoConversationError(f"site {site!r} has no conversation {conversation!r}")
    return found


async def _latest(
    connection: Connection, site: str, visitor: str, *, lock: bool = False
) -> Conversation | None:
    whose = {"site": site, "visitor": visitor}
    row = (await connection.execute(_LATEST_LOCKED if lock else _LATEST, whose)).first()
    return None if row is None else conversation_of(row)


async def _elsewhere(connection: Connection, site: str, visitor: str) -> tuple[float, bool] | None:
    """When the visitor's last talk in a provider's chat went on, and whether it is open."""
    row = (await connection.execute(_ELSEWHERE, {"site": site, "visitor": visitor})).first()
    return None if row is None else (row.updated_at, row.state == "open")


async def _claimed(tx: Connection, site: str, visitor: str, provider: str, external: str, now: float) -> bool:
    """Give a conversation of which a webhook told to the visitor whose page names it, if that is about when
    it began and nobody else does; returns whether it did so. Ids may be numbers in turn, which anybody can
    name: then it is nobody's until the webhook itself tells whose it is."""
    c = conversations.c
    of_it = (c.site == site, c.provider == provider, c.external == external, c.tied.is_not(None))
    columns = (c.id, c.visitor, c.tied, c.started_at)
    row = (await tx.execute(select(*columns).where(*of_it).with_for_update())).first()
    if row is None or row.tied not in ("", "id") or row.visitor == visitor:
        return False
    if abs(now - row.started_at) > CLAIM_SECONDS:
        return False
    owner, tied = (visitor, "id") if not row.visitor else ("", "unsure")
    # What this visitor's pages told long before the conversation began is another one.
    before = update(conversations).where(c.site == site, c.provider == provider, c.external == external)
    await tx.execute(before.where(c.visitor == owner, c.id != row.id).values(external=None))
    await tx.execute(update(conversations).where(c.id == row.id).values(visitor=owner, tied=tied))
    return bool(owner)


async def _go_on(tx: Connection, conversation: str, now: float) -> None:
    """Note that a talk goes on, once a minute."""
    c = conversations.c
    change = update(conversations).where(c.id == conversation, c.tied.is_(None), c.updated_at < now - 60)
    await tx.execute(change.values(state="open", updated_at=now, said_at=now))


async def _messages(
    connection: Connection, conversation: Conversation, after: int, limit: int
) -> tuple[Message, ...]:
    given = {"conversation": conversation.id, "after": after, "limit": limit}
    return tuple(message_of(row) for row in await connection.execute(_FOLLOWING, given))


async def _sent(tx: Connection, conversation: Conversation, client_id: str | None) -> Message | None:
    if client_id is None:
        return None
    given = {"conversation": conversation.id, "client_id": client_id}
    row = (await tx.execute(_SENT, given)).first()
    return None if row is None else message_of(row)


async def _add(
    tx: Connection,
    conversation: Conversation,
    author: Author,
    agent: str | None,
    text: str,
    client_id: str | None,
    now: float,
    extra: Extra | None = None,
) -> tuple[Message, int]:
    """A message, and the id of the one before it."""
    row: dict[str, Any] = {"conversation": conversation.id, "author": author, "agent": agent, "text": text}
    kind, data = (None, None) if extra is None else (extra.kind, json.dumps(extra.data))
    row |= {"client_id": client_id, "at": now, "kind": kind, "extra": data}
    added = (await tx.execute(_ADD, row)).first()
    if extra is not None and extra.kind == "file":
        own = update(files).where(files.c.id == extra.data["id"], files.c.site == conversation.site)
        await tx.execute(own.values(conversation=conversation.id, message=added.id))
    await tx.announce()
    return Message(added.id, author, agent, text, now, kind, data), added.previous


async def _touch(tx: Connection, conversation: Conversation, now: float, **changes: object) -> Conversation:
    change = (
        update(conversations)
        .where(conversations.c.id == conversation.id)
        .values(updated_at=now, **changes)
        .returning(*CONVERSATION)
    )
    return conversation_of((await tx.execute(change)).one())


async def _close(tx: Connection, found: Conversation, now: float, note: Note) -> Conversation:
    changes: dict[str, object] = {"state": "closed", "waiting_since": None}
    if (text := note(found)) is not None:
        changes["last"] = (await _add(tx, found, "system", None, text, None, now))[0].id
    return await _touch(tx, found, now, **changes)


def untaken() -> ColumnElement[bool]:
    """Which conversations wait for an answer and belong to no agent."""
    return and_(conversations.c.waiting_since.is_not(None), conversations.c.agent.is_(None))
