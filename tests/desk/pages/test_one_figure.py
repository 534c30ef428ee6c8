"""What a partner earns is one figure: on its pages and the owner's, in every file, by the API, by `clew`."""

import csv
import io
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from clew.desk.pages.partner import WEEKS
from clew.stores.ledger.reports import OrderFilter, Reports
from clew.stores.ledger.totals import Weeks
from desks import DeskServer, desk_server
from partner_desks import PARTNERS, by_link, order

WRITER = "writer-token-of-the-tests"
SETTINGS = {
    "partners": PARTNERS,
    "credit": {"terms": [{"name": "all", "percent": 10}]},
    "api_tokens": [{"name": "tests", "token": WRITER, "scopes": ["orders:read", "commissions:write"]}],
}
BEARER = {"authorization": f"Bearer {WRITER}"}


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    """Two orders that earn something, 10.00 and 2.00; one was declined by a person, one was cancelled."""
    async with desk_server(tmp_path, more=SETTINGS, hold={"amounts": False}) as built:
        await order(built, "1001", "100.00")
        await order(built, "1002", "50.00")
        await order(built, "1003", "30.00")
        await order(built, "1003", "30.00", state="cancelled")
        await order(built, "1004", "20.00")
        for number, verdict in (("1001", "approve"), ("1002", "decline")):
            answer = await built.client().post(
                f"orders/{number}/commission", json={"verdict": verdict, "why": "checked"}, headers=BEARER
            )
            assert answer.status_code == 200, answer.text
        yield built


def sheet_of(answer: httpx2.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


def summed(rows: list[dict[str, str]]) -> Decimal:
    return sum((Decimal(row["commission"] or 0) for row in rows), Decimal())


async def test_a_declined_commission_counts_nowhere(desk: DeskServer) -> None:
    agent, partner, program = await desk.agent(), await by_link(desk), desk.client()
    for path in ("revenue.csv", "partners.csv", "orders.csv"):
        assert summed(sheet_of(await agent.get(f"desk/{path}"))) == 12, path
    assert summed(sheet_of(await partner.get("desk/partner/orders.csv"))) == 12
    listed = (await program.get("commissions", headers=BEARER)).json()["commissions"]
    assert sum(Decimal(one["amount"]) for one in listed) == 12
    weeks, now = _weeks(desk), desk.service.clock.now()
    by_state = await desk.service.ledger.totals.states("shop", weeks, now)
    assert sum(one.amount for one in by_state) == 12
    totals = await desk.service.ledger.totals.of(["shop"], weeks, now)
    assert sum(total.commission for total in totals) == 12
    (line,) = await Reports(desk.service.ledger.db).sums(OrderFilter("shop", "anna"))
    assert line.commission == 12
    for path in ("revenue", "partners", "networks"):
        page = (await agent.get(f"desk/{path}")).text
        assert "12.00" in page, path
        assert "17.00" not in page, path


def _weeks(desk: DeskServer) -> Weeks:
    return Weeks.until(desk.service.clock.now(), WEEKS, desk.service.sites["shop"].zone)


async def test_a_commission_counts_in_the_currency_in_which_it_is_paid(tmp_path: Path) -> None:
    """An order in dollars of which a partner earns euros: no page takes one for the other."""
    more = {**SETTINGS, "net": {"currency": "EUR", "rates": {"USD": "0.5"}}}
    async with desk_server(tmp_path, more=more, hold={"amounts": False}) as desk:
        await order(desk, "1001", "100.00", currency="USD")
        await order(desk, "1002", "10.00")
        agent = await desk.agent()
        lines = {row["order"]: row for row in sheet_of(await agent.get("desk/orders.csv"))}
        assert (lines["1001"]["commission"], lines["1001"]["commission_currency"]) == ("5.00", "EUR")
        assert "5.00 EUR" in (await agent.get("desk/orders")).text
        for path in ("revenue.csv", "partners.csv"):
            rows = {row["currency"]: row for row in sheet_of(await agent.get(f"desk/{path}"))}
            assert (rows["EUR"]["commission"], rows["EUR"]["orders"]) == ("6.00", "1"), path
            assert (rows["USD"]["commission"], rows["USD"]["orders"]) == ("0.00", "1"), path
        found = await Reports(desk.service.ledger.db).sums(OrderFilter("shop", "anna"))
        assert {one.currency: (one.orders, one.commission) for one in found} == {
            "EUR": (1, Decimal(6)),
            "USD": (1, Decimal(0)),
        }
        page = (await (await by_link(desk)).get("desk/partner/")).text
        assert page.count("€6.00") >= 3  # this week, this month, and the table
        assert "$5.00" not in page


async def test_a_partners_week_and_its_weeks_in_a_table_say_the_same(desk: DeskServer) -> None:
    """Orders and commission of this week, above as sums by state and below in the table."""
    page = (await (await by_link(desk)).get("desk/partner/")).text
    this_week = re.search(r'aria-label="This week">(.*?)</section>', page, re.DOTALL)
    assert this_week is not None
    above = re.findall(r"<dd>([^<]*)</dd>", this_week[1])
    below = re.findall(r"<td[^>]*>([^<]*)</td>", page[page.rindex("<tbody>") :])
    orders, _, commission = above
    assert (orders, commission) == ("2", "€12.00")
    assert (below[1], below[4]) == (orders, commission)


@pytest.mark.parametrize("verdict", ["approve", "decline"])
async def test_a_decision_changes_the_figure_at_once_for_programs(desk: DeskServer, verdict: str) -> None:
    await desk.client().post(
        "orders/1004/commission", json={"verdict": verdict, "why": "checked"}, headers=BEARER
    )
    rows = sheet_of(await (await desk.agent()).get("desk/orders.csv"))
    states = {row["order"]: (row["commission"], row["commission_state"]) for row in rows}
    assert states["1002"] == ("0.00", "declined")
    assert states["1004"] == (("2.00", "approved") if verdict == "approve" else ("0.00", "declined"))
