"""Opening a connection to a shop: over TCP, TLS or a unix socket."""

import asyncio
import ssl
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from .faults import ConnectError, UpstreamTimeoutError

P = TypeVar("P", bound=asyncio.BaseProtocol)


class Dial:
    """Opens connections to the one `address` it was made for: `http://…`, `https://…` or `unix:/path`.

    `timeout` is the time for a connection to stand, its TLS included, in seconds. `authority` is the Host of
    requests that have none.
    """

    def __init__(self, address: str, timeout: float) -> None:
        parts = urlsplit(address)
        self._path = parts.path if parts.scheme == "unix" else None
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = parts.scheme == "https"
        self._context: ssl.SSLContext | None = None
        self._timeout = timeout
        self.authority = parts.netloc.encode("latin-1") or b"localhost"

    async def open(self, protocol: Callable[[], P]) -> P:
        """A protocol made by `protocol`, connected. Raises ConnectError and UpstreamTimeoutError."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                if self._path is not None:
                    _, opened = await loop.create_unix_connection(protocol, self._path)
                elif self._tls:
                    _, opened = await loop.create_connection(
                        protocol, self._host, self._port, ssl=self._tls_context(), server_hostname=self._host
                    )
                else:
                    _, opened = await loop.create_connection(protocol, self._host, self._port)
        except TimeoutError:
            raise UpstreamTimeoutError(f"no connection within {self._timeout:g} s") from None
        except (OSError, UnicodeError) as error:
            raise ConnectError(f"no connection: {error}") from error
        return opened

    def _tls_context(self) -> ssl.SSLContext:
        """Verified against the system's authorities, or those of SSL_CERT_FILE."""
        if self._context is None:
            self._context = ssl.create_default_context()
            self._context.set_alpn_protocols(["http/1.1"])
        return self._context
