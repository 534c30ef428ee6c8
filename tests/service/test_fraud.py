"""Fraud is held at the desk and never dropped: landings, clicks and orders through the middleware."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from clew.orders.model import OrderSeen
from clew.service.click_watch import ClickWatch, most_likely
from clew.service.limits import Limits, Rate
from clew.service.ordering.correcting import settle
from clew.service.service import Service
from clew.settings import model
from clew.settings.model import Settings
from clew.stores.ledger import paces
from order_shops import ELSEWHERE, INSIDE, Shop, order_shops, ordered, page
from reporting import NOW
from reporting import Shop as Reporting
from reporting import site as reporting_site

DAY = 86400
CHROME = {
    **ELSEWHERE,
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/131.0.0.0 Safari/537.36",
    "accept-language": "de",
}
PARTNER = {"id": "blog", "param": "ref", "postback": "http://127.0.0.1:9/{click_id}"}


@pytest_asyncio.fixture
async def shops(tmp_path: Path) -> AsyncIterator[Any]:
    async with order_shops(tmp_path) as make:
        yield make


class Clocked:
    """A shop whose clock the test sets."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.now = NOW
        shop.clew.service.clock.now = lambda: self.now  # type: ignore[method-assign]
        shop.pages |= {"/thank-you/1001": ordered(), "/sale": page("sale")}

    async def sees(self, visitor: httpx2.AsyncClient, path: str, view: str) -> None:
        """The page is requested and shown."""
        await visitor.get(path, headers=INSIDE)
        told = {"view": view, "url": f"https://shop.example{path}"}
        await visitor.post("/-/clew/decide", json=told)

    async def buys(self, visitor: httpx2.AsyncClient) -> None:
        await visitor.get("/checkout", headers=INSIDE)
        await visitor.get("/thank-you/1001", headers=ELSEWHERE)

    async def doubts(self) -> list[str]:
        (order,) = await self.shop.orders()
        return [doubt.kind for doubt in order.doubts]


async def clocked(shops: Any, **site: Any) -> Clocked:
    return Clocked(await shops(**site))


async def test_a_click_without_a_page_view_is_held_until_a_person_releases_it(shops: Any) -> None:
    clock = await clocked(shops)
    async with clock.shop.visitor() as visitor:
        await visitor.get("/?ref=stuffed", headers=ELSEWHERE)
        clock.now += DAY
        await clock.sees(visitor, "/tea", "view-0001")
        await clock.buys(visitor)
    assert await clock.doubts() == ["unseen"]
    (row,) = await clock.shop.postbacks()
    assert (row.state, row.hold, row.partner, row.report.click_id) == ("held", "unseen", "blog", "stuffed")
    assert "was never followed by a page view" in str(row.why)
    notices = await clock.shop.notices()
    assert "never followed by a page view" in str(notices["fraud_suspected", "blog unseen"]["why"])
    ledger = clock.shop.clew.service.ledger
    await settle(ledger, lambda _: [], row.id, clock.now + 1, by="eva")
    (sent,) = await clock.shop.postbacks()
    assert (sent.state, sent.report) == ("due", row.report)
    # A later report of the shop's server does not hold it again.
    await clock.shop.report(visitor=None)
    assert [one.state for one in await clock.shop.postbacks()] == ["due"]


@pytest.mark.parametrize("where", ["/checkout", "/thank-you/1001"])
async def test_a_buyer_in_the_partners_network_is_seen_without_scripts(shops: Any, where: str) -> None:
    """The click came from elsewhere, and its browser asks no `decide`: it is enough to order from there."""
    clock = await clocked(shops, partners=[{**PARTNER, "own_networks": ["203.0.113.0/24"]}])
    async with clock.shop.visitor() as visitor:
        transport = visitor._transport
        assert isinstance(transport, httpx2.ASGITransport)
        await visitor.get("/?ref=c1", headers=ELSEWHERE)
        for path, headers in (("/checkout", INSIDE), ("/thank-you/1001", ELSEWHERE)):
            transport.client = ("203.0.113.9" if path == where else "192.0.2.7", 1)
            await visitor.get(path, headers=headers)
    assert await clock.doubts() == ["self"]


async def test_links_that_were_followed_before_the_day_of_the_order_do_not_count(shops: Any) -> None:
    """Nine times at the end of one day, once more at the order: exactly those of its 24 hours are counted."""
    clock = await clocked(shops, partners=[PARTNER])
    async with clock.shop.visitor() as visitor:
        for again in range(13):
            await visitor.get("/?ref=c1", headers=ELSEWHERE)
            clock.now += 60 if again < 8 else 5 * 3600
        # 9 within minutes, and 4 more: within the last 24 hours there are 4.
        await clock.buys(visitor)
    assert await clock.doubts() == []
    async with clock.shop.visitor() as visitor:
        for _ in range(11):
            await visitor.get("/?ref=c2", headers=ELSEWHERE)
            clock.now += 2 * 3600
        clock.shop.pages |= {"/thank-you/1002": ordered("1002")}
        await visitor.get("/checkout", headers=INSIDE)
        await visitor.get("/thank-you/1002", headers=ELSEWHERE)
    doubts = {order.order_id: [one.kind for one in order.doubts] for order in await clock.shop.orders()}
    assert doubts["1002"] == ["self"]


async def test_a_server_that_reports_the_order_does_not_settle_who_earned_it(shops: Any) -> None:
    clock = await clocked(shops)
    async with clock.shop.visitor() as visitor:
        await visitor.get("/?ref=stuffed", headers=ELSEWHERE)
        clock.now += DAY
        await clock.sees(visitor, "/tea", "view-0001")
        await clock.buys(visitor)
    await clock.shop.report()
    assert await clock.doubts() == ["unseen"]


@pytest.mark.parametrize("again", ["at once", "on another page", "by the same link a day later"])
async def test_a_click_that_was_seen_is_due(shops: Any, again: str) -> None:
    clock = await clocked(shops)
    async with clock.shop.visitor() as visitor:
        await visitor.get("/?ref=c1", headers=ELSEWHERE)
        if again == "at once":
            await clock.sees(visitor, "/?ref=c1", "view-0001")
        elif again == "on another page":
            clock.now += 600
            await clock.sees(visitor, "/tea", "view-0001")
        clock.now += DAY
        if again == "by the same link a day later":
            await visitor.get("/?ref=c1", headers=ELSEWHERE)
            await clock.sees(visitor, "/?ref=c1", "view-0001")
            clock.now += DAY
        await clock.sees(visitor, "/tea", "view-0002")
        await clock.buys(visitor)
    assert await clock.doubts() == []


async def test_the_cookie_knows_that_a_click_was_seen_when_the_store_is_lost(shops: Any) -> None:
    clock = await clocked(shops)
    async with clock.shop.visitor() as visitor:
        await visitor.get("/?ref=c1", headers=ELSEWHERE)
        await clock.sees(visitor, "/?ref=c1", "view-0001")
        clock.now += DAY
        file = clock.shop.clew.service.settings.store.removeprefix("sqlite:")
        with closing(sqlite3.connect(file)) as store, store:
            assert store.execute("DELETE FROM visits").rowcount == 1
        await clock.sees(visitor, "/tea", "view-0002")
        await clock.buys(visitor)
    assert await clock.doubts() == []


EMBEDDED = {"sec-fetch-site": "cross-site", "referer": "https://stuffer.example/"}


@pytest.mark.parametrize(
    "headers",
    [
        {**EMBEDDED, "sec-fetch-dest": "image", "accept": "image/avif,*/*"},
        {**EMBEDDED, "sec-fetch-dest": "iframe", "accept": "text/html"},
        {"referer": "http://stuffer.example/", "accept": "image/png,image/*;q=0.8,*/*;q=0.5"},
    ],
    ids=["image", "frame", "image without Fetch Metadata"],
)
async def test_a_link_that_is_loaded_in_secret_is_no_click_and_is_reported(
    shops: Any, headers: dict[str, str]
) -> None:
    clock = await clocked(shops)
    async with clock.shop.visitor() as visitor:
        found = await visitor.get("/?ref=stuffed", headers=headers)
        assert "set-cookie" not in found.headers
        await clock.sees(visitor, "/tea", "view-0001")
        await clock.buys(visitor)
    (order,) = await clock.shop.orders()
    assert order.partner is None
    notices = await clock.shop.notices()
    assert "earn nothing" in str(notices["clicks_unusual", "blog embedded"]["why"])


@pytest.mark.parametrize(
    ("agent", "earns"),
    [
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", False),
        ("Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0)", False),
        ("facebookexternalhit/1.1", False),
        ("WhatsApp/2.23.20.0", False),
        ("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", False),
        ("Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36 Chrome/120.0.0.0 Mobile", True),
        ("Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 Mobile/15E148 DuckDuckGo/7 Safari/605.1.15", True),
        ("Mozilla/5.0 AppleWebKit/537.36 (compatible; ChatGPT-User/1.0; +https://openai.com/bot)", True),
        (CHROME["user-agent"], True),
    ],
)
async def test_a_crawlers_click_cannot_earn(shops: Any, agent: str, earns: bool) -> None:
    clock = await clocked(shops, partners=[{**PARTNER, "inside_clicks": True}])
    async with clock.shop.visitor() as visitor:
        await visitor.get("/?ref=c1", headers={**ELSEWHERE, "user-agent": agent})
        await clock.buys(visitor)
    (order,) = await clock.shop.orders()
    assert order.partner == ("blog" if earns else None)
    if not earns:
        assert "its client calls itself a crawler" in str(order.reason)
        assert ("click_suspicious", "blog bot") in await clock.shop.notices()


async def test_a_programs_click_is_held_where_the_settings_say_so(shops: Any) -> None:
    for number, (rule, agent, expected) in enumerate(
        [
            ("hold", "Mozilla/5.0 HeadlessChrome/131.0.0.0 Safari/537.36", ["bot"]),
            ("hold", "python-requests/2.32", ["bot"]),
            ("hold", "", ["bot"]),
            ("hold", CHROME["user-agent"], []),
            ("note", "Mozilla/5.0 HeadlessChrome/131.0.0.0 Safari/537.36", []),
        ]
    ):
        clock = await clocked(shops, fraud={"automated": rule})
        async with clock.shop.visitor() as visitor:
            await visitor.get(f"/?ref=c{number}", headers={**CHROME, "user-agent": agent})
            await clock.buys(visitor)
        assert (await clock.doubts(), agent) == (expected, agent)


async def test_many_clicks_from_one_network_are_held_and_their_first_ones_are_not(shops: Any) -> None:
    clock = await clocked(shops, fraud={"network_clicks": 3})
    for number in range(5):
        async with clock.shop.visitor() as visitor:
            await visitor.get(f"/?ref=c{number}", headers=ELSEWHERE)
            # A reload is no further click.
            await visitor.get(f"/?ref=c{number}", headers=ELSEWHERE)
            await visitor.get("/checkout", headers=INSIDE)
            clock.shop.pages[f"/thank-you/{number}"] = ordered(str(number))
            await visitor.get(f"/thank-you/{number}", headers=ELSEWHERE)
    found = {order.order_id: [doubt.kind for doubt in order.doubts] for order in await clock.shop.orders()}
    assert found == {"0": [], "1": [], "2": [], "3": ["crowd"], "4": ["crowd"]}
    why = (await clock.shop.notices())["clicks_unusual", "blog crowd"]["why"]
    assert why == "more than 3 clicks came within an hour from one client network"


async def test_the_partners_own_network_and_its_own_address_are_held(shops: Any) -> None:
    clock = await clocked(shops, partners=[{**PARTNER, "own_networks": ["192.0.2.0/24"]}])
    async with clock.shop.landed() as visitor:
        await clock.buys(visitor)
    assert await clock.doubts() == ["self"]
    # The click came from elsewhere, and a later page from the partner's network.
    clock = await clocked(shops, partners=[{**PARTNER, "own_networks": ["198.51.100.7"]}])
    async with clock.shop.landed() as visitor:
        await clock.sees(visitor, "/?ref=c1", "view-0001")
        at_home = httpx2.ASGITransport(clock.shop.clew, client=("198.51.100.7", 1))
        async with httpx2.AsyncClient(
            transport=at_home, base_url="https://shop.example", cookies=visitor.cookies
        ) as same:
            await clock.sees(same, "/tea", "view-0002")
            await clock.buys(same)
    assert await clock.doubts() == ["self"]
    clock = await clocked(shops, partners=[{**PARTNER, "emails": ["Anna@partner.example"]}])
    async with clock.shop.landed() as visitor:
        await clock.buys(visitor)
    assert await clock.doubts() == []
    # The shop's server tells later who bought it.
    await clock.shop.report(email_hash=sha256(b"anna@partner.example").hexdigest())
    assert await clock.doubts() == ["self"]
    (row,) = await clock.shop.postbacks()
    assert (row.state, row.hold) == ("held", "self")


async def test_a_visitor_who_follows_one_link_again_and_again_is_held(shops: Any) -> None:
    clock = await clocked(shops)
    async with clock.shop.visitor() as visitor:
        for _ in range(12):
            await visitor.get("/?ref=anna", headers=ELSEWHERE)
            clock.now += 600
        await clock.buys(visitor)
    assert await clock.doubts() == ["self"]
    clock = await clocked(shops)
    async with clock.shop.visitor() as visitor:
        for _ in range(12):
            await visitor.get("/?ref=anna", headers={**ELSEWHERE, "cache-control": "max-age=0"})
        await clock.buys(visitor)
    assert await clock.doubts() == []


def test_clicks_from_one_network_count_over_all_processes() -> None:
    now = [0.0]
    here, there = (Limits(model.Limits(), Nobody(), lambda: now[0]) for _ in range(2))
    here.share()
    rate = Rate(3, 3600)
    assert [here.crowded("network", rate) for _ in range(5)] == [False] * 3 + [True] * 2
    assert not there.crowded("network", rate)
    there.learn(here.taken())
    assert there.crowded("network", rate)
    assert not there.crowded("another network", rate)
    now[0] += 1201
    assert [here.crowded("network", rate) for _ in range(2)] == [False, True]


class Nobody:
    """Nothing is refused here."""

    def limited(self, site: str, limit: str, scope: str, client: str) -> None:
        raise AssertionError


# -- in the ledger


async def test_too_many_orders_of_a_partner_are_held(
    tmp_path: Path, ledger_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paces, "WAIT_SECONDS", 20.0)
    shop = Reporting(tmp_path, reporting_site(fraud={"orders": 5, "factor": 2}), ledger_address)
    await shop.service.open()
    for day in range(10, 1, -1):
        shop.now = NOW - day * DAY
        await shop.bought(f"old{day}")
        await shop.report(told(id=f"old{day}"), visitor=f"old{day}")
    shop.now = NOW
    for number in range(8):
        await shop.bought(f"v{number}")
        shop.service.ledger.paces._kept.clear()
        await shop.report(told(id=str(number)), visitor=f"v{number}")
    held = {o.order_id: [d.kind for d in o.doubts] for o in await shop.service.ledger.orders.list("shop")}
    assert [held[str(number)] for number in range(8)] == [[]] * 6 + [["velocity"]] * 2
    order = await shop.service.ledger.orders.get("shop", "7")
    assert order is not None
    assert order.doubts[0].text == "blog: 7 orders within a day; its busiest day of the 28 before had 1"
    # What was found stays when it is reported again, and when its visitor is forgotten.
    shop.service.ledger.paces._kept.clear()
    await shop.service.visits.forget("shop", "v7")
    await shop.report(told(id="7", total=Decimal("90.00")), visitor=None)
    order = await shop.service.ledger.orders.get("shop", "7")
    assert order is not None
    assert [doubt.kind for doubt in order.doubts] == ["velocity"]
    await shop.service.close()


def told(**said: Any) -> OrderSeen:
    values: dict[str, Any] = {"total": Decimal("100.00"), "currency": "EUR", "state": "paid", **said}
    return OrderSeen(source="api", **values)


# -- the watch


def test_the_upper_end_is_that_of_wilson() -> None:
    """Both ends solve (p - found/of)² = z² p (1 - p) / of."""
    for found, of in ((0, 50), (4, 50), (30, 100), (50, 50)):
        p, part = most_likely(found, of), found / of
        assert (p - part) ** 2 == pytest.approx(2.5758**2 * p * (1 - p) / of)
        assert p >= part


@pytest.mark.parametrize(
    ("clicks", "shown", "said"), [(60, 0, 1), (200, 10, 1), (60, 40, 0), (40, 0, 0), (60, 8, 0)]
)
async def test_clicks_that_nobody_sees_are_reported_once_it_is_sure(
    tmp_path: Path, clicks: int, shown: int, said: int
) -> None:
    settings = {"secret": "s" * 40, "ledger": f"sqlite:{tmp_path / 'c.db'}", "sites": [{"name": "shop"}]}
    service = Service(Settings.model_validate(settings))
    now = [NOW]
    service.clock.now = lambda: now[0]  # type: ignore[method-assign]
    events: list[str] = []
    service.events.notice = lambda name, **fields: events.append(fields["key"])  # type: ignore[method-assign]
    watch = ClickWatch(service.events, service.clock)
    for number in range(clicks):
        watch.clicked("shop", "blog", shown=number < shown)
    assert events == []
    now[0] += 3600
    watch.clicked("shop", "blog", shown=True)
    assert events == ["blog unseen"] * said
