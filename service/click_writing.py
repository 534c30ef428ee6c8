"""Writes the sums of clicks to the ledger, and has those of a day compared with the days before."""

from collections.abc import Iterable
from datetime import date, timedelta

from ..events.events import Events
from ..stores.ledger.partner_clicks import PartnerClicks
from .click_watch import DAYS, ClickWatch
from .clicks import ClickCounts, Day
from .clock import Clock
from .sites import Sites

COMPARE_EVERY = 600.0  # seconds


class ClickWriter:
    """Writes what `clicks` has counted to `books`."""

    def __init__(
        self,
        clicks: ClickCounts,
        books: PartnerClicks,
        watch: ClickWatch,
        sites: Sites,
        events: Events,
        clock: Clock,
    ) -> None:
        self._clicks = clicks
        self._books = books
        self._watch = watch
        self._sites = sites
        self._events = events
        self._clock = clock
        self._compared: dict[str, float] = {}

    async def write(self) -> None:
        """Write the sums since the last call. If that fails, they are kept."""
        counted = self._clicks.take()
        if not counted:
            return
        try:
            await self._books.add(counted)
        except Exception as error:
            self._clicks.put_back(counted)
            self._events.failed(error, site="", where="clicks")
            return
        for name in sorted({site for site, _, _ in counted}):
            try:
                await self._compare(name, [key for key in counted if key[0] == name])
            except Exception as error:
                self._events.failed(error, site=name, where="clicks")

    async def _compare(self, name: str, counted: Iterable[Day]) -> None:
        """Compare today's clicks of a site's partners, at most so often."""
        now = self._clock.monotonic()
        if name not in self._sites or now < self._compared.get(name, now):
            return
        fraud = self._sites[name].settings.fraud
        self._compared[name] = now + COMPARE_EVERY
        today = max(day for _, _, day in counted)
        first = date.fromisoformat(today) - timedelta(days=DAYS)
        days = await self._books.days(name, first.isoformat(), today)
        self._watch.rates(name, fraud, days, today)
