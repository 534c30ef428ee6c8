"""From the invite to the report, through the whole mount: invited, talked, ordered, refunded."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from clew.middleware.asgi.mount import ClewMiddleware
from clew.orders.model import OrderSeen, Refund
from clew.service.rule_reports import Report
from clew.settings.model import Settings
from starlette.applications import Starlette

pytestmark = pytest.mark.slow
PARTNERS = [{"id": "blog", "param": "ref", "postback": "https://partner.test/?c={click_id}"}]
SITE = {
    "name": "shop",
    "rules": [{"name": "sizes", "action": "invite", "text": "Which size?"}],
    "invites": {"holdout": 0},
    "partners": PARTNERS,
    "credit": {"terms": [{"name": "all", "percent": 10}]},
    "hold": {"amounts": False},
}


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[ClewMiddleware]:
    database = f"sqlite:{folder / 'clew.db'}"
    stores = {"secret": "s" * 40, "store": database, "ledger": database}
    clew = ClewMiddleware(Starlette(), Settings.model_validate({**stores, "sites": [SITE]}))
    await clew.service.open()
    clew.startup.started = True
    try:
        yield clew
    finally:
        await clew.service.close()


def browser(clew: ClewMiddleware) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(clew, client=("192.0.2.7", 1))
    return httpx2.AsyncClient(transport=transport, base_url="https://shop.example/-/clew/")


def visitor_of(clew: ClewMiddleware, tab: httpx2.AsyncClient) -> str:
    known = clew.service.sites["shop"].cookie.open(tab.cookies["clew_visitor"])
    assert known is not None
    return known.visitor


async def ask(tab: httpx2.AsyncClient, view: str, url: str = "https://shop.example/mug") -> dict[str, Any]:
    answer = await tab.post("decide", json={"view": view, "url": url, "title": "Mug"})
    found = answer.json()
    assert isinstance(found, dict)
    return found


async def order(clew: ClewMiddleware, number: str, visitor: str | None, **more: Any) -> None:
    given = {"id": number, "total": Decimal(100), "currency": "EUR", "source": "api", **more}
    seen = OrderSeen(**given)
    await clew.service.ordering.record(clew.service.sites["shop"], seen, visitor=visitor)


async def report(clew: ClewMiddleware) -> Report:
    clew.service.ledger.rule_figures._kept._kept.clear()
    clew.service.ledger.totals._kept._kept.clear()
    await clew.service.exposures.write()
    return await clew.service.rule_reports.build(clew.service.sites["shop"], 4)


async def test_a_visitor_is_invited_talks_and_orders_and_the_report_shows_it_until_it_is_refunded(
    tmp_path: Path,
) -> None:
    """features B18, E13: under rule, text, partner and agent; a talk after a purchase stays apart."""
    async with running(tmp_path) as clew:
        books = clew.service.ledger.conversations
        async with browser(clew) as tab, browser(clew) as buyer:
            # By a partner's link to the shop, and then its pages.
            await ask(tab, "view-000001", "https://shop.example/mug?ref=click-1")
            assert (await ask(tab, "view-000002"))["invite"]["rule"] == "sizes"
            for kind in ("seen", "accepted"):
                assert (await tab.post("events", json={"kind": kind, "rule": "sizes"})).status_code == 204
            said = {"text": "M or L?", "client_id": "message-01", "rule": "sizes", "language": "en"}
            assert (await tab.post("messages", json=said)).status_code in (200, 201)
            visitor = visitor_of(clew, tab)
            talk = await books.own("shop", visitor)
            assert talk is not None
            answer = {"agent": "bo", "client_id": None, "now": clew.service.clock.now() + 20}
            await books.add_agent_message("shop", talk.id, "L", **answer)
            await order(clew, "1001", visitor)
            found = await report(clew)
            for lines, name in (
                (found.by_rule, "sizes"),
                (found.by_text, "sizes"),
                (found.by_partner, "blog"),
                (found.by_agent, "bo"),
            ):
                (line,) = [line for line in lines if line.name == name]
                assert (line.kpi.talks, line.kpi.ordered, line.kpi.revenue) == (1, 1, {"EUR": 100})
                assert line.kpi.commission == {"EUR": 10}
            refund = {"total": None, "state": None, "refunds": (Refund("r1", Decimal(40)),)}
            await order(clew, "1001", None, **refund)
            assert (await report(clew)).all.kpi.revenue == {"EUR": 60}
            # Another one buys first, and asks by an invite then.
            await ask(buyer, "view-000003")
            await ask(buyer, "view-000004")
            await order(clew, "1002", visitor_of(clew, buyer))
            assert (await buyer.post("messages", json={**said, "client_id": "message-02"})).status_code in (
                200,
                201,
            )
            found = await report(clew)
            (rule,) = found.by_rule
            assert (rule.kpi.talks, rule.kpi.post, rule.kpi.ordered) == (2, 1, 1)
            assert rule.kpi.revenue == {"EUR": 60}
