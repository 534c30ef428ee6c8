"""An order that an agent records at the desk can be undone before any partner hears of it."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio
from clew.orders.model import OrderError, OrderSeen
from clew.service.ordering.recording import Recorded
from clew.service.ordering.story import replays
from clew.stores.ledger.schema import postbacks, sightings
from reporting import Shop, site

MINUTE = 60.0


@pytest_asyncio.fixture
async def shop(tmp_path: Path, ledger_address: str) -> AsyncIterator[Shop]:
    built = Shop(tmp_path, site(), ledger_address)
    await built.service.open()
    await built.bought("ada")
    yield built
    await built.service.close()


def order(total: str = "119.00", **changes: object) -> OrderSeen:
    return OrderSeen("1001", Decimal(total), "EUR", "agent", **changes)  # type: ignore[arg-type]


async def at_desk(shop: Shop, seen: OrderSeen | None = None) -> Recorded:
    """An agent records an order at the desk."""
    shop.now += 1
    one = shop.service.sites["shop"]
    return await shop.service.ordering.record(
        one, seen or order(), visitor="ada", conversation="t1", agent="bo", undo=MINUTE
    )


async def undo(shop: Shop, by: str = "bo") -> None:
    """Undo what can be undone."""
    (one,) = await shop.service.ledger.undoing.of_visitor("shop", "ada", shop.now)
    await shop.service.undoing.undo(shop.service.sites["shop"], "1001", one.sighting.key, by=by, why="a slip")


async def test_a_partner_hears_of_an_order_at_the_desk_a_minute_later_and_once(shop: Shop) -> None:
    recorded = await at_desk(shop)
    assert recorded.created
    await shop.deliver()
    assert shop.calls == []
    shop.now += MINUTE
    await shop.deliver()
    await shop.deliver()
    assert shop.calls == [("order", "1001", "119.00")]


async def test_nobody_hears_of_an_order_that_was_undone_and_its_history_says_who_and_why(shop: Shop) -> None:
    await at_desk(shop)
    await undo(shop)
    shop.now += 10 * MINUTE
    await shop.deliver()
    assert shop.calls == []
    assert [row["state"] for row in await shop.rows(postbacks)] == ["superseded"]
    assert len(await shop.rows(sightings)) == 2, "nothing is edited in place"
    (left,) = await shop.service.ledger.orders.list("shop")
    assert (left.state, left.total, left.partner) == ("cancelled", None, None)
    assert (left.channel, left.agent, left.reason) == ("chat", "bo", "nobody: undone by bo: a slip")
    story = await shop.service.ledger.stories.at("shop", left.row)
    assert story is not None
    assert all(replayed.same for replayed in replays(story))
    (listed,) = await shop.service.ledger.lists.rows([left.row])
    assert (listed.shown_state, listed.channel) == ("undone", "chat")
    (known,) = await shop.service.ledger.histories.known("shop", ["1001"])
    correction = known.sightings[-1].sighting.correction
    assert correction is not None
    assert (correction.by, correction.why) == ("bo", "a slip")


async def test_an_order_may_be_recorded_again_after_it_was_undone_even_with_the_same_values(
    shop: Shop,
) -> None:
    for total in ("11.90", "119.00", "119.00"):
        await at_desk(shop, order(total))
        await undo(shop)
    await at_desk(shop)
    shop.now += 2 * MINUTE
    await shop.deliver()
    assert shop.calls == [("order", "1001", "119.00")]
    (left,) = await shop.service.ledger.orders.list("shop")
    assert (left.state, str(left.total), left.partner) == ("placed", "119.00", "blog")


async def test_a_report_of_the_shop_within_the_minute_sends_nothing_early_and_outlives_the_undo(
    shop: Shop,
) -> None:
    await at_desk(shop, order("1190.00"))
    await shop.record(OrderSeen("1001", Decimal("119.00"), "EUR", "api", state="placed"), "ada")
    await shop.deliver()
    assert shop.calls == [], "the agent's slip may still be undone"
    await undo(shop)
    await shop.deliver()
    assert shop.calls == [("order", "1001", "119.00")]


async def test_after_the_minute_nothing_can_be_undone(shop: Shop) -> None:
    await at_desk(shop)
    (one,) = await shop.service.ledger.undoing.of_visitor("shop", "ada", shop.now)
    shop.now += MINUTE
    assert await shop.service.ledger.undoing.of_visitor("shop", "ada", shop.now) == ()
    with pytest.raises(OrderError, match="the time to undo it is over"):
        await shop.service.undoing.undo(
            shop.service.sites["shop"], "1001", one.sighting.key, by="bo", why="late"
        )
    await shop.deliver()
    assert shop.calls == [("order", "1001", "119.00")]


async def test_an_undo_that_comes_after_the_call_changes_nothing(shop: Shop) -> None:
    """A clock that is set back, or another machine's: the order was sent, though the minute is not over."""
    await at_desk(shop)
    (one,) = await shop.service.ledger.undoing.of_visitor("shop", "ada", shop.now)
    shop.now += MINUTE
    await shop.deliver()
    shop.now -= MINUTE - 1
    with pytest.raises(OrderError, match="its partner was notified meanwhile"):
        await shop.service.undoing.undo(
            shop.service.sites["shop"], "1001", one.sighting.key, by="bo", why="late"
        )
    (left,) = await shop.service.ledger.orders.list("shop")
    assert (left.state, str(left.total)) == ("placed", "119.00")


async def test_two_people_who_undo_the_same_order_undo_it_once(shop: Shop) -> None:
    await at_desk(shop)
    (one,) = await shop.service.ledger.undoing.of_visitor("shop", "ada", shop.now)
    await undo(shop)
    with pytest.raises(OrderError, match="it is undone already"):
        await shop.service.undoing.undo(
            shop.service.sites["shop"], "1001", one.sighting.key, by="cy", why="too"
        )
    assert len(await shop.rows(sightings)) == 2


async def test_other_reports_are_sent_at_once(shop: Shop) -> None:
    await shop.record(OrderSeen("1001", Decimal("119.00"), "EUR", "page"), "ada")
    await shop.deliver()
    assert shop.calls == [("order", "1001", "119.00")]
    assert await shop.service.ledger.undoing.of_visitor("shop", "ada", shop.now) == ()


async def test_it_is_known_who_has_bought(shop: Shop) -> None:
    books = shop.service.ledger.undoing
    assert await books.bought("shop", ["ada", "eve"]) == {}
    await at_desk(shop)
    found = await books.bought("shop", ["ada", "eve"])
    assert {visitor: one.count for visitor, one in found.items()} == {"ada": 1}
    await undo(shop)
    assert await books.bought("shop", ["ada", "eve"]) == {}
