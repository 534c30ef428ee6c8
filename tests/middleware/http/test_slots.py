"""Sharing a shop's connections: no client can hold them all or wait behind another's queue."""

import asyncio
from collections import Counter

import pytest
from clew.middleware.http.faults import BusyError
from clew.middleware.http.slots import NOBODY, QUEUE_PER_CONNECTION, Slots, Use
from hypothesis import given
from hypothesis import strategies as st


def taken(slots: Slots, use: Use) -> int:
    count = 0
    while slots.take(use):
        count += 1
    return count


@pytest.mark.parametrize(("most", "client", "uploads"), [(1, 1, 1), (2, 2, 1), (4, 3, 2), (10, 8, 5)])
def test_one_client_and_all_uploads_have_a_share(most: int, client: int, uploads: int) -> None:
    """field E8"""
    assert taken(Slots(most, 1), Use("a")) == client
    assert taken(Slots(most, 1), Use(None, upload=True)) == uploads
    assert taken(Slots(most, 1), NOBODY) == most


def test_uploads_leave_room_for_the_same_clients_page_views() -> None:
    """field E8"""
    slots = Slots(10, 1)
    assert taken(slots, Use("a", upload=True)) == 5
    assert taken(slots, Use("a")) == 3
    assert taken(slots, Use("b")) == 2


async def queued(slots: Slots, *uses: Use) -> list["asyncio.Task[None]"]:
    tasks = [asyncio.create_task(slots.wait(use)) for use in uses]
    await asyncio.sleep(0)
    return tasks


async def test_clients_are_served_in_turn() -> None:
    slots = Slots(1, 10)
    assert slots.take(Use("a"))
    order: list[str | None] = []

    async def ask(use: Use) -> None:
        await slots.wait(use)
        order.append(use.client)
        slots.give_back(use)

    tasks = [asyncio.create_task(ask(Use(client))) for client in "aaaabb"]
    await asyncio.sleep(0)
    slots.give_back(Use("a"))
    await asyncio.gather(*tasks)
    assert order == ["a", "b", "a", "b", "a", "a"]
    assert slots.free == 1


async def test_one_client_cannot_fill_the_queue() -> None:
    """field E8"""
    slots = Slots(2, 10)
    assert taken(slots, NOBODY) == 2
    waiting = await queued(slots, *[Use("a")] * QUEUE_PER_CONNECTION)
    with pytest.raises(BusyError, match="of a wait"):
        await slots.wait(Use("a"))
    waiting += await queued(slots, Use("b"))
    assert not any(task.done() for task in waiting)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    slots.give_back(NOBODY)
    assert slots.take(Use("c"))


async def test_uploads_that_wait_get_their_turn() -> None:
    slots = Slots(2, 10)
    assert taken(slots, NOBODY) == 2
    upload, *others = await queued(slots, Use("a", upload=True), *[Use(f"b{n}") for n in range(3)])
    for _ in range(2):
        slots.give_back(NOBODY)
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert upload.done()
    assert sum(task.done() for task in others) == 1
    for task in others:
        task.cancel()
    await asyncio.wait(others)


@given(
    st.integers(1, 6),
    st.lists(
        st.tuples(st.sampled_from(["a", "b", None]), st.booleans(), st.sampled_from("wgcs")), max_size=40
    ),
)
def test_no_slot_is_lost_or_given_twice(most: int, steps: list[tuple[str | None, bool, str]]) -> None:
    """In any order of taking, giving back and cancelling."""

    async def run() -> None:
        slots, tasks, held = Slots(most, 100), list[tuple[Use, asyncio.Task[None]]](), list[Use]()

        async def settle() -> None:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for use, task in list(tasks):
                if task.done():
                    tasks.remove((use, task))
                    if not task.cancelled() and task.exception() is None:
                        held.append(use)

        for client, upload, step in steps:
            use = Use(client, upload)
            if step == "w":
                tasks.append((use, asyncio.create_task(slots.wait(use))))
            elif step == "g" and held:
                slots.give_back(held.pop(0))
            elif step == "s" and held:
                held.append(slots.sent(held.pop(0)))
            elif step == "c" and tasks:
                tasks[-1][1].cancel()
            await settle()
            assert slots.free + len(held) == most
            assert sum(use.upload for use in held) <= most - most // 2
            shares = Counter(use.client for use in held if use.client)
            assert all(count <= most - most // 4 for count in shares.values())
            # Nobody waits who may have one.
            assert not slots.free or not any(slots._may(use) for use, _ in tasks)
        for _, task in tasks:
            task.cancel()
        await settle()
        for use in held:
            slots.give_back(use)
        assert slots.free == most
        assert slots._held == {}
        assert [dict(queue) for queue in slots._queues] == [{}, {}]

    asyncio.run(run())
