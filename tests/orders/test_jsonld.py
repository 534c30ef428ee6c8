from decimal import Decimal
from typing import Any

import pytest
from clew.orders.jsonld import OBJECTS, LinkedOrder, linked_orders
from clew.orders.model import OrderError
from hypothesis import given
from hypothesis import strategies as st


def only(document: Any) -> LinkedOrder:
    (found,) = linked_orders([document])
    return found


@pytest.mark.parametrize(
    "total",
    [
        {"price": "59.90", "priceCurrency": "EUR"},
        {"price": Decimal("59.90"), "priceCurrency": "EUR"},
        {"price": 59.9, "priceCurrency": "eur"},
        {"price": "59,90", "priceCurrency": "EUR"},
        {"price": {"@type": "PriceSpecification", "price": "59.90", "priceCurrency": "EUR"}},
        {"priceSpecification": [{"price": "59.90", "priceCurrency": "EUR"}]},
        {"totalPaymentDue": {"@type": "MonetaryAmount", "value": "59.90", "currency": "EUR"}},
        {"totalPaymentDue": {"price": "59.90", "priceCurrency": "EUR"}},
        {"partOfInvoice": {"@type": "Invoice", "totalPaymentDue": {"price": 59.9, "priceCurrency": "EUR"}}},
        {"acceptedOffer": {"@type": "Offer", "price": "59.90", "priceCurrency": "EUR"}},
        {"acceptedOffer": [{"price": "29.95", "priceCurrency": "EUR", "eligibleQuantity": {"value": 2}}]},
        {"acceptedOffer": [{"price": "29.95"}, {"price": "29.95"}], "priceCurrency": "EUR"},
        {
            "totalPaymentDue": {"price": "0.00", "priceCurrency": "EUR"},
            "acceptedOffer": {"price": "59.90", "priceCurrency": "EUR"},
        },
    ],
)
def test_total_and_currency_are_found_in_every_shape_of_an_order(total: dict[str, Any]) -> None:
    order = only({"@type": "Order", "orderNumber": "1001", **total})
    assert (order.id, order.total, order.currency) == ("1001", Decimal("59.90"), "EUR")


@pytest.mark.parametrize(
    "document",
    [
        {"@graph": [{"@type": "WebPage"}, {"@type": "Order", "orderNumber": "7"}]},
        [{"@type": "WebPage"}, {"@type": ["Order", "Thing"], "orderNumber": 7}],
        {"@type": "http://schema.org/Order", "confirmationNumber": "7"},
        {"@type": "WebPage", "mainEntity": {"@type": "schema:Order", "orderNumber": {"@value": "7"}}},
    ],
)
def test_an_order_is_found_anywhere_in_the_document(document: Any) -> None:
    assert only(document).id == "7"


def test_the_order_number_takes_precedence_over_the_confirmation_number() -> None:
    assert only({"@type": "Order", "orderNumber": "A", "confirmationNumber": "B"}).id == "A"


def test_discount_code_is_the_coupon() -> None:
    assert only({"@type": "Order", "orderNumber": "A", "discountCode": "CHAT10"}).coupon == "CHAT10"


def test_one_order_written_twice_is_one_order() -> None:
    order = {"@type": "Order", "orderNumber": "A", "price": "5", "priceCurrency": "EUR"}
    assert len(linked_orders([order, {"@graph": [order]}])) == 1
    assert len(linked_orders([order, {**order, "orderNumber": "B"}])) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"price": "NaN", "priceCurrency": "EUR"},
        {"price": True, "priceCurrency": "EUR"},
        {"price": "1e99", "priceCurrency": "EUR"},
        {"price": ["59.90"], "priceCurrency": "EUR"},
        {"price": "from 5 to 9", "priceCurrency": "EUR"},
        {"price": "59.90", "priceCurrency": "€uro"},
        {
            "acceptedOffer": [
                {"price": "1", "priceCurrency": "EUR"},
                {"price": "1", "priceCurrency": "USD"},
            ]
        },
    ],
)
def test_the_error_names_an_invalid_total_or_currency(wrong: dict[str, Any]) -> None:
    with pytest.raises(OrderError, match=r"^(total|currency): "):
        linked_orders([{"@type": "Order", "orderNumber": "A", **wrong}])


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "@type",
                    "@graph",
                    "orderNumber",
                    "price",
                    "priceCurrency",
                    "acceptedOffer",
                    "totalPaymentDue",
                ]
            ),
            inner | st.just("Order"),
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_json_gives_orders_or_an_order_error(document: Any) -> None:
    try:
        orders = linked_orders([document])
    except OrderError:
        return
    assert all(o.total is None or o.total.is_finite() for o in orders)


def test_the_number_of_objects_read_is_limited() -> None:
    order = {"@type": "Order", "orderNumber": "A"}
    assert linked_orders([[{}] * OBJECTS, {"mainEntity": order}]) == ()
    assert len(linked_orders([[{}] * (OBJECTS // 2), {"mainEntity": order}])) == 1


def test_a_deep_document_does_not_overflow_the_stack() -> None:
    document: Any = {"@type": "Order", "orderNumber": "A"}
    for _ in range(1500):
        document = {"x": document}
    assert only(document).id == "A"
