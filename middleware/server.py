"""The server: uvicorn, told to leave addresses, headers and the shop's bytes alone."""

import asyncio
import ctypes
import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import httptools
import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..chat.hub import Hub
from .faults import UpstreamError
from .passage import Passage

CONFIG_VARIABLE = "CLEW_CONFIG"
# A request's head: the request line, all headers. Shops with 16 KB of cookies exist.
MAX_HEAD = 64 * 1024
HEAD_SECONDS = 30.0
# Longer than a load balancer in front holds its connections (AWS: 60 s), so that it closes first, not we.
KEEP_ALIVE_SECONDS = 75

_CLOSING = b"connection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\n" + _CLOSING
_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\n" + _CLOSING
# mallopt(3): by default glibc maps and unmaps each buffer over 128 KB, with page faults every time.
_MALLOC = {
    "M_MMAP_THRESHOLD": (-3, 64 << 20),
    "M_TRIM_THRESHOLD": (-1, 256 << 20),
    "M_TOP_PAD": (-2, 16 << 20),
}


def serve(
    config_path: Path,
    host: str = "127.0.0.1",
    port: int = 8080,
    workers: int = 1,
    *,
    log: Literal["console", "json"] = "console",
    grace_seconds: int = 10,
) -> None:
    """Run the reverse proxy until SIGTERM or SIGINT.

    Each worker makes its own app from the file at `config_path`. On a signal no new connection is accepted;
    what runs may end within `grace_seconds`, then it is cut. WebSockets are closed with 1012 at once.
    `log` is the form of the server's own warnings and errors, which go to stderr.
    """
    os.environ[CONFIG_VARIABLE] = str(config_path.resolve())
    # One line holds all cookies; the library's default of 8 KB refuses handshakes that carry more.
    os.environ.setdefault("WEBSOCKETS_MAX_LINE_LENGTH", str(MAX_HEAD))
    tune_malloc()
    uvicorn.run(
        f"{__name__}:app",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http=BoundedProtocol,
        ws=f"{__package__}.handshake:AnsweringWebSocket",
        lifespan="on",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        access_log=False,
        log_config=log_config(log),
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=grace_seconds,
    )


def app() -> Any:
    """The ASGI app of one worker, from the file that the environment names."""
    # Imported in the worker only: whoever needs the server's parts alone need not load the whole product.
    from ..service.logs import configure_logs
    from ..settings.load import load
    from .proxy import ReverseProxy

    tune_malloc()
    settings = load(Path(os.environ[CONFIG_VARIABLE]), os.environ)
    configure_logs(settings.log)
    proxy = ReverseProxy(settings)
    _end_streams_on_signals(proxy.service.hub)
    return proxy


def _end_streams_on_signals(hub: Hub) -> None:
    """End the live streams as soon as the server is told to stop: it waits for open answers, and these would
    never end by themselves. uvicorn has set its own handlers when it asks for the app, and they go on."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return  # no server is running: somebody only wants the app
    for number in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(number)

        def end(number: int, frame: FrameType | None, handler: Any = handler) -> None:
            loop.call_soon_threadsafe(hub.close)
            if callable(handler):
                handler(number, frame)

        signal.signal(number, end)


def tune_malloc() -> bool:
    """Let glibc keep freed buffers instead of giving each back; False where there is no glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return all(mallopt(option, value) == 1 for option, value in _MALLOC.values())


def log_config(log: Literal["console", "json"]) -> dict[str, Any]:
    """Warnings and errors of uvicorn and of the proxy, on stderr, without what was said already."""
    logger = {"handlers": ["stderr"], "level": "WARNING", "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": f"{__name__}.formatter", "log": log}},
        "filters": {"said": {"()": f"{__name__}.SaidAlready"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines", "filters": ["said"]}},
        "loggers": {"uvicorn": logger, "clew.proxy": logger},
    }


def formatter(log: str) -> logging.Formatter:
    """Renders the standard library's records as the journal's lines are: for people, or as JSON."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if log == "json":
        last += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        last += [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last)


class SaidAlready(logging.Filter):
    """Drops the traceback with which uvicorn reports an answer that the shop broke off: raising is how an
    ASGI app says so. Drops what anybody can make it write by asking for HTTP/2, and a complaint about every
    refused WebSocket handshake, which is complete."""

    _TEXTS = frozenset(
        {"Unsupported upgrade request.", "ASGI callable returned without completing handshake."}
    )

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, UpstreamError) and record.msg not in self._TEXTS


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with two things more.

    An app that has a `passage` is asked for it first: what goes to the shop takes that way, without ASGI in
    between. And by itself the protocol takes a request's head however long it is or takes.

    A head of more than 64 KB is answered with 431 (RFC 6585 §5), one that does not come to its end within
    30 seconds with 408. A fragment in the target is a 400: shops and proxies disagree on what it means
    (CVE-2023-47106).
    """

    _head_open = False
    _head_bytes = 0
    _received = 0
    _refusal = b""
    _late: asyncio.TimerHandle | None = None
    _active: Passage | None = None  # whose answer is going out

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_SECONDS, self._refuse, _TOO_LATE)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._in_time()
        active, self._active = self._active, None
        if active is not None:
            active.gone()
        if isinstance(self.cycle, Passage):
            self.cycle.gone()
            self.cycle = None  # type: ignore[assignment]
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        self._received = len(data)
        super().data_received(data)
        if self._head_open:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                self._refuse(_TOO_LARGE)
            elif self._late is None:
                # Only a head that came in pieces needs a timer.
                self._late = self.loop.call_later(HEAD_SECONDS, self._refuse, _TOO_LATE)

    def on_message_begin(self) -> None:
        """A request starts."""
        self._head_open, self._head_bytes = True, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head. Those after the body are trailers, which nobody here may take for headers."""
        if self._head_open:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete. What is raised here ends in `send_400_response`."""
        self._head_open = False
        if self._late is not None:
            self._in_time()
        if self._head_bytes or self._received > MAX_HEAD:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > MAX_HEAD:
                self._refusal = _TOO_LARGE
        if self._refusal or b"#" in self.url:
            raise ValueError("a head too large, or a fragment")
        passage = self._passage()
        if passage is None:
            super().on_headers_complete()
            return
        before, self.cycle = self.cycle, passage
        if before is None or before.response_complete:
            self._active = passage
            passage.start()
        else:
            # Answers go out in the order of their requests.
            self.flow.pause_reading()
            self.pipeline.appendleft((passage, self.app))

    def _passage(self) -> Any:
        ask = getattr(self.app, "passage", None)
        if ask is None or (self.parser.should_upgrade() and self._should_upgrade()):
            return None
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        url = httptools.parse_url(self.url)
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = self.parser.get_http_version()
        scope["raw_path"] = url.path
        scope["query_string"] = url.query or b""
        return ask(
            self, scope, keep_alive=self.parser.should_keep_alive(), expects_continue=self.expect_100_continue
        )

    def on_body(self, body: bytes) -> None:
        """A piece of a request's body."""
        if isinstance(self.cycle, Passage):
            self.cycle.feed(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is complete."""
        if isinstance(self.cycle, Passage):
            self.cycle.fed()
        else:
            super().on_message_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if isinstance(cycle, Passage):
            self._active = cycle
            cycle.start()
        else:
            self._active = None
            super()._start_asgi_task(cycle, app)

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        if self._active is not None:
            self._active.resumed()

    def send_400_response(self, msg: str) -> None:
        """Refuse the request and close."""
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            if isinstance(self.cycle, Passage) and self.cycle is self._active and self.cycle.more_body:
                self.cycle.malformed()
            # Else the answer to an earlier request is under way: nothing may be written into it.
            self.transport.close()
        elif not self._refusal:
            super().send_400_response(msg)
        else:
            self.transport.write(self._refusal)
            self.transport.close()

    def _refuse(self, refusal: bytes) -> None:
        self._refusal = refusal
        self.send_400_response("")

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
