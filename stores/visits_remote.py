"""What the visit stores on other machines have in common.

A fold runs here, not in the store: it is Python, and the same for every engine. So a change is a compare
and set. The record as this process last wrote it is kept in hand: most visitors come back to the same
process, and then one round trip folds and writes. Where another process came between, the store says what it
holds instead, and a second one does it.
"""

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ..referral.visitor import Change, Visitor, changed
from .locks import KeyedLocks
from .retries import pause
from .visits import Fold, VisitsBusyError, VisitsRefusedError, VisitsUnavailableError
from .visits_breaker import PROBE_SECONDS, Breaker, Told
from .visits_record import EXPIRY_STEP, keep_seconds, packed, unpacked

# Of the records in hand, in one process.
HELD_BYTES = 8 * 2**20
# How often a change is started again because another process has written.
TRIES = 100
# Visitors who are to be forgotten once the store answers again.
UNFORGOTTEN = 10_000

Place = tuple[str, str]
"""A site and a visitor."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as the store has it. `version` is another one after each change; `expires_at` is the time that
    the index has."""

    version: int
    expires_at: float
    data: bytes


class RemoteVisits(ABC):
    """A visit store behind a network; an engine says how one record is read and replaced."""

    def __init__(self, name: str, told: Told) -> None:
        self.breaker = Breaker(name, self._recover, told)
        # Visitors to forget when the store is back.
        self._unforgotten: dict[Place, None] = {}
        self._held = _Held(HELD_BYTES)
        # Who changes the same visitor in this process waits in line: those who come at once would else all
        # write in vain but one.
        self._turns = KeyedLocks[Place]()

    # -- what an engine does; each raises VisitsError, VisitsUnavailableError where nothing can be asked

    @abstractmethod
    async def _probe(self) -> None:
        """Try what a change needs, on a connection that is sound."""

    @abstractmethod
    async def _disconnect(self) -> None:
        """Close all connections."""

    @abstractmethod
    async def _fetch(self, place: Place) -> Stored | None:
        """What is stored, in one round trip."""

    @abstractmethod
    async def _replace(
        self, place: Place, old: Stored | None, new: Stored, found: Visitor, now: float
    ) -> tuple[bool, Stored | None]:
        """Store `new` if `old` is still there, in one round trip: whether it was; else what is there."""

    @abstractmethod
    async def _seen_at(self, site: str, visitors: Sequence[str]) -> Mapping[str, float]: ...

    @abstractmethod
    async def _forget(self, place: Place) -> None: ...

    @abstractmethod
    async def _put_page(self, place: Place, page: bytes | None, now: float, seconds: float) -> None: ...

    @abstractmethod
    async def _page(self, place: Place, now: float) -> bytes | None: ...

    @abstractmethod
    async def _noted_up_to(self) -> int | None: ...

    @abstractmethod
    async def _set_noted_up_to(self, message: int) -> None: ...

    async def _recover(self) -> None:
        await self._probe()
        for place in list(self._unforgotten):
            await self._forget(place)
            self._unforgotten.pop(place, None)

    # -- see `Visits`

    async def open(self) -> None:
        """Connect. A store that cannot be reached now is tried again later, and does not stop the start.
        Raises VisitsError for one that refuses us, or is none."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._probe()
        except VisitsRefusedError:
            await self._disconnect()
            raise
        except VisitsUnavailableError as error:
            self.breaker.trip(str(error))
        except TimeoutError:
            self.breaker.trip(f"{self.breaker.name} does not answer within {PROBE_SECONDS:g} s")

    async def look(self) -> None:
        """See whether `open` would succeed, and the store could be used now. Raises VisitsError:
        VisitsRefusedError where `open` would fail."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._look()
        except TimeoutError:
            raise VisitsUnavailableError(
                f"{self.breaker.name} does not answer within {PROBE_SECONDS:g} s"
            ) from None

    async def _look(self) -> None:
        await self._probe()

    async def close(self) -> None:
        """Let go."""
        await self.breaker.close()
        await self._disconnect()

    async def probe(self) -> None:
        """See `Visits.probe`."""
        await self.breaker.ask(self._probe)

    async def get(self, site: str, visitor: str) -> Visitor | None:
        """See `Visits.get`."""
        found = await self.breaker.ask(partial(self._fetch, (site, visitor)))
        return None if found is None else unpacked(found.data)

    async def seen_at(self, site: str, visitors: Sequence[str]) -> Mapping[str, float]:
        """See `Visits.seen_at`."""
        return await self.breaker.ask(partial(self._seen_at, site, visitors))

    @abstractmethod
    async def add_signs(self, signs: Sequence[bytes]) -> None:
        """See `PassesSigns`."""

    @abstractmethod
    async def signs_after(self, last: str | None) -> tuple[str, Sequence[bytes]]:
        """See `PassesSigns`."""

    @abstractmethod
    async def ending(self, site: str, letters: str) -> Sequence[str]:
        """See `Visits.ending`."""

    def update_at_once(self, site: str, visitor: str, fold: Fold, now: float) -> Visitor | None:
        """None: there is always something to wait for."""
        return None

    async def update(self, site: str, visitor: str, fold: Fold, now: float) -> Visitor:
        """See `Visits.update`."""
        place = (site, visitor)
        async with self._turns.of(place):
            return await self._update(place, fold, now)

    async def _update(self, place: Place, fold: Fold, now: float) -> Visitor:
        old = self._held.get(place)
        # What is in hand may be out of date: only what was just read or refused counts where a fold raises.
        sure = old is None
        if sure:
            old = await self.breaker.ask(partial(self._fetch, place))
        for tries in range(TRIES):
            if tries > 1:
                await pause(tries - 1)
            try:
                found = fold(None if old is None else unpacked(old.data))
            except Exception:
                if sure:
                    raise
                old, sure = await self.breaker.ask(partial(self._fetch, place)), True
                continue
            new = _made(old, found, now)
            done, old = await self.breaker.ask(partial(self._replace, place, old, new, found, now))
            if done:
                self._held.put(place, new)
                return found
            sure = True
        self._held.drop(place)
        raise VisitsBusyError(f"others changed one visitor {TRIES} times while it was to be changed")

    async def change(self, site: str, visitor: str, changes: Sequence[Change], now: float) -> Visitor:
        """See `Visits.change`."""
        return await self.update(site, visitor, lambda stored: changed(stored, visitor, changes, now), now)

    async def forget(self, site: str, visitor: str) -> None:
        """See `Visits.forget`."""
        self._held.drop((site, visitor))
        try:
            await self.breaker.ask(partial(self._forget, (site, visitor)))
        except VisitsUnavailableError:
            if len(self._unforgotten) < UNFORGOTTEN:
                self._unforgotten[site, visitor] = None
            raise

    async def put_page(self, site: str, visitor: str, page: bytes | None, now: float, seconds: float) -> None:
        """See `Visits.put_page`."""
        await self.breaker.ask(partial(self._put_page, (site, visitor), page, now, seconds))

    async def page(self, site: str, visitor: str, now: float) -> bytes | None:
        """See `Visits.page`."""
        return await self.breaker.ask(partial(self._page, (site, visitor), now))

    async def noted_up_to(self) -> int | None:
        """See `Visits.noted_up_to`."""
        return await self.breaker.ask(self._noted_up_to)

    async def set_noted_up_to(self, message: int) -> None:
        """See `Visits.set_noted_up_to`."""
        await self.breaker.ask(partial(self._set_noted_up_to, message))


def _made(old: Stored | None, found: Visitor, now: float) -> Stored:
    """The record that is to be stored."""
    expires_at = now + keep_seconds(found)
    if old is not None and abs(expires_at - old.expires_at) <= EXPIRY_STEP:
        expires_at = old.expires_at
    return Stored(secrets.randbits(62), expires_at, packed(found))


class _Held:
    """The records that were written last, in bounded memory."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0
        self._records: OrderedDict[Place, Stored] = OrderedDict()

    def get(self, place: Place) -> Stored | None:
        return self._records.get(place)

    def put(self, place: Place, stored: Stored) -> None:
        self.drop(place)
        self._records[place] = stored
        self._bytes += len(stored.data)
        while self._bytes > self._most:
            _, gone = self._records.popitem(last=False)
            self._bytes -= len(gone.data)

    def drop(self, place: Place) -> None:
        if (gone := self._records.pop(place, None)) is not None:
            self._bytes -= len(gone.data)
