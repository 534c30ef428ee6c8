"""The desk's page of what rules bring: for leads and owners, as tables and CSV, also while it is counted."""

import asyncio
import csv
import io
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio
from clew.stores.ledger.exposures import Exposure, Situation
from desks import DeskServer, desk_server
from owner_orders import order

COSTS = {"agent_hour": 36, "conversation": 1, "month": 0, "margin": 50}
RULES = [
    {
        "name": "sizes",
        "action": "invite",
        "variants": [{"name": "ask", "text": "A"}, {"name": "help", "text": "B"}],
    }
]


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    more = {"rules": RULES, "costs": COSTS, "invites": {"holdout": 5}}
    async with desk_server(tmp_path, hold={"amounts": False}, more=more) as built:
        yield built


async def invited(
    desk: DeskServer, number: str, arm: str, *, went_on: bool = True, client: str | None = None
) -> str:
    """A visitor whose order `number` will be."""
    now, visitor = desk.service.clock.now() - 3600, f"visitor{number}".ljust(26, "0")
    edition = desk.service.sites["shop"].invites.experiment("sizes")
    assert edition is not None
    times = dict.fromkeys(("eligible", "assigned", "rendered", "seen", "accepted"), now)
    if went_on:
        times["went_on"] = now + 30
    stood = Situation(95, 2, "80.00", "EUR")
    key = ("shop", "sizes", edition.version, visitor, arm)
    await desk.service.ledger.exposures.write([Exposure(*key, times, stood, client)])
    talk = await desk.says("hello", visitor, rule="sizes", now=now + 60)
    for seconds in (30, 630):
        await desk.conversations.add_agent_message(
            "shop", talk, f"yes {seconds}", agent="anna", client_id=None, now=now + 60 + seconds
        )
    await desk.conversations.rate("shop", visitor, 5, None, now + 700)
    return talk


async def sheet_of(client: object, name: str) -> list[dict[str, str]]:
    answer = await client.get(f"desk/results/{name}.csv?weeks=4")  # type: ignore[attr-defined]
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


async def test_it_is_for_leads_and_owners(desk: DeskServer) -> None:
    for name, role, status in (("al", "agent", 403), ("cy", "lead", 200), ("di", "owner", 200)):
        async with aclosing(await desk.agent(name, role=role)) as client:  # type: ignore[arg-type]
            assert (await client.get("desk/results")).status_code == status
            tabs = (await client.get("desk/orders")).text
            assert ("/desk/results" in tabs) is (status == 200)


async def test_the_five_figures_cost_and_roi_are_there_and_the_same_as_csv(desk: DeskServer) -> None:
    """features B18, B19, B22, B24, B26, E14, E18"""
    talk = await invited(desk, "1001", "ask")
    await invited(desk, "1002", "help", went_on=False)
    await order(desk, "1001", "100.00")
    now = desk.service.clock.now()
    day = f"{desk.service.clock.now():.0f}" and _today(desk)
    await desk.service.ledger.desk_days.add({("shop", "anna", day): (3600.0, 3 * 3600.0)})
    async with aclosing(await desk.agent("cy", role="lead")) as client:
        page = (await client.get("desk/results?weeks=4")).text
        assert now - 7200 < desk.service.clock.now()
        for words in (
            "<dt>Revenue</dt><dd><b>100.00 EUR</b>",
            "<b>50.0 %</b>, 1 of 2 conversations",
            "<b>100.0 %</b>, 2 of 2 ratings",
            # 20 minutes of work in three hours of places.
            "<dt>Utilisation of agents</dt><dd><b>11.1 %</b>",
            "<dt>Contact volume</dt><dd><b>2</b>",
            # An hour of anna, and two conversations.
            "<dt>Cost</dt><dd><b>38.00 EUR</b>, 19.00 EUR per contact",
            "<dt>ROI</dt><dd><b>31.6 %</b>",
            f"/conversations/{talk}",
            "too early",
        ):
            assert words in page, words
        assert page.count('<svg class="chart"') >= 5
        (rule, all_of_them) = await sheet_of(client, "rule")
        assert (rule["rule"], rule["contacts"], rule["ordered"], rule["ordered_of"]) == (
            "sizes",
            "2",
            "1",
            "2",
        )
        assert (rule["revenue"], rule["cost"], rule["roi"]) == ("100.00 EUR", "38.00 EUR", "0.315789")
        assert all_of_them["rule"] == "all"
        texts = {row["text"]: row for row in await sheet_of(client, "text")}
        assert texts["sizes / ask"]["revenue"] == "100.00 EUR"
        assert texts["sizes / help"]["revenue"] == ""
        (agent,) = await sheet_of(client, "agent")
        assert (agent["agent"], agent["utilisation"]) == ("anna", "0.111111")
        (verdict,) = await sheet_of(client, "verdicts")
        assert (verdict["verdict"], verdict["reached"], verdict["reached_of"]) == ("too early", "0", "0")
        accepted = {row["visitors"]: row["accepted_of"] for row in await sheet_of(client, "acceptance")}
        assert accepted == {"after 1 min on the site": "2", "returning": "2"}
        (guard,) = await sheet_of(client, "guardrails")
        assert (guard["left"], guard["left_of"]) == ("1", "2")
        (cart, _) = await sheet_of(client, "carts")
        assert (cart["before"], cart["after"], cart["grown"]) == ("80.00 EUR", "100.00 EUR", "0.25")
        assert (await client.get("desk/results/nothing.csv")).status_code == 404


async def test_a_quiet_week_costs_what_was_paid_and_tells_no_rate_of_nothing(desk: DeskServer) -> None:
    """features B19"""
    await desk.service.ledger.desk_days.add({("shop", "anna", _today(desk)): (3600.0, 3 * 3600.0)})
    async with aclosing(await desk.agent("cy", role="lead")) as client:
        # A sheet waits for the report, however long it takes.
        weeks = await sheet_of(client, "week")
        page = (await client.get("desk/results?weeks=4")).text
        assert "<dt>Cost</dt><dd><b>36.00 EUR</b>" in page
        assert [week["cost"] for week in weeks] == ["0.00 EUR", "0.00 EUR", "0.00 EUR", "36.00 EUR"]
        assert "0 conversations yet, so the rate may be anything" in page
        assert not [rate for rate in ("50.0 %", "16.7 %", "0.0 % to 100.0 %") if rate in page]
        (verdict,) = await sheet_of(client, "verdicts")
        assert (verdict["reached_of"], verdict["estimate"]) == ("0", "")
        # The word comes with what it rests on, and with what that tells.
        row = [*re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", page.partition('id="verdicts"')[2])]
        at = row.index("too early")
        assert row[at - 1 : at + 4] == ["sizes", "too early", "0 of 0", "anything", "–"]


def _today(desk: DeskServer) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(desk.service.clock.now(), UTC).date().isoformat()


async def put_in_arms(desk: DeskServer, rule: str, arms: dict[str, int]) -> None:
    """Visitors of an experiment, or of the hold-out, whose time to order is over."""
    invites, at = desk.service.sites["shop"].invites, desk.service.clock.now() - 9 * 86400
    experiment = invites.experiment(rule) if rule else invites.holdout
    assert experiment is not None
    times = dict.fromkeys(("eligible", "assigned", "rendered", "seen"), at)
    rows = [
        Exposure("shop", rule, experiment.version, f"{arm}{number:04}".ljust(26, "0"), arm, times)
        for arm, count in arms.items()
        for number in range(count)
    ]
    await desk.service.ledger.exposures.write(rows)


@pytest.mark.parametrize("fair", [True, False])
async def test_where_the_lot_is_broken_it_is_said_in_place_of_a_verdict(desk: DeskServer, fair: bool) -> None:
    """statistics 5.7: groups that chance makes once in a thousand times, of those who were assigned."""
    await put_in_arms(desk, "", {"invited": 380, "holdout": 20} if fair else {"invited": 340, "holdout": 60})
    await put_in_arms(desk, "sizes", {"ask": 100, "help": 95} if fair else {"ask": 130, "help": 65})
    async with aclosing(await desk.agent("cy", role="lead")) as client:
        texts = await sheet_of(client, "texts")
        page = (await client.get("desk/results?weeks=4")).text
    assert [row["verdict"] for row in texts] == ["too early" if fair else "the lot is broken"] * 2
    assert ("The lot is broken: the visitors of the two groups" in page) is not fair
    lift = page.partition('id="lift"')[2].partition("<h2")[0]
    assert ("<b>too early</b>" in lift) is fair
    # Also then, what was counted is there.
    assert [row["chatted_of"] for row in texts] == (["100", "95"] if fair else ["130", "65"])


async def test_it_is_told_that_much_came_from_one_network(desk: DeskServer) -> None:
    for number in range(7):
        await invited(desk, f"{number}", "ask", client="0123456789abcdef" if number else None)
    async with aclosing(await desk.agent("cy", role="lead")) as client:
        await sheet_of(client, "verdicts")
        page = (await client.get("desk/results?weeks=4")).text
    assert (
        "6 of 7 conversations came from one client network, of which a verdict counts one in twenty" in page
    )


async def test_what_takes_long_is_counted_off_the_request(desk: DeskServer) -> None:
    goes_on, build = asyncio.Event(), desk.service.rule_reports.build

    async def slow(*given: object) -> object:
        await goes_on.wait()
        return await build(*given)  # type: ignore[arg-type]

    desk.service.rule_reports.build = slow  # type: ignore[method-assign, assignment]
    async with aclosing(await desk.agent("cy", role="lead")) as client:
        answer = await client.get("desk/results")
        assert "being counted" in answer.text
        assert answer.headers["refresh"] == "4"
        goes_on.set()
        site = desk.service.sites["shop"]
        report = await desk.service.rule_reports.of(site, 13, wait=60)
        assert report is not None
        assert (report.all.kpi.revenue, report.all.kpi.cost) == ({}, Decimal())
        assert "being counted" not in (await client.get("desk/results")).text
