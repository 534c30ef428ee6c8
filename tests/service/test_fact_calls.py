"""Facts of the shop's API: a slow API, or a stranger with many cookies, costs no other site its facts."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from clew.events.events import Events
from clew.referral.networks_file import load
from clew.service import fact_calls
from clew.service.clock import Clock
from clew.service.custom_facts import cookie
from clew.service.fact_calls import OF_CLIENT, OF_SITE, FactCalls
from clew.service.facts import Client
from clew.service.limits import Limits
from clew.service.outside import OF_CLIENT as PAGES_OF_CLIENT
from clew.service.outside import Outside
from clew.service.site import SiteRuntime
from clew.settings.model import Limits as LimitSettings
from clew.settings.model import Settings
from clew.stores.visits_sqlite import SqliteVisits
from prometheus_client import CollectorRegistry


class Api:
    """The API of a shop, which answers once `answers` is set."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.asked: list[str] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.split()[1].decode())
        await self.answers.wait()
        writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 13\r\nconnection: close\r\n\r\n{"points": 7}')
        await writer.drain()
        writer.close()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Api"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/?t={{cookie}}"
        yield self
        self.answers.set()
        await self.settled()
        server.close()

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.add(asyncio.create_task(work))

    async def settled(self) -> None:
        async with asyncio.timeout(20):
            await asyncio.gather(*self.tasks)

    def site(self, name: str) -> SiteRuntime:
        fact = {"type": "int", "json_path": "points", "timeout": 10, "allow_private": True}
        fact |= {"url": self.url, "cookie": "t"}
        rule = {"name": "one", "action": "hide", "when": ["custom.points > 5"]}
        site = {"name": name, "rules": [rule], "facts": {"points": fact}}
        settings = Settings.model_validate({"secret": "k" * 20 + "abcdefghijklmnop", "sites": [site]})
        return SiteRuntime(settings, settings.sites[0], load())


def stranger(number: int, address: str) -> Client:
    return Client({b"cookie": f"t={number}".encode()}, address)


async def test_one_stranger_or_one_slow_api_does_not_take_the_calls_of_all_others() -> None:
    async with Api().serving() as api:
        calls, one, other = FactCalls(Events(CollectorRegistry()), Clock(), api.later), *map(api.site, "ab")
        asked = [calls.known(one, "v", stranger(number, "192.0.2.1")) for number in range(OF_CLIENT + 1)]
        assert [bool(found.waiting) for found in asked] == [True] * OF_CLIENT + [False]
        # It is asked again in a moment.
        assert [found.crowded for found in asked] == [False] * OF_CLIENT + [True]
        more = [calls.known(one, "v", stranger(100 + n, f"192.0.2.{n}")) for n in range(2, OF_SITE + 2)]
        assert sum(found.crowded for found in more) == OF_CLIENT
        found = calls.known(other, "v", stranger(0, "192.0.2.1"))
        assert found.waiting
        api.answers.set()
        await api.settled()
        assert calls.known(one, "v", stranger(0, "192.0.2.1")).values == {"custom.points": 7}
        again = calls.known(one, "v", stranger(OF_CLIENT, "192.0.2.1"))
        assert (bool(again.waiting), again.crowded) == (True, False)


async def test_a_stranger_with_many_cookies_takes_no_other_sites_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fact_calls, "KEPT", 8)
    async with Api().serving() as api:
        api.answers.set()
        calls, one, other = FactCalls(Events(CollectorRegistry()), Clock(), api.later), *map(api.site, "ab")
        calls.known(other, "v", stranger(0, "192.0.2.9"))
        await api.settled()
        for number in range(12):
            calls.known(one, "v", stranger(number, "192.0.2.1"))
            await api.settled()
        assert calls.known(other, "v", stranger(0, "192.0.2.9")).values == {"custom.points": 7}
        assert len(api.asked) == 13
        assert calls.known(one, "v", stranger(0, "192.0.2.1")).waiting


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (b"a=b", "b"),
        (b'a="b c"', "b c"),
        (rb'a="b\"c\\d\054e\303"', 'b"c\\d,e\xc3'),
        (b'a="b', '"b'),
        (b'x=1; a="', '"'),
        (rb'a="b\"', "b\\"),
        (rb'a="' + rb"\"" * 5000 + b'"', '"' * 5000),
    ],
)
def test_a_quoted_cookie_is_read_as_it_was_written(given: bytes, value: str) -> None:
    assert cookie({b"cookie": given}, "a") == value


async def test_pages_of_one_stranger_take_no_others_place(tmp_path: Path) -> None:
    events, clock = Events(CollectorRegistry()), Clock()
    visits = SqliteVisits(tmp_path / "clew.db", asyncio.Lock())
    await visits.open()
    nothing: Any = None
    limits = Limits(LimitSettings(), events)
    outside = Outside(visits, nothing, events, clock, nothing, limits)
    product = {"id": "mill"}
    try:
        for number in range(PAGES_OF_CLIENT + 20):
            await outside.read("shop", f"{number}", product, public=True, client="192.0.2.1")
        kept = [outside.fresh("shop", f"{number}") for number in range(PAGES_OF_CLIENT + 20)]
        assert sum(kept) == PAGES_OF_CLIENT
        stored = [
            await visits.page("shop", f"product!{number}", clock.now()) for number in (0, len(kept) - 1)
        ]
        assert [one is not None for one in stored] == [True, False]
        await outside.read("shop", "other", product, public=True, client="192.0.2.2")
        assert outside.fresh("shop", "other")
    finally:
        await visits.close()
