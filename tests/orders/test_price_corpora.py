"""What CLDR writes, in the forms and the markup of shops: nothing is read wrongly, at most 4 % is refused."""

import random
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from babel import Locale
from babel.core import get_global
from babel.localedata import locale_identifiers
from babel.numbers import format_currency, format_decimal
from clew.injector.page import read
from clew.orders.model import OrderError
from clew.orders.pricetext import read_shown

TENDER = sorted(
    {
        code
        for entries in get_global("territory_currencies").values()
        for code, _, end, tender in entries
        if tender and end is None
    }
    - {"ZWG"}
)
CENTS = (99, 500, 1250, 1299, 12345, 99999, 100000, 125000, 1234567, 123456789)
# "of which VAT", as shops of these languages write it behind a total.
INCLUDED = {
    "en": "(includes {0} VAT)", "de": "inkl. {0} MwSt.", "fr": "dont {0} de TVA", "es": "(incluye {0} IVA)",
    "it": "(di cui IVA {0})", "nl": "(inclusief {0} BTW)", "pl": "(w tym VAT {0})", "pt": "(inclui {0} IVA)",
    "cs": "(včetně DPH {0})", "sv": "(varav moms {0})", "da": "(heraf moms {0})", "hu": "(tartalmaz {0} ÁFA)",
    "ro": "(include {0} TVA)", "fi": "(sisältää ALV {0})", "ru": "(в т.ч. НДС {0})", "tr": "(KDV dahil {0})",
    "ja": "(内消費税 {0})", "hr": "(uključuje {0} PDV)", "el": "(περιλαμβάνει {0} ΦΠΑ)",
}  # fmt: skip
COUNTED = {
    "en": "({} items)",
    "de": "({} Artikel)",
    "fr": "({} articles)",
    "es": "({} artículos)",
    "ja": "({}点)",
}


def digits(currency: str) -> int:
    fractions = get_global("currency_fractions")
    found: int = fractions.get(currency, fractions["DEFAULT"])[0]
    return found


def split(text: str, sign: str) -> str:
    """As WooCommerce: the sign in an element of its own."""
    symbol = f'<span class="woocommerce-Price-currencySymbol">{sign}</span>'
    return f'<span class="woocommerce-Price-amount amount"><bdi>{text.replace(sign, symbol)}</bdi></span>'


def plain(total: Decimal, currency: str, locale: str) -> str:
    return format_currency(total, currency, locale=locale)


def woocommerce(total: Decimal, currency: str, locale: str) -> str:
    sign = Locale.parse(locale).currency_symbols.get(currency, currency)
    return split(plain(total, currency, locale), sign)


def on_sale(total: Decimal, currency: str, locale: str) -> str:
    before, now = (woocommerce(amount, currency, locale) for amount in (total * 2, total))
    heard = f'<span class="screen-reader-text">Was {before}. Is {now}.</span>'
    return f'<del aria-hidden="true">{before}</del> {heard}<ins aria-hidden="true">{now}</ins>'


def read_aloud(total: Decimal, currency: str, locale: str) -> str:
    text = plain(total, currency, locale)
    return f'<span class="a-offscreen">{text}</span><span aria-hidden="true">{text}</span>'


def with_tax(total: Decimal, currency: str, locale: str) -> str:
    label = INCLUDED.get(locale.split("_")[0], INCLUDED["en"])
    tax = woocommerce(total / 6, currency, locale)
    return f'{woocommerce(total, currency, locale)} <small class="includes_tax">{label.format(tax)}</small>'


def with_count(total: Decimal, currency: str, locale: str) -> str:
    count = COUNTED.get(locale.split("_")[0], COUNTED["en"]).format(total.adjusted() + 4)
    return f"{plain(total, currency, locale)} {count}"


def with_note(total: Decimal, currency: str, locale: str) -> str:
    return f"{plain(total, currency, locale)}<sup>*</sup>"


def by_code(total: Decimal, currency: str, locale: str) -> str:
    number = format_decimal(total, f"#,##0{'.' if digits(currency) else ''}{'0' * digits(currency)}", locale)
    return f"{currency} {number}"


def ungrouped(total: Decimal, currency: str, locale: str) -> str:
    return format_currency(total, currency, locale=locale, group_separator=False)


def by_name(total: Decimal, currency: str, locale: str) -> str:
    return format_currency(total, currency, locale=locale, format_type="name")


def measured(writer: Callable[[Decimal, str, str], str], number: int) -> tuple[list[str], float]:
    """What was read otherwise than it was written, and the part that was refused."""
    pairs = [(locale, currency) for locale in sorted(locale_identifiers()) for currency in TENDER]
    wrong, refused = [], 0
    for count, (locale, currency) in enumerate(random.Random(writer.__name__).sample(pairs, number)):
        total = Decimal(CENTS[count % len(CENTS)]) / 100
        written = writer(total, currency, locale)
        page = f'<div id=total lang="{locale.replace("_", "-")}">{written}</div>'
        shown = read(page.encode(), "utf-8").shown("#total")
        assert shown is not None
        try:
            found = read_shown(shown, currency)
        except OrderError:
            refused += 1
            continue
        if found != total.quantize(Decimal(1).scaleb(-digits(currency)), ROUND_HALF_EVEN):
            wrong.append(f"{locale} {currency} {written!r}: {found}")
    return wrong, refused / number


WRITERS = [
    *(plain, woocommerce, on_sale, read_aloud, with_tax, with_count, with_note, by_code, ungrouped),
]


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.__name__)
def test_amounts_in_the_markup_of_shops_are_never_read_wrongly_and_seldom_refused(
    writer: Callable[[Decimal, str, str], str],
) -> None:
    """field A1, A2, A3, A4, A6"""
    wrong, refused = measured(writer, 700)
    assert wrong == []
    assert refused <= 0.04


def test_amounts_with_the_name_of_their_currency_are_never_read_wrongly() -> None:
    """field A6: a name in a case that CLDR does not list is refused."""
    wrong, refused = measured(by_name, 700)
    assert wrong == []
    assert refused <= 0.1
