"""Counts the clicks of each partner by day, for the partner's pages: sums, in which there is no visitor."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

Day = tuple[str, str, str]
"""Site, partner, and the day as `2026-11-27`."""

# Sums that wait at most while the ledger cannot be used: a day of some thousand partners.
PENDING = 10_000


class ClickCounts:
    """What was counted since it was last written to the ledger."""

    def __init__(self) -> None:
        self._counted: Counter[Day] = Counter()

    def count(self, site: str, partner: str, at: float, zone: ZoneInfo) -> None:
        """A visitor came by a link of the partner, at a time in unix seconds."""
        day = (site, partner, datetime.fromtimestamp(at, zone).date().isoformat())
        if day in self._counted or len(self._counted) < PENDING:
            self._counted[day] += 1

    def take(self) -> Mapping[Day, int]:
        """The sums since the last call, to be written."""
        taken, self._counted = self._counted, Counter()
        return taken

    def put_back(self, counted: Mapping[Day, int]) -> None:
        """Keep sums that could not be written for the next `take`."""
        for day, number in counted.items():
            if day in self._counted or len(self._counted) < PENDING:
                self._counted[day] += number
