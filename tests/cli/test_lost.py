"""`clew orders lost` and `clew orders assign`."""

import json
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from clew.cli import app
from clew.orders.model import OrderSeen
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Touched
from reporting import Shop, site
from typer.testing import CliRunner, Result

SECRET = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
SETTINGS = """
secret = "env:SECRET"
[[sites]]
name = "shop"
hosts = ["shop.example"]
[[sites.partners]]
id = "blog"
param = "ref"
postback = "https://blog.example/?c={click_id}&e={event}"
"""


@pytest.fixture
async def run(tmp_path: Path) -> Callable[..., Result]:
    config = tmp_path / "clew.toml"
    config.write_text(
        SETTINGS.replace(
            "[[sites]]",
            f'ledger = "sqlite:{tmp_path}/clew.db"\nstore = "sqlite:{tmp_path}/clew.db"\n[[sites]]',
            1,
        )
    )
    shop = Shop(tmp_path, site())
    shop.now = time.time() - 3600
    await shop.service.open()
    for number, visitor in (("1001", "late"), ("1002", None)):
        sold = OrderSeen(id=number, total=Decimal("59.90"), currency="EUR", source="api", state="paid")
        await shop.report(sold, visitor=visitor)
    touch = Touch(int(shop.now) - 60, (Click("", "ref", "c-1", "blog"),), landing="/")
    await shop.service.visits.change("shop", "late", [Touched(touch)], shop.now)
    await shop.service.close()
    return lambda *arguments: CliRunner().invoke(
        app, ["orders", *arguments, "--config", str(config)], env={"COLUMNS": "120", "SECRET": SECRET}
    )


def test_an_order_is_proposed_with_its_evidence_and_assigned(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    (line,) = run("lost", "--json").output.splitlines()
    found = json.loads(line)
    assert (found["order"], found["total"], found["currency"]) == ("1001", "59.90", "EUR")
    (proposal,) = found["proposals"]
    assert (proposal["partner"], proposal["click"]) == ("blog", True)
    assert proposal["evidence"][0].startswith("the buyer's own visit came by blog at ")
    shown = run("lost").output
    assert "    blog: the buyer's own visit came by blog at " in shown
    assert '→ clew orders assign 1001 --partner blog --why "…"' in shown
    report = tmp_path / "blog.csv"
    report.write_text("Order;Amount;Status\n#1002;59,90;approved\n1001;59,90;declined\n")
    lines = run("lost", "--json", "--report", str(report), "--partner", "blog").output.splitlines()
    assert [json.loads(one)["order"] for one in lines] == ["1002", "1001"]
    assert json.loads(lines[0])["proposals"][0]["evidence"] == ["the report of blog has the order"]
    done = run("assign", "1001", "--partner", "blog", "--why", "asked the customer", "--by", "eva")
    assert done.exit_code == 0, done.output
    assert "Order 1001 over 59.90 EUR is paid, credited to blog." in done.output
    assert "order 59.90 EUR to blog is due" in done.output
    assert run("lost").output == "Nothing points to a partner for the orders that nobody earns.\n"
    again = run("assign", "1002", "--partner", "blog", "--why", "x")
    assert (again.exit_code, "nothing points to 'blog'" in again.output) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--report", "x.csv"], "--report and --partner belong together"),
        (["--report", "none.csv", "--partner", "blog"], "none.csv: No such file"),
        (["--report", "none.csv", "--partner", "blogg"], "the site has no partner 'blogg'"),
    ],
)
def test_what_is_missing_is_said(run: Callable[..., Result], arguments: list[str], problem: str) -> None:
    result = run("lost", *arguments)
    assert result.exit_code != 0
    assert problem in result.output
