"""The rows of each kind that leave the ledger, see `exports.py`: what is read behind a place, and the lines
that are made of it."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Row, Select, and_, exists, func, literal, or_, select

from ...payouts.account import decimal
from ...referral.touches import Click, Touch
from .changes import settled
from .connection import Connection
from .schema import (
    callbacks,
    commissions,
    conversations,
    decisions,
    desk_log,
    exposures,
    messages,
    offers,
    orders,
    payouts,
    postbacks,
    rule_revisions,
    shares,
)
from .schema import commission_entries as entries
from .talk_figures import COUNTS

Value = str | int | None
Place = tuple[int, Any]
"""The number of a change, and the row."""
Line = Mapping[str, Value]
Lines = Sequence[Sequence[Line]]
"""Of each row."""
_CAMPAIGN = ("utm_source", "utm_medium", "utm_campaign")


@dataclass(frozen=True, slots=True)
class Kind:
    """`query` selects what is behind a place: each row has the `number` of its change, its own `place`, and
    the time `at_time` of the change. `lines` makes the lines of each such row."""

    query: Callable[[Any], Select[Any]]
    lines: Callable[[Connection, Sequence[Row[Any]]], Awaitable[Lines]]
    site: Any
    at: Any
    everywhere: bool = False
    """A row without a site is one of each site."""
    id: Any = None
    """That of messages, which do not become visible in the order of their ids: see `tail.settled_number`."""


def _behind(number: Any, row: Any, place: Place) -> tuple[ColumnElement[bool], ...]:
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


def _orders(place: Place) -> Select[Any]:
    return (
        select(
            *(*_O, _O.id.label("place"), _O.written.label("number"), _O.changed_at.label("at_time")),
            _into.c.order_id.label("into"),
        )
        .outerjoin_from(orders, _into, _into.c.id == _O.merged_into)
        .where(*_behind(_O.written, _O.id, place))
        .order_by(_O.written, _O.id)
    )


async def _order_lines(_connection: Connection, rows: Sequence[Row[Any]]) -> Lines:
    plain = ("spelling", "version", "currency", "refunded", "coupon", "channel", "source", "visitor")
    lines: list[Line] = [
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
    return [[line] for line in lines]


def _decisions(*columns: Any) -> Callable[[Place], Select[Any]]:
    own = decisions.c

    def query(place: Place) -> Select[Any]:
        row = (own.id.label("place"), own.written.label("number"), own.at.label("at_time"))
        return (
            select(*_OF_ORDER, *row, *columns)
            .join_from(decisions, orders, _O.id == own.order)
            .where(*_behind(own.written, own.id, place))
            .order_by(own.written, own.id)
        )

    return query


async def _credit_lines(connection: Connection, rows: Sequence[Row[Any]]) -> Lines:
    """A line for each share, or one without a partner where nobody earns the order."""
    found: dict[int, list[Row[Any]]] = defaultdict(list)
    own = shares.c
    query = select(shares).where(own.decision.in_([row.place for row in rows])).order_by(own.partner)
    for share in await connection.execute(query):
        found[share.decision].append(share)
    nobody: list[Row[Any] | None] = [None]
    return [[_credit_line(row, share) for share in found[row.place] or nobody] for row in rows]


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


async def _touch_lines(_connection: Connection, rows: Sequence[Row[Any]]) -> Lines:
    """A line for each click of each arrival that a decision went by, or one without a click."""
    return [
        [
            _touch_line(row, touch, click)
            for touch in map(Touch.from_json, row.inputs["touches"])
            for click in touch.clicks or (Click("", "", ""),)
        ]
        for row in rows
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


def _postbacks(place: Place) -> Select[Any]:
    own = postbacks.c
    row = (own.id.label("place"), own.written.label("number"), own.finished_at.label("at_time"))
    return (
        select(_O.order_id, *own, *row)
        .join_from(postbacks, orders, _O.id == own.order)
        .where(own.finished_at.is_not(None), *_behind(own.written, own.id, place))
        .order_by(own.written, own.id)
    )


async def _postback_lines(_connection: Connection, rows: Sequence[Row[Any]]) -> Lines:
    plain = (
        *("id", "site", "order_id", "partner", "sequence", "event", "state", "attempts", "last_status"),
        "hold",
    )
    return [
        [
            {
                **{name: getattr(row, name) for name in plain},
                "amount": row.report["amount"],
                "currency": row.report["currency"],
                "created_at": timestamp(row.created_at),
                "since": timestamp(row.next_at),
                "finished_at": timestamp(row.finished_at),
                "why": _readable(row.why),
            }
        ]
        for row in rows
    ]


def _holds(place: Place) -> Select[Any]:
    """Postbacks that are held, and those that were and are due now."""
    own = postbacks.c
    row = (own.id.label("place"), own.written.label("number"), own.created_at.label("at_time"))
    return (
        select(_O.order_id, *own, *row)
        .join_from(postbacks, orders, _O.id == own.order)
        # What was never held has no reason.
        .where(own.finished_at.is_(None), own.why.is_not(None), own.written > 0)
        .where(*_behind(own.written, own.id, place))
        .order_by(own.written, own.id)
    )


def _commissions(place: Place) -> Select[Any]:
    own, now, earlier = entries.c, commissions.c, entries.alias()
    row = (own.id.label("place"), own.written.label("number"), own.at.label("at_time"))
    key = ("order", "partner", "currency")
    before = (earlier.c.id < own.id, *(earlier.c[name] == own[name] for name in key))
    return (
        select(
            _O.order_id,
            *own,
            *row,
            now.state,
            now.amount.label("total"),
            exists().where(*before).label("known"),
        )
        .join_from(entries, orders, _O.id == own.order)
        .join(commissions, and_(*(now[name] == own[name] for name in key)))
        .where(*_behind(own.written, own.id, place))
        .order_by(own.written, own.id)
    )


async def _commission_lines(_connection: Connection, rows: Sequence[Row[Any]]) -> Lines:
    plain = ("site", "order_id", "partner", "currency", "kind", "source", "by", "why", "ref", "state", "part")
    return [
        [
            {
                **{name: getattr(row, name) for name in plain},
                "known": int(row.known),
                "at": timestamp(row.at),
                "change": _decimal(row.amount, row.currency),
                "amount": _decimal(row.total, row.currency),
            }
        ]
        for row in rows
    ]


def _payouts(place: Place) -> Select[Any]:
    own = payouts.c
    # Each is written in a transaction of its own.
    place_of = literal(0, BigInteger())
    row = (place_of.label("place"), own.written.label("number"), own.made_at.label("at_time"))
    return select(*own, *row).where(*_behind(own.written, place_of, place)).order_by(own.written)


async def _payout_lines(_connection: Connection, rows: Sequence[Row[Any]]) -> Lines:
    plain = ("site", "name", "partner", "period", "currency", "lines")
    return [
        [
            {
                **{name: getattr(row, name) for name in plain},
                "amount": _decimal(row.amount, row.currency),
                "made_at": timestamp(row.made_at),
            }
        ]
        for row in rows
    ]


def _decimal(amount: int | None, currency: str) -> str | None:
    """An amount in minor units as text."""
    return None if amount is None else f"{decimal(amount, currency):f}"


def _messages(place: Place) -> Select[Any]:
    own, talk = messages.c, conversations.c
    row = (own.id.label("place"), own.id.label("number"), own.at.label("at_time"))
    return (
        select(
            *(*row, own.conversation, own.author, own.agent),
            *(own.text, own.kind, own.extra, talk.site, talk.visitor, talk.language),
            *(talk.rating, talk.rating_text),
        )
        .join_from(messages, conversations, talk.id == own.conversation)
        .where(own.id > place[1])
        .order_by(own.id)
    )


async def _message_lines(_connection: Connection, rows: Sequence[Row[Any]]) -> Lines:
    plain = ("conversation", "site", "visitor", "language", "author", "agent")
    return [
        [
            {
                "message": row.place,
                **{name: getattr(row, name) for name in plain},
                "text": _readable(row.text),
                "kind": row.kind,
                "extra": row.extra,
                "at": timestamp(row.at_time),
                "rating": row.rating,
                "rating_text": None if row.rating_text is None else _readable(row.rating_text),
            }
        ]
        for row in rows
    ]


def _offers(place: Place) -> Select[Any]:
    own = offers.c
    row = (own.id.label("place"), own.written.label("number"), own.changed_at.label("at_time"))
    return (
        select(*own, *row, _O.order_id)
        .outerjoin_from(offers, orders, _O.id == own.order)
        .where(*_behind(own.written, own.id, place))
        .order_by(own.written, own.id)
    )


async def _offer_lines(_connection: Connection, rows: Sequence[Row[Any]]) -> Lines:
    plain = ("site", "conversation", "visitor", "agent", "rule", "label", "page", "cart", "coupon")
    return [
        [
            {
                "offer": row.place,
                **{name: getattr(row, name) for name in plain},
                "coupon_code": row.coupon_code,
                "sent_at": timestamp(row.made_at),
                "expires_at": timestamp(row.expires_at),
                "clicked_at": timestamp(row.clicked_at),
                "order_id": row.order_id,
                "followed_by": row.followed_by,
                "changed_at": timestamp(row.changed_at),
            }
        ]
        for row in rows
    ]


_OF_TALK = (
    "visitor",
    "rule",
    "started_at",
    "answered_at",
    "said_at",
    "updated_at",
    "said",
    "rating",
    "sensible",
)


def _talks(place: Place) -> Select[Any]:
    own, talk = desk_log.c, conversations.c
    sold = (
        select(func.coalesce(func.sum(COUNTS), 0))
        .select_from(orders)
        .where(_O.site == talk.site, _O.conversation == talk.id)
        .correlate(conversations)
        .scalar_subquery()
    )
    row = (own.id.label("place"), own.id.label("number"), own.at.label("at_time"))
    return (
        select(*own, *row, *(talk[name] for name in _OF_TALK), sold.label("orders"))
        .outerjoin_from(desk_log, conversations, talk.id == own.conversation)
        # In the order in which they become visible: see `desk_log.py`.
        .where(own.id > place[0])
        .order_by(own.id)
    )


def _seconds(start: float | None, end: float | None) -> int | None:
    """Whole seconds between two times, if both are known."""
    return None if start is None or end is None else max(0, round(end - start))


async def _talk_lines(_connection: Connection, rows: Sequence[Row[Any]]) -> Lines:
    plain = ("site", "conversation", "visitor", "kind", "by", "agent", "before", "department", "why")
    return [
        [
            {
                "line": row.place,
                **{name: getattr(row, name) for name in (*plain, "rule", "rating")},
                "first_answer": _seconds(row.started_at, row.answered_at),
                "length": _seconds(row.started_at, row.said_at or row.updated_at),
                "messages": row.said,
                "orders": None if row.started_at is None else row.orders,
                "internal": _readable(row.text),
                "at": timestamp(row.at_time),
                "sensible": None if row.sensible is None else "yes" if row.sensible else "no",
            }
        ]
        for row in rows
    ]


def _callbacks(place: Place) -> Select[Any]:
    own = callbacks.c
    row = (own.id.label("place"), own.written.label("number"), own.changed_at.label("at_time"))
    return select(*own, *row).where(*_behind(own.written, own.id, place)).order_by(own.written, own.id)


async def _callback_lines(_connection: Connection, rows: Sequence[Row[Any]]) -> Lines:
    plain = ("site", "visitor", "phone", "topic", "language", "state", "calls", "agent", "partner")
    return [
        [
            {
                "callback": row.place,
                **{name: getattr(row, name) for name in plain},
                "order_id": row.order,
                "wished_at": timestamp(row.wished_at),
                "made_at": timestamp(row.made_at),
                "changed_at": timestamp(row.changed_at),
            }
        ]
        for row in rows
    ]


def _exposures(place: Place) -> Select[Any]:
    own = exposures.c
    row = (own.id.label("place"), own.written.label("number"), own.changed_at.label("at_time"))
    return select(*own, *row).where(*_behind(own.written, own.id, place)).order_by(own.written, own.id)


async def _exposure_lines(_connection: Connection, rows: Sequence[Row[Any]]) -> Lines:
    times = ("eligible", "assigned", "rendered", "seen", "dismissed", "accepted", "went_on", "changed")
    stood = ("seconds", "visit", "cart", "cart_currency")
    return [
        [
            {
                "exposure": row.place,
                **{name: getattr(row, name) for name in ("site", "rule", "edition", "arm", "visitor")},
                **{f"{name}_at": timestamp(getattr(row, f"{name}_at")) for name in times},
                **{name: getattr(row, name) for name in stood},
            }
        ]
        for row in rows
    ]


def _revisions(place: Place) -> Select[Any]:
    own = rule_revisions.c
    row = (own.id.label("place"), own.id.label("number"), own.at.label("at_time"))
    told = (own.site, own.number.label("revision"), own.by, own.note, own.count.label("rules"))
    settings = own.text.is_(None).label("settings")
    # Written one after the other: see `rule_revisions.py`.
    return select(*told, settings, *row).where(own.id > place[0]).order_by(own.id)


async def _revision_lines(_connection: Connection, rows: Sequence[Row[Any]]) -> Lines:
    plain = ("site", "revision", "by", "note", "rules")
    return [
        [
            {
                **{name: getattr(row, name) for name in plain},
                "origin": "settings" if row.settings else "people",
                "at": timestamp(row.at_time),
            }
        ]
        for row in rows
    ]


_CREDITS = _decisions(decisions.c.order_version, decisions.c.policy, decisions.c.reason)
_TOUCHES = _decisions(decisions.c.inputs, _O.visitor)
KINDS: Final[Mapping[str, Kind]] = {
    "orders": Kind(_orders, _order_lines, _O.site, _O.changed_at),
    "credits": Kind(_CREDITS, _credit_lines, _O.site, decisions.c.at),
    "postbacks": Kind(_postbacks, _postback_lines, postbacks.c.site, postbacks.c.finished_at),
    "touches": Kind(_TOUCHES, _touch_lines, _O.site, decisions.c.at),
    "holds": Kind(_holds, _postback_lines, postbacks.c.site, postbacks.c.created_at),
    "commissions": Kind(_commissions, _commission_lines, entries.c.site, entries.c.at),
    "payouts": Kind(_payouts, _payout_lines, payouts.c.site, payouts.c.made_at),
    "offers": Kind(_offers, _offer_lines, offers.c.site, offers.c.changed_at),
    "callbacks": Kind(_callbacks, _callback_lines, callbacks.c.site, callbacks.c.changed_at),
    "exposures": Kind(_exposures, _exposure_lines, exposures.c.site, exposures.c.changed_at),
    "conversations": Kind(_messages, _message_lines, conversations.c.site, messages.c.at, id=messages.c.id),
    "talks": Kind(_talks, _talk_lines, desk_log.c.site, desk_log.c.at, everywhere=True),
    "revisions": Kind(_revisions, _revision_lines, rule_revisions.c.site, rule_revisions.c.at),
}
