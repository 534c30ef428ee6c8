"""Orders that a stranger's browser makes up are in no figure, until somebody confirms them."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from clew.referral.cookie import Known
from clew.referral.touches import Click, Touch
from clew.stores.ledger.totals import FRESH
from desks import DeskServer, desk_server
from partner_desks import PARTNERS, by_link, order, text_of

TERMS = [{"name": "all", "percent": "10"}]
ORDER = {"page": "/thanks", "id": "jsonld", "total": "jsonld", "currency": "jsonld"}


def stranger(desk: DeskServer, *clicks: Click) -> httpx2.AsyncClient:
    touches = (Touch(int(time.time()) - 3600, clicks, {}, "", "/"),) if clicks else ()
    known = Known("f" * 26, touches, int(time.time()))
    line = desk.service.sites["shop"].cookie.set_cookie(known, secure=False).decode("ascii")
    client = desk.client()
    client.headers["cookie"] = line.partition(";")[0]
    return client


async def tell(desk: DeskServer, browser: httpx2.AsyncClient, number: str) -> None:
    told = {"@type": "Order", "orderNumber": number, "price": "900000.00", "priceCurrency": "EUR"}
    body = {"url": "http://shop.test/thanks", "linked": [json.dumps(told)]}
    assert (await browser.post("order-page", json=body)).status_code == 204
    async with asyncio.timeout(30):
        while await desk.service.ledger.orders.get("shop", number) is None:  # noqa: ASYNC110 - read after the answer
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("clicks", [(), (Click("", "aff", "x", "anna"),)], ids=["of nobody", "of a partner"])
async def test_made_up_orders_are_in_no_figure_until_the_shop_confirms_them(
    tmp_path: Path, clicks: tuple[Click, ...]
) -> None:
    shop: dict[str, Any] = {"partners": [{**one, "terms": TERMS} for one in PARTNERS], "order": ORDER}
    async with desk_server(tmp_path, more=shop) as desk:
        await order(desk, "1001", partner="anna")
        await tell(desk, stranger(desk, *clicks), "9001")
        owner, partner = await desk.agent(), await by_link(desk)

        async def shown() -> tuple[bool, bool]:
            revenue = text_of(await owner.get("desk/revenue"))
            own = text_of(await partner.get("desk/partner/"))
            return "900100.00" in revenue, "900,100.00" in own

        assert await shown() == (False, False)
        assert "100.00" in text_of(await owner.get("desk/revenue"))
        desk.clock.ahead += 2 * FRESH
        await order(desk, "9001", "900000.00", partner="anna")
        assert await shown() == (True, True)
