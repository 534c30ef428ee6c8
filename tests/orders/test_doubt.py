"""Amounts that cannot be believed: held against the cart, the page's other figures, and the orders before."""

from decimal import Decimal

import pytest
from clew.orders.doubt import Doubt, amount_doubt
from clew.orders.model import Figure, OrderSeen
from clew.settings.model import Hold
from hypothesis import given
from hypothesis import strategies as st

SHOP = [*("19.90", "24.50", "39.00", "39.00", "45.10", "52.00", "64.80", "79.00", "88.20", "120.00")]


def order(total: str, currency: str = "EUR", *figures: Figure) -> OrderSeen:
    return OrderSeen("1001", Decimal(total), currency, "page", figures=figures)


def doubt(
    told: OrderSeen,
    cart: str | None = None,
    currency: str | None = "EUR",
    earlier: list[str] | None = None,
    earlier_currency: str = "EUR",
    **policy: object,
) -> Doubt | None:
    figures = [] if cart is None else [Figure("the cart last seen", Decimal(cart), currency)]
    before = [(Decimal(amount), earlier_currency) for amount in earlier or []]
    return amount_doubt(told, figures, before, Hold.model_validate(policy))


@pytest.mark.parametrize("times", ["0.001", "0.01", "0.1", "10", "100", "1000"])
@pytest.mark.parametrize("cart", ["50.00", "69.95", "1234.50"])
def test_an_amount_ten_times_the_cart_is_doubtful_and_both_amounts_are_named(cart: str, times: str) -> None:
    told = order(str(Decimal(cart) * Decimal(times)))
    found = doubt(told, cart)
    assert found is not None
    assert found.kind == "amount"
    assert f"the cart last seen is {cart} EUR" in found.text
    assert found.text.startswith(f"{told.total.quantize(Decimal('0.01'), 'ROUND_HALF_UP')} EUR")


@pytest.mark.parametrize(
    ("total", "cart"),
    [
        ("64.80", "59.90"),  # shipping
        ("49.90", "59.90"),  # a voucher
        ("71.28", "59.90"),  # taxes
        ("14.90", "5.00"),
        ("119.80", "59.90"),
        ("0.00", "59.90"),  # a voucher for all of it
        ("59.90", "0.00"),
    ],
)
def test_differences_by_shipping_taxes_and_vouchers_are_not_doubtful(total: str, cart: str) -> None:
    assert doubt(order(total), cart) is None


@pytest.mark.parametrize("times", ["0.01", "10", "100", "1000"])
def test_an_amount_far_from_the_sites_earlier_orders_is_doubtful(times: str) -> None:
    found = doubt(order(str(Decimal("50.00") * Decimal(times))), earlier=SHOP)
    assert found is not None
    assert found.kind == "amount"
    assert "the median of the site's last 10 orders is" in found.text


def test_a_wrong_earlier_order_does_not_hide_another() -> None:
    assert doubt(order("52000.00"), earlier=[*SHOP, "88000.00", "61000.00"]) is not None


def test_a_shop_with_orders_of_all_sizes_may_have_large_ones() -> None:
    wide = ["0.90", "4.00", "12.00", "45.00", "180.00", "900.00", "3400.00", "12000.00"]
    assert doubt(order("5400.00"), earlier=wide) is None


@pytest.mark.parametrize("before", [0, 1, 4])
def test_an_order_is_never_held_for_lack_of_history(before: int) -> None:
    assert doubt(order("99999.00"), earlier=["1.00"] * before) is None
    assert doubt(order("99999.00", "USD"), earlier=["1.00"] * before) is None


def test_another_currency_is_doubtful() -> None:
    against_cart = doubt(order("59.90", "USD"), "59.90")
    assert against_cart is not None
    assert against_cart.kind == "currency"
    assert "59.90 USD" in against_cart.text
    assert "59.90 EUR" in against_cart.text
    before = doubt(order("59.90", "USD"), earlier=SHOP)
    assert before is not None
    assert before.text == "59.90 USD, but the site's last 10 orders are in EUR"
    assert doubt(order("59.90"), "59.90", currency=None) is None


def test_other_amounts_on_the_page_are_compared() -> None:
    assert doubt(order("5990.00", "EUR", Figure("the page's JSON-LD", Decimal("59.90"), "EUR"))) is not None
    assert doubt(order("59.90", "EUR", Figure("the page's JSON-LD", Decimal("54.90"), "EUR"))) is None


def test_the_thresholds_are_settings() -> None:
    assert doubt(order("5990.00"), "59.90", amounts=False, earlier=SHOP) is None
    assert doubt(order("590.00"), "59.90", factor=20) is None
    assert doubt(order("179.70"), "59.90", factor=2) is not None
    assert doubt(order("9999.00"), earlier=["10.00"] * 3, orders=2) is not None


AMOUNTS = st.decimals("0.01", "100000", places=2)


@given(AMOUNTS, st.lists(AMOUNTS, min_size=5, max_size=50))
def test_the_median_of_the_earlier_orders_is_never_doubtful(total: Decimal, before: list[Decimal]) -> None:
    middle = sorted(before)[len(before) // 2]
    assert doubt(order(str(middle)), earlier=[str(amount) for amount in before]) is None
    assert doubt(order(str(total)), str(total)) is None


@given(AMOUNTS, st.integers(1, 3), st.decimals("0.85", "3", places=2))
def test_a_misread_separator_is_found_despite_taxes_and_shipping(
    cart: Decimal, digits: int, more: Decimal
) -> None:
    told = (cart.scaleb(digits) * more).quantize(Decimal("0.01"))
    assert doubt(order(str(told)), str(cart)) is not None
