"""Opening connections: names with many addresses, some of them dead, and whether a shop is reachable."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_asyncio
from clew.middleware.http import dial as dial_module
from clew.middleware.http.dial import Dial, _first, _in_turn
from clew.middleware.http.faults import ConnectError, UpstreamTimeoutError
from raw_http import OK, PATIENCE, Client, Shop, answering, ended, get, proxying

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
Names = list[str]


@pytest_asyncio.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """A resolver with one name, which resolves to the given addresses, one for each shop."""
    known: Names = []
    loop = asyncio.get_running_loop()

    async def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known]

    class Loop:
        """The running loop with another resolver: uvloop's own cannot be patched."""

        def __getattr__(self, name: str) -> Any:
            return getaddrinfo if name == "getaddrinfo" else getattr(loop, name)

    class Asyncio:
        """The module with that loop."""

        def __getattr__(self, name: str) -> Any:
            return Loop if name == "get_running_loop" else getattr(asyncio, name)

    monkeypatch.setattr(dial_module, "asyncio", Asyncio())
    return known


@contextmanager
def dead_end(address: str, port: int) -> Iterator[str]:
    """An address that never answers: its queue is full, and the kernel drops what comes."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind((address, port))
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield address


class Closing(asyncio.Protocol):
    """Closes what it is given, and knows where it led."""

    led_to = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.led_to = transport.get_extra_info("peername")[0]
        transport.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


def dial_to(listener: socket.socket, seconds: float = PATIENCE) -> Dial:
    return Dial(f"http://shop.internal:{listener.getsockname()[1]}", seconds)


async def test_a_dead_address_does_not_use_up_the_time_for_connecting(
    names: Names, listener: socket.socket
) -> None:
    """proxy 6.15"""
    port = listener.getsockname()[1]
    with dead_end("127.0.0.2", port) as dead, dead_end("127.0.0.3", port) as dead_too:
        names += [dead, dead_too, "127.0.0.1"]
        assert (await dial_to(listener).open(Closing)).led_to == "127.0.0.1"


async def test_an_address_that_refuses_costs_nothing(
    names: Names, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """proxy 6.15"""
    monkeypatch.setattr(dial_module, "NEXT_ADDRESS_AFTER", PATIENCE * 10)
    names += ["127.0.0.4", "127.0.0.5", "127.0.0.1"]
    async with asyncio.timeout(PATIENCE):
        assert (await dial_to(listener, PATIENCE * 10).open(Closing)).led_to == "127.0.0.1"


async def test_no_address_that_answers_is_an_error_in_time(names: Names, listener: socket.socket) -> None:
    """proxy 6.2, 6.15"""
    port = listener.getsockname()[1]
    with dead_end("127.0.0.2", port) as dead, dead_end("127.0.0.3", port) as dead_too:
        names += [dead, dead_too]
        with pytest.raises(UpstreamTimeoutError):
            await dial_to(listener, 0.4).open(Closing)


@pytest.mark.parametrize("addresses", [["127.0.0.4", "127.0.0.5"], []])
async def test_no_address_that_listens_is_an_error_at_once(
    names: Names, listener: socket.socket, addresses: Names
) -> None:
    """proxy 6.1, 6.15"""
    names += addresses
    with pytest.raises(ConnectError):
        await dial_to(listener, PATIENCE * 10).open(Closing)


class Stand:
    """In place of a transport: whether it was given up."""

    def __init__(self) -> None:
        self.aborted = asyncio.Event()

    def abort(self) -> None:
        self.aborted.set()


@pytest.mark.parametrize("cancellable", [True, False])
async def test_a_connection_established_too_late_is_closed(
    monkeypatch: pytest.MonkeyPatch, cancellable: bool
) -> None:
    """proxy 6.15"""
    monkeypatch.setattr(dial_module, "NEXT_ADDRESS_AFTER", 0.0)
    stands = [Stand() for _ in range(3)]
    together = asyncio.Event()

    async def attempt(stand: Stand) -> Any:
        try:
            await together.wait()
        except asyncio.CancelledError:
            if cancellable:
                raise
        return stand, Closing()

    first = asyncio.create_task(_first([attempt(stand) for stand in stands]))
    for _ in range(10):
        await asyncio.sleep(0)
    together.set()
    won, _ = await first
    for stand in stands:
        if stand is not won:  # type: ignore[comparison-overlap]
            await asyncio.wait_for(stand.aborted.wait(), PATIENCE)
    assert not won.aborted.is_set()  # type: ignore[attr-defined]


async def test_a_cancelled_connect_leaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """proxy 6.7, 6.15"""
    ended: list[int] = []

    async def attempt(number: int) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(number)

    first = asyncio.create_task(_first([attempt(n) for n in range(3)]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    await asyncio.sleep(0)
    assert ended == [0]


async def test_a_name_that_moved_is_followed_by_the_next_connection(
    names: Names, listener: socket.socket
) -> None:
    """proxy 6.15: nothing is remembered of a name here"""
    with socket.create_server(("127.0.0.2", listener.getsockname()[1])):
        dial = dial_to(listener)
        for address in ("127.0.0.1", "127.0.0.2"):
            names[:] = [address]
            assert (await dial.open(Closing)).led_to == address


def test_the_families_are_tried_in_turn() -> None:
    """proxy 6.15"""
    v4, v6 = socket.AF_INET, socket.AF_INET6
    found = [
        (v6, 1, 6, "", ("::1", 80, 0, 0)),
        (v6, 1, 6, "", ("::2", 80, 0, 0)),
        (v6, 1, 6, "", ("::1", 80, 0, 0)),
    ]
    found_v4 = [(v4, 1, 6, "", (address, 80)) for address in ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")]
    assert _in_turn([*found, *found_v4]) == ["::1", "10.0.0.1", "::2", "10.0.0.2", "10.0.0.3", "10.0.0.4"]


async def test_a_name_of_this_machine_is_found_in_either_family() -> None:
    """proxy 6.15"""
    async with Shop(answering(OK)) as shop:
        shop.url = f"http://localhost:{shop.port}"
        async with proxying(shop) as port, Client(port) as client:
            assert (await client.ask(get())).body == b"ok"
            assert shop.requests[0].all("host") == [b"shop.example"]


async def test_an_unresolvable_upstream_name_is_a_bad_gateway() -> None:
    """proxy 6.1"""
    async with Shop(answering(OK)) as shop:
        shop.url = "http://nobody.invalid"
        async with proxying(shop) as port, Client(port) as client:
            response = await client.ask(get())
            assert (response.status, response.all("cache-control")) == (502, [b"no-store"])


async def silent(shop: Shop, reader: Reader, writer: Writer) -> None:
    await ended(reader)


async def test_the_result_of_the_last_connection_is_reused() -> None:
    """proxy 6.13"""
    async with Shop(silent) as shop:
        dial = Dial(shop.url, PATIENCE)
        await dial.open(Closing)
        for _ in range(5):
            assert await dial.reachable()
        await shop.until(lambda: shop.closed == 1)
        assert shop.connections == 1


async def test_an_expired_result_is_renewed_once_for_all_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    """proxy 6.13"""
    async with Shop(silent) as shop:
        dial = Dial(shop.url, PATIENCE)
        assert await asyncio.gather(*(dial.reachable() for _ in range(20))) == [True] * 20
        await shop.until(lambda: shop.closed == 1)
        assert shop.connections == 1
    assert await dial.reachable()
    monkeypatch.setattr(dial_module, "KNOWN_FOR", -1.0)
    assert not await dial.reachable()


async def test_a_shop_that_comes_back_is_reachable_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """proxy 6.13"""
    monkeypatch.setattr(dial_module, "KNOWN_FOR", -1.0)
    async with Shop(silent) as shop:
        url = shop.url
    dial = Dial(url, PATIENCE)
    assert not await dial.reachable()
    with pytest.raises(ConnectError):
        await dial.open(Closing)
    with socket.create_server(("127.0.0.1", shop.port)):
        assert await dial.reachable()


async def test_a_cancelled_caller_does_not_cancel_the_shared_check() -> None:
    """proxy 6.13"""
    async with Shop(silent) as shop:
        dial = Dial(shop.url, PATIENCE)
        first, second = (asyncio.create_task(dial.reachable()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await second
