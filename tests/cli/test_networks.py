"""`clew networks`, and `clew postbacks try`."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clew.cli import app
from clew.orders.model import OrderSeen
from clew.postbacks.model import Report
from clew.referral.networks_file import load
from clew.referral.touches import Click
from clew.stores.ledger.engines import database_at
from receiver import Receiver
from recorded import Credit, put_order
from typer.testing import CliRunner, Result

SETTINGS = """
secret = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
ledger = "sqlite:{ledger}"

[[sites]]
name = "shop"
hosts = ["shop.example"]
upstream = "http://127.0.0.1:1"
[[sites.partners]]
id = "awin"
network = "awin"
endpoint = "{partner}"
settings = {{ advertiser_id = "1001", api_key = "top-secret-key" }}
[[sites.partners]]
id = "tune"
network = "tune"
endpoint = "{partner}"
param = "tid"
settings = {{ security_token = "top-secret-key" }}
[[sites.partners]]
id = "meta"
network = "meta"
endpoint = "{partner}"
settings = {{ pixel_id = "1", token = "top-secret-key"{test_code} }}
[[sites.partners]]
id = "blog"
param = "ref"
postback = "{partner}/pb?c={{click_id}}&o={{order_id}}&a={{amount}}&cur={{currency}}&key=top-secret-key"
"""


@pytest.fixture
def partner() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


@pytest.fixture
def config(tmp_path: Path, partner: Receiver) -> Path:
    path = tmp_path / "clew.toml"
    values = {"ledger": tmp_path / "clew.db", "partner": partner.address, "test_code": ""}
    path.write_text(SETTINGS.format(**values), encoding="utf-8")
    return path


@pytest.fixture
def attempt(config: Path) -> Callable[..., Result]:
    arguments = ["--config", str(config)]
    return lambda *more: CliRunner().invoke(
        app, ["postbacks", "try", *more, *arguments], env={"COLUMNS": "400"}
    )


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["networks", *arguments], env={"COLUMNS": "200"})


def test_every_network_is_listed_with_what_it_takes_and_how_sure_that_is() -> None:
    result = run()
    assert result.exit_code == 0
    for network in load().networks.values():
        assert re.search(rf"^{network.id} .*{network.confidence} *$", result.output, re.MULTILINE), network.id
    (awin,) = re.findall(r"^awin .*", result.output, re.MULTILINE)
    assert "new orders, changes, cancellations, approvals, refusals" in awin
    rows = [json.loads(line) for line in run("--json").output.splitlines()]
    assert [row["id"] for row in rows] == list(load().networks)


def test_one_network_is_shown_with_its_calls_limits_and_an_example() -> None:
    text = run("show", "awin").output
    assert "validate_amend: changes" in text
    assert "POST https://api.awin.com/s2s/advertiser/{advertiser_id}/orders" in text
    assert "up to 1000 reports in a call; what a repeat does is not known; 20 calls a minute" in text
    assert '"commissionGroups":[{"code":"CLOTHES","amount":30.03}' in text
    unknown = run("show", "awim")
    assert (unknown.exit_code, "did you mean awin?" in unknown.output) == (1, True)


@pytest.mark.parametrize("name", load().networks)
def test_every_network_can_be_shown(name: str) -> None:
    result = run("show", name)
    assert result.exit_code == 0, result.output
    assert load().networks[name].name in result.output


def test_a_call_is_printed_without_its_secrets_and_not_sent(attempt: Any, partner: Receiver) -> None:
    for name in ("awin", "tune", "blog"):
        result = attempt(name)
        assert result.exit_code == 0, result.output
        assert partner.address in result.output
        assert "top-secret" not in result.output
    assert partner.calls == []
    assert '"orderReference":"1"' in attempt("awin").output


def test_a_call_is_sent_as_a_test_where_the_network_has_tests(attempt: Any, partner: Receiver) -> None:
    result = attempt("awin", "--send")
    assert (result.exit_code, "delivered" in result.output) == (0, True), result.output
    (call,) = partner.calls
    assert call.json()["orders"][0]["isTest"] is True
    assert call.headers["x-api-key"] == "top-secret-key"


def test_a_parameter_for_tests_is_sent_in_tests_only(attempt: Any, partner: Receiver, config: Path) -> None:
    without = attempt("meta", "--send")
    assert (without.exit_code, partner.calls) == (1, [])
    assert "test_event_code is required, but there is no settings.test_event_code" in without.output
    text = config.read_text(encoding="utf-8")
    code = 'pixel_id = "1", test_event_code = "TEST1"'
    config.write_text(text.replace('pixel_id = "1"', code), encoding="utf-8")
    assert "TEST1" not in attempt("meta").output
    attempt("meta", "--send")
    attempt("meta", "--send", "--real")
    tested, real = (call.json() for call in partner.calls)
    assert tested["test_event_code"] == "TEST1"
    assert list(real) == ["data"]
    # The two were made at different times.
    assert [event["event_name"] for event in real["data"]] == ["Purchase"]


def test_a_call_that_cannot_be_marked_as_a_test_is_sent_only_on_demand(
    attempt: Any, partner: Receiver
) -> None:
    for name, who in (("tune", "TUNE"), ("blog", "blog")):
        refused = attempt(name, "--send")
        assert refused.exit_code == 1
        assert f"Not sent: {who}" in refused.output
    assert partner.calls == []
    sent = attempt("tune", "--send", "--real")
    assert (sent.exit_code, len(partner.calls)) == (0, 1), sent.output
    assert "dead" in sent.output  # {} is no word of TUNE for success


def test_the_order_of_the_ledger_is_the_one_that_is_printed(attempt: Any, config: Path) -> None:
    async def fill() -> None:
        db = database_at(f"sqlite:{config.parent / 'clew.db'}")
        await db.open()
        credit = Credit("awin", Click("awin", "awc", "1001_2_abcdefghij", "awin"), 1.0, "for the test", ())
        report = Report("order", "awin", "1001_2_abcdefghij", "A-77", "59.90", "EUR", "chat", 1, 1)
        seen = OrderSeen("A-77", Decimal("59.90"), "EUR", "page")
        await put_order(db, seen, channel="chat", credit=credit, reports=[report], now=1763860000.0)
        await db.close()

    asyncio.run(fill())
    result = attempt("awin", "--order", "A-77")
    assert result.exit_code == 0, result.output
    assert '"orderReference":"A-77","amount":59.90' in result.output
    assert "abcdefghij" not in result.output
    assert "no postback to tune" in attempt("tune", "--order", "A-77").output
    cancelled = attempt("awin", "--order", "A-77", "--event", "cancel")
    assert (cancelled.exit_code, "needs settings.access_token" in cancelled.output) == (1, True)


def test_an_unknown_partner_or_event_is_an_error_that_names_the_known_ones(attempt: Any) -> None:
    assert "there are: awin, blog, meta, tune" in attempt("awim").output
    assert "there are: order, adjust, cancel" in attempt("awin", "--event", "sale").output
