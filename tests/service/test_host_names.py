"""Host names of addresses: confirmed, remembered, bounded, and never asked for in the loop."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from clew.events.events import Events
from clew.service import host_names
from clew.service.clock import Clock
from clew.service.host_names import HostNames, confirmed_name
from clew.service.limits import Limits
from clew.settings.model import Limits as Settings
from prometheus_client import CollectorRegistry


class Resolver:
    """Names by address; holds its answers until they are let go."""

    def __init__(self) -> None:
        self.names: dict[str, str | None] = {}
        self.asked: list[str] = []
        self.go = threading.Event()
        self.threads: set[int] = set()

    def __call__(self, address: str) -> str | None:
        self.asked.append(address)
        self.threads.add(threading.get_ident())
        assert self.go.wait(30)
        if address not in self.names:
            raise OSError("no answer")
        return self.names[address]


@pytest_asyncio.fixture
async def made() -> AsyncIterator[tuple[HostNames, Resolver, Events]]:
    events, resolver, clock = Events(CollectorRegistry()), Resolver(), Clock()
    names = HostNames(events, clock, Limits(Settings(), events), resolver)
    yield names, resolver, events
    resolver.go.set()
    names.close()


async def test_a_name_is_asked_for_once_beside_the_loop_and_remembered(
    made: tuple[HostNames, Resolver, Events], monkeypatch: pytest.MonkeyPatch
) -> None:
    names, resolver, _ = made
    resolver.names["198.51.100.7"] = "desk.company.example"
    first = names.known("shop", "198.51.100.7")
    assert isinstance(first, asyncio.Future)
    assert names.known("shop", "198.51.100.7") is first
    resolver.go.set()
    assert await first == "desk.company.example"
    assert names.known("other", "198.51.100.7") == "desk.company.example"
    assert resolver.asked == ["198.51.100.7"]
    assert threading.get_ident() not in resolver.threads
    # That there is none is remembered too, for a shorter time.
    second = names.known("shop", "198.51.100.8")
    assert isinstance(second, asyncio.Future)
    with pytest.raises(OSError, match="no answer"):
        await second
    assert names.known("shop", "198.51.100.8") is None
    later = names._clock.monotonic() + host_names.FAILED_SECONDS + 1
    monkeypatch.setattr(names._clock, "monotonic", lambda: later)
    assert names.known("shop", "198.51.100.7") == "desk.company.example"
    again = names.known("shop", "198.51.100.8")
    assert isinstance(again, asyncio.Future)
    with pytest.raises(OSError, match="no answer"):
        await again


async def test_what_waits_and_what_is_remembered_is_bounded_and_told(
    made: tuple[HostNames, Resolver, Events], monkeypatch: pytest.MonkeyPatch
) -> None:
    names, resolver, events = made
    found = [names.known("shop", f"198.51.{n}.1") for n in range(host_names.WAITING + 3)]
    assert [one is None for one in found] == [False] * host_names.WAITING + [True] * 3
    assert [notice.details["fact"] for notice in events.take_noted()] == ["place.hostname"]
    resolver.go.set()
    await asyncio.gather(*(one for one in found if isinstance(one, asyncio.Future)), return_exceptions=True)
    monkeypatch.setattr(host_names, "KEPT", 5)
    last = names.known("shop", "203.0.113.1")
    assert isinstance(last, asyncio.Future)
    await asyncio.gather(last, return_exceptions=True)
    assert len(names._names) == 5
    for what in (None, "", "unix:", "client.example"):
        assert names.known("shop", what) is None


async def test_one_network_has_only_so_many_addresses_asked_for(
    made: tuple[HostNames, Resolver, Events],
) -> None:
    names, resolver, _ = made
    resolver.go.set()
    asked = 0
    for number in range(40):
        found = names.known("shop", f"2001:db8::{number + 1:x}")
        if isinstance(found, asyncio.Future):
            asked += 1
            await asyncio.gather(found, return_exceptions=True)
    assert asked == 20
    assert isinstance(names.known("shop", "198.51.100.7"), asyncio.Future)


@pytest.mark.parametrize(
    ("name", "leads_to", "found"),
    [
        ("Desk.Company.example.", ["198.51.100.7"], "desk.company.example"),
        # Anybody can have its address called so.
        ("desk.company.example", ["203.0.113.9"], None),
        ("desk.company.example", [], None),
        ("d\u00e9sk.example", ["198.51.100.7"], None),
        (f"{'a' * 254}", ["198.51.100.7"], None),
    ],
)
def test_a_name_counts_only_if_it_leads_back_to_the_address(
    name: str, leads_to: list[str], found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(host: str, *given: Any, **more: Any) -> list[Any]:
        assert host == name
        if not leads_to:
            raise socket.gaierror("unknown")
        return [(socket.AF_INET, 0, 0, "", (one, 0)) for one in leads_to]

    monkeypatch.setattr(socket, "gethostbyaddr", lambda address: (name, [], [address]))
    monkeypatch.setattr(socket, "getaddrinfo", forward)
    assert confirmed_name("198.51.100.7") == found


def test_the_machine_knows_itself() -> None:
    assert confirmed_name("127.0.0.1") == "localhost"
    assert confirmed_name("192.0.2.1") is None
