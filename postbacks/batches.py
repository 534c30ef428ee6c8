"""Which postbacks go out in a round: several to one network in one call where it takes that, and only as many
calls a minute as it takes from one account."""

import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from hashlib import sha256

from ..referral.calls import CallEntry
from ..referral.catalogue import Network
from ..settings.model import Partner
from .model import Postback, Waiting
from .network_call import PURPOSE, chosen
from .pace import Room

REPORTS = 100  # in one call at most, whatever a network takes: all are rendered at once, in the loop
_MINUTE = 60.0
_PLACEHOLDER = re.compile(r"\{([a-z0-9_]+)\}")


class Minutes:
    """The calls to each account in the last minute. `clock` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._calls: dict[str, deque[float]] = {}

    def take(self, account: str, limit: int) -> float:
        """Count a call to an account. Returns 0, or the seconds until one is free if there is none."""
        now, calls = self._clock(), self._calls.setdefault(account, deque())
        while calls and calls[0] <= now - _MINUTE:
            calls.popleft()
        if len(calls) >= limit:
            return calls[0] + _MINUTE - now
        calls.append(now)
        return 0.0

    def give_back(self, account: str) -> None:
        """The last call was not made."""
        if calls := self._calls.get(account):
            calls.pop()


class Batches:
    """Chooses rows for a round, and puts those together that one call carries.

    `lookup` returns a row's partner and its network. Rows that a network refused together are sent alone.
    """

    def __init__(
        self,
        lookup: Callable[[str, str], tuple[Partner, Network | None] | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lookup = lookup
        self._minutes = Minutes(clock)
        self._alone: set[str] = set()
        # Of one round: settings may change between two.
        self._entries: dict[tuple[str, str, str], tuple[Partner, CallEntry] | None] = {}
        # Whether a row of a round before could have gone out with others.
        self.several = False
        # Seconds until an account takes a call that had to wait; None: none had to.
        self.wait: float | None = None

    def choose(
        self, waiting: Sequence[Waiting], room: Room, destination: Callable[[str, str], str]
    ) -> list[str]:
        """The ids of the rows that go out now, or as soon as a call to their destination ends."""
        self.wait = None
        self._entries.clear()
        chosen_ids: list[str] = []
        open_calls: dict[tuple[str, str, str], int] = {}
        closed: set[tuple[str, str, str]] = set()
        for row in waiting:
            key = (row.site, row.partner, row.event)
            if key in closed:
                continue
            joins = row.id not in self._alone
            if joins and open_calls.get(key, 0) > 0:
                open_calls[key] -= 1
                chosen_ids.append(row.id)
                continue
            found = self._entry(*key)
            entry = None if found is None else found[1]
            self.several = self.several or size_of(entry) > 1
            place, limited = (
                destination(row.site, row.partner),
                entry is not None and entry.per_minute is not None,
            )
            # A call that is limited by the minute counts from when it is chosen.
            if not (room.take(place) or (not limited and room.take_ahead(place))):
                closed.add(key)
                continue
            if found is not None and entry is not None and entry.per_minute is not None:
                seconds = self._minutes.take(account_of(found[0], entry), entry.per_minute)
                if seconds:
                    self.wait = seconds if self.wait is None else min(self.wait, seconds)
                    closed.add(key)
                    continue
            chosen_ids.append(row.id)
            if joins:
                open_calls[key] = size_of(entry) - 1
        return chosen_ids

    def together(self, claimed: Sequence[Postback]) -> list[tuple[Postback, ...]]:
        """The claimed rows by call, in their order."""
        calls: list[list[Postback]] = []
        open_calls: dict[tuple[str, str, str], list[Postback]] = {}
        for row in claimed:
            key = (row.site, row.partner, row.event)
            found = self._entry(*key)
            size = size_of(None if found is None else found[1])
            if size == 1 or row.id in self._alone:
                calls.append([row])
                continue
            call = open_calls.get(key)
            if call is None or len(call) >= size or any(one.order == row.order for one in call):
                call = open_calls[key] = []
                calls.append(call)
            call.append(row)
        return [tuple(call) for call in calls]

    def part(self, rows: Sequence[Postback]) -> None:
        """Send these alone from now on: together they could not be sent."""
        self._alone |= {row.id for row in rows}

    def unused(self, row: Postback) -> None:
        """The call that was chosen with this row was not made."""
        found = self._entry(row.site, row.partner, row.event)
        if found is not None and found[1].per_minute is not None:
            self._minutes.give_back(account_of(*found))

    def settled(self, row: Postback) -> None:
        """The row needs no more care."""
        self._alone.discard(row.id)

    def _entry(self, site: str, partner: str, event: str) -> tuple[Partner, CallEntry] | None:
        key = (site, partner, event)
        if key not in self._entries:
            self._entries[key] = self._chosen(*key)
        return self._entries[key]

    def _chosen(self, site: str, partner: str, event: str) -> tuple[Partner, CallEntry] | None:
        found = self._lookup(site, partner)
        if found is None or found[1] is None or event not in PURPOSE:
            return None
        entry = chosen(found[0], found[1], PURPOSE[event])
        return None if entry is None else (found[0], entry)


def size_of(entry: CallEntry | None) -> int:
    """How many reports one call carries."""
    return 1 if entry is None else min(entry.batch, REPORTS)


def account_of(partner: Partner, entry: CallEntry) -> str:
    """The account that a call goes to: the same for all partners with these credentials."""
    oauth = () if entry.oauth is None else (entry.oauth.client,)
    templates = (entry.url, *entry.headers.values(), *(entry.basic or ()), *oauth)
    keys = sorted({key for template in templates for key in _PLACEHOLDER.findall(template)})
    values = [str(partner.plain_settings.get(key, "")) for key in keys]
    return sha256("\0".join((str(partner.network), str(partner.endpoint), *values)).encode()).hexdigest()
