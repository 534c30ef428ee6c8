"""The time of day, and whether somebody set it: clocks of servers jump when they are corrected.

Nothing else in the package reads the time of day. What needs it is given a `Clock`, or its `now`.
"""

import time
from collections.abc import Callable

LEAST_STEP = 2.0  # seconds
# What correcting without a jump may come to (adjtime(3) slews by 500 ppm), doubled.
SLEW = 0.001

# Goes on while the machine sleeps, where there is such a clock (Linux).
_BOOT = getattr(time, "CLOCK_BOOTTIME", None)


def steady() -> float:
    """Seconds that never go back, from any beginning."""
    return time.monotonic() if _BOOT is None else time.clock_gettime(_BOOT)


def _nobody(before: float, step: float) -> None:
    pass


class Clock:
    """Unix seconds, and seconds that never go back.

    `jumped` is called at each jump: the time shown before it, and the step in seconds, negative where the
    clock was set back.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = steady) -> None:
        self.jumped: Callable[[float, float], None] = _nobody
        self._wall, self._steady = wall, steady
        self._last = steady()
        self._ahead = wall() - self._last

    def now(self) -> float:
        """The time, in unix seconds."""
        now, last = self._wall(), self._steady()
        ahead = now - last
        step, elapsed = ahead - self._ahead, last - self._last
        self._ahead, self._last = ahead, last
        if abs(step) > LEAST_STEP + SLEW * elapsed:
            self.jumped(now - step, step)
        return now

    def monotonic(self) -> float:
        """Seconds that never go back: for what waits or expires within the process."""
        return time.monotonic()
