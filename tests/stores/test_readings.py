"""Readings that many share: each began after it was asked for."""

import asyncio
import itertools

import pytest
from clew.stores.readings import Readings


class Source:
    """What is read: the number of the reading. Each goes on until it is let go."""

    def __init__(self) -> None:
        self.begun = asyncio.Queue[asyncio.Event]()
        self.count = 0

    async def read(self) -> int:
        self.count += 1
        number, held = self.count, asyncio.Event()
        self.begun.put_nowait(held)
        await asyncio.wait_for(held.wait(), 20)
        return number


async def test_those_who_come_during_a_reading_share_the_next() -> None:
    source, readings = Source(), Readings[str, int]()
    first = asyncio.create_task(readings.of("a", source.read))
    held = await source.begun.get()
    others = [asyncio.create_task(readings.of("a", source.read)) for _ in range(50)]
    elsewhere = asyncio.create_task(readings.of("b", source.read))
    (await source.begun.get()).set()
    assert await elsewhere == 2
    held.set()
    (await source.begun.get()).set()
    assert await first == 1
    assert {await one for one in others} == {3}


async def test_a_reading_that_fails_is_not_shared() -> None:
    readings = Readings[str, int]()

    async def fails() -> int:
        raise OSError("away")

    async def works() -> int:
        return 1

    with pytest.raises(OSError, match="away"):
        await readings.of("a", fails)
    assert await readings.of("a", works) == 1


async def test_there_is_a_pause_between_the_readings_of_one_key() -> None:
    clock, begun = asyncio.get_running_loop().time, list[float]()
    readings = Readings[str, None](0.05)

    async def read() -> None:
        begun.append(clock())

    for _ in range(3):
        await readings.of("a", read)
    assert [b - a >= 0.05 for a, b in itertools.pairwise(begun)] == [True, True]
    # Keys whose pause has passed are forgotten.
    await asyncio.sleep(0.05)
    await readings.of("b", read)
    assert set(readings._begun_at) == {"b"}
