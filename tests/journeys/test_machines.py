"""Two machines behind HAProxy that share PostgreSQL and Redis: one visitor, one chat, one order on both."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
import yaml
from clew.settings.load import read
from clews import AGENT, PASSWORD, ClewFolder, ClewServe, events, wait_for_event
from database_servers import Postgres, Redis
from desks import events as stream_events
from desks import hidden, login
from processes import Program, free_port
from receiver import Receiver
from small_shops import SmallShop, html

pytestmark = pytest.mark.timeout(300)

DEPLOY = Path(__file__).parents[2] / "deploy"
SETTINGS = """
secret = "{secret}"
ledger = "{ledger}"
store = "{store}"
log = "json"
trusted_proxies = ["127.0.0.1"]

[[sites]]
name = "shop"
hosts = ["127.0.0.1"]
upstream = "{shop}"
api_token = "{token}"

[[sites.partners]]
id = "friend"
param = "friend"
postback = "http://127.0.0.1:{partner}/sale?click={{click_id}}&order={{order_id}}&amount={{amount}}"
allow_private = true

[sites.order]
page = "/thanks*"
id = "#number"
total = "#total"
currency = "EUR"
"""
TOKEN = "token-of-the-shop-0123456789"
SECRET = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
THANKS = '<p id="number">{number}</p><p id="total">59.90 €</p>'
PAGE = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
INSIDE = PAGE | {"Sec-Fetch-Site": "same-origin"}


@dataclass
class Machines:
    """`front` is HAProxy's address."""

    clews: list[ClewServe]
    folders: list[ClewFolder]
    front: str
    receiver: Receiver
    shop: SmallShop

    @asynccontextmanager
    async def landed(self, click: str) -> AsyncIterator[httpx2.AsyncClient]:
        """A visitor who came by the partner's link, through HAProxy."""
        async with httpx2.AsyncClient(base_url=self.front, timeout=20) as visitor:
            await visitor.get(f"/?friend={click}", headers=PAGE | {"Sec-Fetch-Site": "cross-site"})
            await visitor.get("/checkout", headers=INSIDE)
            yield visitor

    def on(self, number: int, visitor: httpx2.AsyncClient) -> httpx2.AsyncClient:
        """The same visitor, at one of the machines."""
        address = f"{self.clews[number].address}/-/clew/"
        headers = {"origin": self.clews[number].address}
        return httpx2.AsyncClient(base_url=address, cookies=visitor.cookies, headers=headers, timeout=20)


def sample(folder: Path, clews: list[ClewServe], ops: list[int]) -> tuple[int, list[str]]:
    """deploy/haproxy.cfg with ports of this machine; HAProxy's port, and the command."""
    port = free_port()
    text = (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8")
    changes = [("bind :80\n", f"bind 127.0.0.1:{port}\n"), (" port 9180", "")]
    changes += [(f"clew{n + 1}:8080", f"127.0.0.1:{clew.port} port {ops[n]}") for n, clew in enumerate(clews)]
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file = folder / "haproxy.cfg"
    file.write_text(text)
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None, "haproxy is not installed; `make test` installs it"
    return port, [program, "-db", "-f", str(file)]


@pytest.fixture
def machines(
    tmp_path: Path, postgres: Postgres, redis_server: Redis, receiver: Receiver
) -> Iterator[Machines]:
    pages = {f"/thanks/{n}": html(THANKS.format(number=n)) for n in range(40)}
    pages |= {"/": html("<p>Mugs</p>"), "/checkout": html("<p>Pay</p>")}
    with ExitStack() as stack:
        shop = stack.enter_context(SmallShop(pages))
        text = SETTINGS.format(
            secret=SECRET,
            ledger=postgres.url(postgres.database()),
            store=redis_server.url(7),
            shop=shop.address,
            token=TOKEN,
            partner=receiver.address.rpartition(":")[2],
        )
        folders = [ClewFolder(tmp_path / name, text) for name in ("one", "two")]
        folders[0].add_agent()
        ops = [free_port(), free_port()]
        clews = [
            stack.enter_context(ClewServe(folder, ["--ops", f"127.0.0.1:{port}", "--access-log"]))
            for folder, port in zip(folders, ops, strict=True)
        ]
        for clew in clews:
            wait_for_event(clew, "started")
        port, command = sample(tmp_path, clews, ops)
        front = stack.enter_context(Program(command))
        front.wait_for_port(port)
        yield Machines(clews, folders, f"http://127.0.0.1:{port}", receiver, shop)


def called(receiver: Receiver) -> list[tuple[str, str, str]]:
    return sorted((c.query["order"], c.query["click"], c.query["amount"]) for c in receiver.calls)


async def test_a_visit_that_goes_from_machine_to_machine_is_one(machines: Machines) -> None:
    for number in range(6):
        async with machines.landed(f"c{number}") as visitor:
            answer = await visitor.get(f"/thanks/{number}", headers=INSIDE)
            assert "/-/clew/l.js" in answer.text
    await machines.receiver.waited(6, 60)
    assert called(machines.receiver) == [(str(n), f"c{n}", "59.90") for n in range(6)]
    served = [
        {e["path"] for e in events(clew, "request") if e["path"] != "/health"} for clew in machines.clews
    ]
    assert all(served), "HAProxy sends requests to both"
    assert served[0] != served[1]


async def test_a_chat_is_live_across_machines(machines: Machines) -> None:
    async with machines.landed("c1") as visitor, machines.on(0, visitor) as first:
        said = {"text": "Is it in stock?", "client_id": "message-1", "language": "en", "rule": None}
        assert (await first.post("messages", json=said)).status_code == 201
        async with (
            first.stream("GET", "stream") as live,
            httpx2.AsyncClient(base_url=f"{machines.clews[1].address}/-/clew/", timeout=20) as agent,
        ):
            heard = stream_events(live)
            assert "Is it in stock?" in (await anext(heard))["data"]
            assert (await login(agent, AGENT, PASSWORD)).status_code == 303
            inbox = (await agent.get("desk/")).text
            assert "Is it in stock?" in inbox
            (talk,) = {urlsplit(link).path.split("/")[-1] for link in _talks(inbox)}
            page = (await agent.get(f"desk/conversations/{talk}")).text
            answer = {"csrf": hidden(page), "text": "Yes, ten", "client_id": "answer-1"}
            sent = await agent.post(f"desk/conversations/{talk}/messages", data=answer)
            assert sent.status_code == 303
            assert "Yes, ten" in (await asyncio.wait_for(anext(heard), 20))["data"]
        await visitor.get("/thanks/9", headers=INSIDE)
    await machines.receiver.waited(1, 60)
    report = machines.folders[1].run("report")
    assert "chat" in report, "the order of a visitor who had talked at the other machine"


def _talks(inbox: str) -> list[str]:
    return [part.partition('"')[0] for part in inbox.split('href="') if "desk/conversations/" in part[:60]]


async def test_when_a_machine_dies_the_other_goes_on(machines: Machines) -> None:
    async with machines.landed("c1") as visitor:
        await visitor.get("/thanks/1", headers=INSIDE)
        # A call that is cut off by the kill is unknown, for a person to settle.
        await machines.receiver.waited(1, 60)
        os.kill(machines.clews[0].pid, signal.SIGKILL)
        for _ in range(20):
            answer = await visitor.get("/checkout", headers=INSIDE)
            assert (answer.status_code, "/-/clew/l.js" in answer.text) == (200, True)
        await visitor.get("/thanks/2", headers=INSIDE)
    async with machines.landed("c2") as other:
        await other.get("/thanks/3", headers=INSIDE)
    await machines.receiver.waited(3, 60)
    assert called(machines.receiver) == [("1", "c1", "59.90"), ("2", "c1", "59.90"), ("3", "c2", "59.90")]


def test_the_samples_of_several_machines_fit_together() -> None:
    """Read, not run: no image can be fetched where the tests run."""
    compose = yaml.safe_load((DEPLOY / "machines.yaml").read_text(encoding="utf-8"))
    services = compose["services"]
    assert set(services) == {"clew1", "clew2", "haproxy", "postgres", "redis"}
    front = (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8")
    for name in ("clew1", "clew2"):
        assert f"server {name} {name}:8080" in front
        mounted, journal = services[name]["volumes"]
        assert (DEPLOY / mounted.partition(":")[0]).is_file()
        assert journal == f"{name}:/var/lib/clew"
    found = read(DEPLOY / "machines.toml", services["clew1"]["environment"] | {"CLEW_SECRET": SECRET})
    assert not found.unset
    assert found.data["ledger"].startswith("postgresql://clew:")
    assert set(compose["volumes"]) == {"clew1", "clew2", "ledger"}
