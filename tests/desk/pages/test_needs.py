"""What needs a person: shown at the desk, bounded, and marked as done."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio
import structlog
from clew.events.events import MORE, NOTICE_KEYS, Events
from clew.orders.model import OrderSeen
from clew.postbacks.model import Postback, State
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Touched
from clew.service.ordering.correcting import settle
from clew.stores.ledger.errors import LedgerError
from clew.stores.ledger.notices import MOST, Noted, Notices
from desks import VISITOR, DeskServer, desk_server, hidden
from prometheus_client import CollectorRegistry
from unasked import nobody


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path) as built:
        yield built


def notice(desk: DeskServer, key: str = "csp script-src", site: str = "shop", event: str = "policy") -> None:
    desk.service.events.notice(event, site=site, key=key, reason=key, path="/p", outcome="pass")


async def test_the_start_page_lists_events_and_what_to_do(desk: DeskServer) -> None:
    for _ in range(3):
        notice(desk)
    client = await desk.agent()
    page = (await client.get("desk/")).text
    assert "Needs attention" in page
    assert "A page&#39;s Content-Security-Policy restricts clew: csp script-src. Last seen on /p." in page
    assert "3 times" in page


async def test_a_done_line_disappears_until_it_happens_again(desk: DeskServer) -> None:
    notice(desk)
    client = await desk.agent()
    page = (await client.get("desk/")).text
    fields = {"csrf": hidden(page), "notice": hidden(page, "notice")}
    with structlog.testing.capture_logs() as lines:
        assert (await client.post("desk/needs", data=fields)).status_code == 303
    assert [(e["notice"], e["agent"]) for e in lines if e["event"] == "notice_done"] == [("policy", "bo")]
    assert "Needs attention" not in (await client.get("desk/")).text
    notice(desk)
    assert "once" in (await client.get("desk/")).text


async def test_a_line_is_removed_only_by_a_form_of_this_session_and_site(desk: DeskServer) -> None:
    notice(desk)
    notice(desk, site="other")
    client = await desk.agent(site="shop")
    page = (await client.get("desk/")).text
    await desk.service.write_notices()
    (theirs,) = await desk.service.ledger.notices.list(["other"])
    forged = {"csrf": "x" * 43, "notice": hidden(page, "notice")}
    assert (await client.post("desk/needs", data=forged)).status_code == 403
    await client.post("desk/needs", data={"csrf": hidden(page), "notice": str(theirs.id)})
    assert len(await desk.service.ledger.notices.list(["other", "shop"])) == 2
    strange = {"csrf": hidden(page), "notice": "1 OR 1"}
    assert (await client.post("desk/needs", data=strange)).status_code == 422


async def test_an_agent_of_one_of_several_sites_sees_nothing_of_the_others(desk: DeskServer) -> None:
    notice(desk, key="theirs", site="other")
    notice(desk, key="the-whole-program", site="")
    page = (await (await desk.agent(site="shop")).get("desk/")).text
    assert "theirs" not in page
    assert "the-whole-program" not in page
    page = (await (await desk.agent("al")).get("desk/")).text
    assert "the-whole-program" in page
    assert "theirs" not in page


async def test_strangers_fill_neither_the_ledger_nor_the_page(desk: DeskServer) -> None:
    for number in range(NOTICE_KEYS * 3):
        notice(desk, key=f"<i>{number}</i>\udcff")
    await desk.service.write_notices()
    found = await desk.service.ledger.notices.list(["shop"], limit=1000)
    assert len(found) == NOTICE_KEYS + 1
    assert {n.key: n.count for n in found}[MORE] == NOTICE_KEYS * 2
    page = (await (await desk.agent()).get("desk/")).text
    assert "<i>" not in page


async def test_a_site_keeps_a_bounded_number_of_rows_the_newest(desk: DeskServer) -> None:
    books = Notices(desk.service.ledger.db)
    for hour in range(5):
        told = [Noted("shop", "policy", f"{hour}-{n}", 1, {}) for n in range(NOTICE_KEYS)]
        await books.add(told, 1000.0 + hour)
    found = await books.list(["shop"], limit=1000)
    assert len(found) == MOST
    assert {n.key.partition("-")[0] for n in found} == {"1", "2", "3", "4"}


async def test_several_workers_count_into_one_row(desk: DeskServer) -> None:
    journals = [Events(CollectorRegistry()) for _ in range(4)]
    for events in journals:
        events.notice("policy", site="shop", key="a", reason="a")
        events.notice("policy", site="shop", key="a", reason="a")
    books = [Notices(desk.service.ledger.db) for _ in journals]
    await asyncio.gather(*(b.add(j.take_noted(), 5.0) for b, j in zip(books, journals, strict=True)))
    (row,) = await books[0].list(["shop"])
    assert row.count == 8


async def test_notices_are_kept_while_the_ledger_fails(
    desk: DeskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    notice(desk)

    async def locked(*_: object) -> None:
        raise LedgerError("locked")

    with monkeypatch.context() as failing:
        failing.setattr(desk.service.ledger.notices, "add", locked)
        await desk.service.write_notices()
    notice(desk)
    await desk.service.write_notices()
    found = {n.event: n.count for n in await desk.service.ledger.notices.list(["shop", ""])}
    assert found == {"policy": 2, "fault": 1}


async def test_a_fault_is_a_line_too(desk: DeskServer) -> None:
    desk.service.events.emit("fault", site="shop", where="decide", error="OSError()")
    page = (await (await desk.agent()).get("desk/")).text
    assert "Something of clew&#39;s own failed in decide: OSError()" in page


# -- postbacks that wait for a person


async def owe(desk: DeskServer, number: str = "1001", state: State = "held", site: str = "shop") -> Postback:
    """An order of a partner's visitor whose postback is in that state."""
    visits, now = desk.service.visits, desk.service.clock.now()
    click = Click("", "aff", "c1", "anna")
    await visits.change(site, VISITOR, [Touched(Touch(int(now - 60), (click,), {}, "", "/"))], now)
    order = OrderSeen(number, Decimal("1299.00"), "EUR", "api")
    await desk.service.ordering.record(desk.service.sites[site], order, visitor=VISITOR)
    held = {"hold": "amount", "why": "1299.00 EUR, but the cart was 12.99 EUR"} if state == "held" else {}
    with sqlite3.connect(desk.service.ledger.db.address.removeprefix("sqlite:")) as connection:
        values = {"state": state, "lease_until": None, "hold": None, "why": None, **held}
        connection.execute(
            f"UPDATE postbacks SET {', '.join(f'{k} = :{k}' for k in values)} "
            'WHERE "order" = (SELECT id FROM orders WHERE order_id = :number)',
            {**values, "number": number},
        )
    connection.close()
    return next(p for p in await desk.service.ledger.outbox.list() if p.report.order_id == number)


@pytest.fixture
def still(desk: DeskServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is delivered."""

    async def nothing(*_: object, **__: object) -> tuple[()]:
        return ()

    monkeypatch.setattr(desk.service.ledger.outbox, "waiting", nothing)


@pytest.mark.usefixtures("still")
async def test_held_orders_are_listed_until_they_are_settled(desk: DeskServer) -> None:
    """The line stayed when nothing was held any more, and sent people to a list that was not there."""
    first, second = await owe(desk, "1"), await owe(desk, "2")
    desk.service.events.notice("order_held", site="shop", key="amount", order="2", partner="anna", why="so")
    client = await desk.agent()
    for row in (first, second):
        assert "Orders are held" in (await client.get("desk/")).text
        await settle(desk.service.ledger, lambda _: [], row.id, desk.service.clock.now(), by="bo")
    assert "Orders are held" not in (await client.get("desk/")).text


@pytest.mark.usefixtures("still")
async def test_failed_calls_are_listed_until_they_are_sent_again(desk: DeskServer) -> None:
    row = await owe(desk, "1", "dead")
    told = {"partner": "anna", "order": "1", "outcome": "dead", "status": 404, "answer": "no such page"}
    desk.service.events.notice("postback_failed", site="shop", key="anna dead", **told)
    client = await desk.agent()
    assert "order 1 is dead, status 404, answer “no such page”" in (await client.get("desk/")).text
    await desk.service.ledger.outbox.retry(row.id, desk.service.clock.now(), able=nobody)
    assert "may not know of its orders" not in (await client.get("desk/")).text


@pytest.mark.usefixtures("still")
async def test_the_start_page_counts_the_calls_that_wait_for_a_person(desk: DeskServer) -> None:
    await owe(desk, "1")
    await owe(desk, "2")
    await owe(desk, "3", "dead")
    page = (await (await desk.agent()).get("desk/")).text
    assert re.findall(r'postbacks\?state=(\w+)">(\d+) call', page) == [("held", "2"), ("dead", "1")]


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize(
    ("fields", "state", "amount", "said"),
    [
        ({"do": "release"}, "due", "1299.00", "released by bo"),
        (
            {"do": "correct", "amount": "12,99"},
            "due",
            "12.99",
            "corrected from 1299.00 EUR to 12.99 EUR by bo",
        ),
        ({"do": "refuse"}, "refused", "1299.00", "refused by bo"),
    ],
    ids=["release", "correct", "refuse"],
)
async def test_a_person_settles_a_doubt_and_is_named(
    desk: DeskServer, fields: dict[str, str], state: State, amount: str, said: str
) -> None:
    held = await owe(desk)
    client = await desk.agent()
    page = (await client.get("desk/postbacks?state=held")).text
    assert "1299.00 EUR, but the cart was 12.99 EUR" in page
    with structlog.testing.capture_logs() as lines:
        answer = await client.post(f"desk/postbacks/{held.id}", data={"csrf": hidden(page), **fields})
    assert answer.status_code == 303
    (event,) = [e for e in lines if e["event"] == "postback_settled"]
    assert (event["agent"], event["state"], event["amount"]) == ("bo", state, amount)
    *_, row = sorted(await desk.service.ledger.outbox.list(), key=lambda row: row.sequence)
    assert (row.state, row.report.amount, row.hold) == (state, amount, None)
    assert row.why == f"{held.why}; {said}"
    (order,) = await desk.service.ledger.orders.list("shop")
    assert str(order.total) == amount


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"do": "correct", "amount": "1.299"}, 422),
        ({"do": "correct", "amount": ""}, 422),
        ({"do": "correct", "amount": "-1"}, 422),
        ({"do": "dance"}, 422),
        ({"do": "release", "csrf": "x" * 43}, 403),
        ({"do": "retry"}, 422),
    ],
)
async def test_an_unclear_decision_changes_nothing(
    desk: DeskServer, fields: dict[str, str], status: int
) -> None:
    held = await owe(desk)
    client = await desk.agent()
    page = (await client.get("desk/postbacks")).text
    answer = await client.post(f"desk/postbacks/{held.id}", data={"csrf": hidden(page), **fields})
    assert answer.status_code == status
    assert await desk.service.ledger.outbox.list() == (held,)


@pytest.mark.usefixtures("still")
async def test_a_postback_of_another_site_cannot_be_settled(desk: DeskServer) -> None:
    held = await owe(desk)
    client = await desk.agent(base="http://other.test")
    page = (await client.get("desk/postbacks")).text
    assert held.id not in page
    token = hidden((await client.get("desk/")).text)
    for do in ("release", "retry"):
        answer = await client.post(f"desk/postbacks/{held.id}", data={"csrf": token, "do": do})
        assert answer.status_code == 422
    assert await desk.service.ledger.outbox.list() == (held,)


@pytest.mark.usefixtures("still")
async def test_a_dead_call_is_sent_again_from_the_desk(desk: DeskServer) -> None:
    await owe(desk, state="dead")
    client = await desk.agent()
    page = (await client.get("desk/postbacks?state=dead")).text
    (row,) = await desk.service.ledger.outbox.list()
    with structlog.testing.capture_logs() as lines:
        answer = await client.post(f"desk/postbacks/{row.id}", data={"csrf": hidden(page), "do": "retry"})
    assert answer.status_code == 303
    told = [(e["event"], e["agent"], e["order"]) for e in lines if e["event"].startswith("postback_")]
    assert told == [("postback_retried", "bo", "1001")]
    (row,) = await desk.service.ledger.outbox.list()
    assert row.state == "due"
