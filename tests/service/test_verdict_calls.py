"""A network hears of an approval or a refusal by the call that its entry has for it, once, in order."""

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from clew.orders.model import OrderSeen, Refund
from clew.payouts.account import Verdict
from clew.postbacks.due import Plan, Planned
from clew.postbacks.model import Attempt, Outcome, Postback, State
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Shopped, Touched
from clew.service.workflow import decide
from clew.stores.ledger import schema
from clew.stores.ledger.again import Able, OutboxError
from clew.stores.ledger.planned import apply_plan
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


def asked(shop: Shop) -> Able:
    return shop.service.worker.partners.able(shop.now)


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
    await shop.report(OrderSeen("1001", None, "EUR", "api", **REFUND))
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


REFUND: dict[str, Any] = {"state": None, "refunds": (Refund("r1", Decimal(30)),)}


async def fail(shop: Shop, state: State, *, change: bool = False) -> Postback:
    """The call that is due is made, the order changes meanwhile if it should, and the call comes to this."""
    outbox = shop.service.ledger.outbox
    (waiting,) = await outbox.waiting(shop.now, each=1, limit=1)
    (row,) = await outbox.claim([waiting.id], shop.now, shop.now + 9)
    begun = await outbox.begin(row, shop.now + 9)
    assert begun is not None
    if change:
        await shop.report(OrderSeen("1001", None, "EUR", "api", **REFUND))
    outcome: Outcome = "dead" if state == "dead" else "unknown"
    await outbox.finish(begun, Attempt(shop.now, "", 400, "no", outcome), state, shop.now)
    return begun


def calls(shop: Shop) -> list[tuple[str, str]]:
    return [(event, amount) for event, _, amount in shop.calls]


async def test_an_order_that_the_network_did_not_take_is_not_approved_until_it_has_it(shop: Shop) -> None:
    await buy(shop)
    await say(shop, "approve")
    first = await fail(shop, "dead")
    await shop.deliver()
    assert calls(shop) == []
    await shop.service.ledger.outbox.retry(first.id, shop.now, able=asked(shop))
    await shop.deliver()
    assert calls(shop) == [("order", "100.00"), ("approve", "100.00")]


async def test_a_decision_while_the_partner_does_not_have_the_order_follows_it(shop: Shop) -> None:
    await buy(shop)
    first = await fail(shop, "dead")
    await say(shop, "approve")
    await shop.deliver()
    assert calls(shop) == []
    await shop.service.ledger.outbox.retry(first.id, shop.now, able=asked(shop))
    await shop.deliver()
    assert calls(shop) == [("order", "100.00"), ("approve", "100.00")]


async def test_all_dead_are_sent_again_with_the_decisions_about_them(shop: Shop) -> None:
    await buy(shop)
    await fail(shop, "dead")
    await say(shop, "decline")
    assert await shop.service.ledger.outbox.retry_dead(shop.now, able=asked(shop)) == 1
    await shop.deliver()
    assert calls(shop) == [("order", "100.00"), ("decline", "100.00")]


async def test_an_order_that_is_held_when_its_call_comes_takes_its_approval_with_it(shop: Shop) -> None:
    """What comes too late for a call waits for a person, and so does what follows it."""
    await buy(shop)
    await say(shop, "approve")
    outbox = shop.service.ledger.outbox
    (waiting,) = await outbox.waiting(shop.now, each=1, limit=1)
    (row,) = await outbox.claim([waiting.id], shop.now, shop.now + 9)
    await outbox.hold(row, "it is too late: report it by hand", shop.now)
    await shop.deliver()
    assert calls(shop) == []
    await outbox.mark_reported(row.id, shop.now, by="ann", able=asked(shop))
    await shop.deliver()
    assert calls(shop) == [("approve", "100.00")]


async def change_fails(shop: Shop) -> Postback:
    """The network has the order, and does not take a change of it."""
    await buy(shop)
    await shop.deliver()
    await shop.report(OrderSeen("1001", None, "EUR", "api", **REFUND))
    return await fail(shop, "dead")


async def test_a_refusal_does_not_wait_for_a_change_that_the_network_did_not_take(shop: Shop) -> None:
    change = await change_fails(shop)
    await say(shop, "decline")
    await shop.deliver()
    assert calls(shop) == [("order", "100.00"), ("decline", "100.00")]
    # A change after a refusal may undo it.
    await shop.service.ledger.outbox.retry(change.id, shop.now, able=asked(shop))
    await shop.deliver()
    assert calls(shop)[2:] == [("adjust", "70.00"), ("decline", "70.00")]


async def test_a_refusal_behind_a_change_that_fails_is_sent(shop: Shop) -> None:
    await buy(shop)
    await shop.deliver()
    await shop.report(OrderSeen("1001", None, "EUR", "api", **REFUND))
    await say(shop, "decline")
    await fail(shop, "dead")
    await shop.deliver()
    assert calls(shop) == [("order", "100.00"), ("decline", "100.00")]


async def test_an_approval_waits_for_a_change_that_the_network_did_not_take(shop: Shop) -> None:
    change = await change_fails(shop)
    await say(shop, "approve")
    await shop.deliver()
    assert calls(shop) == [("order", "100.00")]
    await shop.service.ledger.outbox.retry(change.id, shop.now, able=asked(shop))
    await shop.deliver()
    assert calls(shop)[1:] == [("adjust", "70.00"), ("approve", "70.00")]


async def test_an_approval_after_the_amount_rose_is_told_again(shop: Shop) -> None:
    await buy(shop)
    await shop.deliver()
    await say(shop, "approve")
    await shop.deliver()
    await shop.report(OrderSeen("1001", Decimal("120.00"), "EUR", "api", as_of=NOW + 60))
    await shop.deliver()
    assert calls(shop)[2:] == [("adjust", "120.00")]  # the rest waits as the whole did
    await say(shop, "approve")
    await shop.deliver()
    assert calls(shop)[2:] == [("adjust", "120.00"), ("approve", "120.00")]


async def test_a_decision_is_sent_again_only_when_the_network_has_what_it_is_about(shop: Shop) -> None:
    outbox = shop.service.ledger.outbox
    await buy(shop)
    await shop.deliver()
    await say(shop, "approve")
    await shop.deliver()
    await shop.report(OrderSeen("1001", Decimal("120.00"), "EUR", "api", as_of=NOW + 60))
    change = await fail(shop, "dead")
    (approval,) = [row for row in await outbox.list() if row.event == "approve"]
    again: dict[str, Any] = {"by": "ann", "event": None, "manual": lambda row: "", "able": asked(shop)}
    with pytest.raises(OutboxError, match=f"the partner has to get {change.id} about the order first"):
        await outbox.resend(approval.id, shop.now, **again)
    await say(shop, "decline")
    await shop.deliver()
    (refusal,) = [row for row in await outbox.list() if row.event == "decline"]
    await outbox.resend(refusal.id, shop.now, **again)
    await shop.deliver()
    assert events(shop) == ["order", "approve", "decline", "decline"]


async def test_an_approval_that_failed_is_not_lost_while_the_order_has_failed(shop: Shop) -> None:
    outbox = shop.service.ledger.outbox
    await buy(shop)
    await shop.deliver()
    await say(shop, "approve")
    approval = await fail(shop, "dead")
    await shop.report(OrderSeen("1001", None, "EUR", "api", **REFUND))
    change = await fail(shop, "dead")
    with pytest.raises(OutboxError, match=f"the partner has to get {change.id} about the order first"):
        await outbox.retry(approval.id, shop.now, able=asked(shop))
    await outbox.retry(change.id, shop.now, able=asked(shop))
    await shop.deliver()
    assert calls(shop) == [("order", "100.00"), ("adjust", "70.00"), ("approve", "70.00")]


async def test_an_approval_follows_the_order_that_is_reported_anew(shop: Shop) -> None:
    await buy(shop)
    await say(shop, "approve")
    await fail(shop, "dead", change=True)
    await shop.deliver()
    assert calls(shop) == [("order", "70.00"), ("approve", "70.00")]


@pytest.mark.parametrize("state", ["dead", "unknown"])
async def test_a_refusal_is_sent_again_after_the_change_that_followed_it(shop: Shop, state: State) -> None:
    await buy(shop)
    await shop.deliver()
    await say(shop, "decline")
    refusal = await fail(shop, state)
    outbox = shop.service.ledger.outbox
    change = Planned(3, replace(refusal.report, event="adjust", amount="70.00"), "due", None, None)
    plan = Plan(added=(change,))
    await shop.service.ledger.db.transact(lambda tx: apply_plan(tx, refusal.order, "shop", plan, shop.now))
    await shop.deliver()
    again = await outbox.retry(refusal.id, shop.now, able=asked(shop))
    assert (again.state, again.event) == ("due", "decline")
    await shop.deliver()
    assert calls(shop) == [("order", "100.00"), ("adjust", "70.00"), ("decline", "70.00")]


async def test_a_refusal_that_came_to_nothing_is_sent_again_as_it_is(shop: Shop) -> None:
    await buy(shop)
    await shop.deliver()
    await say(shop, "decline")
    refusal = await fail(shop, "dead")
    assert (await shop.service.ledger.outbox.retry(refusal.id, shop.now, able=asked(shop))).id == refusal.id
    await shop.deliver()
    assert events(shop) == ["order", "decline"]


async def test_a_refusal_is_not_sent_again_after_an_approval(shop: Shop) -> None:
    await buy(shop)
    await shop.deliver()
    await say(shop, "decline")
    refusal = await fail(shop, "dead")
    await say(shop, "approve")
    await shop.deliver()
    assert (
        await shop.service.ledger.outbox.retry(refusal.id, shop.now, able=asked(shop))
    ).state == "superseded"
    await shop.deliver()
    assert events(shop) == ["order", "approve"]


async def test_an_order_that_was_approved_can_be_told_again(shop: Shop) -> None:
    await buy(shop)
    await shop.deliver()
    await say(shop, "approve")
    await shop.deliver()
    outbox = shop.service.ledger.outbox
    (first,) = [row for row in await outbox.list() if row.event == "order"]
    await outbox.resend(first.id, shop.now, by="ann", event=None, manual=lambda row: "", able=asked(shop))
    await shop.deliver()
    assert events(shop) == ["order", "approve", "order"]


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
