"""`make soak`: clew in front of a shop full of faults, and many visitors with bad manners.

`clew serve` comes first, then the middleware with a quarter of the requests; each with 3,000 sites, one of
which changes every second.

Exits 1 if one answer was wrong, or if connections or memory were left behind.
"""

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import raw_http
from clews import ClewFolder, ClewServe
from processes import Program, free_port

from .host import Host
from .visitors import Tally, Visitor

SETTINGS = """
secret = "env:CLEW_SECRET"
log = "json"
desk_host = "desk.example"
include = ["sites/*.toml"]
watch = {watch}

[upstream]
connections = 400
keep_alive = 1

# All visitors come from one address here.
[limits]
uploads = {{ client = 500 }}
websockets = {{ client = 500 }}
"""
SITES = 3000
# A wait that no load explains: something held the loop.
FREEZE_SECONDS = 5.0
# How long the last connections may take to close: the longest timeout in the settings, and some.
SETTLE_SECONDS = 20.0


@dataclass(frozen=True)
class Size:
    """What a process holds: open sockets, resident memory in MB."""

    sockets: int
    memory: float

    @classmethod
    def of(cls, pid: int) -> "Size":
        """From /proc."""
        status = Path(f"/proc/{pid}/status").read_text()
        resident = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return cls(_sockets(pid), int(resident.split()[1]) / 1024)


def _sockets(pid: int) -> int:
    found = 0
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found += os.readlink(file).startswith("socket:")
    return found


@dataclass
class Report:
    """What a soak found. `growth` is in MB, from the first quarter to the end."""

    tally: Tally
    seconds: float
    before: Size
    quarter: Size
    after: Size
    faults: float
    longest: float
    cries: list[str]
    host: Host
    sites: int

    @property
    def problems(self) -> list[str]:
        """The problems; empty if there are none."""
        found = list(self.tally.wrong[:20])
        if len(self.tally.wrong) > 20:
            found.append(f"and {len(self.tally.wrong) - 20} more wrong answers")
        if self.after.sockets > self.before.sockets:
            found.append(f"{self.after.sockets - self.before.sockets} connections left open")
        if self.after.memory > self.quarter.memory * 1.15 + 24:
            found.append(f"memory went from {self.quarter.memory:.0f} to {self.after.memory:.0f} MB")
        if self.longest > FREEZE_SECONDS:
            found.append(f"an answer of clew's own took {self.longest:.1f} s")
        if self.faults:
            found.append(f"{self.faults:.0f} faults of our own")
        return found + self.cries + self.host.problems[:20]

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.tally.kinds.items()))
        ends = ", ".join(f"{end} {count}" for end, count in self.tally.ends.most_common())
        sizes = "; ".join(
            f"{name} {size.memory:.0f} MB, {size.sockets} sockets"
            for name, size in (("before", self.before), ("a quarter", self.quarter), ("after", self.after))
        )
        return (
            f"{self.tally.done} requests in {self.seconds:.0f} s; the longest wait for `health`: "
            f"{self.longest * 1000:.0f} ms\n{self.sites} sites, {self._reloads()}\n"
            f"asked: {kinds}\nended: {ends}\n{sizes}\n"
            + ("\n".join(["WRONG:", *self.problems]) if self.problems else "nothing wrong")
        )

    def _reloads(self) -> str:
        took = self.host.took
        if not took:
            return "watched"
        return (
            f"{len(took)} reloads of {statistics.median(took) * 1000:.0f} ms, at most {max(took) * 1000:.0f}"
        )


async def crowd(
    port: int,
    requests: int,
    concurrency: int,
    seed: int,
    tally: Tally,
    at_quarter: Callable[[], None],
    *,
    plain: bool = False,
    hosts: Sequence[str] = ("shop.example",),
) -> None:
    """All visitors at once; `plain` and `hosts` as `Visitor` has them."""
    each = -(-requests // concurrency)

    async def watch() -> None:
        while tally.done < requests / 4:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        at_quarter()

    async with asyncio.TaskGroup() as group:
        group.create_task(watch())
        for number in range(concurrency):
            visitor = Visitor(f"v{number}", port, seed, tally, plain=plain, hosts=hosts)
            group.create_task(visitor.run(each))


async def metrics(port: int) -> str:
    """What `metrics` says."""
    async with raw_http.Client(port) as client:
        answer = await client.ask(raw_http.get(b"/-/clew/metrics", b"Connection: close"))
        return answer.body.decode()


class Pulse:
    """Asks for `health` all the time; `longest` is the longest wait, in seconds."""

    def __init__(self, port: int) -> None:
        self.longest = 0.0
        self._port = port

    async def beat(self) -> None:
        """Until cancelled."""
        while True:
            asked = time.monotonic()
            async with raw_http.Client(self._port) as client:
                await client.ask(raw_http.get(b"/-/clew/health", b"Connection: close"))
            self.longest = max(self.longest, time.monotonic() - asked)
            await asyncio.sleep(0.05)


async def settled(pid: int, base: int) -> Size:
    """The process's size as soon as its connections are closed, or when time is up."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while (size := Size.of(pid)).sockets > base and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    return size


class Cries:
    """Keeps the tracebacks and the faults of a program's output, the first hundred lines of them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._following = 0

    def __call__(self, line: str) -> None:
        self._following = 30 if "Traceback" in line else self._following - 1
        if (self._following > 0 or '"event":"fault"' in line.replace(" ", "")) and len(self.lines) < 100:
            self.lines.append(line)


def shop_program(port: int, cries: Callable[[str], None] = lambda line: None) -> Program:
    """The shop, listening."""
    shop = Program(
        [sys.executable, "-m", "soak.shop", str(port)],
        environ={"PYTHONPATH": os.pathsep.join(sys.path)},
        on_line=cries,
    )
    shop.wait_for_port(port)
    return shop


async def soak(requests: int, concurrency: int, seed: int, folder: Path, sites: int = SITES) -> Report:
    """`clew serve`, with its own shop under many names."""
    cries, port = Cries(), free_port()
    home = ClewFolder(folder / "clew", SETTINGS.format(watch="false"))
    host = Host(home.path, sites, port, seed)
    with shop_program(port, cries), ClewServe(home, on_line=cries) as clew:
        return await _soak(clew, clew.port, requests, concurrency, seed, cries, host)


async def soak_mounted(
    requests: int, concurrency: int, seed: int, folder: Path, sites: int = SITES
) -> Report:
    """The middleware in front of a shop that is an ASGI app, on uvicorn as it is."""
    cries, port = Cries(), free_port()
    home = ClewFolder(folder / "mounted", SETTINGS.format(watch="true"))
    host = Host(home.path, sites, None, seed)
    command = [sys.executable, "-m", "soak.mounted", str(home.settings), str(port)]
    environ = {"PYTHONPATH": os.pathsep.join(sys.path), **home.environ}
    with Program(command, environ=environ, cwd=home.path, on_line=cries) as clew:
        clew.wait_for_port(port)
        return await _soak(clew, port, requests, concurrency, seed, cries, host, plain=True)


async def _soak(
    clew: Program,
    port: int,
    requests: int,
    concurrency: int,
    seed: int,
    cries: Cries,
    host: Host,
    *,
    plain: bool = False,
) -> Report:
    raw_http.PATIENCE = 60.0
    tally, sizes = Tally(), list[Size]()
    await metrics(port)
    before = Size.of(clew.pid)
    started, pulse = time.monotonic(), Pulse(port)
    beating = [asyncio.create_task(pulse.beat()), asyncio.create_task(host.change(ask=not plain))]

    def at_quarter() -> None:
        sizes.append(Size.of(clew.pid))

    await crowd(port, requests, concurrency, seed, tally, at_quarter, plain=plain, hosts=host.hosts)
    seconds = time.monotonic() - started
    for task in beating:
        task.cancel()
    for ended in await asyncio.gather(*beating, return_exceptions=True):
        if not isinstance(ended, asyncio.CancelledError):
            raise AssertionError("ended before its time") from ended
    after = await settled(clew.pid, before.sockets)
    told = await metrics(port)
    faults = sum(
        float(line.rpartition(" ")[2])
        for line in told.splitlines()
        if line.startswith("clew_events_total{") and 'event="fault"' in line
    )
    found = (tally, seconds, before, sizes[0], after, faults, pulse.longest, cries.lines)
    return Report(*found, host, len(host.hosts))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--concurrency", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--sites", type=int, default=SITES)
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        reports = {
            "clew serve": asyncio.run(
                soak(options.requests, options.concurrency, options.seed, Path(folder), options.sites)
            ),
            "the middleware": asyncio.run(
                soak_mounted(
                    options.requests // 4, options.concurrency, options.seed, Path(folder), options.sites
                )
            ),
        }
    for name, report in reports.items():
        print(f"{name}: {report}")
    sys.exit(1 if any(report.problems for report in reports.values()) else 0)


if __name__ == "__main__":
    main()
