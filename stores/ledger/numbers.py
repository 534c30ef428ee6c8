"""The further numbers of orders: an order may be reported with several."""

from collections.abc import Collection, Sequence

from sqlalchemy import insert, or_, select, update

from .connection import Connection
from .schema import order_numbers as numbers_table
from .schema import orders as orders_table

_N, _O = numbers_table.c, orders_table.c


async def keep_numbers(
    tx: Connection,
    site: str,
    row: int,
    further: Sequence[str],
    *,
    named: Collection[str],
    others: Collection[int],
) -> bool:
    """Have an order found by its further numbers, which `others` had until now. `named` are the numbers of
    the report that is being written.

    False, and nothing is written, if another order has one of these: a writer was faster, and the two orders
    have to be merged.
    """
    found = select(_N.number, _N.order).where(_N.site == site, _N.number.in_(further))
    known = {one.number: one.order for one in await tx.execute(found)}
    mine = (row, *others)
    if shared := [number for number in further if number in named]:
        had = _O.id.in_([known[number] for number in shared if number in known])
        another = select(_O.id).where(
            _O.site == site,
            _O.merged_into.is_(None),
            _O.id.not_in(mine),
            or_(_O.order_id.in_(shared), had),
        )
        if (await tx.execute(another.limit(1))).first() is not None:
            return False
    moved = [number for number, order in known.items() if order != row]
    if moved:
        there = (_N.site == site, _N.number.in_(moved))
        await tx.execute(update(numbers_table).where(*there).values(order=row))
    new = [{"site": site, "number": n, "order": row} for n in further if n not in known]
    if new:
        await tx.execute(insert(numbers_table), new)
    return True
