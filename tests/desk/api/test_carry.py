"""clew's token reaches the shop's cart, and comes back with the order."""

import json
from pathlib import Path
from typing import Any

import pytest
from clew import templates
from clew.referral.carrier import Carrier
from desks import VISITOR, desk_server
from playwright.async_api import BrowserContext, Route

ASK = {"view": "view-number-1", "url": "http://shop.test/", "language": "de"}
CART = {"carry": {"cart": "shopify"}}


async def asked(folder: Path, settings: dict[str, Any], visitor: bool = True) -> dict[str, Any]:
    async with desk_server(folder, more=settings) as desk:
        client = desk.visitor() if visitor else desk.client()
        answer = await client.post("decide", json=ASK)
        found: dict[str, Any] = answer.json()
        if (carry := found.get("carry")) is not None:
            assert desk.service.sites["shop"].carrier.open(carry["token"]) == VISITOR
        return found


async def test_the_answer_has_the_token_only_where_the_site_wants_it(tmp_path: Path) -> None:
    assert (await asked(tmp_path, CART))["carry"]["cart"] == "shopify"
    assert "carry" not in await asked(tmp_path, {})
    assert "carry" not in await asked(tmp_path, CART, visitor=False)


async def test_who_has_not_agreed_gets_no_token_into_the_cart(tmp_path: Path) -> None:
    assert "carry" not in await asked(tmp_path, {**CART, "consent": {"mode": "ask"}})


async def test_the_shops_server_may_name_the_visitor_by_the_token(tmp_path: Path) -> None:
    async with desk_server(tmp_path) as desk:
        token = desk.service.sites["shop"].carrier.token(VISITOR)
        client = desk.client()
        client.headers["authorization"] = "Bearer s3cret-token-of-the-shop"
        order = {"id": "1001", "total": "59.90", "currency": "EUR", "visitor": token}
        assert (await client.post("orders", json=order)).status_code == 201
        found = await desk.service.ledger.orders.get("shop", "1001")
        assert found is not None
        assert found.visitor == VISITOR
        assert (await client.post("orders", json={**order, "visitor": token[:-2]})).status_code == 422


def test_a_token_has_only_what_every_shop_system_keeps() -> None:
    carrier = Carrier("s" * 40, [], "shop")
    token = carrier.token(VISITOR)
    assert token == carrier.token(VISITOR)
    assert len(token) <= 200
    assert token.replace("_", "").replace("-", "").isalnum()
    assert VISITOR not in token
    assert carrier.open(f"gift wrapped\nclew={token}\n") == VISITOR
    assert Carrier("n" * 40, ["s" * 40], "shop").open(token) == VISITOR
    assert carrier.open(token[:-3]) is None
    assert Carrier("s" * 40, [], "other").open(token) is None


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("before", [{}, {"clew": "clw1_old"}, {"clew": "clw1_new"}])
async def test_the_script_writes_the_cart_attribute_once(
    context: BrowserContext, before: dict[str, str]
) -> None:
    """https://shopify.dev/docs/api/ajax/reference/cart"""
    attributes, calls = dict(before), []

    async def shop(route: Route) -> None:
        path = route.request.url.removeprefix("http://shop.test/en")
        if path == "/k.js":
            script = templates.carry_script().body.decode()
            await route.fulfill(body=script, content_type="text/javascript")
        elif path == "/cart.js":
            await route.fulfill(json={"token": "c1", "attributes": attributes})
        elif path == "/cart/update.js":
            calls.append(path)
            attributes.update(json.loads(route.request.post_data or "{}")["attributes"])
            await route.fulfill(json={})
        else:
            await route.fulfill(body="<p>shop", content_type="text/html")

    page = await context.new_page()
    await page.route("**/*", shop)
    await page.goto("http://shop.test/en/")
    await page.evaluate("window.Shopify = { routes: { root: '/en/' } }")
    for _ in range(2):
        await page.evaluate("import('/en/k.js').then((k) => k.carry({ cart: 'shopify', token: 'clw1_new' }))")
    assert attributes == {"clew": "clw1_new"}
    assert len(calls) == (0 if before.get("clew") == "clw1_new" else 1)
