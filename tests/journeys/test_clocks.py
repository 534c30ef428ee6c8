"""Two machines that share PostgreSQL and Redis; the clock of one of them is five minutes off."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from clews import AGENT, PASSWORD, ClewFolder, ClewServe, wait_for_event
from database_servers import Postgres, Redis
from desks import login
from raw_http import read_request
from small_shops import SmallShop, html

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

SETTINGS = """
secret = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
ledger = "{ledger}"
store = "{store}"
log = "json"

[delivery]
timeout = 3

[[sites]]
name = "shop"
hosts = ["127.0.0.1"]
upstream = "{shop}"
api_token = "token-of-the-shop-0123456789"

[[sites.partners]]
id = "friend"
param = "friend"
postback = "http://127.0.0.1:{partner}/sale?click={{click_id}}&order={{order_id}}"
allow_private = true

[sites.order]
page = "/thanks*"
id = "#number"
total = "#total"
currency = "EUR"
"""
# Python imports it before anything else.
SHIFTED = """
import time

_time = time.time
time.time = lambda: _time() + {seconds}
"""
NAVIGATION = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
API = {"Authorization": "Bearer token-of-the-shop-0123456789"}
PRESENT = "SELECT seen_at FROM agents"
THANKS = '<p id="number">{}</p><p id="total">59.90 €</p>'
# Of what both machines write, apart from the truth.
CLOSE = 10.0


@dataclass
class Slow:
    """A partner's server that keeps its calls, and answers each while `answer` is set."""

    calls: list[bytes] = field(default_factory=list)
    answer: asyncio.Event = field(default_factory=asyncio.Event)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                self.calls.append((await read_request(reader)).target)
                await self.answer.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def called(self, order: str) -> int:
        """How often it was told of an order."""
        return sum(call.endswith(f"order={order}".encode()) for call in self.calls)

    async def close(self) -> None:
        """Close the connections that are left."""
        for writer in self.writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self.writers), return_exceptions=True)


@dataclass
class Two:
    """The first machine has the right time, the other not. Each test has orders of its own there."""

    right: ClewServe
    wrong: ClewServe
    folders: tuple[ClewFolder, ClewFolder]
    postgres: Postgres
    database: str
    partner: Slow

    def rows(self, query: str) -> list[Any]:
        return self.postgres.execute(query, self.database)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Postgres, Redis]]:
    with Postgres() as postgres, Redis() as redis:
        yield postgres, redis


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[-300, 300])
async def two(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, servers: tuple[Postgres, Redis]
) -> AsyncIterator[Two]:
    postgres, redis = servers
    folder = tmp_path_factory.mktemp("clocks")
    number = 1 + [-300, 300].index(request.param)
    database = await asyncio.to_thread(postgres.database)
    partner = Slow()
    partner.answer.set()
    listening = await asyncio.start_server(partner.serve, "127.0.0.1", 0)
    pages = {"/": html("<p>Mugs</p>"), **{f"/thanks/{n}": html(THANKS.format(n)) for n in (77, 78)}}
    (folder / "shifted").mkdir()
    (folder / "shifted" / "sitecustomize.py").write_text(SHIFTED.format(seconds=request.param))
    with SmallShop(pages) as shop, ExitStack() as stack:
        settings = SETTINGS.format(
            ledger=postgres.url(database),
            store=redis.url(number),
            shop=shop.address,
            partner=listening.sockets[0].getsockname()[1],
        )
        path = ":".join([str(folder / "shifted"), *filter(None, sys.path)])
        right = ClewFolder(folder / "right", settings)
        wrong = ClewFolder(folder / "wrong", settings, {"PYTHONPATH": path})
        await asyncio.to_thread(right.add_agent)
        clews = [await asyncio.to_thread(ClewServe, one) for one in (right, wrong)]
        for clew in clews:
            stack.callback(clew.end)
        yield Two(clews[0], clews[1], (right, wrong), postgres, database, partner)
        partner.answer.set()
    listening.close()
    await partner.close()


def client(clew: ClewServe, **cookies: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=clew.address, headers=NAVIGATION, cookies=cookies, timeout=30)


def desk(clew: ClewServe, **cookies: str) -> httpx2.AsyncClient:
    headers = {"origin": clew.address}
    return httpx2.AsyncClient(
        base_url=f"{clew.address}/-/clew/", headers=headers, cookies=cookies, timeout=30
    )


@pytest.mark.parametrize("lands_wrong", [True, False])
async def test_a_click_and_its_order_on_different_machines(two: Two, lands_wrong: bool) -> None:
    off = await asyncio.to_thread(wait_for_event, two.wrong, "clock_off")
    assert abs(abs(off["seconds"]) - 300) < CLOSE
    landed, ordered = (two.wrong, two.right) if lands_wrong else (two.right, two.wrong)
    number = 77 if lands_wrong else 78
    async with client(landed) as browser:
        answer = await browser.get("/?friend=c-1", headers={"Sec-Fetch-Site": "cross-site"})
        cookies = dict(answer.cookies)
    async with client(ordered, **cookies) as browser:
        await browser.get("/checkout", headers={"Sec-Fetch-Site": "same-origin"})
        thanks = await browser.get(f"/thanks/{number}", headers={"Sec-Fetch-Site": "same-origin"})
        assert thanks.status_code == 200
    now = time.time()
    async with asyncio.timeout(60):
        while not (found := await asyncio.to_thread(two.rows, f"{ORDER} WHERE o.order_id = '{number}'")):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    ((partner, *times),) = found
    assert partner == "friend"
    assert [at for at in times if abs(at - now) > CLOSE] == []


ORDER = """
SELECT s.partner, s.touched_at, o.placed_at, o.recorded_at, o.changed_at, d.at, p.created_at, p.next_at
FROM orders AS o JOIN decisions AS d ON d.id = o.decision JOIN shares AS s ON s.decision = d.id
JOIN postbacks AS p ON p."order" = o.id
"""


async def test_a_call_under_way_is_left_to_the_machine_that_makes_it(two: Two) -> None:
    """The other machine looks for calls that were cut off by the end of their process every few seconds."""
    for clew, number in ((two.right, "90"), (two.wrong, "91")):
        two.partner.answer.clear()
        async with client(clew) as browser:
            answer = await browser.get(f"/?friend=c-{number}", headers={"Sec-Fetch-Site": "cross-site"})
            order = {"id": number, "total": "10.00", "currency": "EUR"}
            order["visitor"] = dict(answer.cookies)["clew_visitor"]
            reported = await browser.post("/-/clew/orders", json=order, headers=API)
            assert reported.status_code == 201
        async with asyncio.timeout(60):
            while not two.partner.called(number):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        # One round of the other machine's worker, which a person's retry would wake as well.
        call = f"{CALL} WHERE o.order_id = '{number}'"
        ((state, until),) = await asyncio.to_thread(two.rows, call)
        assert state == "sending"
        assert 0 < until - time.time() < 3 + 15 + CLOSE
        two.partner.answer.set()
        async with asyncio.timeout(60):
            while state == "sending":
                await asyncio.sleep(0.05)
                ((state, until),) = await asyncio.to_thread(two.rows, call)
        assert (state, two.partner.called(number)) == ("delivered", 1)


CALL = 'SELECT p.state, p.lease_until FROM postbacks AS p JOIN orders AS o ON p."order" = o.id'


async def test_an_agent_at_one_machine_is_present_at_the_other_and_a_session_is_valid_there(
    two: Two,
) -> None:
    for here, there in ((two.right, two.wrong), (two.wrong, two.right)):
        async with desk(here) as agent:
            assert (await login(agent, AGENT, PASSWORD)).status_code == 303
            async with agent.stream("GET", "desk/stream") as stream:
                await anext(stream.aiter_lines())
                # It is written after the first line.
                async with asyncio.timeout(60):
                    while (seen := (await asyncio.to_thread(two.rows, PRESENT))[0][0]) is None:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                assert abs(seen - time.time()) < CLOSE
                for clew in (here, there):
                    async with desk(clew) as anyone:
                        shown = (await anyone.get("metrics")).text
                    assert 'clew_agents_online{site="shop"} 1.0' in shown
            cookies = dict(agent.cookies)
        # A session is valid at the host where it began: behind a balancer that is one.
        host = {"host": here.address.partition("//")[2]}
        async with desk(there, **cookies) as agent:
            assert (await agent.get("desk/", headers=host)).status_code == 200


async def test_commands_go_by_the_same_time(two: Two) -> None:
    order = {"id": "88", "total": "10.00", "currency": "EUR"}
    async with client(two.right) as server:
        assert (await server.post("/-/clew/orders", json=order, headers=API)).status_code == 201
    why = ("--why", "a test", "--amount", "12.00")
    await asyncio.to_thread(two.folders[1].run, "orders", "correct", "88", *why)
    ((changed,),) = await asyncio.to_thread(two.rows, "SELECT changed_at FROM orders WHERE order_id = '88'")
    assert abs(changed - time.time()) < CLOSE
