from decimal import Decimal

import pytest
from clew.orders.model import OrderError
from clew.orders.money import amount_text, checked_currency, checked_total, is_currency, minor_digits
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("currency", "digits"),
    [("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("HUF", 2), ("RSD", 2), ("IQD", 3), ("ISK", 0)],
)
def test_minor_digits_are_those_of_iso_4217(currency: str, digits: int) -> None:
    assert minor_digits(currency) == digits


@pytest.mark.parametrize(
    ("total", "currency", "text"),
    [
        ("59.9", "EUR", "59.90"),
        ("7200", "JPY", "7200"),
        ("7200.0000", "JPY", "7200"),
        ("1.2", "KWD", "1.200"),
        ("1234567.891", "USD", "1234567.89"),
        ("0.005", "EUR", "0.01"),
        ("59.900000000000006", "EUR", "59.90"),
        ("1E+2", "EUR", "100.00"),
        ("-0", "EUR", "0.00"),
        ("999999999999999.99", "EUR", "999999999999999.99"),
    ],
)
def test_amount_has_a_dot_and_the_minor_digits_of_its_currency(total: str, currency: str, text: str) -> None:
    assert amount_text(Decimal(total), currency) == text


@given(st.decimals(min_value=0, max_value=Decimal("1e14"), places=2))
def test_amounts_are_written_exactly(total: Decimal) -> None:
    assert Decimal(amount_text(total, "EUR")) == total


@pytest.mark.parametrize("total", ["NaN", "sNaN", "Infinity", "-Infinity", "-0.01", "1e15", "1e999999"])
def test_an_invalid_amount_is_refused(total: str) -> None:
    with pytest.raises(OrderError, match=r"^total: "):
        checked_total(Decimal(total), "EUR")


def test_a_total_too_small_for_the_currency_is_zero() -> None:
    assert amount_text(Decimal("1e-999999"), "EUR") == "0.00"


def test_currency_codes_are_checked_and_put_into_upper_case() -> None:
    assert checked_currency(" eur ") == "EUR"
    for wrong in ("EUX", "€", "", "XXX", "XTS", "EURO"):
        with pytest.raises(OrderError, match=r"^currency: "):
            checked_currency(wrong)
    assert not is_currency("eur")
