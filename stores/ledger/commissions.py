"""The commissions of partners: what is entered of each, and what the entries come to.

Entries are only added. Who adds one locks the order first (`lock_order`), reads the entries that are there,
and writes what they come to beside them, in one transaction.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, func, literal_column, or_, select, update

from ...orders.doubt import UNDOUBTED, Doubt
from ...payouts.account import (
    Account,
    Entry,
    Standing,
    State,
    Verdict,
    accounts,
    after,
    credited,
    declined,
    told,
)
from ...postbacks.approvals import with_verdicts
from ...postbacks.due import Plan
from ...postbacks.model import Report
from .adding import Additions, NumberOf
from .amounts import made_up
from .connection import Connection, executing
from .database import Database
from .entries import entries_of
from .known import postbacks_of
from .planned import lock_order, plan_with
from .prepared import Prepared, values_of
from .schema import commission_entries as entries_table
from .schema import commissions as table
from .schema import order_numbers as numbers
from .schema import orders, postbacks

_E, _C = entries_table.c, table.c
_KEY = ("order", "partner", "currency")
_VALUES = tuple(c.name for c in _C if c.name not in (*_KEY, "site"))
_SAVE = Prepared(
    update(table)
    .where(*(_C[name] == bindparam(f"key_{name}") for name in _KEY))
    .values(values_of([_C[name] for name in _VALUES]))
)
_PLACED = Prepared(
    update(table)
    .where(_C.order == bindparam("of_order"), _C.placed_at != bindparam("placed", type_=_C.placed_at.type))
    .values(placed_at=bindparam("placed", type_=_C.placed_at.type))
)
# Text in the SQL, not a parameter: PostgreSQL would not take two of them for the same in GROUP BY.
AMENDED_APPROVED: Final = and_(_C.state == literal_column("'amended'"), _C.waits_until.is_(None))
LIST_LIMIT: Final = 500
SECONDS: Final = 10.0
"""Most time of sums."""


@dataclass(frozen=True, slots=True)
class Commission:
    """The state of a partner's commission for an order. Amounts are in minor units of the currency: `amount`
    is what it earns, None where the site has no terms; `value` its part of the order's amount; `locked` and
    `paid` what was settled and paid. `order` is the ledger's own number of the order, `number` the shop's.
    Times are unix seconds: `waits_until` is the end of the hold period, while it waits for that."""

    order: int
    number: str
    site: str
    partner: str
    currency: str
    state: State
    amount: int | None
    value: int
    locked: int
    paid: int
    channel: str
    waits_until: float | None
    decided_at: float | None
    placed_at: float
    changed_at: float
    ref: str | None


@dataclass(frozen=True, slots=True)
class WantedCommissions:
    """Which commissions: all conditions that are not None hold. `since` (inclusive) and `until` (exclusive)
    are for the time at which the order was placed, in unix seconds."""

    site: str | None = None
    partner: str | None = None
    states: Sequence[State] | None = None
    since: float | None = None
    until: float | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """The conditions in SQL."""
        found: list[ColumnElement[bool]] = []
        if self.site is not None:
            found.append(_C.site == self.site)
        if self.partner is not None:
            found.append(_C.partner == self.partner)
        if self.states is not None:
            found.append(_C.state.in_(list(self.states)))
        if self.since is not None:
            found.append(_C.placed_at >= self.since)
        if self.until is not None:
            found.append(_C.placed_at < self.until)
        return found


Cursor = tuple[float, int, str, str]
"""Where a page ended: when the order was placed, its number in the ledger, the partner, the currency."""


@dataclass(frozen=True, slots=True)
class CommissionSum:
    """The commissions of one site, partner, state and currency together: how many, and their sums in minor
    units. `approved`: they are amended, and were approved."""

    site: str
    partner: str
    state: State
    currency: str
    approved: bool
    count: int
    amount: int
    value: int
    locked: int
    paid: int


@dataclass(frozen=True, slots=True)
class Overdue:
    """A commission whose hold period is over. `against` is what stands against its approval, as text."""

    waits_until: float
    order: int
    partner: str
    site: str
    number: str
    against: str


@dataclass(frozen=True, slots=True)
class Open:
    """An order of which something was approved and is not settled: the ledger's number, and the shop's.
    `against` is what stands against its settlement, as text."""

    order: int
    number: str
    against: str


class Commissions:
    """The commissions of all sites."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(
        self, wanted: WantedCommissions, *, limit: int = LIST_LIMIT, after: Cursor | None = None
    ) -> tuple[Commission, ...]:
        """The commissions of the newest orders, newest first; `after` is the place of the last one of the
        page before (see `place`)."""
        query = _LISTED.where(*wanted.conditions())
        if after is not None:
            query = query.where(_before(after))
        ordered = query.order_by(_C.placed_at.desc(), _C.order.desc(), _C.partner, _C.currency)
        async with self._db.read() as connection:
            rows = (await connection.execute(ordered.limit(limit))).all()
        return tuple(Commission(**row._mapping) for row in rows)

    async def sums(self, wanted: WantedCommissions) -> tuple[CommissionSum, ...]:
        """The sums by site, partner, currency and state, without orders that a browser may have made up.
        Raises LedgerBusyError where it takes longer than SECONDS."""
        key = (_C.site, _C.partner, _C.state, _C.currency, AMENDED_APPROVED)
        sums = [func.coalesce(func.sum(_C[n]), 0) for n in ("amount", "value", "locked", "paid")]
        query = select(*key, func.count(), *sums).where(*wanted.conditions()).group_by(*key).order_by(*key)
        query = query.where(_C.order.not_in(made_up(wanted.site, wanted.since, wanted.until)))
        rows = (await self._db.query(executing(query), SECONDS)).all()
        return tuple(CommissionSum(*(*row[:4], bool(row[4]), *map(int, row[5:]))) for row in rows)

    async def decide(
        self,
        order: int,
        partner: str,
        *entries: Callable[[Account], Entry | None],
        able: Callable[[Report], Doubt | None],
        unless: Callable[[Connection, int, str], Awaitable[bool]] | None = None,
    ) -> tuple[Account, ...]:
        """Add the entries that each of `entries` makes of a partner's accounts of an order; those accounts
        that changed. What its network is to be told is due with it; `able` says why no call can be made.
        With `unless` nothing is added where that holds. Raises what `entries` raise."""

        async def work(tx: Connection) -> tuple[Account, ...]:
            await lock_order(tx, order)
            if unless is not None and await unless(tx, order, partner):
                return ()
            own = (_C.order == order, _C.partner == partner)
            row = (await tx.execute(select(_C.site, _C.placed_at).where(*own).limit(1))).first()
            if row is None:
                return ()
            new, now = Additions(), dict(accounts((await entries_of(tx, order)).get(partner, ())))
            at = 0.0
            for currency in tuple(now):
                for make in entries:
                    if (made := make(now[currency])) is not None:
                        whose = (order, row.site, partner)
                        account = now[currency]
                        now[currency] = await enter(tx, new, whose, account, row.placed_at, made)
                        at = made.at
            if not new.rows:
                return ()
            word = next(filter(None, map(told, now.values())), None)
            rows = await postbacks_of(tx, order, lock=True)
            planned = with_verdicts(rows, Plan(), {partner: word}, able)
            await plan_with(tx, new, order, row.site, planned, at)
            await tx.add(new.rows)
            return tuple(one for one in now.values())

        return await self._db.transact(work)

    async def overdue(self, now: float, after: Overdue | None, limit: int) -> tuple[Overdue, ...]:
        """Commissions whose hold period is over, the longest first; from behind `after` on."""
        query = _OVERDUE.where(_C.waits_until <= now)
        if after is not None:
            behind = or_(_C.order > after.order, and_(_C.order == after.order, _C.partner > after.partner))
            later = or_(_C.waits_until > after.waits_until, and_(_C.waits_until == after.waits_until, behind))
            query = query.where(_C.waits_until >= after.waits_until, later)
        async with self._db.read() as connection:
            rows = (await connection.execute(query.limit(limit))).all()
        found = []
        for row in rows:
            own = (row.waits_until, row.order, row.partner, row.site, row.order_id)
            found.append(Overdue(*own, _against(row)))
        return tuple(found)

    async def open_of(
        self, site: str, partner: str, after: int | None, limit: int, *, before: float | None = None
    ) -> tuple[Open, ...]:
        """The orders of which something of a partner's commission was approved and is not settled, from
        behind the order `after` on; with `before` only what was decided before that time."""
        own = [_C.site == site, _C.partner == partner, _C.lockable]
        own += [] if before is None else [func.coalesce(_C.decided_at, _C.changed_at) < before]
        query = _OPEN.where(*own, _C.order > (after or 0)).order_by(_C.order).limit(limit)
        async with self._db.read() as connection:
            rows = (await connection.execute(query)).all()
        return tuple(dict.fromkeys(Open(row.order, row.order_id, _against(row)) for row in rows))

    async def by_numbers(
        self, site: str, partner: str | None, given: Sequence[str]
    ) -> Mapping[str, tuple[Commission, ...]]:
        """A partner's commissions, or all, of the site's orders by these normalised numbers, any that an
        order has."""
        own = [numbers.c.site == site, numbers.c.number.in_(list(given))]
        own += [] if partner is None else [_C.partner == partner]
        joined = numbers.c.order == _C.order
        query = select(numbers.c.number.label("given"), *_LISTED.selected_columns).join_from(
            table, orders, orders.c.id == _C.order
        )
        query = query.join(numbers, joined).where(*own).order_by(_C.order, _C.currency)
        found: defaultdict[str, list[Commission]] = defaultdict(list)
        async with self._db.read() as connection:
            for row in await connection.execute(query):
                fields = dict(row._mapping)
                found[fields.pop("given")].append(Commission(**fields))
        return {number: tuple(rows) for number, rows in found.items()}

    async def overdue_counts(self, now: float) -> Mapping[str, int]:
        """By site, how many commissions wait although their hold period is over."""
        query = select(_C.site, func.count()).where(_C.waits_until <= now).group_by(_C.site)
        async with self._db.read() as connection:
            return {row[0]: row[1] for row in await connection.execute(query)}

    async def of_order(self, row: int) -> Mapping[str, tuple[Entry, ...]]:
        """The entries of an order by partner, oldest first."""

        async def work(connection: Connection) -> Mapping[str, tuple[Entry, ...]]:
            found = await entries_of(connection, row)
            return {partner: tuple(entries) for partner, entries in found.items()}

        return await self._db.query(work)


def place(row: Commission) -> Cursor:
    """Where a page ends with this one."""
    return row.placed_at, row.order, row.partner, row.currency


def _before(cursor: Cursor) -> ColumnElement[bool]:
    at, order, partner, currency = cursor
    same = and_(_C.placed_at == at, _C.order == order)
    behind = or_(
        _C.placed_at < at,
        and_(_C.placed_at == at, _C.order < order),
        and_(same, _C.partner > partner),
        and_(same, _C.partner == partner, _C.currency > currency),
    )
    # Said on its own, so that an index begins there: a late page reads no more than the first.
    return and_(_C.placed_at <= at, behind)


def _listed() -> Select[Any]:
    own = [_C[name] for name in Commission.__slots__ if name not in ("number", "channel")]
    return select(orders.c.order_id.label("number"), orders.c.channel, *own).join_from(
        table, orders, orders.c.id == _C.order
    )


_LISTED = _listed()


def _held(*states: str) -> ColumnElement[str | None]:
    """Why the partner's call about the order is in one of these states, if it is because of a doubt."""
    calls = postbacks.c
    doubtful = (calls.state.in_(states), func.coalesce(calls.hold, "").not_in(UNDOUBTED))
    own = (calls.order == _C.order, calls.partner == _C.partner)
    held = select(func.coalesce(calls.why, "its postback is held")).where(*own, *doubtful)
    return held.limit(1).scalar_subquery().label("held")


def _against(row: Row[Any]) -> str:
    return "; ".join(doubt["text"] for doubt in row.doubts) or row.held or ""


# A person who refused a call may have approved the commission all the same: only doubts count.
_OPEN = select(_C.order, orders.c.order_id, orders.c.doubts, _held("held")).join_from(
    table, orders, orders.c.id == _C.order
)


async def in_doubt(tx: Connection, order: int, partner: str) -> bool:
    """Whether something stands against a settlement of a partner's commission for an order."""
    query = _OPEN.where(_C.order == order, _C.partner == partner).limit(1)
    row = (await tx.execute(query)).first()
    return row is not None and bool(_against(row))


def _overdue() -> Select[Any]:
    own = (_C.waits_until, _C.order, _C.partner, _C.site, orders.c.order_id, orders.c.doubts)
    return (
        select(*own, _held("held", "refused"))
        .join_from(table, orders, orders.c.id == _C.order)
        .where(_C.waits_until.is_not(None))
        .order_by(_C.waits_until, _C.order, _C.partner)
    )


_OVERDUE = _overdue()


async def credit_order(
    tx: Connection,
    new: Additions,
    order: int | NumberOf,
    site: str,
    placed_at: float,
    standings: Mapping[str, Standing],
    at: float,
    *,
    why: Callable[[str, Mapping[str, Account]], str],
    merged: Sequence[int] = (),
) -> dict[str, Verdict | None]:
    """Enter what an order's credit decision gives its partners now; by partner, what its network is to be
    told. A partner that earns nothing any more, or in another currency, gets an entry that takes back what it
    had. A refusal is one of the whole order: it holds also in another currency, and, where nothing was
    decided about this order, if it was made about one of the orders `merged`, which turned out to be this
    one."""
    decided: dict[str, Verdict | None] = {}
    known = await entries_of(tx, order) if isinstance(order, int) else {}
    others = [await _locked_entries(tx, other) for other in merged]
    for partner in sorted(known.keys() | standings.keys()):
        before = accounts(known.get(partner, ()))
        own = _decisions(known.get(partner, ()))
        refusal = _refusal(own or _decisions([e for one in others for e in one.get(partner, ())]))
        now = standings.get(partner)
        due = {
            currency: Standing(currency, 0, None if one.earned is None else 0, False, one.due_at or at)
            for currency, one in before.items()
        }
        due |= {} if now is None else {now.currency: now}
        for currency, standing in due.items():
            entry = credited(before.get(currency), standing, at, why(partner, before))
            account = before.get(currency)
            made = [] if entry is None else [entry]
            made += _refused_again(account, entry, refusal, at)
            if made:
                account = await enter(tx, new, (order, site, partner), account, placed_at, *made)
            if account is not None:
                decided[partner] = decided.get(partner) or told(account)
    if known:
        await tx.execute(_PLACED, {"of_order": order, "placed": placed_at})
    return decided


async def _locked_entries(tx: Connection, order: int) -> Mapping[str, Sequence[Entry]]:
    await lock_order(tx, order)
    return await entries_of(tx, order)


def _decisions(entries: Sequence[Entry]) -> Sequence[Entry]:
    return [one for one in entries if one.kind in ("approved", "declined")]


def _refusal(decisions: Sequence[Entry]) -> Entry | None:
    """The last of these decisions, if it is a refusal."""
    last = sorted(decisions, key=lambda one: one.at)[-1:]
    return last[0] if last and last[0].kind == "declined" else None


def _refused_again(
    before: Account | None, entry: Entry | None, refusal: Entry | None, at: float
) -> list[Entry]:
    """The entry by which a refusal also holds for what this account gets now."""
    if refusal is None:
        return []
    now = before if entry is None else after(before or Account(entry.currency), entry)
    if now is None or not now.stands:
        return []
    made = declined(now, at, refusal.source, refusal.by, refusal.why)
    return [] if made is None else [made]


async def enter(
    tx: Connection,
    new: Additions,
    whose: tuple[int | NumberOf, str, str],
    before: Account | None,
    placed_at: float,
    *made: Entry,
) -> Account:
    """Add entries to the account of an order, site and partner, and write what it comes to."""
    order, site, partner = whose
    account = before or Account(made[0].currency)
    key = {"order": order, "partner": partner, "currency": account.currency}
    for entry in made:
        account = after(account, entry)
        new.add(
            entries_table, {**key, "site": site, **{name: getattr(entry, name) for name in Entry.__slots__}}
        )
    values = _values(account, made[-1].at, placed_at)
    if before is None:
        new.add(table, {**key, "site": site, **values})
    else:
        await tx.execute(_SAVE, {f"key_{name}": value for name, value in key.items()} | values)
    return account


def _values(account: Account, at: float, placed_at: float) -> dict[str, Any]:
    return {
        "state": account.state,
        "amount": account.amount,
        "value": account.value,
        "locked": account.locked,
        "paid": account.paid,
        "lockable": account.lockable,
        "unpaid": account.is_unpaid,
        "waits_until": account.waits_until,
        "decided_at": account.decided_at,
        "placed_at": placed_at,
        "changed_at": at,
        "ref": account.ref,
    }
