import json
from decimal import Decimal
from typing import Any

import pytest
from clew.orders.model import Figure, OrderError, OrderSeen
from clew.settings.model import Order
from order_pages import read_order

SELECTORS = Order(page="/thanks", id="#order strong", total=".total", currency="EUR")
JSONLD = Order(page="/thanks")


def html(body: str, *linked: Any) -> bytes:
    scripts = "".join(f'<script type="application/ld+json">{json.dumps(x)}</script>' for x in linked)
    return f"<!doctype html><html><head>{scripts}</head><body>{body}</body></html>".encode()


THANKS = html(
    '<p id="order">Your order <strong> 100001\n</strong></p><p>Total: <b class=total>59,90\u00a0€</b></p>'
)
LINKED = {"@type": "Order", "orderNumber": "100001", "price": "59.90", "priceCurrency": "EUR"}


def test_an_order_is_read_by_selectors() -> None:
    assert read_order(THANKS, "utf-8", SELECTORS) == OrderSeen("100001", Decimal("59.90"), "EUR", "page")


def test_an_order_is_read_from_jsonld() -> None:
    page = html("<p>Thanks</p>", {"@graph": [{"@type": "WebPage"}, LINKED | {"discountCode": "CHAT10"}]})
    assert read_order(page, None, JSONLD) == OrderSeen(
        "100001", Decimal("59.90"), "EUR", "page", coupon="CHAT10"
    )


def test_an_order_is_read_from_a_woocommerce_page_with_a_sale_and_included_tax() -> None:
    """field A1"""

    def amount(number: str) -> str:
        return f'<span class="amount"><bdi><span>£</span>{number}</bdi></span>'

    page = html(
        f"<table><tr class=item><td><del aria-hidden=true>{amount('1,499.00')}</del> "
        "<span class=screen-reader-text>Original price was: £1,499.00.</span>"
        f"<ins aria-hidden=true>{amount('1,299.00')}</ins>"
        "<span class=screen-reader-text>Current price is: £1,299.00.</span></td></tr>"
        f"<tr class=total><td>{amount('1,299.00')} "
        f"<small class=includes_tax>(includes {amount('216.50')} VAT)</small>"
        "</td></tr></table><p id=order>Order number: <strong>1003</strong></p>"
    )
    for total in (".item td", ".item .amount", ".total td"):
        settings = Order(page="/thanks", id="#order strong", total=total, currency="GBP")
        assert read_order(page, "utf-8", settings) == OrderSeen("1003", Decimal("1299.00"), "GBP", "page")


@pytest.mark.parametrize(
    ("shown", "number"),
    [
        ("Order reference: XKBKNABJK", "XKBKNABJK"),
        ("Ihre Bestellnummer: #10042", "10042"),
        ("Référence\u00a0: ABC-7", "ABC-7"),
        ("注文番号：123", "123"),
        ("SO:2024-1", "SO:2024-1"),
        ("#1001", "1001"),
        ("CC-10001", "CC-10001"),
        ("2026: 7", "2026:7"),
    ],
)
def test_a_label_before_the_number_is_left_out(shown: str, number: str) -> None:
    page = html(f"<p id=order><strong>{shown}</strong></p><b class=total>59,90 €</b>")
    order = read_order(page, "utf-8", SELECTORS)
    assert order is not None
    assert order.id == number


@pytest.mark.parametrize("name", ["Cancelled", "Returned", "Problem", "PaymentDue", "Processing"])
def test_the_state_of_an_order_is_that_of_its_jsonld(name: str) -> None:
    """field A7: also where all but the state is read by selectors."""
    state = {
        "Cancelled": "cancelled",
        "Returned": "refunded",
        "Problem": "held",
        "PaymentDue": "seen",
    }
    linked = LINKED | {"orderStatus": f"https://schema.org/Order{name}"}
    for page, settings in [
        (html("", linked), JSONLD),
        (html("<p id=order><strong>#100001</strong></p><b class=total>59,90</b>", linked), SELECTORS),
    ]:
        order = read_order(page, "utf-8", settings)
        assert order is not None
        assert order.state == state.get(name, "placed")
        assert order.is_sale == (name == "Processing")


def test_the_time_of_an_order_is_that_of_its_jsonld() -> None:
    """field A8"""
    order = read_order(html("", LINKED | {"orderDate": "2024-05-01T10:00:00Z"}), "utf-8", JSONLD)
    assert order is not None
    assert order.placed_at == 1714557600


def test_the_total_is_not_taken_from_a_jsonld_order_with_another_number() -> None:
    page = html("<p id=order><strong>100002</strong></p>", LINKED)
    with pytest.raises(OrderError, match="other numbers"):
        read_order(page, "utf-8", Order(page="/", id="#order strong"))


def test_charset_of_the_response_is_used() -> None:
    page = THANKS.decode().encode("cp1252")
    order = read_order(page, "windows-1252", SELECTORS.model_copy(update={"currency": ".total"}))
    assert order is not None
    assert order.currency == "EUR"


@pytest.mark.parametrize(
    "page", [b"", b"\x00\xff", html("<p>Your cart is empty</p>"), html("<p id=order></p>")]
)
def test_a_page_without_an_order_is_none(page: bytes) -> None:
    assert read_order(page, "utf-8", SELECTORS) is None
    assert read_order(page, "utf-8", JSONLD) is None


@pytest.mark.parametrize(
    ("total", "settings", "expected"),
    [
        ("59,90 €", {"currency": "jsonld"}, "EUR"),
        ("£59.90", {"currency": "jsonld"}, "GBP"),
        ("59.90 CHF", {"currency": ".total"}, "CHF"),
        ("$59.90", {"currency": "USD"}, "USD"),
        ("59.90", {"currency": "SEK"}, "SEK"),
    ],
)
def test_currency_comes_from_the_settings_a_selector_or_the_total_itself(
    total: str, settings: dict[str, str], expected: str
) -> None:
    page = html(f"<p id=order><strong>1</strong></p><b class=total>{total}</b>")
    order = read_order(page, "utf-8", SELECTORS.model_copy(update=settings))
    assert order is not None
    assert (order.total, order.currency) == (Decimal("59.90"), expected)


def test_selectors_and_jsonld_may_be_mixed() -> None:
    page = html("<p id=order><strong>100001</strong></p><b class=total>€ 59.90</b>", LINKED)
    by_selector = read_order(page, "utf-8", Order(page="/", id="#order strong"))
    assert by_selector == OrderSeen("100001", Decimal("59.90"), "EUR", "page")
    total_by_selector = read_order(page, "utf-8", Order(page="/", total=".total"))
    beside = (Figure("the page's JSON-LD", Decimal("59.90"), "EUR"),)
    assert total_by_selector == OrderSeen("100001", Decimal("59.90"), "EUR", "page", figures=beside)


def test_among_several_jsonld_orders_the_one_with_the_number_on_the_page_is_used() -> None:
    other = LINKED | {"orderNumber": "99", "price": "1.00"}
    page = html("<p id=order><strong>100001</strong></p>", other, LINKED)
    order = read_order(page, "utf-8", Order(page="/", id="#order strong"))
    assert order is not None
    assert order.total == Decimal("59.90")


@pytest.mark.parametrize(
    ("page", "settings", "part"),
    [
        (html("<p id=order><strong>1</strong></p>"), SELECTORS, "total: .* '.total' matches nothing"),
        (html("<p id=order><strong>1</strong></p><b class=total>soon</b>"), SELECTORS, "total: "),
        (html("<p id=order><strong>1</strong></p><b class=total>2 for 59.90</b>"), SELECTORS, "total: "),
        (html("<p id=order><strong>1</strong></p><b class=total>£5</b>"), SELECTORS, "currency: .*EUR.*GBP"),
        (
            html("<p id=order><strong>1</strong></p><b class=total>$5</b>"),
            Order(page="/", id="#order strong", total=".total"),
            "currency: .*set `currency`",
        ),
        (
            html("<p id=order><strong>1</strong></p><b class=total>5</b>"),
            Order(page="/", id="#order strong", total=".total"),
            "currency: ",
        ),
        (
            html("<p id=order><strong>1</strong></p><b class=total>5</b><i>gold</i>"),
            SELECTORS.model_copy(update={"currency": "i"}),
            "currency: 'gold'",
        ),
        (
            html("<p id=order><strong>1</strong></p><b class=total>5</b>"),
            SELECTORS.model_copy(update={"currency": "XYZ"}),
            "currency: ",
        ),
        (html(f"<p id=order><strong>{'9' * 201}</strong></p>"), SELECTORS, "id: "),
        (
            html("<p id=order><strong>1</strong></p>"),
            Order(page="/", id="#order strong"),
            "total: .*no JSON-LD",
        ),
        (html("", {"@type": "Order", "price": 1, "priceCurrency": "EUR"}), JSONLD, "id: "),
        (html("", LINKED, LINKED | {"orderNumber": "2"}), JSONLD, "id: .*2 orders"),
        (html("", {"@type": "Order", "orderNumber": "1"}), JSONLD, "(currency|total): "),
        (html("", {"@type": "Order", "orderNumber": "1", "priceCurrency": "EUR"}), JSONLD, "total: "),
        (html("", LINKED | {"price": "-1"}), JSONLD, "total: "),
    ],
)
def test_the_error_names_the_invalid_part_of_an_order_page_and_the_reason(
    page: bytes, settings: Order, part: str
) -> None:
    with pytest.raises(OrderError, match=f"^{part}"):
        read_order(page, "utf-8", settings)


def test_an_invalid_coupon_does_not_invalidate_the_order() -> None:
    for coupon in ("x" * 300, "a\u0000b", "\ud800"):
        order = read_order(html("", LINKED | {"discountCode": coupon}), "utf-8", JSONLD)
        assert order is not None
        assert order.coupon is None


def test_totals_are_rounded_to_the_minor_digits_of_the_currency() -> None:
    order = read_order(html("", LINKED | {"price": 59.900000000000006}), "utf-8", JSONLD)
    assert order is not None
    assert str(order.total) == "59.90"
