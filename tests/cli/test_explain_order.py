"""`clew explain order`: everything that is known of an order, in the order in which it happened."""

import asyncio
import json
import re
import sqlite3
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import pytest
from clew.cli import app
from clew.cli.check import load_or_exit
from clew.orders.model import OrderSeen, Refund
from clew.postbacks.model import Attempt
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Shopped, Touched
from clew.service.ordering.correcting import settle
from clew.service.ordering.doubts import Shown
from clew.service.service import Service
from typer.testing import CliRunner, Result

NOW = 1_800_000_000.0  # 2027-01-15 08:00 UTC
SETTINGS = """
secret = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
store = "sqlite:visits.db"
ledger = "sqlite:ledger.db"
desk_host = "desk.example"

[[sites]]
name = "shop"
hosts = ["shop.example"]
upstream = "http://127.0.0.1:1"
[sites.order]
page = "/thanks"
[[sites.partners]]
id = "blog"
param = "ref"
postback = "http://127.0.0.1:9/?c={click_id}&e={event}"

[[sites]]
name = "other"
hosts = ["other.example"]
upstream = "http://127.0.0.1:1"
"""
VISITOR = "v" * 26
PAID = {"total": Decimal("100.00"), "currency": "EUR", "state": "paid"}


def order_seen(number: str | None = "1001", **said: object) -> OrderSeen:
    return OrderSeen(id=number, source="api", **({"total": None, "currency": None, "state": None} | said))  # type: ignore[arg-type]


def page(**said: object) -> OrderSeen:
    return OrderSeen("1001", Decimal("119.00"), "EUR", "page", **said)  # type: ignore[arg-type]


async def history(service: Service) -> None:
    """The page tells 119.00, the server 100.00, the partner answers with an escape sequence, a refund comes,
    and a person refuses what is held in the end."""
    times = iter(range(1, 100))
    service.clock.now = lambda: NOW + next(times)  # type: ignore[method-assign]
    touch = Touch(int(NOW) - 3600, (Click("", "ref", "blog-0123456789", "blog"),), {}, "", "/")
    await service.visits.change("shop", VISITOR, [Touched(touch), Shopped()], NOW)
    site = service.sites["shop"]
    shown = Shown("/thanks", "inside")
    await service.ordering.record(site, page(coupon="SAVE\x1b[31m"), visitor=VISITOR, shown=shown)
    outbox = service.ledger.outbox
    (waiting,) = await outbox.waiting(NOW + 50, each=9, limit=9)
    (row,) = await outbox.claim([waiting.id], NOW + 50, NOW + 60)
    begun = await outbox.begin(row, NOW + 60)
    assert begun is not None
    answered = Attempt(
        NOW + 1.5, "GET http://127.0.0.1:9/?c=blog...&e=order", 200, "ok\x1b]0;x\x07", "delivered"
    )
    await outbox.finish(begun, answered, "delivered", NOW + 1.5)
    await service.ordering.record(site, order_seen(**PAID, spelling="#1001"), visitor=None)
    await service.ordering.record(
        site, order_seen(currency="EUR", refunds=(Refund("r1", Decimal(30)),)), visitor=None
    )
    await service.ordering.record(service.sites["other"], order_seen("1001", **PAID), visitor=None)
    await service.ordering.record(service.sites["other"], order_seen("2002", **PAID), visitor=None)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "clew.toml"
    path.write_text(SETTINGS, encoding="utf-8")
    run(path, history)
    return path


def run(config: Path, work: Callable[[Service], Awaitable[object]]) -> None:
    async def opened() -> None:
        service = Service(load_or_exit(config))
        await service.open()
        try:
            await work(service)
        finally:
            await service.close()

    asyncio.run(opened())


def explain(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        app, ["explain", "order", *arguments, "--config", str(config)], env={"COLUMNS": "200"}
    )


def test_explain_order_shows_everything_from_the_first_report_to_the_last_call(config: Path) -> None:
    result = explain(config, "#1001", "--site", "shop")
    assert result.exit_code == 0, result.output
    told = [line for line in result.output.splitlines() if line]
    wanted = [
        "Order #1001 of shop",
        "state      part_refunded               the shop's server",
        "total      100.00 EUR                  the shop's server",
        "refunded   30.00 EUR",
        "coupon     SAVE\\x1b[31m",
        "A page reported 119.00 EUR, placed",
        "belongs to this order by its order number",
        "Credited to blog",
        "share of blog: 100 %, by click ref blog-0",
        "considered: arrival 2027-01-15 07:00:00 by blog:",
        "Due to blog: a new order over 119.00 EUR",
        "now delivered",
        "Call 1 of pb_",
        "GET http://127.0.0.1:9/?c=blog...&e=order",
        "answer: ok\\x1b]0;x",
        "The shop's server reported 100.00 EUR, paid",
        "Due to blog: a change to 100.00 EUR",
        "now superseded",
        "The shop's server reported refund r1 of 30.00 EUR",
        "Due to blog: a change to 70.00 EUR",
        "now due, next try",
    ]
    rest = iter(told)
    missing = [text for text in wanted if not any(text in line for line in rest)]
    assert missing == [], result.output
    assert "blog-0123456789" not in result.output
    assert "\x1b" not in result.output


def test_a_correction_has_name_and_reason(config: Path) -> None:
    async def refuse(service: Service) -> None:
        found = page(state="placed")
        stranger = Shown("/thanks", "outside")
        site = service.sites["shop"]
        touch = Touch(int(NOW) - 3600, (Click("", "ref", "another-click-1", "blog"),), {}, "", "/")
        await service.visits.change("shop", "x" * 26, [Touched(touch)], NOW)
        seen = OrderSeen("3003", found.total, "EUR", "page")
        await service.ordering.record(site, seen, visitor="x" * 26, shown=stranger)
        (held,) = await service.ledger.outbox.list("held")
        now = service.clock.now()
        await settle(service.ledger, lambda name: [], held.id, now, by="ann", send=False)

    run(config, refuse)
    result = explain(config, "3003")
    assert "ann decided not to notify any partner" in result.output
    assert "    why: no cart or checkout of this visitor" in result.output
    assert "now refused" in result.output
    assert "refused by ann" in result.output


def test_a_replay_reports_equality_or_the_difference(config: Path) -> None:
    same = explain(config, "1001", "--site", "shop", "--replay")
    assert same.exit_code == 0, same.output
    assert "repeated with its inputs: the same result" in same.output
    with sqlite3.connect(config.parent / "ledger.db") as ledger:
        ledger.execute("UPDATE shares SET partner = 'other'")
    ledger.close()
    other = explain(config, "1001", "--site", "shop", "--replay")
    assert other.exit_code == 1
    assert "REPEATED WITH ITS INPUTS, THE RESULT DIFFERS: blog 100 %" in other.output
    (decision,) = json.loads(explain(config, "1001", "--site", "shop", "--replay", "--json").output)[
        "decisions"
    ]
    assert decision["shares"][0]["partner"] == "other"
    assert decision["replay"]["shares"][0]["partner"] == "blog"


def test_the_same_as_json(config: Path) -> None:
    found = json.loads(explain(config, "1001", "--site", "shop", "--json").output)
    assert (found["id"], found["spelling"], found["total"], found["refunded"]) == (
        "1001",
        "#1001",
        "100.00",
        "30",
    )
    assert [(s["source"], s["joined_by"]) for s in found["sightings"]] == [
        ("page", "number"),
        ("api", "number"),
        ("api", "number"),
    ]
    by_key = {s["key"]: s for s in found["sightings"]}
    assert by_key[found["sources"]["total"]]["total"] == "100.00"
    assert [(p["state"], len(p["attempts"])) for p in found["postbacks"]] == [
        ("delivered", 1),
        ("superseded", 0),
        ("due", 0),
    ]
    assert "blog-0123456789" not in json.dumps(found)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("1001",), "several sites have an order '1001': name one with --site: other, shop"),
        (("9999",), "There is no order '9999'."),
        (("2002", "--site", "shop"), "There is no order '2002'."),
        (("2002", "--site", "shpo"), "The settings have no site 'shpo'; there are: shop, other."),
    ],
)
def test_an_unknown_order_or_site_is_an_error(config: Path, arguments: tuple[str, ...], said: str) -> None:
    result = explain(config, *arguments)
    assert result.exit_code == 1
    assert said in result.output


def test_with_one_site_no_name_is_needed_and_any_number_is_accepted(config: Path) -> None:
    async def renumber(service: Service) -> None:
        seen = order_seen("2002", **PAID, further=("internal-7",))
        await service.ordering.record(service.sites["other"], seen, visitor=None)

    run(config, renumber)
    result = explain(config, "internal-7")
    assert result.exit_code == 0, result.output
    assert "Order 2002 of other" in result.output
    assert "further numbers" in result.output


def test_a_report_is_moved_from_the_command_line(config: Path) -> None:
    async def pay(service: Service) -> None:
        site = service.sites["shop"]
        await service.ordering.record_unnumbered(
            site, order_seen(None, **PAID, email_hash="a" * 64), visitor=None
        )

    run(config, pay)
    options = ["--site", "shop", "--config", str(config)]
    waiting = CliRunner().invoke(app, ["orders", "waiting", *options], env={"COLUMNS": "200"})
    assert "The shop's server reported 100.00 EUR, paid: no order fits" in waiting.output
    plain = CliRunner().invoke(app, ["orders", "waiting", "--json", *options])
    report = str(json.loads(plain.output)["report"])
    given = ["orders", "move", report, "#1001", "--why", "the bank says so", "--by", "ann", *options]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    told_now = explain(config, "1001", "--site", "shop").output
    assert "by a person's decision" in told_now
    assert re.search(r"moved to 1001 by ann, [-0-9: ]+: the bank says so", told_now)
    empty = CliRunner().invoke(app, ["orders", "waiting", *options])
    assert "No report waits for its order." in empty.output
    wrong = CliRunner().invoke(app, ["orders", "move", "999", "1001", "--why", "x", *options])
    assert (wrong.exit_code, "Nothing changed: report 999" in wrong.output) == (1, True)


def correct(config: Path, *arguments: str) -> Result:
    given = ["orders", "correct", *arguments, "--by", "ann", "--config", str(config)]
    return CliRunner().invoke(app, given, env={"COLUMNS": "200"})


def test_a_correction_from_the_command_line_is_a_new_entry(config: Path) -> None:
    done = correct(config, "#1001", "--site", "shop", "--amount", "80", "--why", "a voucher")
    assert done.exit_code == 0, done.output
    assert "Order 1001 over 80.00 EUR is part_refunded, credited to blog." in done.output
    assert "adjust 50.00 EUR to blog is due" in done.output
    assert "ann set it to 80.00 EUR" in explain(config, "1001", "--site", "shop").output
    nobody = correct(config, "1001", "--site", "shop", "--partner", "nobody", "--why", "own staff")
    assert "cancel 0.00 EUR to blog is due" in nobody.output
    listed = CliRunner().invoke(app, ["orders", "--json", "--config", str(config), "--site", "shop"])
    assert [json.loads(line)["partner"] for line in listed.output.splitlines()] == [None]


def test_the_same_correction_again_adds_nothing(config: Path) -> None:
    """A command that is repeated, because its answer was lost."""
    given = ("1001", "--site", "shop", "--amount", "80", "--why", "a voucher")
    first, second = correct(config, *given), correct(config, *given)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "is due" in first.output
    assert "is due" not in second.output
    assert explain(config, "1001", "--site", "shop").output.count("ann set it to 80.00 EUR") == 1
    assert correct(config, *given[:4], "70", *given[5:]).exit_code == 0
    # Not a repeat: it was 70 meanwhile.
    assert correct(config, *given).exit_code == 0
    assert explain(config, "1001", "--site", "shop").output.count("ann set it to 80.00 EUR") == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("1001", "--amount", "1"), "several sites have an order"),
        (("1001", "--site", "shop", "--state", "gone"), "is no state; there are: seen"),
        (("1001", "--site", "shop", "--partner", "anna"), "the site has no 'anna'; there are: blog"),
        (("1001", "--site", "shop"), "nothing to correct"),
        (("1001", "--site", "shop", "--amount", "1.234"), "has fewer digits"),
        (("1001", "--site", "shop", "--amount", "-1"), "is negative"),
    ],
)
def test_a_correction_that_cannot_be_changes_nothing(
    config: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = correct(config, *arguments, "--why", "x")
    assert result.exit_code == 1, result.output
    assert f"Nothing changed: {said}" in result.output or said in result.output
