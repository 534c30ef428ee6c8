"""HTTP/1.1 messages to and from the shop: writes requests, reads responses. No I/O."""

import re

import httptools

from ...injector.heads import Headers, without
from .faults import BrokenError, RequestError, ResponseError
from .hops import HOP_BY_HOP, NOT_IN_TRAILERS, without_options

# nginx's default of 4–8 KB refuses shops with many cookies; Node reads 16 KB, Go 10 MB.
MAX_HEAD = 128 * 1024
MAX_TRAILERS = 16 * 1024
# Larger pieces are passed on as views, not copied: the loop's transports write that much at once (it is their
# high-water mark), so the buffer is free before the next bytes are received.
BORROW_ABOVE = 64 * 1024
# Interim responses (100, 102, 103) before the final one; real servers send a few at most.
MAX_INTERIM = 8

_METHODS = frozenset({"GET", "HEAD", "POST"})
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_END_OF_HEAD = re.compile(rb"\r\n\r\n")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_KEEP_ALIVE_TIMEOUT = re.compile(rb"(?i)(?:^|[,;\s])timeout\s*=\s*(\d{1,6})")

# NTLM and Negotiate authenticate a connection, not a request (RFC 4559 §6): on a reused connection the next
# visitor would be logged in as the previous one.
_CONNECTION_AUTH_FIELDS = frozenset({b"persistent-auth", b"www-authenticate"})
_CONNECTION_AUTH_SCHEMES = re.compile(rb"(?i)[ \t]*(?:ntlm|negotiate|true)")

# How the length of a body is determined (RFC 9112 §6.3).
_NONE, _COUNTED, _CHUNKED, _UNTIL_CLOSE = range(4)


def request_head(method: str, target: bytes, headers: Headers) -> bytes:
    """The head of a request; names and values are written unchanged.

    Raises RequestError for a byte that would end a line early and so split the request (CVE-2023-25690).
    Servers refuse such requests too; this is the last check.
    """
    verb = b"GET" if method == "GET" else method.encode("latin-1")
    head = b"\r\n".join([b"%b %b HTTP/1.1" % (verb, target), *map(b": ".join, headers), b"", b""])
    lines = len(headers) + 2
    if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
        raise RequestError("the request's head contains a line break or a NUL within a line")
    if b" " in target or b"\t" in target or not (method in _METHODS or _METHOD.fullmatch(method)):
        raise RequestError("the request's target contains a blank, or its method is not a token")
    return head


class ResponseReader:
    """Reads one response, after any interim ones; fed with what a connection received.

    `status` is 0 until the final head is complete. `headers` are the end-to-end fields, names in lower case,
    values unchanged; hop-by-hop fields are dropped. `chunks` holds the bytes of the body that were not taken
    yet, `buffered` their number. `complete`: the last byte was received. `reusable`: the connection may then
    carry another exchange. `keep_alive`: the seconds that the shop keeps an idle connection open, if it says
    so. `interim` are the interim responses before the final one, each with its end-to-end headers, without
    100, which is for clew, and 101. `trailers` does not contain fields that have no meaning there
    (RFC 9110 §6.5.1).
    Raises ResponseError if the message cannot be framed safely, BrokenError if it ended too early.

    A body of known length is counted, not parsed: its bytes are copied once out of the receive buffer, or not
    at all if there are more than `BORROW_ABOVE` of them and they are taken at once.
    """

    status = 0
    buffered = 0
    started = False
    complete = False
    reusable = False
    keep_alive: int | None = None
    _parser: httptools.HttpResponseParser | None = None
    _bound = False
    _framing = _NONE
    _left: int | None = None
    _interims = 0
    _trailer_bytes = 0

    def __init__(self, method: str, upgrade: bool = False) -> None:
        self.headers: Headers = []
        self.interim: list[tuple[int, Headers]] = []
        self.trailers: Headers = []
        self.chunks: list[bytes | memoryview] = []
        self._method = method
        self._upgrade = upgrade
        self._held = bytearray()
        self._hop: Headers = []
        self._pieces: list[bytes] = []

    def feed(self, data: memoryview) -> None:
        """Read received bytes; `data` may be overwritten afterwards."""
        self.started = True
        if not self.status:
            rest = self._head(data)
            if rest is None:
                return
            data = rest
        if len(data):
            self._body(data)

    def eof(self) -> None:
        """The shop has closed its side."""
        if self.complete:
            return
        if not self.status or self._framing != _UNTIL_CLOSE:
            raise BrokenError("the shop closed the connection before the response was complete")
        self.complete = True

    def copy_borrowed(self) -> None:
        """Copy the views of the receive buffer, before it is filled again."""
        if self.chunks:
            self.chunks = [bytes(self.chunks[0])] if len(self.chunks) == 1 else [b"".join(self.chunks)]

    def take(self) -> bytes | memoryview:
        """The bytes received so far, as one piece; empty if there are none. A view is valid until the
        connection's callback returns."""
        data = self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)
        self.chunks.clear()
        self.buffered = 0
        return data

    # -- the head

    def _head(self, data: memoryview) -> memoryview | None:
        """What follows the final head, or None while it is not complete."""
        if self._held:
            before = len(self._held)
            self._held += data
            if self._held.find(b"\r\n\r\n", max(0, before - 3)) < 0:
                self._check_held()
                return None
            data = memoryview(bytes(self._held))
            self._held.clear()
        while True:
            end = _END_OF_HEAD.search(data)
            if end is None:
                self._held += data
                self._check_held()
                return None
            rest = data[end.end() :]
            self._parse_head(data[: end.end()])
            if self.status:
                return rest
            data = rest

    def _check_held(self) -> None:
        # Bytes that are not HTTP/1, or a head that never ends, must not wait for a timeout.
        if not b"HTTP/1.".startswith(self._held[:7]):
            raise ResponseError("the shop's response does not start with HTTP/1")
        if len(self._held) > MAX_HEAD:
            raise ResponseError(f"the shop's response head is longer than {MAX_HEAD} bytes")
        if _BARE_LF.search(self._held):
            raise ResponseError("a bare LF in the shop's response head")

    def _parse_head(self, head: memoryview) -> None:
        version = bytes(head[:9])
        if version not in (b"HTTP/1.1 ", b"HTTP/1.0 "):
            raise ResponseError("the shop's response is not HTTP/1.1 or HTTP/1.0")
        if len(head) > MAX_HEAD:
            raise ResponseError(f"the shop's response head is longer than {MAX_HEAD} bytes")
        parser = self._parser = httptools.HttpResponseParser(self)
        try:
            parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError as error:
            raise ResponseError(f"the shop's response head is not valid: {error}") from None
        status = parser.get_status_code()
        if 100 <= status < 200 and not (status == 101 and self._upgrade):
            self._skip_interim(status)
            return
        if not 200 <= status <= 599 and status != 101:
            raise ResponseError(f"the shop answered with status {status}")
        self._frame(status, version == b"HTTP/1.1 ")
        if self._framing != _CHUNKED:
            # Parser and reader refer to each other: break the cycle, so that no garbage collection is needed.
            self._parser = None
        self.status = status

    def _skip_interim(self, status: int) -> None:
        self._interims += 1
        if status == 101:
            raise ResponseError("the shop switched protocols unasked")
        if self._interims > MAX_INTERIM:
            raise ResponseError(f"more than {MAX_INTERIM} interim responses")
        if status != 100:
            options = [value for name, value in self._hop if name == b"connection"]
            self.interim.append((status, without(without_options(self.headers, options), b"content-length")))
        self.headers = []
        self._hop.clear()
        self._left = None
        self._parser = None

    def _frame(self, status: int, http_1_1: bool) -> None:
        options: list[bytes] = []
        codings: list[bytes] = []
        for name, value in self._hop:
            if name == b"connection":
                options.append(value)
            elif name == b"transfer-encoding":
                codings.append(value.strip(b" \t").lower())
            elif name == b"keep-alive" and (timeout := _KEEP_ALIVE_TIMEOUT.search(value)):
                self.keep_alive = int(timeout[1])
        stated = b",".join(options).lower()
        self.reusable = b"close" not in stated and (http_1_1 or b"keep-alive" in stated) and not self._bound
        if stated and stated != b"keep-alive":
            self.headers = without_options(self.headers, options)
        # Other codings than chunked are for this hop, and we asked for none; HTTP/1.0 has none at all, and
        # one that is stated there hides a second reading of the body (RFC 9112 §6.1, §7.4).
        if codings and (codings != [b"chunked"] or not http_1_1):
            raise ResponseError("the shop's answer has a transfer coding that is not just chunked")
        if status == 101:
            self._framing = _UNTIL_CLOSE
        elif self._method == "HEAD" or status in (204, 304):
            self._framing = _NONE
        elif codings:
            self._framing = _CHUNKED
        elif self._left is not None:
            self._framing = _COUNTED
        else:
            self._framing, self.reusable = _UNTIL_CLOSE, False
        self.complete = self._framing == _NONE or (self._framing == _COUNTED and self._left == 0)

    # -- the body

    def _body(self, data: memoryview) -> None:
        if self.complete:
            # Bytes that no request asked for: the next request would get them as its answer.
            self.reusable = False
        elif self._framing == _CHUNKED:
            self._chunked(data)
        elif self._framing == _COUNTED:
            self._counted(data)
        else:
            self._keep(bytes(data))

    def _counted(self, data: memoryview) -> None:
        assert self._left is not None
        self._left -= len(data)
        if self._left < 0:
            data, self.reusable = data[: self._left], False
        self._keep(data if len(data) > BORROW_ABOVE else bytes(data))
        self.complete = self._left <= 0

    def _chunked(self, data: memoryview) -> None:
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            # Bytes after a complete answer do not make that answer wrong.
            if not self.complete:
                raise ResponseError(f"the chunks of the shop's response are not valid: {error}") from None
            self.reusable = False
        if self._trailer_bytes > MAX_TRAILERS:
            raise ResponseError(f"the trailers of the shop's response are longer than {MAX_TRAILERS} bytes")
        if self._pieces:
            # One piece for each read, so that one-byte chunks do not cost an object each.
            self._keep(self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces))
            self._pieces = []
        if self.complete:
            self._parser = None

    def _keep(self, data: bytes | memoryview) -> None:
        self.chunks.append(data)
        self.buffered += len(data)

    # -- callbacks of the parser

    def on_message_begin(self) -> None:
        """Another message starts after a complete one."""
        if self.complete:
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or of the trailers."""
        name = name.lower()
        if self.status:
            if not self.complete:
                self._trailer_bytes += len(name) + len(value)
                if name not in NOT_IN_TRAILERS:
                    self.trailers.append((name, value))
        elif name in HOP_BY_HOP:
            self._hop.append((name, value))
        else:
            self.headers.append((name, value))
            if name == b"content-length":
                self._left = int(value)
            elif name in _CONNECTION_AUTH_FIELDS and _CONNECTION_AUTH_SCHEMES.match(value):
                self._bound = True

    def on_body(self, data: bytes) -> None:
        """A piece of a chunk."""
        if not self.complete:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        """The last chunk and the trailers have been read."""
        if self._framing == _CHUNKED:
            self.complete = True
