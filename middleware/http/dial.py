"""Opens connections to a shop over TCP, TLS or a unix socket."""

import asyncio
import os
import ssl
from collections.abc import Callable, Coroutine, Sequence
from functools import lru_cache
from ipaddress import ip_address
from itertools import zip_longest
from socket import SOCK_STREAM
from typing import Any, TypeVar
from urllib.parse import urlsplit

from .faults import ConnectError, UpstreamError, UpstreamTimeoutError

P = TypeVar("P", bound=asyncio.BaseProtocol)
Attempt = Coroutine[Any, Any, tuple[asyncio.Transport, P]]

# After this many seconds without a connection the next address is tried in parallel (RFC 8305 §5): a dead
# address costs a quarter of a second, not the whole connect timeout.
NEXT_ADDRESS_AFTER = 0.25
# For this many seconds the last known state of the shop answers `reachable`.
KNOWN_FOR = 10.0


class Dial:
    """Opens connections to the one `address` it was made for: `http://…`, `https://…` or `unix:/path`.

    `timeout` limits the time to connect, TLS included, in seconds. `name` is the host for SNI and for the
    certificate of a TLS shop; None: the host of the address. `authority` is the Host of requests that have
    none.

    A name is resolved for each connection; caching is left to the system's resolver (RFC 1035 TTLs). Its
    addresses are tried in the resolver's order, alternating the families, and the first connection that
    succeeds is used.
    """

    def __init__(self, address: str, timeout: float, name: str | None = None) -> None:
        parts = urlsplit(address)
        self._path = parts.path if parts.scheme == "unix" else None
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._literal = _is_address(self._host)
        self._name = name or self._host
        self._tls = parts.scheme == "https"
        self._timeout = timeout
        self._last_attempt: tuple[float, bool] | None = None
        self._probe: asyncio.Task[None] | None = None
        self.authority = parts.netloc.encode("latin-1") or b"localhost"

    async def open(self, protocol: Callable[[], P]) -> P:
        """A protocol made by `protocol`, connected. Raises ConnectError and UpstreamTimeoutError."""
        time = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(self._timeout):
                opened = await self._open(protocol)
        except TimeoutError:
            self._last_attempt = time(), False
            raise UpstreamTimeoutError(f"no connection within {self._timeout:g} s") from None
        except (OSError, UnicodeError) as error:
            self._last_attempt = time(), False
            raise ConnectError(f"no connection: {error}") from error
        self._last_attempt = time(), True
        return opened

    async def reachable(self) -> bool:
        """Whether the last attempt to connect succeeded. If it is more than ten seconds old, or there was
        none, a connection is opened and closed again first, one for all concurrent callers."""
        loop = asyncio.get_running_loop()
        if self._last_attempt is None or loop.time() - self._last_attempt[0] > KNOWN_FOR:
            if self._probe is None or self._probe.done():
                self._probe = loop.create_task(self._test())
            await asyncio.shield(self._probe)
        return self._last_attempt is not None and self._last_attempt[1]

    async def _test(self) -> None:
        try:
            opened = await self.open(_Nothing)
        except UpstreamError:
            return
        opened.transport.abort()

    async def _open(self, protocol: Callable[[], P]) -> P:
        loop = asyncio.get_running_loop()
        if self._path is not None:
            _, opened = await loop.create_unix_connection(protocol, self._path)
            return opened
        if self._literal:
            _, opened = await self._connect(self._host, protocol)
            return opened
        found = await loop.getaddrinfo(self._host, self._port, type=SOCK_STREAM)
        _, opened = await _first([self._connect(address, protocol) for address in _in_turn(found)])
        return opened

    async def _connect(self, address: str, protocol: Callable[[], P]) -> tuple[asyncio.Transport, P]:
        context = _tls_context(os.environ.get("SSL_CERT_FILE")) if self._tls else None
        name = self._name if self._tls else None
        return await asyncio.get_running_loop().create_connection(
            protocol, address, self._port, ssl=context, server_hostname=name
        )


@lru_cache(maxsize=4)
def _tls_context(authorities: str | None) -> ssl.SSLContext:
    """A context that verifies against the system's authorities, or those of the file `authorities`
    (SSL_CERT_FILE, which OpenSSL itself reads). All shops share it: it takes milliseconds to create."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Nothing(asyncio.Protocol):
    """The protocol of a connection that is only opened to test the address."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]


def _in_turn(found: Sequence[tuple[Any, ...]]) -> list[str]:
    """The addresses in the resolver's order, alternating the families (RFC 8305 §4), without duplicates."""
    families: dict[int, list[str]] = {}
    for family, *_, place in found:
        families.setdefault(family, []).append(place[0])
    turns = zip_longest(*families.values())
    return list(dict.fromkeys(address for turn in turns for address in turn if address is not None))


async def _first(attempts: Sequence[Attempt[P]]) -> tuple[asyncio.Transport, P]:
    """The first connection that succeeds; each attempt begins when the one before it has failed or has
    run for NEXT_ADDRESS_AFTER. Raises the exception of the last attempt that failed.

    Each is a connection of the loop's own, not a socket that is handed to it: uvloop closes the descriptor of
    a socket that was handed over a second time if the other side hangs up at once.
    """
    waiting = list(reversed(attempts))
    running: set[asyncio.Task[tuple[asyncio.Transport, P]]] = set()
    winner: asyncio.Task[tuple[asyncio.Transport, P]] | None = None
    failed: BaseException = OSError("the name has no address")
    try:
        while winner is None and (waiting or running):
            if waiting:
                running.add(asyncio.create_task(waiting.pop()))
            done, running = await asyncio.wait(
                running, timeout=NEXT_ADDRESS_AFTER if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for attempt in done:
                if (error := attempt.exception()) is not None:
                    failed = error
                elif winner is None:
                    winner = attempt
                else:
                    running.add(attempt)
        if winner is None:
            raise failed
        return winner.result()
    finally:
        for attempt in running:
            attempt.cancel()
            attempt.add_done_callback(_give_up)
        for never_begun in waiting:
            never_begun.close()


def _give_up(attempt: "asyncio.Task[tuple[asyncio.Transport, P]]") -> None:
    """Close a connection that lost the race."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result()[0].abort()


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
