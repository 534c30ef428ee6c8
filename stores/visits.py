"""The visit store: what is known of each visitor, for comfort rather than for money.

All engines raise the errors of this module, whatever their drivers raise.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ..referral.visitor import Change, Visitor
from .shared import PassesSigns

# At most, of one question.
SEEN_AT_ONCE = 100
FOUND_AT_ONCE = 20
# The tables that an SQL engine makes for it; it may share a database with the ledger.
TABLES = frozenset({"visits", "leases", "marks", "levels", "signs", "pages"})


class VisitsError(Exception):
    """The visit store cannot be used; the text says why and what to do."""


class VisitsBusyError(VisitsError):
    """Somebody else holds what would be changed: it may be tried again."""


class VisitsUnavailableError(VisitsError):
    """The store does not answer, or takes nothing now."""

    away = "visits_down"


class VisitsRefusedError(VisitsUnavailableError):
    """The store refuses us, or is another one than the setting says: a person has to mend that."""


Fold = Callable[[Visitor | None], Visitor]


class Visits(PassesSigns, Protocol):
    """Where visitors are kept. A change reads, folds the changes in, and writes. Each method but `close`
    raises VisitsError where the store fails."""

    async def open(self) -> None:
        """Make ready. Raises VisitsError if the place cannot be used."""

    async def close(self) -> None:
        """Let go."""

    async def get(self, site: str, visitor: str) -> Visitor | None:
        """What is known, or None."""

    async def seen_at(self, site: str, visitors: Sequence[str]) -> Mapping[str, float]:
        """When each of some visitors was last seen; of at most 100, without those that are not known."""

    async def ending(self, site: str, letters: str) -> Sequence[str]:
        """The ids of visitors that end in these letters, last seen first; at most 20."""

    async def update(self, site: str, visitor: str, fold: Fold, now: float) -> Visitor:
        """Read, put what `fold` makes of it in its place, and return that; one operation on the store.

        `fold` gets None where the visitor is not known. What it raises is raised, and nothing is written. It
        has no effects of its own: where another process came between, it may be called again.
        """

    def update_at_once(self, site: str, visitor: str, fold: Fold, now: float) -> Visitor | None:
        """The same where nothing has to be waited for; None, and nothing is done, where it has."""

    async def change(self, site: str, visitor: str, changes: Sequence[Change], now: float) -> Visitor:
        """Fold `changes` into the visitor, which is made if it is not known, and return it."""

    async def forget(self, site: str, visitor: str) -> None:
        """Delete what is known of a visitor."""

    async def put_page(self, site: str, visitor: str, page: bytes | None, now: float, seconds: float) -> None:
        """Keep the copy of the page that a visitor shows its agent, for so long, in place of the one before;
        None only deletes that. Who is forgotten has none any more."""

    async def page(self, site: str, visitor: str, now: float) -> bytes | None:
        """The copy, or None."""

    async def noted_up_to(self) -> int | None:
        """The id of the last message in the ledger that visitors' records tell of; None in a new store."""

    async def set_noted_up_to(self, message: int) -> None:
        """Keep it."""

    async def prune(self, now: float) -> int:
        """Forget the visitors whose time is over; how many. 0 if another process has just done it."""

    async def probe(self) -> None:
        """Try what a change needs, and change nothing."""
