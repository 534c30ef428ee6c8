"""How fast each destination answers, and so how many calls it may have at once.

Slow destinations share slots of their own, so that however many there are, the quick ones have theirs: a call
that has gone on for two seconds is a slow one, and so are the next ones of its destination until it answers
quickly again. The last slots of either kind go to destinations that have no call yet.
"""

import time
from collections import Counter
from collections.abc import Callable, Hashable

CALLS = 16  # at once to destinations that answer quickly
CALLS_PER_DESTINATION = 4  # of them
FIRST_CALLS = 4  # of them for destinations without a call
SLOW_CALLS = 32  # at once to those that do not
# Connections in all: what began as a quick call may turn out slow. Of these some are for destinations that
# are known to be quick, whoever else there is.
TOTAL, KNOWN_CALLS = 64, 8
SLOW_SECONDS = 2.0
WEIGHT = 0.5  # of the last answer in the mean


class Pace:
    """Calls as they begin and end. `clock` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._flying: dict[Hashable, tuple[str, float]] = {}
        self._mean: dict[str, float] = {}  # seconds, by destination

    def begin(self, call: Hashable, destination: str) -> None:
        """A call goes to a destination."""
        self._flying[call] = (destination, self._clock())

    def sent(self, call: Hashable) -> None:
        """Its request leaves now: the time until then is not the destination's."""
        self._flying[call] = (self._flying[call][0], self._clock())

    def end(self, call: Hashable, seconds: float | None = None) -> None:
        """It has ended; `seconds` is the time that the destination took, None if it was not asked."""
        destination, _ = self._flying.pop(call)
        if seconds is not None:
            mean = self._mean.get(destination, seconds)
            self._mean[destination] = mean + WEIGHT * (seconds - mean)

    def slow(self) -> dict[str, float]:
        """The destinations that are slow now, with the seconds that they take."""
        found = {d: mean for d, mean in self._mean.items() if mean >= SLOW_SECONDS}
        now = self._clock()
        for destination, since in self._flying.values():
            if now - since >= SLOW_SECONDS:
                found[destination] = max(found.get(destination, 0.0), now - since)
        return found

    def turns(self) -> float | None:
        """The seconds until a call that is quick so far becomes a slow one, which makes room; None: never."""
        slow = self.slow()
        left = (SLOW_SECONDS - self._clock() + since for d, since in self._flying.values() if d not in slow)
        return min(left, default=None)

    def room(self) -> "Room":
        """What may begin now."""
        return Room(Counter(d for d, _ in self._flying.values()), self.slow(), frozenset(self._mean))


class Room:
    """The slots that are free in one round."""

    def __init__(self, busy: Counter[str], slow: dict[str, float], known: frozenset[str]) -> None:
        self._busy = busy
        self._slow = slow
        self._known = known
        self._slow_busy = sum(count for destination, count in busy.items() if destination in slow)
        self._total = busy.total()
        self._slow_share = max(1, min(CALLS_PER_DESTINATION, SLOW_CALLS // max(1, len(slow))))

    @property
    def full(self) -> bool:
        """Whether nobody may begin."""
        return self._total >= TOTAL

    def take(self, destination: str) -> bool:
        """Take a slot for a call; False if it has to wait."""
        mine, slow = self._busy[destination], destination in self._slow
        if slow:
            free = mine < self._slow_share and self._slow_busy < SLOW_CALLS
        else:
            quick = self._total - self._slow_busy
            free = mine < CALLS_PER_DESTINATION and quick < (CALLS - FIRST_CALLS if mine else CALLS)
        kept = 0 if destination in self._known and not slow else KNOWN_CALLS
        if not free or self._total >= TOTAL - kept:
            return False
        self._busy[destination] += 1
        self._total += 1
        self._slow_busy += slow
        return True
