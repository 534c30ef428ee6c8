"""An order that changes: however its reports arrive, it ends the same, and so does the partner's sum."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy
from clew.credit.decision import decide
from clew.credit.inputs import Inputs
from clew.credit.terms import Policy
from clew.orders import sighting
from clew.orders.model import Item, OrderSeen, Refund
from clew.orders.sighting import item_of
from clew.postbacks.model import Attempt, Postback, State
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Shopped, Touched
from clew.service.ordering.book import SIGHTINGS
from clew.stores.ledger import history, schema
from clew.stores.ledger.again import OutboxError
from clew.stores.ledger.known import Known
from reporting import NOW, PARTNER, Shop, site
from unasked import nobody


@pytest_asyncio.fixture
async def shop(tmp_path: Path, ledger_address: str) -> AsyncIterator[Shop]:
    built = Shop(tmp_path, site(), ledger_address)
    await built.service.open()
    yield built
    await built.service.close()


def page(total: str = "119.00", **changes: Any) -> OrderSeen:
    return OrderSeen("1001", Decimal(total), "EUR", "page", **changes)


def order_seen(**changes: Any) -> OrderSeen:
    values: dict[str, Any] = {"total": None, "currency": None, "state": None, **changes}
    return OrderSeen(id="1001", source="api", **values)


PAID = {"total": Decimal("100.00"), "currency": "EUR", "state": "paid"}
REFUNDED = {"currency": "EUR", "refunds": (Refund("r1", Decimal("30.00")),)}


@pytest.mark.parametrize(
    "eager",
    [
        pytest.param(True, id="told at once"),
        pytest.param(False, id="told at the end", marks=pytest.mark.slow),
    ],
)
async def test_the_partners_sum_is_the_same_in_all_orders_of_arrival(shop: Shop, eager: bool) -> None:
    """field A15, A16"""
    five: list[tuple[OrderSeen, bool]] = [
        (page(), False),
        (page(), True),
        (order_seen(**PAID), False),
        (order_seen(**REFUNDED), False),
        (order_seen(state="cancelled"), False),
    ]
    for arrival in shop.arrivals(5):
        name = "".join(map(str, arrival))
        await shop.bought(name)
        for step in arrival:
            seen, named = five[step]
            await shop.report(replace(seen, id=name), name if named else None)
            if eager:
                await shop.deliver()
        await shop.deliver()
        order = await shop.service.ledger.orders.get("shop", name)
        assert order is not None
        assert (order.state, order.total, order.refunded) == (
            "cancelled",
            Decimal("100.00"),
            Decimal("30.00"),
        )
        assert (order.visitor, order.partner, order.doubts) == (name, "blog", ())
        assert shop.sums.get(name, Decimal()) == 0, name


async def test_the_partner_is_notified_of_each_change_in_order(shop: Shop) -> None:
    """field A16: the page said 119.00, the server 100.00"""
    await shop.bought("v1")
    for seen, visitor in ((page(), "v1"), (order_seen(**PAID), None), (order_seen(**REFUNDED), None)):
        await shop.report(seen, visitor)
        await shop.deliver()
    await shop.report(order_seen(state="cancelled"))
    await shop.deliver()
    assert [(event, amount) for event, _, amount in shop.calls] == [
        ("order", "119.00"),
        ("adjust", "100.00"),
        ("adjust", "70.00"),
        ("cancel", "0.00"),
    ]
    assert [row["sequence"] for row in await shop.rows(schema.postbacks)] == [1, 2, 3, 4]


async def test_unsent_changes_are_folded_into_one_call(shop: Shop) -> None:
    await shop.bought("v1")
    await shop.report(page(), "v1")
    await shop.report(order_seen(**PAID))
    await shop.report(order_seen(**REFUNDED))
    await shop.deliver()
    assert [(event, amount) for event, _, amount in shop.calls] == [("order", "70.00")]
    assert [row["state"] for row in await shop.rows(schema.postbacks)] == [
        "superseded",
        "superseded",
        "delivered",
    ]


async def test_an_order_cancelled_before_its_postback_is_not_reported(shop: Shop) -> None:
    await shop.bought("v1")
    await shop.report(page(), "v1")
    await shop.report(order_seen(state="cancelled"))
    await shop.deliver()
    assert shop.calls == []


async def test_a_later_report_names_the_visitor_and_the_partner_earns(shop: Shop) -> None:
    """field A15: the first sighting had no cookie"""
    await shop.bought("v1")
    await shop.report(order_seen(**PAID))
    await shop.deliver()
    assert shop.calls == []
    await shop.report(page(), "v1")
    await shop.deliver()
    assert shop.calls == [("order", "1001", "100.00")]


async def test_a_call_that_failed_is_tried_before_the_change_that_follows_it(shop: Shop) -> None:
    await shop.bought("v1")
    await shop.report(page(), "v1")
    outbox = shop.service.ledger.outbox
    (waiting,) = await outbox.waiting(shop.now, each=9, limit=9)
    (row,) = await outbox.claim([waiting.id], shop.now, shop.now + 9)
    begun = await outbox.begin(row, shop.now + 9)
    assert begun is not None
    retry = Attempt(shop.now, "", 500, "", "retry")
    await outbox.finish(begun, retry, "due", shop.now + 60)
    await shop.report(order_seen(**PAID))
    assert await outbox.waiting(shop.now, each=9, limit=9) == ()
    shop.now += 60
    await shop.deliver()
    assert [(event, amount) for event, _, amount in shop.calls] == [("order", "119.00"), ("adjust", "100.00")]


async def test_a_change_is_reported_as_a_new_order_if_the_partner_never_accepted_the_first(
    shop: Shop,
) -> None:
    await shop.bought("v1")
    await shop.report(page(), "v1")
    outbox = shop.service.ledger.outbox
    (waiting,) = await outbox.waiting(shop.now, each=9, limit=9)
    (row,) = await outbox.claim([waiting.id], shop.now, shop.now + 9)
    begun = await outbox.begin(row, shop.now + 9)
    assert begun is not None
    await shop.report(order_seen(**PAID))
    await outbox.finish(begun, Attempt(shop.now, "", 400, "no", "dead"), "dead", shop.now)
    await shop.deliver()
    assert shop.calls == [("order", "1001", "100.00")]


async def lost(shop: Shop, state: State) -> Postback:
    """A call is made and fails or has an unknown result; the partner did not get it."""
    begun = await begin(shop)
    unanswered = Attempt(shop.now, "", None, "", "unknown")
    await shop.service.ledger.outbox.finish(begun, unanswered, state, shop.now)
    return begun


async def begin(shop: Shop) -> Postback:
    """The only call that is due begins."""
    outbox = shop.service.ledger.outbox
    (waiting,) = await outbox.waiting(shop.now, each=9, limit=9)
    (row,) = await outbox.claim([waiting.id], shop.now, shop.now + 9)
    begun = await outbox.begin(row, shop.now + 9)
    assert begun is not None
    return begun


async def test_an_unknown_call_is_not_sent_after_the_change_that_followed_it(shop: Shop) -> None:
    """The partner may have ignored a change of an order that it had not heard of: it gets the order anew, as
    it stands."""
    await shop.bought("v1")
    await shop.report(page(), "v1")
    first = await lost(shop, "unknown")
    await shop.report(order_seen(**PAID))
    await shop.deliver()
    again = await shop.service.ledger.outbox.retry(first.id, shop.now, able=nobody)
    assert (again.state, again.event, again.sequence) == ("due", "order", 3)
    await shop.deliver()
    assert [(event, amount) for event, _, amount in shop.calls] == [("adjust", "100.00"), ("order", "100.00")]
    states = {row["sequence"]: row["state"] for row in await shop.rows(schema.postbacks)}
    assert states == {1: "superseded", 2: "delivered", 3: "delivered"}


@pytest.mark.parametrize("at_once", [True, False], ids=["both at once", "one after the other"])
async def test_a_partner_that_answered_neither_call_ends_with_what_holds_whichever_it_got(
    shop: Shop, at_once: bool
) -> None:
    """It counts an order once by its number, so one that has the order does not take its amount from it."""
    await shop.bought("v1")
    await shop.report(page(), "v1")
    first = await lost(shop, "unknown")
    await shop.report(order_seen(**PAID))
    second = await lost(shop, "unknown")
    for row in (first, second):
        with suppress(OutboxError):
            await shop.service.ledger.outbox.retry(row.id, shop.now, able=nobody)
        if not at_once:
            await shop.deliver()
    await shop.deliver()
    made = [(event, amount) for event, _, amount in shop.calls]
    before = [("order", "119.00"), ("adjust", "100.00")]
    for got in ([], before[:1], before[1:], before):
        amount = None
        for event, value in (*got, *made):
            if (event == "order") == (amount is None):
                amount = value
        assert amount == "100.00", (got, made)


async def test_an_unknown_call_is_not_sent_after_a_cancellation(shop: Shop) -> None:
    await shop.bought("v1")
    await shop.report(page(), "v1")
    first = await lost(shop, "unknown")
    await shop.report(order_seen(state="cancelled"))
    await shop.deliver()
    assert (await shop.service.ledger.outbox.retry(first.id, shop.now, able=nobody)).state == "superseded"
    await shop.deliver()
    assert [event for event, _, _ in shop.calls] == ["cancel"]


async def test_an_unknown_call_is_sent_again_before_a_change_that_waits_for_it(shop: Shop) -> None:
    await shop.bought("v1")
    await shop.report(page(), "v1")
    first = await lost(shop, "unknown")
    await shop.service.ledger.outbox.retry(first.id, shop.now, able=nobody)
    # The partner may have the order, so the change does not take the place of the call.
    await shop.report(order_seen(**PAID))
    await shop.deliver()
    assert [(event, amount) for event, _, amount in shop.calls] == [("order", "119.00"), ("adjust", "100.00")]


async def test_an_unknown_call_is_not_retried_while_a_worker_has_the_change_after_it(shop: Shop) -> None:
    """The worker would send the change before it."""
    await shop.bought("v1")
    await shop.report(page(), "v1")
    first = await lost(shop, "unknown")
    await shop.report(order_seen(**PAID))
    outbox = shop.service.ledger.outbox
    (waiting,) = await outbox.waiting(shop.now, each=9, limit=9)
    (change,) = await outbox.claim([waiting.id], shop.now, shop.now + 9)
    with pytest.raises(OutboxError, match="a later one about the order is being sent right now"):
        await outbox.retry(first.id, shop.now, able=nobody)
    await outbox.release(change, shop.now + 9)
    assert (await outbox.retry(first.id, shop.now, able=nobody)).state == "due"
    await shop.deliver()
    assert [event for event, _, _ in shop.calls] == ["order", "adjust"]


@pytest.mark.parametrize("every", [False, True], ids=["by its id", "all that are dead"])
async def test_a_dead_call_is_not_sent_after_the_one_that_took_its_place(shop: Shop, every: bool) -> None:
    await shop.bought("v1")
    await shop.report(page(), "v1")
    dead = await lost(shop, "dead")
    await shop.report(order_seen(**PAID))
    await shop.deliver()
    outbox = shop.service.ledger.outbox
    if every:
        assert await outbox.retry_dead(shop.now, able=nobody) == 0
    else:
        assert (await outbox.retry(dead.id, shop.now, able=nobody)).state == "superseded"
    await shop.deliver()
    assert shop.calls == [("order", "1001", "100.00")]
    assert [row.state for row in await outbox.list()] == ["delivered", "superseded"]


@pytest.mark.parametrize("sending", [False, True], ids=["after it failed", "while it is sent"])
async def test_a_dead_call_is_not_sent_again_when_its_order_was_cancelled(shop: Shop, sending: bool) -> None:
    await shop.bought("v1")
    await shop.report(page(), "v1")
    if sending:
        begun = await begin(shop)
        await shop.report(order_seen(state="cancelled"))
        failed = Attempt(shop.now, "", 400, "no", "dead")
        await shop.service.ledger.outbox.finish(begun, failed, "dead", shop.now)
    else:
        begun = await lost(shop, "dead")
        await shop.report(order_seen(state="cancelled"))
    with pytest.raises(OutboxError, match="not to have it any more"):
        await shop.service.ledger.outbox.retry(begun.id, shop.now, able=nobody)
    assert await shop.service.ledger.outbox.retry_dead(shop.now, able=nobody) == 0
    await shop.deliver()
    assert shop.calls == []
    await shop.report(order_seen(state="paid", as_of=shop.now + 1))
    await shop.deliver()
    assert [(event, amount) for event, _, amount in shop.calls] == [("order", "119.00")]


async def test_each_decision_is_kept_and_can_be_replayed(shop: Shop) -> None:
    await shop.bought("v1")
    await shop.report(order_seen(**PAID))
    await shop.report(page(), "v1")
    (order,) = await shop.service.ledger.orders.list("shop")
    found = await shop.service.ledger.histories.decisions(order.row)
    assert [len(one.decision.shares) for one in found] == [0, 1]
    for row, one in zip(await shop.rows(schema.decisions), found, strict=True):
        (policy,) = [p for p in await shop.rows(schema.policies) if p["version"] == row["policy"]]
        assert decide(Inputs.from_json(row["inputs"]), Policy.from_json(policy["policy"])) == one.decision


async def test_each_report_is_kept_once_and_unchanged(shop: Shop) -> None:
    await shop.bought("v1")
    for _ in range(3):
        await shop.report(page(), "v1")
        await shop.report(order_seen(**PAID))
    (known,) = await shop.service.ledger.histories.known("shop", ["1001"])
    assert [s.sighting.source for s in known.sightings] == ["page", "api"]
    assert known.sightings[0].sighting.total == Decimal("119.00")


async def test_two_orders_that_are_the_same_are_merged_and_the_partner_is_notified(shop: Shop) -> None:
    """The page shows one number, the shop's server another, and later says that they are the same."""
    await shop.bought("v1")
    await shop.report(page(), "v1")
    await shop.report(replace(order_seen(**PAID), id="x-77"))
    await shop.deliver()
    await shop.report(replace(order_seen(**PAID), id="x-77", further=("1001",)))
    await shop.deliver()
    (order,) = await shop.service.ledger.orders.list("shop")
    assert (order.order_id, order.total, order.partner) == ("1001", Decimal("100.00"), "blog")
    assert shop.sums == {"1001": Decimal("100.00")}
    await shop.report(replace(order_seen(state="cancelled"), id="x-77"))
    await shop.deliver()
    assert shop.sums == {"1001": Decimal("0.00")}


ALONE: dict[str, Any] = {"id": "1001"}
BESIDE: dict[str, Any] = {"id": "1002", "further": ("1001",)}
SERVERS: dict[str, Any] = {"id": "x-77", "further": ("1001",)}


@pytest.mark.parametrize(
    ("faster", "slower"), [(ALONE, SERVERS), (BESIDE, SERVERS), (SERVERS, ALONE), (SERVERS, BESIDE)]
)
async def test_two_writers_at_once_that_share_a_number_make_one_order(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, faster: dict[str, Any], slower: dict[str, Any]
) -> None:
    """The second one looked for the order before the first one had written it."""
    histories = shop.service.ledger.histories
    known, looked = histories.known, 0

    async def slow(site: str, numbers: Sequence[str]) -> tuple[Known, ...]:
        nonlocal looked
        looked += 1
        found = await known(site, numbers)
        if looked == 1:
            await shop.report(replace(page(), **faster))
        return found

    monkeypatch.setattr(histories, "known", slow)
    await shop.report(replace(order_seen(**PAID), **slower))
    (order,) = await shop.service.ledger.orders.list("shop")
    assert (order.order_id, order.total) == (faster["id"], Decimal("100.00"))


@pytest.mark.parametrize(("faster", "slower"), [(ALONE, SERVERS), (SERVERS, ALONE), (SERVERS, BESIDE)])
async def test_a_writer_waits_for_another_that_is_about_to_commit_its_number(
    shop: Shop,
    ledger_address: str,
    monkeypatch: pytest.MonkeyPatch,
    faster: dict[str, Any],
    slower: dict[str, Any],
) -> None:
    if ledger_address.startswith("sqlite"):
        pytest.skip("it has one writer at a time")
    others = list[asyncio.Task[None]]()
    numbers = history._numbers
    waiting = sqlalchemy.text("SELECT count(*) FROM pg_locks WHERE NOT granted")

    async def numbers_first(*given: Any, **named: Any) -> None:
        """Begin the other report where this one has written all, and is about to commit it."""
        await numbers(*given, **named)
        if not others:
            others.append(asyncio.create_task(shop.report(replace(order_seen(**PAID), **slower))))
            async with shop.service.ledger.db.read() as connection:
                while not others[0].done() and not await connection.scalar(waiting):  # noqa: ASYNC110
                    await asyncio.sleep(0)

    # With it, the policy is written, for which two writers would wait as well.
    await shop.report(replace(page(), id="1"))
    monkeypatch.setattr(history, "_numbers", numbers_first)
    await shop.report(replace(page(), **faster))
    await asyncio.gather(*others)
    order, _ = await shop.service.ledger.orders.list("shop")
    assert (order.order_id, order.total) == (faster["id"], Decimal("100.00"))


async def test_an_order_that_another_process_keeps_changing_for_a_while_is_recorded(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try finds that the other process was faster, until that is done after a third of a second."""
    histories = shop.service.ledger.histories
    write, until = histories.write, asyncio.get_running_loop().time() + 0.3

    async def write_late(change: Any) -> Any:
        return None if asyncio.get_running_loop().time() < until else await write(change)

    monkeypatch.setattr(histories, "write", write_late)
    await shop.report(replace(page(), id="1001"))
    (order,) = await shop.service.ledger.orders.list("shop")
    assert order.order_id == "1001"


async def test_a_further_number_that_is_always_the_same_makes_no_one_order_of_all(shop: Shop) -> None:
    """A shop that sends an empty field as "0", or the number of a customer."""
    for number in ("1", "2", "3", "2"):
        await shop.report(replace(order_seen(**PAID), id=number, further=("0",)))
    orders = await shop.service.ledger.orders.list("shop")
    assert [order.order_id for order in orders] == ["3", "2", "1"]
    await shop.service.write_notices()
    found = await shop.service.ledger.notices.list(["shop"])
    assert {notice.key for notice in found if notice.event == "order_conflict"} == {"2", "3"}


@pytest.mark.parametrize("before", [True, False], ids=["before the total", "after it"])
async def test_refunds_over_the_total_are_told(shop: Shop, before: bool) -> None:
    """A shop may report the same refund under two ids: its partner would lose the order."""
    twice = order_seen(currency="EUR", refunds=tuple(Refund(n, Decimal("60.00")) for n in ("r1", "r2")))
    for seen in (twice, order_seen(**PAID)) if before else (order_seen(**PAID), twice):
        await shop.report(seen)
    await shop.report(replace(order_seen(**PAID), id="2"))
    await shop.report(replace(order_seen(currency="EUR", refunds=(Refund("r1", Decimal(100)),)), id="2"))
    await shop.service.write_notices()
    found = await shop.service.ledger.notices.list(["shop"])
    (told,) = [one for one in found if one.event == "order_conflict"]
    assert told.details["why"] == "refunds of 120.00 EUR, more than the total of 100.00"
    assert (told.key, told.count) == ("1001", 1)


async def test_items_that_many_reports_name_are_read_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each report costs as much as all before it together."""
    items = tuple(Item(id=f"sku{n}", price=Decimal("10.00")) for n in range(10))
    for n in range(6):
        await shop.report(order_seen(**{**PAID, "total": Decimal(100 + n)}, items=items))
    read: list[object] = []

    def counted(data: Any) -> Item:
        read.append(data)
        return item_of(data)

    monkeypatch.setattr(sighting, "item_of", counted)
    await shop.report(order_seen(**{**PAID, "total": Decimal(200)}, items=items))
    (order,) = await shop.service.ledger.orders.list("shop")
    assert order.total == Decimal(200)
    assert len(read) <= 3 * len(items)


async def test_a_source_that_changes_its_number_may_name_the_one_before(shop: Shop) -> None:
    await shop.report(replace(order_seen(**PAID), id="1001"))
    await shop.report(replace(order_seen(**PAID), id="5", further=("1001",)))
    (order,) = await shop.service.ledger.orders.list("shop")
    assert order.order_id == "1001"


async def test_invented_browser_reports_do_not_displace_the_shops_page(shop: Shop) -> None:
    """field E12: as many reports of the next number as are kept, before the order is placed."""
    for number in range(SIGHTINGS + 5):
        invented = replace(page(), source="browser", coupon=f"c{number}")
        await shop.report(invented, "stranger")
    await shop.bought("v1")
    await shop.report(page(), "v1")
    (known,) = await shop.service.ledger.histories.known("shop", ["1001"])
    assert len(known.sightings) == SIGHTINGS + 1
    (order,) = await shop.service.ledger.orders.list("shop")
    assert (order.visitor, order.partner) == ("v1", "blog")


async def test_a_change_that_the_partners_call_cannot_report_is_held_for_a_person(tmp_path: Path) -> None:
    plain = PARTNER | {"postback": "http://127.0.0.1:9/p?c={click_id}"}
    shop = Shop(tmp_path, site(partners=[plain]))
    await shop.service.open()
    await shop.bought("v1")
    await shop.report(page(), "v1")
    await shop.deliver()
    await shop.report(order_seen(**PAID))
    await shop.deliver()
    assert [event for event, *_ in shop.calls] == ["order"]
    outbox = shop.service.ledger.outbox
    (held,) = await outbox.list("held")
    assert (held.event, held.report.amount, held.hold) == ("adjust", "100.00", "manual")
    await outbox.mark_reported(held.id, shop.now, by="ann", able=nobody)
    await shop.report(order_seen(**REFUNDED))
    (held,) = await outbox.list("held")
    assert held.report.amount == "70.00"
    await shop.service.close()


async def test_a_partner_that_is_added_later_earns_by_clicks_from_before(tmp_path: Path) -> None:
    awin = {"id": "awin", "network": "awin", "settings": {"advertiser_id": 1, "api_key": "k" * 20}}
    shop = Shop(tmp_path, site(partners=[awin]))
    await shop.service.open()
    touch = Touch(int(NOW) - 3600, (Click("awin", "awc", "1_2_abc", None),), {}, "", "/")
    await shop.service.visits.change("shop", "v1", [Touched(touch), Shopped()], NOW)
    await shop.report(page(), "v1")
    (order,) = await shop.service.ledger.orders.list("shop")
    assert order.partner == "awin"
    await shop.service.close()


async def test_none_of_many_reports_of_one_order_at_the_same_time_is_refused(shop: Shop) -> None:
    """Anyone may open a confirmation page, and the shop's server reports the same order meanwhile."""
    place = shop.service.sites["shop"]
    many = [order_seen(total=Decimal(100 + number), currency="EUR") for number in range(30)]
    await asyncio.gather(*(shop.service.ordering.record(place, one, visitor=None) for one in many))
    assert len(await shop.rows(schema.sightings)) == 30
    (row,) = await shop.rows(schema.orders)
    assert row.version == 30
