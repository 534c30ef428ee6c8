"""No fact is found that no rule asks for: counted over a visit with something for each of them."""

import asyncio
import sqlite3
import tomllib
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from clew.middleware.proxy.mount import ReverseProxy
from clew.service import devices
from clew.service.calendars import Holidays
from clew.service.fact_calls import FactCalls
from clew.service.ordering.reading import PageReader
from clew.service.places import Places
from clew.settings.model import Settings
from clew.stores.ledger.inbox import Inbox
from clew.stores.ledger.orders import Orders
from clew.stores.visits_sqlite import SqliteVisits
from fact_cases import Case, ways
from fact_own import OWN
from fact_shops import shop_answer
from raw_http import serving
from shoppers import Shop, Shopper

FREE = (
    *("visit.pages > 90", "page.title == 'x'", "page.times > 90", "chat.talked && visit.pages > 90"),
    *("custom.helped > 90", "custom.member && visit.pages > 90", "events.slow_page > 90"),
    *("clock.hour > 22 && visit.pages > 90", "device.type == 'tablet'", "place.ip == 'x'"),
    *("agents.online > 90", "invite.ignores > 90", "partner.id == 'x'", "checkout.furthest > 90"),
)
"""What is known anyway."""
LINES: dict[tuple[str, ...], set[str]] = {
    FREE: set(),
    ("visit.landing == '/x'",): {"memory"},
    ("visit.landing_query.offer == 'x'",): {"memory"},
    ("product.price > 9000.0",): {"page", "memory"},
    ("order.count > 90",): {"orders"},
    ("order.placed && visit.pages > 90",): {"orders"},
    ("chat.count > 90",): {"talks"},
    ("custom.points > 90",): {"call"},
    ("customer.group == 'x'",): {"page", "memory"},
    ("custom.shipping > 90.0",): {"page", "memory"},
    ("events.search > 90",): {"memory"},
    ("events.login_failed_10m > 90",): {"page", "memory"},
    ("score.points > 90.0",): {"memory"},
    ("clock.holiday && visit.pages > 90",): {"calendar"},
    ("device.browser == 'Opera'",): {"agent"},
    ("place.city == 'x'",): {"place"},
    ("place.country == 'x'",): {"country", "place"},
}
"""What lines need beside what each visit writes."""

EVERYTHING = """
[sites.score.points]
search = 10

[sites.calendar]
country = "FI"
"""


def visit(visitor: Shopper) -> None:
    """Sees something of everything."""
    for path in ("/?offer=1", "/mill/linked", "/find?q=mill", "/dealer", "/missing", "/cart?has=1"):
        visitor.see(path)
    visitor.post("/login", password="wrong")
    visitor.fetch("/cart/add/1")
    visitor.see("/checkout/payment")
    visitor.see("/thanks?order=1001")
    visitor.say("Which one is quiet?")
    visitor.see("/help/1")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often something was looked for."""
    counted: Counter[str] = Counter()

    def count(owner: Any, name: str, what: str, wanted: Callable[..., bool] = lambda *_: True) -> None:
        before = getattr(owner, name)

        def counting(*given: Any, **more: Any) -> Any:
            counted[what] += wanted(*given)
            return before(*given, **more)

        monkeypatch.setattr(owner, name, counting)

    # The page that shows an order is read for the order.
    count(PageReader, "read", "page", lambda reader, site, page, *_: not page.order)
    count(SqliteVisits, "put_page", "product")
    count(Orders, "of_visitor", "orders")
    count(Inbox, "of_visitor", "talks")
    count(FactCalls, "_call", "call")
    count(Holidays, "has", "calendar")
    count(Places, "at", "place")
    count(Places, "country", "country")
    count(devices, "browser", "agent")
    return counted


@pytest.mark.parametrize(("lines", "needed"), LINES.items(), ids=[lines[0] for lines in LINES])
async def test_only_what_a_rule_asks_for_is_found(
    lines: tuple[str, ...], needed: set[str], found: Counter[str], tmp_path: Path
) -> None:
    shop = Shop(shop_answer)
    case = Case("shop", ("true",), ways("/"), tables=OWN + EVERYTHING)
    site = tomllib.loads(case.site(shop.address))["sites"][0]
    # All of them are evaluated, since none is true.
    site["rules"][0]["when"] = [{"any": list(lines)}]
    # The cart and the first name are for agents and invites too, and all facts for the sample of page views.
    del site["cart"], site["facts"]["customer.first_name"]
    site["traffic"] = {"share": 0}
    database = f"sqlite:{tmp_path / 'clew.db'}"
    given = {"secret": "k" * 40, "store": database, "ledger": database, "sites": [site]}
    proxy = ReverseProxy(Settings.model_validate(given))
    async with serving(proxy, lifespan="on") as port:
        with httpx2.Client(timeout=60) as client:
            visitor = Shopper(f"http://127.0.0.1:{port}", "shop.test", client)
            await asyncio.to_thread(visit, visitor)
        while proxy.service.tasks._work:
            await asyncio.gather(*proxy.service.tasks._work)
        with closing(sqlite3.connect(tmp_path / "clew.db")) as connection:
            rows = connection.execute("SELECT visitor FROM visits WHERE visitor NOT LIKE '%!%'")
            ((one,),) = rows.fetchall()
        record = await proxy.service.visits.get("shop", one)
    shop.close()
    assert record is not None
    found["memory"] += record.memory is not None
    assert {what for what, times in found.items() if times} == needed
