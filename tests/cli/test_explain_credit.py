"""`clew explain order` on an order with four arrivals, a coupon, an agreement and a refund, line by line; the
desk's page shows the same."""

import asyncio
import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from clew.cli import app
from clew.cli.check import load_or_exit
from clew.orders.model import Item, OrderSeen, Refund
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Shopped, Touched
from clew.service.ordering.story import lines
from clew.service.service import Service
from typer.testing import CliRunner

NOW = 1_800_000_000.0  # 2027-01-15 08:00 UTC
DAY = 86400
SETTINGS = """
secret = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
store = "sqlite:visits.db"
ledger = "sqlite:ledger.db"

[[sites]]
name = "shop"
hosts = ["shop.example"]
upstream = "http://127.0.0.1:1"

[sites.credit]
model = "linear"
compare = ["last", "first"]
operator = "chatters"
operator_percent = 10

[[sites.credit.splits]]
name = "mentor"
of = "blog"
to = { tutor = 10 }

[[sites.credit.terms]]
name = "mills"
when = ['item.category == "mills"']
percent = 10

[[sites.credit.terms]]
name = "rest"
percent = 5

[[sites.partners]]
id = "blog"
param = "ref"
postback = "https://blog.example/?c={click_id}&e={event}"

[[sites.partners]]
id = "anna"
param = "anna"
codes = ["ANNA10"]
postback = "https://anna.example/?c={click_id}&e={event}"

[[sites.partners]]
id = "bar"
param = "bar"
soft = true
postback = "https://bar.example/?c={click_id}&e={event}"

[[sites.partners]]
id = "tutor"
param = "t"
postback = "https://tutor.example/?c={click_id}&e={event}"
"""
ITEMS = (
    Item(id="mill-1", category="mills", price=Decimal("80.00")),
    Item(id="beans", category="coffee", price=Decimal("10.00"), quantity=Decimal(2)),
)


def arrival(days: float, partner: str = "", param: str = "") -> Touch:
    clicks = (Click("", param, f"{partner}-0123456789", partner),) if partner else ()
    campaign = {} if partner else {"utm_source": "news", "utm_medium": "email"}
    return Touch(int(NOW - days * DAY), clicks, campaign, "", "/")


async def order(service: Service) -> None:
    """A blog, Anna, a toolbar an hour after her, a newsletter; then an order in the chat with Anna's coupon,
    and a refund of a quarter of it."""
    times = iter(range(1, 100))
    service.clock.now = lambda: NOW + next(times)  # type: ignore[method-assign]
    touches = (
        arrival(9, "blog", "ref"),
        arrival(5, "anna", "anna"),
        arrival(5 - 1 / 24, "bar", "bar"),
        arrival(1),
    )
    await service.visits.change("shop", "v1", [*map(Touched, touches), Shopped()], NOW)
    site = service.sites["shop"]
    sold = OrderSeen(
        "1001",
        Decimal("100.00"),
        "EUR",
        "api",
        coupon="ANNA10",
        channel="chat",
        placed_at=NOW,
        state="paid",
        items=ITEMS,
    )
    await service.ordering.record(site, sold, visitor="v1")
    back = OrderSeen("1001", None, "EUR", "api", state=None, refunds=(Refund("r1", Decimal("25.00")),))
    await service.ordering.record(site, back, visitor=None)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "clew.toml"
    path.write_text(SETTINGS, encoding="utf-8")

    async def run() -> None:
        service = Service(load_or_exit(path))
        await service.open()
        await order(service)
        await service.close()

    asyncio.run(run())
    return path


def explain(config: Path, *more: str) -> list[str]:
    given = ["explain", "order", "1001", "--config", str(config), *more]
    found = CliRunner().invoke(app, given, env={"COLUMNS": "300"})
    assert found.exit_code == 0, found.output
    return found.output.splitlines()


LAST_CREDIT = """
Credited to anna 50 %, blog 45 %, tutor 5 %
    anna 50 %, blog 50 %: each click the same, of 2 partner clicks; of the part of blog by agreement mentor: tutor 10 %
    share of anna: 50 %, commission 3.03 EUR, by click anna anna-0… of 2027-01-10 08:00:00
    why: anna: 1 of 2 partner clicks, 5 days before the order, within its lookback of 30 days
    commission of anna: terms mills for mill-1: 10 % of 60.00 = 6.00 EUR
    commission of anna: terms rest for beans: 5 % of 15.00 = 0.75 EUR
    commission of anna: its part of the order: 50 %
    commission of anna: of it 10 % to chatters: 0.34 EUR
    share of blog: 45 %, commission 2.74 EUR, by click ref blog-0… of 2027-01-06 08:00:00
    why: blog: 1 of 2 partner clicks, 9 days before the order, within its lookback of 30 days
    commission of blog: terms mills for mill-1: 10 % of 60.00 = 6.00 EUR
    commission of blog: terms rest for beans: 5 % of 15.00 = 0.75 EUR
    commission of blog: its part of the order: 45 %
    commission of blog: of it 10 % to chatters: 0.30 EUR
    share of tutor: 5 %, commission 0.31 EUR, without a click for a postback
    why: tutor: by agreement mentor with blog
    commission of tutor: terms mills for mill-1: 10 % of 60.00 = 6.00 EUR
    commission of tutor: terms rest for beans: 5 % of 15.00 = 0.75 EUR
    commission of tutor: its part of the order: 5 %
    commission of tutor: of it 10 % to chatters: 0.03 EUR
    considered: arrival 2027-01-06 08:00:00 by blog: counts for 50 %: one of 2 partner clicks
    considered: arrival 2027-01-10 08:00:00 by anna: counts for 50 %: one of 2 partner clicks
    considered: arrival 2027-01-10 09:00:00 by bar: soft click: does not take the order from the click of anna 1 hour before
    considered: arrival 2027-01-14 08:00:00 by no partner: no partner: no click id
    considered: code ANNA10 of anna: anna earns by its click
    by the last click it would be: anna
    by the first click it would be: blog
"""  # noqa: E501


def test_each_line_of_the_credit_is_plain_and_adds_up(config: Path) -> None:
    told = explain(config, "--replay")
    decided = [n for n, line in enumerate(told) if "  Credited to" in line]
    assert len(decided) == 2
    expected = LAST_CREDIT.strip().splitlines()
    found = told[decided[-1] : decided[-1] + len(expected)]
    assert [found[0].partition("  ")[2], *found[1:]] == expected
    after = told[decided[-1] + len(expected) :]
    assert after[0].startswith("    version 2 of the order, model linear-click-1, policy ")
    assert after[1] == "    repeated with its inputs: the same result"
    assert [line.partition("  ")[2] for line in after if "Due to" in line] == [
        "Due to anna: a new order over 37.50 EUR",
        "Due to blog: a new order over 33.75 EUR",
    ]
    assert told[0] == "Order 1001 of shop"
    assert any(line.startswith("partner") and "anna 50 %, blog 45 %, tutor 5 %" in line for line in told)
    # 6.75 of commission for 75.00: 3.03 + 2.74 + 0.31 for the partners, 0.34 + 0.30 + 0.03 for the operator.
    decision = json.loads("\n".join(explain(config, "--json")))["decisions"][-1]
    earned = [share["commission"] for share in decision["shares"]]
    assert sum(Decimal(one["amount"]) + Decimal(one["operator"]) for one in earned) == Decimal("6.75")


def test_the_whole_story_of_the_order_is_told_line_by_line(config: Path) -> None:
    """issue "How it must be shown": explain_credit.txt has each line, without the numbers made by chance."""
    wanted = Path(__file__).with_name("explain_credit.txt").read_text("utf-8").splitlines()
    told = [
        re.sub(r"pb_[0-9a-f]{20}|(?<=policy )[0-9a-f]{24}", "*", line).rstrip() for line in explain(config)
    ]
    assert told == wanted


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def test_the_desks_page_of_the_order_has_the_same_lines(config: Path) -> None:
    """The page shows what `lines` gives, as the command does."""

    async def page() -> str:
        service = Service(load_or_exit(config))
        await service.open()
        story = await service.ledger.stories.of("shop", "1001")
        assert story is not None
        found = lines(
            story, lambda seconds: datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
        )
        await service.close()
        return "\n".join([line.text for line in found] + [d for line in found for d in line.details])

    shown = asyncio.run(page())
    for line in LAST_CREDIT.strip().splitlines():
        assert line.strip() in shown
