"""All limits on what anonymous clients can make clew store, compute or hold open.

A visitor id, a cookie or a login name is free to create, so every limit counts by client network, by site and
in total. There are two kinds: a rate (a number per period, which can be used up at once), and a number of
things held open at the same time. docs/operations.md#limits describes each limit and what happens over it.

A rate is a GCRA (the continuous-state leaky bucket of ITU-T I.371): one number per key, the time at which the
bucket will be empty. The keys share two rows of cells, selected by a secret hash, and a key counts as full
only if both of its cells are (a count-min sketch with conservative update). Memory is therefore constant and
nothing is evicted: nobody can displace a counter. Refused requests are not counted, so a flood cannot fill
more cells than the total limit allows.
"""

import math
import secrets
import time
from array import array
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from types import TracebackType
from typing import Protocol, Self

from ..settings import model

# The limits of `[limits]` in the settings: the period of each rate in seconds, and what is held open.
PERIODS: Mapping[str, float] = {
    "visitors": 60,
    "decides": 60,
    "events": 60,
    "browser_orders": 600,
    "reads": 60,
    "messages": 60,
    "typing": 60,
    "conversations": 600,
    "files": 86400,
    "coupons": 86400,
    "forms": 600,
    "cobrowsing": 60,
    "text": 86400,
    "logins": 3600,
    "tokens": 3600,
    "exports": 60,
    "webhooks": 60,
    "partner_pages": 60,
    "partner_links": 3600,
    "resends": 3600,
}
WATCHED = "clicks"  # what is counted, and refused to nobody
HELD = ("streams", "desk_streams", "uploads", "file_uploads", "websockets", "connections")

CELLS = 8192  # per row; both rows of a limit take 128 KB
# Retry-After for what is held open: when one of them will end is unknown.
HELD_WAIT = 30.0
# Maximum number of networks per limit that have proved that they know the secret.
PROVED = 1000
# Keys that other processes are told of at once.
SHARED = 4000
# A provider may give a customer a /48 instead of a /64 (RFC 6177): it counts too, as this many networks.
IPV6_BLOCK, IPV6_BLOCK_FACTOR = 48, 8

_NAT64 = ip_network("64:ff9b::/96")
_INNER = tuple(
    map(
        ip_network,
        (
            *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
            *("100.64.0.0/10", "::1/128", "fc00::/7", "fe80::/10"),
        ),
    )
)


Place = tuple[str, str, str]
"""A limit, a scope, and whom it counts for."""


class Refusals(Protocol):
    """Is called for each refusal."""

    def limited(self, site: str, limit: str, scope: str, client: str) -> None:
        """A request of `client` (a network, or empty) at `site` was over a limit."""


class LimitedError(Exception):
    """A request over a limit: it was refused by `scope` (client, site, all, or that of a caller's own key),
    and would be allowed after `wait` seconds."""

    def __init__(self, limit: str, scope: str, wait: float) -> None:
        super().__init__(f"limit {limit!r} by {scope}: try again in {math.ceil(wait)} s")
        self.limit = limit
        self.scope = scope
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` per `seconds`, which may be used up at once."""

    count: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Own:
    """An additional key of the caller, such as a visitor or a login name."""

    scope: str
    key: str
    rate: Rate


class _Cells:
    """Levels by key, in constant memory; see the module's docstring."""

    __slots__ = ("_first", "_second", "_seed")

    def __init__(self) -> None:
        self._seed = secrets.token_bytes(16)
        self._first, self._second = (array("d", bytes(8 * CELLS)) for _ in range(2))

    def find(self, key: str, now: float) -> tuple[tuple[int, int], float]:
        """The indexes of a key's two cells, and when its bucket will be empty; `now` if it is."""
        mixed = hash((self._seed, key))
        place = mixed % CELLS, (mixed >> 24) % CELLS
        return place, max(now, min(self._first[place[0]], self._second[place[1]]))

    def raise_to(self, place: tuple[int, int], level: float) -> None:
        first, second = place
        if self._first[first] < level:
            self._first[first] = level
        if self._second[second] < level:
            self._second[second] = level

    def lower_by(self, place: tuple[int, int], seconds: float) -> None:
        self._first[place[0]] -= seconds
        self._second[place[1]] -= seconds


class Hold:
    """Something held open until `release`, which may be called more than once, or until the `with` block
    ends."""

    __slots__ = ("_keys", "_limits")

    def __init__(self, limits: "Limits", keys: tuple[tuple[str, str, str], ...]) -> None:
        self._limits = limits
        self._keys = keys

    def release(self) -> None:
        """Free the place."""
        keys, self._keys = self._keys, ()
        self._limits._released(keys)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Limits:
    """The counters of one process. `clock` returns monotonic seconds. `SharedLimits` joins the rates with
    those of other processes."""

    def __init__(
        self, settings: model.Limits, refusals: Refusals, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._refusals = refusals
        self._clock = clock
        # By limit: the rates of a client by the factor of its network, of a site, and of all.
        self._rates: dict[str, tuple[dict[int, Rate], Rate, Rate]] = {}
        # By limit and scope.
        self._cells: defaultdict[tuple[str, str], _Cells] = defaultdict(_Cells)
        # By limit, scope and key: one for each thing that is open, at most; as many as are held over all.
        self._held: dict[tuple[str, str, str], int] = {}
        self._proved: dict[str, OrderedDict[str, None]] = {}
        # Seconds by limit, scope and key that were counted since the last `taken`; None if nobody asks.
        self._taken: dict[Place, float] | None = None

    def use(self, settings: model.Limits) -> None:
        """Use other limits from now on. The counters, and what is held, are kept."""
        self._settings = settings
        self._rates = {}

    # -- rates

    def take(
        self, limit: str, site: str, client: str | None, *, cost: float = 1, own: Own | None = None
    ) -> None:
        """Count one more of `limit`, or `cost` more. A refused request is not counted.

        `client` is the address found through `trusted_proxies`. If it is None (a peer without an address),
        only site and total are counted. Raises LimitedError for the narrowest scope that is full.
        """
        now, found = self._clock(), []
        keys = self._keys(limit, site, client, own)
        for scope, key, rate in keys:
            cells = self._cells[limit, scope]
            place, drained = cells.find(key, now)
            count, seconds = rate.count, rate.seconds
            after = drained + (min(count, cost)) * seconds / count
            wait = after - now - seconds
            # Rounding errors must not refuse the last one of a burst.
            if wait > 1e-6 * seconds:
                raise self._refusal(limit, site, client, scope, wait)
            found.append((cells, place, after))
        for cells, place, after in found:
            cells.raise_to(place, after)
        if self._taken is not None:
            self._note(limit, keys, cost)

    def crowded(self, key: str, rate: Rate) -> bool:
        """Count one more of a key that is only watched, and refuse nothing. Whether there are more of it than
        the rate allows."""
        now = self._clock()
        cells = self._cells[WATCHED, "own"]
        place, drained = cells.find(key, now)
        full = drained - now > rate.seconds * (1 - 1 / rate.count) + 1e-6 * rate.seconds
        if not full:
            cells.raise_to(place, drained + rate.seconds / rate.count)
            if self._taken is not None:
                self._note(WATCHED, [("own", key, rate)], 1)
        return full

    def until_free(self, key: str, rate: Rate) -> float:
        """After how many seconds one more of a key that is watched would not be `crowded`; 0 for now."""
        now = self._clock()
        drained = self._cells[WATCHED, "own"].find(key, now)[1]
        left = drained - now - rate.seconds * (1 - 1 / rate.count)
        return left if left > 1e-6 * rate.seconds else 0.0

    def give_back(self, limit: str, site: str, client: str | None, *, own: Own | None = None) -> None:
        """Undo one `take`, because the request turned out to be legitimate."""
        keys = self._keys(limit, site, client, own)
        for scope, key, rate in keys:
            cells = self._cells[limit, scope]
            cells.lower_by(cells.find(key, 0.0)[0], rate.seconds / rate.count)
        if self._taken is not None:
            self._note(limit, keys, -1)

    def share(self) -> None:
        """From now on keep for `taken` what is counted."""
        self._taken = {}

    def taken(self) -> dict[Place, float]:
        """What was counted since the last call, as seconds of each level, and no more of it."""
        taken, self._taken = self._taken or {}, {}
        return taken

    def learn(self, levels: Mapping[Place, float]) -> None:
        """After so many seconds each of these levels will have drained, with what other processes have
        counted; one that is higher here stays."""
        now = self._clock()
        for (limit, scope, key), left in levels.items():
            cells = self._cells[limit, scope]
            cells.raise_to(cells.find(key, now)[0], now + left)

    def _note(self, limit: str, keys: list[tuple[str, str, Rate]], cost: float) -> None:
        taken = self._taken
        assert taken is not None
        for scope, key, rate in keys:
            place = (limit, scope, key)
            # A flood of keys is refused by the limits over all, which are told of all the same.
            if place in taken or len(taken) < SHARED or scope in ("site", "all"):
                taken[place] = taken.get(place, 0.0) + min(rate.count, cost) * rate.seconds / rate.count

    def prove(self, limit: str, client: str | None) -> None:
        """The client knew the secret that `limit` protects: as long as the process runs, only its own
        network's counter applies to it."""
        network = network_of(client)
        if network is not None:
            proved = self._proved.setdefault(limit, OrderedDict())
            proved[network] = None
            proved.move_to_end(network)
            if len(proved) > PROVED:
                proved.popitem(last=False)

    def _keys(
        self, limit: str, site: str, client: str | None, own: Own | None
    ) -> list[tuple[str, str, Rate]]:
        by_factor, of_site, of_all = self._rates.get(limit) or self._make_rates(limit)
        networks = networks_of(client)
        keys = [("client", key, by_factor[factor]) for key, factor in networks]
        if networks and networks[0][0] in self._proved.get(limit, ()):
            return keys
        if own is not None:
            keys.append((own.scope, own.key, own.rate))
        keys += (("site", site, of_site), ("all", "", of_all))
        return keys

    def _make_rates(self, limit: str) -> tuple[dict[int, Rate], Rate, Rate]:
        bound, seconds = self._bound(limit), PERIODS[limit]
        of_client = {factor: Rate(bound.client * factor, seconds) for factor in (1, IPV6_BLOCK_FACTOR)}
        rates = self._rates[limit] = of_client, Rate(bound.site, seconds), Rate(bound.all, seconds)
        return rates

    # -- what is held open

    def hold(self, limit: str, site: str | None, client: str | None) -> Hold:
        """Hold one more of `limit` until it is released. `site` is None if the site is not known yet. Raises
        LimitedError."""
        keys = self._held_keys(limit, site, client)
        if (scope := self._full(limit, keys)) is not None:
            raise self._refusal(limit, site or "", client, scope, HELD_WAIT)
        held = tuple((limit, scope, key) for scope, key, _ in keys)
        for place in held:
            self._held[place] = self._held.get(place, 0) + 1
        return Hold(self, held)

    def full(self, limit: str, site: str | None, client: str | None) -> str | None:
        """The narrowest scope that would refuse one more of `limit`, or None. Reports nothing."""
        return self._full(limit, self._held_keys(limit, site, client))

    def _held_keys(self, limit: str, site: str | None, client: str | None) -> list[tuple[str, str, float]]:
        bound = self._bound(limit)
        keys: list[tuple[str, str, float]] = [
            ("client", key, bound.client * factor) for key, factor in networks_of(client)
        ]
        if site is not None:
            keys.append(("site", site, bound.site))
        return [*keys, ("all", "", bound.all)]

    def _full(self, limit: str, keys: list[tuple[str, str, float]]) -> str | None:
        return next(
            (scope for scope, key, most in keys if self._held.get((limit, scope, key), 0) >= most), None
        )

    def held(self, limit: str) -> int:
        """How many of `limit` are held now, in total."""
        return self._held.get((limit, "all", ""), 0)

    def _released(self, keys: tuple[tuple[str, str, str], ...]) -> None:
        for place in keys:
            self._held[place] -= 1
            if not self._held[place]:
                del self._held[place]

    # -- both

    def _bound(self, limit: str) -> model.Bound:
        bound = getattr(self._settings, limit)
        assert isinstance(bound, model.Bound)
        return bound

    def _refusal(self, limit: str, site: str, client: str | None, scope: str, wait: float) -> LimitedError:
        self._refusals.limited(site, limit, scope, network_of(client) or "")
        return LimitedError(limit, scope, wait)


def network_of(client: str | None) -> str | None:
    """The network that counts as one client: an IPv4 address, or an IPv6 address's /64; None for none."""
    return next((key for key, _ in networks_of(client)), None)


def parts_of(client: str | None, name: str, rate: Rate) -> list[tuple[str, Rate]]:
    """What one more of a client counts for where its network may have this part of a whole: the network, and
    twice the part for the block of an IPv6 network, which may have 65,536 of them. Keys and rates for
    `Limits.crowded`."""
    keys = enumerate(networks_of(client), 1)
    return [(f"{name} {key}", Rate(rate.count * times, rate.seconds)) for times, (key, _) in keys]


@lru_cache(maxsize=4096)
def is_of_clients(network: str) -> bool:
    """Whether a network is of clients: a loopback or private address is that of a proxy which is not in
    `trusted_proxies`, and of everybody behind it."""
    try:
        address = ip_address(network.partition("/")[0])
    except ValueError:
        return False
    return not any(address in inner for inner in _INNER)


def networks_of(client: str | None) -> tuple[tuple[str, int], ...]:
    """The keys of a client's address, each with the factor for its limits: its network, and for IPv6 also the
    block that the network is probably part of. Any other text is its own key."""
    return () if client is None else _networks_of(client[:64])


@lru_cache(maxsize=4096)
def _networks_of(client: str) -> tuple[tuple[str, int], ...]:
    try:
        address = _real(ip_address(client.partition("%")[0]))
    except ValueError:
        return ((client, 1),)
    if isinstance(address, IPv4Address):
        return ((str(address), 1),)
    return (_block(address, 64), 1), (_block(address, IPV6_BLOCK), IPV6_BLOCK_FACTOR)


def _real(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one stands for: mapped, 6to4 (RFC 3056), translated (RFC 6052)."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _block(address: IPv6Address, length: int) -> str:
    rest = 128 - length
    return f"{IPv6Address(int(address) >> rest << rest)}/{length}"
