"""What leaves the ledger for other programs: pages of rows with a cursor to go on from.

A page reads rows behind the cursor, which is the number of a change and that of its row (`changes.py`), so
what changed comes again. A message is never changed, but one with a lower number may be committed later, so
messages are read up to where that cannot be any more (`tail.py`). No time matters.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Row, Select, desc

from .connection import Connection
from .database import Database
from .export_rows import KINDS, Kind, Line, Place
from .tail import settled_number

_ORDER = ("site", "order_id")
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
    "offers": (
        *("offer", "site", "conversation", "visitor", "agent", "rule", "label", "page", "cart", "coupon"),
        *("coupon_code", "sent_at", "expires_at", "clicked_at", "order_id", "followed_by"),
        "changed_at",
    ),
    "callbacks": (
        *("callback", "site", "visitor", "phone", "topic", "language", "wished_at", "state", "calls"),
        *("agent", "order_id", "partner", "made_at", "changed_at"),
    ),
    "exposures": (
        *("exposure", "site", "rule", "edition", "arm", "visitor", "eligible_at", "assigned_at"),
        *("rendered_at", "seen_at", "dismissed_at", "accepted_at", "went_on_at", "changed_at"),
        *("seconds", "visit", "cart", "cart_currency"),
    ),
    "conversations": (
        *("message", "conversation", "site", "visitor", "language", "author", "agent", "text", "kind"),
        *("extra", "at", "rating", "rating_text"),
    ),
    "talks": (
        *("line", "site", "conversation", "visitor", "kind", "by", "agent", "before", "department", "why"),
        *("rule", "first_answer", "length", "messages", "rating", "orders"),
        *("internal", "at", "sensible"),
    ),
    "revisions": ("site", "revision", "at", "by", "note", "rules", "origin"),
}
"""The columns of each kind of row, in their order."""

EVENTS: Final = ("holds", "commissions", "payouts")
"""Further kinds of rows, of which events are made: no program exports them."""

NUMBERS: Final = frozenset(
    {
        "version",
        "order_version",
        "decision",
        "sequence",
        "attempts",
        "callback",
        "exposure",
        "calls",
        "last_status",
        "message",
        "offer",
        "line",
        "rating",
        "first_answer",
        "length",
        "messages",
        "orders",
        "revision",
        "rules",
    }
)
"""The columns that are whole numbers; all others are text. Any may be None."""


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
class ExportEntry:
    """The rows of one entry, and the cursor behind it."""

    rows: Sequence[Line]
    cursor: str


class Exports:
    """Pages of the ledger's rows."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(self, kind: str, wanted: Wanted, after: str | None, limit: int) -> Page:
        """The next rows of a kind (one of COLUMNS, or of EVENTS) behind the cursor `after`, of at most
        `limit` entries; an entry has several rows where an order has several partners or arrivals. Raises
        CursorError, and LedgerBusyError where messages are not settled."""
        place = _place(kind, after)
        found = await self._readable(kind)

        async def work(connection: Connection) -> Page:
            entries, taken = await _entries(connection, kind, found, wanted, place, limit)
            if not entries:
                before = await _before(connection, found, place, wanted)
                return Page((), _cursor(kind, before), more=False)
            columns = COLUMNS.get(kind)
            lines = [line for entry in entries for line in entry.rows]
            rows = [line if columns is None else {name: line[name] for name in columns} for line in lines]
            return Page(rows, entries[-1].cursor, more=taken)

        return await self._db.query(work)

    async def entries(
        self, kind: str, wanted: Wanted, after: str | None, limit: int
    ) -> tuple["ExportEntry", ...]:
        """The next entries of a kind behind the cursor `after`, at most so many, each with its rows and the
        cursor behind it. Raises as `page` does."""
        place = _place(kind, after)
        found = await self._readable(kind)

        async def work(connection: Connection) -> tuple[ExportEntry, ...]:
            return (await _entries(connection, kind, found, wanted, place, limit))[0]

        return await self._db.query(work)

    async def _readable(self, kind: str) -> Kind:
        """The kind, whose query selects nothing behind which a row may yet appear."""
        found = KINDS[kind]
        if found.id is None:
            return found
        end = await settled_number(self._db)

        def query(place: Place) -> Select[Any]:
            return found.query(place).where(found.id <= end)

        return replace(found, query=query)


async def _before(connection: Connection, kind: Kind, place: Place, wanted: Wanted) -> Place:
    """Where to go on if there was nothing: not before `since`."""
    if wanted.since is None:
        return place
    earlier = kind.query(place).where(kind.at < wanted.since).order_by(None)
    last = earlier.order_by(desc("number"), desc("place")).limit(1)
    row = (await connection.execute(last)).first()
    return place if row is None else (row.number, row.place)


async def _entries(
    connection: Connection, kind: str, found: Kind, wanted: Wanted, place: Place, limit: int
) -> tuple[tuple[ExportEntry, ...], bool]:
    """The entries behind a place, and whether there may be more."""
    query = found.query(place).limit(limit)
    if wanted.site is not None:
        query = query.where(
            found.site.in_((wanted.site, "")) if found.everywhere else found.site == wanted.site
        )
    if wanted.since is not None:
        query = query.where(found.at >= wanted.since)
    taken: list[Row[Any]] = []
    for row in (await connection.execute(query)).all():
        if wanted.until is not None and row.at_time >= wanted.until:
            break
        taken.append(row)
    if not taken:
        return (), False
    lines = await found.lines(connection, taken)
    cursors = (_cursor(kind, (row.number, row.place)) for row in taken)
    return tuple(map(ExportEntry, lines, cursors)), len(taken) == limit


def check_cursor(kind: str, cursor: str) -> None:
    """Raise CursorError if it is no cursor of this kind of rows."""
    _place(kind, cursor)


def _place(kind: str, after: str | None) -> Place:
    texts = kind in ("postbacks", "holds")
    if after is None:
        return 0, "" if texts else 0
    found = re.fullmatch(rf"{kind}-(\d{{1,18}})-([\w-]{{0,40}})", after[:100], re.ASCII)
    if found is None or not (texts or re.fullmatch(r"\d{1,18}", found[2], re.ASCII)):
        raise CursorError(
            f"{after[:60]!r} is no cursor of {kind}: give the one that an export of {kind} ended with"
        )
    return int(found[1]), found[2] if texts else int(found[2])


def _cursor(kind: str, place: Place) -> str:
    return f"{kind}-{place[0]}-{place[1]}"
