"""Two thousand visitors and fifty agents in conversation: how long a message takes from a visitor to its
agent, and what streams cost on which nothing is said."""

import asyncio
import json
import os
import random
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import peers
from argon2 import PasswordHasher
from clew.referral.cookie import Known, new_visitor_id
from clew.stores.ledger.agents import Agents
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.schema import conversations
from database_servers import Postgres, Redis
from load import print_progress
from options import Options
from pinned import (
    BOTH_CORES,
    LOAD_CORE,
    SERVER_CORE,
    BenchError,
    Process,
    allow_open_files,
    cpu_seconds,
    running,
)
from report import Section, table
from sqlalchemy import select
from visitors import visitor_cookie
from widget import widget_gzip_kb
from workloads import HOST, write_shop

VISITORS, AGENTS = 2000, 50
WRITERS = VISITORS // 10  # they write twice a second
PAUSE = 0.5
KEEP_SECONDS = 2.0
IDLE_SECONDS = 10.0
TALK_SECONDS = 60.0
LATE_SECONDS = 20.0  # after which a message counts as lost
PASSWORD = "correct horse battery"
WARNINGS = 20  # lines of the server's log that are shown when a run fails
# The end of the figures' keys, a title, workers, cores, and whether PostgreSQL and Redis are the stores.
SETUPS = (
    ("", "one worker on one core, SQLite", 1, SERVER_CORE, False),
    ("_two_sqlite", "two workers on two cores, SQLite", 2, BOTH_CORES, False),
    ("_two_redis", "two workers on two cores, PostgreSQL and Redis", 2, BOTH_CORES, True),
)
_PROXIES = 'trusted_proxies = ["127.0.0.1/32"]\n\n'
_CHAT = "\n[sites.chat]\nmessages_per_minute = 600\n"
_LIMITS = """
[limits]
messages = { site = 1000000, all = 1000000 }
conversations = { site = 100000, all = 100000 }
reads = { site = 1000000, all = 1000000 }
streams = { site = 10000, all = 10000 }
"""


def bench_talk(options: Options) -> Section:
    """Each set-up with processes of its own. Raises BenchError."""
    allow_open_files()
    allowed = os.sched_getaffinity(0)
    figures: dict[str, float] = {}
    rows = []
    for key, title, workers, cores, servers in SETUPS:
        with tempfile.TemporaryDirectory(prefix="clew-bench-") as name, ExitStack() as stack:
            stores = database_servers(stack) if servers else ""
            found = measure(Path(name), options, workers, cores, stores)
        figures |= {f"chat_p99_ms{key}": round(found.quantile(0.99), 1)}
        figures |= {f"streams2000_idle_core{key}": round(found.idle, 4)}
        rows.append(
            [
                title,
                f"{found.quantile(0.5):.1f}",
                f"{found.quantile(0.99):.1f}",
                f"{max(found.waits) * 1e3:.0f}",
                f"{len(found.waits)}",
                f"{found.idle * 100:.2f} %",
                f"{found.busy * 100:.0f} %",
            ]
        )
        print_progress(f"  {' | '.join(rows[-1])}")
    os.sched_setaffinity(0, allowed)
    how = (
        f"{VISITORS} visitors with open streams, {AGENTS} agents at their desks; each tenth visitor writes "
        f"twice a second for {TALK_SECONDS:.0f} s, and each message is awaited on its agent's stream and on "
        "its writer's own. None was lost, doubled or out of order."
    )
    columns = ("clew", "median ms", "p99 ms", "longest ms", "messages", "idle, of a core", "busy, of a core")
    figures |= widget_gzip_kb(options)
    return Section(figures, table("Conversations", how, columns, rows))


def database_servers(stack: ExitStack) -> str:
    """Start them; the settings of the stores."""
    postgres, redis = Postgres(fast=False), Redis()
    for server in (postgres, redis):
        stack.callback(server.remove)
        server.start()
    ledger = postgres.url(postgres.database())
    return f'store = "redis://127.0.0.1:{redis.port}/0"\nledger = "{ledger}"\n'


@dataclass
class Found:
    """Seconds from each message to its agent, and the share of a core that clew took without and with
    them."""

    waits: list[float] = field(default_factory=list)
    idle: float = 0.0
    busy: float = 0.0

    def quantile(self, part: float) -> float:
        """In milliseconds."""
        return sorted(self.waits)[min(len(self.waits) - 1, int(len(self.waits) * part))] * 1e3


def measure(folder: Path, options: Options, workers: int, cores: str, stores: str) -> Found:
    """Raises BenchError."""
    write_shop(folder, options.seed)
    origin, upstream = peers.shop(folder)
    file = peers.clew_settings(folder, upstream)
    top, rest = file.read_text().split("[upstream]", 1)
    file.write_text(f"{stores}{_PROXIES}{top}[upstream]{rest}{_CHAT}{_LIMITS}")
    command, port = peers.serve(folder, workers)
    ledger = re.search(r'^ledger = "(.*)"', stores, re.MULTILINE)
    address = ledger[1] if ledger else f"sqlite:{folder / 'clew.db'}"
    # The load takes no time of a server that has one core.
    os.sched_setaffinity(0, {int(core) for core in (LOAD_CORE if cores == SERVER_CORE else cores).split(",")})
    with running(origin, upstream, folder, LOAD_CORE), running(command, port, folder, cores) as process:
        asyncio.run(add_agents(address))
        try:
            return asyncio.run(Load(port, process, address, options).run())
        except BenchError as error:
            raise BenchError(f"{error}\n{warnings_in(folder / f'{port}.log')}") from None


def warnings_in(log: Path) -> str:
    """The last lines of a server's log that are more than a note of what it did."""
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join([line for line in lines if '"level":"info"' not in line][-WARNINGS:])


async def add_agents(address: str) -> None:
    """With passwords that take little to check."""
    ledger = database_at(address)
    await ledger.open()
    agents = Agents(ledger, PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    for number in range(AGENTS):
        await agents.add(f"agent{number}", PASSWORD, site=None, now=time.time())
    await ledger.close()


async def conversations_of(address: str) -> Mapping[str, str]:
    """The conversations' ids by visitor."""
    ledger = database_at(address)
    await ledger.open()
    async with ledger.read() as connection:
        rows = await connection.execute(select(conversations.c.visitor, conversations.c.id))
        found = {row.visitor: row.id for row in rows.all()}
    await ledger.close()
    return found


class Http:
    """A connection, for one request after the other."""

    def __init__(self, port: int, client: str) -> None:
        self.client = client
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._used_at = 0.0

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers and body."""
        status, found = await self.begin(method, path, headers, body)
        assert self._reader is not None
        values = dict(found)
        if "content-length" in values:
            return status, found, await self._reader.readexactly(int(values["content-length"]))
        if values.get("transfer-encoding") == "chunked":
            return status, found, b"".join([chunk async for chunk in self.chunks()])
        return status, found, b""

    async def begin(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, list[tuple[str, str]]]:
        """Status and headers."""
        # The server closes a connection on which nothing is asked for some seconds.
        if self._writer is None or time.monotonic() - self._used_at > KEEP_SECONDS:
            if self._writer is not None:
                self._writer.close()
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        assert self._reader is not None
        self._used_at = time.monotonic()
        lines = {"Host": HOST, "X-Forwarded-For": self.client, "Content-Length": str(len(body)), **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        first, *rest = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
        found = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in rest)]
        return int(first.split()[1]), found

    async def chunks(self) -> AsyncIterator[bytes]:
        """The parts of a body."""
        assert self._reader is not None
        while size := int(await self._reader.readline(), 16):
            yield (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readline()

    async def events(self) -> AsyncIterator[tuple[str, str]]:
        """Names and data of the events of a stream."""
        kept = b""
        async for chunk in self.chunks():
            *whole, kept = (kept + chunk).split(b"\n\n")
            for one in whole:
                lines = (line.partition(":") for line in one.decode().split("\n"))
                fields = {name: value.strip() for name, _, value in lines}
                if "data" in fields:
                    yield fields.get("event", "message"), fields["data"]


@dataclass
class Visitor:
    """Who writes, and what of it has arrived where. `sent` has the time of each text."""

    number: int
    id: str
    cookie: str
    http: Http
    sent: dict[str, float] = field(default_factory=dict)
    at_agent: list[str] = field(default_factory=list)
    at_own: list[str] = field(default_factory=list)
    conversation: str = ""


def visitor_of(port: int, number: int) -> Visitor:
    """One with a cookie and an address of its own."""
    known = Known(new_visitor_id(), (), int(time.time()))
    cookie = visitor_cookie().set_cookie(known, False).decode("ascii").partition(";")[0]
    return Visitor(number, known.visitor, cookie, Http(port, f"10.{number // 250}.{number % 250}.7"))


class Load:
    """Visitors and agents, in one process."""

    def __init__(self, port: int, process: Process, address: str, options: Options) -> None:
        self._port = port
        self._process = process
        self._address = address
        self._rng = random.Random(options.seed)
        self._visitors = [visitor_of(port, number) for number in range(VISITORS)]
        self._found = Found()
        self._tasks: list[asyncio.Task[None]] = []
        self._arrived = asyncio.Event()

    async def run(self) -> Found:
        """Raises BenchError."""
        writers = self._visitors[:WRITERS]
        for group in range(0, VISITORS, 50):
            await asyncio.gather(*(self._say(v, "begin") for v in self._visitors[group : group + 50]))
        for visitor in self._visitors:
            await self._follow(visitor)
        talks = await conversations_of(self._address)
        for visitor in writers:
            visitor.conversation = talks[visitor.id]
        await self._begin_desks(writers)
        await asyncio.sleep(5)
        self._found.idle = await self._used(asyncio.sleep(IDLE_SECONDS), IDLE_SECONDS)
        self._found.busy = await self._used(self._talk(writers), TALK_SECONDS)
        await self._require_all(writers)
        for task in self._tasks:
            if task.done() and task.exception() is not None:
                raise BenchError(repr(task.exception()))
            task.cancel()
        return self._found

    async def _used(self, work: Awaitable[None], seconds: float) -> float:
        before = sum(cpu_seconds(self._process).values())
        await work
        return (sum(cpu_seconds(self._process).values()) - before) / seconds

    async def _say(self, visitor: Visitor, said: str) -> None:
        body = json.dumps({"text": said, "client_id": f"{said:_<8}".replace(" ", "-")}).encode()
        headers = {"Cookie": visitor.cookie, "Content-Type": "application/json", "Origin": f"http://{HOST}"}
        status, _, answer = await visitor.http.ask("POST", "/-/clew/messages", headers, body)
        if status != 201:
            raise BenchError(f"a message got {status} {answer[:200]!r}")

    async def _follow(self, visitor: Visitor) -> None:
        stream = Http(self._port, visitor.http.client)
        status, headers = await stream.begin("GET", "/-/clew/stream?after=0", {"Cookie": visitor.cookie})
        if status != 200:
            raise BenchError(f"a stream got {status} {headers}")

        async def read() -> None:
            async for name, data in stream.events():
                if name != "message":
                    continue  # that an agent is there, writes, or has read
                visitor.at_own.append(json.loads(data)["text"])
                self._arrived.set()

        self._tasks.append(asyncio.create_task(read()))

    async def _begin_desks(self, writers: Sequence[Visitor]) -> None:
        each: dict[int, list[Visitor]] = defaultdict(list)
        for visitor in writers:
            each[visitor.number % AGENTS].append(visitor)
        for number in range(AGENTS):
            desk = Desk(Http(self._port, f"10.200.0.{number}"), f"agent{number}")
            await desk.login()
            for visitor in each[number]:
                await desk.take(visitor.conversation)
            self._tasks.append(asyncio.create_task(self._watch(desk, each[number])))
            self._tasks.append(asyncio.create_task(desk.refresh()))

    async def _watch(self, desk: "Desk", visitors: Sequence[Visitor]) -> None:
        by = {visitor.conversation: visitor for visitor in visitors}
        async for name, data in desk.events(self._port, list(by)):
            now = time.perf_counter()
            if name == "changed":
                desk.names = json.loads(data)
                desk.changed.set()
            if name != "message":
                continue
            message = json.loads(data)
            visitor, text = by[message["conversation"]], message["text"]
            visitor.at_agent.append(text)
            if text in visitor.sent:
                self._found.waits.append(now - visitor.sent[text])
            self._arrived.set()

    async def _talk(self, writers: Sequence[Visitor]) -> None:
        until = time.perf_counter() + TALK_SECONDS

        async def write(visitor: Visitor) -> None:
            await asyncio.sleep(self._rng.uniform(0, PAUSE))
            due, number = time.perf_counter(), 0
            while due < until:
                said = f"question {visitor.number} {number}"
                visitor.sent[said] = time.perf_counter()
                await self._say(visitor, said)
                number, due = number + 1, due + PAUSE
                await asyncio.sleep(max(0.0, due - time.perf_counter()))

        await asyncio.gather(*(write(visitor) for visitor in writers))

    async def _require_all(self, writers: Sequence[Visitor]) -> None:
        """Each message arrived once and in order, at its agent and on its writer's own stream."""
        until = time.monotonic() + LATE_SECONDS
        while time.monotonic() < until:
            if all(len(v.at_agent) >= len(v.sent) and len(v.at_own) > len(v.sent) for v in writers):
                break
            self._arrived.clear()
            try:
                async with asyncio.timeout(1):
                    await self._arrived.wait()
            except TimeoutError:
                continue
        for visitor in writers:
            if visitor.at_agent != list(visitor.sent):
                lost = [text for text in visitor.sent if text not in visitor.at_agent]
                said = f"the agent of visitor {visitor.number} did not get each message once, in order"
                raise BenchError(f"{said}: {lost[:5]}, {visitor.at_agent[:5]}")
            if visitor.at_own != ["begin", *visitor.sent]:
                raise BenchError(f"visitor {visitor.number} did not get its own messages once, in order")


class Desk:
    """An agent's browser: it has a stream, and asks for the page again when that has changed."""

    def __init__(self, http: Http, name: str) -> None:
        self._http = http
        self._name = name
        self._cookies: dict[str, str] = {}
        self._page = ""
        self.changed = asyncio.Event()
        self.names: Sequence[str] = ()

    async def _ask(self, method: str, path: str, form: Mapping[str, str] | None = None) -> str:
        headers, body = {"Cookie": self._cookie}, b""
        if form is not None:
            body = urlencode(form).encode()
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://{HOST}"}
        status, found, answer = await self._http.ask(method, f"/-/clew/desk{path}", headers, body)
        for name, value in found:
            if name == "set-cookie":
                cookie, _, text = value.partition(";")[0].partition("=")
                self._cookies[cookie] = text
        if status not in (200, 303):
            raise BenchError(f"the desk's {path} got {status} {answer[:300]!r}")
        return answer.decode()

    @property
    def _cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self._cookies.items())

    def _field(self, name: str) -> str:
        found = re.search(rf'(?:name="{name}"[^>]* value|data-{name})="([^"]*)"', self._page)
        if found is None:
            raise BenchError(f"the desk's page has no {name}: {self._page[:500]}")
        return found[1]

    async def login(self) -> None:
        """Raises BenchError."""
        self._page = await self._ask("GET", "/login")
        form = {"name": self._name, "password": PASSWORD, "csrf": self._field("csrf")}
        await self._ask("POST", "/login", form)
        self._page = await self._ask("GET", "/")
        self._csrf, self._key, self._mark = self._field("csrf"), self._field("key"), self._field("mark")

    async def take(self, conversation: str) -> None:
        """Have a conversation."""
        await self._ask("POST", f"/conversations/{conversation}/take", {"csrf": self._csrf})

    async def events(self, port: int, conversations: Sequence[str]) -> AsyncIterator[tuple[str, str]]:
        """Names and data of the events of the desk's stream. Raises BenchError."""
        stream = Http(port, self._http.client)
        query = urlencode([("mark", self._mark), ("key", self._key), ("conversation", conversations[0])])
        self._shown = conversations[0]
        status, found = await stream.begin("GET", f"/-/clew/desk/stream?{query}", {"Cookie": self._cookie})
        if status != 200:
            raise BenchError(f"a desk's stream got {status} {found}")
        async for name, data in stream.events():
            yield name, data

    async def refresh(self) -> None:
        """Ask for the inbox, or for the page, as templates/desk/desk.js does."""
        while True:
            await self.changed.wait()
            self.changed.clear()
            page, inbox = f"/conversations/{self._shown}", f"/lines?current={self._shown}"
            await self._ask("GET", page if "page" in self.names else inbox)
