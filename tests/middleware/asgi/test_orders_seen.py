"""Orders on pages: which sources count, which orders are held, and which could not be read."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
import structlog
from clew.service.facts import PageNow
from clew.service.ordering.correcting import settle
from order_shops import ELSEWHERE, INSIDE, SELECTORS, TYPED, Shop, linked, order_shops, ordered, page
from starlette.responses import Response


@pytest_asyncio.fixture
async def shops(tmp_path: Path) -> AsyncIterator[Any]:
    async with order_shops(tmp_path) as make:
        yield make


# -- who may be believed


async def test_an_order_after_the_checkout_is_due(shops: Any) -> None:
    shop = await shops()
    shop.pages["/thank-you/1001"] = ordered()
    async with shop.landed() as visitor:
        await visitor.get("/checkout", headers=INSIDE)
        await visitor.get("/thank-you/1001", headers=ELSEWHERE)  # back from the payment's pages
    (row,) = await shop.postbacks()
    assert (row.state, row.hold, row.report.amount) == ("due", None, "59.90")


@pytest.mark.parametrize("headers", [TYPED, ELSEWHERE], ids=["typed", "link"])
async def test_opening_a_strangers_confirmation_page_is_held_and_reported(
    shops: Any, headers: dict[str, str]
) -> None:
    """field E12: and the numbers after it."""
    shop = await shops()
    for number in ("3001", "3002", "3003"):
        shop.pages[f"/thank-you/{number}"] = ordered(number)
    async with shop.landed() as visitor:
        for number in ("3001", "3002", "3003"):
            await visitor.get(f"/thank-you/{number}", headers=headers)
            await shop.settled()
    rows = await shop.postbacks()
    assert [(row.state, row.hold) for row in rows] == [("held", "checkout")] * 3
    assert len(await shop.orders()) == 3
    told = (await shop.notices())["order_held", "checkout"]
    assert "anybody can open such an address" in str(told["why"])


async def test_one_checkout_confirms_one_order(shops: Any) -> None:
    """field E12."""
    shop = await shops()
    for number in ("3001", "3002", "3003"):
        shop.pages[f"/thank-you/{number}"] = ordered(number)
    async with shop.landed() as visitor:
        await visitor.post("/checkout", headers=INSIDE)
        for number in ("3001", "3002", "3003"):
            await visitor.get(f"/thank-you/{number}", headers=INSIDE)
            await shop.settled()
    assert sorted((r.report.order_id, r.state) for r in await shop.postbacks()) == [
        ("3001", "due"),
        ("3002", "held"),
        ("3003", "held"),
    ]


async def test_if_the_settings_name_the_checkout_no_other_page_counts_as_it(shops: Any) -> None:
    """field E12."""
    shop = await shops(page_types={"/kasse": "checkout"})
    shop.pages |= {"/thank-you/1": ordered("1"), "/thank-you/2": ordered("2"), "/kasse": page("pay")}
    async with shop.landed() as visitor:
        await visitor.post("/checkout", headers=INSIDE)
        await visitor.get("/thank-you/1", headers=INSIDE)
    async with shop.landed("c2") as visitor:
        await visitor.get("/kasse", headers=INSIDE)
        await visitor.get("/thank-you/2", headers=INSIDE)
    assert {r.report.order_id: r.hold for r in await shop.postbacks()} == {"1": "checkout", "2": None}


async def test_a_cart_that_was_read_makes_an_order_credible(shops: Any) -> None:
    shop = await shops(page_types={"/kasse": "checkout"}, cart={"value": "#cart"})
    shop.pages |= {"/thank-you/1": ordered("1"), "/tea": page('<p id="cart">54.90 €</p>')}
    async with shop.landed() as visitor:
        await visitor.post("/-/clew/decide", json={"view": "view-0001", "url": "https://shop.example/"})
        await visitor.get("/tea", headers=INSIDE)
        await shop.settled()
        await visitor.get("/thank-you/1", headers=ELSEWHERE)
    (row,) = await shop.postbacks()
    assert row.state == "due"


async def test_a_simple_shop_needs_no_checkout_settings(shops: Any) -> None:
    """The ten lines of the README: the way from one of the shop's own pages is enough."""
    shop = await shops()
    shop.pages["/thank-you/1001"] = ordered()
    async with shop.landed() as visitor:
        await visitor.get("/thank-you/1001", headers=INSIDE)
    (row,) = await shop.postbacks()
    assert row.state == "due"


async def test_an_order_waits_for_the_shops_server_where_the_settings_say_so(shops: Any) -> None:
    """field E12: `confirm = "server"`."""
    shop = await shops(order={**SELECTORS, "confirm": "server"})
    shop.pages["/thank-you/1001"] = ordered("#1001", "119.00 €")
    async with shop.landed() as visitor:
        await visitor.post("/checkout", headers=INSIDE)
        await visitor.get("/thank-you/1001", headers=INSIDE)
    (row,) = await shop.postbacks()
    assert (row.state, row.hold) == ("held", "confirm")
    assert ("order_held", "confirm") not in await shop.notices()
    answer = await shop.report(total="100.00")
    assert (answer.status_code, answer.json()["total"]) == (200, "100.00")
    (row,) = await shop.postbacks()
    assert (row.state, row.report.amount) == ("due", "100.00")
    assert row.why is not None
    assert "corrected from 119.00 EUR to 100.00 EUR by the shop's server" in row.why


async def test_the_shops_server_names_the_orders_visitor(shops: Any) -> None:
    """field E12: before the partner of the first visitor of the page was notified."""
    shop = await shops()
    shop.pages["/thank-you/1001"] = ordered()
    async with shop.landed("thief") as thief:
        await thief.get("/thank-you/1001", headers=TYPED)
        await shop.settled()
    async with shop.landed("right") as buyer:
        value = buyer.cookies["clew_visitor"]
    assert (await shop.report(visitor=value)).status_code == 200
    (row,) = await shop.postbacks()
    assert (row.state, row.report.click_id) == ("due", "right")


async def test_an_order_that_came_without_a_visitor_is_credited_when_it_is_known(shops: Any) -> None:
    """field A15."""
    shop = await shops()
    shop.pages["/thank-you/1001"] = ordered()
    assert (await shop.report()).status_code == 201
    assert await shop.postbacks() == ()
    async with shop.landed() as visitor:
        await visitor.post("/checkout", headers=INSIDE)
        await visitor.get("/thank-you/1001", headers=INSIDE)
    (row,) = await shop.postbacks()
    assert (row.state, row.report.click_id, row.report.amount) == ("due", "c1", "59.90")
    (order,) = await shop.orders()
    assert order.partner == "blog"


# -- what the shop's server says of an order that is known, and what others say after it


async def drawn(
    visitor: httpx2.AsyncClient, number: str = "3001", total: str = "59.90 €", **more: Any
) -> int:
    """Report an order like the loader on a page rendered by a script, or like a visitor in the console."""
    html = f'<p id="number">{number}</p><p id="total">{total}</p>'
    told = {"url": f"https://shop.example/thank-you/{number}", "referrer": "", "html": html, **more}
    answer = await visitor.post("/-/clew/order-page", json=told)
    return answer.status_code


@pytest.mark.parametrize("total", ["59.90", "100.00"])
async def test_the_servers_report_gives_no_credit_to_a_visitor_named_only_by_a_browser(
    shops: Any, total: str
) -> None:
    """field A15, E12: a stranger invents order numbers, the shop's server posts one of them later."""
    shop = await shops()
    async with shop.landed("thief") as thief:
        assert await drawn(thief) == 204
        (row,) = await shop.postbacks()
        assert (row.state, row.hold) == ("held", "browser")
    for _ in range(2):
        answer = await shop.report(id="3001", total=total)
        assert (answer.status_code, answer.json()["total"]) == (200, total)
        (row,) = await shop.postbacks()
        assert (row.state, row.hold, row.report.amount) == ("held", "browser", total)
        assert "only a browser says whose it is" in (row.why or "")
        assert "released" not in (row.why or "")
    notices = await shop.notices()
    assert "only a browser says" in str(notices["order_held", "browser"]["why"])
    async with shop.landed("right") as buyer:
        value = buyer.cookies["clew_visitor"]
    assert (await shop.report(id="3001", total=total, visitor=value)).status_code == 200
    (row,) = await shop.postbacks()
    assert (row.state, row.report.click_id, row.report.amount) == ("due", "right", total)


async def test_a_doubtful_amount_from_a_browser_is_not_released_for_its_visitor(shops: Any) -> None:
    """field E12: the doubt may be about something other than the source."""
    shop = await shops()
    for number in range(5):
        await shop.report(id=f"90{number}", total="50.00")
    async with shop.landed("thief") as thief:
        await drawn(thief, total="5990.00 €")
        (row,) = await shop.postbacks()
        assert (row.state, row.hold) == ("held", "amount")
    await shop.report(id="3001", total="59.90")
    (row,) = await shop.postbacks()
    assert (row.state, row.hold, row.report.amount) == ("held", "browser", "59.90")


async def test_an_unpaid_order_from_a_browser_is_not_credited_to_its_visitor_once_paid(
    shops: Any,
) -> None:
    """field A7, E12"""
    shop = await shops(order={"page": "/thank-you*"})
    linked_ = json.dumps(
        {
            "@type": "Order",
            "orderNumber": "3001",
            "price": "59.90",
            "priceCurrency": "EUR",
            "orderStatus": "OrderPaymentDue",
        }
    )
    async with shop.landed("thief") as thief:
        assert await drawn(thief, linked=[linked_]) == 204
    (order,) = await shop.orders()
    assert order.state == "seen"
    await shop.report(id="3001")
    (row,) = await shop.postbacks()
    assert (row.state, row.hold) == ("held", "browser")


async def test_the_server_who_names_the_browsers_visitor_releases_its_credit(shops: Any) -> None:
    """field A15"""
    shop = await shops()
    async with shop.landed("c1") as buyer:
        await drawn(buyer)
        await shop.settled()
        await shop.report(id="3001", total="100.00", visitor=buyer.cookies["clew_visitor"])
    (row,) = await shop.postbacks()
    assert (row.state, row.report.click_id, row.report.amount) == ("due", "c1", "100.00")


async def test_the_shops_page_names_the_visitor_of_an_order_claimed_by_a_browser(
    shops: Any,
) -> None:
    """field A15, E12: whichever of the three comes first"""
    for turn, first in enumerate(("server", "browser")):
        shop = await shops()
        number = f"300{turn}"
        shop.pages[f"/thank-you/{number}"] = ordered(number, "119.00 €")
        async with shop.landed("thief") as thief:
            if first == "server":
                await shop.report(id=number, total="100.00")
            await drawn(thief, number, "119.00 €")
            await shop.settled()
            if first == "browser":
                await shop.report(id=number, total="100.00")
        (row,) = await shop.postbacks()
        assert (row.state, row.hold) == ("held", "browser")
        async with shop.landed("right") as buyer:
            await buyer.post("/checkout", headers=INSIDE)
            await buyer.get(f"/thank-you/{number}", headers=INSIDE)
        (row,) = await shop.postbacks()
        assert (row.state, row.report.click_id, row.report.amount) == ("due", "right", "100.00")
        (order,) = await shop.orders()
        assert (order.source, order.named_by, str(order.total)) == ("api", "page", "100.00")


async def test_a_browsers_report_neither_takes_nor_holds_an_order_of_the_shops_server(shops: Any) -> None:
    """field A12, E12: with another amount, or as cancelled, by anybody who knows its number."""
    shop = await shops()
    shop.pages["/thank-you/3001"] = ordered("3001")
    async with shop.landed("right") as buyer:
        await buyer.post("/checkout", headers=INSIDE)
        await buyer.get("/thank-you/3001", headers=INSIDE)
        await shop.settled()
    cancelled = json.dumps(
        {
            "@type": "Order",
            "orderNumber": "3001",
            "price": "59.90",
            "priceCurrency": "EUR",
            "orderStatus": "OrderCancelled",
        }
    )
    async with shop.landed("thief") as thief:
        await drawn(thief, total="990.00 €")
        await drawn(thief, linked=[cancelled])
    (row,) = await shop.postbacks()
    assert (row.state, row.report.click_id, row.report.amount) == ("due", "right", "59.90")


async def test_a_page_does_not_change_the_amount_that_the_server_reported_before(shops: Any) -> None:
    """field A15: the server reports first, without a visitor; the page shows another amount"""
    shop = await shops()
    shop.pages["/thank-you/1001"] = ordered("1001", "119.00 €")
    assert (await shop.report(total="100.00")).status_code == 201
    async with shop.landed() as visitor:
        await visitor.post("/checkout", headers=INSIDE)
        for _ in range(2):
            await visitor.get("/thank-you/1001", headers=INSIDE)
            await shop.settled()
    (row,) = await shop.postbacks()
    assert (row.state, row.report.click_id, row.report.amount) == ("due", "c1", "100.00")
    (order,) = await shop.orders()
    assert str(order.total) == "100.00"


async def test_the_servers_amount_counts_where_no_partner_earns_the_order(shops: Any) -> None:
    """In the report, and in what later orders are compared with; the partner gets no correction yet."""
    shop = await shops()
    shop.pages["/thank-you/1001"] = ordered("1001", "119.00 €")
    async with shop.visitor() as visitor:
        await visitor.get("/thank-you/1001", headers=INSIDE)
        await shop.settled()
        with structlog.testing.capture_logs() as lines:
            answer = await shop.report(total="100.00")
    assert answer.json()["total"] == "100.00"
    (order,) = await shop.orders()
    assert (str(order.total), order.source) == ("100.00", "api")
    events = [e["event"] for e in lines if e["event"].startswith("order_")]
    assert events == ["order_corrected"]


async def test_a_server_report_releases_an_order_that_waits_for_it(shops: Any) -> None:
    """field A15, E12: `confirm = "server"`, and the page comes after it"""
    shop = await shops(order={**SELECTORS, "confirm": "server"})
    shop.pages["/thank-you/1001"] = ordered("1001")
    await shop.report()
    async with shop.landed() as visitor:
        await visitor.post("/checkout", headers=INSIDE)
        await visitor.get("/thank-you/1001", headers=INSIDE)
    (row,) = await shop.postbacks()
    assert row.state == "due"


async def test_opening_the_page_of_a_paid_order_does_not_change_its_visitor(shops: Any) -> None:
    """field A7, E12: it waited for its money when its own visitor saw it"""
    shop = await shops(order={"page": "/thank-you*"})
    shop.pages["/thank-you"] = linked(orderStatus="OrderPaymentDue")
    async with shop.landed("right") as buyer:
        await buyer.post("/checkout", headers=INSIDE)
        await buyer.get("/thank-you", headers=INSIDE)
        await shop.settled()
    shop.pages["/thank-you"] = linked(orderStatus="OrderProcessing")
    async with shop.landed("thief") as thief:
        await thief.post("/checkout", headers=INSIDE)
        await thief.get("/thank-you", headers=INSIDE)
    (row,) = await shop.postbacks()
    assert (row.state, row.hold, row.report.click_id) == ("held", "conflict", "right")
    await shop.report()
    (row,) = await shop.postbacks()
    assert (row.state, row.report.click_id) == ("due", "right")


async def test_a_click_that_came_after_an_order_does_not_earn_it_when_the_server_names_its_visitor(
    shops: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """field A8, A15: the order was there before, as its page or the server has shown"""
    shop = await shops()
    now = time.time()
    monkeypatch.setattr(shop.clew.service.clock, "now", lambda: now)
    assert (await shop.report()).status_code == 201
    now += 3600
    async with shop.landed("late") as visitor:
        value = visitor.cookies["clew_visitor"]
    now += 60
    assert (await shop.report(visitor=value)).status_code == 200
    assert await shop.postbacks() == ()
    (order,) = await shop.orders()
    assert (order.partner, order.named_by) == (None, "api")


# -- what is held


async def test_an_amount_ten_times_off_the_cart_is_held_and_released_by_a_person(shops: Any) -> None:
    shop = await shops(cart={"value": "#cart"})
    shop.pages |= {"/thank-you/1": ordered("1", "1,299.00 €"), "/tea": page('<p id="cart">€12.99</p>')}
    async with shop.landed() as visitor:
        await visitor.post("/-/clew/decide", json={"view": "view-0001", "url": "https://shop.example/"})
        await visitor.get("/tea", headers=INSIDE)
        await shop.settled()
        await visitor.get("/thank-you/1", headers=INSIDE)
    (row,) = await shop.postbacks()
    assert (row.state, row.hold) == ("held", "amount")
    assert row.why == "1299.00 EUR, but the cart last seen is 12.99 EUR"
    (order,) = await shop.orders()
    assert (order.partner, str(order.total)) == ("blog", "1299.00")
    outbox, now = shop.clew.service.ledger.outbox, shop.clew.service.clock.now()
    assert await outbox.waiting(now + 10**9, each=9, limit=9) == ()
    await settle(shop.clew.service.ledger, lambda _: [], row.id, now, by="bo")
    assert [w.id for w in await outbox.waiting(now, each=9, limit=9)] == [row.id]


@pytest.mark.parametrize(
    ("told", "hold"),
    [
        ({"price": "59.90", "priceCurrency": "EUR"}, None),
        ({"price": "5990.00", "priceCurrency": "EUR"}, "amount"),
        ({"price": "59.90", "priceCurrency": "USD"}, "currency"),
        ({"acceptedOffer": {"price": "0.59", "priceCurrency": "EUR", "eligibleQuantity": 1}}, "amount"),
    ],
    ids=["agrees", "total", "currency", "items"],
)
async def test_an_amount_is_held_against_the_pages_structured_data(
    shops: Any, told: dict[str, Any], hold: str | None
) -> None:
    shop = await shops()
    data = json.dumps({"@type": "Order", "orderNumber": "1001", **told})
    head = f'<script type="application/ld+json">{data}</script>'
    shop.pages["/thank-you/1"] = page('<p id="number">1001</p><p id="total">59.90 €</p>', head)
    async with shop.landed() as visitor:
        await visitor.post("/checkout", headers=INSIDE)
        await visitor.get("/thank-you/1", headers=INSIDE)
    (row,) = await shop.postbacks()
    assert row.hold == hold


async def test_an_amount_far_off_the_sites_orders_is_held_and_a_wrong_one_hides_no_other(shops: Any) -> None:
    shop = await shops()
    for number in range(8):
        assert (await shop.report(id=f"a{number}", total=str(40 + number))).status_code == 201
    async with shop.landed() as visitor:
        value = visitor.cookies["clew_visitor"]
    for number, total in (("b1", "4400.00"), ("b2", "4500.00"), ("b3", "44.00")):
        await shop.report(id=number, total=total, visitor=value)
        await shop.report(id=number, total=total, visitor=value)  # the same again releases nothing
    await shop.report(id="b4", total="44.00", currency="USD", visitor=value)
    held = {r.report.order_id: r.hold for r in await shop.postbacks()}
    assert held == {"b1": "amount", "b2": "amount", "b3": None, "b4": "currency"}


async def test_the_same_number_with_another_amount_is_a_conflict(shops: Any) -> None:
    """field A12, G23: another visitor, 990 instead of 10."""
    shop = await shops()
    shop.pages["/thank-you/7"] = ordered("7", "10.00 €")
    async with shop.landed() as visitor:
        await visitor.post("/checkout", headers=INSIDE)
        with structlog.testing.capture_logs() as lines:
            for _ in range(2):
                await visitor.get("/thank-you/7", headers=INSIDE)
                await shop.settled()
    assert [e["order"] for e in lines if e["event"] == "order_repeated"] == ["7"]
    shop.pages["/thank-you/7"] = ordered("7", "990.00 €")
    async with shop.landed("c2") as other:
        await other.post("/checkout", headers=INSIDE)
        await other.get("/thank-you/7", headers=INSIDE)
    (row,) = await shop.postbacks()
    assert (row.state, row.hold, row.report.click_id, row.report.amount) == (
        "held",
        "conflict",
        "c1",
        "10.00",
    )
    why = str((await shop.notices())["order_conflict", "7"]["why"])
    assert "990.00 EUR by the page, but 10.00 EUR by the page" in why
    assert "another visitor" in why


@pytest.mark.parametrize("spelling", ["#1003", "Order #1003", "Bestellnummer: 1003"])
async def test_spellings_of_a_number_are_one_order(shops: Any, spelling: str) -> None:
    """field A11: page and API."""
    shop = await shops()
    shop.pages["/thank-you/1003"] = ordered(spelling)
    async with shop.landed() as visitor:
        await visitor.post("/checkout", headers=INSIDE)
        await visitor.get("/thank-you/1003", headers=INSIDE)
        await shop.settled()
        await shop.report(id="1003", visitor=visitor.cookies["clew_visitor"])
    (order,) = await shop.orders()
    assert (order.order_id, order.spelling) == ("1003", spelling)
    assert len(await shop.postbacks()) == 1


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("https://schema.org/OrderCancelled", "cancelled"),
        ("OrderReturned", "refunded"),
        ("http://schema.org/OrderProblem", "held"),
        ("OrderPaymentDue", "seen"),
    ],
)
async def test_an_order_that_is_not_a_sale_is_recorded_but_not_reported(
    shops: Any, status: str, state: str
) -> None:
    """field A7."""
    shop = await shops(order={"page": "/thank-you*"})
    shop.pages["/thank-you"] = linked(orderStatus=status)
    async with shop.landed() as visitor:
        await visitor.post("/checkout", headers=INSIDE)
        await visitor.get("/thank-you", headers=INSIDE)
    (order,) = await shop.orders()
    assert (order.state, order.partner) == (state, "blog")
    assert await shop.postbacks() == ()


async def test_an_order_is_reported_once_it_is_paid(shops: Any) -> None:
    """field A7."""
    shop = await shops(order={"page": "/thank-you*"})
    shop.pages["/thank-you"] = linked(orderStatus="OrderPaymentDue")
    async with shop.landed() as visitor:
        await visitor.post("/checkout", headers=INSIDE)
        await visitor.get("/thank-you", headers=INSIDE)
    await shop.settled()
    assert (await shop.report()).status_code == 200
    (row,) = await shop.postbacks()
    assert (row.state, row.report.click_id) == ("due", "c1")
    (order,) = await shop.orders()
    assert order.state == "placed"


async def test_an_old_order_opened_through_a_partners_link_is_credited_to_nobody(shops: Any) -> None:
    """field A8."""
    shop = await shops(order={"page": "/thank-you*"})
    shop.pages["/thank-you"] = linked(orderDate="2024-03-01T10:00:00+01:00")
    async with shop.landed() as visitor:
        await visitor.post("/checkout", headers=INSIDE)
        await visitor.get("/thank-you", headers=INSIDE)
    (order,) = await shop.orders()
    assert (order.partner, order.placed_at) == (None, 1709283600.0)
    assert "after the order" in order.reason
    assert await shop.postbacks() == ()


@pytest.mark.parametrize("cut", [slice(0, -5), slice(3, None), slice(0, 26)], ids=["end", "start", "short"])
async def test_a_visitor_that_cannot_be_opened_is_refused_and_nothing_recorded(
    shops: Any, cut: slice
) -> None:
    """field A17."""
    shop = await shops()
    async with shop.landed() as visitor:
        value = visitor.cookies["clew_visitor"]
    answer = await shop.report(visitor=value[cut])
    assert answer.status_code == 422
    assert "cut off" in answer.json()["error"]
    assert await shop.orders() == ()
    assert (await shop.report(visitor=value)).status_code == 201
    (order,) = await shop.orders()
    assert order.partner == "blog"


# -- what could not be read


@pytest.mark.parametrize(
    ("answer", "key", "why"),
    [
        (page("<p>Thank you</p>"), "no order", "no element with text matches '#number'"),
        (page("x" * 600_000 + '<p id="number">1</p><p id="total">5 €</p>'), "too long", "512 KB"),
        (page('<p id="number">1</p>'), "total", "'#total' matches nothing on it"),
        (
            Response("<html>", headers={"content-type": "text/html", "content-encoding": "x-own"}),
            "coding",
            "",
        ),
        (Response("{}", headers={"content-type": "application/json"}), "content type", "text/html"),
    ],
    ids=["no-order", "too-long", "no-total", "coding", "json"],
)
async def test_a_confirmation_page_without_a_readable_order_is_reported(
    shops: Any, answer: Response, key: str, why: str
) -> None:
    """field A13: an event that names the page type and the reason, a metric, a line on the desk."""
    shop = await shops()
    shop.pages["/thank-you/1"] = answer
    async with shop.landed() as visitor:
        await visitor.get("/thank-you/1", headers=INSIDE)
    told = (await shop.notices())["order_unreadable", key]
    assert (told["type"], told["page"]) == ("confirmation", "/thank-you/1")
    assert why in str(told["why"])
    labels = {"site": "shop", "event": "order_unreadable"}
    assert shop.clew.service.registry.get_sample_value("clew_events_total", labels) == 1


async def test_an_order_page_without_structured_data_is_reported(shops: Any) -> None:
    """field A13."""
    shop = await shops(order={"page": "/thank-you*"})
    shop.pages["/thank-you"] = page("Thank you")
    async with shop.landed() as visitor:
        await visitor.get("/thank-you", headers=INSIDE)
    assert "JSON-LD" in str((await shop.notices())["order_unreadable", "no order"]["why"])


async def test_pages_without_an_expected_order_are_not_reported(shops: Any) -> None:
    shop = await shops()
    shop.pages |= {
        "/thank-you/1": Response(status_code=302, headers={"location": "/"}),
        "/thank-you/2": ordered(),
    }
    async with shop.landed() as visitor:
        await visitor.get("/thank-you/1", headers=INSIDE)
        await visitor.head("/thank-you/2", headers=INSIDE)
        await visitor.get("/thank-you/404", headers=INSIDE)
    assert await shop.notices() == {}


@pytest.mark.parametrize(
    "site", [{"never": ["/thank-you*"]}, {"inject": False}], ids=["never", "switched-off"]
)
async def test_an_order_is_read_on_a_page_that_is_not_edited(shops: Any, site: dict[str, Any]) -> None:
    """field A13: a page that is not edited is read all the same."""
    shop = await shops(**site)
    shop.pages["/thank-you/1"] = ordered()
    async with shop.landed() as visitor:
        await visitor.post("/checkout", headers=INSIDE)
        await visitor.get("/thank-you/1", headers=INSIDE)
    assert len(await shop.orders()) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-dest": "empty", "sec-fetch-mode": "cors", "sec-fetch-site": "same-origin"},
        {"sec-fetch-dest": "iframe", "sec-fetch-mode": "navigate", "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "same-origin", "hx-request": "true"},
        {"sec-fetch-site": "same-origin", "turbo-frame": "main"},
        {"x-requested-with": "XMLHttpRequest", "referer": "https://shop.example/checkout"},
    ],
    ids=["fetch", "iframe", "htmx", "turbo-frame", "pjax"],
)
async def test_a_fetched_or_framed_order_page_is_read_and_not_edited(
    shops: Any, headers: dict[str, str]
) -> None:
    """field A14."""
    shop = await shops()
    shop.pages["/thank-you/1"] = ordered("1")
    async with shop.landed() as visitor:
        await visitor.post("/checkout", headers=INSIDE)
        answer = await visitor.get("/thank-you/1", headers=headers)
    assert answer.content == ordered("1").body
    (row,) = await shop.postbacks()
    assert row.state == "due"


# -- carts, and what follows an order


async def facts(shop: Shop, visitor: httpx2.AsyncClient) -> Mapping[str, str]:
    await shop.settled()
    site = shop.clew.service.sites["shop"]
    known = site.cookie.open(visitor.cookies["clew_visitor"])
    assert known is not None
    stored = await shop.clew.service.visits.get("shop", known.visitor)
    assert stored is not None
    return stored.cart


@pytest.mark.parametrize(
    ("path", "after", "ended"),
    [
        ("/basket", "<p>Your basket is empty</p>", True),
        ("/basket", '<p id="cart">0.00 €</p>', True),
        ("/basket", '<p id="cart">empty</p>', True),
        ("/kasse", "", False),  # a checkout has its own layout
    ],
    ids=["gone", "zero", "words", "another-page"],
)
async def test_a_cart_ends_where_it_is_empty_or_no_longer_shown(
    shops: Any, path: str, after: str, ended: bool
) -> None:
    """field C3."""
    shop = await shops(cart={"value": "#cart"})
    shop.pages |= {"/basket": page('<p id="cart">369.60 €</p>'), "/kasse": page("")}
    async with shop.landed() as visitor:
        await visitor.post("/-/clew/decide", json={"view": "view-0001", "url": "https://shop.example/"})
        await visitor.get("/basket", headers=INSIDE)
        assert (await facts(shop, visitor))["value"] == "369.60"
        shop.pages[path] = page(after)
        await visitor.get(path, headers=INSIDE)
        assert (await facts(shop, visitor) == {}) is ended


async def test_an_order_ends_the_cart_and_stops_invites_only_on_its_own_page(shops: Any) -> None:
    """field C3, C4: with `order.page` for every page, and one cause in words."""
    rules = [{"name": "help", "when": [], "action": "invite", "stage": "after_sale"}]
    more = {"rules": rules, "invites": {"holdout": 0, "pause": 0}}
    shop = await shops(cart={"value": "#cart"}, **more, order={**SELECTORS, "page": "/*"})
    shop.pages |= {"/tea": page('<p id="cart">54.90 €</p>'), "/done": ordered()}
    async with shop.landed() as visitor:

        async def action(path: str) -> str:
            ask = {
                "view": f"view{path.replace('/', '-')}-{len(path):08}",
                "url": f"https://shop.example{path}",
            }
            return str((await visitor.post("/-/clew/decide", json=ask)).json()["action"])

        assert await action("/tea") == "invite"
        await visitor.get("/tea", headers=INSIDE)
        assert (await facts(shop, visitor))["value"] == "54.90"
        await visitor.get("/done", headers=INSIDE)
        assert await facts(shop, visitor) == {}
        assert await action("/done") != "invite"
        assert await action("/tea-again") == "invite"
        site = shop.clew.service.sites["shop"]
        known = site.cookie.open(visitor.cookies["clew_visitor"])
        assert known is not None
        now = PageNow("view-0009", "https://shop.example/done", "", "en", 0)
        explained = await shop.clew.service.decisions.explain(site, known.visitor, now)
        assert explained is not None
        assert [(r.verdict, r.why) for r in explained.rules] == [
            ("skipped", "on the page that showed the order")
        ]


async def test_decisions_on_a_page_that_showed_an_order_wait_for_nothing_more(shops: Any) -> None:
    """Its own facts are read with the order, before the page's last byte is sent."""
    rule = {"name": "one", "action": "hide", "when": ['custom.group == "a"']}
    shop = await shops(rules=[rule], facts={"group": {"selector": ".group"}})
    shop.pages["/thank-you/1001"] = ordered()
    async with shop.landed() as visitor:
        await visitor.get("/checkout", headers=INSIDE)
        await visitor.get("/thank-you/1001", headers=INSIDE)
    assert len(await shop.orders()) == 1
    assert not shop.clew.service.outside._reading
