"""The figures of rules from a ledger that the service's own stores have filled, on both engines, against the
same computed in plain Python from the plan; and what stays of them when rows are deleted."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from pathlib import Path

import pytest_asyncio
from clew.rules.sums import WeekSums, amounts, bucket_of, by
from clew.stores.ledger.totals import Weeks
from filled import NOW
from rule_histories import DAY, WINDOW, History, Person, Sale, crowd

VISIT_GAP = 30 * 60


@pytest_asyncio.fixture
async def shop(tmp_path: Path, ledger_address: str) -> AsyncIterator[History]:
    filled = History(tmp_path, ledger_address)
    await filled.service.open()
    yield filled
    await filled.service.close()


async def figures(shop: History) -> WeekSums:
    """Of all that a test writes, as it is at the shop's time."""
    return await shop.service.ledger.rule_figures.read("shop", NOW - 60 * DAY, NOW + DAY, shop.now, WINDOW)


def expected_units(people: Sequence[Person], now: float) -> Counter[str]:
    """What visitors in an experiment come to."""
    found: Counter[str] = Counter()
    for one in people:
        talked = one.talk_at is not None and not one.post
        ripe, ripe_talk = one.at <= now - WINDOW, talked and (one.talk_at or 0) <= now - WINDOW
        ordered, after = bool(one.within(one.at)), bool(one.within(one.talk_at))
        over = one.at <= now - VISIT_GAP
        found += Counter(
            {
                "assigned": 1,
                "rendered": 1,
                "seen": int(one.seen),
                "accepted": int(one.accepted),
                "dismissed": int(one.dismissed),
                "conversations": int(talked),
                "post_purchase": int(one.post),
                "orders": int(ordered),
                "conversation_orders": int(talked and after),
                "matured": int(ripe),
                "matured_orders": int(ripe and ordered),
                "matured_conversations": int(ripe_talk),
                "matured_conversation_orders": int(ripe_talk and after),
                "over": int(over),
                "exits": int(over and not one.went_on),
                f"rendered:{bucket_of(one.seconds)}:{'new' if one.visit == 1 else 'back'}": 1,
                f"accepted:{bucket_of(one.seconds)}:{'new' if one.visit == 1 else 'back'}": int(one.accepted),
            }
        )
    return found


def expected_talks(people: Sequence[Person]) -> dict[str, Decimal]:
    """What conversations come to."""
    found: Counter[str] = Counter()
    for one in people:
        if one.talk_at is None:
            continue
        sales = one.within(one.talk_at)
        found["talks"] += 1
        found["answered"] += one.agent is not None
        found["ratings"] += one.rating is not None
        found["stars"] += one.rating or 0
        found["satisfied"] += (one.rating or 0) >= 4
        found["work"] += one.work if one.agent else 0
        if one.post:
            found["post"] += 1
            found["post_orders"] += len(sales)
            continue
        found["ordered"] += bool(sales)
        found["orders"] += len(sales)
        found["orders EUR"] += len(sales)
        found["revenue EUR"] += sum(sale.total - sale.refunded for sale in sales)  # type: ignore[assignment]
        if sales and one.cart is not None:
            first = min(sales, key=lambda sale: sale.at)
            found["carts EUR"] += 1
            found["before EUR"] += one.cart  # type: ignore[assignment]
            found["after EUR"] += first.total  # type: ignore[assignment]
    return {name: Decimal(value) for name, value in found.items() if value}


def told(shop: History, found: WeekSums, people: Sequence[Person]) -> None:
    """Hold the figures against those of the plan."""
    for rule, arm in {(one.rule, one.arm) for one in people}:
        own = [one for one in people if (one.rule, one.arm) == (rule, arm)]
        (sums,) = [s for key, s in found.exposed.items() if (key.rule, key.arm) == (rule, arm)]
        wanted = {name: value for name, value in expected_units(own, shop.now).items() if value}
        assert {name: int(sums.get(name, 0)) for name in wanted} == wanted, (rule, arm)
        (talks,) = [
            s
            for key, s in by(found.talked, lambda one: f"{one.rule}/{one.arm}").items()
            if key == f"{rule}/{arm}"
        ]
        assert talks == expected_talks(own), (rule, arm)
    for what in ("partner", "agent"):
        for name, sums in by(found.talked, lambda one, what=what: getattr(one, what)).items():
            own = [one for one in people if (getattr(one, what) or "") == name]
            assert sums == expected_talks(own), (what, name)


async def test_figures_are_those_of_the_plan_by_rule_text_partner_and_agent(shop: History) -> None:
    """features B18, B24, B26, D2, D3, D16, E13, E14"""
    people = crowd(shop, 7, 70)
    await shop.write(people)
    told(shop, await figures(shop), people)
    # By week they come to the same, each in the week in which it began.
    span = Weeks.until(shop.now, 8, shop.site.zone)
    for start, end in span.pairs():
        week = await shop.service.ledger.rule_figures.of("shop", [(start, end)], shop.now, WINDOW)
        talks = [one for one in people if one.talk_at is not None and start <= one.talk_at < end]
        (sums,) = by(week.talked, lambda one: "").values() or ({},)
        assert sums == expected_talks(talks)


async def test_an_order_counts_for_the_last_conversation_before_it_and_a_refund_changes_it(
    shop: History,
) -> None:
    first = shop.person("cart", at=shop.now - 6 * DAY)
    await shop.write([first])
    first.talk_at = shop.now - 6 * DAY
    talk = await shop.talked(first)
    # The same visitor asks again, without an invite.
    await shop.service.ledger.conversations.close("shop", talk, shop.now - 5.9 * DAY)
    again = Person(first.visitor, "", "", shop.now - 2 * DAY, 0, 1, talk_at=shop.now - 2 * DAY)
    await shop.talked(again)
    await shop.sold(first.visitor, Sale(shop.now - DAY, Decimal(100)))
    sums = by((await figures(shop)).talked, lambda one: one.rule)
    assert "revenue EUR" not in sums["cart"]
    assert sums[""]["revenue EUR"] == 100
    await shop.refund(f"n{shop.number}", "30.00")
    sums = by((await figures(shop)).talked, lambda one: one.rule)
    assert amounts(sums[""], "revenue") == {"EUR": 70}
    await shop.order(f"n{shop.number}", "100.00", state="cancelled")
    sums = by((await figures(shop)).talked, lambda one: one.rule)
    assert amounts(sums[""], "revenue") == {}


async def test_retention_changes_no_figure(shop: History) -> None:
    people = crowd(shop, 8, 40)
    await shop.write(people)
    shop.now += 401 * DAY
    ripe = await figures(shop)
    await shop.service.apply_retention()
    assert await shop.service.ledger.exposures.count("shop", now=shop.now, window=WINDOW) == []
    after = await figures(shop)
    assert (after.exposed, after.talked) == (ripe.exposed, ripe.talked)
    assert any(one.arm == "ask" for one in after.talked)


async def test_who_is_forgotten_or_withdraws_is_counted_on_without_a_trace(shop: History) -> None:
    people = crowd(shop, 9, 40)
    await shop.write(people)
    shop.now += 10 * DAY
    before = await figures(shop)
    forgetting = shop.service.ledger.forgetting
    for place, one in enumerate(people[:20]):
        person = await forgetting.person("shop", visitor=one.visitor)
        person = type(person)(person.site, person.visitors, person.emails, withdrawn=place % 2 == 0)
        await forgetting.mark(person, shop.now)
        await forgetting.forget(person, shop.now)
    after = await figures(shop)
    assert (after.exposed, after.talked) == (before.exposed, before.talked)
    assert not await _names(shop, people[:20])


async def _names(shop: History, people: Sequence[Person]) -> list[str]:
    """Those whose ids are in the kept sums."""
    from clew.stores.ledger.schema import rule_sums
    from sqlalchemy import select

    async with shop.service.ledger.db.read() as connection:
        rows = (await connection.execute(select(rule_sums))).all()
    return [one.visitor for one in people if one.visitor in str(rows)]
