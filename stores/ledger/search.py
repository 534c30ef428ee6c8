"""Search over a site's conversations: by what was written, by tag, agent, partner and page, by the order or
the e-mail address of the customer.

There is no index of words. Messages are read backwards from the newest, WINDOW of them in one question, until
enough conversations are found or SECONDS are over; the page says so, and goes on from there. The usual search
ends with the first window. To the oldest of a million messages SQLite takes 0.2 s of a core, PostgreSQL 3.4
to 5.0 s on a busy machine, which is three or four steps. So messages cost nothing to write, and any part of a
word is found, also in languages that do not write spaces.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select

from ...chat.model import Entry
from .connection import Connection, executing
from .conversations import OWN
from .database import Database
from .inbox import entries, entry_of
from .schema import conversation_tags, conversations, messages, order_numbers, orders, sightings

FOUND: Final = 50
"""Conversations of a page."""
WINDOW: Final = 50_000
SECONDS: Final = 1.5
WORDS: Final = 8
QUERY_LENGTH: Final = 200
VISITORS: Final = 50

_C = conversations.c
_M = messages.c


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is searched for; what is empty does not count. `text` are words that a message has all of, `order`
    an order's number, `email` the SHA-256 of an address in hex. `state` is open, closed or empty. `before` is
    where the search goes on: the message, or without `text` the time, behind which it has come."""

    text: str = ""
    tag: str = ""
    agent: str = ""
    partner: str = ""
    page: str = ""
    order: str = ""
    email: str = ""
    state: str = ""
    before: float | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the text, at most 8."""
        return tuple(dict.fromkeys(self.text[:QUERY_LENGTH].split()))[:WORDS]

    @property
    def is_empty(self) -> bool:
        """Whether nothing is searched for."""
        return replace(self, before=None) == Wanted()


@dataclass(frozen=True, slots=True)
class Match:
    """A conversation that was found, and the message with the words, if words were searched for."""

    entry: Entry
    text: str | None = None
    message: int | None = None


@dataclass(frozen=True, slots=True)
class Matches:
    """What was found, newest first. `before` is where the search goes on, None at its end; `unfinished` says
    that the time was over before a page was full."""

    found: Sequence[Match]
    before: float | None
    unfinished: bool = False


class Search:
    """Searches the conversations of all sites. Raises LedgerError, LedgerBusyError if it takes too long."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find(self, site: str, wanted: Wanted) -> Matches:
        """One page of what is found."""
        where: list[ColumnElement[bool]] = [_C.site == site, OWN, *_plain(wanted, self._db.dialect)]
        if wanted.order or wanted.email:
            where.append(or_(*await self._customers(site, wanted)))
        if wanted.words:
            return await self._written(wanted, where)
        return await self._listed(wanted, where)

    async def _customers(self, site: str, wanted: Wanted) -> list[ColumnElement[bool]]:
        """The conversations of those who placed the order, or have the address."""
        talks, visitors = set[str](), set[str]()
        if wanted.order:
            joined = order_numbers.join(orders, orders.c.id == order_numbers.c.order)
            query = select(orders.c.conversation, orders.c.visitor).select_from(joined)
            query = query.where(order_numbers.c.site == site, order_numbers.c.number == wanted.order)
            for row in (await self._db.query(executing(query), SECONDS)).all():
                talks |= {row.conversation} - {None}
                visitors |= {row.visitor} - {None}
        if wanted.email:
            said = select(sightings.c.visitor).where(
                sightings.c.site == site,
                sightings.c.email_hash == wanted.email,
                sightings.c.visitor.is_not(None),
            )
            rows = (await self._db.query(executing(said.distinct().limit(VISITORS)), SECONDS)).all()
            visitors |= {row.visitor for row in rows}
        return [_C.id.in_(sorted(talks)), _C.visitor.in_(sorted(visitors)[:VISITORS])]

    async def _listed(self, wanted: Wanted, where: Sequence[ColumnElement[bool]]) -> Matches:
        """Without words: by the time of the last change. Each state has its own index."""
        if wanted.before is not None:
            where = [*where, _C.updated_at < wanted.before]
        found: list[Entry] = []
        for state in (wanted.state,) if wanted.state else ("open", "closed"):
            query = entries(*where, _C.state == state).order_by(_C.updated_at.desc()).limit(FOUND + 1)
            rows = (await self._db.query(executing(query), SECONDS)).all()
            found += [entry_of(row) for row in rows]
        found.sort(key=lambda one: -one.conversation.updated_at)
        shown = found[:FOUND]
        more = len(found) > FOUND
        return Matches([Match(one) for one in shown], shown[-1].conversation.updated_at if more else None)

    async def _written(self, wanted: Wanted, where: Sequence[ColumnElement[bool]]) -> Matches:
        """With words: the conversations with a message that has them all, by the newest such message."""
        until = time.monotonic() + SECONDS
        end = int(wanted.before) if wanted.before is not None else await self._newest() + 1
        found: dict[str, tuple[int, str]] = {}
        while end > 0 and len(found) < FOUND and (left := until - time.monotonic()) > 0:
            start = max(0, end - WINDOW)
            query = _window(wanted, where, start, end, self._db.dialect)
            rows = (await self._db.query(executing(query), max(left, 0.2))).all()
            for row in rows:
                found.setdefault(row.conversation, (row.id, row.text))
                if len(found) == FOUND:
                    return Matches(await self._matches(found), row.id)
            # A window of which not all was read ends with its last row.
            end = rows[-1].id if len(rows) == FOUND * 4 else start
        return Matches(await self._matches(found), end or None, unfinished=bool(end))

    async def _newest(self) -> int:
        newest = select(func.max(_M.id))
        return int(await self._db.query(lambda connection: connection.scalar(newest)) or 0)

    async def _matches(self, found: Mapping[str, tuple[int, str]]) -> Sequence[Match]:
        async def work(connection: Connection) -> Sequence[Any]:
            rows: Sequence[Any] = (await connection.execute(entries(_C.id.in_(list(found))))).all()
            return rows

        listed = {one.conversation.id: one for one in map(entry_of, await self._db.query(work))}
        return [
            Match(listed[talk], text, message) for talk, (message, text) in found.items() if talk in listed
        ]


def _plain(wanted: Wanted, dialect: str) -> list[ColumnElement[bool]]:
    """What a conversation's own row says, and its tags."""
    where: list[ColumnElement[bool]] = []
    if wanted.state:
        where.append(_C.state == wanted.state)
    if wanted.agent:
        where.append(_C.agent.is_(None) if wanted.agent == "-" else _C.agent == wanted.agent)
    if wanted.partner:
        where.append(_C.partner == wanted.partner)
    if wanted.page:
        where.append(_has(_C.page, wanted.page[:QUERY_LENGTH], dialect))
    if wanted.tag:
        tagged = select(conversation_tags.c.conversation).where(conversation_tags.c.tag == wanted.tag)
        where.append(_C.id.in_(tagged.where(conversation_tags.c.site == _C.site)))
    return where


def _window(
    wanted: Wanted, where: Sequence[ColumnElement[bool]], start: int, end: int, dialect: str
) -> Select[Any]:
    """The messages of a window with all words, the newest first."""
    words = and_(*(_has(_M.text, word, dialect) for word in wanted.words))
    return (
        select(_M.id, _M.conversation, func.substr(_M.text, 1, 400).label("text"))
        # Not a join: messages are read in their order, and few of them have the words.
        .where(_M.id >= start, _M.id < end, words, exists().where(_C.id == _M.conversation, *where))
        .order_by(_M.id.desc())
        .limit(FOUND * 4)
    )


def _has(column: Any, word: str, dialect: str) -> ColumnElement[bool]:
    """Whether a text has a word, or the part of one, in capitals or small letters. Databases know these pairs
    for ASCII, and for other letters only in some locales: the usual spellings are asked for."""
    plain = re.sub(r"([\\%_])", r"\\\1", word)
    spelled = (plain,) if word.isascii() else (plain, plain.lower(), plain.upper(), plain.capitalize())
    # LIKE of SQLite makes no difference between capitals and small letters.
    like = column.like if dialect == "sqlite" else column.ilike
    return or_(*(like(f"%{one}%", escape="\\") for one in dict.fromkeys(spelled)))
