"""A partner's own pages: its orders, its weeks, its file, and nothing of anybody else."""

import csv
import io
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from clew.orders.model import Item, Refund
from clew.stores.ledger.connection import executing
from clew.stores.ledger.schema import payouts, postbacks
from desks import DeskServer, desk_server
from partner_desks import PARTNERS, VISITORS, by_link, order, text_of
from sqlalchemy import insert, update

TERMS = [
    {"name": "month", "when": ['order.channel == "chat"'], "pay": 100},
    {"name": "web", "when": ['order.channel == "web"'], "pay": 50},
    {"name": "all", "percent": 10},
]
SETTINGS = {"partners": PARTNERS, "credit": {"terms": TERMS}, "time_zone": "Europe/Berlin"}


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path, more=SETTINGS, hold={"amounts": False}) as built:
        yield built


async def rows_of(client: httpx2.AsyncClient, path: str = "desk/partner/orders.csv") -> list[dict[str, str]]:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


async def test_a_partner_sees_state_amount_commission_channel_and_what_is_paid(desk: DeskServer) -> None:
    await order(desk, "1001", "100.00")
    await desk.says("which one fits?", VISITORS["blog"])
    await order(desk, "1002", "200.00", "blog")
    await order(desk, "1002", "200.00", "blog", refunds=(Refund("r1", Decimal("50.00")),))
    chat = text_of(await (await by_link(desk, "blog")).get("desk/partner/orders"))
    for part in ("1002", "€150.00", "refunded in part", "€50.00", "chat", "€15.00", "100 % of the terms"):
        assert part in chat, part
    web = text_of(await (await by_link(desk)).get("desk/partner/orders"))
    for part in ("1001", "€100.00", "placed", "shop", "€5.00", "50 % of the terms", "pending"):
        assert part in web, part


async def test_a_partner_sees_no_other_partner_and_no_customer(desk: DeskServer) -> None:
    """On every page and in the file: no other partner's name, order or sum, no visitor, no e-mail hash, no
    words of the chat, no click of anybody else, no agent, and not the reasons."""
    await desk.says("my secret question", VISITORS["anna"])
    await order(desk, "1001", items=(Item(id="sku-7", price=Decimal("100.00")),), coupon="BLOG10")
    await order(desk, "2002", "77.77", "blog")
    client = await by_link(desk)
    for path in ("", "orders", "orders.csv", "calls", "orders?before=1001&currency=EUR"):
        page = (await client.get(f"desk/partner/{path}")).text
        for secret in (
            *("blog", "2002", "77.77", "77,77", VISITORS["anna"], VISITORS["blog"], "e" * 20),
            *("secret question", "click-of", "203.0.113.7", "partner.test", "sku-7", "considered"),
        ):
            assert secret not in page, (path, secret)


async def test_an_order_of_somebody_else_is_as_one_that_is_not_there(desk: DeskServer) -> None:
    await order(desk, "1001")
    await order(desk, "2002", partner="blog")
    client = await by_link(desk)
    for path in ("orders?before={}", "orders.csv?before={}"):
        answers = [await client.get("desk/partner/" + path.format(n)) for n in ("2002", "9999", "1002'--")]
        assert [answer.status_code for answer in answers] == [404] * 3
        shown = [re.sub(r'data-now="[0-9.]+"', "", answer.text) for answer in answers]
        assert shown[0] == shown[1]


async def test_the_list_goes_on_behind_the_last_order(
    desk: DeskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clew.desk.pages.partner.SHOWN", 2)
    monkeypatch.setattr("clew.desk.pages.partner.STEP", 2)
    for n in range(5):
        await order(desk, f"100{n}", days=5 - n)
    await order(desk, "2002", partner="blog", days=3)
    client, seen, path = await by_link(desk), [], "orders"
    while path:
        page = (await client.get(f"desk/partner/{path}")).text
        seen.append(re.findall(r'<th scope="row">(\d+)</th>', page))
        older = re.search(r'href="[^"]*/partner/(orders\?before=[^"]+)"', page)
        path = older[1].replace("&amp;", "&") if older else ""
    assert seen == [["1004", "1003"], ["1002", "1001"], ["1000"]]
    assert [row["order"] for row in await rows_of(client)] == ["1004", "1003", "1002", "1001", "1000"]


async def test_the_file_has_all_orders_with_plain_numbers(desk: DeskServer) -> None:
    await order(desk, "1001", "1234.50", days=1)
    answer = await (client := await by_link(desk)).get("desk/partner/orders.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="orders-anna.csv"'
    assert answer.headers["cache-control"] == "no-store"
    (row,) = await rows_of(client)
    assert (row["order"], row["amount"], row["currency"], row["commission"], row["paid_percent"]) == (
        *("1001", "1234.50", "EUR"),
        *("61.73", "50"),
    )
    assert (row["channel"], row["state"], row["order_state"], row["part"]) == (
        "web",
        "pending",
        "placed",
        "1",
    )


@pytest.mark.parametrize("number", ["=cmd|' /C calc'!A0", "+1+1", "@SUM(A1)", "-2+3", '="x"'])
async def test_an_order_number_is_no_formula_in_a_spreadsheet(desk: DeskServer, number: str) -> None:
    await order(desk, number)
    (row,) = await rows_of(await by_link(desk))
    assert row["order"].lower() == f"'{number}".lower()


async def test_an_order_number_with_html_is_text(desk: DeskServer) -> None:
    await order(desk, "<img src=x onerror=alert(1)>")
    client = await by_link(desk)
    for path in ("orders", "calls"):
        page = (await client.get(f"desk/partner/{path}")).text
        assert "<img src=x" not in page.lower()
        assert "&lt;img src=x" in page.lower()


async def test_files_are_limited(tmp_path: Path) -> None:
    limits = {"partner_pages": {"client": 25}}
    async with desk_server(tmp_path, more=SETTINGS, limits=limits) as desk:
        client = await by_link(desk)
        answers = [(await client.get("desk/partner/orders.csv")).status_code for _ in range(6)]
        assert answers[0] == 200
        assert 429 in answers


async def test_what_is_held_is_in_review_without_the_reason(tmp_path: Path) -> None:
    async with desk_server(tmp_path, more=SETTINGS, hold={"factor": 2, "orders": 2}) as desk:
        for n in range(4):
            await order(desk, f"100{n}", "10.00")
        await order(desk, "1009", "5000.00")
        (held,) = await desk.service.ledger.outbox.list("held")
        assert held.why
        client = await by_link(desk)
        for path in ("orders", "calls"):
            page = text_of(await client.get(f"desk/partner/{path}"))
            assert "in review" in page
            assert held.why[:20] not in page
        (row,) = [row for row in await rows_of(client) if row["order"] == "1009"]
        assert row["state"] == "review"


async def test_the_overview_adds_up_this_week_and_the_weeks_before(desk: DeskServer) -> None:
    await order(desk, "1001", "100.00")
    await order(desk, "1002", "50.00", days=7)
    await order(desk, "2002", "999.00", "blog")
    counts = desk.service.clicks
    zone = desk.service.sites["shop"].zone
    for _ in range(3):
        counts.count("shop", "anna", desk.service.clock.now(), zone)
    counts.count("shop", "blog", desk.service.clock.now(), zone)
    await desk.service.click_writer.write()
    page = text_of(await (await by_link(desk)).get("desk/partner/"))
    week = page.partition("This week")[2].partition("This month")[0]
    for part in ("Orders 1", "€100.00", "€5.00", "pending: 1"):
        assert part in week, week
    assert "999" not in page
    lines = page.partition("Week from")[2]
    now = datetime.now(UTC)
    monday = (now - timedelta(days=now.weekday())).date()
    assert re.search(rf"{monday.day} \w+ {monday.year} 3 1 0 0 €5.00", lines), lines
    assert re.search(r"\d{4} 0 1 0 0 €2.50", lines), lines


async def test_the_sums_are_read_once_a_minute(desk: DeskServer) -> None:
    """However often a partner of many orders asks for its page."""
    await order(desk, "1001", "100.00")
    client = await by_link(desk)

    async def week() -> str:
        return text_of(await client.get("desk/partner/")).partition("This week")[2].partition("This month")[0]

    assert "€100.00" in await week()
    await order(desk, "1002", "11.00")
    assert "€100.00" in await week()
    desk.clock.ahead = 61
    assert "€111.00" in await week()


async def test_payouts_are_the_partners_own(desk: DeskServer) -> None:
    assert "Payouts" not in text_of(await (await by_link(desk)).get("desk/partner/"))
    for n, (partner, amount) in enumerate((("anna", 12345), ("blog", 99999))):
        made = {"made_at": desk.service.clock.now(), "creditor": {"iban": "DE02120300000000202051"}}
        values = {"name": f"p{n}", "site": "shop", "partner": partner, "period": "2026-10", "lines": 7}
        money = {"currency": "EUR", "amount": amount, "document": "<secret/>"}
        added = insert(payouts).values(**values, **made, **money)
        await desk.service.ledger.db.transact(executing(added))
    page = text_of(await (await by_link(desk)).get("desk/partner/"))
    assert "2026-10" in page
    assert "7 €123.45" in page
    for secret in ("999.99", "DE0212", "secret"):
        assert secret not in page


async def test_german_pages_write_numbers_as_germans_do(desk: DeskServer) -> None:
    await order(desk, "1001", "1234.50")
    client = await by_link(desk)
    client.headers["accept-language"] = "de"
    page = text_of(await client.get("desk/partner/orders"))
    for part in ("1.234,50 €", "61,73 €", "50 % der Konditionen", "offen", "Shop"):
        assert part in page, part
    assert "Vorher und nachher" in text_of(await client.get("desk/partner/"))


# -- before and after


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ([10, 11, 9, 10, 24, 26, 25, 25], "more than chance explains"),
        ([10, 11, 9, 10, 11, 10, 9, 10], "No clear difference"),
        ([1, 1, 1, 1, 9, 9, 9, 9], "Too few"),
        ([0, 0, 0, 0, 9, 9, 9, 9], "Too few"),
    ],
)
async def test_the_weeks_before_and_after_the_change_are_compared(
    tmp_path: Path, counts: list[int], says: str
) -> None:
    """A10: each side four whole weeks around the day that the shop has set."""
    today = datetime.now(UTC).date()
    monday = today - timedelta(days=today.weekday())
    change = monday - timedelta(weeks=4)
    settings = {
        **SETTINGS,
        "partners": [{**partner, "lookback_days": 400} for partner in PARTNERS],
        "partner_pages": {"change": change.isoformat(), "change_name": "chat switched on"},
    }
    async with desk_server(tmp_path, more=settings, hold={"amounts": False}) as desk:
        # The partner was there before.
        await placed(desk, monday - timedelta(weeks=10), 1)
        for week, count in enumerate(counts):
            await placed(desk, monday - timedelta(weeks=8 - week), count)
        page = text_of(await (await by_link(desk)).get("desk/partner/"))
        assert says in page
        assert "chat switched on" in page
        assert ("interval from" in page) == ("Too few" not in says)


async def placed(desk: DeskServer, monday: Any, count: int) -> None:
    at = datetime(monday.year, monday.month, monday.day, 12, tzinfo=UTC).timestamp()
    days = (desk.service.clock.now() - at) / 86400
    for n in range(count):
        await order(desk, f"{monday:%y%m%d}-{n}", days=days)


async def test_an_order_reads_as_the_sums_count_it(desk: DeskServer) -> None:
    """Whether its call was refused, and whether what was amended is approved; also on the owner's pages."""
    await order(desk, "1001")
    refused = update(postbacks).values(state="refused", hold="fraud", why="refused by bo")
    await desk.service.ledger.db.transact(executing(refused))
    for number in ("1002", "1003"):
        await order(desk, number, "200.00", "blog")
        await order(desk, number, "200.00", "blog", refunds=(Refund("r1", Decimal("50.00")),))
    stored = await desk.service.ledger.orders.get("shop", "1003")
    assert stored is not None
    await desk.service.workflow.decide("shop", stored.row, ["blog"], "approve", by="bo", why="looked")
    anna, blog = await by_link(desk), await by_link(desk, "blog")
    assert [row["state"] for row in await rows_of(anna)] == ["pending"]
    assert "declined" not in text_of(await anna.get("desk/partner/orders"))
    assert "pending: 1, €5.00" in text_of(await anna.get("desk/partner/"))
    assert [row["state"] for row in await rows_of(blog)] == ["amended, approved", "amended"]
    assert "changed, approved" in text_of(await blog.get("desk/partner/orders"))
    sums = text_of(await blog.get("desk/partner/"))
    assert "changed: 1, €7.50" in sums
    assert "changed, approved: 1, €7.50" in sums
    owner = await desk.agent("bo")
    for path in (f"desk/orders/{stored.row}", "desk/orders", "desk/partners"):
        assert "amended, approved" in text_of(await owner.get(path)), path
    assert "now amended, approved, commission 7.50 EUR" in text_of(
        await owner.get(f"desk/orders/{stored.row}")
    )
