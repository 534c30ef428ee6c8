"""Links and offers that agents and rules made for visitors, the single-use codes in them, and the orders that
followed.

Which order followed is written in the order's own transaction (`follow`), so it is never missed. A single-use
code is handed out in the transaction that adds its offer and its message, to one offer only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Select, and_, bindparam, case, func, insert, or_, select, update

from ...orders.history import Order
from ...orders.model import SALES
from .connection import Connection
from .database import Database
from .prepared import Prepared
from .schema import coupon_codes, offers
from .schema import orders as orders_table

PER_CONVERSATION: Final = 50
"""Offers of one conversation: agents are people, and their scripts may run wild."""

ADDED_AT_ONCE: Final = 500
_F, _C, _O = offers.c, coupon_codes.c, orders_table.c


@dataclass(frozen=True, slots=True)
class NewOffer:
    """An offer to be made. `page` is a path of the shop with its query, `coupon` the coupon's name in the
    settings, `coupon_code` its code, or None if it is handed one of its own (`pooled`). That of a `rule` has
    no conversation yet, and no agent."""

    code: str
    site: str
    conversation: str | None
    visitor: str
    agent: str
    client_id: str | None
    label: str
    page: str
    cart: str | None
    coupon: str | None
    coupon_code: str | None
    pooled: bool
    returned: bool
    made_at: float
    expires_at: float
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer as it stands. `rule` is that whose invite it was, None: `agent` sent it. `clicks` are its
    visitor's, `others` those of anybody else. `order` is the number of the order that followed, and
    `order_row` the ledger's own. Times are unix seconds."""

    code: str
    site: str
    conversation: str | None
    visitor: str | None
    agent: str
    rule: str | None
    label: str
    page: str
    cart: str | None
    coupon: str | None
    coupon_code: str | None
    single: bool
    made_at: float
    expires_at: float
    clicks: int
    others: int
    clicked_at: float | None
    followed_by: str | None
    order_row: int | None
    order: str | None


@dataclass(frozen=True, slots=True)
class OfferSum:
    """What the offers of one coupon (None: links without one), agent or rule, and currency came to."""

    site: str
    coupon: str | None
    agent: str
    rule: str | None
    sent: int
    clicked: int
    orders: int
    total: Decimal
    currency: str | None


@dataclass(frozen=True, slots=True)
class Pool:
    """The single-use codes of a coupon: all, and those that no offer has."""

    coupon: str
    codes: int
    free: int


class NoCodeError(Exception):
    """No code of the coupon is left."""


class TooManyError(Exception):
    """The conversation has as many offers as there may be."""


class Offers:
    """The offers of all sites."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def of_form(self, site: str, conversation: str, client_id: str) -> Offer | None:
        """The offer that came of a form."""
        own = (_F.site == site, _F.conversation == conversation, _F.client_id == client_id)
        found = await self._listed(_ALL.where(*own).limit(1))
        return found[0] if found else None

    async def get(self, site: str, code: str) -> Offer | None:
        """The offer of a link."""
        found = await self._listed(_ALL.where(_F.site == site, _F.code == code))
        return found[0] if found else None

    async def of_conversation(
        self, site: str, conversation: str, visitor: str | None = None
    ) -> tuple[Offer, ...]:
        """The offers of a conversation, and those that rules made for its visitor, newest first."""
        own = _F.conversation == conversation
        if visitor is not None:
            own = or_(own, and_(_F.visitor == visitor, _F.rule.is_not(None)))
        found = _ALL.where(_F.site == site, own).order_by(_F.id.desc()).limit(PER_CONVERSATION)
        return await self._listed(found)

    async def by_rules(self, site: str, visitor: str, coupon: str) -> Offer | None:
        """The offer of a coupon that a visitor got by a rule's invite, the newest one."""
        own = (_F.site == site, _F.visitor == visitor, _F.coupon == coupon, _F.rule.is_not(None))
        found = await self._listed(_ALL.where(*own).order_by(_F.id.desc()).limit(1))
        return found[0] if found else None

    async def give(self, new: NewOffer) -> Offer:
        """Make the offer of a rule for a visitor, unless it has one of this coupon by a rule that has not
        ended: then that. Raises NoCodeError."""
        same = (_F.site == new.site, _F.visitor == new.visitor, _F.coupon == new.coupon, _F.rule.is_not(None))

        async def work(tx: Connection) -> str:
            await tx.lock(f"offers {new.site} {new.visitor}")
            known = select(_F.code).where(*same, _F.expires_at > new.made_at).limit(1)
            row = (await tx.execute(known)).first()
            if row is None:
                await add(tx, new)
            return new.code if row is None else str(row.code)

        found = await self.get(new.site, await self._db.transact(work))
        if found is None:
            raise NoCodeError
        return found

    async def _listed(self, query: Select[Any]) -> tuple[Offer, ...]:
        async with self._db.read() as connection:
            return tuple(Offer(*row) for row in (await connection.execute(query)).all())

    async def clicked(self, site: str, code: str, now: float, counts_until: float) -> bool:
        """Note that its visitor has followed the link; whether it was the first time."""
        own = (_F.site == site, _F.code == code)

        async def work(tx: Connection) -> bool:
            first = update(offers).where(*own, _F.clicked_at.is_(None))
            values = {"clicks": 1, "clicked_at": now, "counts_until": counts_until}
            changed = {"version": _F.version + 1, "changed_at": now}
            if (await tx.execute(first.values(**values, **changed))).rowcount:
                return True
            later = {"clicks": _F.clicks + 1, "counts_until": counts_until}
            await tx.execute(update(offers).where(*own).values(**later))
            return False

        return await self._db.transact(work)

    async def clicked_by_other(self, site: str, code: str) -> None:
        """Note that somebody else has followed the link."""
        same = update(offers).where(_F.site == site, _F.code == code)

        async def work(tx: Connection) -> None:
            await tx.execute(same.values(others=_F.others + 1))

        await self._db.transact(work)

    async def withdraw(self, site: str, conversation: str, code: str, now: float) -> bool:
        """End a link; whether it was in use."""
        own = (_F.site == site, _F.conversation == conversation, _F.code == code, _F.expires_at > now)

        async def work(tx: Connection) -> bool:
            return bool((await tx.execute(update(offers).where(*own).values(expires_at=now))).rowcount)

        return await self._db.transact(work)

    # -- single-use codes

    async def add_codes(self, site: str, coupon: str, codes: Sequence[str], now: float) -> int:
        """Add codes to a pool; how many are new. One that the site has already stays where it is."""
        added = 0
        for at in range(0, len(codes), ADDED_AT_ONCE):
            some = list(dict.fromkeys(codes[at : at + ADDED_AT_ONCE]))

            async def work(tx: Connection, some: list[str] = some) -> int:
                await tx.lock(f"coupons {site}")
                known = {
                    row.code
                    for row in await tx.execute(select(_C.code).where(_C.site == site, _C.code.in_(some)))
                }
                rows = [
                    {"site": site, "coupon": coupon, "code": code, "added_at": now}
                    for code in some
                    if code not in known
                ]
                if rows:
                    await tx.execute(insert(coupon_codes).values(rows))
                return len(rows)

            added += await self._db.transact(work)
        return added

    async def can_give(self, site: str, coupon: str, now: float, *, returned: bool) -> bool:
        """Whether a pool has a code for one more offer; `returned`: also one that nobody used."""
        free = select(_C.id).where(_C.site == site, _C.coupon == coupon, _C.offer.is_(None)).limit(1)
        unused = (
            select(_C.id)
            .join_from(coupon_codes, offers, _F.code == _C.offer)
            .where(_C.site == site, _C.coupon == coupon, _F.expires_at <= now)
            .where(_F.clicks == 0, _F.others == 0, _F.order.is_(None))
            .limit(1)
        )
        async with self._db.read() as connection:
            for one in (free, unused) if returned else (free,):
                if (await connection.execute(one)).first() is not None:
                    return True
        return False

    async def pools(self, site: str) -> Mapping[str, Pool]:
        """The pools of a site, by the coupon's name."""
        free = func.sum(case((_C.offer.is_(None), 1), else_=0))
        counted = select(_C.coupon, func.count(), free).where(_C.site == site).group_by(_C.coupon)
        async with self._db.read() as connection:
            rows = (await connection.execute(counted)).all()
        return {coupon: Pool(coupon, count, int(left)) for coupon, count, left in rows}

    # -- the report

    async def sums(
        self, site: str | None = None, since: float | None = None, until: float | None = None
    ) -> tuple[OfferSum, ...]:
        """What the offers that were made in this time came to, by site, coupon, agent or rule, and currency.
        Amounts are what the customers paid and did not get back."""
        own = [
            condition
            for condition in (
                None if site is None else _F.site == site,
                None if since is None else _F.made_at >= since,
                None if until is None else _F.made_at < until,
            )
            if condition is not None
        ]
        query = (
            select(
                *(_F.id, _F.site, _F.coupon, _F.agent, _F.rule, _F.clicked_at),
                *(_O.total, _O.refunded, _O.currency, _O.state),
            )
            .outerjoin_from(offers, orders_table, _O.id == _F.order)
            .order_by(_F.id)
            .limit(ADDED_AT_ONCE)
        )
        found: dict[tuple[str, str | None, str, str | None, str | None], list[Any]] = {}
        after = 0
        while True:
            page = query.where(*own, _F.id > after)
            async with self._db.read() as connection:
                rows = (await connection.execute(page)).all()
            for row in rows:
                is_sale = row.total is not None and row.state in SALES
                key = (row.site, row.coupon, row.agent, row.rule, row.currency if is_sale else None)
                sums = found.setdefault(key, [0, 0, 0, Decimal()])
                sums[0] += 1
                sums[1] += row.clicked_at is not None
                if is_sale:
                    sums[2] += 1
                    sums[3] += max(Decimal(row.total) - Decimal(row.refunded), Decimal())
            if len(rows) < ADDED_AT_ONCE:
                break
            after = rows[-1].id
        listed = []
        for (at, coupon, agent, rule, currency), (sent, clicked, sold, total) in found.items():
            listed.append(OfferSum(at, coupon, agent, rule, sent, clicked, sold, total, currency))
        return tuple(sorted(listed, key=_place))


def _place(one: OfferSum) -> tuple[str, str, str, str, str]:
    return one.site, one.coupon or "", one.agent, one.rule or "", one.currency or ""


def _all() -> Select[Any]:
    names = [name for name in Offer.__dataclass_fields__ if name not in ("order_row", "order")]
    return select(*(_F[name] for name in names), _F.order.label("order_row"), _O.order_id).outerjoin_from(
        offers, orders_table, _O.id == _F.order
    )


_ALL = _all()


async def add(tx: Connection, new: NewOffer) -> str | None:
    """Add an offer, in the transaction that writes its message and has locked its conversation: neither is
    there without the other, and what fails takes no code. Returns the coupon's code. Raises NoCodeError and
    TooManyError."""
    own = (_F.site == new.site, _F.conversation == new.conversation)
    most = PER_CONVERSATION if new.conversation is not None else None
    if most is not None and int(await tx.scalar(select(func.count()).where(*own)) or 0) >= most:
        raise TooManyError
    coupon = new.coupon_code
    if new.pooled:
        coupon = await _handed_out(tx, new)
    values = {name: getattr(new, name) for name in _TAKEN}
    values |= {"coupon_code": coupon, "coupon_key": None if coupon is None else coupon.casefold()}
    await tx.execute(
        insert(offers).values(
            **values, single=new.pooled, clicks=0, others=0, version=1, changed_at=new.made_at
        )
    )
    return coupon


_TAKEN: Final = (
    *("code", "site", "conversation", "visitor", "agent", "rule", "client_id", "label", "page", "cart"),
    "coupon",
    *("made_at", "expires_at"),
)


async def _handed_out(tx: Connection, new: NewOffer) -> str:
    """A code of the pool for this offer alone. Raises NoCodeError."""
    code = await _taken(tx, new)
    if code is None and new.returned:
        await _return_unused(tx, new)
        code = await _taken(tx, new)
    if code is None:
        raise NoCodeError
    return code


async def _taken(tx: Connection, new: NewOffer) -> str | None:
    free = (_C.site == new.site, _C.coupon == new.coupon, _C.offer.is_(None))
    # Locked, so that two workers never take the same one.
    first = select(_C.id, _C.code).where(*free).order_by(_C.id).limit(1).with_for_update(skip_locked=True)
    row = (await tx.execute(first)).first()
    if row is None:
        return None
    await tx.execute(update(coupon_codes).where(_C.id == row.id).values(offer=new.code))
    return str(row.code)


async def _return_unused(tx: Connection, new: NewOffer) -> None:
    """Put back the codes of offers that ended and that nobody followed."""
    ended = (
        select(_C.id)
        .join_from(coupon_codes, offers, _F.code == _C.offer)
        .where(_C.site == new.site, _C.coupon == new.coupon, _F.expires_at <= new.made_at)
        .where(_F.clicks == 0, _F.others == 0, _F.order.is_(None))
        .limit(ADDED_AT_ONCE)
    )
    ids = [
        row.id for row in (await tx.execute(ended.with_for_update(of=coupon_codes, skip_locked=True))).all()
    ]
    gone = select(_C.offer).where(_C.id.in_(ids))
    # What is paid with the code from now on follows from another offer.
    await tx.execute(update(offers).where(_F.code.in_(gone)).values(coupon_key=None))
    await tx.execute(update(coupon_codes).where(_C.id.in_(ids)).values(offer=None))


def _match(kind: str) -> Select[Any]:
    """The offers from which an order may follow: by its coupon, or by the click of its visitor."""
    by_visitor = (_F.visitor == bindparam("visitor", type_=_F.visitor.type),)
    if kind == "click":
        at = bindparam("placed_at", type_=_F.clicked_at.type)
        which = and_(*by_visitor, _F.clicked_at <= at, _F.counts_until >= at)
    else:
        key = bindparam("key", type_=_F.coupon_key.type)
        # Written so that the index of the code is taken, and not that of the time.
        made = _F.made_at + 0 <= bindparam("placed_at", type_=_F.made_at.type)
        which = and_(_F.coupon_key == key, made, or_(_F.single.is_(True), *by_visitor))
    return (
        select(_F.id)
        .where(_F.site == bindparam("site"), _F.order.is_(None), which)
        # No index fits: SQLite would go through it instead of the few that match.
        .order_by((_F.clicked_at if kind == "click" else _F.made_at + 0).desc())
        .limit(1)
    )


_BY_CLICK, _BY_COUPON = Prepared(_match("click")), Prepared(_match("coupon"))
_FOLLOWED = Prepared(select(_F.id).where(_F.order == bindparam("of_order", type_=_F.order.type)))


async def follow(tx: Connection, site: str, row: int, order: Order, now: float, *, is_new: bool) -> None:
    """Write which offer an order followed from: the last one of its coupon, else the last one that its
    visitor has followed within its time. One that is a sale no more followed from none."""
    changed = {"version": _F.version + 1, "changed_at": now}
    if not is_new:
        rows = (await tx.execute(_FOLLOWED, {"of_order": row})).all()
        if rows and not order.is_sale:
            none = {"order": None, "followed_by": None, **changed}
            await tx.execute(update(offers).where(_F.id.in_([one.id for one in rows])).values(**none))
        if rows:
            return
    if not order.is_sale:
        return
    given = {"site": site, "visitor": order.visitor, "placed_at": order.placed_at}
    found, by = None, "coupon"
    if order.coupon is not None:
        found = (await tx.execute(_BY_COUPON, given | {"key": order.coupon.strip().casefold()})).first()
    if found is None and order.visitor is not None:
        found, by = (await tx.execute(_BY_CLICK, given)).first(), "click"
    if found is not None:
        same = update(offers).where(_F.id == found.id, _F.order.is_(None))
        await tx.execute(same.values(order=row, followed_by=by, **changed))


async def follow_merged(tx: Connection, other: int, order: int) -> None:
    """Another order turned out to be this one."""
    await tx.execute(update(offers).where(_F.order == other).values(order=order))
