"""One HTTP call to a partner, so that it is always known whether a byte of it left.

It goes through httpx2's transport, not its client: the client keeps cookies from one call to the next, which
would tell a network that two orders are one visitor's, and logs whole addresses with their click ids.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self

import httpx2

from .call import Call, split_address
from .reach import allowed, refusal, written
from .verdict import Answered, NotSent, Result, Unanswered

BODY_LIMIT = 64 * 1024  # bytes of an answer that are read
CONNECT_SECONDS = 10.0
ADDRESSES = 4  # of a host that are tried
# The event of the transport's documented "trace" extension that comes before the first byte of the request.
_BEFORE_FIRST_BYTE = "http11.send_request_headers.started"
# Raised for an address or a header that no HTTP call can have.
_UNSENDABLE = (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, UnicodeError)


@dataclass(slots=True)
class Progress:
    """How far a call came; read it after a call that was cancelled."""

    sent: bool = False


class Client:
    """Makes calls, each on a connection of its own.

    A kept connection that the receiver closes at the same moment looks like a call without an answer, and
    would make an order's outcome unknown for nothing.
    """

    def __init__(self, timeout: float, connections: int) -> None:
        self._timeout = timeout
        self._transport = httpx2.AsyncHTTPTransport(
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

    async def make(self, call: Call, before: Callable[[], Awaitable[None]], progress: Progress) -> Result:
        """Make the call. `before` runs when the connection stands and not a byte of the call has left; what
        it raises stops the call and comes out of here."""

        async def trace(event: str, _info: Mapping[str, Any]) -> None:
            if event == _BEFORE_FIRST_BYTE:
                await before()
                progress.sent = True

        answer: Answered | None = None
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._first_that_answers(call, trace, progress)
                progress.sent = True
                answer = Answered(response.status_code, retry_after=response.headers.get("retry-after"))
                try:
                    return await _read(response, answer)
                finally:
                    await response.aclose()
        except (TimeoutError, httpx2.TransportError, httpx2.InvalidURL, UnicodeError) as error:
            if answer is not None:
                return Answered(answer.status, complete=False, retry_after=answer.retry_after)
            return _failed(error, self._timeout, sent=progress.sent)

    async def _first_that_answers(
        self, call: Call, trace: Callable[..., Awaitable[None]], progress: Progress
    ) -> httpx2.Response:
        """The answer of the first of the host's addresses that a connection can be made to."""
        connect = min(self._timeout, CONNECT_SECONDS)
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
    """The addresses to call, as they are to be dialled; None: as the call's own address has it.

    Raises httpx2.ConnectError where there is none that may be called.
    """
    origin, _ = split_address(call.url)
    url = httpx2.URL(origin)
    if call.allow_private:
        return [None]
    host = url.raw_host.decode("ascii")
    if (why := refusal(host)) is not None:
        raise httpx2.ConnectError(f"{why}; if that is meant, set allow_private = true for this partner")
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
    """`dialled`: the address to connect to instead of looking the host up again."""
    origin, target = split_address(call.url)
    url = httpx2.URL(origin)
    headers = {
        "Host": url.netloc.decode("ascii"),
        "Accept": "*/*",
        # The rule that reads the body wants it as it is, and bounded.
        "Accept-Encoding": "identity",
        "Connection": "close",
        "User-Agent": "clew",
        **call.headers,
    }
    extensions: dict[str, Any] = {
        # The target as the template gives it: httpx2 would put some of its characters into another form.
        "target": target.encode("ascii"),
        "timeout": {"connect": connect, "read": None, "write": None, "pool": None},
        "trace": trace,
    }
    if dialled is not None:
        # The certificate has to be for the name, whatever address is dialled.
        extensions["sni_hostname"] = url.raw_host.decode("ascii")
        url = url.copy_with(host=dialled)
    content = call.body if call.method == "POST" else None
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
        return NotSent(f"the call cannot be made: {reason}", for_good=True)
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        reason = f"no answer within {timeout:g} s" if sent else "no connection in time"
    return Unanswered(reason) if sent else NotSent(reason)
