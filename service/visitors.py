"""Stores visitors, once their cookie has come back.

A landing or a `decide` without clew's cookie stores nothing: its touch is encrypted in the cookie that the
response sets. A browser that does not send the cookie back could never be recognised.
"""

from collections.abc import Callable, Mapping, Sequence

from ..events.events import Events
from ..referral.cookie import Known
from ..referral.visitor import Change, Visitor, changed
from ..stores.visits import Fold, Visits, VisitsError
from .clock import Clock
from .limits import LimitedError, Limits
from .site import SiteRuntime

# The changes to a visitor, computed from its stored record, if there is one.
Happened = Callable[[Visitor | None], Sequence[Change]]


class Visitors:
    """Applies changes to the stored visitors, and adds new ones within their limit."""

    def __init__(self, visits: Visits, limits: Limits, events: Events, clock: Clock) -> None:
        self._visits = visits
        self._limits = limits
        self._events = events
        self._clock = clock

    async def is_forgotten(self, site: SiteRuntime, visitor: str) -> bool:
        """Whether this visitor asked to be forgotten. False if the store fails, which is reported."""
        stored = await self.find(site.name, visitor, "messages")
        return stored is not None and stored.forgotten

    async def find(self, site: str, visitor: str, where: str) -> Visitor | None:
        """The stored visitor, or None. Also None if the store fails, which is reported with `where`, the
        purpose of the query."""
        try:
            return await self._visits.get(site, visitor)
        except VisitsError as error:
            self.failed(site, where, error)
            return None

    async def seen_at(self, site: str, visitors: Sequence[str], where: str) -> Mapping[str, float]:
        """When each of some visitors was last seen, as `Visits.seen_at`; empty if the store fails."""
        try:
            return await self._visits.seen_at(site, visitors)
        except VisitsError as error:
            self.failed(site, where, error)
            return {}

    async def note(
        self, site: SiteRuntime, known: Known, changes: Sequence[Change], client: str | None, where: str
    ) -> None:
        """Apply changes if possible: over the limit no new visitor is stored, and a failing store is
        reported."""
        try:
            await self.remember(site, known, changes, client)
        except LimitedError:
            pass
        except Exception as error:
            self.failed(site.name, where, error)

    def failed(self, site: str, where: str, error: Exception) -> None:
        """Tell that the store failed; in the log once an hour, as it may fail at every page."""
        self._events.failed(error, site=site, where=where)

    async def remember(
        self, site: SiteRuntime, known: Known, changes: Sequence[Change], client: str | None
    ) -> Visitor:
        """Apply changes to the visitor. Raises the errors of `update`."""
        return await self.update(site, known, lambda stored: changes, client)

    async def update(
        self, site: SiteRuntime, known: Known, happened: Happened, client: str | None
    ) -> Visitor:
        """Apply what `happened` to the visitor, in one operation on the store. Returns the new visitor.

        Raises LimitedError if the visitor is not stored yet and too many are new, and the store's errors.
        """
        now = self._clock.now()
        fold = self._fold(site, known, happened, client, now)
        return await self._visits.update(site.name, known.visitor, fold, now)

    def update_at_once(
        self, site: SiteRuntime, known: Known, happened: Happened, client: str | None, now: float
    ) -> Visitor | None:
        """The same without waiting. Returns None, and does nothing, if it would have to wait."""
        fold = self._fold(site, known, happened, client, now)
        return self._visits.update_at_once(site.name, known.visitor, fold, now)

    def _fold(
        self, site: SiteRuntime, known: Known, happened: Happened, client: str | None, now: float
    ) -> Fold:
        def fold(stored: Visitor | None) -> Visitor:
            if stored is None:
                self._limits.take("visitors", site.name, client)
            return changed(stored, known.visitor, [known.restored, *happened(stored)], now)

        return fold
