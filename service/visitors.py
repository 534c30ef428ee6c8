"""Who is stored: a visitor whose cookie has come back, its second sign of life.

A landing or a `decide` without our cookie leaves nothing here: what it brought is in the cookie that its
answer sets, sealed, and a browser that does not send that back would never be found again.
"""

from collections.abc import Callable, Sequence

from ..referral.cookie import Known
from ..referral.visitor import Change, Visitor, changed
from ..stores.visits import Fold, Visits
from .clock import Clock
from .limits import Limits
from .site import SiteRuntime

# What happened to a visitor, told by what is stored of it, if it is.
Happened = Callable[[Visitor | None], Sequence[Change]]


class Visitors:
    """Folds what happened into the stored visitors, new ones within their limit."""

    def __init__(self, visits: Visits, limits: Limits, clock: Clock) -> None:
        self._visits = visits
        self._limits = limits
        self._clock = clock

    async def remember(
        self, site: SiteRuntime, known: Known, changes: Sequence[Change], client: str | None
    ) -> Visitor:
        """Fold changes into the visitor. Raises what `update` raises."""
        return await self.update(site, known, lambda stored: changes, client)

    async def update(
        self, site: SiteRuntime, known: Known, happened: Happened, client: str | None
    ) -> Visitor:
        """Fold what `happened` into the visitor, in one operation on the store; the visitor as it is then.

        Raises LimitedError where it would be new to the store and too many are, and what the store raises.
        """
        now = self._clock.now()
        fold = self._fold(site, known, happened, client, now)
        return await self._visits.update(site.name, known.visitor, fold, now)

    def update_at_once(
        self, site: SiteRuntime, known: Known, happened: Happened, client: str | None, now: float
    ) -> Visitor | None:
        """The same where nothing has to be waited for; None, and nothing is done, where it has."""
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
