"""Two people settle one thing that waits, at the same time: one wins, and the other is told who did.
Nothing is decided twice, in two ways."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from clew.orders.model import OrderError, OrderSeen
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Touched
from clew.service.ordering.correcting import correct, settle
from clew.settings.model import Hold
from clew.stores.ledger.again import OutboxError
from clew.stores.ledger.connection import executing
from clew.stores.ledger.orders import StoredOrder
from clew.stores.ledger.schema import postbacks
from reporting import NOW, Shop, site
from sqlalchemy import update

PARTNERS = [
    {"id": name, "param": name, "postback": "http://127.0.0.1:9/?c={click_id}&e={event}"}
    for name in ("anna", "blog")
]


@pytest_asyncio.fixture
async def shop(tmp_path: Path, ledger_address: str) -> AsyncIterator[Shop]:
    built = Shop(tmp_path, site(partners=PARTNERS), ledger_address)
    await built.service.open()
    yield built
    await built.service.close()


def seen(number: str | None, **said: Any) -> OrderSeen:
    return OrderSeen(**{"id": number, "total": Decimal("100.00"), "currency": "EUR", "source": "api", **said})


async def stored(shop: Shop, number: str) -> StoredOrder:
    found = await shop.service.ledger.orders.get("shop", number)
    assert found is not None
    return found


async def both(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, *acts: Awaitable[Any]) -> list[Any]:
    """What becomes of two acts, of which each has come to its first write before one is written."""
    real, met = getattr(where, name), asyncio.Barrier(2)

    async def together(*given: Any, **more: Any) -> Any:
        if not done:
            await met.wait()
            done.append(1)
        return await real(*given, **more)

    done: list[int] = []
    monkeypatch.setattr(where, name, together)
    async with asyncio.timeout(30):
        return await asyncio.gather(*acts, return_exceptions=True)


def outcome(results: list[Any]) -> tuple[Any, Exception]:
    """What the one did, and what the other was told."""
    (won,) = [one for one in results if not isinstance(one, Exception)]
    (told,) = [one for one in results if isinstance(one, Exception)]
    return won, told


async def test_a_lost_order_is_credited_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await shop.report(seen("1"), visitor="late")
    clicks = (Click("", "anna", "a-1", "anna"),), (Click("", "blog", "b-1", "blog"),)
    touches = [Touched(Touch(int(NOW) - 3600 * n, own, {}, "", "/")) for n, own in enumerate(clicks, 1)]
    await shop.service.visits.change("shop", "late", touches, shop.now)
    at, lost = shop.service.sites["shop"], shop.service.lost
    won, told = outcome(
        await both(
            monkeypatch,
            shop.service.ledger.histories,
            "write",
            *(
                lost.assign(at, "1", "anna", shop.now, by=by, why=f"{by} asked", hold=Hold())
                for by in ("eva", "bo")
            ),
        )
    )
    assert won.after.partner == "anna"
    winner = won.sighting.correction.by
    assert isinstance(told, OrderError)
    assert f"{winner} has decided about it meanwhile ({winner} asked" in str(told)
    order = await stored(shop, "1")
    assert f"chosen by {winner}" in order.reason
    assert len(await shop.service.ledger.histories.postbacks(order.row)) == 1


async def test_a_held_call_is_sent_or_refused_and_not_both(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch = Touch(int(NOW) - 3600, (Click("", "anna", "a-1", "anna"),), {}, "", "/")
    await shop.service.visits.change("shop", "v", [Touched(touch)], shop.now)
    await shop.report(seen("1"), visitor="v")
    order = await stored(shop, "1")
    in_doubt = {"state": "held", "hold": "amount", "why": "twice as much as usual"}
    await shop.service.ledger.db.transact(executing(update(postbacks).values(**in_doubt)))
    (held,) = await shop.service.ledger.histories.postbacks(order.row)
    assert held.state == "held"
    partners = shop.service.settings.sites[0].partners
    won, told = outcome(
        await both(
            monkeypatch,
            shop.service.ledger.histories,
            "write",
            *(
                settle(shop.service.ledger, lambda _: partners, held.id, shop.now, by=by, send=send)
                for by, send in (("eva", True), ("bo", False))
            ),
        )
    )
    winner = won.sighting.correction.by
    assert isinstance(told, OrderError | OutboxError)
    assert f"{winner} has decided about it meanwhile" in str(told)
    (row,) = await shop.service.ledger.histories.postbacks(order.row)
    assert row.state == ("due" if winner == "eva" else "refused")


async def test_a_report_goes_to_one_order(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in ("1", "2"):
        await shop.report(seen(number, email_hash="e" * 64))
    at = shop.service.sites["shop"]
    await shop.service.ordering.record_unnumbered(
        at, seen(None, state="paid", email_hash="e" * 64), visitor=None
    )
    ((report, candidates),) = await shop.service.ordering.waiting("shop", 9)
    assert sorted(candidates) == ["1", "2"]
    won, told = outcome(
        await both(
            monkeypatch,
            shop.service.ordering._placing._ledger.histories,
            "write_all",
            *(
                shop.service.ordering.move(at, report.row, number, by=by, why="asked", seen=None)
                for by, number in (("eva", "1"), ("bo", "2"))
            ),
        )
    )
    assert isinstance(told, OrderError)
    assert "has moved it" in str(told)
    paid = [number for number in ("1", "2") if (await stored(shop, number)).state == "paid"]
    assert [(await stored(shop, number)).row for number in paid] == [won.order]


async def test_who_looks_at_an_old_page_is_told_of_the_decision_since(shop: Shop) -> None:
    await shop.report(seen("1"))
    order, ledger = await stored(shop, "1"), shop.service.ledger
    partners = shop.service.settings.sites[0].partners
    first = {"by": "eva", "why": "the invoice", "amount": Decimal(90)}
    await correct(ledger, partners, order, shop.now, seen=0, **first)  # type: ignore[arg-type]
    with pytest.raises(OrderError, match=r"eva has decided about it meanwhile \(the invoice\)"):
        await correct(ledger, partners, order, shop.now, by="bo", why="mail", amount=Decimal(80), seen=0)
    assert (await stored(shop, "1")).total == 90
    # Knowing of it, and one's own second thoughts.
    await correct(ledger, partners, order, shop.now + 1, by="bo", why="mail", amount=Decimal(80), seen=1)
    await correct(ledger, partners, order, shop.now + 2, by="bo", why="a typo", amount=Decimal(85), seen=1)
    assert (await stored(shop, "1")).total == 85
