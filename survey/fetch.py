"""Fetches a few pages of a shop, with limits. The only module of this room with I/O.

Redirects are followed inside the shop only: between the names with and without `www.`, and from http to
https.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self
from urllib.parse import urljoin, urlsplit
from urllib.robotparser import RobotFileParser

import httpx2

from ..injector.codings import CodingError, coding_of, decoder
from ..injector.heads import Headers
from .words import shown

AGENT: Final = "clew-inspect"
HOPS: Final = 10
PAGE: Final = 1 << 20
"""Maximum size of a page that is read, decoded; the product pages of 25 shops have 240 KB on average."""

_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
_ROBOTS: Final = 500 * 1024  # RFC 9309 §2.5
_LONGEST_PAUSE: Final = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds for one page and for all of them, and for a connection."""

    page: float = 20
    whole: float = 120
    connect: float = 10


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. `body` is decoded, up to `PAGE` bytes, and `whole` is whether that is all of it; `hops`
    are the URLs that redirected to `url`."""

    url: str
    status: int
    headers: Headers
    body: bytes = b""
    whole: bool = True
    hops: tuple[str, ...] = ()
    seconds: float = 0


class Unreachable(Exception):  # noqa: N818
    """A URL from which no page can be read: what is wrong, and what to do."""

    def __init__(self, url: str, what: str, hint: str) -> None:
        super().__init__(f"{shown(url)}: {what}")
        self.url, self.what, self.hint = url, what, hint


def address(text: str) -> str:
    """The URL for an address that a person typed. Raises ValueError that says what is wrong."""
    text = text.strip()
    if "://" not in text:
        host = text.split("/", 1)[0].rsplit(":", 1)[0]
        local = host == "localhost" or host.replace(".", "").isdigit()
        text = f"{'http' if local else 'https'}://{text}"
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError('write the shop\'s address, for example "https://shop.example"')
    if parts.username is not None or parts.password is not None:
        raise ValueError("omit user name and password: they would be written into the file")
    if parts.port == 0 or not parts.hostname.isprintable() or " " in parts.netloc:
        raise ValueError("not a valid host and port")
    return parts._replace(fragment="", path=parts.path or "/").geturl()


def same_shop(one: str, other: str) -> bool:
    """Whether two URLs belong to one shop: a leading `www.` may differ, and so may scheme and port as in a
    redirect from http to https."""
    try:
        a, b = urlsplit(one), urlsplit(other)
        ports = {a.port, b.port}
    except ValueError:
        return False
    names = {(part.hostname or "").removeprefix("www.") for part in (a, b)}
    schemes = {a.scheme, b.scheme}
    alike = len(names) == 1 and names != {""} and schemes <= {"http", "https"}
    return alike and (len(ports) == 1 or (len(schemes) == 2 and ports <= {None, 80, 443}))


@dataclass(slots=True)
class Shop:
    """A shop to fetch pages from; an async context manager. If `robots` is false, its robots.txt is ignored.

    `via`: the origin to connect to instead of the host in the URLs, which is then sent as `Host`.
    """

    start: str
    limits: Limits = field(default_factory=Limits)
    robots: bool = True
    via: str | None = None
    _client: httpx2.AsyncClient = field(init=False)
    _rules: RobotFileParser | None = field(init=False, default=None)
    _until: float = field(init=False, default=0)

    async def __aenter__(self) -> Self:
        self._client = httpx2.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            timeout=httpx2.Timeout(self.limits.page, connect=self.limits.connect),
            headers={
                "User-Agent": f"Mozilla/5.0 (compatible; {AGENT}/1)",
                "Accept": "text/html,application/xhtml+xml,*/*;q=0.5",
                "Accept-Encoding": "gzip, deflate, br",
                "Sec-Fetch-Dest": "document",
                "Sec-Fetch-Mode": "navigate",
            },
        )
        self._until = time.monotonic() + self.limits.whole
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    @property
    def cookies(self) -> tuple[str, ...]:
        """Names of the cookies that the shop has set so far."""
        return tuple(dict.fromkeys(cookie.name for cookie in self._client.cookies.jar))

    async def ask_robots(self) -> None:
        """Read robots.txt, unless it is ignored. Without one all is allowed (RFC 9309 §2.3.1)."""
        if not self.robots:
            return
        try:
            answer = await self._follow(urljoin(self.start, "/robots.txt"), _ROBOTS)
        except Unreachable:
            return
        if answer.status == HTTPStatus.OK:
            self._rules = RobotFileParser()
            self._rules.parse(answer.body.decode("utf-8", "replace").splitlines())

    def allowed(self, url: str) -> bool:
        """Whether robots.txt allows programs to read a URL."""
        return self._rules is None or self._rules.can_fetch(AGENT, url)

    async def get(self, url: str) -> Answer:
        """The response for a URL, after redirects. Raises Unreachable."""
        if not same_shop(self.start, url):
            raise Unreachable(url, "belongs to another site", "only the shop's own pages are read")
        if not self.allowed(url):
            raise Unreachable(url, "robots.txt excludes programs", "use --ignore-robots if the shop is yours")
        pause = (self._rules.crawl_delay(AGENT) if self._rules else None) or 0
        await asyncio.sleep(min(float(pause), _LONGEST_PAUSE))
        return await self._follow(url, PAGE)

    async def _follow(self, url: str, most: int) -> Answer:
        began = time.monotonic()
        hops: list[str] = []
        seconds = min(self.limits.page, self._until - began)
        try:
            async with asyncio.timeout(seconds):
                while True:
                    answer = await self._once(url, most)
                    target = _target(answer)
                    if target is None:
                        taken = time.monotonic() - began
                        return Answer(
                            url, answer.status, answer.headers, answer.body, answer.whole, tuple(hops), taken
                        )
                    self._check_redirect(url, target, hops)
                    hops.append(url)
                    url = target
        except TimeoutError as error:
            raise Unreachable(
                url, f"did not respond within {max(seconds, 0):.0f} s", "check that the shop is running"
            ) from error

    def _check_redirect(self, url: str, target: str, hops: list[str]) -> None:
        if len(hops) == HOPS:
            what = f"redirects more than {HOPS} times"
            raise Unreachable(
                url, what, "open it in a browser without cookies: it is probably a redirect loop"
            )
        if not same_shop(self.start, target):
            other = shown(f"{urlsplit(target).scheme}://{urlsplit(target).netloc}/")
            raise Unreachable(
                url, f"redirects to another site, {other}", f"if that is the shop: inspect {other}"
            )
        if urlsplit(url).scheme == "https" and urlsplit(target).scheme == "http":
            hint = "let the shop redirect to https, or inspect its http:// address"
            raise Unreachable(url, "redirects from https to http", hint)

    async def _once(self, url: str, most: int) -> Answer:
        try:
            address, host_headers = self._address(url)
            async with self._client.stream("GET", address, headers=host_headers) as response:
                headers = [(name.lower(), value) for name, value in response.headers.raw]
                if response.status_code in _REDIRECTS and "location" in response.headers:
                    return Answer(url, response.status_code, headers)
                body, whole = await _body(response, headers, most)
                return Answer(url, response.status_code, headers, body, whole)
        except (httpx2.TransportError, httpx2.InvalidURL, UnicodeError) as error:
            raise _worded(url, error) from error

    def _address(self, url: str) -> tuple[str, dict[str, str]]:
        """The URL to connect to, and headers with the host of the requested URL."""
        if self.via is None:
            return url, {}
        parts, via = urlsplit(url), urlsplit(self.via)
        target = parts._replace(scheme=via.scheme, netloc=via.netloc).geturl()
        return target, {"Host": parts.netloc, "X-Forwarded-Proto": parts.scheme}


async def _body(response: httpx2.Response, headers: Headers, most: int) -> tuple[bytes, bool]:
    """The decoded body, at most `most` bytes, and whether that is all of it. An unknown coding gives no
    bytes, and decoding stops at a decompression bomb."""
    coding = coding_of(headers)
    if coding is None:
        return b"", False
    stream = None if coding == "identity" else decoder(coding)
    found: list[bytes] = []
    length = taken = 0
    async for chunk in response.aiter_raw():
        taken += len(chunk)
        try:
            for piece in stream.decode(chunk) if stream else (chunk,):
                found.append(piece[: most - length])
                length += len(found[-1])
                if length == most:
                    return b"".join(found), False
        except CodingError:
            return b"".join(found), False
        if taken >= most:
            return b"".join(found), False
    return b"".join(found), stream is None or stream.complete


def _target(answer: Answer) -> str | None:
    if answer.status not in _REDIRECTS:
        return None
    for name, value in answer.headers:
        if name == b"location":
            try:
                return urljoin(answer.url, value.decode("utf-8", "replace"))
            except ValueError:
                return None
    return None


# Exception → what is wrong, and what to do.
_CAUSES: Final[tuple[tuple[type[BaseException], str, str], ...]] = (
    (socket.gaierror, "host not found", "check the spelling of the name"),
    (
        ssl.SSLCertVerificationError,
        "its TLS certificate is not valid",
        "renew the certificate, or inspect the shop's own http:// address",
    ),
    (ssl.SSLError, "does not accept TLS", "try its http:// address"),
    (ConnectionRefusedError, "connection refused", "start the shop, or correct the port"),
    (
        httpx2.ConnectTimeout,
        "connection timed out",
        "check that the shop is running and accepts your address",
    ),
    (httpx2.TimeoutException, "did not respond in time", "check that the shop is running"),
    (httpx2.ConnectError, "cannot be reached", "check that the shop is running and accepts your address"),
    (httpx2.RemoteProtocolError, "does not respond with HTTP", "check the port"),
    (httpx2.UnsupportedProtocol, "is not a web address", "write http:// or https://"),
    (httpx2.TransportError, "closed the connection", "try again"),
    (Exception, "is not a valid URL", "correct it"),
)


def _worded(url: str, error: BaseException) -> Unreachable:
    chain = list(_chain(error))
    for kind, what, hint in _CAUSES:
        found = next((e for e in chain if isinstance(e, kind)), None)
        if found is not None:
            why = getattr(found, "verify_message", "")
            return Unreachable(url, f"{what}: {shown(why)}" if why else what, hint)
    raise AssertionError(error)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
