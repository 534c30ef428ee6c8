"""What leaves the ledger for other programs: pages of rows with a cursor to go on from.

A page reads rows behind the cursor, which is the number of a change and that of its row (`changes.py`), so
what changed comes again. A message is never changed, and the numbers of messages are given in the order in
which they are committed. No time matters.
"""

import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, and_, desc, or_, select

from ...referral.touches import Click, Touch
from .changes import settled
from .connection import Connection
from .database import Database
from .schema import conversations, decisions, messages, orders, postbacks, shares

_ORDER = ("site", "order_id")
_CAMPAIGN = ("utm_source", "utm_medium", "utm_campaign")
COLUMNS: Final[Mapping[str, Sequence[str]]] = {
    "orders": (
        *_ORDER,
        *("spelling", "version", "state", "total", "currency", "refunded", "net", "shipping", "tax"),
        *("discount", "customer", "coupon", "channel", "source", "visitor", "conversation", "agent"),
        *("placed_at", "recorded_at", "changed_at", "merged_into"),
    ),
    "credits": (
        "decision",
        *_ORDER,
        *("order_version", "decided_at", "policy", "partner", "part", "earned", "operator"),
        *("earned_currency", "click_network", "click_param", "click_id", "touched_at", "reason"),
    ),
    "postbacks": (
        "id",
        *_ORDER,
        *("partner", "sequence", "event", "state", "amount", "currency", "attempts", "last_status"),
        *("created_at", "finished_at", "why"),
    ),
    "touches": (
        "decision",
        *_ORDER,
        *("visitor", "at", "click_network", "click_param", "click_id", "partner", "utm_source"),
        *("utm_medium", "utm_campaign", "referrer", "landing", "doubt"),
    ),
    "conversations": (
        *("message", "conversation", "site", "visitor", "language", "author", "agent", "text", "at"),
    ),
}
"""The columns of each kind of row, in their order."""

NUMBERS: Final = frozenset(
    {"version", "order_version", "decision", "sequence", "attempts", "last_status", "message"}
)
"""The columns that are whole numbers; all others are text. Any may be None."""

Value = str | int | None
_Place = tuple[int, Any]
"""The number of a change, and the row."""
Line = Mapping[str, Value]


class CursorError(ValueError):
    """A cursor is not one of this kind of rows; the text says so."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows: of one site or all, written from `since` and before `until` (unix seconds)."""

    site: str | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, the cursor behind the last one, and whether there may be more at once."""

    rows: Sequence[Line]
    cursor: str
    more: bool


@dataclass(frozen=True, slots=True)
class _Kind:
    """`query` selects what is behind a place: each row has the `number` of its change, its own `place`, and
    the time `at_time` of the change. `lines` makes lines of such rows."""

    query: Callable[[Any], Select[Any]]
    lines: Callable[[Connection, Sequence[Row[Any]]], Awaitable[Sequence[Line]]]
    site: Any
    at: Any


class Exports:
    """Pages of the ledger's rows."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(self, kind: str, wanted: Wanted, after: str | None, limit: int) -> Page:
        """The next rows of a kind (one of COLUMNS) behind the cursor `after`, of at most `limit` entries; an
        entry has several rows where an order has several partners or arrivals. Raises CursorError."""
        found = _KINDS[kind]
        place = _place(kind, after)
        query = found.query(place).limit(limit)
        if wanted.site is not None:
            query = query.where(found.site == wanted.site)
        if wanted.since is not None:
            query = query.where(found.at >= wanted.since)

        async def work(connection: Connection) -> Page:
            taken: list[Row[Any]] = []
            for row in (await connection.execute(query)).all():
                if wanted.until is not None and row.at_time >= wanted.until:
                    break
                taken.append(row)
            if not taken:
                before = await self._before(connection, found, place, wanted)
                return Page((), _cursor(kind, before), more=False)
            cursor = _cursor(kind, (taken[-1].number, taken[-1].place))
            lines = await found.lines(connection, taken)
            rows = [{name: line[name] for name in COLUMNS[kind]} for line in lines]
            return Page(rows, cursor, more=len(taken) == limit)

        return await self._db.query(work)

    async def _before(self, connection: Connection, kind: _Kind, place: _Place, wanted: Wanted) -> _Place:
        """Where to go on if there was nothing: not before `since`."""
        if wanted.since is None:
            return place
        earlier = kind.query(place).where(kind.at < wanted.since).order_by(None)
        last = earlier.order_by(desc("number"), desc("place")).limit(1)
        row = (await connection.execute(last)).first()
        return place if row is None else (row.number, row.place)


def check_cursor(kind: str, cursor: str) -> None:
    """Raise CursorError if it is no cursor of this kind of rows."""
    _place(kind, cursor)


def _place(kind: str, after: str | None) -> _Place:
    texts = kind == "postbacks"
    if after is None:
        return 0, "" if texts else 0
    found = re.fullmatch(rf"{kind}-(\d{{1,18}})-([\w-]{{0,40}})", after[:100], re.ASCII)
    if found is None or not (texts or re.fullmatch(r"\d{1,18}", found[2], re.ASCII)):
        raise CursorError(
            f"{after[:60]!r} is no cursor of {kind}: give the one that an export of {kind} ended with"
        )
    return int(found[1]), found[2] if texts else int(found[2])


def _cursor(kind: str, place: _Place) -> str:
    return f"{kind}-{place[0]}-{place[1]}"


def _behind(number: Any, row: Any, place: _Place) -> tuple[ColumnElement[bool], ...]:
    """What is behind a place, of transactions that have ended."""
    behind = or_(number > place[0], and_(number == place[0], row > place[1]))
    return number >= place[0], behind, number < settled()


def timestamp(seconds: float | None) -> str | None:
    """Unix seconds as RFC 3339, in UTC, with milliseconds."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _readable(text: str | None) -> str | None:
    """The text with bytes outside UTF-8, which click ids may have, written as `\\xNN`."""
    if text is None:
        return None
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


_into = orders.alias()
_O = orders.c
_OF_ORDER = (_O.site, _O.order_id)


def _orders(place: _Place) -> Select[Any]:
    return (
        select(
            *(*_O, _O.id.label("place"), _O.written.label("number"), _O.changed_at.label("at_time")),
            _into.c.order_id.label("into"),
        )
        .outerjoin_from(orders, _into, _into.c.id == _O.merged_into)
        .where(*_behind(_O.written, _O.id, place))
        .order_by(_O.written, _O.id)
    )


async def _order_lines(_connection: Connection, rows: Sequence[Row[Any]]) -> Sequence[Line]:
    plain = ("spelling", "version", "currency", "refunded", "coupon", "channel", "source", "visitor")
    return [
        {
            "site": row.site,
            "order_id": row.order_id,
            **{name: _readable(v) if isinstance(v := getattr(row, name), str) else v for name in plain},
            "state": row.state if row.into is None else "merged",
            "total": row.total,
            **{name: row.details.get(name) for name in ("net", "shipping", "tax", "discount", "customer")},
            "conversation": row.conversation,
            "agent": row.agent,
            "placed_at": timestamp(row.placed_at),
            "recorded_at": timestamp(row.recorded_at),
            "changed_at": timestamp(row.changed_at),
            "merged_into": row.into,
        }
        for row in rows
    ]


def _decisions(*columns: Any) -> Callable[[_Place], Select[Any]]:
    own = decisions.c

    def query(place: _Place) -> Select[Any]:
        row = (own.id.label("place"), own.written.label("number"), own.at.label("at_time"))
        return (
            select(*_OF_ORDER, *row, *columns)
            .join_from(decisions, orders, _O.id == own.order)
            .where(*_behind(own.written, own.id, place))
            .order_by(own.written, own.id)
        )

    return query


async def _credit_lines(connection: Connection, rows: Sequence[Row[Any]]) -> Sequence[Line]:
    """A line for each share, or one without a partner where nobody earns the order."""
    found: dict[int, list[Row[Any]]] = defaultdict(list)
    own = shares.c
    query = select(shares).where(own.decision.in_([row.place for row in rows])).order_by(own.partner)
    for share in await connection.execute(query):
        found[share.decision].append(share)
    nobody: list[Row[Any] | None] = [None]
    return [_credit_line(row, share) for row in rows for share in found[row.place] or nobody]


def _credit_line(row: Row[Any], share: Row[Any] | None) -> Line:
    network, param, value = share.click[:3] if share is not None and share.click else (None,) * 3
    return {
        "decision": row.place,
        "site": row.site,
        "order_id": row.order_id,
        "order_version": row.order_version,
        "decided_at": timestamp(row.at_time),
        "policy": row.policy,
        "partner": None if share is None else share.partner,
        "part": None if share is None else share.part,
        "earned": None if share is None else share.commission,
        "operator": None if share is None else share.operator,
        "earned_currency": None if share is None or share.earned is None else share.earned["currency"],
        "click_network": network,
        "click_param": param,
        "click_id": _readable(value) or None,
        "touched_at": None if share is None else timestamp(share.touched_at),
        "reason": _readable(row.reason if share is None else share.reason),
    }


async def _touch_lines(_connection: Connection, rows: Sequence[Row[Any]]) -> Sequence[Line]:
    """A line for each click of each arrival that a decision went by, or one without a click."""
    return [
        _touch_line(row, touch, click)
        for row in rows
        for touch in map(Touch.from_json, row.inputs["touches"])
        for click in touch.clicks or (Click("", "", ""),)
    ]


def _touch_line(row: Row[Any], touch: Touch, click: Click) -> Line:
    return {
        "decision": row.place,
        "site": row.site,
        "order_id": row.order_id,
        "visitor": row.visitor,
        "at": timestamp(touch.at),
        "click_network": click.network or None,
        "click_param": click.param or None,
        "click_id": _readable(click.value) or None,
        "partner": click.partner,
        **{name: _readable(touch.campaign.get(name)) for name in _CAMPAIGN},
        "referrer": _readable(touch.referrer) or None,
        "landing": _readable(touch.landing) or None,
        "doubt": touch.doubt or None,
    }


def _postbacks(place: _Place) -> Select[Any]:
    own = postbacks.c
    row = (own.id.label("place"), own.written.label("number"), own.finished_at.label("at_time"))
    return (
        select(_O.order_id, *own, *row)
        .join_from(postbacks, orders, _O.id == own.order)
        .where(own.finished_at.is_not(None), *_behind(own.written, own.id, place))
        .order_by(own.written, own.id)
    )


async def _postback_lines(_connection: Connection, rows: Sequence[Row[Any]]) -> Sequence[Line]:
    plain = ("id", "site", "order_id", "partner", "sequence", "event", "state", "attempts", "last_status")
    return [
        {
            **{name: getattr(row, name) for name in plain},
            "amount": row.report["amount"],
            "currency": row.report["currency"],
            "created_at": timestamp(row.created_at),
            "finished_at": timestamp(row.finished_at),
            "why": _readable(row.why),
        }
        for row in rows
    ]


def _messages(place: _Place) -> Select[Any]:
    own, talk = messages.c, conversations.c
    row = (own.id.label("place"), own.id.label("number"), own.at.label("at_time"))
    return (
        select(
            *(*row, own.conversation, own.author, own.agent),
            *(own.text, talk.site, talk.visitor, talk.language),
        )
        .join_from(messages, conversations, talk.id == own.conversation)
        .where(own.id > place[1])
        .order_by(own.id)
    )


async def _message_lines(_connection: Connection, rows: Sequence[Row[Any]]) -> Sequence[Line]:
    plain = ("conversation", "site", "visitor", "language", "author", "agent")
    return [
        {
            "message": row.place,
            **{name: getattr(row, name) for name in plain},
            "text": _readable(row.text),
            "at": timestamp(row.at_time),
        }
        for row in rows
    ]


_CREDITS = _decisions(decisions.c.order_version, decisions.c.policy, decisions.c.reason)
_TOUCHES = _decisions(decisions.c.inputs, _O.visitor)
_KINDS: Mapping[str, _Kind] = {
    "orders": _Kind(_orders, _order_lines, _O.site, _O.changed_at),
    "credits": _Kind(_CREDITS, _credit_lines, _O.site, decisions.c.at),
    "postbacks": _Kind(_postbacks, _postback_lines, postbacks.c.site, postbacks.c.finished_at),
    "touches": _Kind(_TOUCHES, _touch_lines, _O.site, decisions.c.at),
    "conversations": _Kind(_messages, _message_lines, conversations.c.site, messages.c.at),
}
