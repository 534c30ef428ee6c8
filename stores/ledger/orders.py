"""Orders in the ledger, each with its credit and the postbacks due for it, written together or not at all."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, Select, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ...orders.doubt import Doubt
from ...orders.model import Channel, OrderSeen, State
from ...orders.money import amount_text
from ...postbacks.model import Report
from ...referral.credit import Credit
from ...referral.touches import Click
from .database import Database
from .schema import credits_ as credits_table
from .schema import orders as orders_table
from .schema import postbacks as postbacks_table


@dataclass(frozen=True, slots=True)
class StoredOrder:
    """An order and its credit. `row` is the ledger's own number; times are unix seconds.

    `partner`, `click` and `touched_at` are None where nobody earned it; `reason` says why or why not.
    `considered` lists the touches that were weighed, as plain data. `named_by` is the source that said whose
    the order is, as `source` is that of its amount.
    """

    row: int
    site: str
    order_id: str
    spelling: str | None
    state: State
    total: Decimal
    currency: str
    channel: str
    source: str
    visitor: str | None
    named_by: str | None
    coupon: str | None
    conversation: str | None
    agent: str | None
    placed_at: float
    recorded_at: float
    partner: str | None
    click: Click | None
    touched_at: float | None
    reason: str
    considered: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Recorded(StoredOrder):
    """What `record` left in the ledger; `created` is False if the order was there before, unchanged then."""

    created: bool


class Orders:
    """The orders of all sites, each known once by (site, order id)."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def record(
        self,
        site: str,
        order: OrderSeen,
        *,
        visitor: str | None,
        channel: Channel,
        conversation: str | None,
        agent: str | None,
        credit: Credit,
        reports: Sequence[Report],
        now: float,
        doubt: Doubt | None = None,
    ) -> Recorded:
        """Write the order, its credit and one postback for each report, in one transaction. The postbacks
        are due, or held where there is a doubt.

        A known (site, order id) changes nothing, whatever else is different, and returns what is there.
        """
        async with self._db.write() as tx:
            known = (await tx.execute(_one(site, order.id))).first()
            if known is not None:
                return _recorded(known, created=False)
            added = await tx.execute(
                insert(orders_table).values(
                    site=site,
                    order_id=order.id,
                    state=order.state,
                    channel=channel,
                    visitor=visitor,
                    named_by=None if visitor is None else order.source,
                    conversation=conversation,
                    agent=agent,
                    recorded_at=now,
                    **_columns(order, now),
                )
            )
            row = int(added.inserted_primary_key[0])  # type: ignore[index]
            await tx.execute(insert(credits_table).values(order=row, **_credit(credit)))
            await _owe(tx, row, site, reports, doubt, now)
            written = (await tx.execute(_one(site, order.id))).one()
            return _recorded(written, created=True)

    async def anew(
        self,
        known: StoredOrder,
        seen: OrderSeen,
        *,
        overrides: bool,
        visitor: str | None,
        channel: str,
        conversation: str | None,
        credit: Credit,
        reports: Sequence[Report],
        doubt: Doubt | None,
        now: float,
        refused_stands: bool,
    ) -> bool:
        """Decide anew on an order of which no partner has been told: its state, who earns it, what is due;
        whose it is, unless `visitor` is None; with `overrides` also the amount and what else `seen` tells.

        False, and nothing changes, if a postback of it may have been sent, or if a person has refused one and
        that stands.
        """
        own = postbacks_table.c
        of_it = own.order == known.row
        async with self._db.write() as tx:
            open_ = ("held",) if refused_stands else ("held", "refused")
            sent = select(own.id).where(of_it, own.state.not_in(open_))
            if (await tx.execute(sent.limit(1))).first() is not None:
                return False
            await tx.execute(delete(postbacks_table).where(of_it))
            values = {"state": seen.state, "channel": channel, "conversation": conversation}
            if visitor is not None:
                values |= {"visitor": visitor, "named_by": seen.source}
            if overrides:
                values |= _columns(seen, now)
            await tx.execute(update(orders_table).where(orders_table.c.id == known.row).values(**values))
            whose = credits_table.c.order == known.row
            await tx.execute(update(credits_table).where(whose).values(**_credit(credit)))
            await _owe(tx, known.row, known.site, reports, doubt, now)
        return True

    async def amounts(
        self, site: str, *, limit: int, currency: str | None = None
    ) -> tuple[tuple[Decimal, str], ...]:
        """Total and currency of the site's newest orders that are in no doubt, newest first; with `currency`
        only of those in it."""
        own, calls = orders_table.c, postbacks_table
        doubtful = select(calls.c.id).where(calls.c.order == own.id, calls.c.state.in_(("held", "refused")))
        query = (
            select(own.total, own.currency)
            .where(own.site == site, own.state == "placed", ~doubtful.exists())
            .order_by(own.id.desc())
            .limit(limit)
        )
        if currency is not None:
            query = query.where(own.currency == currency)
        async with self._db.read() as connection:
            return tuple((Decimal(total), code) for total, code in (await connection.execute(query)).all())

    async def get(self, site: str, order_id: str) -> StoredOrder | None:
        """The order of a normalised number (`orders/ids.py`), or None."""
        async with self._db.read() as connection:
            found = (await connection.execute(_one(site, order_id))).first()
        return None if found is None else StoredOrder(**_fields(found))

    async def list(self, site: str, *, limit: int = 100) -> tuple[StoredOrder, ...]:
        """The site's newest orders, newest first."""
        return await self._newest(_all().where(orders_table.c.site == site), limit)

    async def of_visitor(self, site: str, visitor: str, *, limit: int = 20) -> tuple[StoredOrder, ...]:
        """The visitor's newest orders at the site, newest first."""
        whose = (orders_table.c.site == site, orders_table.c.visitor == visitor)
        return await self._newest(_all().where(*whose), limit)

    async def _newest(self, query: Select[Any], limit: int) -> tuple[StoredOrder, ...]:
        async with self._db.read() as connection:
            found = (await connection.execute(query.order_by(orders_table.c.id.desc()).limit(limit))).all()
        return tuple(StoredOrder(**_fields(row)) for row in found)


def _all() -> Select[Any]:
    own = [c for c in orders_table.c if c.name != "id"]
    earned = [c for c in credits_table.c if c.name not in ("id", "order")]
    joined = orders_table.join(credits_table, credits_table.c.order == orders_table.c.id)
    return select(orders_table.c.id.label("row"), *own, *earned).select_from(joined)


def _one(site: str, order_id: str) -> Select[Any]:
    return _all().where(orders_table.c.site == site, orders_table.c.order_id == order_id)


def _fields(row: Row[Any]) -> dict[str, Any]:
    fields = dict(row._mapping)
    click = fields["click"]
    return fields | {
        "total": Decimal(fields["total"]),
        "click": Click(*click) if click else None,
        "considered": tuple(fields["considered"]),
    }


def _recorded(row: Row[Any], *, created: bool) -> Recorded:
    return Recorded(**_fields(row), created=created)


def _columns(order: OrderSeen, now: float) -> dict[str, Any]:
    """What one sighting says of the order itself."""
    return {
        "spelling": order.spelling,
        "total": amount_text(order.total, order.currency),
        "currency": order.currency,
        "source": order.source,
        "coupon": order.coupon,
        "placed_at": now if order.placed_at is None else min(order.placed_at, now),
    }


def _credit(credit: Credit) -> dict[str, Any]:
    click = credit.click
    return {
        "partner": credit.partner,
        "click": None if click is None else [click.network, click.param, click.value, click.partner],
        "touched_at": credit.touched_at,
        "reason": credit.reason,
        "considered": [asdict(c) for c in credit.considered],
    }


async def _owe(
    tx: AsyncConnection, row: int, site: str, reports: Sequence[Report], doubt: Doubt | None, now: float
) -> None:
    if reports:
        await tx.execute(insert(postbacks_table), [_postback(row, site, r, doubt, now) for r in reports])


def _postback(row: int, site: str, report: Report, doubt: Doubt | None, now: float) -> dict[str, Any]:
    return {
        # Also the `webhook-id`: the receiver's key against repeats, the same over all attempts.
        "id": f"pb_{secrets.token_hex(10)}",
        "order": row,
        "site": site,
        "partner": report.partner,
        "event": report.event,
        "report": report.to_json(),
        "state": "due" if doubt is None else "held",
        "attempts": 0,
        "next_at": now,
        "created_at": now,
        "hold": None if doubt is None else doubt.kind,
        "why": None if doubt is None else doubt.text,
    }
