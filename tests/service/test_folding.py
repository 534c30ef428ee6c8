"""The outbox folds what was not sent: for any changes of an order, and any fate of the calls between them.

The partner's rule is that of networks: a call with a known id is a repeat, and so is a new order whose number
is known. What it has, it does not refuse.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from clew.orders.model import SALES, OrderSeen, Refund
from clew.postbacks.model import Attempt, Outcome, Postback, State
from clew.stores.ledger import schema
from clew.stores.ledger.again import OutboxError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from reporting import Shop, site
from unasked import nobody

LEASE = 9.0
# What becomes of a call, and whether the partner has counted it.
FATES = st.sampled_from(
    [
        ("delivered", True),
        ("retry", False),
        ("retry", True),
        ("dead", False),
        ("unknown", False),
        ("unknown", True),
        ("cut off", False),
        ("cut off", True),
    ]
)
CHANGES = st.one_of(
    st.tuples(st.just("total"), st.integers(100, 103)),
    st.tuples(st.just("refund"), st.integers(1, 5)),
    st.tuples(st.just("cancelled"), st.just(0)),
)
WORK = st.one_of(
    st.tuples(st.just("send"), FATES),
    st.tuples(st.just("begin"), st.just(0)),
    st.tuples(st.just("end"), FATES),
    st.tuples(st.just("claim"), st.just(0)),  # by a worker that ends before it sends anything
    st.tuples(st.just("again"), st.just(0)),  # a person has what failed sent again
)
STEPS = st.lists(st.one_of(CHANGES, WORK), max_size=14)


@dataclass
class Told:
    """What the partner has of the order. `begun` are the sequence numbers of all calls, as they were sent."""

    counted: list[Postback] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)

    def knows(self, call: Postback) -> bool:
        known = {one.id for one in self.counted}
        return call.id in known or (call.event == "order" and bool(self.counted))

    def count(self, call: Postback) -> None:
        if not self.knows(call):
            self.counted.append(call)

    @property
    def worth(self) -> Decimal:
        return Decimal(self.counted[-1].report.amount) if self.counted else Decimal()


class Life:
    """The life of one order. The partner may hear of it again by a call whose outcome was not known."""

    def __init__(self, shop: Shop, number: str, *, repeats: bool) -> None:
        self._shop = shop
        self._outbox = shop.service.ledger.outbox
        self._number = number
        self._repeats = repeats
        self._refunds = 0
        self._call: Postback | None = None
        self.told = Told()

    async def rows(self) -> list[sa.RowMapping]:
        """Its postbacks by sequence."""
        own, calls = schema.orders.c, schema.postbacks
        query = sa.select(calls).join(schema.orders, own.id == calls.c.order)
        async with self._shop.service.ledger.db.read() as connection:
            found = await connection.execute(
                query.where(own.order_id == self._number).order_by(calls.c.sequence)
            )
            return list(found.mappings())

    async def change(self, what: str, value: int) -> None:
        """The shop's server reports a change; what was not sent before is one call at most."""
        said: dict[str, Any] = {"total": None, "currency": None, "state": None}
        if what == "total":
            said = {"total": Decimal(value), "currency": "EUR", "state": "paid"}
        elif what == "refund":
            self._refunds += 1
            refund = Refund(f"r{self._refunds}", Decimal(value))
            said |= {"currency": "EUR", "refunds": (refund,)}
        else:
            said |= {"state": what}
        as_of = self._shop.now + 1
        await self._shop.record(OrderSeen(id=self._number, source="api", as_of=as_of, **said))
        assert sum(row["state"] == "due" and not row["attempts"] for row in await self.rows()) <= 1

    async def work(self, what: str, value: Any) -> None:
        """Something happens to a call."""
        now = self._shop.now
        if what == "send":
            await self.work("begin", 0)
            await self.work("end", value)
        elif what == "end" and self._call is not None:
            await self._end(self._call, *value)
            self._call = None
        elif what in ("begin", "claim") and self._call is None:
            for row in await self._claimed():
                if what == "claim":
                    self._shop.now += 2 * LEASE
                    continue
                self._call = await self._outbox.begin(row, now + LEASE)
                assert self._call is not None
                self.told.begun.append(row.sequence)
        elif what == "again":
            for row in await self.rows():
                if row["state"] in ("dead", "unknown"):
                    with suppress(OutboxError):
                        await self._outbox.retry(row["id"], now, able=nobody)

    async def _claimed(self) -> Sequence[Postback]:
        waiting = await self._outbox.waiting(self._shop.now, each=9, limit=9)
        assert len(waiting) <= 1
        return await self._outbox.claim([one.id for one in waiting], self._shop.now, self._shop.now + LEASE)

    async def _end(self, call: Postback, fate: str, counted: bool) -> None:
        if counted:
            self.told.count(call)
        elif fate == "dead" and self.told.knows(call):
            fate = "delivered"
        if fate == "cut off":
            self._shop.now += 2 * LEASE
            await self._outbox.expire(self._shop.now, lambda _: self._repeats)
            return
        outcomes: dict[str, tuple[Outcome, State]] = {
            "delivered": ("delivered", "delivered"),
            "retry": ("retry", "due"),
            "dead": ("dead", "dead"),
            "unknown": ("unknown", "unknown"),
        }
        outcome, state = outcomes[fate]
        now = self._shop.now
        await self._outbox.finish(call, Attempt(now, "", None, "", outcome), state, now)

    async def settle(self) -> None:
        """All calls are answered well from now on, and a person sends again what failed."""
        if self._call is not None:
            await self.work("end", ("delivered", True))
        for _ in range(9):
            await self.work("again", 0)
            await self.work("begin", 0)
            if self._call is None:
                break
            await self.work("end", ("delivered", True))
        assert {row["state"] for row in await self.rows()} <= {
            "delivered",
            "superseded",
        }


async def live(shop: Shop, number: str, steps: Sequence[tuple[str, Any]], *, repeats: bool) -> None:
    life = Life(shop, number, repeats=repeats)
    await shop.bought(f"v{number}")
    first = OrderSeen(id=number, total=Decimal(100), currency="EUR", source="api", state="paid")
    await shop.record(first, f"v{number}")
    for what, value in steps:
        await (life.change if what in ("total", "refund", "cancelled") else life.work)(what, value)
    await life.settle()
    order = await shop.service.ledger.orders.get("shop", number)
    assert order is not None
    assert order.total is not None
    holds = order.total - order.refunded if order.state in SALES else Decimal()
    assert life.told.worth == holds
    assert life.told.begun == sorted(life.told.begun)
    counted = [one.sequence for one in life.told.counted]
    assert counted == sorted(set(counted))


def test_what_was_not_sent_is_one_call_and_the_partner_ends_with_what_the_order_comes_to(
    tmp_path: Path, ledger_address: str
) -> None:
    numbers: Iterator[int] = count(1001)
    with asyncio.Runner() as runner:
        shop = Shop(tmp_path, site(), ledger_address)
        runner.run(shop.service.open())

        @settings(
            max_examples=60 if ledger_address.startswith("sqlite") else 20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @example(steps=[("send", ("retry", True)), ("total", 101)], repeats=True)
        @example(
            steps=[("send", ("unknown", False)), ("total", 101), ("again", 0)],
            repeats=False,
        )
        @example(steps=[("send", ("dead", False)), ("refund", 5)], repeats=True)
        @example(
            steps=[
                ("send", ("unknown", True)),
                ("refund", 1),
                ("again", 0),
                ("send", ("dead", False)),
            ],
            repeats=True,
        )
        @example(
            steps=[("begin", 0), ("total", 101), ("end", ("cut off", True))],
            repeats=True,
        )
        @given(steps=STEPS, repeats=st.booleans())
        def holds(steps: list[tuple[str, Any]], repeats: bool) -> None:
            runner.run(live(shop, str(next(numbers)), steps, repeats=repeats))

        try:
            holds()
        finally:
            runner.run(shop.service.close())
