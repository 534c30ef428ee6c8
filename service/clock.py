"""The time of day, and whether it was set: the clocks of servers step when they are corrected.

No other module reads the time of day, except for the time of a log line. Code that needs it gets a `Clock`,
or its `now`.

Machines that share a ledger compare each other's times. So the time of all of them is that of the ledger's
server, which each process measures when it connects, and again from time to time; in between it counts on by
its own steady clock. Its own time of day does not matter then, nor whether that is set.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

LEAST_STEP = 2.0  # seconds
# Of so many measurements in a row the one with the shortest way there and back counts; the first that takes
# no longer than SHORT_WAY is enough, and none follows once they have taken LONGEST_WAY.
MEASUREMENTS = 4
SHORT_WAY = 0.02
LONGEST_WAY = 1.0
# Twice the rate of a gradual correction (adjtime(3) slews by 500 ppm).
SLEW = 0.001

# A clock that also counts while the machine sleeps, if there is one (Linux).
_BOOT = getattr(time, "CLOCK_BOOTTIME", None)


steady: Callable[[], float] = time.monotonic if _BOOT is None else partial(time.clock_gettime, _BOOT)
"""Monotonic seconds with an arbitrary start."""


def _nobody(before: float, step: float) -> None:
    pass


class TimeServer(Protocol):
    """Who tells the time to several machines."""

    async def time(self) -> float | None:
        """Its time in Unix seconds; None if it has none but this machine's."""


class Clock:
    """Unix seconds, and monotonic seconds.

    `jumped` is called at each step of the time, with the time before it and the step in seconds, which is
    negative if the clock was set back.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = steady) -> None:
        self.jumped: Callable[[float, float], None] = _nobody
        self._wall, self._steady = wall, steady
        self._server_ahead: float | None = None  # of the steady clock, …
        self._doubt = 0.0  # … by so much more or less, …
        self._measured_at = 0.0  # … when it was measured, on the steady clock
        self._last = steady()
        self._ahead = wall() - self._last
        self._was_read = False

    def now(self) -> float:
        """The time in Unix seconds."""
        last = self._steady()
        now = self._wall() if self._server_ahead is None else self._server_ahead + last
        ahead = now - last
        step, elapsed = ahead - self._ahead, last - self._last
        self._ahead, self._last, self._was_read = ahead, last, True
        if abs(step) > LEAST_STEP + SLEW * elapsed:
            self.jumped(now - step, step)
        return now

    @property
    def off(self) -> float:
        """By how many seconds this machine's own clock is ahead of `now`."""
        return 0.0 if self._server_ahead is None else self._wall() - self._steady() - self._server_ahead

    async def follow(self, server: TimeServer) -> None:
        """Measure the time of a server, and go by it from now on. Raises what `server.time` raises."""
        measured = await self._measure(server)
        if measured is None:
            return
        doubt, ahead = measured
        now = self._steady()
        if self._server_ahead is None:
            if not self._was_read:
                # Nobody knows of another time, so this is no step.
                self._ahead = ahead
        else:
            known = self._doubt + SLEW * (now - self._measured_at)
            # What says less counts only where it contradicts what is known: then one of the clocks was set.
            if doubt >= known and abs(ahead - self._server_ahead) <= doubt + known:
                return
        self._server_ahead, self._doubt, self._measured_at = ahead, doubt, now

    async def _measure(self, server: TimeServer) -> tuple[float, float] | None:
        """By how much a server is ahead of the steady clock, after how much more or less that may be."""
        found: list[tuple[float, float]] = []
        first = self._steady()
        for _ in range(MEASUREMENTS):
            began = self._steady()
            try:
                at = await server.time()
            except Exception:
                if not found:
                    raise
                break
            ended = self._steady()
            if at is None:
                return None
            # It was `at` at some moment in between.
            found.append(((ended - began) / 2, at - (began + ended) / 2))
            if ended - began <= SHORT_WAY or ended - first > LONGEST_WAY:
                break
        return min(found)

    # Monotonic seconds, for timeouts and expiry within the process.
    monotonic = staticmethod(time.monotonic)


async def time_of(server: TimeServer) -> float:
    """The time in Unix seconds that counts for a ledger, for those who need it once."""
    clock = Clock()
    await clock.follow(server)
    return clock.now()
