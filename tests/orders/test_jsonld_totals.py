"""What an order in JSON-LD comes to: field A9."""

from decimal import Decimal
from typing import Any

import pytest
from clew.injector.linked import linked_data
from clew.orders.jsonld import linked_orders
from clew.orders.model import OrderError

EUR = {"priceCurrency": "EUR"}
TEN, FIVE = EUR | {"price": "10.00"}, EUR | {"price": "5.00"}
SHIPPING = {"@type": "DeliveryChargeSpecification", "price": "4.90", "priceCurrency": "EUR"}
WHOLE = {"@type": "PriceSpecification", "price": "64.80", "priceCurrency": "EUR"}


def total(**order: Any) -> str:
    (found,) = linked_orders([{"@type": "Order", "orderNumber": "1", **order}])
    assert found.currency == "EUR"
    return str(found.total)


@pytest.mark.parametrize(
    ("order", "amount"),
    [
        # field A9: quantities
        ({"acceptedOffer": [TEN | {"quantity": 3}, FIVE]}, "35.00"),
        ({"acceptedOffer": [TEN | {"quantity": "3"}, FIVE | {"quantity": 1}]}, "35.00"),
        ({"acceptedOffer": [TEN | {"eligibleQuantity": {"value": 3}}, FIVE]}, "35.00"),
        ({"acceptedOffer": [TEN | {"orderedItem": {"orderQuantity": 3}}, FIVE]}, "35.00"),
        ({"acceptedOffer": [TEN | {"itemOffered": {"orderQuantity": 3}}, FIVE]}, "35.00"),
        (
            {"acceptedOffer": [TEN, FIVE], "orderedItem": [{"orderQuantity": 3}, {"orderQuantity": 1}]},
            "35.00",
        ),
        ({"acceptedOffer": TEN, "orderedItem": {"orderQuantity": 3}}, "30.00"),
        (
            {
                "acceptedOffer": [TEN | {"itemOffered": {"sku": "a"}}, FIVE | {"itemOffered": {"sku": "b"}}],
                "orderedItem": [
                    {"orderQuantity": 1, "orderedItem": {"sku": "b"}},
                    {"orderQuantity": 3, "orderedItem": {"sku": "a"}},
                ],
            },
            "35.00",
        ),
        (
            {
                "orderedItem": [
                    TEN | {"orderQuantity": 3},
                    {"orderedItem": {"offers": FIVE}, "orderQuantity": 1},
                ]
            },
            "35.00",
        ),
        # field A9: the order's own total before any sum
        ({"totalPrice": "80.00", "acceptedOffer": [TEN], **EUR}, "80.00"),
        ({"totalPrice": {"value": 80, "currency": "EUR"}, "acceptedOffer": [TEN]}, "80"),
        ({"price": "80.00", "acceptedOffer": [TEN | {"quantity": 3}], **EUR}, "80.00"),
        ({"totalPrice": "80.00", "price": "75.00", **EUR}, "80.00"),
        ({"totalPaymentDue": EUR | {"price": "80.00"}, "acceptedOffer": [TEN]}, "80.00"),
        # field A9: several price specifications
        ({"priceSpecification": [SHIPPING, WHOLE]}, "64.80"),
        ({"priceSpecification": [WHOLE, SHIPPING]}, "64.80"),
        ({"priceSpecification": [EUR | {"price": "4.90", "name": "Versandkosten"}, WHOLE]}, "64.80"),
        ({"priceSpecification": [WHOLE, EUR | {"price": "9.90", "name": "VAT"}]}, "64.80"),
        (
            {
                "priceSpecification": [EUR | {"price": "4.90"}, EUR | {"price": "64.80"}],
                "acceptedOffer": EUR | {"price": "59.90"},
            },
            "64.80",
        ),
        ({"priceSpecification": [EUR | {"price": p} for p in ("59.90", "4.90", "64.80")]}, "64.80"),
        ({"priceSpecification": [WHOLE, WHOLE]}, "64.80"),
        # field A4
        ({"price": "1,299.00", **EUR}, "1299.00"),
        ({"price": "1.299,00", **EUR}, "1299.00"),
        ({"price": Decimal("59.900000000000006"), **EUR}, "59.900000000000006"),
    ],
)
def test_the_total_of_an_order(order: dict[str, Any], amount: str) -> None:
    assert total(**order) == amount


@pytest.mark.parametrize(
    "order",
    [
        {"acceptedOffer": [TEN, FIVE], "orderedItem": [{"orderQuantity": 3}]},
        {"acceptedOffer": [TEN | {"quantity": 0}]},
        {"acceptedOffer": [TEN | {"quantity": -3}]},
        {"acceptedOffer": [TEN | {"quantity": "three"}]},
        {"acceptedOffer": [TEN, FIVE], "discount": "3.00"},
        {"priceSpecification": [EUR | {"price": "4.90"}, EUR | {"price": "64.80"}]},
        {"priceSpecification": [SHIPPING]},
        {"price": "1.299", **EUR},
        {"price": Decimal("1.299"), **EUR},
        {"price": "-5.00", **EUR},
        {"price": "$59.90", **EUR},
        {"price": "1,250", "priceCurrency": "KWD"},
        {"price": "9" * 100_000, **EUR},
        {"price": "1e99", **EUR},
    ],
)
def test_an_order_with_two_readings_is_refused(order: dict[str, Any]) -> None:
    """field A9"""
    with pytest.raises(OrderError, match=r"^total: ") as refused:
        total(**order)
    assert len(str(refused.value)) < 300


def test_minor_digits_of_dinars_are_read_only_if_they_are_printed() -> None:
    """field A4"""
    for price, currency, amount in (("25,000", "IQD", "25000"), ("1.250", "KWD", "1.250")):
        order = {"@type": "Order", "orderNumber": "1", "price": price, "priceCurrency": currency}
        assert [str(found.total) for found in linked_orders([order])] == [amount]


def test_one_order_with_two_totals_is_refused() -> None:
    order = {"@type": "Order", "orderNumber": "1", "price": "5", **EUR}
    with pytest.raises(OrderError, match="twice"):
        linked_orders([order, order | {"price": "6"}])


# field A10
BROKEN = [
    '{"@type":"Order","orderNumber":"1","price":1,299.00,"priceCurrency":"EUR"}',
    '{"@type":"Order","orderNumber":"1","price":1,299.00}',
    '{"@type":"Order","orderNumber":"1","price":"1299.00","priceCurrency":"EUR",}',
    '{"@type":"Order","orderNumber":"1","price":1299.00,"seller":{"name":"Joe\\\'s"}}',
    "{&quot;@type&quot;:&quot;Order&quot;,&quot;orderNumber&quot;:&quot;1&quot;,&quot;price&quot;:1299.00}",
    '{"@type":"Order",/* a comment */"orderNumber":"1",// another\n"price":1299.00}',
    '{"@type":"Order","orderNumber":"1","price":1299.00}}',
    '{"@type":"WebPage"}{"@type":"Order","orderNumber":"1","price":1299.00}',
    '{"@type":"WebPage"},\n{"@type":"Order","orderNumber":"1","price":1299.00}',
    '\ufeff{"@type":"Order","orderNumber":"1","price":1299.00}',
    "{“@type”:“Order”,“orderNumber”:“1”,“price”:1299.00}",
    '{“@type":“Order”,“orderNumber”:“1”,“price”:“1299.00”}',
    "{'@type':'Order','orderNumber':'1','price':'1299.00'}",
    '{@type:"Order",orderNumber:"1",price:1299.00}',
    '[{"@type":"Order","orderNumber":"1","price":1299.00,}],',
    '<!-- {"@type":"Order","orderNumber":"1","price":1299.00,} -->',
    '{"@type":"Order","orderNumber":"1","price":1299.00,"note":"two\nlines",}',
]


@pytest.mark.parametrize("script", BROKEN)
def test_broken_jsonld_with_one_reading_is_read(script: str) -> None:
    """field A10"""
    data = linked_data([script])
    assert data.problems == []
    (order,) = linked_orders(data.objects)
    assert (order.id, order.total) == ("1", Decimal("1299.00"))


UNREADABLE = [
    '{"@type":"Order","orderNumber":"1","price":1299.00',
    '{"@type":"Order" "orderNumber":"1"}',
    '{"@type":"Order","name":"5" pipe"}',
    '{"@type":"Order","price":}',
    '{"@type":"Order","price":undefined}',
    '{"@type":"Order","price":€5}',
    "}{",
    "not json at all",
    '{"a":' * 5000,
]


@pytest.mark.parametrize("script", UNREADABLE)
def test_jsonld_without_one_reading_is_ignored_with_a_reason(script: str) -> None:
    """field A10"""
    data = linked_data([script, '{"@type":"WebPage"}'])
    assert data.objects == [{"@type": "WebPage"}]
    assert len(data.problems) == 1
    assert data.problems[0].startswith("JSON-LD: ")
    assert len(data.problems[0]) < 250


def test_a_duplicate_key_is_refused() -> None:
    for twice in (
        '"price":1,"price":2',
        '"price":1,"price":2,',
        '"acceptedOffer":{"price":1},"acceptedOffer":{"price":2}',
    ):
        data = linked_data(['{"@type":"Order","orderNumber":"1",' + twice + "}"])
        with pytest.raises(OrderError, match="a key twice"):
            linked_orders(data.objects)
    same = linked_data(['{"@type":"Order","orderNumber":"1","price":1,"price":1}'])
    assert [order.total for order in linked_orders(same.objects)] == [1]
