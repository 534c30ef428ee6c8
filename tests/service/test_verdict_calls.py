"""A network hears of an approval or a refusal by the call that its entry has for it, once, in order."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest_asyncio
from clew.orders.model import OrderSeen, Refund
from clew.payouts.account import Verdict
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Shopped, Touched
from clew.service.workflow import decide
from clew.stores.ledger import schema
from reporting import NOW, Shop, site

DAY = 86400.0
NETWORK = {
    "id": "tune",
    "network": "tune",
    "param": "transaction_id",
    "settings": {"network_id": "n", "network_token": "t", "network_domain": "d.example"},
}


class NetworkShop(Shop):
    """A shop whose partner is of a network."""

    async def bought(self, visitor: str, click: str = "c1") -> None:
        click_id = Click("tune", "transaction_id", click, "tune")
        touch = Touch(int(NOW) - 3600, (click_id,), {}, "", "/")
        await self.service.visits.change("shop", visitor, [Touched(touch), Shopped()], self.now)


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[NetworkShop]:
    built = NetworkShop(tmp_path, site(partners=[NETWORK]))
    await built.service.open()
    yield built
    await built.service.close()


async def buy(shop: Shop) -> None:
    await shop.bought("v1")
    await shop.report(OrderSeen("1001", Decimal("100.00"), "EUR", "api", state="paid"), "v1")


async def say(shop: Shop, verdict: Verdict) -> None:
    stored = await shop.service.ledger.orders.get("shop", "1001")
    assert stored is not None
    known = shop.service.sites["shop"].partners.get
    await decide(shop.service.ledger, known, stored.row, (), verdict, shop.now, by="ann", why="looked")


def events(shop: Shop) -> list[str]:
    return [event for event, _, _ in shop.calls]


async def test_an_approval_is_told_once_after_the_order(shop: Shop) -> None:
    await buy(shop)
    shop.now = NOW + 31 * DAY
    for _ in range(2):
        await shop.service.workflow.step()
        await shop.deliver()
    await say(shop, "approve")
    await shop.deliver()
    assert events(shop) == ["order", "approve"]


async def test_a_change_before_the_approval_was_sent_comes_first(shop: Shop) -> None:
    await buy(shop)
    await shop.deliver()
    await say(shop, "approve")
    refund: dict[str, Any] = {"state": None, "refunds": (Refund("r1", Decimal(30)),)}
    await shop.report(OrderSeen("1001", None, "EUR", "api", **refund))
    await shop.deliver()
    told = [(event, amount) for event, _, amount in shop.calls]
    assert told[0] == ("order", "100.00")
    assert told[-1] == ("approve", "70.00")


async def test_a_decision_about_one_partner_leaves_what_waits_for_another(tmp_path: Path) -> None:
    """Each of two partners that share an order is approved when its hold period is over."""
    second = NETWORK | {"id": "tune2", "param": "second_id"}
    built = NetworkShop(tmp_path, site(partners=[NETWORK, second], credit={"model": "linear"}))
    await built.service.open()
    clicks = Click("tune", "transaction_id", "c1", "tune"), Click("tune", "second_id", "c2", "tune2")
    touches = [Touched(Touch(int(NOW) - 3600 + n, (c,), {}, "", "/")) for n, c in enumerate(clicks)]
    await built.service.visits.change("shop", "v1", [*touches, Shopped()], built.now)
    await built.report(OrderSeen("1001", Decimal("100.00"), "EUR", "api", state="paid"), "v1")
    await built.deliver()
    built.now = NOW + 31 * DAY
    await built.service.workflow.step()
    rows = await built.rows(schema.postbacks)
    told = {(row["partner"], row["event"], row["state"]) for row in rows if row["event"] != "order"}
    assert told == {("tune", "approve", "due"), ("tune2", "approve", "due")}
    await built.service.close()


async def test_a_refusal_is_told_and_a_cancellation_after_it_too(shop: Shop) -> None:
    await buy(shop)
    await shop.deliver()
    await say(shop, "decline")
    await shop.deliver()
    await say(shop, "decline")
    await shop.deliver()
    assert events(shop) == ["order", "decline"]


async def test_an_order_that_is_cancelled_is_not_approved_and_not_declined_too(shop: Shop) -> None:
    await buy(shop)
    await shop.deliver()
    await say(shop, "approve")
    await shop.report(OrderSeen("1001", None, None, "api", state="cancelled"))
    await shop.deliver()
    assert events(shop) == ["order", "cancel"]


async def test_a_plain_partner_gets_no_call_that_it_does_not_know(tmp_path: Path) -> None:
    built = Shop(tmp_path, site())
    await built.service.open()
    await buy(built)
    await say(built, "approve")
    await built.deliver()
    assert events(built) == ["order"]
    await built.service.close()
