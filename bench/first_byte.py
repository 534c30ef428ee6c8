"""The time that clew adds to the first byte of a slow page."""

import random
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import cycle
from pathlib import Path

from apps.slow_page import GAP_SECONDS, PIECES, WAIT_SECONDS
from peers import BENCH, clew
from pinned import LOAD_CORE, SERVER_CORE, BenchError, running
from processes import free_port
from report import Section, median, spread, table
from visitors import cookies
from workloads import NAVIGATION, tagged

SAMPLES = 200
WARM_UP = 20
SECONDS = 30
_CHUNK = re.compile(rb"([0-9a-fA-F]+)\r\n")


class Client:
    """Sends requests on one connection."""

    def __init__(self, port: int, visitors: Iterator[str]) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._visitors = visitors

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def page(self) -> tuple[float, bytes]:
        """Milliseconds until the first byte of the body, and the whole body. Raises BenchError."""
        headers = {**NAVIGATION, "Cookie": next(self._visitors)}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"GET /page HTTP/1.1\r\n{lines}\r\n".encode("ascii")
        got, milliseconds = b"", 0.0
        began = time.perf_counter()
        self._socket.sendall(request)
        while not got.endswith(b"\r\n0\r\n\r\n"):
            data = self._socket.recv(65536)
            if not data:
                raise BenchError(f"the slow page ended after {got[:300]!r}")
            got += data
            if not milliseconds and body_begun(got):
                milliseconds = (time.perf_counter() - began) * 1e3
        head, _, body = got.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise BenchError(f"the slow page has the head {head[:300]!r}")
        return milliseconds, unchunked(body)


def body_begun(got: bytes) -> bool:
    """Whether a byte of the first chunk's data was received."""
    _, blank, body = got.partition(b"\r\n\r\n")
    size = _CHUNK.match(body) if blank else None
    return size is not None and len(body) > size.end()


def unchunked(body: bytes) -> bytes:
    """The data of a whole chunked body without extensions (RFC 9112 §7.1)."""
    data, at = [], 0
    while (size := _CHUNK.match(body, at)) and (length := int(size[1], 16)):
        data.append(body[size.end() : size.end() + length])
        at = size.end() + length + 2
    return b"".join(data)


def measure_first_byte(folder: Path, rng: random.Random) -> Section:
    """Fetch each page once directly and once through clew, in random order. Raises BenchError."""
    html, visitors, port = b"".join(PIECES), cycle(cookies()), free_port()
    slow = [sys.executable, str(BENCH / "apps/slow_page.py"), str(port)]
    with ExitStack() as stack:
        stack.enter_context(running(slow, port, folder, LOAD_CORE))
        command, clew_port = clew(folder, port)
        stack.enter_context(running(command, clew_port, folder, SERVER_CORE))
        direct = stack.enter_context(closing(Client(port, visitors)))
        through = stack.enter_context(closing(Client(clew_port, visitors)))
        clients = [(direct, html), (through, tagged(html))]
        times: dict[Client, list[float]] = {direct: [], through: []}
        for _ in range(WARM_UP + SAMPLES):
            for client, wanted in rng.sample(clients, len(clients)):
                milliseconds, body = client.page()
                if body != wanted:
                    raise BenchError(f"the slow page has the body {body[:300]!r}")
                times[client].append(milliseconds)
    return section(times[direct][WARM_UP:], times[through][WARM_UP:])


def section(direct: list[float], through: list[float]) -> Section:
    """The median of the differences, each between two pages fetched in succession."""
    added = [b - a for a, b in zip(direct, through, strict=True)]
    nine_tenths = sorted(added)[len(added) * 9 // 10]
    how = (
        f"{len(added)} pages each, directly and through clew in turn; the shop waits "
        f"{WAIT_SECONDS * 1e3:.0f} ms, then sends {len(PIECES)} pieces {GAP_SECONDS * 1e3:.0f} ms apart; "
        f"median (lowest to highest). Nine of ten pages begin at most {nine_tenths:.2f} ms later."
    )
    rows = [
        ["direct", spread(direct, ".2f")],
        ["through clew", spread(through, ".2f")],
        ["added", spread(added, ".2f")],
    ]
    return Section(
        {"ttfb_added_ms": median(added, 3)}, table("First byte of a slow page", how, ("way", "ms"), rows)
    )
