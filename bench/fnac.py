"""A large shop's load at a steady rate, through clew and directly to the shop: the share of a core that clew
takes, and by how much later the slowest answers come.

600 page views a second are ten times 150 million in a month, with a decision for each. They come at random
times that depend on no answer (an open loop), over kept connections, as from a front server that ends TLS.
Without clew the same client sends the same requests to the shop, which answers decisions with fixed JSON.
"""

import asyncio
import gc
import json
import os
import random
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import cast

import peers
import uvloop
from answers import get
from clew.settings.model import Rule
from decide import HEADERS, LIMITS, body, fill
from httptools import HttpResponseParser
from load import print_progress
from options import Options
from pinned import LOAD_CORE, SERVER_CORE, BenchError, Process, cpu_seconds, running, settle
from report import Section, median, spread, table
from workloads import HOST, NAVIGATION, TAG, write_shop

RATE = 600  # pages a second, and decisions
# Each views a page every half a minute, as people do.
VISITORS = RATE * 30
PRODUCTS = 500
TURN = 5  # times the seconds of the options, since the slowest answers are looked at
WARM_UP_SECONDS = 2.0
# After so many seconds a page has been read so far that its script asks.
ASKS_AFTER = (0.1, 0.8)
LATE_SECONDS = 30.0  # after which an answer counts as lost
BEHIND_SECONDS = 0.5  # by which the client may send its last request too late
KEEP_SECONDS = 2.0  # servers close connections on which nothing is asked

_ANSWER = json.dumps({"action": "show", "rule": None, "text": "x" * 200})
_SHOP = f"""
open_file_cache max=100; gzip_static on; gzip_vary on;
location /coffee/ {{ rewrite ^ /page.html last; }}
location = /-/clew/decide {{ default_type application/json; return 200 '{_ANSWER}'; }}
"""
_TOP = 'trusted_proxies = ["127.0.0.1/32"]\n\n'
_PAGE = NAVIGATION | {"Accept-Encoding": "gzip, deflate, br, zstd"}
_DECIDE = HEADERS | {"Accept-Encoding": "gzip, deflate, br, zstd"}


@dataclass
class Turn:
    """Of one turn: milliseconds of each answer, the share of a core that clew takes for it, and how many of
    the decisions invited."""

    pages: list[float] = field(default_factory=list)
    decisions: list[float] = field(default_factory=list)
    share: float = 0.0
    invited: int = 0


class Connection(asyncio.Protocol):
    """One kept connection, for one request after the other."""

    def __init__(self, pool: list["Connection"], failed: list[str]) -> None:
        self._pool = pool
        self._failed = failed
        self._took: list[float] | None = None
        self._turn: Turn | None = None
        self._began = 0.0
        self._got = b""
        self.used_at = 0.0
        self.open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open."""
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, request: bytes, took: list[float], turn: Turn) -> None:
        """Send a request; the milliseconds until its answer is complete are added to `took`."""
        self._took, self._turn, self._got = took, turn, b""
        self._parser = HttpResponseParser(self)
        self._began = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Some of an answer."""
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        """Of a decision all is kept, of a page nothing."""
        if self._turn is not None and self._took is self._turn.decisions:
            self._got += data

    def on_message_complete(self) -> None:
        """The answer is complete."""
        assert self._took is not None
        assert self._turn is not None
        now = time.perf_counter()
        self._took.append((now - self._began) * 1e3)
        if (status := self._parser.get_status_code()) != 200:
            self._failed.append(f"status {status}: {self._got[:300]!r}")
        self._turn.invited += b'"action":"invite"' in self._got
        self._took, self.used_at = None, now
        self._pool.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        """The server closed it."""
        self.open = False
        if self._took is not None:
            self._failed.append(f"the connection was closed before the answer: {error!r}")

    def close(self) -> None:
        """Close it."""
        self._transport.close()


class Client:
    """Sends a prepared load to one port."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._pool: list[Connection] = []
        self._failed: list[str] = []
        self._waiting: set[asyncio.Task[None]] = set()

    async def run(self, load: Sequence[tuple[float, bytes, bool]]) -> Turn:
        """Send each request at its time (seconds from now; whether it is a decision). Raises BenchError."""
        turn, loop = Turn(), asyncio.get_running_loop()
        start = loop.time()
        for due, request, decision in load:
            # The loop's timers know milliseconds.
            if (early := start + due - loop.time()) > 0.001:
                await asyncio.sleep(early)
            self._send(request, turn.decisions if decision else turn.pages, turn)
            if self._failed:
                break
        if (late := loop.time() - start - load[-1][0]) > BEHIND_SECONDS:
            raise BenchError(f"the client was {late:.1f} s behind: this machine is too busy for it")
        until = loop.time() + LATE_SECONDS
        while len(turn.pages) + len(turn.decisions) < len(load) and not self._failed:
            if loop.time() > until:
                raise BenchError(f"not all of {len(load)} requests were answered")
            await asyncio.sleep(0.01)
        for connection in self._pool:
            connection.close()
        if self._failed:
            raise BenchError(self._failed[0])
        return turn

    def _send(self, request: bytes, took: list[float], turn: Turn) -> None:
        while self._pool:
            connection = self._pool.pop()
            if connection.open and time.perf_counter() - connection.used_at < KEEP_SECONDS:
                connection.ask(request, took, turn)
                return
            connection.close()
        task = asyncio.get_running_loop().create_task(self._connect(request, took, turn))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _connect(self, request: bytes, took: list[float], turn: Turn) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(self._pool, self._failed), "127.0.0.1", self._port
            )
        except OSError as error:
            self._failed.append(f"no connection: {error}")
        else:
            connection.ask(request, took, turn)


class Visitors:
    """Who asks: headers of pages and decisions, by visitor; and what they look at."""

    def __init__(self, cookies: Sequence[str], rng: random.Random) -> None:
        self._rng = rng
        self._views = 0
        self._heads = []
        for number, cookie in enumerate(cookies):
            client = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            own = {"Cookie": cookie, "X-Forwarded-For": client}
            self._heads.append((_head(_PAGE | own), _head(_DECIDE | own)))

    def load(self, seconds: float) -> list[tuple[float, bytes, bool]]:
        """Page views at random times, RATE a second on average, and the decision for each."""
        found, at = list[tuple[float, bytes, bool]](), 0.0
        while (at := at + self._rng.expovariate(RATE)) < seconds:
            page, decide = self._view(*self._rng.choice(self._heads))
            found += [(at, page, False), (at + self._rng.uniform(*ASKS_AFTER), decide, True)]
        found.sort(key=lambda one: one[0])
        return found

    def _view(self, page: bytes, decide: bytes) -> tuple[bytes, bytes]:
        self._views += 1
        path = f"/coffee/machines/espresso-{self._rng.randrange(PRODUCTS)}?sort=price"
        text = json.dumps(body(f"{self._views:010}-view") | {"url": f"http://{HOST}{path}"}).encode("ascii")
        return (
            b"GET %b HTTP/1.1\r\n%b\r\n" % (path.encode("ascii"), page),
            b"POST /-/clew/decide HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (decide, len(text), text),
        )


def _head(headers: dict[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("ascii")


def measure_fnac(options: Options, rules: Sequence[Rule], partners: Sequence[str]) -> Section:
    """Turns with clew and without it, in an order that depends on the seed. Raises BenchError."""
    rng = random.Random(options.seed)
    turns: dict[str, list[Turn]] = {"clew": [], "direct": []}
    cores = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="clew-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        write_shop(folder, options.seed)
        origin, upstream = peers.nginx("fnac", folder, f"root {folder}/www; {_SHOP}")
        write_settings(folder, upstream, rules, partners)
        command, port = peers.serve(folder)
        cookies, _ = asyncio.run(fill(folder / "clew-visits.db", rng, VISITORS))
        visitors = Visitors(cookies, rng)
        stack.enter_context(running(origin, upstream, folder, LOAD_CORE))
        clew = stack.enter_context(running(command, port, folder, SERVER_CORE))
        # The client must neither use the server's core nor stop for garbage collection.
        os.sched_setaffinity(0, {int(LOAD_CORE)})
        stack.callback(os.sched_setaffinity, 0, cores)
        gc.collect()
        gc.freeze()
        gc.disable()
        stack.callback(gc.enable)
        require(port, cookies[:200])
        ways = {"clew": port, "direct": upstream}
        for way in ways:
            turn_of(ways[way], clew, visitors, WARM_UP_SECONDS)
        for number in range(1, options.rounds + 1):
            for way in rng.sample(sorted(ways), len(ways)):
                turns[way].append(turn_of(ways[way], clew, visitors, options.seconds * TURN))
            print_progress(f"  round {number} of {options.rounds}")
    return section(turns, options)


def turn_of(port: int, clew: Process, visitors: Visitors, seconds: float) -> Turn:
    """One turn. Raises BenchError."""
    load = visitors.load(seconds)
    settle(clew)
    before = sum(cpu_seconds(clew).values())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        turn = runner.run(Client(port).run(load))
    settle(clew)
    turn.share = (sum(cpu_seconds(clew).values()) - before) / len(turn.pages) * RATE
    return turn


def write_settings(folder: Path, upstream: int, rules: Sequence[Rule], partners: Sequence[str]) -> None:
    """The settings of the other benchmarks, with these rules. The visitors' addresses come from the front
    server."""
    file = peers.clew_settings(folder, upstream)
    text = file.read_text().partition("[[sites.rules]]")[0].replace("[upstream]", f"{_TOP}[upstream]")
    tables = [
        f'\n[[sites.rules]]\nname = "{rule.name}"\naction = "{rule.action}"\n'
        f"when = {json.dumps(rule.when)}\npriority = {rule.priority}\nshare = {rule.share}\n"
        for rule in rules
    ]
    call = "https://partner.example/?click={click_id}"
    tables += [
        f'\n[[sites.partners]]\nid = "{one}"\nparam = "{one}"\npostback = "{call}"\n' for one in partners
    ]
    bounds = "".join(f"{name} = {{ site = 10000000, all = 10000000 }}\n" for name in LIMITS)
    file.write_text(f"{text}{''.join(tables)}\n[limits]\n{bounds}")


def require(port: int, cookies: Sequence[str]) -> None:
    """Raise BenchError unless a page has the tag, and some of the decisions come from the last rule."""
    page = get(port, "/coffee/", NAVIGATION | {"Cookie": cookies[0]})
    if page.status != 200 or page.body.count(TAG) != 1:
        raise BenchError(f"a page has no tag: {page.status} {page.body[:300]!r}")
    found = set()
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        for cookie in cookies:
            asks = json.dumps(body("view-first") | {"url": f"http://{HOST}/coffee/"})
            connection.request("POST", "/-/clew/decide", asks, HEADERS | {"Cookie": cookie})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise BenchError(f"wrong decision: {answer.status} {text[:300]!r}")
            found.add(json.loads(text)["rule"])
    if found != {None, "last"}:
        raise BenchError(f"decisions by {found}, and not only by the last rule")


def section(turns: dict[str, list[Turn]], options: Options) -> Section:
    """What clew adds: in each round, to the slowest hundredth of the pages and to that of the decisions."""
    added = {
        kind: [
            [
                quantile(getattr(ours, kind), part) - quantile(getattr(direct, kind), part)
                for ours, direct in zip(turns["clew"], turns["direct"], strict=True)
            ]
            for part in (0.5, 0.99)
        ]
        for kind in ("pages", "decisions")
    }
    middle, slowest = (list(map(max, *both)) for both in zip(added["pages"], added["decisions"], strict=True))
    shares = [turn.share for turn in turns["clew"]]
    figures = {
        "fnac_core_share": median(shares, 3),
        "fnac_median_added_ms": median(middle, 2),
        "fnac_p99_added_ms": median(slowest, 2),
    }
    rows = [
        [
            title,
            *(
                spread([quantile(getattr(turn, kind), part) for turn in turns[way]], ".2f")
                for kind in ("pages", "decisions")
                for part in (0.5, 0.99)
            ),
            spread(shares, ".3f") if way == "clew" else "",
        ]
        for way, title in (("direct", "directly"), ("clew", "through clew"))
    ]
    rows.append(["added", *(spread(one, ".2f") for kind in added.values() for one in kind), ""])
    invited = sum(turn.invited for turn in turns["clew"]) / sum(len(turn.decisions) for turn in turns["clew"])
    how = (
        f"{RATE} pages of 100 KB and {RATE} decisions a second at random times, {VISITORS:,} visitors in a "
        "SQLite store, 20 rules of which only the last can match; each visitor with a cookie and an address "
        "of its own, browsers that accept compressed pages. clew has one core; the shop, nginx, and the "
        "client share the other. Directly, the shop answers decisions with fixed JSON. Of the decisions, "
        f"{invited:.0%} invited. {options.rounds} rounds of {options.seconds * TURN} s in turn, seed "
        f"{options.seed}; milliseconds, median (lowest to highest)."
    )
    columns = ("asked", "page, median", "page, 99 %", "decision, median", "decision, 99 %", "of a core")
    return Section(figures, table("A large shop", how, columns, rows))


def quantile(values: Sequence[float], part: float) -> float:
    """A quantile of values."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]
