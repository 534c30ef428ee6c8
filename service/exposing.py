"""Writes down who was in which experiment, in the background: no decision waits for it."""

import asyncio
from collections.abc import Mapping
from typing import Final

from ..events.events import Events
from ..stores.ledger.exposures import Exposure, Exposures, Situation

WRITE_EVERY: Final = 1.0
PENDING: Final = 20_000
"""Rows that wait at most, while the ledger cannot be used or is slower than the visitors."""

_Key = tuple[str, str, str, str]


class ExposureWriter:
    """Keeps what happens until it is written, once a second. What no longer fits is dropped and reported."""

    def __init__(self, books: Exposures, events: Events) -> None:
        self._books = books
        self._events = events
        self._waiting: dict[_Key, Exposure] = {}
        self._dropped: dict[str, int] = {}

    def add(
        self,
        site: str,
        rule: str,
        edition: str,
        visitor: str,
        arm: str,
        times: Mapping[str, float],
        situation: Situation | None = None,
        client: str | None = None,
    ) -> None:
        """A visitor came to some steps of an experiment for the first time, as far as its record knows.
        `client` is the pseudonym of its network."""
        self._keep(Exposure(site, rule, edition, visitor, arm, times, situation, client))

    def forget(self, site: str, visitor: str) -> None:
        """Drop what waits of a visitor who does not want to be recognised any more."""
        for key in [key for key in self._waiting if (key[0], key[3]) == (site, visitor)]:
            del self._waiting[key]

    def _keep(self, row: Exposure) -> None:
        key = (row.site, row.rule, row.edition, row.visitor)
        known = self._waiting.get(key)
        if known is not None:
            self._waiting[key] = known.plus(row)
        elif len(self._waiting) < PENDING:
            self._waiting[key] = row
        else:
            self._dropped[row.site] = self._dropped.get(row.site, 0) + 1

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(WRITE_EVERY)
            await self.write()

    async def write(self) -> None:
        """Write what waits. If that fails, it waits on."""
        waiting, self._waiting = self._waiting, {}
        if waiting:
            try:
                await self._books.write(waiting.values())
            except Exception as error:
                later, self._waiting = self._waiting, {}
                for row in (*waiting.values(), *later.values()):
                    self._keep(row)
                self._events.failed(error, site="", where="exposures")
        dropped, self._dropped = self._dropped, {}
        for site, count in dropped.items():
            self._events.notice("exposures_dropped", site=site, key="exposures", rows=count)
