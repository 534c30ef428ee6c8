"""The commission of an order through its states: by people, by time, and by what becomes of the order."""

from collections.abc import AsyncIterator
from decimal import Decimal
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from clew.desk.ops.exposition import exposition
from clew.orders.model import OrderError, OrderSeen, Refund
from clew.payouts.account import Verdict, locked
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Shopped, Touched
from clew.service.ordering.correcting import correct
from clew.service.ordering.story import lines, story_json
from clew.service.workflow import decide
from clew.settings.model import Hold
from clew.stores.ledger import schema
from clew.stores.ledger.commissions import Commission, WantedCommissions, in_doubt, place
from clew.stores.ledger.connection import executing
from reporting import NOW, PARTNER, Shop, site

DAY = 86400.0
TERMS = [{"name": "all", "percent": "10"}]


def settings(**partner: Any) -> dict[str, Any]:
    return site(partners=[{**PARTNER, "terms": TERMS, **partner}])


@pytest_asyncio.fixture
async def shop(tmp_path: Path, ledger_address: str) -> AsyncIterator[Shop]:
    built = Shop(tmp_path, settings(), ledger_address)
    await built.service.open()
    yield built
    await built.service.close()


def order(number: str = "1001", **changes: Any) -> OrderSeen:
    values: dict[str, Any] = {"total": Decimal("100.00"), "currency": "EUR", "state": "paid", **changes}
    return OrderSeen(id=number, source="api", **values)


def refund(amount: str, number: str = "1001", name: str = "r1") -> OrderSeen:
    return order(number, total=None, state=None, refunds=(Refund(name, Decimal(amount)),))


async def buy(shop: Shop, number: str = "1001", **changes: Any) -> None:
    await shop.bought(f"v{number}")
    await shop.report(order(number, **changes), f"v{number}")


async def all_of(shop: Shop, **wanted: Any) -> tuple[Commission, ...]:
    return await shop.service.ledger.commissions.page(WantedCommissions(**wanted))


async def one(shop: Shop) -> Commission:
    (found,) = await all_of(shop)
    return found


async def say(shop: Shop, verdict: Verdict, number: str = "1001", why: str = "looked at it") -> Any:
    stored = await shop.service.ledger.orders.get("shop", number)
    assert stored is not None
    known = shop.service.sites["shop"].partners.get
    return await decide(shop.service.ledger, known, stored.row, (), verdict, shop.now, by="ann", why=why)


async def test_an_order_is_pending_until_its_hold_period_is_over(shop: Shop) -> None:
    await buy(shop)
    found = await one(shop)
    assert (found.state, found.amount, found.value, found.partner) == ("pending", 1000, 10_000, "blog")
    assert found.waits_until == found.placed_at + 30 * DAY
    shop.now = found.waits_until - 1
    await shop.service.workflow.step()
    assert (await one(shop)).state == "pending"
    shop.now += 2
    await shop.service.workflow.step()
    assert ((await one(shop)).state, (await one(shop)).waits_until) == ("approved", None)


async def test_terms_and_partner_have_their_own_hold_periods(tmp_path: Path) -> None:
    terms = [
        {"name": "new", "percent": "10", "hold_days": 5, "when": ["order.total > 50"]},
        {"name": "all", "percent": "1"},
    ]
    built = Shop(tmp_path, settings(hold_days=9, terms=terms))
    await built.service.open()
    await buy(built)
    await buy(built, "1002", total=Decimal("10.00"))
    days = {row.number: (row.waits_until or 0) - row.placed_at for row in await all_of(built)}
    assert days == {"1001": 5 * DAY, "1002": 9 * DAY}
    await built.service.close()


async def test_a_refund_within_the_hold_period_amends_and_a_cancellation_declines(shop: Shop) -> None:
    await buy(shop)
    await shop.report(refund("40.00"))
    found = await one(shop)
    assert (found.state, found.amount, found.value) == ("amended", 600, 6000)
    await shop.report(order(total=None, state="cancelled"))
    found = await one(shop)
    assert (found.state, found.amount, found.waits_until) == ("declined", 0, None)


async def test_what_is_in_doubt_is_not_approved_by_itself(tmp_path: Path) -> None:
    held = {"page": "/thanks", "confirm": "server"}
    shop = Shop(tmp_path, {**settings(), "order": held})
    await shop.service.open()
    await shop.bought("v1")
    await shop.report(OrderSeen("1001", Decimal("100.00"), "EUR", "page"), "v1")
    shop.now = NOW + 31 * DAY
    await shop.service.workflow.step()
    assert (await one(shop)).state == "pending"
    assert 'clew_commissions_waiting{site="shop"} 1.0' in (await exposition(shop.service)).decode()
    noted = [one for one in shop.service.events.take_noted() if one.event == "commission_waiting"]
    assert [one.details["order"] for one in noted] == ["1001"]
    await shop.report(order())
    await shop.service.workflow.step()
    assert (await one(shop)).state == "approved"
    await shop.service.close()


async def test_a_person_approves_and_declines_with_a_reason(shop: Shop) -> None:
    await buy(shop)
    assert (await say(shop, "approve"))["blog"][0].state == "approved"
    assert await say(shop, "approve") == {}
    await say(shop, "decline", why="bought for itself")
    found = await one(shop)
    assert (found.state, found.amount) == ("declined", 0)
    story = await shop.service.ledger.stories.of("shop", "1001")
    assert story is not None
    told = [(line.text, line.details[0]) for line in lines(story, str) if line.kind == "commission"]
    assert [text for text, _ in told] == [
        "blog earns: commission 10.00 EUR",
        "Commission of blog approved ann",
        "Commission of blog declined ann: -10.00 EUR",
    ]
    assert told[-1][1] == "why: bought for itself"
    assert story_json(story)["commissions"]["blog"]["accounts"][0]["state"] == "declined"
    with pytest.raises(OrderError, match="why"):
        await say(shop, "approve", why=" ")


async def test_nothing_is_approved_of_an_order_that_is_cancelled(shop: Shop) -> None:
    await buy(shop)
    await shop.report(order(total=None, state="cancelled"))
    with pytest.raises(OrderError, match="nothing is left of the order"):
        await say(shop, "approve")


async def test_a_live_partner_is_settled_as_it_is_approved_and_pays_back(tmp_path: Path) -> None:
    built = Shop(tmp_path, settings(settlement="live"))
    await built.service.open()
    await buy(built)
    await say(built, "approve")
    await built.service.workflow.step()
    assert ((await one(built)).state, (await one(built)).locked) == ("locked", 1000)
    await built.report(refund("100.00"))
    assert [row["kind"] for row in await built.rows(schema.commission_entries)][-1] == "clawback"
    await built.service.workflow.step()
    found = await one(built)
    assert (found.state, found.amount, found.locked) == ("declined", 0, 0)
    await built.service.close()


async def test_the_commission_is_the_same_in_all_orders_of_arrival(shop: Shop) -> None:
    """field A15, A16"""
    for arrival in permutations(range(4)):
        name = "n" + "".join(map(str, arrival))
        await shop.bought(name)
        reports = (order(name), order(name), refund("30.00", name), refund("20.00", name, "r2"))
        for number, step in enumerate(arrival):
            await shop.report(reports[step], name if step in (0, 1) else None)
            if number == 2 and (await all_of(shop))[0].number == name:
                await say(shop, "approve", name)
        found = next(row for row in await all_of(shop) if row.number == name)
        assert (found.amount, found.value) == (500, 5000), arrival
        entries = [row for row in await shop.rows(schema.commission_entries) if row["order"] == found.order]
        assert sum(row["amount"] for row in entries) == 500


async def test_a_corrected_partner_takes_the_commission_along(tmp_path: Path) -> None:
    partners = [{**PARTNER, "terms": TERMS}, {**PARTNER, "id": "other", "param": "o", "terms": TERMS}]
    built = Shop(tmp_path, site(partners=partners))
    await built.service.open()
    await buy(built)
    stored = await built.service.ledger.orders.get("shop", "1001")
    assert stored is not None
    known = list(built.service.sites["shop"].partners.values())
    ledger = built.service.ledger
    await correct(ledger, known, stored, built.now, by="ann", why="its own link", partner="other")
    found = {row.partner: (row.state, row.amount) for row in await all_of(built)}
    assert found == {"blog": ("declined", 0), "other": ("pending", 1000)}
    await built.service.close()


async def test_commissions_are_found_by_partner_state_and_period_page_by_page(shop: Shop) -> None:
    for number in range(5):
        shop.now = NOW + number * DAY
        await buy(shop, f"20{number}")
    await say(shop, "approve", "202")
    assert [r.number for r in await all_of(shop, states=["approved"], site="shop")] == ["202"]
    assert [r.number for r in await all_of(shop, since=NOW + DAY, until=NOW + 3 * DAY)] == ["202", "201"]
    seen, cursor = list[str](), None
    books = shop.service.ledger.commissions
    while page := await books.page(WantedCommissions(partner="blog"), limit=2, after=cursor):
        seen += [row.number for row in page]
        cursor = place(page[-1])
    assert seen == ["204", "203", "202", "201", "200"]
    sums = {(s.state, s.count, s.amount) for s in await books.sums(WantedCommissions(site="shop"))}
    assert sums == {("pending", 4, 4000), ("approved", 1, 1000)}


async def test_a_rise_after_the_approval_waits_again_and_a_doubtful_one_is_not_settled(
    tmp_path: Path, ledger_address: str
) -> None:
    shop = Shop(tmp_path, settings(settlement="live"), ledger_address)
    await shop.service.open()
    await buy(shop)
    await say(shop, "approve")
    await corrected(shop, Decimal(20_000), limit=Decimal(500))
    shop.now = NOW + 31 * DAY
    await shop.service.workflow.step()
    found = await one(shop)
    assert (found.state, found.amount, found.locked) == ("amended", 200_000, 0)
    assert found.waits_until == found.placed_at + 30 * DAY
    # A person's approval does not settle the doubt about the order.
    await say(shop, "approve")
    told = list[tuple[str, str]]()
    shop.service.events.notice = lambda name, **more: bool(told.append((name, more["why"])))  # type: ignore[func-returns-value,method-assign]
    await shop.service.workflow.step()
    assert (await one(shop)).locked == 0
    assert [name for name, _ in told] == ["commission_waiting"]
    assert "above the limit of 500 for one agent" in told[0][1]
    # Nor where the doubt came after the look for what can be settled.
    entry = partial(locked, at=shop.now, source="settlement", by="", ref="2027-02")
    books = shop.service.ledger.commissions
    assert not await books.decide(found.order, "blog", entry, able=lambda report: None, unless=in_doubt)
    await corrected(shop, Decimal(20_000), by="bob")
    await shop.service.workflow.step()
    assert ((await one(shop)).state, (await one(shop)).locked) == ("locked", 200_000)
    await shop.service.close()


async def corrected(shop: Shop, amount: Decimal, *, by: str = "ann", limit: Decimal | None = None) -> None:
    stored = await shop.service.ledger.orders.get("shop", "1001")
    assert stored is not None
    known, hold = list(shop.service.sites["shop"].partners.values()), Hold(agent_limit=limit)
    ledger = shop.service.ledger
    await correct(ledger, known, stored, shop.now, by=by, why="misread", amount=amount, hold=hold)


async def test_a_corrected_order_time_moves_the_commission_and_its_hold_period(shop: Shop) -> None:
    await buy(shop)
    before = await one(shop)
    await shop.report(order(placed_at=NOW - 1000))
    found = await one(shop)
    assert before.placed_at > NOW
    assert (found.placed_at, found.waits_until) == (NOW - 1000, NOW - 1000 + 30 * DAY)
    # What is decided keeps its state, and moves to the right month.
    await buy(shop, "1002")
    await say(shop, "approve", "1002")
    await shop.report(order("1002", placed_at=NOW - 2000))
    (found,) = [row for row in await all_of(shop) if row.number == "1002"]
    assert (found.state, found.placed_at) == ("approved", NOW - 2000)


async def test_one_commission_that_fails_keeps_no_other_from_its_approval_and_settlement(
    tmp_path: Path,
) -> None:
    shop = Shop(tmp_path, settings(settlement="live"))
    await shop.service.open()
    for number in ("1001", "1002", "1003"):
        await buy(shop, number)
    books, failed = shop.service.ledger.commissions, list[tuple[str, str]]()
    decide_in_books, bad = books.decide, (await all_of(shop))[-1]

    async def decide_or_fail(order: int, *args: Any, **more: Any) -> Any:
        if order == bad.order:
            raise RuntimeError("a row that cannot be read")
        return await decide_in_books(order, *args, **more)

    books.decide = decide_or_fail  # type: ignore[method-assign]
    shop.service.events.failed = lambda error, *, site, where: failed.append((site, repr(error)))  # type: ignore[method-assign]
    shop.now = NOW + 31 * DAY
    await shop.service.workflow.step()
    assert {row.number: row.state for row in await all_of(shop)} == {
        bad.number: "pending",
        "1002": "locked",
        "1003": "locked",
    }
    assert failed == [("shop", "RuntimeError('a row that cannot be read')")]
    await shop.service.close()


META = {"id": "meta", "network": "meta", "settings": {"pixel_id": "1", "token": "t"}, "terms": TERMS}


async def test_what_there_is_nothing_to_report_of_is_no_doubt(tmp_path: Path) -> None:
    shop = Shop(tmp_path, site(partners=[META]))
    await shop.service.open()
    touch = Touch(int(NOW) - 3600, (Click("meta", "fbclid", "Iw1", "meta"),), {}, "", "/")
    await shop.service.visits.change("shop", "v1", [Touched(touch), Shopped()], shop.now)
    await shop.report(order(), "v1")
    await shop.deliver()
    await shop.report(refund("40.00"))
    (row,) = await shop.service.ledger.outbox.list("refused")
    assert (row.event, row.hold) == ("adjust", "nothing")
    book = shop.service.ledger.partner_book
    assert (await book.details("shop", "meta", [row.order]))[row.order].call is None
    shop.now = NOW + 31 * DAY
    await shop.service.workflow.step()
    found = await one(shop)
    assert (found.amount, found.waits_until) == (600, None)
    await shop.service.close()


async def test_what_is_held_at_one_partner_keeps_no_other_from_its_approval(tmp_path: Path) -> None:
    partners = [{**PARTNER, "terms": TERMS}, {**PARTNER, "id": "other", "param": "o", "terms": TERMS}]
    shop = Shop(tmp_path, site(partners=partners, credit={"model": "linear"}))
    await shop.service.open()
    clicks = [Click("", "o", "c2", "other"), Click("", "ref", "c1", "blog")]
    for age, click in enumerate(clicks):
        touch = Touch(int(NOW) - 3600 + age, (click,), {}, "", "/")
        await shop.service.visits.change("shop", "v1", [Touched(touch), Shopped()], shop.now)
    await shop.report(order(), "v1")
    held = sa.update(schema.postbacks).where(schema.postbacks.c.partner == "other")
    await shop.service.ledger.db.transact(executing(held.values(state="held", hold="bot", why="a bot")))
    shop.now = NOW + 31 * DAY
    await shop.service.workflow.step()
    assert {row.partner: row.state for row in await all_of(shop)} == {"blog": "approved", "other": "pending"}
    await shop.service.close()


@pytest.mark.parametrize(
    ("hold", "state", "clean"), [(None, "approved", 1), ("manual", "approved", 1), ("bot", "pending", 0)]
)
async def test_a_call_that_was_not_made_for_a_forgotten_visitor_is_no_doubt(
    shop: Shop, hold: str | None, state: str, clean: int
) -> None:
    """What was held for a doubt before is doubted on."""
    await buy(shop)
    held = {} if hold is None else {"state": "held", "hold": hold, "why": "a reason"}
    written = sa.update(schema.postbacks).values(lease_until=None, **held)
    await shop.service.ledger.db.transact(executing(written))
    await shop.service.forgetter.forget("shop", visitor="v1001")
    shop.now = NOW + 31 * DAY
    await shop.service.apply_retention()
    (row,) = await shop.service.ledger.outbox.list("refused")
    assert (row.report.click_id, row.hold) == ("", hold or "manual")
    assert len(await shop.service.ledger.orders.amounts("shop", limit=9)) == clean
    await shop.service.workflow.step()
    assert (await one(shop)).state == state


async def test_a_refusal_holds_also_in_another_currency(shop: Shop) -> None:
    await buy(shop)
    await say(shop, "decline")
    await shop.report(order(currency="USD"))
    shop.now += 40 * DAY
    await shop.service.workflow.step()
    found = {row.currency: (row.state, row.amount) for row in await all_of(shop)}
    assert found == {"EUR": ("declined", 0), "USD": ("declined", 0)}
    await say(shop, "approve")
    await shop.report(order(currency="GBP"))
    found = {row.currency: (row.state, row.amount) for row in await all_of(shop)}
    assert found == {"EUR": ("declined", 0), "USD": ("declined", 0), "GBP": ("pending", 1000)}


@pytest.mark.parametrize("refused", ["820", "1001"])
async def test_a_refusal_holds_also_if_two_orders_turn_out_to_be_one(shop: Shop, refused: str) -> None:
    await shop.bought("v1")
    await shop.report(order("820"), "v1")
    await shop.report(order("1001"), "v1")
    shop.now += 40 * DAY
    await say(shop, "decline", refused)
    await shop.record(order("1001", further=("820",)), "v1")
    await shop.service.workflow.step()
    assert [(row.state, row.amount) for row in await all_of(shop)] == [("declined", 0)] * 2


async def test_what_was_decided_about_an_order_holds_if_its_double_was_refused(shop: Shop) -> None:
    await shop.bought("v1")
    await shop.report(order("820"), "v1")
    await shop.report(order("1001"), "v1")
    await say(shop, "approve", "820")
    shop.now += 1
    await say(shop, "decline", "1001")
    await shop.record(order("1001", further=("820",)), "v1")
    found = {row.number: (row.state, row.amount) for row in await all_of(shop)}
    assert sorted(found.values()) == [("approved", 1000), ("declined", 0)]
