"""Connections to all shops together: what each shop may have, and who is next."""

import asyncio
from collections import Counter
from contextlib import suppress

import pytest
from clew.middleware.http.faults import BusyError
from clew.middleware.http.share import QUEUE_PER_CONNECTION, Share
from clew.middleware.http.slots import NOBODY, Slots, Use
from clew.settings.model import Upstream


def shops(count: int, share: Share, *, each: int = 1000, seconds: float = 5) -> list[Slots]:
    return [Slots(each, seconds, share) for _ in range(count)]


def taken(slots: Slots) -> int:
    """How many it gets if it takes all it can."""
    count = 0
    while slots.take(NOBODY):
        count += 1
    return count


def test_a_shop_alone_gets_half_and_others_find_something_left() -> None:
    share = Share(1000)
    first, second, third = shops(3, share)
    assert [taken(first), taken(second), taken(third)] == [500, 250, 125]
    assert share.free == 125


def test_shops_that_take_in_turn_get_the_same() -> None:
    share = Share(1000)
    busy = shops(4, share)
    got: Counter[int] = Counter()
    while asked := [n for n, slots in enumerate(busy) if slots.take(NOBODY)]:
        got.update(asked)
    assert max(got.values()) - min(got.values()) <= 1
    assert sum(got.values()) == pytest.approx(1000 * 4 / 5, rel=0.02)


def test_hanging_shops_cannot_keep_a_healthy_one_from_its_visitors() -> None:
    share = Share(300)
    for hanging in shops(6, share):
        taken(hanging)
    (healthy,) = shops(1, share)
    assert healthy.take(NOBODY)


def test_one_shop_is_bounded_by_its_own_limit_first() -> None:
    share = Share(2000)
    (only,) = shops(1, share, each=500)
    assert taken(only) == 500


async def test_waiting_requests_are_served_in_turn_by_shop() -> None:
    share = Share(6)
    busy, other = shops(2, share)
    assert (taken(busy), taken(other)) == (3, 2)
    got: list[str] = []

    async def ask(slots: Slots, name: str) -> None:
        await slots.wait(Use(name))
        got.append(name)
        slots.give_back(Use(name))

    waiting = [asyncio.create_task(ask(busy, f"busy {n}")) for n in range(5)]
    await asyncio.sleep(0)
    waiting.append(asyncio.create_task(ask(other, "other")))
    await asyncio.sleep(0)
    assert got == []
    for _ in range(2):
        busy.give_back(NOBODY)
    await asyncio.gather(*waiting)
    # It came last, and did not wait for all that came before it.
    assert got.index("other") < 3


async def test_waiting_is_bounded_over_all_shops_too() -> None:
    share = Share(2)
    for slots in shops(3, share):
        taken(slots)
    waiting = [asyncio.create_task(slots.wait(NOBODY)) for slots in shops(2 * QUEUE_PER_CONNECTION, share)]
    await asyncio.sleep(0)
    with pytest.raises(BusyError, match="20 requests wait"):
        await shops(1, share)[0].wait(NOBODY)
    for task in waiting:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert share._waiting == {}
    assert share._requests == 0


class Kept:
    closed = False

    def give_up(self) -> None:
        self.closed = True


def test_idle_connections_of_any_shop_make_room() -> None:
    share = Share(4)
    oldest, newest = Kept(), Kept()
    for connection in (oldest, newest):
        share.keep(connection)
    busy, other = shops(2, share)
    assert busy.take(NOBODY)
    share.make_room()
    assert not oldest.closed
    assert busy.take(NOBODY)
    assert other.take(NOBODY)
    share.make_room()
    assert oldest.closed
    assert not newest.closed


async def test_places_held_by_an_ended_loop_are_freed() -> None:
    share = Share(8)
    (slots,) = shops(1, share)
    taken(slots)
    slots.abandon()
    assert share.free == 8


@pytest.mark.parametrize("connections", [1, 500, 1200])
async def test_an_only_shop_can_use_all_its_connections_unless_the_total_is_set(connections: int) -> None:
    upstream = Upstream.model_validate({"connections": connections})
    slots = Slots(connections, 0.01, Share(upstream.most_connections))
    for _ in range(connections):
        assert slots.take(NOBODY)
