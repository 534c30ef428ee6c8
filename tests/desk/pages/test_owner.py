"""The owner's pages: orders with credit and why, partners, networks, revenue, and what waits for a person."""

import csv
import io
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx2
import pytest
import pytest_asyncio
from clew.orders.model import OrderSeen, Refund
from desks import OTHER, DeskServer, hidden
from owner_orders import order, set_call


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    """A desk whose worker does not run: calls stay as a test leaves them."""
    built = DeskServer(tmp_path, hold={"amounts": False})
    await built.service.open()
    yield built
    await built.service.close()


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


def rows_of(page: str) -> list[str]:
    """The lines of the first table's body."""
    body = re.search(r"<tbody>(.*?)</tbody>", page, re.DOTALL)
    return (
        []
        if body is None
        else [text_of(row).strip() for row in re.findall(r"<tr>(.*?)</tr>", body[1], re.DOTALL)]
    )


def sheet_of(answer: httpx2.Response) -> list[dict[str, str]]:
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith("attachment")
    return list(csv.DictReader(io.StringIO(answer.text)))


# -- orders


async def test_a_line_says_amount_state_credit_and_why(desk: DeskServer) -> None:
    await order(desk, "1001", "59.90", channel="chat")
    await order(desk, "1002", partner=None)
    client = await desk.agent()
    page = (await client.get("desk/orders")).text
    second, first = rows_of(page)
    assert "1001" in first
    assert "59.90 EUR" in first
    assert "placed" in first
    assert "chat" in first
    assert re.search(r"anna .*click", first)
    assert "nobody" in second
    found = re.search(r'href="[^"]*(desk/orders/\d+)"', page)
    assert found is not None
    assert "What happened" in (await client.get(found[1])).text


FILTERS = {
    "partner=anna": "1001 1003 1005",
    "partner=-": "1002",
    "partner=bert": "",
    "state=cancelled": "1003",
    "channel=chat": "1001 1005",
    "partner=anna&channel=web": "1003",
    "number=%231002": "1002",
    "number=order%201001": "1001",
    "since=2000-01-01": "1001 1002 1003 1005",
    "until=2000-01-01": "",
    "since=2000-01-01&until=2999-01-01&state=placed&partner=anna": "1001 1005",
    "held=1": "1005",
}


@pytest.mark.parametrize("query", FILTERS)
async def test_filters_show_what_matches_and_the_csv_has_the_same(desk: DeskServer, query: str) -> None:
    await order(desk, "1001", channel="chat")
    await order(desk, "1002", partner=None)
    await order(desk, "1003", state="cancelled")
    held = await order(desk, "1005", channel="chat")
    await set_call(desk, held, "held")
    client = await desk.agent()
    page = (await client.get(f"desk/orders?{query}")).text
    assert sorted(row.split()[0] for row in rows_of(page)) == FILTERS[query].split()
    if "number" not in query:
        found = sheet_of(await client.get(f"desk/orders.csv?{query}"))
        assert sorted(line["order"] for line in found) == FILTERS[query].split()


WRONG = ("state=lost", "channel=fax", "since=yesterday", "until=2026-13-01", "since=9999-99-99")


@pytest.mark.parametrize("query", WRONG)
async def test_a_filter_that_means_nothing_is_refused(desk: DeskServer, query: str) -> None:
    client = await desk.agent()
    for path in ("desk/orders", "desk/orders.csv"):
        assert (await client.get(f"{path}?{query}")).status_code == 422


@pytest.mark.parametrize("after", ["x", "1_2", "9" * 40 + ".1_2", "1.0_" + "9" * 40, "-1.0_1", "\0"])
async def test_a_place_that_is_none_is_the_beginning(desk: DeskServer, after: str) -> None:
    await order(desk, "1001")
    client = await desk.agent()
    assert "1001" in text_of((await client.get("desk/orders", params={"after": after})).text)


async def test_pages_follow_each_other_with_their_filter(
    desk: DeskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clew.desk.pages.order_list.ROWS", 2)
    for number in range(1001, 1006):
        await order(desk, str(number), partner="anna" if number % 2 else None)
    client, seen, path = await desk.agent(), list[str](), "desk/orders?partner=anna"
    while path:
        page = (await client.get(path)).text
        seen += [row.split()[0] for row in rows_of(page)]
        older = re.search(r'href="[^"]*(desk/orders\?[^"]*after=[^"]*)"', page)
        path = older[1].replace("&amp;", "&") if older else ""
    assert seen == ["1005", "1003", "1001"]


async def test_the_csv_is_bounded_and_no_cell_of_it_is_a_formula(
    desk: DeskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clew.desk.pages.order_list.STEP", 1)
    monkeypatch.setattr("clew.desk.pages.order_list.MOST", 2)
    for number in ("1001", "=cmd()", "1003"):
        await order(desk, number)
    client = await desk.agent()
    found = sheet_of(await client.get("desk/orders.csv"))
    assert [line["order"] for line in found[:2]] == ["1003", "'=cmd()"]
    assert found[2]["site"].startswith("Only the newest 2 orders")
    assert len(found) == 3


# -- sites


async def test_an_agent_sees_only_the_sites_of_its_account(desk: DeskServer) -> None:
    await order(desk, "1001")
    await order(desk, "2001", site="other", partner=None)
    for agent in (await desk.agent(site="shop"), await desk.agent("al")):
        # On a shop's host there is no other site, whoever asks.
        assert "2001" not in (await agent.get("desk/orders")).text
        for query in ("site=other", "site=all", "site=nosuch"):
            for path in ("orders", "orders.csv", "revenue", "revenue.csv"):
                assert (await agent.get(f"desk/{path}?{query}")).status_code == 404, (path, query)
    theirs = desk.client(OTHER)
    assert (await theirs.get("desk/orders")).status_code == 303


# -- figures


async def test_revenue_is_shown_by_week_partner_and_channel_with_charts(desk: DeskServer) -> None:
    await order(desk, "1001", "100.00", channel="chat")
    await order(desk, "1002", "50.00", partner=None)
    await order(desk, "1003", "7200", currency="JPY")
    refund = OrderSeen("1001", None, "EUR", "api", state=None, refunds=(Refund("r1", Decimal("25.00")),))
    await desk.service.ordering.record(desk.service.sites["shop"], refund, visitor=None)
    client = await desk.agent()
    page = (await client.get("desk/revenue")).text
    (week_eur, week_jpy) = rows_of(page)
    assert week_eur.split()[1:] == ["2", "0", "125.00", "0.00", "EUR"]
    assert week_jpy.split()[1:] == ["1", "0", "7200", "0", "JPY"]
    text = text_of(page)
    assert "anna 1 0 75.00 0.00 EUR" in text
    assert "nobody 1 0 50.00 0.00 EUR" in text
    assert "chat 1 0 75.00 0.00 EUR" in text
    assert page.count('<svg class="chart"') == 8
    assert 'aria-label="Revenue by week, EUR"' in page
    found = sheet_of(await client.get("desk/revenue.csv"))
    assert {(line["partner"], line["channel"], line["revenue"], line["currency"]) for line in found} == {
        ("anna", "chat", "75.00", "EUR"),
        ("", "web", "50.00", "EUR"),
        ("anna", "web", "7200", "JPY"),
    }


async def test_partners_stand_side_by_side_with_their_calls(desk: DeskServer) -> None:
    await set_call(desk, await order(desk, "1001"), "delivered")
    await set_call(desk, await order(desk, "1002"), "dead")
    await set_call(desk, await order(desk, "1003"), "unknown")
    await order(desk, "1004")
    today = desk.service.clock.now()
    for _ in range(2):
        desk.service.clicks.count("shop", "anna", today, ZoneInfo("UTC"))
    await desk.service.ledger.partner_clicks.add(desk.service.clicks.take())
    client = await desk.agent()
    page = (await client.get("desk/partners")).text
    assert "anna pending 4 0.00 EUR" in text_of(page)
    (line,) = rows_of(page)
    assert line == "anna 2 4 0 400.00 EUR 0.00 EUR 1 0 1 dead 1 unknown 1"
    assert "No partners" not in page
    (csv_line,) = sheet_of(await client.get("desk/partners.csv"))
    assert (csv_line["orders"], csv_line["due"], csv_line["dead"], csv_line["delivered"]) == (
        "4",
        "1",
        "1",
        "1",
    )


async def test_networks_show_the_share_delivered_and_the_last_error(desk: DeskServer) -> None:
    await set_call(desk, await order(desk, "1001"), "delivered")
    await set_call(desk, await order(desk, "1002"), "dead")
    await order(desk, "1003")
    desk.clock.ahead = 300
    page = (await (await desk.agent()).get("desk/networks")).text
    (line,) = rows_of(page)
    assert line.startswith("own call anna 1 0 1 0 0 0 1 50.0 % 5 min 3 0.00 EUR dead, status 400")
    assert "said dead" in line


async def test_figures_of_a_site_without_orders(desk: DeskServer) -> None:
    client = await desk.agent()
    for path in ("orders", "revenue", "partners", "networks", "waiting"):
        assert (await client.get(f"desk/{path}")).status_code == 200, path
    for weeks in ("0", "53", "54", "x", "-1"):
        assert (await client.get(f"desk/revenue?weeks={weeks}")).status_code == 200


# -- what waits for a person


async def test_each_line_that_waits_has_the_button_that_settles_it(desk: DeskServer) -> None:
    dead = await set_call(desk, await order(desk, "1001"), "dead")
    unknown = await set_call(desk, await order(desk, "1002"), "unknown")
    held = await set_call(desk, await order(desk, "1003"), "held")
    desk.service.events.notice("order_conflict", site="shop", key="1002", order="1002", why="two totals")
    client = await desk.agent()
    page = (await client.get("desk/waiting")).text
    for postback, do in ((held, "release"), (dead, "retry"), (unknown, "retry")):
        form = re.search(rf'<form[^>]*/postbacks/{postback.id}".*?</form>', page, re.DOTALL)
        assert form is not None
        # What is held can also be refused.
        assert form[0].count("<button") == (2 if postback is held else 1)
        fields = {"csrf": hidden(page), "do": do, "back": hidden(form[0], "back"), "state": postback.state}
        wrong = await client.post(f"desk/postbacks/{postback.id}", data=fields | {"csrf": "x" * 43})
        assert wrong.status_code == 403
        answer = await client.post(f"desk/postbacks/{postback.id}", data=fields)
        assert (answer.status_code, answer.headers["location"]) == (303, "/-/clew/desk/waiting?done=settled")
    assert "two totals" in page
    notice = {"csrf": hidden(page), "notice": hidden(page, "notice"), "back": "waiting"}
    answer = await client.post("desk/needs", data=notice)
    assert answer.headers["location"] == "/-/clew/desk/waiting?done=settled"
    page = (await client.get("desk/waiting?done=settled")).text
    assert "Nothing waits for a person." in page
    assert "Done." in page


async def test_a_report_that_fits_one_order_is_assigned_with_who_and_why(desk: DeskServer) -> None:
    client = await desk.agent()
    await order(desk, "1001", "59.90")
    seen = OrderSeen(None, Decimal("59.90"), "EUR", "api")
    await desk.service.ordering.record_reported(desk.service.sites["shop"], seen, None, ())
    page = (await client.get("desk/waiting")).text
    if "Assign to" not in page:
        assert "Choose" in page
    assert "without an order number" in page
