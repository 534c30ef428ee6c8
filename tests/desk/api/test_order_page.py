"""What a stranger's browser can tell of an order whose number it knows or guesses."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from desks import desk_server
from partner_desks import PARTNERS, order

ORDER = {"page": "/thanks", "id": "jsonld", "total": "jsonld", "currency": "jsonld"}
CODES = [{**PARTNERS[0], "codes": ["ANNA"]}, PARTNERS[1]]


@pytest.mark.parametrize("early", [True, False], ids=["before the order", "after it"])
async def test_a_strangers_coupon_and_date_move_no_commission(tmp_path: Path, early: bool) -> None:
    shop: dict[str, Any] = {"order": ORDER, "partners": CODES, "credit": {"coupon": "code_first"}}
    async with desk_server(tmp_path, more=shop) as desk, desk.visitor("e" * 26) as stranger:
        service = desk.service

        async def from_browser() -> bool:
            known = await service.ledger.histories.known("shop", ["1001"])
            return any(s.sighting.source == "browser" for one in known for s in one.sightings)

        async def tell() -> None:
            told = {"@type": "Order", "orderNumber": "1001", "price": "100.00", "priceCurrency": "EUR"}
            told |= {"discountCode": "ANNA", "orderDate": "2020-01-01"}
            body = {"url": "http://shop.test/thanks", "linked": [json.dumps(told)]}
            answer = await stranger.post("order-page", json=body)
            assert answer.status_code == 204
            async with asyncio.timeout(30):
                # It is read after the answer.
                while not await from_browser():  # noqa: ASYNC110 - looked at from outside, without an event of its own
                    await asyncio.sleep(0.01)

        if early:
            await tell()
        bought = await order(desk, "1001", partner="blog", state="paid", placed_at=None)
        if not early:
            await tell()
        found = await service.ledger.orders.get("shop", "1001")
        assert found is not None
        assert (found.partner, found.coupon, found.doubts) == ("blog", None, ())
        assert found.placed_at == bought.placed_at
