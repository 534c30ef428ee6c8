"""The numbers of orders: the first one, and further ones where an order is reported with several."""

from collections.abc import Collection, Sequence

from sqlalchemy import insert, select, update

from .adding import Additions, NumberOf
from .connection import Connection
from .prepared import Prepared, values_of
from .schema import order_numbers as numbers_table
from .schema import orders as orders_table

_N, _O = numbers_table.c, orders_table.c
_ADD = Prepared(insert(numbers_table).values(values_of(list(numbers_table.c))))


def add_first(new: Additions, site: str, order: NumberOf, number: str) -> None:
    """Have a new order found by its first number. The transaction fails with a conflict if another order has
    the number, also as a further one; a writer that is about to commit it is waited for."""
    new.add(numbers_table, {"site": site, "number": number, "order": order})


async def keep_numbers(
    tx: Connection,
    site: str,
    row: int,
    numbers: Sequence[str],
    *,
    named: Collection[str],
    others: Collection[int],
) -> bool:
    """Have an order found by all its numbers, which `others` had until now. `named` are the numbers of the
    report that is being written.

    False, and nothing is written, if another order has one of these: a writer was faster, and the two orders
    have to be merged. The transaction fails with a conflict if another writer adds one of them meanwhile.
    """
    found = (
        select(_N.number, _N.order, _O.order_id, _O.merged_into)
        .join_from(numbers_table, orders_table, _O.id == _N.order)
        .where(_N.site == site, _N.number.in_(numbers))
    )
    known = {one.number: one for one in await tx.execute(found)}
    foreign = [one for one in known.values() if one.order not in (row, *others) and one.merged_into is None]
    if any(one.number in named for one in foreign):
        return False
    # Another order keeps the number that it was first reported with.
    kept = {one.number for one in foreign if one.number == one.order_id}
    moved = [number for number, one in known.items() if one.order != row and number not in kept]
    if moved:
        there = (_N.site == site, _N.number.in_(moved))
        await tx.execute(update(numbers_table).where(*there).values(order=row))
    new = [{"site": site, "number": n, "order": row} for n in dict.fromkeys(numbers) if n not in known]
    if new:
        await tx.execute(_ADD, new)
    return True
