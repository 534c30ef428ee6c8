"""`clew reconcile`."""

import csv
import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from clew.cli import app
from clew.orders.model import OrderSeen
from clew.postbacks.model import Report
from clew.stores.ledger.database import Database
from clew.stores.ledger.engines import database_at
from clew.stores.ledger.schema import postbacks
from recorded import Credit, put_order
from sqlalchemy import update
from typer.testing import CliRunner, Result

DAY = 86400.0
NOW = 1763856000.0  # 2025-11-23 00:00 UTC
SETTINGS = """
secret = "env:SECRET"
[[sites]]
name = "shop"
hosts = ["shop.example"]
[[sites.partners]]
id = "blog"
param = "aff"
postback = "https://blog.example/?c={click_id}"
"""
SECRET = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"

# id, total, partner, state of the call, day
ORDERS = [
    ("1001", "59.90", "blog", "delivered", 0),
    ("1002", "10.00", "blog", "delivered", 1),
    ("1003", "20.00", "blog", "dead", 1),
    ("1004", "30.00", None, None, 1),
    ("1005", "40.00", "blog", "delivered", 40),
]


async def fill(db: Database) -> None:
    for number, total, partner, state, day in ORDERS:
        reports = []
        if partner:
            reports.append(Report("order", partner, "click", number, total, "EUR", "web", 1, 1))
        await put_order(
            db,
            OrderSeen(number, Decimal(total), "EUR", "page"),
            channel="web",
            credit=Credit(partner, None, None, "for the test", ()),
            reports=reports,
            now=NOW + day * DAY,
        )
        if state:
            change = update(postbacks).where(postbacks.c.state == "due").values(state=state)

            async def work(tx: object, change: object = change) -> None:
                await tx.execute(change)  # type: ignore[attr-defined]

            await db.transact(work)


@pytest.fixture
async def run(tmp_path: Path) -> Callable[..., Result]:
    config = tmp_path / "clew.toml"
    config.write_text(SETTINGS, encoding="utf-8")
    db = database_at(f"sqlite:{tmp_path / 'clew.db'}")
    await db.open()
    await fill(db)
    await db.close()
    return lambda *arguments: CliRunner().invoke(
        app,
        ["reconcile", *arguments, "--config", str(config)],
        env={"COLUMNS": "120", "SECRET": SECRET},
    )


def test_a_report_is_compared_with_what_the_partner_was_told(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    report = tmp_path / "report.csv"
    report.write_text(
        "Order;Amount;Status;Date\n#1001;59,90;approved;23.11.2025\n1004;30,00;pending;24.11.2025\n"
        "9999;1,00;pending;24.11.2025\n"
    )
    result = run(str(report), "--partner", "blog", "--json")
    assert result.exit_code == 1, result.output
    found = [json.loads(line) for line in result.output.splitlines()]
    assert [(one["kind"], one["order"], one["ours"], one["theirs"]) for one in found] == [
        ("missing", "1002", "10.00 EUR", "nothing"),
        ("not told", "1003", "dead", "nothing"),
        ("unknown here", "9999", "no such order", "1.00 pending"),
        ("not theirs", "1004", "credited to nobody", "30.00 pending"),
    ]
    shown = run(str(report), "--partner", "blog").output
    assert "the partner took the call, but has no such order" in shown
    assert shown.splitlines()[-1] == "1 order agrees, 4 differ."
    assert "send it again: clew postbacks retry pb_" in " ".join(shown.split())


def test_a_report_that_agrees_exits_with_0(run: Callable[..., Result], tmp_path: Path) -> None:
    report = tmp_path / "report.csv"
    report.write_text("Order,Amount,Date\n1001,59.90,2025-11-23\n")
    result = run(str(report), "--partner", "blog")
    assert (result.exit_code, result.output) == (0, "1 order agrees, 0 differ.\n")


def test_an_order_of_another_day_by_the_networks_clock_is_known(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    report = tmp_path / "report.csv"
    report.write_text("Order,Amount,Date\n1001,59.90,2025-11-22\n1005,40.00,2025-11-22\n")
    result = run(str(report), "--partner", "blog")
    assert (result.exit_code, result.output) == (0, "2 orders agree, 0 differ.\n")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--partner", "blogg"), "there is no partner 'blogg'; there are blog"),
        (("--partner", "blog", "--column", "id=Order"), "write FIELD=NAME; fields are order, amount"),
        (("--partner", "blog", "--column", "order=No"), "there is no column No for the order"),
    ],
)
def test_what_cannot_be_compared_says_why(
    run: Callable[..., Result], tmp_path: Path, arguments: tuple[str, ...], problem: str
) -> None:
    report = tmp_path / "report.csv"
    report.write_text("Order,Amount\n1001,59.90\n")
    result = run(str(report), *arguments)
    assert result.exit_code != 0
    assert problem in " ".join(result.output.split())


def test_the_days_are_those_of_the_networks_time_zone(run: Callable[..., Result], tmp_path: Path) -> None:
    """The order 1001 was recorded at midnight UTC: in California it is of the day before."""
    report = tmp_path / "report.csv"
    report.write_text("Order,Amount,Date\n9999,1.00,2025-11-22\n")

    def missing(*arguments: str) -> list[str]:
        lines = run(str(report), "--partner", "blog", "--json", *arguments).output.splitlines()
        return [one["order"] for one in map(json.loads, lines) if one["kind"] == "missing"]

    assert missing() == []
    assert missing("--zone", "America/Los_Angeles") == ["1001"]
    wrong = run(str(report), "--partner", "blog", "--zone", "Nowhere/Here")
    assert (wrong.exit_code, "write an IANA time zone" in " ".join(wrong.output.split())) == (2, True)


def test_differences_are_csv_and_their_command_tells_the_partner_again(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    config = tmp_path / "clew.toml"
    report = tmp_path / "report.csv"
    report.write_text("Order,Amount,Date\n1001,50.00,2025-11-23\n=1+1,1.00,2025-11-23\n")
    result = run(str(report), "--partner", "blog", "--csv")
    assert result.exit_code == 1
    unknown, amount = list(csv.DictReader(io.StringIO(result.output)))
    assert (unknown["kind"], unknown["order"], unknown["command"]) == ("unknown here", "'=1+1", "")
    assert (amount["kind"], amount["ours"], amount["theirs"]) == ("amount", "59.90 EUR", "50.00")
    command = amount["command"].split()
    assert command[:3] + command[4:] == ["clew", "postbacks", "resend", "--event", "adjust"]

    def resend() -> Result:
        arguments = [*command[1:], "--config", str(config), "--by", "eva"]
        return CliRunner().invoke(app, arguments, env={"SECRET": SECRET})

    by_hand = resend()
    assert (by_hand.exit_code, "report it by hand" in by_hand.output) == (1, True)
    config.write_text(config.read_text().replace("{click_id}", "{click_id}&e={event}"))
    again = resend()
    assert again.exit_code == 0, again.output
    assert again.output.endswith(": adjust 59.90 EUR to blog is due.\n")
    twice = resend()
    assert (twice.exit_code, "a later one about the order says what holds now" in twice.output) == (1, True)
    assert run(str(report), "--partner", "blog", "--csv", "--json").exit_code == 2


def test_a_file_that_is_not_there_says_so(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run(str(tmp_path / "none.csv"), "--partner", "blog")
    assert result.exit_code == 2
    assert "No such file" in result.output


def test_words_that_nobody_knows_are_explained_by_an_option(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    report = tmp_path / "report.csv"
    report.write_text("Order;Amount;Status;Date\n1001;59,90;In Pruefung;23.11.2025\n")
    given = (str(report), "--partner", "blog")
    unknown = run(*given)
    assert (unknown.exit_code, "unknown status 'In Pruefung'" in unknown.output) == (2, True)
    assert '--status "WORD=approved"' in unknown.output
    known = run(*given, "--status", "in pruefung=pending")
    assert (known.exit_code, known.output) == (0, "1 order agrees, 0 differ.\n")
    for wrong in ("in pruefung", "in pruefung=perhaps", "=paid"):
        refused = run(*given, "--status", wrong)
        assert (refused.exit_code, "write WORD=STATUS" in refused.output) == (2, True), wrong
