"""A visitor's message in an open conversation, in one statement.

In PostgreSQL a transaction of several statements takes a round trip for each, and one to begin and one to
commit it, most of which is what a message costs. So the usual case is one statement, which is a transaction
of its own: it locks the conversation, adds the message and notes it with the conversation. Where it finds
nothing to do (there is no open conversation, the message was sent before, the visitor is blocked), the
transaction in `conversations.py` does what there is to do.

SQLite adds nothing within a question. There the usual case is three statements of one transaction, the first
of which asks all that there is to know.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Float, bindparam, func, insert, literal, null, or_, select, update

from .database import Database
from .errors import LedgerConflictError
from .prepared import Prepared, values_of
from .schema import blocks, conversations, messages

_C, _M = conversations.c, messages.c
_NEWEST = (
    select(_C.id)
    .where(_C.site == bindparam("site"), _C.visitor == bindparam("visitor"), _C.provider.is_(None))
    .order_by(_C.started_at.desc())
    .limit(1)
)
# What it reads of the locked row is committed, also if the statement waited for that.
_FOUND = (
    select(_C.id, _C.last)
    .where(_C.id == _NEWEST.scalar_subquery(), _C.state == "open")
    .with_for_update()
    .cte("found")
)
_OTHERS = conversations.alias("others")
_SENT = (
    select(_M.id)
    .join(_OTHERS, _OTHERS.c.id == _M.conversation)
    .where(
        _OTHERS.c.site == bindparam("site"),
        _OTHERS.c.visitor == bindparam("visitor"),
        _M.client_id == bindparam("client_id"),
    )
)
_HOLDING = (
    blocks.c.site == bindparam("site"),
    blocks.c.until > bindparam("at", type_=Float),
    blocks.c.lifted_at.is_(None),
)
_BLOCKED = or_(
    select(blocks.c.id).where(blocks.c.visitor == bindparam("visitor"), *_HOLDING).exists(),
    select(blocks.c.id).where(blocks.c.client == bindparam("client"), *_HOLDING).exists(),
)
_GIVEN = values_of([_M.text, _M.client_id, _M.at])
_ROW = {
    "conversation": _FOUND.c.id,
    "author": literal("visitor", _M.author.type),
    "agent": null(),
    **_GIVEN,
    "previous": func.coalesce(_FOUND.c.last, 0),
}
_ADDED = (
    insert(messages)
    .from_select(list(_ROW), select(*_ROW.values()).where(~_SENT.exists(), ~_BLOCKED))
    .returning(_M.id, _M.conversation, _M.previous)
    .cte("added")
)


def usual(columns: Sequence[ColumnElement[Any]]) -> Prepared:
    """These columns of the open conversation into which a message goes. None where there is more to be looked
    at: as above."""
    newest = _C.id == _NEWEST.scalar_subquery()
    return Prepared(select(*columns).where(newest, _C.state == "open", ~_SENT.exists(), ~_BLOCKED))


def saying(columns: Sequence[ColumnElement[Any]]) -> Mapping[str, Prepared]:
    """The statement where there is one: its result are these columns of the conversation, and the message and
    the one before it."""
    at = bindparam("at", type_=Float)
    changed = (
        update(conversations)
        .where(_C.id == _ADDED.c.conversation)
        .values(
            said=_C.said + 1,
            said_at=at,
            updated_at=at,
            last=_ADDED.c.id,
            waiting_since=func.coalesce(_C.waiting_since, at),
            **values_of([_C.partner, _C.page, _C.client]),
        )
        .returning(*columns, _ADDED.c.id.label("message"), _ADDED.c.previous.label("previous"))
    )
    return {"postgresql": Prepared(changed)}


async def said(db: Database, statement: Prepared, given: Mapping[str, Any]) -> Any:
    """The row of the statement; None if it did nothing. Raises LedgerError."""
    try:
        return (await db.write(statement, given, is_news=True)).first()
    except LedgerConflictError:
        return None  # the same message is being written by another process
