"""Several reports in one call, calls a minute, tokens, and what networks call an order, on real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import pytest
from clew.postbacks import building, delivery
from clew.postbacks.batches import Batches, Minutes, account_of
from clew.postbacks.delivery import Worker
from clew.postbacks.due import Plan, Planned
from clew.postbacks.model import Postback, Waiting
from clew.postbacks.pace import Pace
from clew.postbacks.tokens import Tokens
from clew.referral.catalogue import Network
from clew.referral.networks_file import read
from clew.settings.model import Delivery, Partner
from clew.stores.ledger.database import Database
from clew.stores.ledger.networks import Networks
from clew.stores.ledger.outbox import Outbox
from clew.stores.ledger.planned import apply_plan
from unasked import nobody

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
    def worker(secret: str = "hush-hush", networks: Any = NETWORKS, box: Any = None) -> Worker:
        settings: dict[str, Any] = {"client_id": "me", "client_secret": secret, "account": "7"}
        partners = {
            "many": Partner(id="many", network="many", endpoint=receiver.address, settings=settings),
            "paced": Partner(id="paced", network="paced", endpoint=receiver.address, settings=settings),
        }
        ids = Networks(db)
        return Worker(
            box or outbox,
            lambda site, partner: partners.get(partner),
            networks,
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
    told = Told(outbox)
    worker = build(box=told)
    async with running(worker):
        async with asyncio.timeout(30):
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
    await owe("2", partner="paced", order_time=int(clock.now) - 3600)
    async with running(build()):
        assert sorted(await events.outcomes(2)) == ["delivered", "held"]
    late, _ = sorted(await outbox.list(), key=lambda row: row.report.order_id)
    why = "the network's window of 30 days after the order is over (Paced, get)"
    assert (late.state, late.hold, late.attempts) == ("held", "manual", 0)
    assert late.why == f"{why}: report it by hand"
    assert [event["answer"] for event in events.events if event["name"] == "postback_failed"] == [why]
    assert await outbox.mark_reported(late.id, clock.now, by="ada", able=nobody)


async def test_a_call_that_may_have_arrived_before_its_time_was_over_is_dead_with_the_reason(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, reply: Any, events: Any, clock: Any
) -> None:
    receiver.replies = [reply(503)]
    await owe("1", partner="paced", order_time=int(clock.now) - 30 * 86400 + 2)
    worker = build()
    async with running(worker):
        assert await events.outcomes(1) == ["retry"]
        clock.now += 10
        worker.wake()
        assert (await events.outcomes(2))[-1] == "dead"
    (row,) = await outbox.list()
    assert (row.state, "window of 30 days" in str(row.last_answer)) == ("dead", True)


async def test_all_workers_together_call_a_network_only_so_often(
    db: Database, owe: Owe, outbox: Outbox, build: Any, receiver: Any, events: Any, clock: Any
) -> None:
    await owe("1", "2", "3", "4", "5", partner="paced", order_time=int(clock.now) - 3600)
    # Workers of two processes: each counts its own calls, and the ledger those of both.
    first, second = build(), build()
    async with running(first, second):
        assert await events.outcomes(2) == ["delivered"] * 2
        for worker in (first, second):
            worker.wake()
        assert await Networks(db).take(
            account_of(*first._batches._entry("shop", "paced", "order")), 2, clock.now
        )
        assert len(receiver.got) == 2
        # A worker that held a row as the clock moved may have counted a call of the new minute for it.
        while len(receiver.got) < 4:
            clock.now += 61
            for worker in (first, second):
                worker._batches._minutes._calls.clear()
                worker.wake()
            with suppress(TimeoutError):
                await asyncio.wait_for(receiver.wait(4), 10)
        # Where it took another minute, the fifth went too.
        assert set(await events.outcomes(4)) == {"delivered"}


async def test_the_calls_of_a_minute_are_counted_exactly_by_all(db: Database) -> None:
    first, second = Networks(db), Networks(db)
    taken = await asyncio.gather(
        *(one.take("a", 3, 100.0 + n / 10) for n, one in enumerate([first, second] * 4))
    )
    assert sum(wait == 0.0 for wait in taken) == 3
    assert all(59.0 < wait <= 60.0 for wait in taken if wait)
    assert await first.take("b", 3, 100.0) == 0.0
    assert await second.take("a", 3, 161.0) == 0.0
    # A clock that was put back by an hour does not block the account for an hour.
    assert await second.take("a", 1, 100.0) == 0.0


LOOKED_UP = """
  [[network.call]]
  id = "find"
  for = ["lookup"]
  method = "GET"
  url = "https://many.example/transactions"
  encoding = "query"
  headers = { key = "{account}" }
  success = { status = [200, 299] }
  find = { list = "/items", key = "/order" }
  keep = "/id"
  params = [{ name = "order", from = "order_id", req = true }]

  [[network.call]]
  id = "change"
  for = ["adjust"]
  method = "PUT"
  url = "https://many.example/transactions/{id}"
  encoding = "none"
  success = { status = [200, 299] }
  lookup = "find"
  params = [{ name = "id", from = "kept", req = true, in = "url" }]
"""
LOOKING_UP = read(
    CATALOGUE.replace('[[network]]\nid = "paced"', LOOKED_UP + '\n[[network]]\nid = "paced"')
).networks


def found(reply: Any, *items: tuple[str, object]) -> Any:
    listed = [{"order": order, "id": value} for order, value in items]
    return reply(200, json.dumps({"items": listed}).encode())


async def change(db: Database, outbox: Outbox, number: str, now: float, sequence: int = 1) -> None:
    """Let the order's first call be the change of an order that the network knows."""
    row = next(r for r in await outbox.list() if r.report.order_id == number)
    told = replace(row.report, event="adjust", before="80.00")
    plan = Plan((row.id,), (), (Planned(sequence + 1, told, "due", None, None),))
    await db.transact(lambda tx: apply_plan(tx, row.order, "shop", plan, now))


async def test_the_networks_own_id_of_an_order_is_looked_up_once_and_kept(
    db: Database, owe: Owe, outbox: Outbox, build: Any, receiver: Any, reply: Any, events: Any, clock: Any
) -> None:
    receiver.replies = [found(reply, ("11", 8), ("1", 7)), reply(503), reply(204), reply(204)]
    await owe("1", partner="many")
    await change(db, outbox, "1", clock.now)
    worker = build(networks=LOOKING_UP)
    async with running(worker):
        assert await events.outcomes(1) == ["retry"]
        clock.now += 10
        worker.wake()
        assert (await events.outcomes(2))[-1] == "delivered"
        await change(db, outbox, "1", clock.now, 2)
        worker.wake()
        assert (await events.outcomes(3))[-1] == "delivered"
    assert [(got.method, got.target) for got in receiver.got] == [
        ("GET", b"/transactions?order=1"),
        ("PUT", b"/transactions/7"),
        ("PUT", b"/transactions/7"),
        ("PUT", b"/transactions/7"),
    ]
    assert receiver.got[0].headers["key"] == "7"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda reply: found(reply), "Many (find) does not know the order yet, or has several of it"),
        (lambda reply: found(reply, ("10", 8)), "Many (find) does not know the order yet"),
        (lambda reply: found(reply, ("1", 8), ("1", 9)), "or has several of it"),
        (lambda reply: found(reply, ("1", None)), "does not know the order yet"),
        (lambda reply: reply(200, b"not json"), "does not know the order yet"),
        (lambda reply: reply(503, b"down"), "did not say what it calls the order: 503: down"),
        (lambda reply: reply(404), "did not say what it calls the order: 404: "),
    ],
)
async def test_a_lookup_without_an_answer_is_repeated_within_bounds(
    db: Database,
    owe: Owe,
    outbox: Outbox,
    build: Any,
    receiver: Any,
    reply: Any,
    events: Any,
    clock: Any,
    answer: Any,
    why: str,
) -> None:
    receiver.replies = [answer(reply)] * 3
    await owe("1", partner="many")
    await change(db, outbox, "1", clock.now)
    worker = build(networks=LOOKING_UP)
    async with running(worker):
        for count in (1, 2, 3):
            found_outcomes = await events.outcomes(count)
            clock.now += 100
            worker.wake()
    assert found_outcomes == ["retry", "retry", "dead"]
    (row,) = [r for r in await outbox.list() if r.state == "dead"]
    assert why in str(row.last_answer)
    assert [got.method for got in receiver.got] == ["GET"] * 3


async def test_a_lookup_ends_before_another_worker_may_have_the_postback(
    db: Database,
    owe: Owe,
    outbox: Outbox,
    build: Any,
    receiver: Any,
    reply: Any,
    events: Any,
    clock: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It counts as an attempt, which it does not once the row is another worker's."""
    monkeypatch.setattr(delivery, "CLAIM_SECONDS", 0.7)
    monkeypatch.setattr(building, "CLAIM_MARGIN", 0.2)
    receiver.replies = [reply(then="hang")]
    await owe("1", partner="many")
    await change(db, outbox, "1", clock.now)
    worker = build(networks=LOOKING_UP)
    async with running(worker):
        assert await events.outcomes(1) == ["retry"]
        (row,) = [r for r in await outbox.list() if r.event == "adjust"]
    assert (row.state, row.attempts, row.lease_until) == ("due", 1, None)
    assert row.last_answer == "Many did not say its id of the order within 0.5 seconds"


async def test_a_postback_that_waited_for_its_slot_is_claimed_anew_before_a_lookup(
    db: Database,
    owe: Owe,
    outbox: Outbox,
    build: Any,
    receiver: Any,
    reply: Any,
    events: Any,
    clock: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    receiver.replies = [found(reply, ("1", 7)), reply(204)]
    await owe("1", partner="many")
    await change(db, outbox, "1", clock.now)
    claim, leases = outbox.claim, iter([1.0])

    async def short(ids: Sequence[str], now: float, until: float) -> tuple[Postback, ...]:
        return await claim(ids, now, now + next(leases, until - now))

    monkeypatch.setattr(outbox, "claim", short)
    async with running(build(networks=LOOKING_UP)):
        assert await events.outcomes(1) == ["delivered"]
    (row,) = [r for r in await outbox.list() if r.event == "adjust"]
    assert row.attempts == 1


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


async def test_a_call_that_cannot_be_sent_again_is_an_attempt_with_the_reason(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, clock: Any
) -> None:
    await owe("1", partner="paced", order_time=int(clock.now) - 31 * 86400)
    (row,) = await outbox.list()
    attempt = await build().repeats.repeat(row)
    assert (attempt.outcome, "window of 30 days" in attempt.answer) == ("dead", True)
    assert receiver.got == []
