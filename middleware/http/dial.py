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

# An address that has not answered after this many seconds has the next one tried beside it (RFC 8305 §5): a
# dead one costs a quarter of a second, not the whole time for connecting.
NEXT_ADDRESS_AFTER = 0.25
# For this many seconds the last known state of the shop answers `reachable`.
KNOWN_FOR = 10.0


class Dial:
    """Opens connections to the one `address` it was made for: `http://…`, `https://…` or `unix:/path`.

    `timeout` is the time for a connection to stand, its TLS included, in seconds. `name` is the host that a
    TLS shop is asked for (SNI) and has to have a certificate for; None: that of the address. `authority` is
    the Host of requests that have none.

    A name is resolved anew for each connection; what is kept of it for how long is the system's resolver's
    business (RFC 1035 TTLs). Its addresses are tried in the resolver's order, the families in turn, and the
    first connection that stands is taken.
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
        self._told: tuple[float, bool] | None = None
        self._asking: asyncio.Task[None] | None = None
        self.authority = parts.netloc.encode("latin-1") or b"localhost"

    async def open(self, protocol: Callable[[], P]) -> P:
        """A protocol made by `protocol`, connected. Raises ConnectError and UpstreamTimeoutError."""
        time = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(self._timeout):
                opened = await self._open(protocol)
        except TimeoutError:
            self._told = time(), False
            raise UpstreamTimeoutError(f"no connection within {self._timeout:g} s") from None
        except (OSError, UnicodeError) as error:
            self._told = time(), False
            raise ConnectError(f"no connection: {error}") from error
        self._told = time(), True
        return opened

    async def reachable(self) -> bool:
        """Whether the last attempt to connect succeeded. If it is more than ten seconds old, or there was
        none, a connection is opened and closed again first, one for all concurrent callers."""
        loop = asyncio.get_running_loop()
        if self._told is None or loop.time() - self._told[0] > KNOWN_FOR:
            if self._asking is None or self._asking.done():
                self._asking = loop.create_task(self._ask())
            await asyncio.shield(self._asking)
        return self._told is not None and self._told[1]

    async def _ask(self) -> None:
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
    """Verified against the system's authorities, or those of the file `authorities` (SSL_CERT_FILE, which
    OpenSSL itself looks at). One for all shops: it holds them all, and takes milliseconds to make."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Nothing(asyncio.Protocol):
    """The protocol of a connection that is only opened to test the address."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]


def _in_turn(found: Sequence[tuple[Any, ...]]) -> list[str]:
    """The addresses in the resolver's order, the families in turn (RFC 8305 §4), each once."""
    families: dict[int, list[str]] = {}
    for family, *_, place in found:
        families.setdefault(family, []).append(place[0])
    turns = zip_longest(*families.values())
    return list(dict.fromkeys(address for turn in turns for address in turn if address is not None))


async def _first(attempts: Sequence[Attempt[P]]) -> tuple[asyncio.Transport, P]:
    """The first connection that succeeds; each attempt begins when the one before it has failed, or has been
    under way for NEXT_ADDRESS_AFTER. Raises what the last one to fail raised.

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
