"""The server: uvicorn, configured not to change addresses, headers and the shop's bytes."""

import asyncio
import ctypes
import logging
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import structlog
from uvicorn.config import STARTUP_FAILURE

from ...chat.hub import Hub
from ...events.metrics import FOLDER_VARIABLE
from ...settings.loader import Loader
from ...settings.model import Settings
from ..http.faults import UpstreamError
from ..http.handshake import AnsweringWebSocket
from ..http.protocol import BoundedProtocol
from .figures import figures_folder
from .garbage import Garbage
from .listen import BindError, bind, split_address
from .running import ServeConfig
from .workers import run

# Longer than load balancers keep their connections (AWS: 60 s), so that they close first.
KEEP_ALIVE_SECONDS = 75

# How long a thread that computes in Python may keep the loop from going on, each time that it has read,
# written or waited. By default it is 5 ms.
SWITCH_SECONDS = 0.0005

# mallopt(3): by default glibc maps and unmaps each buffer over 128 KB, with page faults every time.
_MALLOC = {
    "M_MMAP_THRESHOLD": (-3, 64 << 20),
    "M_TRIM_THRESHOLD": (-1, 256 << 20),
    "M_TOP_PAD": (-2, 16 << 20),
}


def serve(
    loader: Loader,
    settings: Settings,
    host: str = "127.0.0.1",
    port: int = 8080,
    workers: int = 1,
    *,
    ops: str | None = None,
    access_log: bool = False,
    grace_seconds: int = 10,
) -> None:
    """Run the reverse proxy until SIGTERM or SIGINT.

    Each worker serves by `settings`, which were validated once; `loader` reads them again for a reload. On a
    signal no new connection is accepted; what runs may end within `grace_seconds`, then it is cut. WebSockets
    are closed with 1012 at once. `ops` is the HOST:PORT of the operations listener; `access_log` writes a
    line for each request. The server's own warnings and errors go to stderr, in the form of the setting
    `log`. Raises SystemExit with 3 where it cannot start.
    """
    tune_malloc()
    allow_files()
    try:
        sockets = bind(host, port)
        ops_sockets = bind(*split_address(ops)) if ops else []
    except BindError as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(STARTUP_FAILURE)
    config = ServeConfig(
        WorkerApp(settings, access_log),
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http=BoundedProtocol,
        ws=AnsweringWebSocket,
        lifespan="on",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        access_log=False,
        log_config=log_config(settings.log),
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=grace_seconds,
    )
    config.ops = ops_sockets
    with figures_of(workers):
        run(config, sockets, loader)


@contextmanager
def figures_of(workers: int) -> Iterator[None]:
    """For several workers: a new folder for their metrics, which is deleted when the server has stopped."""
    if workers == 1:
        yield
        return
    with figures_folder(Path(tempfile.gettempdir())) as folder:
        os.environ[FOLDER_VARIABLE] = str(folder)
        yield


class WorkerApp:
    """Creates the ASGI app of one worker, in that worker."""

    def __init__(self, settings: Settings, access_log: bool) -> None:
        self.settings = settings
        self._access_log = access_log

    def __call__(self) -> Any:
        """The app with the current settings."""
        # Imported in the worker only: parts of the server can be used without loading the whole product.
        from ...events.logs import configure_logs
        from ..proxy.mount import ReverseProxy

        tune_malloc()
        sys.setswitchinterval(SWITCH_SECONDS)
        configure_logs(self.settings.log, self.settings.log_level)
        proxy = ReverseProxy(self.settings)
        proxy.access_log = self._access_log
        _end_streams_on_signals(proxy.service.hub)
        Garbage().leave_out()
        return proxy


def _end_streams_on_signals(hub: Hub) -> None:
    """End the live streams when the server is stopped: it waits for open responses, and these would never
    end. uvicorn has installed its own handlers before it loads the app; they are called as well."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return  # no server is running
    for number in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(number)

        def end(number: int, frame: FrameType | None, handler: Any = handler) -> None:
            loop.call_soon_threadsafe(hub.close)
            if callable(handler):
                handler(number, frame)

        signal.signal(number, end)


def allow_files() -> None:
    """Raise the limit of open files as far as permitted: each visitor needs one, and one more to the shop.
    The usual limit of 1,024 is for programs that use select(2)."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def tune_malloc() -> bool:
    """Let glibc keep freed buffers instead of returning each to the system; False if there is no glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return all(mallopt(option, value) == 1 for option, value in _MALLOC.values())


def log_config(log: Literal["console", "json"]) -> dict[str, Any]:
    """Warnings and errors of uvicorn and of the proxy, on stderr, without redundant records."""
    logger = {"handlers": ["stderr"], "level": "WARNING", "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": f"{__name__}.formatter", "log": log}},
        "filters": {"redundant": {"()": f"{__name__}.RedundantRecords"}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "lines", "filters": ["redundant"]}
        },
        "loggers": {"uvicorn": logger, "clew.proxy": logger, "clew.settings": logger},
    }


def formatter(log: Literal["console", "json"]) -> logging.Formatter:
    """Renders the standard library's records in the format of events: for people, or as JSON."""
    from ...events.logs import rendering

    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering(log)]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last)


class RedundantRecords(logging.Filter):
    """Drops the traceback of a response that the shop broke off: an ASGI app can only signal that by raising.
    Drops the warning that any client can cause by asking for HTTP/2, and the one about every refused
    WebSocket handshake, although its response is complete."""

    _TEXTS = frozenset(
        {"Unsupported upgrade request.", "ASGI callable returned without completing handshake."}
    )

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, UpstreamError) and record.msg not in self._TEXTS
