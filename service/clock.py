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
# A measurement with a longer way there and back says too little, unless it is the first.
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
        self._server_ahead: float | None = None  # of the steady clock
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
        began = self._steady()
        at = await server.time()
        ended = self._steady()
        if at is None:
            return
        # It was `at` at some moment in between.
        ahead, doubt = at - (began + ended) / 2, (ended - began) / 2
        if self._server_ahead is None:
            self._server_ahead = ahead
            if not self._was_read:
                # Nobody knows of another time, so this is no step.
                self._ahead = ahead
        elif doubt <= LONGEST_WAY / 2 and abs(ahead - self._server_ahead) > doubt:
            self._server_ahead = ahead

    # Monotonic seconds, for timeouts and expiry within the process.
    monotonic = staticmethod(time.monotonic)


async def time_of(server: TimeServer) -> float:
    """The time in Unix seconds that counts for a ledger, for those who need it once."""
    clock = Clock()
    await clock.follow(server)
    return clock.now()
