"""Calls whose postbacks are leased before their destination has a free slot: the next one begins at once."""

from collections import deque
from collections.abc import Iterator, Sequence

from .model import Postback

Rows = tuple[Postback, ...]


class Ahead:
    """The calls of each destination that are leased and have not begun, in their order."""

    def __init__(self) -> None:
        self._calls: dict[str, deque[Rows]] = {}

    def add(self, destination: str, rows: Rows) -> None:
        """One more call to a destination."""
        self._calls.setdefault(destination, deque()).append(rows)

    def destinations(self) -> Sequence[str]:
        """Those with a call."""
        return tuple(self._calls)

    def count(self, destination: str) -> int:
        """How many calls to a destination there are."""
        return len(self._calls.get(destination, ()))

    def counts(self) -> dict[str, int]:
        """How many there are, by destination."""
        return {destination: len(calls) for destination, calls in self._calls.items()}

    def take(self, destination: str) -> Rows:
        """The next call to a destination. Raises KeyError if there is none."""
        calls = self._calls[destination]
        rows = calls.popleft()
        if not calls:
            del self._calls[destination]
        return rows

    def over(self, now: float) -> Iterator[Rows]:
        """Take the calls whose lease is over: others may have their rows by now."""
        for destination in self.destinations():
            # Leased one after the other, for the same time.
            while (calls := self._calls.get(destination)) and (calls[0][0].lease_until or 0) <= now:
                yield self.take(destination)

    def all(self) -> list[Rows]:
        """Take all calls."""
        found = [rows for calls in self._calls.values() for rows in calls]
        self._calls.clear()
        return found
