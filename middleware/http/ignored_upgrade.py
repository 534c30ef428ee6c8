"""Reads the body of a request whose Upgrade field is ignored.

httptools takes every message that asks for an upgrade for one without a body (MagicStack/httptools#124), and
would read the body as the next request. A second parser is given a synthetic head with the same framing; it
reads the body and what follows it.
"""

from typing import Protocol

import httptools

from ...injector.heads import Headers

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class ParserCallbacks(Protocol):
    """What a request parser calls."""

    def on_message_begin(self) -> None:
        """A request starts."""

    def on_url(self, url: bytes) -> None:
        """A part of the target."""

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or of the trailers."""

    def on_headers_complete(self) -> None:
        """The head is complete."""

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""

    def on_message_complete(self) -> None:
        """The request is complete."""


def parser_of_body(
    protocol: ParserCallbacks, parser: httptools.HttpRequestParser, headers: Headers
) -> httptools.HttpRequestParser | None:
    """A parser that reads on as if the request had no Upgrade field; None if it has no body.

    `parser` has read the head, `headers` are its fields. Raises httptools.HttpParserError for faulty framing.
    """
    framing = [pair for pair in headers if pair[0] in _FRAMING]
    if not framing:
        return None
    version = parser.get_http_version().encode("ascii")
    if not parser.should_keep_alive():
        framing.append((b"connection", b"close"))
    follower = httptools.HttpRequestParser(_BodyReader(protocol))
    follower.set_dangerous_leniencies(lenient_data_after_close=True)
    lines = [b"POST / HTTP/" + version, *map(b": ".join, framing), b"", b""]
    follower.feed_data(b"\r\n".join(lines))
    return follower


class _BodyReader:
    """Receives the callbacks of a parser that was fed a synthetic head before a body. It passes all callbacks
    but those of that head to the protocol."""

    def __init__(self, protocol: ParserCallbacks) -> None:
        self._protocol = protocol
        self._head_read = False

    def on_message_begin(self) -> None:
        if self._head_read:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self._head_read:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_read:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._head_read:
            self._protocol.on_headers_complete()
        self._head_read = True

    def on_body(self, body: bytes) -> None:
        self._protocol.on_body(body)

    def on_message_complete(self) -> None:
        self._protocol.on_message_complete()
