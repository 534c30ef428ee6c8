"""The orders at the desk: the list, the story of one, and what an agent corrects."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from clew.credit.compiled import asked_by
from clew.credit.terms import Policy, Rate
from clew.orders.model import OrderSeen
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Shopped, Touched
from clew.stores.ledger.orders import StoredOrder
from desks import OTHER, VISITOR, DeskServer, desk_server, hidden

LIMIT = Decimal(500)
TOUCH = Touch(1, (Click("", "aff", "click-1234567890", "anna"),), {}, "", "/")


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path, hold={"agent_limit": LIMIT, "amounts": False}) as built:
        yield built


async def order(
    desk: DeskServer,
    number: str = "1001",
    total: str = "100.00",
    site: str = "shop",
    *,
    agent: str | None = None,
) -> StoredOrder:
    """An order of a visitor that anna referred, by the shop's server or an agent."""
    now = int(desk.service.clock.now())
    touch = Touch(now - 3600, TOUCH.clicks)
    await desk.service.visits.change(site, VISITOR, [Touched(touch), Shopped()], now)
    seen = OrderSeen(number, Decimal(total), "EUR", "agent" if agent else "api", spelling=f"#{number}")
    recorded = await desk.service.ordering.record(
        desk.service.sites[site], seen, visitor=VISITOR, agent=agent
    )
    return recorded.order


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


async def test_the_newest_orders_are_listed_and_found_by_any_spelling(desk: DeskServer) -> None:
    for number in ("1001", "1002"):
        await order(desk, number)
    client = await desk.agent()
    listed = text_of((await client.get("desk/orders")).text)
    assert listed.index("#1002") < listed.index("#1001")
    assert "100.00 EUR" in listed
    found = text_of((await client.get("desk/orders", params={"number": "Order #1001"})).text)
    assert "#1001" in found
    assert "#1002" not in found
    assert "No order has this number" in (await client.get("desk/orders?number=9")).text


async def test_older_orders_are_on_the_next_page(desk: DeskServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clew.desk.pages.order_list.ROWS", 2)
    for number in ("1001", "1002", "1003"):
        await order(desk, number)
    client = await desk.agent()
    first = (await client.get("desk/orders")).text
    (older,) = re.findall(r'href="[^"]*(desk/orders\?after=[\d._]+)"', first)
    second = text_of((await client.get(older)).text)
    assert "#1001" in second
    assert "#1002" not in second


async def test_the_order_page_shows_reports_credit_and_calls(desk: DeskServer) -> None:
    found = await order(desk)
    client = await desk.agent()
    page = text_of((await client.get(f"desk/orders/{found.row}")).text)
    story = [
        "Order #1001",
        "total 100.00 EUR the shop's server",
        "The shop's server reported 100.00 EUR, placed",
        "Credited to anna",
        "considered: arrival",
        "Due to anna: a new order over 100.00 EUR",
    ]
    told = page.replace("&#39;", "'")
    positions = [told.index(text) for text in story]
    assert positions == sorted(positions)
    assert "click-1234567890" not in page


async def test_an_agent_sees_the_orders_of_its_own_site_only(desk: DeskServer) -> None:
    theirs = await order(desk, site="other")
    await order(desk, "2002")
    client = await desk.agent(site="shop")
    assert (await client.get(f"desk/orders/{theirs.row}")).status_code == 404
    assert "#1001" not in (await client.get("desk/orders")).text
    assert "No order has this number" in (await client.get("desk/orders?number=1001")).text
    forged = {"csrf": hidden((await client.get("desk/orders/2")).text), "state": "cancelled", "why": "x"}
    assert (await client.post(f"desk/orders/{theirs.row}/correct", data=forged)).status_code == 404
    assert (await desk.client(OTHER).get(f"desk/orders/{theirs.row}")).status_code == 303
    assert (await client.get("desk/orders/9999999999999999999999")).status_code == 404


async def test_the_login_leads_back_to_the_order(desk: DeskServer) -> None:
    found = await order(desk)
    asked = await desk.client().get(f"desk/orders/{found.row}")
    assert asked.headers["location"].endswith(f"/desk/login?to=/orders/{found.row}")


async def test_the_conversation_and_held_postbacks_link_to_the_order(desk: DeskServer) -> None:
    found = await order(desk)
    await order(desk, "1002", "99999.00", agent="bo")
    held = await order(desk, "1003", "900.00", agent="bo")
    talk = await desk.says("hello")
    client = await desk.agent()
    assert f'desk/orders/{found.row}"' in (await client.get(f"desk/conversations/{talk}")).text
    assert f'desk/orders/{held.row}"' in (await client.get("desk/postbacks?state=held")).text
    assert '/desk/orders"' in (await client.get("desk/")).text


async def correct(desk: DeskServer, row: int, name: str = "bo", **fields: str) -> tuple[int, str]:
    client = await desk.agent(name)
    csrf = hidden((await client.get(f"desk/orders/{row}")).text)
    answer = await client.post(f"desk/orders/{row}/correct", data={"csrf": csrf, "why": "rang up", **fields})
    return answer.status_code, answer.text


async def test_a_correction_is_a_new_entry_and_the_partner_is_notified(desk: DeskServer) -> None:
    found = await order(desk)
    assert (await correct(desk, found.row, amount="59,00", state="paid"))[0] == 303
    client = await desk.agent()
    page = text_of((await client.get(f"desk/orders/{found.row}?done=corrected")).text)
    assert "bo set it to 59.00 EUR, paid" in page
    assert "why: rang up" in page
    assert "The shop&#39;s server reported 100.00 EUR" in page
    # The worker may have tried to call the partner already: then it hears of the change.
    assert (await desk.service.ledger.histories.postbacks(found.row))[-1].report.amount == "59.00"


async def test_correcting_the_partner_notifies_both_partners(desk: DeskServer) -> None:
    found = await order(desk)
    assert (await correct(desk, found.row, partner="-"))[0] == 303
    after = await desk.service.ledger.orders.at(found.row)
    assert after is not None
    assert (after.partner, after.reason) == (None, "nobody: chosen by bo: rang up")
    last = (await desk.service.ledger.histories.postbacks(found.row))[-1]
    # The worker may have tried to call the partner already: then it hears of the cancellation.
    assert last.event == "cancel" or last.state == "superseded"
    assert (await correct(desk, found.row, partner="anna"))[0] == 303
    after = await desk.service.ledger.orders.at(found.row)
    assert after is not None
    assert after.click is not None
    assert (after.partner, after.click.value) == ("anna", "click-1234567890")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "nothing to correct"),
        ({"amount": "1.299,00"}, "no amount"),
        ({"amount": "5", "why": " "}, "why: it is empty"),
        ({"state": "gone"}, "is no state"),
        ({"partner": "stranger"}, "the site has no"),
    ],
)
async def test_invalid_corrections_are_refused_and_change_nothing(
    desk: DeskServer, fields: dict[str, str], problem: str
) -> None:
    found = await order(desk)
    status, page = await correct(desk, found.row, **fields)
    assert (status, problem in page) == (422, True)
    after = await desk.service.ledger.orders.at(found.row)
    assert after is not None
    assert after.version == found.version


async def test_above_the_limit_an_agents_order_waits_for_a_second_agent(desk: DeskServer) -> None:
    """field E24"""
    small = await order(desk, "1001", "500.00", agent="bo")
    assert small.doubts == ()
    large = await order(desk, "1002", "500.01", agent="bo")
    assert [d.kind for d in large.doubts] == ["agent"]
    (held,) = await desk.service.ledger.outbox.list("held")

    async def release(name: str, **fields: str) -> int:
        client = await desk.agent(name)
        csrf = hidden((await client.get("desk/postbacks")).text)
        form = {"csrf": csrf, "do": "release", **fields}
        return (await client.post(f"desk/postbacks/{held.id}", data=form)).status_code

    assert await release("bo") == 422
    assert await release("bo", do="correct", amount="499.00") == 422
    assert [row.id for row in await desk.service.ledger.outbox.list("held")] == [held.id]
    assert await release("ann") == 303
    assert await desk.service.ledger.outbox.list("held") == ()


async def test_above_the_limit_a_correction_waits_for_a_second_agent_too(desk: DeskServer) -> None:
    """field E24"""
    found = await order(desk)
    assert (await correct(desk, found.row, amount="501"))[0] == 303
    (held,) = await desk.service.ledger.outbox.list("held")
    assert (held.report.amount, held.hold) == ("501.00", "agent")
    client = await desk.agent("ann")
    form = {"csrf": hidden((await client.get("desk/postbacks")).text), "do": "correct", "amount": "800"}
    await client.post(f"desk/postbacks/{held.id}", data=form)
    (held,) = await desk.service.ledger.outbox.list("held")
    assert (held.report.amount, held.hold) == ("800.00", "agent")


async def test_the_shops_server_overrides_what_an_agent_recorded(desk: DeskServer) -> None:
    """field E24"""
    await order(desk, "1001", "900.00", agent="bo")
    (held,) = await desk.service.ledger.outbox.list("held")
    assert held.hold == "agent"
    after = await order(desk, "1001", "90.00")
    assert (after.total, after.doubts) == (Decimal("90.00"), ())
    assert (await desk.service.ledger.histories.postbacks(after.row))[-1].report.amount == "90.00"


TOKEN = {"authorization": "Bearer s3cret-token-of-the-shop"}
PAID = {"total": "100.00", "currency": "EUR", "state": "paid", "email_hash": "a" * 64}


async def test_a_report_without_a_number_waits_until_an_agent_places_it(desk: DeskServer) -> None:
    api = desk.client()
    for number in ("1001", "1002"):
        await api.post("orders", json={**PAID, "id": number, "state": "placed"}, headers=TOKEN)
    found = await desk.service.ledger.orders.get("shop", "1001")
    assert found is not None
    answer = await api.post("orders", json=PAID, headers=TOKEN)
    assert answer.status_code == 202
    told = answer.json()
    assert (told["id"], told["candidates"]) == (None, ["1001", "1002"])
    assert "a person places it" in told["waiting"]
    client = await desk.agent()
    assert "1 report without an order number" in (await client.get("desk/")).text
    page = (await client.get("desk/reports")).text
    assert "It may belong to" in page
    form = {"csrf": hidden(page), "number": "#1001", "why": "the bank says so"}
    placed = await client.post(f"desk/reports/{told['report']}", data=form)
    assert placed.headers["location"].endswith(f"/desk/orders/{found.row}?done=moved")
    assert "without an order number" not in (await client.get("desk/")).text
    after = await desk.service.ledger.orders.at(found.row)
    assert after is not None
    assert after.state == "paid"
    story = text_of((await client.get(f"desk/orders/{found.row}")).text)
    assert re.search(r"moved to 1001 by bo, [-0-9: ]+: the bank says so", story)


async def test_a_report_without_a_number_is_joined_where_that_is_sure(desk: DeskServer) -> None:
    await order(desk)
    answer = await desk.client().post("orders", json={**PAID, "visitor": VISITOR}, headers=TOKEN)
    assert (answer.status_code, answer.json()["id"], answer.json()["state"]) == (200, "1001", "paid")


@pytest.mark.parametrize(
    "body",
    [
        {"total": "1.00", "currency": "EUR"},
        {"state": "paid", "email_hash": "a" * 64},
        {"id": None, "state": "paid", "coupon": "SAVE"},
        {"id": "", "total": "1.00", "currency": "EUR", "coupon": "SAVE"},
    ],
)
async def test_a_report_without_a_number_and_evidence_is_refused(
    desk: DeskServer, body: dict[str, str]
) -> None:
    answer = await desk.client().post("orders", json=body, headers=TOKEN)
    assert answer.status_code == 422
    assert "id: " in answer.json()["error"]


async def test_a_wrong_join_is_undone_on_the_orders_page(desk: DeskServer) -> None:
    found = await order(desk)
    theirs = await order(desk, "3003", site="other")
    client = await desk.agent(site="shop")
    page = (await client.get(f"desk/orders/{found.row}")).text
    (report,) = re.findall(r'action="[^"]*(desk/reports/\d+)"', page)
    form = {"csrf": hidden(page), "number": "2002", "why": "typed wrongly"}
    placed = await client.post(report, data=form)
    assert placed.status_code == 303
    moved = text_of((await client.get(f"desk/orders/{found.row + 2}")).text)
    assert re.search(r"moved to 2002 by bo, [-0-9: ]+: typed wrongly", moved)
    gone = await desk.service.ledger.orders.at(found.row)
    assert gone is not None
    assert gone.state == "cancelled"
    (stored,) = (await desk.service.ledger.histories.known("other", ["3003"]))[0].sightings
    refused = await client.post(f"desk/reports/{stored.row}", data=form)
    assert (refused.status_code, "Nothing changed" in refused.text) == (422, True)
    untouched = await desk.service.ledger.orders.at(theirs.row)
    assert untouched == theirs


async def test_the_order_page_shows_shares_and_commission(desk: DeskServer) -> None:
    """As `clew explain order`: tests/cli/test_explain_credit.py."""
    site = desk.service.sites["shop"]
    further = replace(site.terms.further, rates=(Rate(name="all", percent=Decimal(10)),))
    terms = replace(site.terms, model="linear", compare=("first",), further=further)
    site.terms, site.policy, site.asked = terms, Policy(terms), asked_by(further)
    found = await order(desk)
    client = await desk.agent()
    shown = text_of((await client.get(f"desk/orders/{found.row}")).text)
    for line in (
        "share of anna: 100 %, commission 10.00 EUR, by click aff click-…",
        "commission of anna: terms all: 10 % of 100.00 = 10.00 EUR",
        "won: the only partner click that counts",
        "by the first click it would be: anna",
    ):
        assert line in shown


async def test_an_agent_approves_and_declines_a_commission(desk: DeskServer) -> None:
    found = await order(desk)
    client = await desk.agent("bo")
    page = (await client.get(f"desk/orders/{found.row}")).text
    assert "anna : pending" in text_of(page)
    said = {"csrf": hidden(page), "partner": "anna", "why": "bought for itself"}
    address = f"desk/orders/{found.row}/commission"
    answer = await client.post(address, data={**said, "verdict": "decline"})
    assert answer.status_code == 303
    shown = text_of((await client.get(f"desk/orders/{found.row}")).text)
    assert "Commission of anna declined bo" in shown
    assert "why: bought for itself" in shown
    assert "anna : declined" in shown
    refused = await client.post(address, data={**said, "verdict": "perhaps"})
    assert refused.status_code == 422
    assert "Nothing changed" in refused.text


async def test_who_decides_by_an_old_page_is_told_what_was_decided_since(desk: DeskServer) -> None:
    """Of two agents with the same page before them one decides; the other reads so, and looks again."""
    found = await order(desk)
    bo, eva = await desk.agent("bo"), await desk.agent("eva")
    pages = {one: (await one.get(f"desk/orders/{found.row}")).text for one in (bo, eva)}

    def form(client: httpx2.AsyncClient, action: str) -> dict[str, str]:
        form = re.search(rf'action="[^"]*{action}"(.*?)</form>', pages[client], re.DOTALL)
        assert form is not None
        return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form[1]))

    commission = f"desk/orders/{found.row}/commission"
    said = {"why": "checked", "verdict": "approve"}
    assert (await bo.post(commission, data=form(bo, "/commission") | said)).status_code == 303
    answer = await eva.post(commission, data=form(eva, "/commission") | said | {"verdict": "decline"})
    assert answer.status_code == 422
    assert "Nothing changed: order: its commission is approved by now" in answer.text
    # The same decision once more is none.
    assert (await eva.post(commission, data=form(eva, "/commission") | said)).status_code == 303
    correct = f"desk/orders/{found.row}/correct"
    said = {"why": "the invoice", "amount": "90.00"}
    assert (await bo.post(correct, data=form(bo, "/correct") | said)).status_code == 303
    answer = await eva.post(correct, data=form(eva, "/correct") | said | {"amount": "80.00"})
    assert answer.status_code == 422
    assert "bo has decided about it meanwhile (the invoice)" in answer.text
    now = await desk.service.ledger.orders.get("shop", found.order_id)
    assert now is not None
    assert now.total == 90
