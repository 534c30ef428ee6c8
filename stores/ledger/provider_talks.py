"""Conversations in the chats of other companies, as their webhooks tell of them.

A webhook names the conversation by the provider's id. What ties it to a visitor may come before it, with it
or later: a text of clew's in the webhook, a page that told the id, or a code that was said. Until then its
`visitor` is empty.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final, Literal

from sqlalchemy import (
    ColumnElement,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from ...chat.model import Author, Conversation, Sender
from ...chat.told import Line
from ...referral.visitor import TALK_IDLE
from .connection import Connection
from .conversations import CLAIM_SECONDS, CONVERSATION, NOBODY, REOPEN_SECONDS, conversation_of, new_id
from .database import Database
from .errors import LedgerConflictError
from .schema import conversations, messages, orders, provider_states, turns

ROWS: Final = 2000
"""Messages of a conversation that are kept; further ones are only counted."""

AGENTS: Final = 200
"""Agents of a site whose presence is kept, and client networks whose pages told of it."""

PAGE_SECONDS: Final = 900.0
"""How long a page's word on whether the chat is staffed counts."""

AGENT_SECONDS: Final = 16 * 3600.0
"""How long a webhook's word that an agent is there counts: longer than a shift, so that an agent whose end
no webhook told is away on the next day."""

Tied = Literal["attr", "token", "code"]
"""By clew's token where the provider keeps attributes, by one anywhere in the webhook, or by a code that was
said."""

_SURE: Final = {"attr": 3, "token": 2, "code": 1}

_C, _M, _S = conversations.c, messages.c, provider_states.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a webhook says of one conversation, and whose it is as far as the webhook tells. Without `timed`,
    `at` is when it came."""

    site: str
    provider: str
    external: str
    language: str
    at: float
    timed: bool = True
    says: Literal["started", "ended"] | None = None
    agent: str | None = None
    rating: int | None = None
    lines: Sequence[Line] = ()
    visitor: str | None = None
    tied: Tied | None = None
    sender: Sender = NOBODY


@dataclass(frozen=True, slots=True)
class Kept:
    """The conversation, and what is new of it: whether it began, ended, got its visitor; its new messages.
    `unsure`: several visitors' pages say that it is theirs."""

    conversation: Conversation
    began: bool = False
    ended: bool = False
    tied: bool = False
    added: Sequence[Line] = ()
    unsure: bool = False


class ProviderTalks:
    """The conversations of all sites in providers' chats. Times in unix seconds."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def hear(self, heard: Heard, opening: Callable[[], None] = lambda: None) -> Kept:
        """Write down what a webhook says. The same again changes nothing, and webhooks may come in any order.
        `opening` is called before a new conversation is made; if it raises, nothing is written."""

        async def work(tx: Connection) -> Kept:
            await tx.lock(f"talk {heard.site} {heard.provider} {heard.external}")
            return await _hear(tx, heard, opening)

        return await self._db.transact(work)

    async def tie(
        self, site: str, provider: str, external: str, visitor: str, now: float, opening: Callable[[], None]
    ) -> bool:
        """Keep whose conversation this will be, where a webhook only tells that: nothing was said in it yet.
        False if the conversation has begun: then `hear` notes it."""
        of_it = (_C.site == site, _C.provider == provider, _C.external == external, _C.tied.is_not(None))
        kind = f"tie {provider}"
        one = (_S.site == site, _S.kind == kind, _S.name == external)

        async def work(tx: Connection) -> bool:
            await tx.lock(f"talk {site} {provider} {external}")
            if (await tx.execute(select(_C.id).where(*of_it))).first() is not None:
                return False
            changed = await tx.execute(update(provider_states).where(*one).values(visitor=visitor, at=now))
            if not changed.rowcount:
                opening()
                values = {"site": site, "kind": kind, "name": external, "state": "", "visitor": visitor}
                await tx.execute(insert(provider_states).values(**values, at=now))
            return True

        return await self._db.transact(work)

    async def orders_of_nobody(self, site: str, conversation: str) -> Sequence[int]:
        """The ledger's numbers of the conversation's orders of which nobody knows the visitor; at most 20."""
        own = orders.c
        mine = (own.site == site, own.conversation == conversation, own.visitor.is_(None))
        query = select(own.id).where(*mine).order_by(own.id.desc()).limit(20)
        async with self._db.read() as connection:
            return [row[0] for row in (await connection.execute(query)).all()]

    async def find(self, site: str, provider: str, external: str) -> Conversation | None:
        """The conversation of which a webhook told, by the provider's id."""
        mine = (_C.site == site, _C.provider == provider, _C.external == external, _C.tied.is_not(None))
        async with self._db.read() as connection:
            row = (await connection.execute(select(*CONVERSATION).where(*mine))).first()
        return None if row is None else conversation_of(row)

    async def newest(self, site: str, provider: str, visitor: str) -> Conversation | None:
        """The visitor's newest conversation there."""
        mine = (_C.site == site, _C.provider == provider, _C.visitor == visitor)
        query = select(*CONVERSATION).where(*mine).order_by(_C.started_at.desc()).limit(1)
        async with self._db.read() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else conversation_of(row)

    async def running(self, now: float) -> dict[str, int]:
        """How many of the visitors' conversations run at each site."""
        live = (_C.state == "open", _C.provider.is_not(None), _C.updated_at > now - TALK_IDLE)
        grouped = select(_C.site, func.count()).where(*live).group_by(_C.site)
        async with self._db.read() as connection:
            return {row[0]: row[1] for row in (await connection.execute(grouped)).all()}

    # -- presence

    async def set_present(self, site: str, kind: str, name: str, *, online: bool, at: float) -> None:
        """Note whether an agent ("agent") is there, or what a client network's pages say ("page"). An older
        word than the last one changes nothing."""
        one = (_S.site == site, _S.kind == kind, _S.name == name)
        state = "online" if online else "offline"

        async def work(tx: Connection) -> None:
            await tx.lock(f"present {site}")
            row = (await tx.execute(select(_S.at).where(*one))).first()
            if row is not None:
                newer = update(provider_states).where(*one, _S.at <= at)
                await tx.execute(newer.values(state=state, at=at))
                return
            await tx.execute(
                insert(provider_states).values(site=site, kind=kind, name=name, state=state, at=at)
            )
            kept = select(_S.name).where(_S.site == site, _S.kind == kind).order_by(_S.at.desc())
            gone = delete(provider_states).where(_S.site == site, _S.kind == kind)
            await tx.execute(gone.where(_S.name.not_in(kept.limit(AGENTS))))

        await self._db.transact(work)

    async def agents_gone(self, site: str, before: float, now: float) -> None:
        """Note that the agents of a site are away of whom nothing was heard since a time."""
        own = (_S.site == site, _S.kind == "agent", _S.state == "online", _S.at <= before)

        async def work(tx: Connection) -> None:
            await tx.execute(update(provider_states).where(*own).values(state="offline", at=now))

        await self._db.transact(work)

    async def take_turn(self, site: str, holder: str, now: float, until: float) -> bool:
        """Whether this process asks a site's provider who is there, until then: one at a time does."""
        name = f"presence {blake2b(site.encode(), digest_size=12).hexdigest()}"

        async def work(tx: Connection) -> bool:
            row = (await tx.execute(select(turns).where(turns.c.name == name))).first()
            if row is None:
                await tx.execute(insert(turns).values(name=name, holder=holder, until=until))
                return True
            # One that reaches further than any can was taken before the clock was set back.
            if row.holder != holder and now < row.until <= now + 2 * (until - now):
                return False
            own = (turns.c.name == name, turns.c.holder == row.holder, turns.c.until == row.until)
            taken = await tx.execute(update(turns).where(*own).values(holder=holder, until=until))
            return bool(taken.rowcount)

        try:
            return await self._db.transact(work)
        except LedgerConflictError:
            return False

    async def present(self, now: float) -> dict[str, int]:
        """How many agents each site's provider has online, of those sites of which something is known. Where
        only pages tell it, it is 1 if most of them say so."""
        known = or_(_S.kind == "agent", and_(_S.kind == "page", _S.at > now - PAGE_SECONDS))
        late = and_(_S.kind == "agent", _S.at <= now - AGENT_SECONDS)
        state = case((late, "offline"), else_=_S.state).label("state")
        # In the words of the index: there is a code for each visitor who has opened the chat.
        query = select(_S.site, _S.kind, state, func.count()).where(known, _S.state != literal_column("''"))
        async with self._db.read() as connection:
            rows = (await connection.execute(query.group_by(_S.site, _S.kind, state))).all()
        counts = {(row[0], row[1], row[2]): int(row[3]) for row in rows}
        found = dict[str, int]()
        for site in {row[0] for row in rows}:
            if any((site, "agent", state) in counts for state in ("online", "offline")):
                found[site] = counts.get((site, "agent", "online"), 0)
            else:
                away = counts.get((site, "page", "offline"), 0)
                found[site] = int(counts.get((site, "page", "online"), 0) > away)
        return found

    # -- codes

    async def name_code(self, site: str, code: str, visitor: str, now: float) -> None:
        """Keep whose code this is. A code that two visitors have is nobody's."""
        one = (_S.site == site, _S.kind == "code", _S.name == code)

        async def work(tx: Connection) -> None:
            await tx.lock(f"code {site} {code}")
            row = (await tx.execute(select(_S.visitor).where(*one))).first()
            if row is None:
                values = {"site": site, "kind": "code", "name": code, "state": "", "visitor": visitor}
                await tx.execute(insert(provider_states).values(**values, at=now))
            else:
                owner = visitor if row.visitor == visitor else None
                await tx.execute(update(provider_states).where(*one).values(visitor=owner, at=now))

        await self._db.transact(work)

    async def visitor_of_code(self, site: str, code: str) -> str | None:
        """The visitor whose code this is."""
        query = select(_S.visitor).where(_S.site == site, _S.kind == "code", _S.name == code)
        async with self._db.read() as connection:
            found: str | None = await connection.scalar(query)
        return found


async def _hear(tx: Connection, heard: Heard, opening: Callable[[], None]) -> Kept:
    if heard.visitor is None:
        kind = f"tie {heard.provider}"
        one = (_S.site == heard.site, _S.kind == kind, _S.name == heard.external)
        noted = await tx.scalar(select(_S.visitor).where(*one))
        heard = heard if noted is None else replace(heard, visitor=noted, tied="attr")
    row, began, unsure = await _row(tx, heard, opening)
    visitor, tied = _visitor(heard, row, unsure)
    if visitor != row.visitor and visitor:
        await _drop_others(tx, heard, row.id, visitor)
    added = await _add_lines(tx, row.id, heard)
    if began and heard.says == "started" and not row.said and not added:
        # Who begins a talk writes, also where the provider does not tell the words.
        blank = {"conversation": row.id, "author": "visitor", "agent": None, "text": "", "client_id": None}
        await tx.execute(insert(messages).values(**blank, at=heard.at))
        await tx.execute(update(conversations).where(_C.id == row.id).values(said=1))
        await tx.announce()
    state, ended = row.state, False
    newest = max([line.at or heard.at for line in added], default=0.0)
    if heard.says == "ended" and state == "open" and await _last_line(tx, row.id) <= heard.at:
        state, ended = "closed", True
    elif state == "closed" and row.tied is not None and added and newest > row.updated_at:
        # Out of order, an older message does not open it again.
        state = "closed" if heard.says == "ended" else "open"
    elif state == "closed" and heard.says == "started" and heard.timed and heard.at > row.updated_at:
        # Where the provider tells no messages. Without its own time it may be the beginning, told late.
        state = "open"
    changes: dict[str, Any] = {"state": state, "visitor": visitor, "tied": tied}
    changes["said"] = _C.said + len(added)
    changes["updated_at"] = max(row.updated_at, newest, heard.at if ended or heard.says else 0.0)
    names = [line.agent for line in added if line.author == "agent" and line.agent]
    if heard.agent or names:
        changes["agent"] = f"{heard.provider}:{heard.agent or names[-1]}"[:64]
    if added:
        changes["said_at"] = newest if row.said_at is None else max(row.said_at, newest)
    answers = [line for line in added if line.author == "agent"]
    if answers and row.answered_at is None:
        first = min(answers, key=lambda line: line.at or heard.at)
        changes["answered_at"] = first.at or heard.at
        changes["answered_by"] = f"{heard.provider}:{first.agent or heard.agent or ''}"[:64]
    if heard.rating is not None:
        changes["rating"] = heard.rating
    sender = heard.sender
    changes |= {k: v for k, v in (("partner", sender.partner), ("page", sender.page)) if v is not None}
    change = update(conversations).where(_C.id == row.id).values(**changes).returning(*CONVERSATION)
    found = conversation_of((await tx.execute(change)).one())
    is_tied = bool(visitor) and visitor != (row.visitor if row.tied is not None else "")
    return Kept(found, began, ended, is_tied, added, unsure and not visitor)


async def _row(tx: Connection, heard: Heard, opening: Callable[[], None]) -> tuple[Any, bool, bool]:
    """The conversation's row, whether it is new, and whether it is not sure whose it is by the pages."""
    of_provider = (_C.site == heard.site, _C.provider == heard.provider)
    columns = (*CONVERSATION, _C.said, _C.tied, _C.said_at, _C.answered_at)
    query = select(*columns).where(*of_provider, _C.external == heard.external)
    # Strangers' pages may name any id, so that there may be many rows that no webhook has told of.
    known = query.where(_C.tied.is_not(None)).limit(1)
    told = (await tx.execute(known.with_for_update())).first()
    if told is not None:
        return told, False, told.tied == "unsure"
    around = _C.started_at.between(heard.at - CLAIM_SECONDS, heard.at + CLAIM_SECONDS)
    claims = (await tx.execute(query.where(around).limit(2).with_for_update())).all()
    mine = None
    if heard.visitor is not None:
        mine = (await tx.execute(query.where(_C.visitor == heard.visitor).with_for_update())).first()
    elif len(claims) == 1:
        mine = claims[0]
    if mine is None and heard.visitor is not None:
        # A page told that its visitor writes, and could not say where.
        recent = (
            _C.visitor == heard.visitor,
            _C.external.is_(None),
            _C.updated_at > heard.at - REOPEN_SECONDS,
        )
        named = select(*columns).where(*of_provider, *recent).order_by(_C.started_at.desc()).limit(1)
        mine = (await tx.execute(named.with_for_update())).first()
    if mine is not None:
        values: dict[str, Any] = {"external": heard.external}
        if heard.says != "ended":
            values["state"] = "open"
        change = update(conversations).where(_C.id == mine.id).values(**values).returning(*columns)
        return (await tx.execute(change)).one(), False, False
    opening()
    new = Conversation(new_id(), heard.site, "", heard.language, None, "open", None, heard.at, heard.at)
    values = {column.name: getattr(new, column.name) for column in CONVERSATION}
    made = insert(conversations).values(
        **values, said=0, provider=heard.provider, external=heard.external, client=heard.sender.client
    )
    return (await tx.execute(made.returning(*columns))).one(), True, len(claims) > 1


def _visitor(heard: Heard, row: Any, unsure: bool) -> tuple[str, str]:
    """Whose it is now, and by what."""
    known = _SURE.get(row.tied or "", 0)
    # Of two attributes the later one counts: the browser may have become another visitor.
    surer = heard.tied is not None and (heard.tied == "attr" or _SURE[heard.tied] > known)
    if heard.visitor is not None and heard.tied is not None and surer:
        return heard.visitor, heard.tied
    if known:
        return row.visitor, row.tied
    if unsure:
        return "", "unsure"
    return row.visitor, "id" if row.visitor else ""


async def _drop_others(tx: Connection, heard: Heard, kept: str, visitor: str) -> None:
    """Remove what this visitor's pages told of the same conversation, unless an order refers to it."""
    own = (_C.site == heard.site, _C.provider == heard.provider, _C.visitor == visitor, _C.id != kept)
    recent = and_(_C.external.is_(None), _C.updated_at > heard.at - REOPEN_SECONDS, _C.tied.is_(None))
    same: ColumnElement[bool] = or_(_C.external == heard.external, recent)
    for row in (await tx.execute(select(_C.id).where(*own, same).with_for_update())).all():
        ordered = select(exists().where(orders.c.site == heard.site, orders.c.conversation == row.id))
        if await tx.scalar(ordered):
            await tx.execute(update(conversations).where(_C.id == row.id).values(external=None))
            continue
        await tx.execute(delete(messages).where(_M.conversation == row.id))
        await tx.execute(delete(conversations).where(_C.id == row.id))


async def _last_line(tx: Connection, conversation: str) -> float:
    """When the last message was written of which a webhook told."""
    named = (_M.conversation == conversation, _M.client_id.is_not(None))
    return float(await tx.scalar(select(func.max(_M.at)).where(*named)) or 0.0)


async def _add_lines(tx: Connection, conversation: str, heard: Heard) -> Sequence[Line]:
    """Add the messages that are new."""
    if not heard.lines:
        return ()
    ids = {line.id: line for line in heard.lines}
    query = select(_M.client_id).where(_M.conversation == conversation, _M.client_id.in_(list(ids)))
    known = {row[0] for row in (await tx.execute(query)).all()}
    new = [line for name, line in ids.items() if name not in known]
    if not new:
        return ()
    count = select(func.count()).select_from(messages).where(_M.conversation == conversation)
    room = max(0, ROWS - int(await tx.scalar(count) or 0))
    for line in new[:room]:
        author: Author = line.author
        agent = None if line.agent is None else f"{heard.provider}:{line.agent}"[:64]
        values = {"conversation": conversation, "author": author, "agent": agent, "text": line.text}
        at = heard.at if line.at is None else line.at
        await tx.execute(insert(messages).values(**values, client_id=line.id, at=at))
    if any(line.author == "visitor" for line in new):
        # What a page told of the same.
        unnamed = (_M.conversation == conversation, _M.client_id.is_(None), _M.author == "visitor")
        gone = await tx.execute(delete(messages).where(*unnamed))
        if gone.rowcount:
            less = update(conversations).where(_C.id == conversation)
            await tx.execute(less.values(said=_C.said - gone.rowcount))
    later = [line.at or heard.at for line in new[room:] if line.author == "visitor"]
    if later:
        # When the visitor wrote last decides which orders are the chat's.
        of_visitor = (_M.conversation == conversation, _M.author == "visitor")
        last = select(func.max(_M.id)).where(*of_visitor).scalar_subquery()
        await tx.execute(update(messages).where(_M.id == last, _M.at < max(later)).values(at=max(later)))
    await tx.announce()
    return new[:room]
