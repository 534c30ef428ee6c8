"""What networks have in their books, after orders, changes and cancellations came by the worker: to the cent
what the ledger has."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from clew.orders.model import Item
from clew.orders.money import minor_digits
from clew.postbacks.delivery import Worker
from clew.postbacks.due import Plan, Planned
from clew.postbacks.model import Postback
from clew.postbacks.tokens import Tokens
from clew.referral.networks_file import load
from clew.settings.model import Delivery, Partner
from clew.stores.ledger.database import Database
from clew.stores.ledger.networks import Networks
from clew.stores.ledger.outbox import Outbox
from clew.stores.ledger.planned import apply_plan
from receiver.serving import NetworksReceiver

Owe = Callable[..., Awaitable[None]]
SETTINGS: dict[str, dict[str, Any]] = {
    "awin": {"advertiser_id": "1001", "api_key": "k", "access_token": "t"},
    "cj": {"enterprise_id": "1", "action_id": "2", "personal_access_token": "t"},
    "impact": {"account_sid": "a", "auth_token": "t", "campaign_id": "1", "event_type_id": "2"},
}
ORDERS = 12


def amounts(rng: random.Random, currency: str) -> tuple[str, tuple[Item, ...]]:
    """The amount of an order, less than its items come to, and the items."""
    unit = Decimal(1).scaleb(-minor_digits(currency))
    items = tuple(
        Item(
            id=f"S{n}",
            category=rng.choice(("Shoes", "Books", "Mugs")),
            quantity=Decimal(rng.randint(1, 3)),
            price=rng.randint(100, 9999) * unit,
        )
        for n in range(rng.randint(1, 4))
    )
    whole = sum(((item.price or Decimal()) * item.quantity for item in items), Decimal())
    return format((whole * rng.randint(80, 100) / 100).quantize(unit), "f"), items


async def delivered(worker: Worker, outbox: Outbox, clock: Any, count: int) -> tuple[Postback, ...]:
    """All rows, once so many were delivered. Of what a network has accepted it is asked a minute later."""
    async with asyncio.timeout(60):
        while True:
            rows = await outbox.list()
            states = {row.state for row in rows}
            assert states <= {"due", "sending", "accepted", "delivered"}, [row.last_answer for row in rows]
            if len(rows) == count and states == {"delivered"}:
                return rows
            waits = states <= {"accepted", "delivered"}
            if waits and all(row.lease_until is None for row in rows):
                clock.now += 61
                worker.wake()
            await asyncio.sleep(0.05)


async def test_the_networks_books_agree_with_the_ledger_to_the_last_minor_unit(
    db: Database, owe: Owe, events: Any, clock: Any
) -> None:
    rng, outbox = random.Random(1), Outbox(db)
    with NetworksReceiver() as receiver:
        partners = {
            name: Partner(
                id=name,
                network=name,
                endpoint=f"{receiver.address}/{name}",
                settings=settings,
                commission_groups={"Shoes": "SHOES", "Books": "BOOKS"},
            )
            for name, settings in SETTINGS.items()
        }
        ids = Networks(db)
        tokens = Tokens(ids, "0123456789abcdef0123456789abcdef", clock)
        networks = load().networks
        worker = Worker(
            outbox,
            lambda site, partner: partners.get(partner),
            networks,
            Delivery(timeout=60),
            clock,
            events,
            tokens=tokens,
            ids=ids,
        )
        for number in range(ORDERS):
            name = list(SETTINGS)[number % 3]
            currency = rng.choice(("EUR", "JPY", "KWD"))
            amount, items = amounts(rng, currency)
            await owe(f"{name}-{number}", partner=name, amount=amount, currency=currency, items=items)
        task = asyncio.create_task(worker.run())
        try:
            rows = await delivered(worker, outbox, clock, ORDERS)
            for row in rows[: ORDERS // 2]:
                half = Decimal(row.report.amount) / 2
                changed = format(half.quantize(Decimal(1).scaleb(-minor_digits(row.report.currency))), "f")
                event = rng.choice(("adjust", "cancel"))
                told = replace(
                    row.report,
                    event=event,
                    before=row.report.amount,
                    amount=changed if event == "adjust" else "0",
                    state="part_refunded" if event == "adjust" else "refunded",
                )
                plan = Plan(added=(Planned(2, told, "due", None, None),))
                await db.transact(
                    lambda tx, row=row, plan=plan: apply_plan(tx, row.order, "shop", plan, clock.now)
                )
            worker.wake()
            rows = await delivered(worker, outbox, clock, ORDERS + ORDERS // 2)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for name in SETTINGS:
            latest: dict[str, Postback] = {}
            for row in sorted((row for row in rows if row.partner == name), key=lambda one: one.sequence):
                latest[row.report.order_id] = row
            expected: dict[str, Decimal] = {}
            for row in latest.values():
                if row.event != "cancel":
                    sums = expected.get(row.report.currency, Decimal())
                    expected[row.report.currency] = sums + Decimal(row.report.amount)
            assert receiver.networks[name].books.sums() == expected, receiver.books()
            assert receiver.networks[name].books.refused == []
