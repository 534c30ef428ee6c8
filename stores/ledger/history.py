"""The history of orders: each sighting, what the order came to with it, who was credited and what is due.

One transaction writes all of it. A writer reads an order first, and writes only if no other writer has
changed it meanwhile.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update

from ...credit.commission import Commission
from ...credit.decision import Decision, Share
from ...credit.inputs import Inputs
from ...credit.terms import Policy
from ...orders.doubt import Doubt
from ...orders.history import Order
from ...orders.model import OrderError
from ...orders.money import amount_text
from ...orders.sighting import Sighting, plain
from ...payouts.account import Standing, Verdict
from ...payouts.standing import reason
from ...postbacks.approvals import NOBODY_ASKS, with_verdicts
from ...postbacks.due import NEW, VERDICTS, Plan, plan
from ...postbacks.model import Postback, Report
from .adding import Additions, NumberOf
from .commissions import credit_order
from .connection import Connection
from .database import Database
from .errors import LedgerConflictError
from .forgotten import add_unless_forgotten, keep_from_forgetting
from .known import (
    Decided,
    Known,
    Moved,
    Stored,
    decided_of,
    decided_query,
    known_of,
    last_moved,
    postbacks_of,
    surviving,
)
from .numbers import add_first, keep_numbers
from .offers import follow, follow_merged
from .orders import StoredOrder
from .planned import apply_plan, plan_with
from .prepared import Prepared, values_of
from .schema import decisions as decisions_table
from .schema import order_numbers as numbers_table
from .schema import orders as orders_table
from .schema import placements as placements_table
from .schema import policies as policies_table
from .schema import postbacks as postbacks_table
from .schema import shares as shares_table
from .schema import sightings as sightings_table

_O, _S, _D, _P = orders_table.c, sightings_table.c, decisions_table.c, postbacks_table.c
_NOT_OF_A_CHANGE = ("id", "decision", "written", "site", "version", "recorded_at")
_CHANGE_ORDER = Prepared(
    update(orders_table)
    .where(_O.id == bindparam("row"), _O.version == bindparam("before"))
    .values(values_of([c for c in _O if c.name not in _NOT_OF_A_CHANGE]) | {"version": _O.version + 1})
)
_DECIDED = Prepared(update(orders_table).where(_O.id == bindparam("row")).values(values_of([_O.decision])))
_HAS_POLICY = Prepared(
    select(policies_table.c.version).where(policies_table.c.version == bindparam("version"))
)


@lru_cache
def _by_numbers(count: int) -> Prepared:
    """The orders of a site that have one of so many numbers; once for each."""
    numbers = [bindparam(f"number{place}", type_=numbers_table.c.number.type) for place in range(count)]
    own = numbers_table.c
    found = select(orders_table).join_from(numbers_table, orders_table, _O.id == own.order)
    return Prepared(found.where(own.site == bindparam("site"), own.number.in_(numbers)))


@dataclass(frozen=True, slots=True)
class Change:
    """What a new sighting makes of an order. `numbers` are all numbers of it. `wanted` is what each partner
    should have of it. `settlement` is how the sighting settles what is held, in words. `others` are orders in
    the ledger that turned out to be the same one. `standings` is what each partner earns by the order now.
    `able` says of an approval or a refusal why its network gets no call. `dropped` is a sighting in whose
    place the new one is kept. `frozen`: credit and commissions stay as they are, and what is held is held for
    what the order is now. Nothing is due before `send_at`: until then what was recorded can be undone."""

    site: str
    sighting: Sighting | None
    joined_by: str
    order: Order
    numbers: tuple[str, ...]
    channel: str
    conversation: str | None
    inputs: Inputs
    policy: Policy
    decision: Decision
    wanted: Mapping[str, Report]
    manual: Callable[[Report], Doubt | None]
    at: float
    settlement: str = ""
    known: Known | None = None
    others: Sequence[Known] = ()
    raw: str | None = None
    seen: Sequence[Sighting] = ()
    moved: Sequence[Stored] = ()
    standings: Mapping[str, Standing] = field(default_factory=dict)
    able: Callable[[Report], Doubt | None] = lambda _: NOBODY_ASKS
    dropped: Stored | None = None
    frozen: bool = False
    send_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: the order as it stands, and its postbacks that are new or in another state."""

    order: StoredOrder
    postbacks: tuple[Postback, ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """A person's decision that these sightings belong to the order of this number. `before` is the last one
    that the person knew of."""

    stored: Sequence[Stored]
    number: str
    by: str
    why: str
    at: float
    before: Moved | None = None


class _FasterError(Exception):
    """Another writer changed what was read before."""


class Histories:
    """The histories of all orders."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._policies: set[str] = set()  # versions that are in the ledger

    async def known(self, site: str, numbers: Sequence[str]) -> tuple[Known, ...]:
        """The orders of a site that have one of these numbers, oldest first; more than one where a sighting
        names numbers that were taken for two orders."""
        if not numbers:
            return ()
        given = {"site": site} | {f"number{place}": number for place, number in enumerate(numbers)}
        by_numbers = _by_numbers(len(numbers))

        async def work(connection: Connection) -> tuple[Known, ...]:
            rows = (await connection.execute(by_numbers, given)).all()
            rows = await surviving(connection, rows)
            return tuple([await known_of(connection, row) for row in rows])

        return await self._db.query(work)

    async def write(self, change: Change) -> Written | None:
        """Write a change; None, and nothing is written, if the order was changed by another writer."""
        written = await self.write_all([change])
        return None if written is None else written[0]

    async def write_all(
        self,
        changes: Sequence[Change],
        *,
        loosened: Sequence[Stored] = (),
        placement: Placement | None = None,
    ) -> tuple[Written, ...] | None:
        """Write changes of several orders together; None, and nothing is written, if one of them was changed
        by another writer. Sightings that are `loosened` belong to no order any more."""

        async def work(tx: Connection) -> tuple[Written, ...]:
            if placement is not None:
                await _place(tx, placement)
            if anew := placement is not None or len(changes) > 1:
                known = [change.known.row for change in changes if change.known is not None]
                await tx.execute(delete(numbers_table).where(numbers_table.c.order.in_(known)))
            written = [await self._write(tx, change, anew=anew) for change in changes]
            for stored in loosened:
                await _move(tx, stored, None, None)
            return tuple(written)

        try:
            written = await self._db.transact(work)
        except (LedgerConflictError, _FasterError):
            # Two writers saw the order for the first time, or changed it.
            self._policies.clear()
            return None
        self._policies.update(change.policy.version for change in changes)
        return written

    async def _write(self, tx: Connection, change: Change, *, anew: bool) -> Written:
        people = None if change.sighting is None else await keep_from_forgetting(tx, change.sighting)
        values, new = _columns(change), Additions()
        order: int | NumberOf
        if change.known is None:
            first = {"site": change.site, "order_id": change.order.number, "recorded_at": change.at}
            order = new.add(orders_table, {**first, "version": 1, **values})
            add_first(new, change.site, order, change.order.number)
        else:
            order = await _changed(tx, change, change.known, values)
        if change.sighting is not None:
            said = sighting_values(change.sighting, change.joined_by, change.raw)
            new.add(sightings_table, {"order": order, **said})
        if change.dropped is not None:
            await tx.execute(delete(sightings_table).where(_S.id == change.dropped.row))
        decision = await self._decision(tx, new, change, order)
        if isinstance(order, NumberOf):
            new.set(order, "decision", decision)
        decided: Mapping[str, Verdict | None] = {}
        if not change.frozen:
            decided = await credit_order(
                *(tx, new, order, change.site, change.order.placed_at, change.standings, change.at),
                why=lambda partner, before: reason(change.order, change.decision, partner, before),
                merged=[other.row for other in change.others],
            )
        done = await self._due(tx, new, change, order, decided)
        numbers = await add_unless_forgotten(tx, new.rows, people)
        row = order if isinstance(order, int) else int(numbers[order.place] or 0)
        if change.known is not None and decision is not None:
            await tx.execute(_DECIDED, {"row": row, "decision": numbers[decision.place]})
        for stored in change.moved:
            await _move(tx, stored, row, change.joined_by)
        await _numbers(tx, change, row, anew=anew and change.known is not None)
        for other in change.others:
            await self._merge(tx, change, other, row)
            await follow_merged(tx, other.row, row)
        await follow(tx, change.site, row, change.order, change.at, is_new=change.known is None)
        return Written(_stored_order(change, row, values), tuple(replace(one, order=row) for one in done))

    async def _due(
        self,
        tx: Connection,
        new: Additions,
        change: Change,
        order: int | NumberOf,
        decided: Mapping[str, Verdict | None],
    ) -> tuple[Postback, ...]:
        rows = await postbacks_of(tx, order, lock=True) if isinstance(order, int) else ()
        planned = plan(
            rows,
            change.wanted,
            doubts=change.order.doubts,
            refused=change.order.refused,
            settlement=change.settlement,
            manual=change.manual,
        )
        planned = with_verdicts(rows, planned, decided, change.able)
        if change.frozen:
            planned = await _rewritten(tx, rows, planned)
        if _is_told(change.sighting, planned):
            raise OrderError(
                f"order {change.order.number}: its partner was notified meanwhile; correct it instead"
            )
        return await plan_with(tx, new, order, change.site, planned, change.at, change.send_at)

    async def _merge(self, tx: Connection, change: Change, other: Known, row: int) -> None:
        """Another order turned out to be this one: its sightings are this one's, and a
        cancellation of it is reported to its partners."""
        gone = {"merged_into": row, "version": other.version + 1, "state": "cancelled"}
        same = update(orders_table).where(_O.id == other.row, _O.version == other.version)
        if not (await tx.execute(same.values(**gone, changed_at=change.at))).rowcount:
            raise _FasterError
        await tx.execute(update(sightings_table).where(_S.order == other.row).values(order=row))
        rows = await postbacks_of(tx, other.row, lock=True)
        nothing = dict.fromkeys(row.partner for row in rows)
        planned = with_verdicts(rows, plan(rows, {}, manual=change.manual), nothing, change.able)
        await apply_plan(tx, other.row, change.site, planned, change.at)
        new = Additions()
        await credit_order(
            *(tx, new, other.row, change.site, change.order.placed_at, {}, change.at),
            why=lambda *_: f"the order is one with {change.order.number}",
        )
        if new.rows:
            await tx.add(new.rows)

    async def _decision(
        self, tx: Connection, new: Additions, change: Change, order: int | NumberOf
    ) -> NumberOf | None:
        """Add the credit decision; None where it is the one that holds already."""
        if change.frozen or _same_decision(change):
            return None
        version = change.policy.version
        if version not in self._policies:
            known = await tx.execute(_HAS_POLICY, {"version": version})
            if known.first() is None:
                await tx.execute(insert(policies_table).values(version=version, policy=change.policy.data))
        decision = new.add(
            decisions_table,
            {
                "order": order,
                "order_version": _version(change),
                "visitor": change.order.visitor,
                "at": change.at,
                "policy": version,
                "inputs": change.inputs.to_json(),
                "reason": change.decision.reason,
                "considered": change.decision.considered_json(),
                "compared": change.decision.compared_json() or None,
            },
        )
        for place, share in enumerate(change.decision.shares):
            own = {"decision": decision, "order": order, "site": change.site}
            new.add(shares_table, {**_share(share, place), **own})
        return decision

    async def decisions(self, row: int) -> tuple[Decided, ...]:
        """All credit decisions of an order, oldest first."""
        async with self._db.read() as connection:
            found = (await connection.execute(decided_query().where(_D.order == row).order_by(_D.id))).all()
            return tuple([await decided_of(connection, one) for one in found])

    async def postbacks(self, row: int) -> tuple[Postback, ...]:
        """All postbacks of an order, by partner in the order of their sequence."""
        async with self._db.read() as connection:
            return await postbacks_of(connection, row)


def _is_told(sighting: Sighting | None, planned: Plan) -> bool:
    """Whether a partner would be told that something is undone."""
    correction = None if sighting is None else sighting.correction
    undoes = correction is not None and bool(correction.undoes)
    return undoes and any(one.report.event != NEW for one in planned.added)


async def _changed(tx: Connection, change: Change, known: Known, values: Mapping[str, Any]) -> int:
    """Write the order's row. Raises _FasterError if another writer was faster."""
    given = {"row": known.row, "before": known.version, "order_id": change.order.number, **values}
    if not (await tx.execute(_CHANGE_ORDER, given)).rowcount:
        raise _FasterError
    return known.row


def _columns(change: Change) -> dict[str, Any]:
    order = change.order
    by = {s.sighting.key: s.sighting for s in (change.known.sightings if change.known else ())}
    by |= {s.key: s for s in (*change.seen, *filter(None, [change.sighting]))}
    first = change.sighting or change.seen[0]
    money, naming = by.get(order.sources.get("total", "")), by.get(order.sources.get("visitor", ""))
    details: dict[str, Any] = {n: getattr(order, n) for n in ("net", "shipping", "tax", "discount")}
    details |= {"customer": order.customer, "items": order.items, "refunds": order.refunds or None}
    details |= {"recurring": order.recurring or None, "net_rule": order.net_rule}
    total = None
    if order.total is not None and order.currency is not None:
        total = amount_text(order.total, order.currency)
    return {
        "spelling": order.spelling if order.spelling != order.number else None,
        "state": order.state,
        "total": total,
        "currency": order.currency,
        "refunded": str(order.refunded),
        "details": {name: plain(value) for name, value in details.items() if value is not None},
        "channel": change.channel,
        "source": (money or first).source,
        "visitor": order.visitor,
        "named_by": naming.source if naming is not None else None,
        "coupon": order.coupon,
        "conversation": change.conversation,
        "agent": order.agent,
        "sources": dict(order.sources),
        "doubts": [{"kind": d.kind, "text": d.text} for d in order.doubts],
        "placed_at": order.placed_at,
        "changed_at": change.at,
        "merged_into": None,
    }


async def _rewritten(tx: Connection, rows: Sequence[Postback], planned: Plan) -> Plan:
    """Have what is held of an order say what would be told now, instead of adding to it; the plan's rest."""
    held = {row.partner: row for row in rows if row.state == "held" and row.event not in VERDICTS}
    for one in planned.added:
        if (row := held.get(one.report.partner)) is not None:
            says = {
                "event": one.report.event,
                "report": one.report.to_json(),
                "why": one.why,
                "hold": one.hold,
            }
            await tx.execute(update(postbacks_table).where(_P.id == row.id).values(**says))
    kept = {row.id for row in held.values()}
    return Plan(
        tuple(one for one in planned.superseded if one not in kept),
        tuple(one for one in planned.changed if one.id not in kept),
        tuple(one for one in planned.added if one.report.partner not in held),
    )


async def _move(tx: Connection, stored: Stored, row: int | None, joined_by: str | None) -> None:
    """Give a sighting to another order, or to none. Raises _FasterError if another writer moved it."""
    there = _S.order.is_(None) if stored.order is None else _S.order == stored.order
    moved = update(sightings_table).where(_S.id == stored.row, there)
    if not (await tx.execute(moved.values({"order": row, "joined_by": joined_by}))).rowcount:
        raise _FasterError


async def _place(tx: Connection, placement: Placement) -> None:
    """Write a person's decision about reports. Raises _FasterError if another person was faster."""
    first = placement.stored[0]
    await tx.lock(f"report {first.row}")
    if await last_moved(tx, first.row) != placement.before:
        raise _FasterError
    for stored in placement.stored:
        await tx.execute(
            insert(placements_table).values(
                site=stored.sighting.site,
                sighting=stored.row,
                key=stored.sighting.key,
                number=placement.number,
                by=placement.by,
                why=placement.why,
                at=placement.at,
            )
        )
        placed = update(sightings_table).where(_S.id == stored.row)
        await tx.execute(placed.values(placed=placement.number, loose=False))


def sighting_values(sighting: Sighting, joined_by: str | None, raw: str | None) -> dict[str, Any]:
    """The columns of a sighting's row, but for its order."""
    return {
        "site": sighting.site,
        "key": sighting.key,
        "source": sighting.source,
        "at": sighting.at,
        "said": sighting.to_json(),
        "raw": raw,
        "joined_by": joined_by,
        "loose": not sighting.numbers,
        "around": sighting.placed_at or sighting.at,
        "visitor": sighting.carrier or sighting.visitor,
        "email_hash": sighting.email_hash,
        "coupon": sighting.coupon,
        "total": None if sighting.total is None else f"{sighting.total.normalize():f}",
    }


async def _numbers(tx: Connection, change: Change, row: int, *, anew: bool) -> None:
    """Write down the numbers by which the order is not found yet. Raises _FasterError. `anew`: those that it
    had were deleted."""
    first = change.known.number if change.known is not None else change.order.number
    numbers = [first, *change.numbers] if anew else [n for n in change.numbers if n != first]
    named = change.sighting.numbers if change.sighting is not None else ()
    others = [other.row for other in change.others]
    if numbers and not await keep_numbers(tx, change.site, row, numbers, named=named, others=others):
        raise _FasterError


def _same_decision(change: Change) -> bool:
    known = change.known.decided if change.known is not None else None
    return (
        known is not None
        and known.policy.version == change.policy.version
        and known.decision == change.decision
        and known.inputs.touches == change.inputs.touches
        # One whose visitor is forgotten holds, though its touches may be there for another moment.
        and (not known.inputs.touches or known.visitor == change.order.visitor or change.order.forgotten)
    )


def _version(change: Change) -> int:
    return 1 if change.known is None else change.known.version + 1


def _stored_order(change: Change, row: int, values: Mapping[str, Any]) -> StoredOrder:
    """The order as it is written: what `Orders.at` would read."""
    first = next(iter(change.decision.shares), None)
    known = change.known
    return StoredOrder(
        row=row,
        site=change.site,
        order_id=change.order.number,
        version=_version(change),
        recorded_at=change.at if known is None else known.recorded_at,
        partner=None if first is None else first.partner,
        click=None if first is None else first.click,
        touched_at=None if first is None else first.touched_at,
        reason=change.decision.reason,
        considered=tuple(change.decision.considered_json()),
        **{name: value for name, value in values.items() if name not in ("changed_at", "merged_into")}
        | {
            "total": None if values["total"] is None else Decimal(values["total"]),
            "refunded": Decimal(values["refunded"]),
            "doubts": change.order.doubts,
        },
    )


def _earned(commission: Commission | None) -> dict[str, Any]:
    if commission is None:
        return {"commission": None, "operator": None, "earned": None}
    lines: dict[str, Any] = {"lines": list(commission.lines), "unpaid": commission.unpaid}
    if commission.hold_days is not None:
        lines["hold_days"] = commission.hold_days
    return {
        "commission": str(commission.amount),
        "operator": str(commission.operator),
        "earned": {"currency": commission.currency, **lines},
    }


def _share(share: Share, place: int) -> dict[str, Any]:
    click = share.click
    return {
        "partner": share.partner,
        "place": place,
        "click": None if click is None else [click.network, click.param, click.value, click.partner],
        "touched_at": share.touched_at,
        "part": str(share.part),
        "reason": share.reason,
        **_earned(share.commission),
    }
