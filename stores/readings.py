"""Readings that many ask for at the same time, and share."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class _Reading(Generic[T]):
    """What was read last, and the numbers of the readings that were begun and that came to something."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.begun = self.done = 0
        self.found: list[T] = []


class Readings(Generic[K, T]):
    """Readings by key. Whoever asks gets one that began after it asked, which others may have begun. Of one
    key at most one reading goes on, and begins at the earliest `pause` seconds after the one before it."""

    def __init__(self, pause: float = 0.0) -> None:
        self._pause = pause
        # One exists while somebody waits for it.
        self._readings: WeakValueDictionary[K, _Reading[T]] = WeakValueDictionary()
        self._begun_at: dict[K, float] = {}

    async def of(self, key: K, read: Callable[[], Awaitable[T]]) -> T:
        """What `read` finds. Raises what it raises."""
        reading = self._readings.get(key)
        if reading is None:
            reading = self._readings[key] = _Reading()
        begun = reading.begun
        async with reading.turn:
            if reading.done <= begun:
                await self._wait(key)
                reading.begun += 1
                reading.found = [await read()]
                reading.done = reading.begun
            return reading.found[0]

    async def _wait(self, key: K) -> None:
        """Let the pause pass, and forget those whose pause has passed."""
        if not self._pause:
            return
        clock = asyncio.get_running_loop().time
        if (left := self._begun_at.get(key, 0.0) + self._pause - clock()) > 0:
            await asyncio.sleep(left)
        now = clock()
        self._begun_at = {one: at for one, at in self._begun_at.items() if now - at < self._pause}
        self._begun_at[key] = now
