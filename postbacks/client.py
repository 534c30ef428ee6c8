"""Makes HTTP calls to partners, and records whether any byte of a call was sent.

It uses httpx2's transport, not its client: the client keeps cookies between calls, which would reveal to a
network that two orders belong to one visitor, and it logs whole URLs with their click ids.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self

import httpx2

from .call import Call, split_address
from .reach import allowed, refusal, written
from .verdict import Answered, NotSent, Result, Unanswered

BODY_LIMIT = 64 * 1024  # bytes of a response that are read
CONNECT_SECONDS = 10.0
ADDRESSES = 4  # of a host, to which a connection is attempted
# The event of the transport's documented "trace" extension that comes before the first byte of the request.
_BEFORE_FIRST_BYTE = "http11.send_request_headers.started"
# Raised for a URL or a header that is not valid in HTTP.
_UNSENDABLE = (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, UnicodeError)


@cache
def _certificates() -> ssl.SSLContext:
    """Those of the machine, for all clients of this process: to read them takes 30 ms."""
    return httpx2.create_ssl_context(trust_env=False)


@dataclass(slots=True)
class Progress:
    """Whether a call was sent. Read it after a call was cancelled."""

    sent: bool = False


class Client:
    """Makes calls, each on a new connection.

    A reused connection that the receiver closes at the same moment looks like a call without a response, and
    would make a postback's outcome unknown without need.
    """

    def __init__(self, timeout: float, connections: int) -> None:
        self._timeout = timeout
        self._transport = httpx2.AsyncHTTPTransport(
            verify=_certificates(),
            trust_env=False,
            limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=0),
        )

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    async def make(
        self,
        call: Call,
        before: Callable[[], Awaitable[None]],
        progress: Progress,
        seconds: float | None = None,
    ) -> Result:
        """Make the call. `before` runs when the connection is open and before the first byte is sent; if it
        raises, the call is not sent and the exception is raised here. `seconds` is the timeout of this
        call, if it has one of its own."""
        seconds = self._timeout if seconds is None else seconds

        async def trace(event: str, _info: Mapping[str, Any]) -> None:
            if event == _BEFORE_FIRST_BYTE:
                await before()
                progress.sent = True

        answer: Answered | None = None
        try:
            async with asyncio.timeout(seconds):
                response = await self._first_that_answers(call, trace, progress, seconds)
                progress.sent = True
                answer = Answered(response.status_code, retry_after=response.headers.get("retry-after"))
                try:
                    return await _read(response, answer)
                finally:
                    await response.aclose()
        except (TimeoutError, httpx2.TransportError, httpx2.InvalidURL, UnicodeError) as error:
            if answer is not None:
                return Answered(answer.status, complete=False, retry_after=answer.retry_after)
            return _failed(error, seconds, sent=progress.sent)

    async def _first_that_answers(
        self, call: Call, trace: Callable[..., Awaitable[None]], progress: Progress, seconds: float
    ) -> httpx2.Response:
        """The response from the first of the host's addresses that accepts a connection."""
        connect = min(seconds, CONNECT_SECONDS)
        async with asyncio.timeout(connect):
            targets = await _targets(call)
        for target in targets[:-1]:
            request = _request(call, target, trace, connect / len(targets))
            try:
                return await self._transport.handle_async_request(request)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                if progress.sent:
                    raise
        last = _request(call, targets[-1], trace, connect / len(targets))
        return await self._transport.handle_async_request(last)


async def _targets(call: Call) -> Sequence[str | None]:
    """The addresses to connect to; None stands for the host of the call's own URL.

    Raises httpx2.ConnectError if no address may be called.
    """
    origin, _ = split_address(call.url)
    url = httpx2.URL(origin)
    if call.allow_private:
        return [None]
    host = url.raw_host.decode("ascii")
    if (why := refusal(host)) is not None:
        raise httpx2.ConnectError(f"{why}; if that is meant, set allow_private = true")
    if (address := written(host)) is not None:
        return [str(address) if "localhost" not in host else None]
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        kept = allowed(host, [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found])
    except (OSError, ValueError) as error:
        raise httpx2.ConnectError(str(error)) from error
    return list(dict.fromkeys(map(str, kept)))[:ADDRESSES]


def _request(
    call: Call, dialled: str | None, trace: Callable[..., Awaitable[None]], connect: float
) -> httpx2.Request:
    """`dialled`: the address to connect to instead of resolving the host again."""
    origin, target = split_address(call.url)
    url = httpx2.URL(origin)
    headers = {
        "Host": url.netloc.decode("ascii"),
        "Accept": "*/*",
        # The success rule reads the body, uncompressed and bounded.
        "Accept-Encoding": "identity",
        "Connection": "close",
        "User-Agent": "clew",
        **call.headers,
    }
    extensions: dict[str, Any] = {
        # The target exactly as rendered: httpx2 would normalize some of its characters.
        "target": target.encode("ascii"),
        "timeout": {"connect": connect, "read": None, "write": None, "pool": None},
        "trace": trace,
    }
    if dialled is not None:
        # The certificate must be for the name, whatever address is connected to.
        extensions["sni_hostname"] = url.raw_host.decode("ascii")
        url = url.copy_with(host=dialled)
    content = call.body if call.body or call.method not in ("GET", "DELETE") else None
    return httpx2.Request(call.method, url, headers=headers, content=content, extensions=extensions)


async def _read(response: httpx2.Response, answer: Answered) -> Answered:
    body = bytearray()
    complete = True
    try:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > BODY_LIMIT:
                complete = False
                break
    except httpx2.TransportError:
        complete = False
    return Answered(answer.status, bytes(body[:BODY_LIMIT]), complete, answer.retry_after)


def _failed(error: Exception, timeout: float, *, sent: bool) -> Result:
    reason = str(error) or type(error).__name__
    if isinstance(error, _UNSENDABLE):
        return NotSent(f"the call cannot be sent: {reason}", for_good=True)
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        reason = f"no response within {timeout:g} s" if sent else "no connection in time"
    return Unanswered(reason) if sent else NotSent(reason)
