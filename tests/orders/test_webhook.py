"""What each shop system's webhook says of an order."""

import json
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from clew.orders.intake import json_object
from clew.orders.model import Item, OrderError, Refund, RefundItem
from clew.orders.sources_schema import SourcesError, read_sources, webhook_sources
from clew.orders.webhook import Understood, _time, understand
from hooks import (
    EMAIL_HASH,
    as_json,
    bigcommerce_event,
    bigcommerce_order,
    module_order,
    saleor_order,
    shopify_order,
    shopify_refund,
    shopware_order,
    stripe_event,
    stripe_session,
    woocommerce_order,
)
from hypothesis import given
from hypothesis import strategies as st

D = Decimal


def read(name: str, topic: str, body: Mapping[str, Any], **states: str) -> Understood | None:
    return understand(name, webhook_sources()[name], topic, json_object(as_json(body)), states)


def seen(name: str, topic: str, body: Mapping[str, Any], **states: str) -> Understood:
    found = read(name, topic, body, **states)
    assert found is not None
    return found


def placed(name: str) -> Understood:
    """The order 1001 as each system reports it."""
    event = bigcommerce_event()
    products = [
        {"sku": "MUG-1", "name": "Mug", "quantity": 2, "price_inc_tax": "57.05", "total_tax": "18.21"}
    ]
    of_bigcommerce = {"event": event, "order": bigcommerce_order(), "products": products, "coupons": None}
    bodies: dict[str, tuple[str, Mapping[str, Any]]] = {
        "shopify": ("orders/create", shopify_order()),
        "woocommerce": ("order.created", woocommerce_order()),
        "shopware": (
            "state_enter.order_transaction.state.paid",
            shopware_order("state_enter.order_transaction.state.paid"),
        ),
        "bigcommerce": ("store/order/created", {**of_bigcommerce, "refunds": None}),
        "stripe": (
            "checkout.session.completed",
            stripe_event("checkout.session.completed", stripe_session()),
        ),
        "saleor": ("order_created", saleor_order()),
        "opencart": ("", module_order()),
        "prestashop": ("", module_order()),
        "magento": ("", module_order()),
    }
    return seen(name, *bodies[name])


@pytest.mark.parametrize("name", sorted(webhook_sources()))
def test_number_total_tax_shipping_state_and_email_are_read(name: str) -> None:
    order = placed(name).order
    assert (order.id, order.total, order.currency, order.state) == ("1001", D("119.00"), "EUR", "paid")
    assert (order.tax, order.shipping, order.email_hash) == (D("19.00"), D("4.90"), EMAIL_HASH)
    assert order.source == "webhook"
    assert order.as_of is not None
    assert 1_795_760_000 < order.as_of < 1_795_780_000


@pytest.mark.parametrize("name", ["shopify", "woocommerce", "shopware", "bigcommerce", "stripe"])
def test_the_discount_is_read_without_its_sign(name: str) -> None:
    assert placed(name).order.discount == D("10.00")


def test_items_and_coupon_of_shopify() -> None:
    order = placed("shopify").order
    assert order.coupon == "TENOFF"
    assert order.items == (
        Item(id="MUG-1", name="Mug", quantity=D(2), price=D("39.55"), discount=D("10.00"), tax=D("12.00")),
        Item(id="632910393", name="Tea", quantity=D(1), price=D("45.00"), tax=D("7.00")),
    )
    assert order.further == ("shopify:820982911946154508", "XPAV284CT")


def test_items_of_woocommerce_get_price_and_discount_from_their_sums() -> None:
    (item,) = placed("woocommerce").order.items or ()
    assert (item.price, item.discount, item.tax) == (D("33.235"), D("10.00"), D("10.73"))


def test_a_refund_by_item_of_shopify_counts_what_went_back() -> None:
    order = seen("shopify", "refunds/create", shopify_refund()).order
    tea = RefundItem("632910393", D(1), D("45.00"))
    assert (order.id, order.further) == (None, ("shopify:820982911946154508",))
    assert order.refunds == (Refund("509562969", D("45.00"), (tea,)),)
    assert order.state is None


def test_the_order_of_shopify_names_the_same_refund() -> None:
    body = shopify_order(financial_status="partially_refunded", refunds=[shopify_refund()])
    order = seen("shopify", "orders/updated", body).order
    assert [(r.id, r.amount) for r in order.refunds] == [("509562969", D("45.00"))]


def test_what_was_only_put_back_into_stock_is_no_refund() -> None:
    body = shopify_order(refunds=[{**shopify_refund(), "transactions": []}])
    assert seen("shopify", "orders/updated", body).order.refunds == ()


def test_refunds_of_woocommerce_have_a_minus() -> None:
    body = woocommerce_order(refunds=[{"id": 72, "reason": "", "total": "-20.00"}])
    assert seen("woocommerce", "order.updated", body).order.refunds == (Refund("72", D("20.00")),)


@pytest.mark.parametrize(
    ("name", "topic", "body", "state"),
    [
        ("shopify", "orders/cancelled", shopify_order(cancelled_at="2026-11-28T10:00:00Z"), "cancelled"),
        ("shopify", "orders/create", shopify_order(test=True), "test"),
        ("shopify", "orders/create", shopify_order(financial_status="pending"), "placed"),
        ("woocommerce", "order.updated", woocommerce_order(status="cancelled"), "cancelled"),
        ("woocommerce", "order.created", woocommerce_order(status="pending"), "seen"),
        ("woocommerce", "order.updated", woocommerce_order(status="failed"), "held"),
        ("woocommerce", "order.deleted", {"id": 727}, "cancelled"),
        (
            "shopware",
            "state_enter.order.state.cancelled",
            shopware_order("state_enter.order.state.cancelled"),
            "cancelled",
        ),
        (
            "stripe",
            "checkout.session.completed",
            stripe_event("checkout.session.completed", stripe_session()) | {"livemode": False},
            "test",
        ),
        (
            "stripe",
            "charge.dispute.created",
            stripe_event("charge.dispute.created", {"payment_intent": "pi_3OqX", "status": "needs_response"}),
            "charged_back",
        ),
        (
            "shopify",
            "disputes/update",
            {"order_id": 1, "type": "chargeback", "status": "lost", "finalized_on": "2026-12-01T00:00:00Z"},
            "charged_back",
        ),
        ("saleor", "order_cancelled", saleor_order(status="CANCELED"), "cancelled"),
    ],
)
def test_states(name: str, topic: str, body: dict[str, Any], state: str) -> None:
    assert seen(name, topic, body).order.state == state


def test_an_unknown_word_for_a_state_says_nothing_and_is_named() -> None:
    found = seen("woocommerce", "order.updated", woocommerce_order(status="shipped"))
    assert (found.order.state, found.unknown_state) == (None, "shipped")
    found = seen("woocommerce", "order.updated", woocommerce_order(status="shipped"), shipped="paid")
    assert (found.order.state, found.unknown_state) == ("paid", None)


@pytest.mark.parametrize(
    ("currency", "minor", "total"),
    [
        ("eur", 11900, "119.00"),
        ("jpy", 7200, "7200"),
        ("kwd", 11900, "11.900"),
        ("isk", 590000, "5900"),
        ("mga", 5000, "5000.00"),
    ],
)
def test_minor_units_of_stripe(currency: str, minor: int, total: str) -> None:
    """https://docs.stripe.com/currencies#zero-decimal"""
    details = {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0}
    session = stripe_session(currency=currency, amount_total=minor, total_details=details)
    order = seen(
        "stripe", "checkout.session.completed", stripe_event("checkout.session.completed", session)
    ).order
    assert str(order.total) == total


def test_stripe_names_the_payment_by_which_refunds_and_disputes_come() -> None:
    order = placed("stripe").order
    assert order.further == ("stripe:cs_live_a1b2c3", "pi_3OqX")
    charge = {
        "id": "ch_1",
        "payment_intent": "pi_3OqX",
        "currency": "eur",
        "amount_refunded": 2000,
        "metadata": {},
    }
    refund = seen("stripe", "charge.refunded", stripe_event("charge.refunded", charge)).order
    assert (refund.further, refund.refunds) == (("pi_3OqX",), (Refund("ch_1", D("20.00")),))


def test_the_renewal_of_a_subscription_is_an_order_of_its_own() -> None:
    invoice = {
        "id": "in_2",
        "billing_reason": "subscription_cycle",
        "total": 1900,
        "currency": "eur",
        "created": 1795770000,
        "customer_email": "a@b.example",
        "subscription_details": {"metadata": {"clew": "clw1_x"}},
        "lines": {"data": [{"id": "il_1", "description": "Plan", "quantity": 1, "amount": 1900}]},
    }
    found = seen("stripe", "invoice.paid", stripe_event("invoice.paid", invoice))
    assert (found.order.id, found.order.recurring, found.carrier) == ("in_2", True, "clw1_x")
    first = {**invoice, "billing_reason": "subscription_create"}
    assert read("stripe", "invoice.paid", stripe_event("invoice.paid", first)) is None
    meta = [{"key": "_subscription_renewal", "value": "700"}]
    assert seen("woocommerce", "order.created", woocommerce_order(meta_data=meta)).order.recurring


def test_the_carrier_and_the_landing_page_are_read() -> None:
    assert placed("shopify").landing == "/collections/mugs?ref=c7&utm_source=blog"
    assert placed("woocommerce").landing == "https://shop.test/mugs?ref=c7&utm_source=blog"
    note = [{"name": "clew", "value": "clw1_abc"}]
    assert seen("shopify", "orders/create", shopify_order(note_attributes=note)).carrier == "clw1_abc"
    meta = [{"key": "_clew", "value": "clw1_abc"}]
    assert seen("woocommerce", "order.created", woocommerce_order(meta_data=meta)).carrier == "clw1_abc"
    shopware = shopware_order(customFields={"clew": "clw1_abc"})
    assert seen("shopware", "checkout.order.placed", shopware).carrier == "clw1_abc"
    session = stripe_event("checkout.session.completed", stripe_session(client_reference_id="clw1_abc"))
    assert seen("stripe", "checkout.session.completed", session).carrier == "clw1_abc"
    assert seen("saleor", "order_created", saleor_order(clew="clw1_abc")).carrier == "clw1_abc"
    assert seen("opencart", "", module_order(visitor="clw1_abc")).carrier == "clw1_abc"
    body = {"event": {}, "order": bigcommerce_order(staff_notes="gift\nclew=clw1_abc")}
    assert "clw1_abc" in (seen("bigcommerce", "store/order/created", body).carrier or "")


def test_a_long_or_odd_name_of_an_item_loses_no_order() -> None:
    item = {"sku": "S\u0000KU", "name": "x" * 900, "quantity": 1, "price": "1.00"}
    order = seen("shopify", "orders/create", shopify_order(line_items=[item])).order
    assert [(i.id, len(i.name)) for i in order.items or ()] == [("S KU", 200)]


def test_more_items_than_are_kept_are_none_instead_of_some() -> None:
    items = [{"sku": str(n), "name": "n", "quantity": 1, "price": "1.00"} for n in range(201)]
    assert seen("shopify", "orders/create", shopify_order(line_items=items)).order.items is None


@pytest.mark.parametrize("total", ["abc", "NaN", "1e99", "-5.00", "--1"])
def test_an_amount_that_is_none_is_refused_by_name(total: str) -> None:
    with pytest.raises(OrderError, match="total"):
        read("shopify", "orders/create", shopify_order(total_price=total))


@given(
    name=st.sampled_from(sorted(webhook_sources())),
    cut=st.randoms(use_true_random=False),
    odd=st.sampled_from([None, "", "x", 0, -1, 1e300, [], {}, [None], [{}], True, {"amount": []}]),
)
def test_a_body_with_any_field_changed_is_read_or_refused(name: str, cut: Any, odd: object) -> None:
    bodies: dict[str, tuple[str, Any]] = {
        "shopify": ("orders/create", shopify_order(refunds=[shopify_refund()])),
        "woocommerce": ("order.created", woocommerce_order(refunds=[{"id": 1, "total": "-1"}])),
        "shopware": ("checkout.order.placed", shopware_order()),
        "bigcommerce": ("store/order/created", {"order": bigcommerce_order(), "products": [{"sku": "a"}]}),
        "stripe": (
            "checkout.session.completed",
            stripe_event("checkout.session.completed", stripe_session()),
        ),
        "saleor": ("order_created", saleor_order()),
    }
    topic, body = bodies.get(name, ("", module_order()))
    _change(body, cut, odd)
    with suppress(OrderError):
        read(name, topic, body)


def _change(value: Any, cut: Any, odd: object) -> None:
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = cut.choice(keys)
        if not isinstance(value[key], dict | list) or cut.random() < 0.3:
            value[key] = odd
            return
        value = value[key]


def test_every_entry_says_what_to_click_and_how_sure_it_is() -> None:
    for name, source in webhook_sources().items():
        assert any("{url}" in step for step in source.connect), name
        assert source.docs, name
        assert source.confidence == "verified" or source.title, name


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ('total = "a["', "JMESPath"),
        ('topic = "nowhere"', "header:NAME"),
        ('connect = ["{nothing}"]', "placeholder"),
        ('wrong = "x"', "Extra inputs"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_reason(line: str, error: str) -> None:
    good = {
        "title": '"T"',
        "docs": '["d"]',
        "confidence": '"likely"',
        "connect": '["{url}"]',
        "carrier": '"c"',
        "signature": '{ scheme = "hmac", header = "S", encoding = "hex" }',
    }
    key = line.partition(" =")[0]
    head = "\n".join(f"{k} = {v}" for k, v in good.items() if k != key)
    read_part = '[[x.reads]]\nnumber = "n"\ncurrency = "c"\n'
    text = f"[x]\n{head}\n" + (f"{read_part}{line}\n" if key == "total" else f"{line}\n{read_part}")
    with pytest.raises(SourcesError, match=error):
        read_sources(text)


def test_json_is_read_without_loss() -> None:
    text = json.dumps(saleor_order()).replace("119.0", "119.10000000000000001")
    found = understand("saleor", webhook_sources()["saleor"], "order_created", json_object(text.encode()))
    assert found is not None
    assert str(found.order.total) == "119.10"


@pytest.mark.parametrize("text", ["1 Jan 99999999999 00:00:00", "1 Jan 2020 00:00:00 +99999999999999"])
def test_a_time_that_no_calendar_has_is_refused_as_such(text: str) -> None:
    with pytest.raises(OrderError, match="a time"):
        _time(text)


@pytest.mark.parametrize("quantity", ["1E-999999", "1E+999999"])
def test_a_quantity_with_a_huge_exponent_is_no_number_of_pieces(quantity: str) -> None:
    item = {"name": "Mug", "quantity": quantity, "subtotal": "66.47", "total": "56.47"}
    with pytest.raises(OrderError, match="quantity"):
        read("woocommerce", "order.created", woocommerce_order(line_items=[item]))


def test_too_many_items_of_refunds_are_left_out_and_the_refunds_count() -> None:
    refund = shopify_refund()
    refund["refund_line_items"] *= 150
    refunds = [{**refund, "id": number} for number in range(3)]
    found = seen("shopify", "orders/updated", shopify_order(refunds=refunds)).order.refunds
    assert [(one.id, one.amount, one.items) for one in found] == [(str(n), D("45.00"), ()) for n in range(3)]
