"""Where each endpoint for events stands: how far it was told, and whether it fails.

No event is stored. What an endpoint has yet to be told is what the ledger has behind its cursors
(`exports.py`), which number the transactions that wrote it. So an event is in the ledger with its change or
not at all, whichever process wrote it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Table, func, insert, select, update

from .changes import settled
from .connection import Connection
from .database import Database
from .errors import LedgerConflictError
from .schema import (
    callbacks,
    commission_entries,
    decisions,
    desk_log,
    endpoints,
    offers,
    orders,
    payouts,
    postbacks,
    rule_revisions,
)

_C = endpoints.c
_TABLES: Final[Mapping[str, Table]] = {
    "orders": orders,
    "credits": decisions,
    "commissions": commission_entries,
    "postbacks": postbacks,
    "holds": postbacks,
    "payouts": payouts,
    "offers": offers,
    "callbacks": callbacks,
    "talks": desk_log,
    "revisions": rule_revisions,
}
# Behind every row of a change, whichever rows it wrote.
_LAST: Final[Mapping[str, str]] = {
    kind: "z" * 40 if table is postbacks else "9" * 18 for kind, table in _TABLES.items()
}


_NUMBERED: Final = (desk_log, rule_revisions)
"""Tables whose rows are never changed, and numbered as they become visible."""


def _number(table: Table) -> Any:
    """What numbers the changes of a table."""
    return table.c.id if table in _NUMBERED else table.c.written


def number_of(cursor: str | None) -> int:
    """The number of the change at which a cursor stands."""
    return -1 if cursor is None else int(cursor.split("-", 2)[1])


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """`cursors` are those of the exports, by kind. `attempts` counts the failures since the last success,
    which began at `failing_since`; the next try is at `next_at`. `disabled_at`: it gets nothing any more,
    `why` says the reason. `holder` is the process that tells it, until `until`. Times are unix seconds."""

    site: str
    name: str
    cursors: Mapping[str, str]
    attempts: int
    failing_since: float | None
    next_at: float
    last_status: int | None
    last_answer: str | None
    sent_at: float | None
    disabled_at: float | None
    why: str | None
    holder: str | None
    until: float | None


class Endpoints:
    """The endpoints of all sites."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def ends(self) -> Mapping[str, str]:
        """By kind, the cursor behind all that has been written."""

        async def work(connection: Connection) -> Mapping[str, str]:
            found = {}
            for kind, table in _TABLES.items():
                written = _number(table)
                query = select(func.max(written))
                if table not in _NUMBERED:
                    query = query.where(written < settled())
                last = await connection.scalar(query)
                found[kind] = f"{kind}-{int(last or 0)}-{_LAST[kind]}"
            return found

        return await self._db.query(work)

    async def changed(
        self, since: Mapping[str, str]
    ) -> tuple[Mapping[str, str], Mapping[str, Mapping[str, str]]]:
        """What `ends` returns, and of each site with changes behind the `ends` of before the cursors behind
        its last ones, by kind. Under an empty name is what concerns all sites."""

        async def work(connection: Connection) -> Mapping[str, Mapping[str, str]]:
            found: dict[str, dict[str, str]] = {}
            for kind, table in _TABLES.items():
                first, last = number_of(since[kind]), number_of(ends[kind])
                if last <= first:
                    continue
                written, site = _number(table), table.c.get("site", orders.c.site)
                query = select(site, func.max(written)).where(written > first, written <= last)
                if table is decisions:
                    query = query.join_from(table, orders, orders.c.id == table.c.order)
                for name, highest in (await connection.execute(query.group_by(site))).all():
                    found.setdefault(name, {})[kind] = f"{kind}-{int(highest)}-{_LAST[kind]}"
            return found

        ends = await self.ends()
        return ends, await self._db.query(work)

    async def list(self) -> tuple[EndpointRow, ...]:
        """All endpoints that there ever were, by site and name."""
        async with self._db.read() as connection:
            rows = (await connection.execute(select(endpoints).order_by(_C.site, _C.name))).all()
        return tuple(EndpointRow(**row._mapping) for row in rows)

    async def take(
        self, site: str, name: str, holder: str, ends: Mapping[str, str], now: float, until: float
    ) -> EndpointRow | None:
        """Hold an endpoint: nobody else tells it until then. A new one begins behind `ends`. None if another
        process holds it, if it is disabled, or if its next try is later."""
        own = (_C.site == site, _C.name == name)

        async def work(tx: Connection) -> EndpointRow | None:
            row = (await tx.execute(select(endpoints).where(*own))).first()
            if row is None:
                first = {"cursors": dict(ends), "attempts": 0, "next_at": 0.0}
                held = {"holder": holder, "until": until}
                await tx.execute(insert(endpoints).values(site=site, name=name, **first, **held))
                row = (await tx.execute(select(endpoints).where(*own))).first()
                return EndpointRow(**row._mapping)
            found = EndpointRow(**row._mapping)
            if found.disabled_at is not None or found.next_at > now:
                return None
            if found.holder not in (None, holder) and now < (found.until or 0.0) <= now + 2 * (until - now):
                return None
            same = update(endpoints).where(*own, _C.holder.is_not_distinct_from(found.holder))
            same = same.where(_C.until.is_not_distinct_from(found.until))
            taken = await tx.execute(same.values(holder=holder, until=until))
            return found if taken.rowcount else None

        try:
            return await self._db.transact(work)
        except LedgerConflictError:
            # Two processes saw it for the first time.
            return None

    async def held(self, site: str, numbers: Sequence[str]) -> Mapping[str, str]:
        """Those of a site's orders, by number, whose partners are not notified, each with the reason."""
        query = (
            select(orders.c.order_id, func.min(func.coalesce(postbacks.c.why, "in doubt")))
            .join_from(orders, postbacks, postbacks.c.order == orders.c.id)
            .where(orders.c.site == site, orders.c.order_id.in_(list(numbers)), postbacks.c.state == "held")
            .group_by(orders.c.order_id)
        )
        async with self._db.read() as connection:
            return {row[0]: row[1] for row in await connection.execute(query)}

    async def note(self, row: EndpointRow, by: str, **values: Any) -> bool:
        """Write how it stands, `by` who holds it; False if another process has taken it over."""
        own = (_C.site == row.site, _C.name == row.name, _C.holder == by)
        changed = update(endpoints).where(*own).values(**values)

        async def work(tx: Connection) -> bool:
            return bool((await tx.execute(changed)).rowcount)

        return await self._db.transact(work)

    async def resume(self, site: str, name: str, cursors: Mapping[str, str] | None = None) -> bool:
        """Tell it again at once, also if it is disabled; from `cursors` on, else from where it stands. False
        if there is no such endpoint."""
        values: dict[str, Any] = {"attempts": 0, "failing_since": None, "next_at": 0.0, "disabled_at": None}
        values |= {"why": None, "holder": None, "until": None}
        if cursors is not None:
            values["cursors"] = dict(cursors)
        changed = update(endpoints).where(_C.site == site, _C.name == name).values(**values)

        async def work(tx: Connection) -> bool:
            return bool((await tx.execute(changed)).rowcount)

        return await self._db.transact(work)
