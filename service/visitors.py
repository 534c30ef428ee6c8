"""Who is stored: a visitor whose cookie has come back, its second sign of life.

A landing or a `decide` without our cookie leaves nothing here: what it brought is in the cookie that its
answer sets, sealed, and a browser that does not send that back would never be found again.
"""

from collections.abc import Sequence

from ..referral.cookie import Known
from ..referral.visitor import Change, Visitor
from ..stores.visits import Visits
from .clock import Clock
from .limits import Limits
from .site import SiteRuntime


class Visitors:
    """Folds what happened into the stored visitors, new ones within their limit."""

    def __init__(self, visits: Visits, limits: Limits, clock: Clock) -> None:
        self._visits = visits
        self._limits = limits
        self._clock = clock

    async def remember(
        self,
        site: SiteRuntime,
        known: Known,
        changes: Sequence[Change],
        client: str | None,
        stored: Visitor | None = None,
    ) -> Visitor:
        """Fold changes into the visitor; `stored` is what the store said of it, if it was asked.

        Raises LimitedError where it would be new to the store and too many are, and what the store raises.
        """
        if stored is None and await self._visits.get(site.name, known.visitor) is None:
            self._limits.take("visitors", site.name, client)
        now = self._clock.now()
        return await self._visits.change(site.name, known.visitor, [known.restored, *changes], now)
