"""`clew commissions`, `clew settle` and `clew payout`, one after the other on one ledger."""

import asyncio
import csv
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from clew.cli import app
from clew.orders.model import OrderSeen
from clew.payouts.period import Period
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Shopped, Touched
from clew.service.service import Service
from clew.settings.model import Settings
from typer.testing import CliRunner, Result

SETTINGS = """
secret = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
ledger = "sqlite:{folder}/clew.db"
store = "sqlite:{folder}/clew.db"
[[sites]]
name = "shop"
hosts = ["shop.example"]
[sites.payer]
name = "Shop GmbH"
iban = "DE89370400440532013000"
[[sites.partners]]
id = "blog"
param = "ref"
postback = "https://blog.example/?c={{click_id}}"
terms = [{{ name = "all", percent = "10" }}]
[sites.partners.payout]
name = "Blog Ltd"
iban = "FR1420041010050500013M02606"
"""
PERIOD = f"{datetime.now(UTC):%Y-%m}"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    config = tmp_path / "clew.toml"
    config.write_text(SETTINGS.format(folder=tmp_path), encoding="utf-8")
    database = f"sqlite:{tmp_path / 'clew.db'}"
    partner = {"id": "blog", "param": "ref", "postback": "https://blog.example/?c={click_id}"}
    terms = [{"name": "all", "percent": "10"}]
    site = {"name": "shop", "partners": [{**partner, "terms": terms}]}
    stores = {"ledger": database, "store": database}
    service = Service(Settings.model_validate({"secret": "s" * 40, **stores, "sites": [site]}))

    async def fill() -> None:
        await service.open()
        touch = Touch(int(time.time()) - 60, (Click("", "ref", "c1", "blog"),), {}, "", "/")
        for number in ("1001", "1002", "1003"):
            visitor = f"v{number}"
            await service.visits.change("shop", visitor, [Touched(touch), Shopped()], time.time())
            seen = OrderSeen(number, Decimal("100.00"), "EUR", "api", state="paid")
            await service.ordering.record(service.sites["shop"], seen, visitor=visitor)
        await service.close()

    asyncio.run(fill())
    return lambda *arguments: CliRunner().invoke(app, [*arguments, "--config", str(config)])


async def in_the_next_month(_db: object) -> float:
    return Period.named(PERIOD, "UTC").end


def test_commissions_are_decided_exchanged_and_paid_once(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run("commissions", "approve", "#1001", "--why", "checked", "--by", "ann")
    assert found.output == "Order 1001, blog: approved: 10.00 EUR.\n"
    file = tmp_path / "decisions.csv"
    found = run("settle", "export", "--period", PERIOD, "--partner", "blog", "--output", str(file))
    assert found.exit_code == 0, found.output
    text = file.read_text("utf-8")
    assert text.startswith("Order,Partner,Status,Amount,Currency,Commission,")
    file.write_text(text.replace("pending", "approved", 1) + "777,blog,approved,,,,,,,\n", "utf-8")
    for expected in ("1 approved; 1 as they were", "nothing changed; 2 as they were"):
        found = run("settle", "import", str(file), "--partner", "blog")
        assert found.exit_code == 1
        assert expected in found.output
        assert "line 5, order 777: no order of blog has this number" in found.output
    found = run("payout", "--period", PERIOD, "--output", str(tmp_path / "early"))
    assert (found.exit_code, f"{PERIOD} is not over yet at shop" in found.output) == (1, True)
    assert not list((tmp_path / "early").iterdir())
    monkeypatch.setattr("clew.cli.payout.time_of", in_the_next_month)
    payouts = [tmp_path / "first", tmp_path / "second"]
    for folder in payouts:
        found = run("payout", "--period", PERIOD, "--output", str(folder))
        assert found.exit_code == 0, found.output
        assert "20.00 EUR to blog, 2 lines, SEPA and CSV" in found.output
    names = sorted(path.name for path in payouts[0].iterdir())
    assert names == [f"{PERIOD}~shop~blog~EUR.csv", f"{PERIOD}~shop~blog~EUR.xml"]
    for name in names:
        assert (payouts[0] / name).read_bytes() == (payouts[1] / name).read_bytes()
        assert (payouts[0] / name).stat().st_mode & 0o077 == 0
    rows = list(csv.reader((payouts[0] / names[0]).read_text("utf-8").splitlines()))
    assert [row[5] for row in rows[1:]] == ["10.00", "10.00", "20.00"]
    found = run("commissions", "--json")
    states = {row["number"]: row["state"] for row in map(json.loads, found.output.splitlines())}
    assert sorted(states.values()) == ["paid", "paid", "pending"]
    found = run("explain", "order", "1001")
    assert "Paid to blog" in found.output


def test_wrong_periods_and_files_change_nothing(run: Callable[..., Result], tmp_path: Path) -> None:
    assert "write a month" in run("payout", "--period", "October").output
    assert "has not begun yet" in run("payout", "--period", "9998-01").output
    file = tmp_path / "wrong.csv"
    file.write_text("Order,Status\n1001,approved\n1002,perhaps\n", "utf-8")
    found = run("settle", "import", str(file), "--partner", "blog")
    assert found.exit_code == 1
    assert "line 3, column Status: unknown status" in found.output
    states = run("commissions", "--sums", "--json").output
    assert json.loads(states)["state"] == "pending"
    run("settle", "import", str(file), "--partner", "blog", "--status", "perhaps=pending")
    states = run("commissions", "--sums", "--json").output
    assert "approved" in [json.loads(line)["state"] for line in states.splitlines()]
