"""What orders and partners' parts of them come to: added up by the database as whole minor units, or here.

Amounts have the minor digits of their currency, so without the dot they are minor units. What a share comes
to of an order of which a part was refunded, or that several partners share, needs the largest remainder
(`credit/division.py`), so those orders are added up here.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    String,
    and_,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
)

from ...credit.division import divided
from ...orders.model import SALES
from ...orders.money import minor_digits
from .connection import Connection
from .schema import commissions, orders, shares

NONE: Final[ColumnElement[int]] = literal_column("0")
# Decisions that one query asks for.
_AT_ONCE = 500


def is_sale(state: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether an order of this state is a sale."""
    return state.in_(sorted(SALES))


def is_plain(order: Any = orders.c, share: Any = shares.c) -> ColumnElement[bool]:
    """What the database adds up: whole orders of one partner or of nobody, of which nothing was refunded. Of
    at most twelve digits: a million of them stay below the largest whole number of SQLite."""
    return and_(
        order.total.is_not(None),
        func.length(order.total) <= 13,
        order.refunded == "0",
        or_(share.part.is_(None), share.part == "1"),
    )


def units(column: ColumnElement[Any]) -> ColumnElement[int]:
    """An amount in minor units."""
    return cast(func.replace(column, ".", ""), BigInteger)


def count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    """In how many rows it holds."""
    return func.sum(case((condition, literal_column("1")), else_=NONE))


def money(found: Any, currency: str | None) -> Decimal:
    """Minor units of a currency as an amount."""
    return Decimal(int(found or 0)).scaleb(-minor_digits(currency)) if currency else Decimal()


def of_share() -> ColumnElement[bool]:
    """Joins the commissions of a share to it: one for each currency that the commission had; those of others
    than the present one come to nothing."""
    own = commissions.c
    return and_(own.order == orders.c.id, own.partner == shares.c.partner)


def amount_of(row: Any, parts: Mapping[int, Sequence[Decimal]]) -> Decimal:
    """What a partner's part of an order comes to, of what the customer paid and did not get back; zero where
    the order is no sale. `row` has the order's state, total, refunded and currency, and decision and place of
    the partner's share; `parts` are those of all partners, by decision (`parts_of`)."""
    if row.total is None or row.currency is None or row.state not in SALES:
        return Decimal()
    amount = max(Decimal(row.total) - Decimal(row.refunded), Decimal())
    if row.decision is None or row.place is None or row.decision not in parts:
        return amount
    mine: Decimal = divided(amount, row.currency, parts[row.decision])[row.place]
    return mine


async def parts_of(connection: Connection, several: Collection[int]) -> Mapping[int, Sequence[Decimal]]:
    """The parts of all partners of these decisions, the largest first."""
    found: defaultdict[int, list[Decimal]] = defaultdict(list)
    wanted = list(several)
    for start in range(0, len(wanted), _AT_ONCE):
        query = select(shares.c.decision, shares.c.part).where(
            shares.c.decision.in_(wanted[start : start + _AT_ONCE])
        )
        for row in await connection.execute(query.order_by(shares.c.decision, shares.c.place)):
            found[row.decision].append(Decimal(row.part))
    return found


def is_made_up(order: Any = orders.c) -> ColumnElement[bool]:
    """Whether only a browser has told an order, and it is in doubt: anybody can report any number of any
    amount. It is no part of a sum until somebody confirms it."""
    # In the words of the index, which has no others.
    return and_(order.source == literal_column("'browser'"), cast(order.doubts, String) != "[]")


def made_up(site: str | None, since: float | None, until: float | None) -> Select[Any]:
    """The orders of a site, or of all, that are made up, as far as is known."""
    told = orders.alias("told")
    own = [] if site is None else [told.c.site == site]
    own += [] if since is None else [told.c.placed_at >= since]
    own += [] if until is None else [told.c.placed_at < until]
    return select(told.c.id).where(is_made_up(told.c), *own)
