"""Several reports in one call, calls a minute, tokens, and what networks call an order, on real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import pytest
from clew.postbacks.batches import Batches, Minutes
from clew.postbacks.delivery import Worker
from clew.postbacks.due import Plan, Planned
from clew.postbacks.model import Waiting
from clew.postbacks.pace import Pace
from clew.postbacks.tokens import Tokens
from clew.referral.catalogue import Network
from clew.referral.networks_file import read
from clew.settings.model import Delivery, Partner
from clew.stores.ledger.database import Database
from clew.stores.ledger.networks import Networks
from clew.stores.ledger.outbox import Outbox, apply_plan

Owe = Callable[..., Awaitable[None]]
SECRET = "0123456789abcdef0123456789abcdef"
CATALOGUE = """
[meta]
schema = 3
[referrers]
confidence = "likely"
payment_hosts = ["pay.example"]
[utm]
confidence = "likely"
params = ["utm_source"]

[[network]]
id = "many"
name = "Many"
kind = "affiliate_network"
confidence = "verified"
source = ["its own page"]
landing_params = ["m"]
settings = { client_secret = { secret = true } }

  [[network.call]]
  id = "orders"
  for = ["conversion"]
  preferred = true
  method = "POST"
  url = "https://many.example/orders"
  encoding = "json"
  envelope = "orders[]"
  batch = 3
  repeat = "ignored"
  keep = "/id"
  params = [
    { name = "order", from = "order_id", req = true },
    { name = "sum", from = "amount", format = "number" },
  ]
    [network.call.oauth]
    grant = "client_credentials"
    url = "https://many.example/token"
    client = "{client_id}"
    secret = "{client_secret}"
    params = { scope = "orders" }
    [network.call.success]
    status = [200, 299]
      [network.call.success.each]
      list = "/results"
      key = "/order"
      pointer = "/state"
      ok = "new"
      already = "known"
      later = "busy"
      text = "/why"

  [[network.call]]
  id = "cancel"
  for = ["cancel"]
  method = "DELETE"
  url = "https://many.example/orders/{id}"
  encoding = "none"
  success = { status = [200, 299] }
  params = [{ name = "id", from = "kept", req = true, in = "url" }]

[[network]]
id = "paced"
name = "Paced"
kind = "affiliate_network"
confidence = "verified"
source = ["its own page"]
landing_params = ["p"]

  [[network.call]]
  id = "get"
  for = ["conversion"]
  preferred = true
  method = "GET"
  url = "https://paced.example/{account}"
  encoding = "query"
  per_minute = 2
  after = 60
  days = 30
  success = { status = [200, 299] }
  params = [{ name = "o", from = "order_id", req = true }]
"""
NETWORKS = read(CATALOGUE).networks


@asynccontextmanager
async def running(*workers: Worker) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(w.run()) for w in workers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Told:
    """An outbox that tells when three rows were given back."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._given_back = 0
        self.released = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outbox, name)

    async def release(self, *row: Any, **at: Any) -> None:
        await self._outbox.release(*row, **at)
        self._given_back += 1
        if self._given_back == 3:
            self.released.set()


@pytest.fixture
def outbox(db: Database) -> Outbox:
    return Outbox(db)


@pytest.fixture
def build(db: Database, outbox: Outbox, receiver: Any, clock: Any, events: Any) -> Callable[..., Worker]:
    def worker(secret: str = "hush-hush") -> Worker:
        settings: dict[str, Any] = {"client_id": "me", "client_secret": secret, "account": "7"}
        partners = {
            "many": Partner(id="many", network="many", endpoint=receiver.address, settings=settings),
            "paced": Partner(id="paced", network="paced", endpoint=receiver.address, settings=settings),
        }
        ids = Networks(db)
        return Worker(
            outbox,
            lambda site, partner: partners.get(partner),
            NETWORKS,
            Delivery(timeout=60, schedule=[5, 30]),
            clock,
            events,
            chance=lambda: 0.0,
            tokens=Tokens(ids, SECRET, clock),
            ids=ids,
        )

    return worker


def token(reply: Any, **more: Any) -> Any:
    return reply(200, json.dumps({"access_token": "t0ken-1", "expires_in": 3600, **more}).encode())


def results(reply: Any, **states: str) -> Any:
    listed = [
        {"order": order.removeprefix("o"), "state": state, "why": f"it is {state}"}
        for order, state in states.items()
    ]
    return reply(200, json.dumps({"id": "net-1", "results": listed}).encode())


def orders_of(got: Any) -> list[str]:
    return [one["order"] for one in json.loads(got.body)["orders"]]


async def states(outbox: Outbox) -> dict[str, tuple[str, str | None]]:
    return {row.report.order_id: (row.state, row.last_answer) for row in await outbox.list()}


async def test_reports_go_out_together_and_each_has_its_own_verdict(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, reply: Any, events: Any
) -> None:
    receiver.replies = [
        token(reply),
        results(reply, o1="new", o2="refused", o3="known", o4="new"),
    ]
    for number in range(1, 5):
        await owe(str(number), partner="many", now=1763859990.0 + number)
    worker = build()
    worker._batches.several = True  # as after the first round with such a network
    async with running(worker):
        assert sorted(await events.outcomes(4)) == ["dead", "delivered", "delivered", "delivered"]
    asked, first, second = receiver.got
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["me"],
        "client_secret": ["hush-hush"],
        "scope": ["orders"],
    }
    assert (asked.target, first.headers["authorization"]) == (b"/token", "Bearer t0ken-1")
    assert sorted([*orders_of(first), *orders_of(second)]) == ["1", "2", "3", "4"]
    found = await states(outbox)
    assert found["2"] == ("dead", "it is refused")
    assert all(found[order][0] == "delivered" for order in "134")
    attempts = [a for row in await outbox.list() for a in await outbox.attempts(row.id)]
    assert len(attempts) == 4
    assert all("t0ken" not in a.request and "hush" not in a.request for a in attempts)


async def test_a_report_that_the_response_does_not_name_is_unknown_and_one_to_be_sent_again_is_due(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, reply: Any, events: Any
) -> None:
    receiver.replies = [token(reply), results(reply, o1="new", o2="busy")]
    await owe("1", "2", "3", partner="many")
    async with running(build()):
        assert sorted(await events.outcomes(3)) == ["delivered", "retry", "unknown"]
    found = await states(outbox)
    assert (found["2"][0], found["3"][0]) == ("due", "unknown")


async def test_a_call_that_is_refused_as_a_whole_is_made_for_each_report_alone(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, reply: Any, events: Any
) -> None:
    """One bad report must not take the others with it."""
    receiver.replies = [
        token(reply),
        reply(400, b"order 2 is odd"),
        results(reply, o1="new", o2="new", o3="new"),
    ]
    await owe("1", "2", "3", partner="many")
    async with running(build()):
        assert await events.outcomes(3) == ["delivered"] * 3
    calls = [orders_of(got) for got in receiver.got[1:]]
    assert sorted(calls[0]) == ["1", "2", "3"]
    assert sorted(calls[1:]) == [["1"], ["2"], ["3"]]


async def test_a_token_is_kept_for_all_workers_and_renewed_when_the_network_refuses_it(
    db: Database, owe: Owe, outbox: Outbox, build: Any, receiver: Any, reply: Any, events: Any, clock: Any
) -> None:
    receiver.replies = [token(reply), results(reply, o1="new", o2="new", o3="new")]
    await owe("1", partner="many")
    async with running(build()):
        await events.outcomes(1)
    await owe("2", partner="many")
    async with running(build()):
        await events.outcomes(2)
    assert [got.target for got in receiver.got] == [b"/token", b"/orders", b"/orders"]
    receiver.replies = [reply(401), token(reply, access_token="t0ken-2"), results(reply, o3="new")]
    await owe("3", partner="many")
    worker = build()
    async with running(worker):
        assert (await events.outcomes(3))[-1] == "retry"
        clock.now += 10
        worker.wake()
        assert (await events.outcomes(4))[-1] == "delivered"
    assert receiver.got[-1].headers["authorization"] == "Bearer t0ken-2"


async def test_an_order_waits_where_no_token_can_be_got(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, reply: Any, events: Any
) -> None:
    receiver.replies = [reply(401, b'{"error":"invalid_client"}')]
    await owe("1", partner="many")
    async with running(build()):
        assert await events.outcomes(1) == ["retry"]
    (row,) = await outbox.list()
    assert row.state == "due"
    (told,) = [event for event in events.events if event["name"] == "partner_token"]
    assert (told["site"], told["key"], told["why"]) == ("shop", "many", row.last_answer)
    assert row.last_answer is not None
    assert "invalid_client" in row.last_answer


async def test_a_correction_names_what_the_network_calls_the_order(
    db: Database, owe: Owe, outbox: Outbox, build: Any, receiver: Any, reply: Any, events: Any, clock: Any
) -> None:
    receiver.replies = [token(reply), results(reply, o1="new"), reply(204)]
    await owe("1", partner="many")
    worker = build()
    async with running(worker):
        await events.outcomes(1)
        (row,) = await outbox.list()
        gone = replace(row.report, event="cancel", amount="0.00", before=row.report.amount)
        plan = Plan(added=(Planned(2, gone, "due", None, None),))
        await db.transact(lambda tx: apply_plan(tx, row.order, "shop", plan, clock.now))
        worker.wake()
        assert (await events.outcomes(2))[-1] == "delivered"
    assert (receiver.got[-1].method, receiver.got[-1].target) == ("DELETE", b"/orders/net-1")


async def test_a_network_is_called_only_so_often_a_minute_and_not_before_its_time(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, events: Any, clock: Any
) -> None:
    await owe("1", "2", "3", partner="paced", order_time=int(clock.now) - 30)
    worker = build()
    told = Told(outbox)
    worker._outbox = told
    async with running(worker):
        await told.released.wait()
        assert {row.next_at for row in await outbox.list()} == {clock.now + 30}
        assert receiver.got == []
        clock.now += 31
        worker.wake()
        assert await events.outcomes(2) == ["delivered", "delivered"]
        assert worker._batches.wait is None or worker._batches.wait > 0
    assert len(receiver.got) == 2


async def test_a_report_that_comes_too_late_for_the_network_says_so(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, events: Any, clock: Any
) -> None:
    await owe("1", partner="paced", order_time=int(clock.now) - 31 * 86400)
    async with running(build()):
        assert await events.outcomes(1) == ["dead"]
    (row,) = await outbox.list()
    assert row.last_answer == "Paced takes this only for 30 days after the order"


def test_an_account_has_its_calls_of_a_minute() -> None:
    now = [0.0]
    minutes = Minutes(lambda: now[0])
    assert [minutes.take("a", 2), minutes.take("a", 2), minutes.take("b", 2)] == [0.0, 0.0, 0.0]
    now[0] = 10.0
    assert minutes.take("a", 2) == 50.0
    now[0] = 60.0
    assert minutes.take("a", 2) == 0.0


def test_partners_with_the_same_account_share_its_pace_and_others_do_not_wait() -> None:
    def partner(name: str, account: str) -> Partner:
        return Partner(id=name, network="paced", settings={"account": account})

    partners = {"one": partner("one", "7"), "two": partner("two", "7"), "other": partner("other", "8")}

    def lookup(site: str, name: str) -> tuple[Partner, Network | None]:
        return partners[name], NETWORKS["paced"]

    batches = Batches(lookup, lambda: 0.0)
    waiting = [Waiting(f"{n}-{name}", "s", name) for n in range(2) for name in partners]
    found = batches.choose(waiting, Pace().room(), lambda site, name: name)
    assert found == ["0-one", "0-two", "0-other", "1-other"]
    assert batches.wait == 60.0
