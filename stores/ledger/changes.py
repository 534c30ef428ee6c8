"""The numbers of changes, by which an export goes on from where the last one ended.

A time would not do: one transaction may commit after another that has a later time, and clocks are set. So
triggers (`stores/migrations`) give each row that is exported the number of the transaction that wrote it
last. In SQLite, which has one writer at a time, it is the next after the highest. In PostgreSQL it is the
transaction's own (64 bits), on top of a base, with which it grows also where a dump is restored in a new
cluster. What was written since the beginning of a transaction that has not ended is left for the next time.
"""

from typing import Any

from sqlalchemy import BigInteger, func, insert, select, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from .connection import Connection
from .schema import callbacks, decisions, epochs, exposures, offers, orders, payouts, postbacks
from .schema import commission_entries as entries

_BASE = "coalesce((SELECT max(base) FROM epochs), 0)"


class settled(FunctionElement[int]):  # noqa: N801 -- as SQLAlchemy's own functions are called
    """The lowest number that a transaction may have that has not ended."""

    type = BigInteger()
    inherit_cache = True


@compiles(settled, "sqlite")
def _highest(_element: settled, _compiler: Any, **_: Any) -> str:
    return "9223372036854775807"


@compiles(settled, "postgresql")
def _lowest(_element: settled, _compiler: Any, **_: Any) -> str:
    return f"(txid_snapshot_xmin(txid_current_snapshot()) + {_BASE})"


async def go_on(tx: Connection) -> None:
    """In PostgreSQL, have changes from now on get higher numbers than those that are there, which may be
    those of another cluster."""
    highest = 0
    for table in (orders, decisions, postbacks, entries, payouts, offers, callbacks, exposures):
        highest = max(highest, int(await tx.scalar(select(func.max(table.c.written))) or 0))
    base = int(await tx.scalar(text(f"SELECT {_BASE}")))
    current = base + int(await tx.scalar(text("SELECT txid_current()")))
    if highest >= current:
        await tx.execute(insert(epochs).values(base=base + highest + 1 - current))
