"""`clew orders` and `clew report`, and what every command has in common."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from clew import __version__
from clew.cli import app
from clew.orders.model import OrderSeen
from clew.postbacks.model import Report
from clew.stores.ledger.engines import database_at
from processes import free_port
from recorded import Credit, put_order
from typer.testing import CliRunner, Result

DAY = 86400.0
NOW = 1763856000.0  # 2025-11-23 00:00 UTC
SITE = '[[sites]]\nname = "shop"\nhosts = ["shop.example"]\n'
SETTINGS = 'secret = "env:SECRET"\n' + SITE
SECRET = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"

# id, total, currency, channel, partner, day
ORDERS = [
    ("1001", "59.90", "EUR", "chat", "blog", 0),
    ("1002", "0.10", "EUR", "chat", "blog", 1),
    ("1003", "0.20", "EUR", "web", None, 1),
    ("1004", "7200", "JPY", "web", "blog", 2),
]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    config = tmp_path / "clew.toml"
    config.write_text(SETTINGS, encoding="utf-8")

    async def fill() -> None:
        db = database_at(f"sqlite:{tmp_path / 'clew.db'}")
        await db.open()
        for number, total, currency, channel, partner, day in ORDERS:
            reports = []
            if partner:
                report = Report("order", partner, "click", number, total, currency, channel, 1, 1)
                reports.append(report)
            await put_order(
                db,
                OrderSeen(number, Decimal(total), currency, "page"),
                channel=channel,  # type: ignore[arg-type]
                credit=Credit(partner, None, None, "for the test", ()),
                reports=reports,
                now=NOW + day * DAY,
            )
        await db.close()

    asyncio.run(fill())
    return lambda *arguments: CliRunner().invoke(
        app, [*arguments, "--config", str(config)], env={"COLUMNS": "80", "SECRET": SECRET}
    )


def ids(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [json.loads(line)["id"] for line in result.output.splitlines()]


def test_orders_are_listed_with_their_credit_and_postback(run: Callable[..., Result]) -> None:
    """field G6"""
    result = run("orders")
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 80
    line = next(x for x in result.output.splitlines() if "1001" in x)
    for word in ("2025-11-23 00:00", "shop", "59.90 EUR", "placed", "chat", "blog", "due"):
        assert word in line
    (first,) = [json.loads(x) for x in run("orders", "--json", "--limit", "1").output.splitlines()]
    assert (first["id"], first["total"], first["at"]) == ("1004", "7200", "2025-11-25T00:00:00+00:00")


@pytest.mark.parametrize(
    ("options", "found"),
    [
        pytest.param([], ["1004", "1003", "1002", "1001"], id="field G6: all, newest first"),
        pytest.param(["--partner", "blog", "--channel", "chat"], ["1002", "1001"], id="field G6: by partner"),
        pytest.param(["--state", "none"], ["1003"], id="field G6: nobody was told"),
        pytest.param(["--state", "due", "--site", "shop"], ["1004", "1002", "1001"], id="field G6: by state"),
        pytest.param(
            ["--since", "2025-11-24", "--until", "2025-11-25"], ["1003", "1002"], id="field G6: a day"
        ),
        pytest.param(["--order", "Order #1002"], ["1002"], id="field A11: by number, however written"),
        pytest.param(["--order", "100"], [], id="field A11: by a number that no order has"),
        pytest.param(["--site", "other"], [], id="field G6: of another site"),
    ],
)
def test_orders_can_be_narrowed(run: Callable[..., Result], options: list[str], found: list[str]) -> None:
    assert ids(run("orders", "--json", *options)) == found


def test_the_report_sums_up_exactly_and_by_currency(run: Callable[..., Result]) -> None:
    """field G6"""
    result = run("report", "--json")
    rows = [tuple(json.loads(line).values()) for line in result.output.splitlines()]
    assert rows == [
        ("shop", "blog", "chat", "EUR", 2, "60.00", 0, "0", 2, 0, 2, "0"),
        ("shop", "blog", "web", "JPY", 1, "7200", 0, "0", 1, 0, 1, "0"),
        ("shop", None, "web", "EUR", 1, "0.20", 0, "0", 0, 0, 1, "0"),
    ]
    text = run("report").output
    assert "4 orders, 3 of them credited" in text
    assert "60.00 EUR" in text
    assert "no orders in this period" in run("report", "--since", "2026-01-01").output


def test_the_report_shows_amounts_sent_to_partners(run: Callable[..., Result], tmp_path: Path) -> None:
    """An order that is held, or that a person refused, was among those "credited to a partner", and the sum
    was not what had been reported to the partner."""
    of_order = "json_extract(report, '$.order_id') = ?"
    with sqlite3.connect(tmp_path / "clew.db") as ledger:
        for number, state in (("1001", "delivered"), ("1002", "refused"), ("1004", "held")):
            ledger.execute(f"UPDATE postbacks SET state = ? WHERE {of_order}", (state, number))
    (chat, web, _) = [json.loads(line) for line in run("report", "--json").output.splitlines()]
    assert (chat["orders"], chat["total"]) == (2, "60.00")
    assert (chat["reported"], chat["reported_total"], chat["waiting"], chat["refused"]) == (1, "59.90", 0, 1)
    assert (web["reported"], web["reported_total"], web["waiting"], web["refused"]) == (0, "0", 1, 0)
    assert (
        "4 orders, 3 of them credited to a partner: 1 reported, 1 waiting, 1 refused" in run("report").output
    )


def test_what_there_was_nothing_to_report_of_is_not_refused(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    """Some networks need no call for a change: that is written down, and nobody refused it. The call before
    it is the last one."""
    with sqlite3.connect(tmp_path / "clew.db") as ledger:
        columns = [row[1] for row in ledger.execute("PRAGMA table_info(postbacks)")]
        rest = ", ".join(f'"{name}"' for name in columns if name not in ("id", "sequence", "state", "hold"))
        ledger.execute("UPDATE postbacks SET state = 'delivered' WHERE \"order\" IN (1, 2)")
        ledger.execute(
            f"INSERT INTO postbacks (id, sequence, state, hold, {rest}) "
            f"SELECT 'later', 2, 'refused', 'nothing', {rest} FROM postbacks WHERE \"order\" = 1"
        )
        ledger.execute("UPDATE postbacks SET state = 'refused', hold = 'nothing' WHERE \"order\" = 4")
    (chat, web, _) = [json.loads(line) for line in run("report", "--json").output.splitlines()]
    assert (chat["reported"], chat["waiting"], chat["refused"]) == (2, 0, 0)
    assert (web["reported"], web["waiting"], web["refused"]) == (0, 0, 0)
    assert ids(run("orders", "--json", "--state", "refused")) == []
    assert ids(run("orders", "--json", "--state", "delivered")) == ["1002", "1001"]
    assert ids(run("orders", "--json", "--state", "none")) == ["1004", "1003"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["orders", "--site", "shpo"], "no site 'shpo'; there are: shop."),
        (["report", "--site", "shpo"], "no site 'shpo'; there are: shop."),
        (["orders", "--partner", "nobody"], "no partner 'nobody'; there are: none."),
        (["postbacks", "list", "--site", "shpo"], "no site 'shpo'; there are: shop."),
        (["orders", "--since", "2030-01-01"], "There are no such orders.\n"),
    ],
)
def test_a_name_missing_from_the_settings_is_reported(
    run: Callable[..., Result], arguments: list[str], said: str
) -> None:
    result = run(*arguments)
    assert result.exit_code == 0
    assert said in " ".join(result.output.splitlines()) + "\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["orders", "--since", "yesterday"],
        ["orders", "--state", "lost"],
        ["report", "--channel", "fax"],
        ["orders", "--order", " "],
    ],
)
def test_senseless_arguments_exit_with_2(run: Callable[..., Result], arguments: list[str]) -> None:
    """field G6"""
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_a_missing_ledger_is_reported(run: Callable[..., Result], tmp_path: Path) -> None:
    """field G6"""
    (tmp_path / "clew.db").unlink()
    result = run("orders")
    assert (result.exit_code, result.output.count("there is no ledger at")) == (1, 1)


def test_the_version_is_printed_and_completion_is_there() -> None:
    """field G6"""
    done = subprocess.run([sys.executable, "-m", "clew", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"clew {__version__}\n")
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert "--install-completion" in text
    script = subprocess.run(
        [Path(sys.executable).with_name("clew")],
        env={"_CLEW_COMPLETE": "complete_bash", "COMP_WORDS": "clew rep", "COMP_CWORD": "1", "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert script.stdout.split() == ["report"]


def test_check_has_json_output(tmp_path: Path) -> None:
    """field G6"""
    config = tmp_path / "clew.toml"
    config.write_text(f'secret = "{SECRET}"\n[[sites]]\nname = "shop"\nhosts = ["shop.example"]\nfoo = 1\n')
    result = CliRunner().invoke(app, ["check", "--json", "--config", str(config)])
    found = json.loads(result.output)
    assert (result.exit_code, found["usable"]) == (1, False)
    (problem,) = [p for p in found["problems"] if p["severity"] == "error"]
    assert (problem["key"], problem["line"], problem["message"]) == ("sites[0].foo", 5, "unknown key")
    config.write_text(config.read_text().replace("foo = 1\n", ""))
    result = CliRunner().invoke(app, ["check", "--json", "--config", str(config)])
    assert (result.exit_code, json.loads(result.output)["sites"]) == (0, ["shop"])


def test_an_order_without_an_amount_has_a_dash(run: Callable[..., Result], tmp_path: Path) -> None:
    """A cancellation may be all that is known of an order."""

    async def cancel() -> None:
        db = database_at(f"sqlite:{tmp_path / 'clew.db'}")
        await db.open()
        await put_order(db, OrderSeen("1009", None, None, "api", state="cancelled"), now=NOW + 3 * DAY)
        await db.close()

    asyncio.run(cancel())
    line = next(x for x in run("orders").output.splitlines() if "1009" in x)
    assert "–" in line
    assert "cancelled" in line
    assert "None" not in run("orders").output + run("report").output


def test_lines_for_other_programs_are_not_broken(run: Callable[..., Result], tmp_path: Path) -> None:
    """Of a pipe the number of columns is not known."""
    command = [Path(sys.executable).with_name("clew"), "report", "--config", tmp_path / "clew.toml"]
    environ = {"PATH": "/usr/bin:/bin", "SECRET": SECRET}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    line = next(x for x in done.stdout.splitlines() if "JPY" in x)
    assert line.split() == ["shop", "blog", "web", "1", "7200", "JPY", "0", "0", "JPY", "1", "0"]


def test_what_is_logged_by_the_way_is_not_on_stdout(run: Callable[..., Result], tmp_path: Path) -> None:
    """Of a visit store that is away a warning is logged; stdout is for the receipt."""
    config = tmp_path / "clew.toml"
    config.write_text(f'store = "redis://127.0.0.1:{free_port()}/0"\n{SETTINGS}', encoding="utf-8")
    command = [Path(sys.executable).with_name("clew"), "forget", "v1", "--json", "--config", config]
    environ = {"PATH": "/usr/bin:/bin", "SECRET": SECRET}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "visits_down" in done.stderr
    assert "Repeat the command" in done.stderr
