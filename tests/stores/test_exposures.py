"""Who was in which experiment, in SQLite and PostgreSQL: each visitor once, and what it came to."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest_asyncio
from clew.stores.ledger.books import Ledger
from clew.stores.ledger.exports import Wanted
from clew.stores.ledger.exposures import ArmCounts, Exposure
from clew.stores.ledger.forgetting import Person
from clew.stores.ledger.traffic import Recorded
from filled import Filled

DAY = 86400.0
WINDOW = 7 * DAY
STEPS = ("eligible", "assigned", "rendered", "seen", "dismissed", "accepted")


@pytest_asyncio.fixture
async def shop(tmp_path: Path, ledger_address: str) -> AsyncIterator[Filled]:
    filled = Filled(tmp_path, ledger=ledger_address)
    await filled.service.open()
    yield filled
    await filled.service.close()


def exposure(
    visitor: str, at: float, *steps: str, arm: str = "a", rule: str = "r", edition: str = "1"
) -> Exposure:
    """Eligible and assigned, and further steps."""
    times = dict.fromkeys(("eligible", "assigned", *steps), at)
    return Exposure("shop", rule, edition, visitor, arm, times)


async def counted(shop: Filled, **more: object) -> Sequence[ArmCounts]:
    books = shop.service.ledger.exposures
    return await books.count("shop", now=shop.now, window=WINDOW, **more)  # type: ignore[arg-type]


async def test_each_step_of_a_visitor_counts_once_with_its_first_time(shop: Filled) -> None:
    books, now = shop.service.ledger.exposures, shop.now
    await books.write([exposure("v1", now), exposure("v2", now, "rendered")])
    await books.write([exposure("v1", now + 5, "rendered"), exposure("v1", now + 9, arm="other")])
    for _ in range(2):
        await books.write([Exposure("shop", "r", "1", "v1", "a", {"seen": now + 6})])
    # Nobody is added by what only says that an invite was seen: it is of another version.
    await books.write([Exposure("shop", "r", "2", "v1", "a", {"seen": now + 6})])
    (found,) = await counted(shop)
    assert (found.rule, found.edition, found.arm) == ("r", "1", "a")
    assert [getattr(found, step) for step in STEPS] == [2, 2, 2, 1, 0, 0]
    page = await shop.service.ledger.exports.page("exposures", Wanted("shop"), None, 10)
    first = {str(row["visitor"]): row for row in page.rows}["v1"]
    assert str(first["assigned_at"]) < str(first["rendered_at"]) < str(first["seen_at"])
    # Only what is new is exported again.
    await books.write([exposure("v1", now + 20, "rendered")])
    again = await shop.service.ledger.exports.page("exposures", Wanted("shop"), page.cursor, 10)
    assert again.rows == ()
    await books.write([Exposure("shop", "r", "1", "v1", "a", {"accepted": now + 21})])
    again = await shop.service.ledger.exports.page("exposures", Wanted("shop"), page.cursor, 10)
    assert [row["visitor"] for row in again.rows] == ["v1"]


async def test_several_processes_that_write_the_same_visitors_count_them_once(
    shop: Filled, ledger_address: str
) -> None:
    others = [Ledger(ledger_address) for _ in range(2)]
    for other in others:
        await other.db.open()
    try:
        rows = [exposure(f"v{n}", shop.now, "rendered") for n in range(150)]
        books = [shop.service.ledger, *others]
        await asyncio.gather(*(one.exposures.write(rows[::-1] if n else rows) for n, one in enumerate(books)))
    finally:
        for other in others:
            await other.db.close()
    (found,) = await counted(shop)
    assert (found.assigned, found.rendered) == (150, 150)


async def test_orders_count_within_the_window_after_the_assignment(shop: Filled) -> None:
    """Of all who were assigned, whether they saw an invite or not; what is learned later counts too."""
    books, began = shop.service.ledger.exposures, shop.now
    await books.write([exposure(f"v{n}", began, arm="no_invite") for n in range(4)])
    await shop.order("1001", "50.00", "v0", placed_at=began - 60)
    shop.now = began + 100
    await shop.order("1002", "50.00", "v1", placed_at=began + 60)
    await shop.order("1003", "50.00", "v1", placed_at=began + 90)
    (found,) = await counted(shop)
    assert (found.assigned, found.orders, found.matured, found.matured_orders) == (4, 1, 0, 0)
    shop.now = began + WINDOW + 10
    await shop.order("1004", "50.00", "v2", placed_at=began + WINDOW + 1)
    (found,) = await counted(shop)
    assert (found.matured, found.matured_orders) == (4, 1)
    for number in ("1002", "1003"):
        await shop.order(number, "50.00", state="cancelled")
    await shop.order("1005", "20.00", "v3", placed_at=began + 5)
    (found,) = await counted(shop)
    assert (found.orders, found.matured_orders) == (1, 1)


async def test_talks_after_the_purchase_are_counted_apart(shop: Filled) -> None:
    """feature E13"""
    books, began = shop.service.ledger.exposures, shop.now
    await books.write([exposure(f"v{n}", began, "rendered", "seen", "accepted") for n in range(4)])
    # v0 talks and buys, v1 buys and talks, v2 talks by another rule, v3 only talks.
    await shop.talk("v0", "Which size?", "r")
    await shop.order("1001", "50.00", "v0", placed_at=shop.now + 1)
    await shop.order("1002", "50.00", "v1", placed_at=shop.now)
    await shop.talk("v1", "Where is my order?", "r")
    await shop.talk("v2", "Hello", "other")
    await shop.talk("v3", "Hello", "r")
    (found,) = await counted(shop)
    assert (found.conversations, found.conversation_orders, found.post_purchase) == (2, 1, 1)
    assert (found.orders, found.matured_conversations) == (2, 0)
    shop.now += WINDOW + 10
    (found,) = await counted(shop)
    assert (found.matured_conversations, found.matured_conversation_orders) == (2, 1)


async def test_the_hold_out_counts_every_conversation_and_versions_stay_apart(shop: Filled) -> None:
    books, began = shop.service.ledger.exposures, shop.now
    await books.write(
        [exposure("v0", began, arm="holdout", rule=""), exposure("v1", began, arm="invited", rule="")]
    )
    await books.write([exposure("v1", began, edition="2"), exposure("v1", began + 5, edition="1")])
    await shop.talk("v0", "Hello")
    await shop.talk("v1", "Hello", "r")
    found = await counted(shop)
    # The versions in the order in which they began.
    assert [(one.rule, one.edition, one.arm) for one in found] == [
        ("", "1", "holdout"),
        ("", "1", "invited"),
        ("r", "2", "a"),
        ("r", "1", "a"),
    ]
    assert [one.conversations for one in found[:2]] == [1, 1]
    assert [one.edition for one in await counted(shop, rule="r")] == ["2", "1"]


async def test_who_is_forgotten_or_withdraws_its_consent_is_in_no_experiment_any_more(shop: Filled) -> None:
    books = shop.service.ledger.exposures
    await books.write([exposure(f"v{n}", shop.now) for n in range(3)])
    forgetting = shop.service.ledger.forgetting
    for visitor, withdrawn in (("v0", False), ("v1", True)):
        person = await forgetting.person("shop", visitor=visitor)
        person = type(person)(person.site, person.visitors, person.emails, withdrawn)
        assert (await forgetting.forget(person, shop.now)).rows.get("exposures") == 1
    (found,) = await counted(shop)
    assert found.assigned == 1


async def test_they_are_kept_for_their_time(shop: Filled) -> None:
    await shop.service.ledger.exposures.write([exposure("v1", shop.now)])
    shop.now += 399 * DAY
    await shop.service.apply_retention()
    assert len(await counted(shop)) == 1
    shop.now += 2 * DAY
    await shop.service.apply_retention()
    assert await counted(shop) == []


async def test_nothing_that_comes_late_brings_a_forgotten_visitor_back(shop: Filled) -> None:
    ledger, now = shop.service.ledger, shop.now
    await ledger.forgetting.mark(Person("shop", ("v1",)), now)
    await ledger.exposures.write([exposure("v1", now), exposure("v2", now)])
    await ledger.traffic.write(
        [Recorded("shop", visitor, "view", 1, now, 3, 1.0, "{}") for visitor in ("v1", "v2")]
    )
    assert [one.eligible for one in await counted(shop)] == [1]
    assert [row.visitor for row in await ledger.traffic.read("shop", 0.0, 10)] == ["v2"]
    # The same id at another site is somebody else.
    await ledger.traffic.write([Recorded("other", "v1", "view", 1, now, 3, 1.0, "{}")])
    assert len(await ledger.traffic.read("other", 0.0, 10)) == 1
