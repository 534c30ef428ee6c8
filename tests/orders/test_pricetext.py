from decimal import Decimal

import pytest
from babel.numbers import format_currency
from clew.orders.model import OrderError
from clew.orders.pricetext import read_amount, read_currency
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "currency", "amount"),
    [
        ("£1,234.50", "GBP", "1234.50"),
        ("Total: £1,234.50", "GBP", "1234.50"),
        ("1.299,00 €", "EUR", "1299.00"),
        ("1.299 €", "EUR", "1299"),
        ("1\u202f234,50\u00a0€", "EUR", "1234.50"),
        ("CHF 1'299.–", "CHF", "1299"),
        ("CHF 1’299.50", "CHF", "1299.50"),
        ("59,-", "EUR", "59"),
        ("35€99", "EUR", "35.99"),
        ("0.500 €", "EUR", "0.500"),
        (".75 €", "EUR", "0.75"),
        ("incl. 19% VAT € 59,90", "EUR", "59.90"),
        ("59,90 € (inkl. 19,0 % MwSt.)", "EUR", "59.90"),
        ("¥12,345", "JPY", "12345"),
        ("1.234 KWD", "KWD", "1.234"),
        ("1,234.567 KWD", "KWD", "1234.567"),
        ("₹12,34,567.00", "INR", "1234567.00"),
        ("Rp 1.299.000", "IDR", "1299000"),
        ("Total - €5.00", "EUR", "5.00"),
        ("٥٩٫٩٠", "SAR", "59.90"),
    ],
)
def test_amounts_are_read_as_people_write_them(text: str, currency: str, amount: str) -> None:
    assert read_amount(text, currency) == Decimal(amount)


@pytest.mark.parametrize(
    "text",
    [
        "Free",
        "",
        "2 items 59.90",
        "2 59.90",
        "59.90€ (incl. 9.56 € VAT)",
        "EUR 100 = USD 110",
        "1.234.56 €",
        "12345,678.9",
        "1'2 CHF",
        "1e5",
        "-5.00 €",
        "€-5.00",
        "-€5.00",
        "−5,00 €",
        "9" * 300,
    ],
)
def test_what_has_no_sure_reading_is_refused(text: str) -> None:
    with pytest.raises(OrderError, match=r"^total: "):
        read_amount(text, "EUR")


@given(
    cents=st.integers(0, 10**11),
    locale=st.sampled_from(["de_DE", "de_CH", "de_AT", "en_US", "en_IN", "fr_FR", "fi_FI", "nl_NL", "ru_RU"]),
    currency=st.sampled_from(["EUR", "CHF", "GBP", "SEK", "PLN"]),
)
def test_amounts_written_by_the_locales_of_shops_come_back_exactly(
    cents: int, locale: str, currency: str
) -> None:
    total = Decimal(cents) / 100
    text = format_currency(total, currency, locale=locale, format_type="standard")
    assert read_amount(text, currency) == total


@given(st.text(max_size=60))
def test_any_text_is_an_amount_or_an_order_error(text: str) -> None:
    try:
        amount = read_amount(text, "EUR")
    except OrderError:
        return
    assert amount.is_finite()
    assert amount >= 0


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("£1,234.50", "GBP"),
        ("59,90 €", "EUR"),
        ("59,90 EUR", "EUR"),
        ("EUR59.90", "EUR"),
        ("USD $59.90", "USD"),
        ("$59.90 USD", "USD"),
        ("US$59.90", "USD"),
        ("R$ 59,90", "BRL"),
        ("59,90 zł", "PLN"),
        ("1200 руб.", "RUB"),
        ("CHF 1'299.–", "CHF"),
        ("EUR", "EUR"),
        ("eur", "EUR"),
        ("(€)", "EUR"),
        ("59.90", None),
        ("OVERALL 59.90", None),
        ("ALL ITEMS: 59.90", None),
        ("US dollar", None),
    ],
)
def test_currency_is_read_from_a_code_or_a_sign_that_means_one(text: str, currency: str | None) -> None:
    assert read_currency(text) == currency


@pytest.mark.parametrize("text", ["$59.90", "¥1200", "kr 59,90", "59.90 Fr.", "$"])
def test_a_sign_of_several_currencies_is_refused_and_the_error_says_what_to_set(text: str) -> None:
    with pytest.raises(OrderError, match="set `currency`"):
        read_currency(text)


def test_two_different_currencies_at_one_amount_are_refused() -> None:
    with pytest.raises(OrderError, match="EUR, USD"):
        read_currency("€59.90 USD")
