"""Orders that nobody earns: on the page of what waits, each with its evidence and one button."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Touched
from clew.stores.ledger.connection import executing
from clew.stores.ledger.errors import LedgerBusyError
from clew.stores.ledger.schema import postbacks
from desks import DeskServer, desk_server, hidden
from owner_orders import order
from sqlalchemy import update


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    built = DeskServer(tmp_path, hold={"amounts": False})
    await built.service.open()
    yield built
    await built.service.close()


async def test_an_order_that_nobody_earns_is_credited_by_a_person(desk: DeskServer) -> None:
    lost = await order(desk, "1001", "59.90", partner=None)
    await order(desk, "1002", partner=None)
    now = int(desk.service.clock.now())
    touch = Touch(now - 3600, (Click("", "aff", "late-1", "anna"),), landing="/")
    assert lost.visitor is not None
    await desk.service.visits.change("shop", lost.visitor, [Touched(touch)], now)
    client = await desk.agent()
    page = (await client.get("desk/waiting")).text
    assert "anna: the buyer&#39;s own visit came by anna at" in page
    assert page.count('action="/-/clew/desk/waiting/lost"') == 1
    fields = {"csrf": hidden(page), "order": "1001", "partner": "anna", "why": "it was the same person"}
    assert (await client.post("desk/waiting/lost", data=fields | {"csrf": "x" * 43})).status_code == 403
    for wrong in ({"order": "1002"}, {"order": "77"}, {"order": ""}, {"partner": "nobody"}, {"why": ""}):
        answer = await client.post("desk/waiting/lost", data=fields | wrong)
        assert (answer.status_code, "Nothing changed:" in answer.text) == (422, True), wrong
    answer = await client.post("desk/waiting/lost", data=fields)
    assert (answer.status_code, answer.headers["location"]) == (303, "/-/clew/desk/waiting?done=assigned")
    page = (await client.get("desk/waiting?done=assigned")).text
    assert "The order is credited to the partner." in page
    assert "waiting/lost" not in page
    credited = await desk.service.ledger.orders.get("shop", "1001")
    assert credited is not None
    assert credited.partner == "anna"
    assert "it was the same person (the buyer's own visit came by anna" in credited.reason
    (row,) = await desk.service.ledger.histories.postbacks(credited.row)
    assert (row.state, row.report.click_id) == ("due", "late-1")


async def test_the_page_is_there_while_the_look_up_takes_too_long(
    desk: DeskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(*_: object, **options: object) -> None:
        assert options["seconds"]
        raise LedgerBusyError("longer than 3 s")

    monkeypatch.setattr(desk.service.ledger.lost, "unearned", late)
    answer = await (await desk.agent()).get("desk/waiting")
    assert answer.status_code == 200
    assert "could not be looked up in time" in answer.text
    assert "Nothing waits for a person." not in answer.text


async def test_evidence_has_the_time_zone_of_the_page(tmp_path: Path) -> None:
    async with desk_server(tmp_path, more={"time_zone": "Asia/Kolkata"}) as desk:
        lost, now = await order(desk, "1001", "59.90", partner=None), int(desk.service.clock.now())
        touch = Touch(now - 3600, (Click("", "aff", "late-1", "anna"),), landing="/")
        assert lost.visitor is not None
        await desk.service.visits.change("shop", lost.visitor, [Touched(touch)], now)
        page = (await (await desk.agent()).get("desk/waiting")).text
        assert re.search(r"came by anna at [-0-9]{10} [:0-9]{5} IST<", page)


@pytest.mark.parametrize(("hold", "button"), [("manual", "Do not report"), ("amount", "Do not send")])
async def test_a_call_can_be_refused_on_the_page(desk: DeskServer, hold: str, button: str) -> None:
    """Also one that is to be reported by hand."""
    found = await order(desk, "1001")
    held = update(postbacks).values(state="held", hold=hold, why="no call tells it: report it by hand")
    await desk.service.ledger.db.transact(executing(held))
    client = await desk.agent()
    page = (await client.get("desk/waiting")).text
    assert f'<button class="quiet" name="do" value="refuse">{button}</button>' in page
    (row,) = await desk.service.ledger.histories.postbacks(found.row)
    fields = {"csrf": hidden(page), "state": "held", "back": "waiting", "do": "refuse"}
    answer = await client.post(f"desk/postbacks/{row.id}", data=fields)
    assert (answer.status_code, answer.headers["location"]) == (303, "/-/clew/desk/waiting?done=settled")
    (row,) = await desk.service.ledger.histories.postbacks(found.row)
    assert (row.state, "report it by hand; refused by" in (row.why or "")) == ("refused", True)
