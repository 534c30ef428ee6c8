"""Webhooks beside pages and the API: one order, one sum, in whatever order and however often they come."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from bigcommerce import ORDER, REFUNDS, bigcommerce_api
from clew.orders.model import OrderSeen
from clew.orders.sources_schema import webhook_sources
from clew.referral.carrier import Carrier
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Shopped, Touched
from clew.stores.ledger import schema
from hooks import (
    SECRETS,
    Hook,
    as_json,
    bigcommerce_event,
    bigcommerce_order,
    module_order,
    saleor_order,
    shopify_order,
    shopify_refund,
    shopware_order,
    signed,
    stripe_event,
    stripe_session,
    woocommerce_order,
)
from reporting import NOW, Shop, site

D = Decimal
PLACED = 1_795_770_000.0  # 2026-11-27T09:00:00Z, when the order of the samples was placed
HOOKS = {name: {"secret": secret, "store": "abcde", "token": "t"} for name, secret in SECRETS.items()}


@pytest_asyncio.fixture
async def shop(tmp_path: Path, ledger_address: str) -> AsyncIterator[Shop]:
    built = Shop(tmp_path, site(webhooks=HOOKS), ledger_address)
    await built.service.open()
    yield built
    await built.service.close()


@pytest.fixture
def answers() -> dict[str, tuple[int, Any]]:
    """What the API of BigCommerce answers."""
    return {}


@pytest_asyncio.fixture
async def small_shop(tmp_path: Path, answers: dict[str, tuple[int, Any]]) -> AsyncIterator[Shop]:
    with bigcommerce_api(answers) as (address, _):
        hooks = {**HOOKS, "bigcommerce": {**HOOKS["bigcommerce"], "endpoint": address}}
        built = Shop(tmp_path, site(webhooks=hooks))
        await built.service.open()
        yield built
        await built.service.close()


async def bought(shop: Shop, click: str = "c1") -> None:
    """A visitor v1 came by a partner's link an hour before the samples' order, and was at the checkout."""
    touch = Touch(int(PLACED) - 3600, (Click("", "ref", click, "blog"),), {}, "", "/")
    await shop.service.visits.change("shop", "v1", [Touched(touch), Shopped()], PLACED - 60)


async def send(shop: Shop, hook: Hook) -> str:
    shop.now += 1
    at = shop.service.sites["shop"]
    headers = {name.lower(): value for name, value in hook.headers.items()}
    received = await shop.service.webhooks.receive(at, hook.source, headers, hook.body)
    assert received.status == 200, received
    return received.result


def shopify(token: str) -> list[Hook]:
    note = [{"name": "clew", "value": token}]
    later = {"updated_at": "2026-11-28T10:00:00+01:00", "financial_status": "partially_refunded"}
    return [
        signed(
            "shopify",
            as_json(shopify_order(note_attributes=note, financial_status="pending")),
            "orders/create",
        ),
        signed(
            "shopify",
            as_json(shopify_order(note_attributes=note, updated_at="2026-11-27T11:00:00+01:00")),
            "orders/paid",
        ),
        signed("shopify", as_json(shopify_refund(amount="30.00")), "refunds/create"),
        signed(
            "shopify",
            as_json(shopify_order(note_attributes=note, refunds=[shopify_refund(amount="30.00")], **later)),
            "orders/updated",
        ),
    ]


def woocommerce(token: str) -> list[Hook]:
    meta = [{"key": "_clew", "value": token}]
    refunds = [{"id": 72, "total": "-30.00"}]
    later = "2026-11-28T10:00:00"
    return [
        signed("woocommerce", as_json(woocommerce_order(meta_data=meta, status="pending")), "order.created"),
        signed(
            "woocommerce",
            as_json(woocommerce_order(meta_data=meta, date_modified_gmt="2026-11-27T10:00:00")),
            "order.updated",
        ),
        signed(
            "woocommerce",
            as_json(woocommerce_order(meta_data=meta, refunds=refunds, date_modified_gmt=later)),
            "order.updated",
        ),
    ]


def stripe(token: str) -> list[Hook]:
    session = stripe_session(client_reference_id=token)
    charge = {
        "id": "ch_1",
        "payment_intent": "pi_3OqX",
        "currency": "eur",
        "amount_refunded": 1000,
        "metadata": {},
    }
    more = {**charge, "amount_refunded": 3000}
    events = [
        stripe_event("checkout.session.completed", session),
        stripe_event("charge.refunded", charge, created=1795780000),
        stripe_event("charge.refunded", more, created=1795790000),
    ]
    return [signed("stripe", as_json(event)) for event in events]


def saleor(token: str) -> list[Hook]:
    refund = [{"id": "R1", "amount": {"amount": 30.0}, "lines": []}]
    later = "2026-11-28T10:00:00+00:00"
    return [
        signed("saleor", as_json(saleor_order(clew=token, chargeStatus="NONE")), "order_created"),
        signed(
            "saleor",
            as_json(saleor_order(clew=token, updatedAt="2026-11-27T10:00:00+00:00")),
            "order_fully_paid",
        ),
        signed(
            "saleor",
            as_json(saleor_order(clew=token, updatedAt=later, grantedRefunds=refund)),
            "order_refunded",
        ),
    ]


def module(name: str) -> Callable[[str], list[Hook]]:
    def hooks(token: str) -> list[Hook]:
        refunds = [{"id": "r1", "amount": "30.00", "items": [{"id": "MUG-1"}]}]
        later = "2026-11-28T10:00:00Z"
        bodies = [
            module_order(visitor=token, state="placed"),
            module_order(visitor=token, updated_at="2026-11-27T10:00:00Z"),
            module_order(visitor=token, refunds=refunds, updated_at=later),
        ]
        return [signed(name, as_json(body), now=NOW) for body in bodies]

    return hooks


def shopware(token: str) -> list[Hook]:
    fields = {"customFields": {"clew": token}}
    return [
        signed("shopware", as_json(shopware_order(**fields))),
        signed("shopware", as_json(shopware_order("state_enter.order_transaction.state.paid", **fields))),
    ]


def bigcommerce(token: str) -> list[Hook]:
    scopes = ("store/order/created", "store/order/updated", "store/order/refund/created")
    events = [{**bigcommerce_event(scope), "hash": scope} for scope in scopes]
    return [signed("bigcommerce", as_json(event), now=NOW) for event in events]


def bigcommerce_answers(token: str) -> list[dict[str, tuple[int, Any]]]:
    """What BigCommerce's API says of the order once each of these webhooks was sent."""
    note = f"as a gift\nclew={token}"
    refund = {
        "id": 72,
        "total_amount": 30.0,
        "items": [{"item_id": 7, "quantity": 1, "requested_amount": 30}],
    }
    new = bigcommerce_order(staff_notes=note, status_id=1)
    paid = bigcommerce_order(staff_notes=note, date_modified="Fri, 27 Nov 2026 10:00:00 +0000")
    later = bigcommerce_order(staff_notes=note, status_id=14, date_modified="Sat, 28 Nov 2026 10:00:00 +0000")
    return [
        {ORDER: (200, new)},
        {ORDER: (200, paid)},
        {ORDER: (200, later), REFUNDS: (200, {"data": [refund]})},
    ]


OF: dict[str, tuple[Callable[[str], list[Hook]], Decimal]] = {
    "shopify": (shopify, D("89.00")),
    "woocommerce": (woocommerce, D("89.00")),
    "stripe": (stripe, D("89.00")),
    "saleor": (saleor, D("89.00")),
    "opencart": (module("opencart"), D("89.00")),
    "prestashop": (module("prestashop"), D("89.00")),
    "magento": (module("magento"), D("89.00")),
    "shopware": (shopware, D("119.00")),
    "bigcommerce": (bigcommerce, D("89.00")),
}


def test_each_shop_system_has_its_storm() -> None:
    assert OF.keys() == webhook_sources().keys()


@pytest.mark.parametrize("name", sorted(OF))
async def test_each_webhook_a_hundred_times_among_pages_and_the_api_is_one_order_and_one_sum(
    small_shop: Shop, answers: dict[str, tuple[int, Any]], name: str
) -> None:
    """issue "Duplicate storms" """
    shop = small_shop
    await bought(shop)
    hooks, left = OF[name]
    token = shop.service.sites["shop"].carrier.token("v1")
    sent, known = hooks(token), bigcommerce_answers(token)
    last = 0

    async def arrive(one: int | OrderSeen) -> None:
        nonlocal last
        if isinstance(one, OrderSeen):
            await shop.record(one, "v1" if one.source == "page" else None)
            return
        # BigCommerce's webhooks only name the order; what its API answers is at least as new as they are.
        last = max(last, one)
        answers.update(known[min(last, len(known) - 1)])
        await send(shop, sent[one])

    page = OrderSeen("1001", D("119.00"), "EUR", "page")
    api = OrderSeen("1001", D("119.00"), "EUR", "api", state=None)
    arrivals = [*range(len(sent))] * 100 + [page, api] * 20
    chance = random.Random(name)
    chance.shuffle(arrivals)
    while arrivals:
        together = chance.randrange(1, 6)
        await asyncio.gather(*map(arrive, arrivals[:together]))
        del arrivals[:together]
        if chance.random() < 0.3:
            await shop.deliver()
    await shop.deliver()
    orders = [row for row in await shop.rows(schema.orders) if row["merged_into"] is None]
    assert [(row["order_id"], row["total"], row["visitor"]) for row in orders] == [("1001", "119.00", "v1")]
    assert orders[0]["state"] == ("paid" if left == D(119) else "part_refunded")
    assert shop.sums == {"1001": left}


async def test_the_token_names_the_visitor_and_its_partner_earns(shop: Shop) -> None:
    await bought(shop)
    token = shop.service.sites["shop"].carrier.token("v1")
    await send(shop, shopify(token)[1])
    await shop.deliver()
    assert shop.calls == [("order", "1001", "119.00")]


async def test_without_a_token_the_landing_page_that_shopify_keeps_is_the_click(shop: Shop) -> None:
    await send(shop, signed("shopify", as_json(shopify_order()), "orders/paid"))
    await shop.deliver()
    assert shop.calls == [("order", "1001", "119.00")]
    ((click, at),) = [(row["click"], row["touched_at"]) for row in await shop.rows(schema.shares)]
    assert click[1:3] == ["ref", "c7"]
    assert at is not None


async def test_what_clew_saw_counts_more_than_the_landing_page_of_the_shop(shop: Shop) -> None:
    await bought(shop, click="own")
    await shop.report(OrderSeen("1001", D("119.00"), "EUR", "page"), "v1")
    await send(shop, signed("shopify", as_json(shopify_order()), "orders/paid"))
    (share,) = (await shop.rows(schema.shares))[-1:]
    assert share["click"][2] == "own"


async def test_a_token_of_another_site_names_nobody(shop: Shop) -> None:
    await bought(shop)
    foreign = Carrier("s" * 40, [], "other").token("v1")
    body = shopify_order(note_attributes=[{"name": "clew", "value": foreign}], landing_site=None)
    await send(shop, signed("shopify", as_json(body), "orders/paid"))
    await shop.deliver()
    assert shop.calls == []


async def test_a_chargeback_takes_the_credit_back(shop: Shop) -> None:
    await bought(shop)
    token = shop.service.sites["shop"].carrier.token("v1")
    for hook in stripe(token)[:1]:
        await send(shop, hook)
    await shop.deliver()
    dispute = {"payment_intent": "pi_3OqX", "charge": "ch_1", "status": "needs_response"}
    event = stripe_event("charge.dispute.created", dispute, created=1795790000)
    await send(shop, signed("stripe", as_json(event)))
    await shop.deliver()
    assert shop.calls == [("order", "1001", "119.00"), ("cancel", "1001", "0.00")]


async def test_a_refund_of_everything_leaves_nothing(shop: Shop) -> None:
    await bought(shop)
    token = shop.service.sites["shop"].carrier.token("v1")
    await send(shop, shopify(token)[1])
    await shop.deliver()
    await send(shop, signed("shopify", as_json(shopify_refund(amount="119.00")), "refunds/create"))
    await shop.deliver()
    assert shop.sums == {"1001": D(0)}


async def test_a_test_order_is_told_to_nobody(shop: Shop) -> None:
    await bought(shop)
    note = [{"name": "clew", "value": shop.service.sites["shop"].carrier.token("v1")}]
    body = as_json(shopify_order(note_attributes=note, test=True))
    await send(shop, signed("shopify", body, "orders/paid"))
    await shop.deliver()
    assert shop.calls == []


async def test_an_exchange_for_something_dearer_changes_the_amount(shop: Shop) -> None:
    await bought(shop)
    token = shop.service.sites["shop"].carrier.token("v1")
    await send(shop, shopify(token)[1])
    await shop.deliver()
    note = [{"name": "clew", "value": token}]
    body = shopify_order(note_attributes=note, total_price="139.00", updated_at="2026-11-29T10:00:00+01:00")
    await send(shop, signed("shopify", as_json(body), "orders/updated"))
    await shop.deliver()
    assert shop.calls == [("order", "1001", "119.00"), ("adjust", "1001", "139.00")]


async def test_a_renewal_is_marked_for_the_terms(shop: Shop) -> None:
    meta = [{"key": "_subscription_renewal", "value": "700"}]
    await send(shop, signed("woocommerce", as_json(woocommerce_order(meta_data=meta)), "order.created"))
    (order,) = await shop.rows(schema.orders)
    assert order["details"]["recurring"] is True


async def test_refunds_are_kept_with_their_items(shop: Shop) -> None:
    await send(shop, signed("shopify", as_json(shopify_refund()), "refunds/create"))
    await send(shop, signed("shopify", as_json(shopify_order()), "orders/create"))
    (order,) = await shop.rows(schema.orders)
    items = [{"id": "632910393", "quantity": "1", "amount": "45.00"}]
    assert order["details"]["refunds"] == [{"id": "509562969", "amount": "45.00", "items": items}]
    assert order["order_id"] == "1001"


async def test_forgetting_the_buyer_takes_the_landing_page_out_and_keeps_the_credit(shop: Shop) -> None:
    await send(shop, signed("shopify", as_json(shopify_order()), "orders/paid"))
    (sighting,) = await shop.rows(schema.sightings)
    assert "c7" in str(sighting["said"])
    await shop.service.forgetter.forget("shop", email=sighting["said"]["email_hash"])
    (sighting,) = await shop.rows(schema.sightings)
    assert "c7" not in str(sighting["said"])
    later = shopify_order(total_price="129.00", updated_at="2026-11-29T10:00:00+01:00", landing_site=None)
    await send(shop, signed("shopify", as_json(later), "orders/updated"))
    (order,) = await shop.rows(schema.orders)
    assert order["total"] == "129.00"
    last = max(row["decision"] for row in await shop.rows(schema.shares))
    assert last == order["decision"]
