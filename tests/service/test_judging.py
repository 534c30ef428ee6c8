"""Looks at rules, texts and the hold-out: taken in the background at fixed counts, once and for all."""

from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from clew.rules.verdicts.counts import Count
from clew.rules.verdicts.looks import whole_weeks
from clew.service.judging import rule_looks, text_looks, week_end
from clew.stores.ledger.rule_looks import Unit
from rule_histories import DAY, RULE, WINDOW, History, Person, Sale
from structlog.testing import capture_logs


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[History]:
    filled = History(tmp_path)
    await filled.service.open()
    yield filled
    await filled.service.close()


def test_looks_are_at_fixed_counts_in_the_order_of_time() -> None:
    units = [Unit(float(n), "", n % 4 == 0) for n in range(1, 171)]
    assert rule_looks(Count(0, 0), units) == [(100.0, Count(25, 100)), (150.0, Count(37, 150))]
    # A later look counts on from the one before it.
    assert rule_looks(Count(25, 100), units[100:]) == [(150.0, Count(37, 150))]


def test_texts_are_looked_at_once_they_tell_as_much_as_so_many_visitors_of_each() -> None:
    units = [Unit(float(n), "ask" if n % 2 else "help", n % 8 == 1) for n in range(1, 1201)]
    ((until, counted),) = text_looks([Count(0, 0)] * 2, units, ["ask", "help"], (500, 1000))
    assert (until, [one.n for one in counted]) == (1000.0, [500, 500])
    # Three of one for one of the other: more are needed.
    units = [Unit(float(n), "help" if n % 4 == 0 else "ask", False) for n in range(1, 2001)]
    ((until, counted),) = text_looks([Count(0, 0)] * 2, units, ["ask", "help"], (500, 1000))
    assert (until, [one.n for one in counted]) == (1336.0, [1002, 334])


def test_a_look_waits_for_the_end_of_a_whole_week_in_the_sites_zone() -> None:
    zone = ZoneInfo("Europe/Berlin")
    began = 1_711_580_400.0  # 2024-03-28, three days before the night of 23 hours
    assert week_end(began, began + 6 * DAY, zone) is None
    assert week_end(began, began + 7 * DAY, zone) == began - 3600 + 7 * DAY
    assert whole_weeks(date(2024, 3, 28), date(2024, 4, 4)) == date(2024, 4, 4)


async def talks(shop: History, number: int, sold: int, at: float, client: str | None = None) -> list[Person]:
    """Conversations of a rule, of which the first ones order."""
    found = []
    for n in range(number):
        one = shop.person("cart", at=at + n, talk_at=at + n + 1, client=client)
        if n < sold:
            one.sales.append(Sale(at + n + 2, Decimal(50)))
        found.append(one)
    await shop.write(found)
    return found


async def test_a_rule_is_judged_by_its_first_hundred_ripe_conversations_and_that_stands(
    shop: History,
) -> None:
    """features E10, E13: who had bought before counts in no look; a person who is forgotten changes none that
    was taken."""
    began, judge = shop.now, shop.service.judge
    buyer = shop.person("cart", at=began - 5, talk_at=began)
    buyer.sales.append(Sale(began - 60, Decimal(50)))
    await shop.write([buyer])
    people = await talks(shop, 99, 60, began + 10)
    shop.now = began + 2 * WINDOW + DAY
    await judge.judge(shop.site)
    assert await shop.service.ledger.rule_looks.of("shop") == []
    await talks(shop, 3, 0, began + 200)
    await judge.judge(shop.site)
    (look,) = await shop.service.ledger.rule_looks.of("shop")
    assert (look.rule, look.look, look.counts, look.words) == ("cart", 1, {"": [60, 100]}, {"": "good"})
    # Looking again, with other figures, adds nothing.
    for number, one in enumerate(people[:30]):
        if number % 2:
            person = await shop.service.ledger.forgetting.person("shop", visitor=one.visitor)
            await shop.service.ledger.forgetting.forget(person, shop.now)
    for _ in range(2):
        await judge.judge(shop.site)
    assert await shop.service.ledger.rule_looks.of("shop") == [look]
    notices = [key for _, name, key in shop.service.events._noted if name == "rule_judged"]
    assert notices == ["cart good"]
    report = await shop.service.rule_reports.build(shop.site, 4)
    (row,) = [row for row in report.rules if row.rule == "cart"]
    assert (row.verdict.word, row.post) == ("good", 1)
    assert row.verdict.now == Count(60, 102)


async def test_nothing_is_judged_before_it_is_ripe_and_the_week_is_over(shop: History) -> None:
    began, judge = shop.now, shop.service.judge
    await talks(shop, 100, 60, began)
    for days, taken in ((6, 0), (8, 0), (13, 0), (15, 1)):
        shop.now = began + days * DAY
        await judge.judge(shop.site)
        assert len(await shop.service.ledger.rule_looks.of("shop")) == taken, days


async def test_an_edited_rule_begins_anew(shop: History, tmp_path: Path) -> None:
    await talks(shop, 100, 60, shop.now)
    shop.now += 15 * DAY
    await shop.service.judge.judge(shop.site)
    (look,) = await shop.service.ledger.rule_looks.of("shop")
    other = tmp_path / "edited"
    other.mkdir()
    edited = History(other, rules=[{"name": "cart", "action": "invite", "text": "Another"}])
    assert edited.edition("cart") != look.edition


async def test_a_rule_that_ended_keeps_its_figures(tmp_path: Path) -> None:
    """feature A6"""
    ends = {"name": "cart", "action": "invite", "ends": "2023-11-30"}
    shop = History(tmp_path, rules=[ends])
    await shop.service.open()
    try:
        people = await talks(shop, 20, 5, shop.now)
        shop.now += 20 * DAY
        await shop.service.judge.judge(shop.site)
        assert await shop.service.ledger.rule_looks.ended("shop") == {}
        shop.now += 5 * DAY
        await shop.service.judge.judge(shop.site)
        ((key, (at, report)),) = (await shop.service.ledger.rule_looks.ended("shop")).items()
        assert key[0] == "cart"
        assert (report["successes"], report["n"], at) == (5, 20, shop.now)
        assert report["figures"]["ordered"] == 5
        for one in people[:3]:
            await shop.order(f"late{one.visitor}", "1.00", one.visitor, placed_at=one.at + 5)
        built = await shop.service.rule_reports.build(shop.site, 13)
        (row,) = built.rules
        assert (row.verdict.now, row.ended) == (Count(5, 20), at)
    finally:
        await shop.service.close()


async def test_texts_and_the_hold_out_are_judged_at_their_looks(shop: History) -> None:
    """By group-sequential tests, of visitors who saw a text, and of all who were eligible."""
    began = shop.now
    people = []
    for n in range(1100):
        arm = "ask" if n % 2 else "help"
        one = shop.person("sizes", arm, began + n)
        if n % (8 if arm == "ask" else 80) == 1 or (arm == "help" and n % 80 == 0):
            one.talk_at = began + n + 5
        people.append(one)
    everybody = [shop.person("", "holdout" if n % 20 == 0 else "invited", began + n) for n in range(1000)]
    await shop.write([*people, *everybody])
    shop.now = began + 15 * DAY
    await shop.service.judge.judge(shop.site)
    looks = await shop.service.ledger.rule_looks.of("shop")
    (text,) = [look for look in looks if look.kind == "text"]
    assert text.counts["ask"][1] == text.counts["help"][1] == 500
    assert text.words == {"ask": "good", "help": "bad"}
    (plan,) = [look for look in looks if look.kind == "lift"]
    # Of nobody who ordered it is taken that one in 200 does.
    assert plan.look == 0
    assert plan.counts["planned"][1] > 100_000
    report = await shop.service.rule_reports.build(shop.site, 4)
    (test,) = report.texts
    assert {row.text: row.verdict.word for row in test.rows} == {"ask": "good", "help": "bad"}
    assert (report.lift.planned, report.lift.word) == (plan.counts["planned"][1], "too early")


@pytest.mark.parametrize(
    ("of_invited", "of_held_out", "looks", "word"),
    [(5, 5, 4, "no clear difference"), (7, 3, 1, "good"), (3, 7, 1, "bad")],
)
async def test_the_hold_out_is_judged_up_to_its_last_look_and_that_is_told(
    tmp_path: Path, of_invited: int, of_held_out: int, looks: int, word: str
) -> None:
    """Half of the visitors are held out, and so many of ten order: what was planned is counted whole, once
    the orders are ripe and the week is over, and an event says what came of it."""
    shop = History(tmp_path, invites={"holdout": 50})
    await shop.service.open()
    try:
        began, people = shop.now, []
        for n in range(1100):
            arm, often = ("invited", of_invited) if n % 2 else ("holdout", of_held_out)
            one = shop.person("", arm, began + n)
            if n // 2 * 7 % 10 < often:
                one.sales.append(Sale(began + n + 60, Decimal("20.00")))
            people.append(one)
        await shop.write(people)
        shop.now = began + 6 * DAY
        await shop.service.judge.judge(shop.site)
        assert await shop.service.ledger.rule_looks.of("shop") == []
        shop.now = began + 15 * DAY
        with capture_logs() as logs:
            await shop.service.judge.judge(shop.site)
            await shop.service.judge.judge(shop.site)
        taken = await shop.service.ledger.rule_looks.of("shop")
        plan, *taken = sorted((look for look in taken if look.kind == "lift"), key=lambda look: look.look)
        planned = plan.counts["planned"][1]
        assert [look.look for look in taken] == [*range(1, looks + 1)]
        assert sum(count[1] for count in taken[-1].counts.values()) >= planned * looks / 4
        report = await shop.service.rule_reports.build(shop.site, 4)
        assert (report.lift.word, report.lift.broken, report.lift.planned) == (word, False, planned)
        assert report.lift.verdict is not None
        # Always with what it rests on: all who were eligible, ordered or not.
        assert (report.lift.verdict.invited.n, report.lift.verdict.held_out.n) == (550, 550)
        assert report.lift.verdict.held_out.successes == 55 * of_held_out
        assert "of 550 ordered with invites" in report.lift.verdict.sentence
        told = [line["key"] for line in logs if line["event"] == "rule_judged"]
        assert told == ([] if looks == 4 else [f"holdout {word}"])
    finally:
        await shop.service.close()


async def test_one_network_cannot_make_a_rule_look_bad(tmp_path: Path, ledger_address: str) -> None:
    """A competitor who comes with ever new cookies, talks, and never orders."""
    shop = History(tmp_path, ledger_address)
    await shop.service.open()
    try:
        began = shop.now
        await talks(shop, 200, 0, began, client="stranger")
        await talks(shop, 95, 50, began + 300)
        shop.now = began + 15 * DAY
        await shop.service.judge.judge(shop.site)
        (look,) = await shop.service.ledger.rule_looks.of("shop")
        assert (look.counts, look.words) == ({"": [50, 100]}, {"": "good"})
        # Of the next look it is two of fifty.
        await talks(shop, 60, 0, shop.now, client="stranger")
        await talks(shop, 48, 48, shop.now + 100)
        shop.now += 15 * DAY
        await shop.service.judge.judge(shop.site)
        looks = await shop.service.ledger.rule_looks.of("shop")
        assert [one.counts[""] for one in looks] == [[50, 100], [98, 150]]
        report = await shop.service.rule_reports.build(shop.site, 5)
        (row,) = [row for row in report.rules if row.rule == "cart"]
        assert row.crowd.startswith(
            "260 of 403 conversations and 260 of 403 visitors who saw it came from one"
        )
        assert row.verdict.now == Count(98, 150)
        (none,) = [row for row in report.rules if row.rule == "sizes"]
        assert none.crowd == ""
    finally:
        await shop.service.close()


async def test_one_network_cannot_choose_a_text(tmp_path: Path, ledger_address: str) -> None:
    """Neither by a test, nor of a rule that shares visitors out by success."""
    for adaptive in (False, True):
        folder = tmp_path / f"{adaptive}"
        folder.mkdir()
        more = {"ledger": ledger_address} if not adaptive else {}
        shop = History(folder, rules=[{**RULE, "adaptive": adaptive}], **more)
        await shop.service.open()
        try:
            began, people = shop.now - 15 * DAY, []
            for n in range(2200):
                arm, strange = "ask" if n % 2 else "help", n < 1200
                one = shop.person("sizes", arm, began + n, client="stranger" if strange else None)
                # Others take both texts alike; the stranger always takes the one.
                if n % 20 in (0, 1) or (strange and arm == "help"):
                    one.talk_at = one.at + 5
                people.append(one)
            await shop.write(people)
            if adaptive:
                await shop.service.adapting.adapt()
                experiment = shop.site.invites.experiment("sizes")
                assert min(shop.service.inviting.parts[experiment.key]) > 0.2
            else:
                await shop.service.judge.judge(shop.site)
                looks = await shop.service.ledger.rule_looks.of("shop")
                (look,) = [one for one in looks if one.kind == "text"]
                assert {arm: n for arm, (_, n) in look.counts.items()} == {"ask": 500, "help": 500}
                assert (
                    set(look.words.values()) == {"no clear difference"} or "good" not in look.words.values()
                )
        finally:
            await shop.service.close()
