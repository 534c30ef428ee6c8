"""The time of day, and whether it was set: the clocks of servers step when they are corrected.

No other module reads the time of day, except for the time of a log line. Code that needs it gets a `Clock`,
or its `now`.
"""

import time
from collections.abc import Callable
from functools import partial

LEAST_STEP = 2.0  # seconds
# Twice the rate of a gradual correction (adjtime(3) slews by 500 ppm).
SLEW = 0.001

# A clock that also counts while the machine sleeps, if there is one (Linux).
_BOOT = getattr(time, "CLOCK_BOOTTIME", None)


steady: Callable[[], float] = time.monotonic if _BOOT is None else partial(time.clock_gettime, _BOOT)
"""Monotonic seconds with an arbitrary start."""


def _nobody(before: float, step: float) -> None:
    pass


class Clock:
    """Unix seconds, and monotonic seconds.

    `jumped` is called at each step of the time of day, with the time before it and the step in seconds, which
    is negative if the clock was set back.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = steady) -> None:
        self.jumped: Callable[[float, float], None] = _nobody
        self._wall, self._steady = wall, steady
        self._last = steady()
        self._ahead = wall() - self._last

    def now(self) -> float:
        """The time in Unix seconds."""
        now, last = self._wall(), self._steady()
        ahead = now - last
        step, elapsed = ahead - self._ahead, last - self._last
        self._ahead, self._last = ahead, last
        if abs(step) > LEAST_STEP + SLEW * elapsed:
            self.jumped(now - step, step)
        return now

    # Monotonic seconds, for timeouts and expiry within the process.
    monotonic = staticmethod(time.monotonic)
