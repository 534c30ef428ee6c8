"""The host names of visitors' addresses, by reverse DNS: asked in threads of their own, and remembered.

Whoever has an address may have it called anything, so a name counts only if it leads back to the address
(forward-confirmed reverse DNS, RFC 8499 §8). A decision waits a quarter of a second for it at most.
"""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Final

from ..events.events import Events
from .clock import Clock
from .limits import Limits, Rate, parts_of

KEPT: Final = 10_000
"""Addresses whose names a process remembers."""
KEPT_SECONDS: Final = 3600.0
FAILED_SECONDS: Final = 600.0
"""For how long it is remembered that an address has no name, or that none was told."""
AT_ONCE: Final = 4
"""Questions at a time: the system's resolver may take half a minute for one."""
WAITING: Final = 40
OF_CLIENT: Final = Rate(20, 600.0)
"""Addresses of one client network that are asked for: an IPv6 network has more than can be counted."""
LENGTH: Final = 253
"""Characters of a name (RFC 1035 §3.1)."""

Resolve = Callable[[str], str | None]


def confirmed_name(address: str) -> str | None:
    """The name of an address, in lower case, that leads back to it; None if there is none. It blocks."""
    try:
        name = socket.gethostbyaddr(address)[0]
        found = {info[4][0] for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return None
    wanted = ip_address(address)
    if not any(ip_address(str(one).partition("%")[0]) == wanted for one in found):
        return None
    name = name.rstrip(".").lower()
    return name if 0 < len(name) <= LENGTH and name.isascii() else None


class HostNames:
    """Asks for the names."""

    def __init__(
        self, events: Events, clock: Clock, limits: Limits, resolve: Resolve = confirmed_name
    ) -> None:
        self._events = events
        self._clock = clock
        self._limits = limits
        self._resolve = resolve
        self._threads: ThreadPoolExecutor | None = None
        self._names: OrderedDict[str, tuple[float, str | None]] = OrderedDict()
        self._running: dict[str, asyncio.Future[str | None]] = {}

    def known(self, site: str, address: str | None) -> "str | asyncio.Future[str | None] | None":
        """The name of an address, None if there is none; what it can be waited for with if it is being asked
        for. The event `fact_failed` tells where it is not asked for."""
        if address is None:
            return None
        try:
            address = str(ip_address(address.partition("%")[0]))
        except ValueError:
            return None
        held = self._names.get(address)
        if held is not None and held[0] > self._clock.monotonic():
            return held[1]
        if (running := self._running.get(address)) is not None:
            return running
        if len(self._running) >= WAITING:
            why = f"{WAITING} questions wait for the system's resolver: is it too slow?"
            self._events.notice(
                "fact_failed", site=site, key="place.hostname", fact="place.hostname", why=why
            )
            return None
        if sum(self._limits.crowded(*one) for one in parts_of(address, "host names", OF_CLIENT)):
            return None
        return self._ask(address)

    def _ask(self, address: str) -> "asyncio.Future[str | None]":
        if self._threads is None:
            self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="host-names")
        asked = asyncio.get_running_loop().run_in_executor(self._threads, self._resolve, address)
        self._running[address] = asked
        asked.add_done_callback(lambda done: self._keep(address, done))
        return asked

    def _keep(self, address: str, done: "asyncio.Future[str | None]") -> None:
        self._running.pop(address, None)
        name = None if done.cancelled() or done.exception() is not None else done.result()
        seconds = FAILED_SECONDS if name is None else KEPT_SECONDS
        self._names.pop(address, None)
        self._names[address] = self._clock.monotonic() + seconds, name
        while len(self._names) > KEPT:
            self._names.popitem(last=False)

    def close(self) -> None:
        """Ask for nothing more; what is being asked is not waited for."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
