"""Limits the number of concurrent calls to each destination by how fast it responds.

Slow destinations share slots of their own, so that they never take those of the fast ones. A call that has
taken two seconds is slow, and so are the next calls to its destination until it responds quickly again. The
last slots of either kind are reserved for destinations without a call in progress.
"""

import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from types import MappingProxyType

CALLS = 16  # concurrent calls to fast destinations
CALLS_PER_DESTINATION = 4  # of them
FIRST_CALLS = 4  # of them for destinations without a call in progress
SLOW_CALLS = 32  # concurrent calls to slow destinations
# Connections in total, since a call to a fast destination may turn out slow; some of them are reserved for
# destinations known to be fast.
TOTAL, KNOWN_CALLS = 64, 8
SLOW_SECONDS = 2.0
# Calls to a fast destination that are leased while its slots are in use: at most so many, and no more than
# are made in so many seconds; and to all together.
AHEAD, AHEAD_SECONDS, AHEAD_TOTAL = 32, 5.0, 256
WEIGHT = 0.5  # of the last response in the mean


class Pace:
    """Records calls as they begin and end. `clock` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._flying: dict[Hashable, tuple[str, float]] = {}
        self._mean: dict[str, float] = {}  # seconds, by destination
        self._slow: dict[str, float] = {}  # those of them that are slow

    def begin(self, call: Hashable, destination: str) -> None:
        """A call to a destination begins."""
        self._flying[call] = (destination, self._clock())

    def sent(self, call: Hashable) -> None:
        """The request is sent now. The time before does not count for the destination."""
        self._flying[call] = (self._flying[call][0], self._clock())

    def end(self, call: Hashable, seconds: float | None = None) -> None:
        """The call has ended; `seconds` is the destination's response time, None if nothing was sent."""
        destination, _ = self._flying.pop(call)
        if seconds is not None:
            mean = self._mean.get(destination, seconds)
            self._mean[destination] = mean = mean + WEIGHT * (seconds - mean)
            self._slow.pop(destination, None)
            if mean >= SLOW_SECONDS:
                self._slow[destination] = mean

    def slow(self) -> dict[str, float]:
        """The destinations that are slow now, with their response times in seconds."""
        found = dict(self._slow)
        now = self._clock()
        for destination, since in self._flying.values():
            if now - since >= SLOW_SECONDS:
                found[destination] = max(found.get(destination, 0.0), now - since)
        return found

    def next_slow(self) -> float | None:
        """The seconds until a call in progress counts as slow, which frees a fast slot; None: never."""
        slow = self.slow()
        left = (SLOW_SECONDS - self._clock() + since for d, since in self._flying.values() if d not in slow)
        return min(left, default=None)

    def room(self, ahead: Mapping[str, int] = MappingProxyType({})) -> "Room":
        """The free slots, where so many calls to each destination are `ahead`."""
        return Room(Counter(d for d, _ in self._flying.values()), self.slow(), self._mean, ahead)


class Room:
    """The free slots in one round."""

    def __init__(
        self, busy: Counter[str], slow: dict[str, float], known: Mapping[str, float], ahead: Mapping[str, int]
    ) -> None:
        self._busy = busy
        self._ahead = Counter(ahead)
        # Destinations that have as many calls ahead as they may have, and could have had more.
        self.filled: dict[str, int] = {}
        self._slow = slow
        self._known = known
        self._slow_busy = sum(count for destination, count in busy.items() if destination in slow)
        self._total = busy.total()
        self._slow_share = max(1, min(CALLS_PER_DESTINATION, SLOW_CALLS // max(1, len(slow))))

    @property
    def full(self) -> bool:
        """Whether no call may begin."""
        return self._total >= TOTAL

    def take(self, destination: str) -> bool:
        """Take a slot for a call. False if there is none."""
        own, slow = self._busy[destination], destination in self._slow
        if slow:
            free = own < self._slow_share and self._slow_busy < SLOW_CALLS
        else:
            fast = self._total - self._slow_busy
            free = own < CALLS_PER_DESTINATION and fast < (CALLS - FIRST_CALLS if own else CALLS)
        kept = 0 if destination in self._known and not slow else KNOWN_CALLS
        if not free or self._total >= TOTAL - kept:
            return False
        self._busy[destination] += 1
        self._total += 1
        self._slow_busy += slow
        return True

    def take_ahead(self, destination: str) -> bool:
        """Take a place for a call that is leased now, and begins when another call to the destination ends.
        False if there is none."""
        is_fast = destination in self._known and destination not in self._slow
        if not (is_fast and self._busy[destination]):
            return False
        soon = int(CALLS_PER_DESTINATION * AHEAD_SECONDS / max(self._known[destination], 0.001))
        most = min(AHEAD, soon)
        if self._ahead[destination] >= most:
            self.filled[destination] = most
            return False
        if self._ahead.total() >= AHEAD_TOTAL:
            return False
        self._ahead[destination] += 1
        return True
