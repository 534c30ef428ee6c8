"""What is entered of the commissions of an order."""

from collections import defaultdict
from typing import Any

from sqlalchemy import Row, bindparam, select

from ...payouts.account import Entry, Verdict, accounts, told
from .connection import Connection
from .prepared import Prepared
from .schema import commission_entries as table

_ENTRIES = Prepared(select(table).where(table.c.order == bindparam("order")).order_by(table.c.id))
_ENTRY = tuple(Entry.__slots__)


async def entries_of(connection: Connection, order: int) -> dict[str, list[Entry]]:
    """The entries of an order by partner, oldest first."""
    found: defaultdict[str, list[Entry]] = defaultdict(list)
    for row in await connection.execute(_ENTRIES, {"order": order}):
        found[row.partner].append(entry_of(row))
    return found


def entry_of(row: Row[Any]) -> Entry:
    """An entry from its row."""
    return Entry(*(getattr(row, name) for name in _ENTRY))


async def verdict_of(connection: Connection, order: int, partner: str) -> Verdict | None:
    """What a partner's network is to be told of its commission for an order; None before there is a
    decision."""
    found = accounts((await entries_of(connection, order)).get(partner, ()))
    return next(filter(None, map(told, found.values())), None)
