"""Undoes what an agent has just recorded, before a partner hears of it: a new entry in the order's history,
with who and why."""

from collections.abc import Callable, Sequence
from typing import Final

from ...events.events import Events
from ...orders.checks import checked_text
from ...orders.model import OrderError
from ...orders.sighting import Correction, Sighting, standing
from ...stores.ledger.books import Ledger
from ...stores.ledger.known import Known
from ...stores.visits import Visits
from ..clock import Clock
from ..site import SiteRuntime
from .book import Entry, OrderBook
from .correcting import WHY_LENGTH
from .crediting import SiteCrediting
from .notify import notify

WHY: Final = (
    "Wrong number or amount",
    "Recorded twice",
    "The customer has not ordered",
    "Another customer's order",
)
"""What the desk offers as reasons."""


class Undoing:
    """Undoes for all sites. `due` is called when the postbacks of an order have changed."""

    def __init__(
        self, ledger: Ledger, visits: Visits, events: Events, clock: Clock, due: Callable[[], None]
    ) -> None:
        self._ledger = ledger
        self._visits = visits
        self._events = events
        self._clock = clock
        self._due = due

    async def undo(self, site: SiteRuntime, number: str, key: str, *, by: str, why: str) -> Entry:
        """Undo the report of this key (`Sighting.key`). Raises OrderError if it cannot be undone any more,
        and the ledger's errors."""
        now, reason = self._clock.now(), checked_text(why, "why", WHY_LENGTH)

        def check(found: Sequence[Known]) -> None:
            reports = [stored.sighting for known in found for stored in known.sightings]
            own = [s for s in reports if s.key == key and s.undo_until is not None]
            if not own:
                raise OrderError(f"order {number}: there is no such entry")
            if not any(s in own for s in standing(reports)):
                raise OrderError(f"order {number}: it is undone already")
            if all((s.undo_until or 0.0) <= now for s in own):
                raise OrderError(
                    f"order {number}: the time to undo it is over; its correction is on the order's page"
                )

        undone = Sighting(
            site=site.name,
            source="agent",
            at=now,
            id=number,
            total=None,
            currency=None,
            state=None,
            agent=by,
            correction=Correction(by=by, why=reason, undoes=key),
        )
        terms = SiteCrediting(site, self._ledger, self._visits)
        entry = await OrderBook(self._ledger).add(undone, terms, now, check=check)
        self._due()
        notify(self._events, entry)
        fields = {"order": number, "agent": by, "why": reason}
        self._events.emit("order_undone", site=site.name, **fields)
        return entry
