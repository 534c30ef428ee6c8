"""A partner's receiver on a real socket with configurable responses, and reports to send there."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clew.orders.model import OrderSeen
from clew.postbacks.model import Report
from clew.stores.ledger.database import Database
from clew.stores.ledger.engines import database_at
from recorded import Credit, put_order


@dataclass
class Got:
    """A received request."""

    method: str
    target: bytes
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """What to answer. `then`: close, reset (RST), hang (never answer) or hang_after (never end the body)."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    then: str = "close"


class Receiver:
    """Answers each request with the next of `replies`, and with the last one from then on."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.replies: list[Reply] = [Reply()]
        self.arrived = asyncio.Event()
        self.open = 0
        self.most = 0
        self.gate: asyncio.Event | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    @property
    def address(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def wait(self, count: int) -> list[Got]:
        """All that came, once there are so many."""
        async with asyncio.timeout(60):
            while len(self.got) < count:
                self.arrived.clear()
                await self.arrived.wait()
        return self.got

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await self._answer(reader, writer)
        except (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.rstrip(b"\r\n").split(b"\r\n")
        method, target, _ = first.split(b" ")
        headers = {k.decode().lower(): v.strip().decode() for k, _, v in (x.partition(b":") for x in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.got.append(Got(method.decode(), target, headers, body))
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        self.arrived.set()
        if self.gate is not None:
            await self.gate.wait()
        if reply.then == "hang":
            await asyncio.Event().wait()
        if reply.then == "reset":
            writer.transport.abort()
            return
        length = len(reply.body) + (1 if reply.then == "hang_after" else 0)
        extra = "".join(f"{k}: {v}\r\n" for k, v in reply.headers.items())
        writer.write(
            f"HTTP/1.1 {reply.status} X\r\nContent-Length: {length}\r\n{extra}\r\n".encode() + reply.body
        )
        await writer.drain()
        if reply.then == "hang_after":
            await asyncio.Event().wait()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    await found.start()
    yield found
    await found.stop()


@pytest.fixture
def reply() -> type[Reply]:
    return Reply


@pytest.fixture
def report() -> Callable[..., Report]:
    def build(**changes: Any) -> Report:
        values: dict[str, Any] = {
            "event": "order",
            "partner": "blog",
            "click_id": "1001_1763859600_0123456789abcdef",
            "order_id": "100001",
            "amount": "59.90",
            "currency": "EUR",
            "channel": "chat",
            "order_time": 1763860000,
            "landing_time": 1763859600,
        }
        return Report(**values | changes)

    return build


class Clock:
    """A clock that is advanced by the test."""

    def __init__(self) -> None:
        self.now = 1763860000.0

    def __call__(self) -> float:
        return self.now


class Events:
    """The events, with a way to wait for them."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.timed: list[tuple[str, str, str]] = []
        self._more = asyncio.Event()

    def emit(self, name: str, *, site: str, **fields: Any) -> None:
        self.events.append({"name": name, "site": site, **fields})
        self._more.set()

    def notice(self, name: str, *, site: str, key: str, **fields: Any) -> bool:
        self.emit(name, site=site, key=key, **fields)
        return True

    def failed(self, error: BaseException, *, site: str, where: str) -> None:
        self.emit("fault", site=site, where=where, error=repr(error))

    def took(self, what: str, site: str, outcome: str, seconds: float) -> None:
        assert 0 <= seconds < 60
        self.timed.append((what, site, outcome))

    async def wait_for(self, name: str) -> None:
        """Wait until an event of this name was emitted."""
        async with asyncio.timeout(60):
            while all(e["name"] != name for e in self.events):
                self._more.clear()
                await self._more.wait()

    async def outcomes(self, count: int) -> list[str]:
        """Wait until there are so many postback events; returns their outcomes."""
        async with asyncio.timeout(60):
            while len(found := [e["outcome"] for e in self.events if e["name"] == "postback"]) < count:
                self._more.clear()
                await self._more.wait()
        return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    found = database_at(f"sqlite:{tmp_path / 'clew.db'}")
    await found.open()
    yield found
    await found.close()


@pytest.fixture
def owe(db: Database, report: Callable[..., Report]) -> Callable[..., Awaitable[None]]:
    """Record orders, each with one postback due to `partner`."""

    async def record(*orders: str, partner: str = "blog", now: float = 1763860000.0, **changes: Any) -> None:
        for order_id in orders:
            await put_order(
                db,
                OrderSeen(order_id, Decimal("59.90"), "EUR", "page"),
                channel="chat",
                credit=Credit(
                    partner=None, click=None, touched_at=None, reason="for the test", considered=()
                ),
                reports=[report(order_id=order_id, partner=partner, **changes)],
                now=now,
            )

    return record
