"""The calls to a partner's server as the partner sees them, and that it can have one sent again."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog
from clew.postbacks.model import Attempt, Postback
from clew.service.resending import AGAIN
from desks import DeskServer, desk_server, hidden
from partner_desks import by_link, order, text_of
from receiver import Receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def partners(address: str, **more: Any) -> list[dict[str, Any]]:
    return [
        {"id": name, "param": param, "postback": f"{address}/{name}", "secret": SECRET, **more}
        for name, param in (("anna", "aff"), ("blog", "ref"))
    ]


@asynccontextmanager
async def a_desk(
    folder: Path, receiver: Receiver, limits: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[DeskServer]:
    settings = {"partners": partners(receiver.address, allow_private=True, **more)}
    async with desk_server(folder, limits=limits, more=settings, hold={"amounts": False}) as built:
        yield built


async def finished(desk: DeskServer, number: str) -> Postback:
    """The last call about an order, once it has an end."""
    async with asyncio.timeout(30):
        while True:
            rows = [row for row in await desk.service.ledger.outbox.list() if row.report.order_id == number]
            if rows and rows[0].state not in ("due", "sending"):
                return rows[0]
            await asyncio.sleep(0.02)


async def become(desk: DeskServer, row: Postback, state: str, **changes: Any) -> None:
    """Write another state into the ledger, as the worker or a person would."""
    from clew.stores.ledger.connection import executing
    from clew.stores.ledger.schema import postbacks
    from sqlalchemy import update

    changed = update(postbacks).where(postbacks.c.id == row.id).values(state=state, **changes)
    await desk.service.ledger.db.transact(executing(changed))


async def send_again(client: httpx2.AsyncClient, postback: str) -> httpx2.Response:
    page = await client.get("desk/partner/calls")
    return await client.post(f"desk/partner/calls/{postback}/again", data={"csrf": hidden(page.text)})


async def test_calls_are_shown_with_status_and_time_and_without_what_was_answered(tmp_path: Path) -> None:
    with Receiver(secret=SECRET) as receiver:
        async with a_desk(tmp_path, receiver) as desk:
            await order(desk, "1001")
            await order(desk, "2002", partner="blog")
            own, other = await finished(desk, "1001"), await finished(desk, "2002")
            failed = Attempt(own.created_at, "POST http://127.0.0.1", 500, "secret of the server", "retry")
            await desk.service.ledger.partner_book.note(own.id, failed)
            page = text_of(await (await by_link(desk)).get("desk/partner/calls"))
            for part in ("1001", "new order over €100.00", own.id, "HTTP 200", "delivered", "HTTP 500"):
                assert part in page, part
            assert "answer of 20 characters, not shown" in page
            for secret in ("127.0.0.1", "click-of", "secret of", "2002", other.id):
                assert secret not in page, secret


async def test_what_was_delivered_is_sent_again_with_its_own_id_and_stays_delivered(tmp_path: Path) -> None:
    with Receiver(secret=SECRET) as receiver:
        async with a_desk(tmp_path, receiver) as desk:
            await order(desk, "1001")
            row = await finished(desk, "1001")
            client = await by_link(desk)
            with structlog.testing.capture_logs() as log:
                answer = await send_again(client, row.id)
            assert answer.headers["location"].endswith("/partner/calls?done=delivered")
            first, second = receiver.calls
            assert first.headers["webhook-id"] == second.headers["webhook-id"] == row.id
            assert first.json() == second.json()
            assert second.signature == "right"
            (event,) = [line for line in log if line["event"] == "postback_resent"]
            assert (event["partner"], event["postback"], event["by"]) == ("anna", row.id, "link")
            after = await desk.service.ledger.outbox.get(row.id)
            assert after == row
            page = text_of(await client.get(answer.headers["location"].removeprefix("/-/clew/")))
            assert page.count("HTTP 200") == 2
            assert "your server accepted it" in page


async def test_a_failed_resend_does_not_undo_that_it_was_delivered(tmp_path: Path) -> None:
    with Receiver(secret=SECRET) as receiver:
        async with a_desk(tmp_path, receiver) as desk:
            await order(desk, "1001")
            row = await finished(desk, "1001")
            client = await by_link(desk)
            receiver.fail = 99
            answer = await send_again(client, row.id)
            assert answer.headers["location"].endswith("done=dead")
            after = await desk.service.ledger.outbox.get(row.id)
            assert after == row
            attempts = await desk.service.ledger.partner_book.attempts(row.id)
            assert len(attempts) == 2


@pytest.mark.parametrize("state", ["dead", "unknown"])
async def test_what_failed_is_due_again(tmp_path: Path, state: str) -> None:
    with Receiver(secret=SECRET) as receiver:
        async with a_desk(tmp_path, receiver) as desk:
            await order(desk, "1001")
            row = await finished(desk, "1001")
            await become(desk, row, state)
            answer = await send_again(await by_link(desk), row.id)
            assert answer.headers["location"].endswith("done=due")
            assert (await finished(desk, "1001")).state == "delivered"
            assert [call.headers["webhook-id"] for call in receiver.calls] == [row.id] * 2


@pytest.mark.parametrize(
    ("state", "says"),
    [("held", "in review"), ("refused", "in review"), ("superseded", "replaced"), ("due", "on its way")],
)
async def test_what_is_not_the_partners_to_decide_is_not_sent(tmp_path: Path, state: str, says: str) -> None:
    with Receiver(secret=SECRET) as receiver:
        async with a_desk(tmp_path, receiver) as desk:
            await order(desk, "1001")
            row = await finished(desk, "1001")
            why = "fraud: many orders of one network" if state in ("held", "refused") else None
            await become(desk, row, state, why=why, next_at=desk.service.clock.now() + 9999)
            answer = await send_again(await by_link(desk), row.id)
            assert (answer.status_code, says in answer.text) == (409, True)
            assert "fraud" not in answer.text
            assert len(receiver.calls) == 1


async def test_a_call_that_a_later_one_has_followed_is_not_sent_again(tmp_path: Path) -> None:
    """A plain receiver would take the amount of before for the one that holds."""
    with Receiver(secret=SECRET) as receiver:
        async with a_desk(tmp_path, receiver) as desk:
            await order(desk, "1001")
            first = await finished(desk, "1001")
            await order(desk, "1001", "60.00", as_of=desk.service.clock.now() + 5)
            await receiver.waited(2)
            second = await finished(desk, "1001")
            assert second.sequence == 2
            client = await by_link(desk)
            answer = await send_again(client, first.id)
            assert (answer.status_code, "A later call" in answer.text) == (409, True)
            assert (await send_again(client, second.id)).status_code == 303


async def test_a_call_to_somebody_else_is_as_one_that_is_not_there(tmp_path: Path) -> None:
    with Receiver(secret=SECRET) as receiver:
        async with a_desk(tmp_path, receiver) as desk:
            await order(desk, "1001")
            await order(desk, "2002", partner="blog")
            await finished(desk, "1001")
            other = await finished(desk, "2002")
            client = await by_link(desk)
            for postback in (other.id, "pb_none", "1"):
                assert (await send_again(client, postback)).status_code == 404
                answer = await client.get("desk/partner/calls", params={"before": postback})
                assert answer.status_code == 404
            assert len(receiver.calls) == 2


async def test_a_storm_of_resends_reaches_the_partner_a_few_times(tmp_path: Path) -> None:
    with Receiver(secret=SECRET) as receiver:
        async with a_desk(tmp_path, receiver, {"resends": {"client": 12}}) as desk:
            await order(desk, "1001")
            row = await finished(desk, "1001")
            client = await by_link(desk)
            csrf = hidden((await client.get("desk/partner/calls")).text)

            async def press() -> int:
                answer = await client.post(f"desk/partner/calls/{row.id}/again", data={"csrf": csrf})
                return answer.status_code

            at_once = await asyncio.gather(*(press() for _ in range(8)))
            assert sorted(set(at_once)) == [303, 409]
            later = [await press() for _ in range(12)]
            assert set(later) >= {409, 429}
            assert 2 <= len(receiver.calls) <= AGAIN


async def test_a_network_that_counts_repeats_is_not_sent_one(tmp_path: Path) -> None:
    with Receiver(secret=SECRET) as receiver:
        async with a_desk(tmp_path, receiver) as desk:
            await order(desk, "1001")
            row = await finished(desk, "1001")
            desk.service.worker.partners.may_repeat = lambda _: False  # type: ignore[method-assign]
            answer = await send_again(await by_link(desk), row.id)
            assert (answer.status_code, "count the order twice" in answer.text) == (409, True)
            assert len(receiver.calls) == 1


async def test_the_list_of_calls_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clew.desk.pages.partner_calls.SHOWN", 2)
    with Receiver(secret=SECRET) as receiver:
        async with a_desk(tmp_path, receiver) as desk:
            for n in range(5):
                await order(desk, f"100{n}")
            client, seen, path = await by_link(desk), list[str](), "calls"
            while path:
                page = (await client.get(f"desk/partner/{path}")).text
                seen += re.findall(r"<b>(\d+)</b>", page)
                older = re.search(r'href="[^"]*/partner/(calls\?before=[^"]+)"', page)
                path = older[1] if older else ""
            assert seen == ["1004", "1003", "1002", "1001", "1000"]


async def test_many_attempts_of_one_call_are_a_bounded_list(tmp_path: Path) -> None:
    with Receiver(secret=SECRET) as receiver:
        async with a_desk(tmp_path, receiver) as desk:
            await order(desk, "1001")
            row = await finished(desk, "1001")
            for n in range(60):
                await desk.service.ledger.partner_book.note(row.id, Attempt(n, "", 500, "x" * n, "retry"))
            page = text_of(await (await by_link(desk)).get("desk/partner/calls"))
            assert page.count("HTTP 500") <= 30


async def test_only_what_can_be_sent_again_has_the_button(tmp_path: Path) -> None:
    with Receiver(secret=SECRET) as receiver:
        async with a_desk(tmp_path, receiver) as desk:
            await order(desk, "1001")
            await finished(desk, "1001")
            await order(desk, "1001", "60.00", as_of=desk.service.clock.now() + 5)
            await receiver.waited(2)
            last = await finished(desk, "1001")
            await order(desk, "1002")
            coded = await finished(desk, "1002")
            # One that the partner earned by its coupon, reported by hand.
            report = replace(coded.report, click_id="", click_param="")
            await become(desk, coded, "delivered", report=report.to_json(), attempts=0)
            client = await by_link(desk)
            page = (await client.get("desk/partner/calls")).text
            assert re.findall(r"calls/([^/]+)/again", page) == [last.id]
            answer = await send_again(client, coded.id)
            assert (answer.status_code, "without a click" in answer.text) == (409, True)
