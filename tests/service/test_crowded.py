"""A shop whose reports of one order run in a loop: its last state counts, and it does not grow for ever."""

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from clew.orders.model import OrderSeen, Refund
from clew.service.ordering import crowded
from clew.service.ordering.correcting import settle
from clew.stores.ledger import schema
from reporting import PARTNER, Shop, site

KEPT = 12
TERMS = [{"name": "all", "percent": "10"}]


@pytest_asyncio.fixture
async def shop(tmp_path: Path, ledger_address: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    monkeypatch.setattr(crowded, "REPORTS", KEPT)
    built = Shop(tmp_path, site(partners=[{**PARTNER, "terms": TERMS}]), ledger_address)
    await built.service.open()
    yield built
    await built.service.close()


def order(total: int | None = None, **said: Any) -> OrderSeen:
    values: dict[str, Any] = {"total": None, "currency": "EUR", "state": None, **said}
    if total is not None:
        values |= {"total": Decimal(total), "state": "paid"}
    return OrderSeen(id="1001", source="api", **values)


async def sizes(shop: Shop) -> dict[str, int]:
    """How many rows there are of all that belongs to orders."""
    names = ("sightings", "decisions", "shares", "postbacks", "commission_entries", "order_numbers")
    return {name: len(await shop.rows(schema.metadata.tables[name])) for name in names}


async def in_a_loop(shop: Shop, times: int, deliver: bool = True) -> None:
    for number in range(times):
        await shop.report(order(100 + number % 3))
        if deliver:
            await shop.deliver()


async def test_an_order_that_is_reported_in_a_loop_does_not_grow(shop: Shop) -> None:
    await shop.bought("v1")
    await shop.report(order(100), "v1")
    await in_a_loop(shop, KEPT + 3)
    before, told = await sizes(shop), len(shop.calls)
    assert before["sightings"] == KEPT
    await in_a_loop(shop, 20)
    assert await sizes(shop) == before
    assert len(shop.calls) == told
    stored = await shop.service.ledger.orders.get("shop", "1001")
    assert stored is not None
    assert (stored.total, [doubt.kind for doubt in stored.doubts]) == (Decimal(101), ["loop"])
    noted = [one for one in shop.service.events.take_noted() if one.event == "order_crowded"]
    assert [(one.details["order"], one.details["kept"]) for one in noted] == [("1001", True)]


async def test_its_last_state_and_all_refunds_count_and_are_told_once_a_person_has_looked(shop: Shop) -> None:
    await shop.bought("v1")
    await shop.report(order(100), "v1")
    for number in range(KEPT):
        refund = Refund(f"r{number}", Decimal(1))
        await shop.report(order(refunds=(refund,)))
    await in_a_loop(shop, 2 * KEPT)
    await shop.report(order(110))
    stored = await shop.service.ledger.orders.get("shop", "1001")
    assert stored is not None
    assert (stored.total, stored.refunded) == (Decimal(110), Decimal(KEPT))
    assert (await sizes(shop))["sightings"] == KEPT
    (held,) = await shop.service.ledger.outbox.list("held")
    assert (held.hold, held.report.amount) == ("loop", "98.00")
    known = list(shop.service.sites["shop"].partners.values())
    entry = await settle(shop.service.ledger, lambda _: known, held.id, shop.now + 1, by="ann")
    assert entry.after.doubts == ()
    shop.now += 2
    await shop.deliver()
    assert shop.sums == {"1001": Decimal(98)}
    (commission,) = await shop.rows(schema.commissions)
    assert commission["value"] == 9800
    # The person's word holds for half as many reports again.
    await in_a_loop(shop, KEPT // 2 - 1)
    assert not await shop.service.ledger.outbox.list("held")
    await in_a_loop(shop, 4)
    assert await shop.service.ledger.outbox.list("held")


async def test_it_may_be_cancelled(shop: Shop) -> None:
    await shop.bought("v1")
    await shop.report(order(100), "v1")
    await in_a_loop(shop, 2 * KEPT)
    await shop.report(order(state="cancelled"))
    stored = await shop.service.ledger.orders.get("shop", "1001")
    assert stored is not None
    assert stored.state == "cancelled"


async def test_other_numbers_are_not_added_for_ever(shop: Shop) -> None:
    """Each names another further number, so that each counts: what is too many is told of, and left out."""
    for number in range(3 * KEPT):
        await shop.record(replace(order(100 + number), further=(f"x{number}",)))
    found = await sizes(shop)
    assert (found["sightings"], found["order_numbers"]) == (KEPT, KEPT + 1)
    noted = [one for one in shop.service.events.take_noted() if one.event == "order_crowded"]
    assert [one.details["kept"] for one in noted] == [False]


async def test_repeats_are_no_loop(shop: Shop) -> None:
    await shop.report(order(100))
    for _ in range(2 * KEPT):
        await shop.report(order(100))
    stored = await shop.service.ledger.orders.get("shop", "1001")
    assert stored is not None
    assert stored.doubts == ()
    assert (await sizes(shop))["sightings"] == 1
