"""Limits against abuse, counted in this process's memory: messages of a visitor, failed logins.

Each table has a bound; when it is full, the key that was used longest ago is forgotten.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address

from starlette.requests import Request

KEYS = 10_000
WINDOW_SECONDS = 60.0
FORGET_SECONDS = 3600.0


class SlidingWindow:
    """At most so many events of a key in any 60 seconds."""

    def __init__(self, keys: int = KEYS) -> None:
        self._keys = keys
        self._events: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        """The number of keys remembered."""
        return len(self._events)

    def wait(self, key: str, limit: int, now: float) -> float:
        """Count an event of `key`: 0.0, or the seconds to wait if there were `limit` already."""
        events = self._events.setdefault(key, deque())
        self._events.move_to_end(key)
        if len(self._events) > self._keys:
            self._events.popitem(last=False)
        while events and events[0] <= now - WINDOW_SECONDS:
            events.popleft()
        if len(events) >= limit:
            return events[0] + WINDOW_SECONDS - now
        events.append(now)
        return 0.0


@dataclass(slots=True)
class _Failures:
    count: int
    last: float


class GrowingWait:
    """After `free` failures of a key each next one doubles the wait, from one second up to `most` seconds."""

    def __init__(self, free: int, most: float, keys: int = KEYS) -> None:
        self._free = free
        self._most = most
        self._keys = keys
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def __len__(self) -> int:
        """The number of keys remembered."""
        return len(self._failures)

    def wait(self, key: str, now: float) -> float:
        """The seconds that `key` still has to wait; 0.0 if it may try."""
        known = self._failures.get(key)
        if known is None or now - known.last > FORGET_SECONDS or known.count < self._free:
            return 0.0
        # The exponent is bounded too: 2.0 ** 1100 is an error, and a key may fail for years.
        pause = min(self._most, 2.0 ** min(known.count - self._free, 30))
        return max(0.0, known.last + pause - now)

    def failed(self, key: str, now: float) -> None:
        """Count a failure. Counted before the password is checked, or many at once would all be free."""
        known = self._failures.get(key)
        if known is None or now - known.last > FORGET_SECONDS:
            known = self._failures[key] = _Failures(0, now)
        known.count += 1
        known.last = now
        self._failures.move_to_end(key)
        if len(self._failures) > self._keys:
            self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Forget the failures of `key`."""
        self._failures.pop(key, None)


@dataclass(frozen=True, slots=True)
class Limits:
    """The counters of one running desk.

    A name waits up to a minute, so that nobody can lock an agent out for long by failing in his name; an
    address, behind which a whole office may sit, has more free tries, and waits up to five minutes.
    """

    messages: SlidingWindow = field(default_factory=SlidingWindow)
    names: GrowingWait = field(default_factory=lambda: GrowingWait(free=4, most=60.0))
    addresses: GrowingWait = field(default_factory=lambda: GrowingWait(free=20, most=300.0))


def limits(request: Request) -> Limits:
    """The counters of the app that serves the request; they live in the app's state."""
    state = request.app.state
    found: Limits | None = getattr(state, "limits", None)
    if found is None:
        found = state.limits = Limits()
    return found


def address_key(client: str | None) -> str:
    """The key of a client address: an IPv6 subscriber has 2^64 of them, so his /64 counts as one."""
    if client is None:
        return ""
    try:
        address = ip_address(client.partition("%")[0])
    except ValueError:
        return client[:64]
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address)
