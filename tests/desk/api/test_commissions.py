"""Commissions for programs: read page by page, approved and declined by a token with that scope."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest_asyncio
from clew.orders.model import OrderSeen
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Shopped, Touched
from desks import VISITOR, DeskServer, desk_server

WRITER, READER = "writer-2xLrW7mZc4JpYb8Nf", "reader-6mZc4JpYb8NfHsD3gA"
TOKENS = [
    {"name": "writer", "token": WRITER, "scopes": ["commissions:write"]},
    {"name": "reader", "token": READER, "scopes": ["orders:read"]},
]


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path, more={"api_tokens": TOKENS}) as built:
        now = int(built.service.clock.now())
        touch = Touch(now - 3600, (Click("", "aff", "c1", "anna"),), {}, "", "/")
        await built.service.visits.change("shop", VISITOR, [Touched(touch), Shopped()], now)
        for number in ("1001", "1002", "1003"):
            seen = OrderSeen(number, Decimal("100.00"), "EUR", "api", state="paid")
            await built.service.ordering.record(built.service.sites["shop"], seen, visitor=VISITOR)
        yield built


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_a_program_approves_and_declines(desk: DeskServer) -> None:
    client = desk.client()
    body = {"verdict": "decline", "why": "bought for itself", "by": "ann"}
    address = "orders/1001/commission"
    assert (await client.post(address, json=body, headers=bearer(READER))).status_code == 403
    for changed in (["anna"], []):
        answer = await client.post(address, json=body, headers=bearer(WRITER))
        assert answer.status_code == 200, answer.text
        assert answer.json()["changed"] == changed
        assert answer.json()["commissions"][0]["state"] == "declined"
    wrong = {**body, "verdict": "perhaps"}
    assert (await client.post(address, json=wrong, headers=bearer(WRITER))).status_code == 422
    unknown = await client.post("orders/9/commission", json=body, headers=bearer(WRITER))
    assert unknown.status_code == 404


async def test_commissions_are_listed_page_by_page(desk: DeskServer) -> None:
    client, seen, cursor = desk.client(), list[str](), None
    for _ in range(3):
        query = {"limit": "1", "partner": "anna"} | ({} if cursor is None else {"cursor": cursor})
        answer = await client.get("commissions", params=query, headers=bearer(READER))
        assert answer.status_code == 200, answer.text
        (one,) = answer.json()["commissions"]
        seen.append(one["order"])
        assert (one["state"], one["value"]) == ("pending", "100.00")
        cursor = answer.json()["next"]
    assert (sorted(seen), cursor) == (["1001", "1002", "1003"], None)
    bad = await client.get("commissions", params={"cursor": "x"}, headers=bearer(READER))
    assert bad.status_code == 400


async def test_the_history_of_an_order_has_what_became_of_its_commission(desk: DeskServer) -> None:
    client = desk.client()
    body = {"verdict": "decline", "why": "bought for itself", "by": "ann"}
    await client.post("orders/1001/commission", json=body, headers=bearer(WRITER))
    answer = await client.get("orders/1001", headers=bearer(READER))
    assert answer.status_code == 200, answer.text
    steps = answer.json()["history"]
    assert {step["kind"] for step in steps} >= {"report", "credit", "commission"}
    assert any("declined" in step["text"] and "ann" in step["text"] for step in steps)


async def test_an_amended_commission_says_whether_it_is_approved(desk: DeskServer) -> None:
    client, site = desk.client(), desk.service.sites["shop"]
    for number in ("1001", "1002"):
        less = OrderSeen(number, Decimal("80.00"), "EUR", "api", state="paid")
        await desk.service.ordering.record(site, less, visitor=VISITOR)
    body = {"verdict": "approve", "why": "looked", "by": "ann"}
    for number in ("1001", "1003"):
        await client.post(f"orders/{number}/commission", json=body, headers=bearer(WRITER))
    answer = await client.get("commissions", headers=bearer(READER))
    found = {one["order"]: (one["state"], one["approved"]) for one in answer.json()["commissions"]}
    assert found == {"1001": ("amended", True), "1002": ("amended", False), "1003": ("approved", True)}
