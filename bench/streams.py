"""The memory that clew needs for each of a thousand slow downloads at once."""

import socket
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from answers import get
from load import print_progress
from peers import clew
from pinned import SERVER_CORE, BenchError, Process, resident_kb, running
from report import Section, table
from visitors import cookies
from workloads import NAVIGATION

STREAMS = 1000
CONNECT_SECONDS = 30
RECEIVE_BUFFER = 8192
# Each client reads 2 KB ten times a second, so that no download ends during the measurement.
PIECE = 2048
TICK_SECONDS = 0.1
# The plateau is reached when memory has grown by less than 1 % in so many seconds.
STEADY_SECONDS = 5.0
LONGEST_SECONDS = 90.0


@dataclass
class Download:
    """One client that reads slowly and compares what it reads."""

    socket: socket.socket
    head: bytes = b""
    received: int = 0
    begun: bool = field(default=False)

    def read(self, file: bytes) -> None:
        """Read one piece if there is one. Raises BenchError unless it is the next part of the file."""
        try:
            data = self.socket.recv(PIECE)
        except BlockingIOError:
            return
        if not data:
            raise BenchError(f"a download broke off after {self.received} bytes: {self.head[:300]!r}")
        if not self.begun:
            self.head += data
            head, blank, data = self.head.partition(b"\r\n\r\n")
            if not blank:
                return
            if not head.startswith(b"HTTP/1.1 200 "):
                raise BenchError(f"a download came with {head[:300]!r}")
            self.begun = True
        if file[self.received : self.received + len(data)] != data:
            raise BenchError(f"a download has wrong bytes after {self.received}")
        self.received += len(data)


def measure_streams(folder: Path, file: bytes, upstream: int) -> Section:
    """Resident memory before, and at the plateau with all downloads in progress. Raises BenchError."""
    command, port = clew(folder, upstream)
    visitors = cookies()
    with ExitStack() as stack:
        process = stack.enter_context(running(command, port, folder, SERVER_CORE))
        if get(port, "/download.bin", {**NAVIGATION, "Cookie": visitors[0]}).body != file:
            raise BenchError("clew sends another file")
        before = resident_kb(process)
        downloads = []
        for number in range(STREAMS):
            downloads.append(_begin(port, visitors[number % len(visitors)]))
            stack.enter_context(closing(downloads[-1].socket))
        plateau, seconds = _plateau(process, downloads, file)
    return section(before, plateau, seconds, min(download.received for download in downloads))


def _begin(port: int, cookie: str) -> Download:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    client.settimeout(CONNECT_SECONDS)
    client.connect(("127.0.0.1", port))
    lines = "".join(f"{name}: {value}\r\n" for name, value in {**NAVIGATION, "Cookie": cookie}.items())
    client.sendall(f"GET /download.bin HTTP/1.1\r\n{lines}\r\n".encode("ascii"))
    client.setblocking(False)
    return Download(client)


def _plateau(process: Process, downloads: list[Download], file: bytes) -> tuple[int, float]:
    """The highest resident memory in KiB once all downloads have begun and it no longer grows; and the time
    until then."""
    began = time.monotonic()
    # (time, highest memory so far)
    seen: list[tuple[float, int]] = []
    while (now := time.monotonic()) - began < LONGEST_SECONDS:
        for download in downloads:
            download.read(file)
        if all(download.received for download in downloads):
            highest = max(resident_kb(process), seen[-1][1] if seen else 0)
            seen.append((now, highest))
            past = [memory for at, memory in seen if at <= now - STEADY_SECONDS]
            if past and highest <= past[-1] * 1.01:
                print_progress(f"  {highest // 1024} MB with {len(downloads)} downloads in progress")
                return highest, now - began
        time.sleep(max(0.0, now + TICK_SECONDS - time.monotonic()))
    begun = sum(download.received > 0 for download in downloads)
    raise BenchError(
        f"no plateau in {LONGEST_SECONDS:.0f} s; {begun} of {len(downloads)} downloads had begun"
    )


def section(before: int, plateau: int, seconds: float, least: int) -> Section:
    """The figure, KiB per stream, and the table."""
    each = (plateau - before) / STREAMS
    how = (
        f"{STREAMS} clients read 10 MB each at {PIECE / TICK_SECONDS / 1024:.0f} KB/s at most, with receive "
        f"buffers of {RECEIVE_BUFFER // 1024} KB; all were in progress at the plateau, after {seconds:.0f} s "
        f"and {least // 1024} KB for the slowest."
    )
    rows = [[f"{before / 1024:.0f}", f"{plateau / 1024:.0f}", f"{each:.1f}"]]
    return Section(
        {"stream_rss_kb": round(each, 1)},
        table("A thousand slow downloads", how, ("MB before", "MB at the plateau", "KB a stream"), rows),
    )
