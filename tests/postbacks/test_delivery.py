import asyncio
import json
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from clew.postbacks import building, delivery, outcomes, pace, sending
from clew.postbacks.delivery import Worker
from clew.postbacks.model import Postback
from clew.referral.calls import Answer, CallEntry, Param, SettingSpec, Success
from clew.referral.catalogue import Network
from clew.settings.model import Delivery, Partner
from clew.stores.ledger.database import Database
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.errors import LedgerAwayError
from clew.stores.ledger.outbox import Outbox

Owe = Callable[..., Awaitable[None]]
SETTINGS = Delivery(timeout=60, schedule=[5, 30])
TRACKER = Network(
    "tracker",
    "A tracker",
    "partner_platform",
    "verified",
    calls=(
        CallEntry(
            id="postback",
            purposes=frozenset({"conversion"}),
            preferred=True,
            method="GET",
            url="https://{network_domain}/aff_lsr",
            encoding="query",
            success=Success(
                ok=Answer((200, 299), contains="success=true;"),
                already=Answer((200, 299), contains="duplicate"),
            ),
            params=(
                Param("transaction_id", "click_id", required=True),
                Param("security_token", "setting", argument="security_token"),
            ),
            settings={
                "network_domain": SettingSpec("network_domain", required=True),
                "security_token": SettingSpec("security_token", required=False, secret=True),
            },
        ),
    ),
)


@pytest.fixture
def outbox(db: Database) -> Outbox:
    return Outbox(db)


@pytest.fixture
def partners(receiver: Any) -> dict[str, Partner]:
    """The site's partners, all at the receiver; a test may change them."""
    address = receiver.address
    return {
        "blog": Partner(
            id="blog", param="ref", postback=address + "/pb?c={click_id}&o={order_id}&token=hush"
        ),
        "hook": Partner(id="hook", param="ref", postback=address + "/hook", secret="s3cret"),
        "tracker": Partner(
            id="tracker", network="tracker", endpoint=address, settings={"security_token": "hush"}
        ),
    }


@pytest.fixture
def build(outbox: Outbox, partners: dict[str, Partner], clock: Any, events: Any) -> Callable[..., Worker]:
    def worker(box: Any = None, settings: Delivery = SETTINGS) -> Worker:
        networks: Mapping[str, Network] = {"tracker": TRACKER}
        lookup = lambda site, partner: partners.get(partner)  # noqa: E731
        return Worker(box or outbox, lookup, networks, settings, clock, events, chance=lambda: 0.0)

    return worker


@asynccontextmanager
async def running(*workers: Worker) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(w.run()) for w in workers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(r, asyncio.CancelledError) for r in results), results


async def only(outbox: Outbox) -> Postback:
    (row,) = await outbox.list()
    return row


async def test_a_postback_is_delivered_once_and_logged(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, events: Any
) -> None:
    worker = build()
    async with running(worker):
        await owe("100001")
        worker.wake()
        assert await events.outcomes(1) == ["delivered"]
    assert events.timed == [("postback", "shop", "delivered")]
    assert [g.target for g in receiver.got] == [b"/pb?c=1001_1763859600_0123456789abcdef&o=100001&token=hush"]
    row = await only(outbox)
    assert (row.state, row.attempts) == ("delivered", 1)
    told = events.events[-1]
    assert (told["site"], told["partner"], told["order"], told["channel"]) == (
        "shop",
        "blog",
        "100001",
        "chat",
    )
    assert (told["status"], told["attempt"]) == (200, 1)


async def test_an_attempt_keeps_request_status_and_answer_without_secrets(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, reply: Any, events: Any, clock: Any
) -> None:
    receiver.replies = [reply(200, b"thanks for 1001_1763859600_0123456789abcdef\x1b[31m" + b"x" * 900)]
    await owe("100001")
    async with running(build()):
        await events.outcomes(1)
    (kept,) = await outbox.attempts((await only(outbox)).id)
    assert (kept.at, kept.status, kept.outcome) == (clock.now, 200, "delivered")
    assert kept.request == f"GET {receiver.address}/pb?c=1001...&o=100001&token=..."
    assert kept.answer.startswith("thanks for ... [31mxxx")
    assert len(kept.answer) <= 500


async def test_a_failing_receiver_is_tried_again_by_the_schedule(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, reply: Any, events: Any, clock: Any
) -> None:
    receiver.replies = [reply(503), reply(500), reply(200)]
    await owe("100001")
    worker = build()
    async with running(worker):
        await events.outcomes(1)
        assert (await only(outbox)).next_at == clock.now + 5
        clock.now += 5
        worker.wake()
        await events.outcomes(2)
        assert (await only(outbox)).next_at == clock.now + 30
        clock.now += 30
        worker.wake()
        assert await events.outcomes(3) == ["retry", "retry", "delivered"]
    assert len(receiver.got) == 3
    assert [a.status for a in await outbox.attempts((await only(outbox)).id)] == [503, 500, 200]


async def test_a_receiver_that_never_recovers_ends_in_the_dead_letters(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, reply: Any, events: Any, clock: Any
) -> None:
    receiver.replies = [reply(503, b"down")]
    await owe("100001")
    worker = build()
    async with running(worker):
        for count in (1, 2, 3):
            await events.outcomes(count)
            clock.now += 100
            worker.wake()
    assert await events.outcomes(3) == ["retry", "retry", "dead"]
    (failed,) = [e for e in events.events if e["name"] == "postback_failed"]
    assert (failed["partner"], failed["order"], failed["status"]) == ("blog", "100001", 503)
    row = await only(outbox)
    assert (row.state, row.attempts, row.last_answer) == ("dead", 3, "down")


async def test_retry_after_is_waited_for(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, reply: Any, events: Any, clock: Any
) -> None:
    receiver.replies = [reply(429, headers={"Retry-After": "600"})]
    await owe("100001")
    async with running(build()):
        await events.outcomes(1)
    assert (await only(outbox)).next_at == clock.now + 600


async def test_a_receiver_that_is_down_costs_a_try_and_not_the_order(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, partners: Any, events: Any, clock: Any
) -> None:
    up = partners["blog"]
    partners["blog"] = up.model_copy(update={"postback": "http://127.0.0.1:1/pb?c={click_id}"})
    await owe("100001")
    worker = build()
    async with running(worker):
        assert await events.outcomes(1) == ["retry"]
        partners["blog"] = up
        clock.now += 5
        worker.wake()
        assert await events.outcomes(2) == ["retry", "delivered"]
    assert len(receiver.got) == 1


@pytest.mark.parametrize("then", ["hang", "reset"])
async def test_a_call_without_an_answer_is_unknown_and_never_repeated(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, reply: Any, events: Any, clock: Any, then: str
) -> None:
    receiver.replies = [reply(then=then)]
    await owe("100001")
    worker = build(settings=Delivery(timeout=1))
    async with running(worker):
        assert await events.outcomes(1) == ["unknown"]
        clock.now += 10**6
        worker.wake()
        await owe("100002")
        worker.wake()
        await events.outcomes(2)
    assert len([g for g in receiver.got if b"o=100001" in g.target]) == 1
    assert {p.state for p in await outbox.list()} == {"unknown"}


async def test_a_webhook_without_an_answer_is_repeated_under_the_same_id(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, reply: Any, events: Any, clock: Any
) -> None:
    receiver.replies = [reply(then="reset"), reply(200)]
    await owe("100001", partner="hook")
    worker = build()
    async with running(worker):
        await events.outcomes(1)
        clock.now += 5
        worker.wake()
        assert await events.outcomes(2) == ["retry", "delivered"]
    first, second = receiver.got
    row = await only(outbox)
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == row.id
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 5
    # When the event happened, whichever call tells of it; not when the order was placed.
    assert first.body == second.body
    told = datetime.fromisoformat(json.loads(first.body)["timestamp"]).timestamp()
    assert told == int(row.created_at)
    for got in (first, second):
        text = f"{row.id}.{got.headers['webhook-timestamp']}.".encode() + got.body
        assert got.headers["webhook-signature"] == _signature(text)


def _signature(text: bytes) -> str:
    import base64
    import hashlib
    import hmac

    return "v1," + base64.b64encode(hmac.new(b"s3cret", text, hashlib.sha256).digest()).decode()


@pytest.mark.parametrize(
    ("status", "word"), [(302, "redirects"), (400, "bad order"), (404, "bad order"), (410, "no more")]
)
async def test_a_refusal_is_dead_at_once_with_its_reason(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, reply: Any, events: Any, status: int, word: str
) -> None:
    receiver.replies = [reply(status, b"bad order", {"Location": "/x"})]
    await owe("100001", partner="hook")
    async with running(build()):
        assert await events.outcomes(1) == ["dead"]
    row = await only(outbox)
    assert row.state == "dead"
    assert word in (row.last_answer or "")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"success=true;", "delivered"),
        (b"success=false; err_msg=Invalid transaction hush", "dead"),
        (b"success=false; err_msg=duplicate conversion", "delivered"),
    ],
)
async def test_a_network_that_answers_200_to_everything_is_judged_by_its_body(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, reply: Any, events: Any, body: bytes, expected: str
) -> None:
    receiver.replies = [reply(200, body)]
    await owe("100001", partner="tracker")
    async with running(build()):
        assert await events.outcomes(1) == [expected]
    assert receiver.got[0].target.startswith(b"/aff_lsr?transaction_id=1001_")
    assert "hush" not in ((await only(outbox)).last_answer or "")


async def test_a_postback_of_a_removed_partner_waits_with_the_reason(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, partners: Any, events: Any
) -> None:
    del partners["blog"]
    await owe("100001")
    async with running(build()):
        assert await events.outcomes(1) == ["retry"]
    assert "no longer have a partner blog" in ((await only(outbox)).last_answer or "")
    assert receiver.got == []


async def test_missing_settings_are_a_dead_letter_that_names_the_key(
    owe: Owe, outbox: Outbox, build: Any, partners: Any, events: Any
) -> None:
    partners["tracker"] = Partner(id="tracker", network="tracker")
    await owe("100001", partner="tracker")
    async with running(build()):
        assert await events.outcomes(1) == ["dead"]
    assert "settings.network_domain" in ((await only(outbox)).last_answer or "")


async def test_a_report_that_breaks_the_renderer_is_a_dead_letter_and_a_fault(
    owe: Owe, outbox: Outbox, build: Any, events: Any
) -> None:
    await owe("100001", partner="hook", order_time=10**18)
    await owe("100002")
    async with running(build()):
        assert sorted(await events.outcomes(2)) == ["dead", "delivered"]
    assert "could not be built" in ((await outbox.list("dead"))[0].last_answer or "")
    assert [e["where"] for e in events.events if e["name"] == "fault"] == ["postback"]


async def test_every_byte_of_a_click_id_arrives_at_the_receiver(
    owe: Owe, build: Any, receiver: Any, events: Any
) -> None:
    click = bytes(range(256))
    await owe("100001", click_id=click.decode("utf-8", "surrogateescape"))
    async with running(build()):
        await events.outcomes(1)
    sent = receiver.got[0].target.partition(b"?c=")[2].partition(b"&")[0]
    assert unquote_to_bytes(sent) == click


async def test_two_workers_on_one_file_deliver_each_postback_once(
    owe: Owe, db: Database, outbox: Outbox, build: Any, receiver: Any, events: Any
) -> None:
    orders = [f"o{n}" for n in range(40)]
    other = database_at(db.address)
    await owe(*orders)
    async with running(build(), build(Outbox(other))):
        await events.outcomes(40)
    await other.close()
    delivered = [g.target.split(b"o=")[1].split(b"&")[0].decode() for g in receiver.got]
    assert sorted(delivered) == sorted(orders)
    assert (await outbox.counts())["delivered"] == 40


async def test_a_destination_gets_only_a_few_calls_at_once_and_others_do_not_wait_for_it(
    owe: Owe, build: Any, receiver: Any, partners: Any, events: Any
) -> None:
    receiver.gate = asyncio.Event()
    partners["other"] = Partner(id="other", param="r", postback="http://127.0.0.1:1/")
    await owe(*(f"o{n}" for n in range(12)))
    await owe("x", partner="other")
    async with running(build()):
        assert await events.outcomes(1) == ["retry"]  # the other one, which refuses connections
        await receiver.wait(pace.CALLS_PER_DESTINATION)
        receiver.gate.set()
        await events.outcomes(13)
    assert receiver.most == pace.CALLS_PER_DESTINATION
    assert len(receiver.got) == 12


class Counted:
    """An outbox that counts the calls of its methods, and the rows that are claimed."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.calls: Counter[str] = Counter()
        self._claimed = 0
        self._more = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        self.calls[name] += 1
        return getattr(self._outbox, name)

    async def claim(self, ids: Sequence[str], now: float, until: float) -> tuple[Postback, ...]:
        self.calls["claim"] += 1
        rows = await self._outbox.claim(ids, now, until)
        self._claimed += len(rows)
        self._more.set()
        return rows

    async def wait(self, claimed: int) -> None:
        """Wait until so many rows are claimed."""
        async with asyncio.timeout(60):
            while self._claimed < claimed:
                self._more.clear()
                await self._more.wait()


async def test_a_fast_destination_has_its_next_calls_leased_before_a_slot_is_free(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, events: Any
) -> None:
    await owe(*(f"o{n:02}" for n in range(40)))
    counted = Counted(outbox)
    async with running(build(counted)):
        await events.outcomes(40)
    assert receiver.most <= pace.CALLS_PER_DESTINATION
    delivered = [g.target.split(b"o=")[1].split(b"&")[0].decode() for g in receiver.got]
    assert sorted(delivered) == sorted(f"o{n:02}" for n in range(40))
    assert counted.calls["claim"] <= 10


async def test_stopping_gives_back_what_was_leased_ahead(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "GRACE_SECONDS", 0.05)
    counted = Counted(outbox)
    worker = build(counted)
    task = asyncio.create_task(worker.run())
    await owe("first")
    worker.wake()
    await events.outcomes(1)
    receiver.gate = asyncio.Event()
    await owe(*(f"o{n:02}" for n in range(40)))
    worker.wake()
    await receiver.wait(1 + pace.CALLS_PER_DESTINATION)
    await counted.wait(1 + pace.CALLS_PER_DESTINATION + 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    rows = Counter((row.state, row.lease_until, row.attempts) for row in await outbox.list())
    sent = pace.CALLS_PER_DESTINATION
    assert rows == {("delivered", None, 1): 1, ("unknown", None, 1): sent, ("due", None, 0): 40 - sent}


async def test_a_call_leased_ahead_for_too_long_is_left_to_others(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, events: Any, clock: Any
) -> None:
    """The destination was fast, and does not respond any more."""
    counted = Counted(outbox)
    worker = build(counted)
    async with running(worker):
        await owe("first")
        worker.wake()
        await events.outcomes(1)
        receiver.gate = asyncio.Event()
        await owe(*(f"o{n:02}" for n in range(40)))
        worker.wake()
        await receiver.wait(1 + pace.CALLS_PER_DESTINATION)
        await counted.wait(1 + pace.CALLS_PER_DESTINATION + 1)
        clock.now += building.CLAIM_SECONDS
        found = await outbox.waiting(clock.now, each=100, limit=100)
        assert len(found) == 40 - pace.CALLS_PER_DESTINATION
        # Another worker takes some of them over, and sends them: they are not sent twice.
        others = await outbox.claim([row.id for row in found[:4]], clock.now, clock.now + 1000)
        assert len(others) == 4
        receiver.gate.set()
        worker.wake()
        await events.outcomes(41 - 4)
    delivered = [g.target.split(b"o=")[1].split(b"&")[0].decode() for g in receiver.got]
    assert len(delivered) == len(set(delivered)) == 41 - 4
    assert not {row.report.order_id for row in others} & set(delivered)


async def test_rows_of_another_process_are_found_without_being_woken(
    owe: Owe, build: Any, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "POLL_SECONDS", 0.02)
    async with running(build()):
        await owe("100001")
        assert await events.outcomes(1) == ["delivered"]


class Failing:
    """An outbox whose `waiting` fails once, as a locked file would."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.failures = 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outbox, name)

    async def waiting(self, *args: Any, **kwargs: Any) -> Any:
        if self.failures:
            self.failures -= 1
            raise OSError("database is locked")
        return await self._outbox.waiting(*args, **kwargs)


async def test_a_failing_ledger_is_a_fault_and_delivery_continues_afterwards(
    owe: Owe, outbox: Outbox, build: Any, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "POLL_SECONDS", 0.02)
    await owe("100001")
    async with running(build(Failing(outbox))):
        assert await events.outcomes(1) == ["delivered"]
    assert events.events[0]["name"] == "fault"


async def test_stopping_waits_for_the_answers_of_calls_that_were_sent(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any
) -> None:
    receiver.gate = asyncio.Event()
    await owe("100001")
    task = asyncio.create_task(build().run())
    await receiver.wait(1)
    task.cancel()
    receiver.gate.set()
    await asyncio.gather(task, return_exceptions=True)
    assert (await only(outbox)).state == "delivered"


async def test_stopping_has_a_timeout_and_reports_unknown_calls(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "GRACE_SECONDS", 0.05)
    receiver.replies = [reply(then="hang")]
    await owe("100001")
    await owe("100002", partner="hook")
    task = asyncio.create_task(build().run())
    await receiver.wait(2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    states = {p.partner: p.state for p in await outbox.list()}
    assert states == {"blog": "unknown", "hook": "due"}


@pytest.mark.parametrize("step", ["expire", "waiting", "claim", "next_due"])
async def test_stopping_in_the_middle_of_a_round_leaves_no_lease_and_no_lock(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any, step: str
) -> None:
    """field D2: cancelled in the middle of `UPDATE … RETURNING`, the driver's thread kept the file's lock."""
    await owe("100001")
    before = await only(outbox)
    reached = asyncio.Event()

    class Told:
        def __getattr__(self, name: str) -> Any:
            found = getattr(outbox, name)
            if name == step:
                reached.set()
            return found

    task = asyncio.create_task(build(Told()).run())
    await reached.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    if receiver.got:
        assert (await only(outbox)).state in ("delivered", "unknown")
    else:
        assert await only(outbox) == before
    async with asyncio.timeout(20):
        await owe("100002")


async def test_stopping_while_a_row_is_being_marked_gives_it_back(
    owe: Owe, db: Database, outbox: Outbox, build: Any, receiver: Any
) -> None:
    """field D2"""
    await owe("100001")
    before = await only(outbox)
    reached = asyncio.Event()

    class Told:
        def __getattr__(self, name: str) -> Any:
            return getattr(outbox, name)

        async def begin(self, postback: Postback, until: float) -> Postback | None:
            reached.set()
            return await outbox.begin(postback, until)

    async with db.write_lock:  # so that it waits for its turn
        task = asyncio.create_task(build(Told()).run())
        # It cannot claim while we write: let it.
        await asyncio.sleep(0)
    await reached.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await only(outbox) == before
    assert receiver.got == []


async def test_a_ledger_that_stays_locked_does_not_keep_the_worker_from_stopping(
    owe: Owe, db: Database, build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """field D2"""
    monkeypatch.setattr(delivery, "GRACE_SECONDS", 0.2)
    monkeypatch.setattr(delivery, "LAST_SECONDS", 0.2)
    await owe("100001")
    other = sqlite3.connect(db.address.removeprefix("sqlite:"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    task = asyncio.create_task(build().run())
    await asyncio.sleep(0.1)
    task.cancel()
    async with asyncio.timeout(20):
        await asyncio.gather(task, return_exceptions=True)
    other.close()


# -- field D3: who may have how many calls


async def many_receivers(
    stack: AsyncExitStack, kind: type[Any], partners: dict[str, Partner], names: list[str]
) -> list[Any]:
    found = []
    for name in names:
        slow = kind()
        await slow.start()
        stack.push_async_callback(slow.stop)
        slow.gate = asyncio.Event()
        partners[name] = Partner(
            id=name, param=name, postback=f"{slow.address}/?o={{order_id}}", allow_private=True
        )
        found.append(slow)
    return found


@pytest.mark.parametrize("count", [4, 20])
async def test_a_healthy_partner_does_not_wait_for_slow_ones(
    owe: Owe,
    build: Any,
    receiver: Any,
    partners: Any,
    events: Any,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
) -> None:
    """field D3: four, and twenty, that answer nothing for as long as the test lasts, with ten orders each."""
    # Not so short that a busy machine makes the healthy one slow, too.
    monkeypatch.setattr(pace, "SLOW_SECONDS", 4.0)
    monkeypatch.setattr(delivery, "GRACE_SECONDS", 0.05)
    names = [f"slow{n}" for n in range(count)]
    async with AsyncExitStack() as stack:
        slow = await many_receivers(stack, type(receiver), partners, names)
        for name in names:
            await owe(*(f"{name}-{n}" for n in range(10)), partner=name)
        worker = build()
        async with running(worker):
            await slow[0].wait(1)
            await owe(*(f"o{n}" for n in range(10)))
            worker.wake()
            assert await events.outcomes(10) == ["delivered"] * 10
            assert max(s.most for s in slow) <= pace.CALLS_PER_DESTINATION
            await events.wait_for("partner_slow")


async def test_a_partner_that_is_quick_again_gets_its_share_again(clock: Any) -> None:
    """field D3"""
    paces = pace.Pace(clock)
    for call in range(3):
        paces.begin(call, "d")
        clock.now += 5
        paces.end(call, 5.0)
    assert paces.slow() == {"d": 5.0}
    for call in range(4):
        paces.begin(call, "d")
        paces.end(call, 0.1)
    assert paces.slow() == {}


@pytest.mark.parametrize(("seconds", "most"), [(0.01, pace.AHEAD), (1.0, 20), (1.9, 10), (3.0, 0)])
async def test_the_slower_a_destination_the_less_is_leased_ahead(
    clock: Any, seconds: float, most: int
) -> None:
    """So that it has begun before its lease is over, and others may have it otherwise."""
    paces = pace.Pace(clock)
    paces.begin("before", "d")
    paces.end("before", seconds)
    room = paces.room({"others": 3})
    assert not room.take_ahead("d")  # no call whose end would begin it
    while room.take("d"):
        pass
    assert sum(room.take_ahead("d") for _ in range(100)) == most
    assert room.filled == ({"d": most} if most else {})
    assert not paces.room({"others": pace.AHEAD_TOTAL}).take_ahead("d")
    assert most * seconds / pace.CALLS_PER_DESTINATION < building.CLAIM_SECONDS / 2


async def test_no_number_of_slow_partners_takes_the_slots_of_quick_ones(clock: Any) -> None:
    """field D3: a hundred that never answer, all of them new."""
    paces = pace.Pace(clock)
    paces.begin("first", "quick")
    paces.end("first", 0.1)
    calls = 0
    for _ in range(10):
        room = paces.room()
        for number in range(100):
            for _ in range(4):
                if room.take(f"slow{number}"):
                    calls += 1
                    paces.begin(calls, f"slow{number}")
        clock.now += pace.SLOW_SECONDS
        assert paces.room().take("quick")
    assert calls <= pace.TOTAL


class Stuck:
    """An outbox in which `begin` never ends: the call is as far as it can be without having been sent."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.reached = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outbox, name)

    async def begin(self, postback: Postback, until: float) -> Postback | None:
        await self._outbox.begin(postback, until)
        self.reached.set()
        await asyncio.Event().wait()
        return None


class Cut:
    """An outbox whose connection is lost between COMMIT and its answer: once, in `begin`. The next `failures`
    writes fail, too."""

    def __init__(self, outbox: Outbox, failures: int = 0) -> None:
        self._outbox = outbox
        self._failures = failures
        self._lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outbox, name)

    async def begin(self, postback: Postback, until: float) -> Postback | None:
        begun = await self._outbox.begin(postback, until)
        if self._lost:
            return begun
        self._lost = True
        raise LedgerAwayError("connection was closed in the middle of operation")

    async def release(self, postback: Postback, until: float) -> None:
        self._failures -= 1
        if self._failures >= 0:
            raise LedgerAwayError("its server does not answer")
        await self._outbox.release(postback, until)


@pytest.mark.parametrize("failures", [0, 4])
async def test_a_row_that_was_marked_before_the_ledger_went_away_is_sent_once(
    owe: Owe,
    outbox: Outbox,
    build: Any,
    receiver: Any,
    events: Any,
    failures: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing had been sent, so nothing is in doubt, also where the partner does not take a call twice."""
    monkeypatch.setattr(outcomes, "FINISH_TRIES", (0.0,) * len(outcomes.FINISH_TRIES))
    await owe("100001")
    async with running(build(Cut(outbox, failures))):
        assert await events.outcomes(1) == ["delivered"]
    assert len(receiver.got) == 1
    row = await only(outbox)
    assert (row.state, row.attempts) == ("delivered", 1)


async def test_stopping_releases_unsent_postbacks(
    owe: Owe, outbox: Outbox, build: Any, receiver: Any
) -> None:
    await owe("100001")
    before = await only(outbox)
    stuck = Stuck(outbox)
    task = asyncio.create_task(build(stuck).run())
    await stuck.reached.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await only(outbox) == before
    assert receiver.got == []


WORKER = """
import asyncio, sys
from clew.postbacks.delivery import Worker
from clew.settings.model import Delivery, Partner
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.database import Database
from clew.stores.ledger.outbox import Outbox

class Events:
    def emit(self, name, **fields): ...
    def notice(self, name, **fields): ...
    def failed(self, error, **fields): ...
    def took(self, *arguments): ...

secret = sys.argv[3] or None
partner = Partner(id="blog", param="ref", postback=sys.argv[2] + "/pb?o={order_id}", secret=secret)
outbox = Outbox(database_at(sys.argv[1]))
worker = Worker(outbox, lambda *_: partner, {}, Delivery(timeout=60), lambda: 1763860000.0, Events())
asyncio.run(worker.run())
"""


@pytest.mark.parametrize(("secret", "calls", "state"), [("", 1, "unknown"), ("s3cret", 2, "delivered")])
async def test_a_call_interrupted_by_sigkill_is_unknown_or_repeated(
    owe: Owe,
    db: Database,
    outbox: Outbox,
    build: Any,
    receiver: Any,
    reply: Any,
    partners: Any,
    events: Any,
    clock: Any,
    secret: str,
    calls: int,
    state: str,
) -> None:
    receiver.replies = [reply(then="hang"), reply(200)]
    await owe("100001")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, db.address, receiver.address, secret
    )
    await receiver.wait(1)
    process.kill()
    assert await process.wait() == -signal.SIGKILL
    clock.now += 60 + sending.LEASE_MARGIN
    partners["blog"] = partners["hook"].model_copy(update={"id": "blog"}) if secret else partners["blog"]
    async with running(build()):
        await events.outcomes(2 if secret else 1)
    assert len(receiver.got) == calls
    assert (await only(outbox)).state == state
