"""Amounts as shops' pages hold them in elements: read from HTML with a selector, as on an order's page."""

from decimal import Decimal

import pytest
from clew.injector.page import read
from clew.orders.model import OrderError
from clew.orders.pricetext import read_shown
from hypothesis import given
from hypothesis import strategies as st


def amount(html: str, currency: str, language: str = "") -> Decimal:
    page = f"<body><div id=total{f' lang={language}' if language else ''}>{html}</div>"
    shown = read(page.encode(), "utf-8").shown("#total")
    if shown is None:
        raise OrderError("total: nothing is shown")
    return read_shown(shown, currency)


def woocommerce(text: str) -> str:
    sign, number = text[0], text[1:]
    symbol = f'<span class="woocommerce-Price-currencySymbol">{sign}</span>'
    return f'<span class="woocommerce-Price-amount amount"><bdi>{symbol}{number}</bdi></span>'


READ = [
    # field A1: an old price beside the new one
    ("EUR", "", "<del>15,99 €</del> <ins>12,99 €</ins>", "12.99"),
    ("EUR", "", "<s>15,99 €</s> 12,99 €", "12.99"),
    ("EUR", "", "<strike>15,99&nbsp;€</strike><b>12,99&nbsp;€</b>", "12.99"),
    ("EUR", "", "<s>15,99</s> 12,99", "12.99"),
    ("TRY", "tr", "%20 KDV dahil 59,90 TL", "59.90"),
    ("EUR", "", "<span class='line-through'>15,99 €</span> 12,99 €", "12.99"),
    (
        "GBP",
        "en",
        f'<del aria-hidden="true">{woocommerce("£15.99")}</del> <span class="screen-reader-text">'
        f'Original price was: £15.99.</span><ins aria-hidden="true">{woocommerce("£12.99")}</ins>'
        '<span class="screen-reader-text">Current price is: £12.99.</span>',
        "12.99",
    ),
    # hidden, and for other readers
    ("EUR", "", "<span hidden>15,99 €</span> 12,99 €", "12.99"),
    ("EUR", "", "<span style='display:none'>15,99 €</span> 12,99 €", "12.99"),
    ("EUR", "", "<span class=visually-hidden>Total including 2 items</span> 12,99 €", "12.99"),
    ("EUR", "", "<span class=sr-only>59,90 €</span><span aria-hidden=true>59,90 €</span>", "59.90"),
    ("EUR", "", "<span class=own-hidden>59,90 €</span><span aria-hidden=true>59,90 €</span>", "59.90"),
    (
        "USD",
        "en",
        '<span class="a-price"><span class="a-offscreen">$1,299.99</span><span aria-hidden="true">'
        '<span>$</span><span class="a-price-whole">1,299<span class="a-price-decimal">.</span></span>'
        '<span class="a-price-fraction">99</span></span></span>',
        "1299.99",
    ),
    ("USD", "", "<i class=x>$12.99</i><i aria-hidden=true>$12<sup>99</sup></i>", "12.99"),
    ("EUR", "", "12<span class=sr-only>,</span><span>99</span> €", "12.99"),
    # how many, and what is included
    ("EUR", "", "Total: €59.90 (2 items)", "59.90"),
    ("EUR", "", "Total (2 items): €59.90", "59.90"),
    ("EUR", "", "59,90 € (2 Artikel)", "59.90"),
    ("EUR", "", "€59.90 (2 item(s))", "59.90"),
    ("EUR", "", "59,90 € <small>(3)</small>", "59.90"),
    ("USD", "", "2 item(s) - $59.90", "59.90"),
    ("EUR", "", "2 Artikel: 59,90 €", "59.90"),
    ("JPY", "ja", "1,299円 (2点)", "1299"),
    ("GBP", "", "£1,299.00 (inc. VAT £216.50)", "1299"),
    (
        "GBP",
        "en",
        f"{woocommerce('£1,299.00')} "
        f'<small class="includes_tax">(includes {woocommerce("£216.50")} VAT)</small>',
        "1299",
    ),
    ("GBP", "", "£1,299.00 (includes £10.00 VAT, £2.00 City Tax)", "1299"),
    ("EUR", "", "59,90 € inkl. 9,56 € MwSt.", "59.90"),
    ("EUR", "", "59,90 € (inkl. 19% MwSt. 9,56 €)", "59.90"),
    ("EUR", "", "59,90 € <br><small>davon MwSt. (19 %): 9,56 €</small>", "59.90"),
    ("EUR", "fr", "59,90 € dont 9,98 € de TVA", "59.90"),
    ("EUR", "", "€ 59,90 (waarvan € 10,40 BTW)", "59.90"),
    ("EUR", "it", "59,90 € (di cui IVA 10,80 €)", "59.90"),
    ("PLN", "pl", "59,90 zł (w tym VAT 11,20 zł)", "59.90"),
    ("JPY", "ja", "1,299円 (うち消費税 118円)", "1299"),
    ("EUR", "", "59,90 € (inkl. 4,90 € Versand)", "59.90"),
    # field A4: Hungarian shops group with a dot
    ("HUF", "hu", "12.990 Ft", "12990"),
    ("HUF", "", "12.990 Ft", "12990"),
    ("HUF", "hu", "12 990 Ft", "12990"),
    ("HUF", "hu", "12.990,- Ft", "12990"),
    ("HUF", "hu", "1.299.000 Ft", "1299000"),
    ("HUF", "hu", "12 990,50 Ft", "12990.50"),
    ("CZK", "cs", "1.299 Kč", "1299"),
    ("SEK", "sv", "1.299 kr", "1299"),
    # footnotes
    ("EUR", "", "59,90 €<sup>1</sup>", "59.90"),
    ("EUR", "", "59,90 € <sup>1)</sup>", "59.90"),
    ("EUR", "", "59,90 €<sup>12</sup>", "59.90"),
    ("EUR", "", "59 €<sup>1</sup>", "59"),
    ("EUR", "", "59,90 €<sup>[2]</sup>", "59.90"),
    ("EUR", "", "59,90 €<sup>*</sup>", "59.90"),
    ("EUR", "", "59,90 €¹", "59.90"),
    ("EUR", "", "12€<sup>99</sup>", "12.99"),
    ("JPY", "", "1,299円<sup>12</sup>", "1299"),
    # minor units beside major ones
    ("RUB", "ru", "1 299 руб. 50 коп.", "1299.50"),
    ("RUB", "ru", "1299 руб 05 коп", "1299.05"),
    ("UAH", "uk", "1 299 грн 50 коп.", "1299.50"),
    ("PLN", "pl", "12 zł 99 gr", "12.99"),
    ("EUR", "de", "59 Euro und 90 Cent", "59.90"),
    # field A4: three minor digits
    ("KWD", "en", "1.250 KWD", "1.250"),
    ("KWD", "", "KD 1.250", "1.250"),
    ("KWD", "en", "KD 1,250.000", "1250"),
    ("EUR", "", "Total incl. shipping €59.90", "59.90"),
    ("EUR", "de", "Gesamtsumme inkl. 19 % MwSt. 59,90 €", "59.90"),
    ("EUR", "fr", "Total TTC 59,90 €", "59.90"),
    ("SEK", "sv", "12:30 kr", "12.30"),
    # the words of payment and of the whole
    ("EUR", "es", "Importe por pagar 59,90 €", "59.90"),
    ("EUR", "fr", "59,90 € par carte", "59.90"),
    ("EUR", "", "59,90 inkl. MwSt.", "59.90"),
    ("JPY", "ja", "合計 1,299 税込", "1299"),
]


@pytest.mark.parametrize(("currency", "language", "html", "total"), READ)
def test_the_total_is_read_from_an_element(currency: str, language: str, html: str, total: str) -> None:
    assert amount(html, currency, language) == Decimal(total)


REFUSED = [
    # two amounts, of which none is struck through for certain
    ("EUR", "", "<span class=old>15</span><span class=new>12</span>"),
    ("EUR", "", "<span class=price>15</span><span class=price>12</span>"),
    ("EUR", "", "<span class=was-price>15</span> <span class=now-price>299</span> €"),
    ("EUR", "", "<div>1</div><div>299 €</div>"),
    ("EUR", "", "1<br>299 €"),
    ("EUR", "", "1\n   299 €"),
    ("EUR", "", "<table><tr><td>2<td>100<td>€</table>"),
    ("EUR", "", "<del>15,99 €</del>"),
    ("EUR", "", "<span>15</span><span class=sr-only> reduced to </span><span>12</span>"),
    ("EUR", "", "<span hidden>12,99 €</span>"),
    ("EUR", "", "<i class=x>12,99 €</i><i aria-hidden=true>13,99 €</i>"),
    ("EUR", "", "<i class=sr-only>13,99 €</i><i aria-hidden=true>12,99 €</i>"),
    ("EUR", "", "<i class=sr-only>minus</i> 12,99 €"),
    ("EUR", "", "12,99 € 12,99 €"),
    ("EUR", "", "<b>661</b><i>153,75</i> €"),
    ("EUR", "", "<b>1</b> <i>299,00</i> €"),
    ("EUR", "", "2 <s>15,99 €</s>"),
    ("EUR", "", "<b hidden>15,99 €</b> 2"),
    ("EUR", "", "12<sup>163,00 €</sup>"),
    ("EUR", "", "1&nbsp; 299,00 €"),
    # a percentage is no part of a longer number
    ("EUR", "", "1.299,50 %"),
    ("INR", "en", "₹8,35,390.83%"),
    ("EUR", "", "2 € 315,542 %"),
    ("EUR", "", "% 147,00 € 1"),
    # which of them is the amount?
    ("EUR", "", "3 (59,90 €)"),
    ("EUR", "", "3 items (59,90 €)"),
    ("EUR", "", "3 items - 59"),
    ("EUR", "", "3 items -5,00 €"),
    ("EUR", "", "3 Artikel à 5,00 €"),
    ("EUR", "", "3 boxes: 59,90 €"),
    ("EUR", "", "3 (59)"),
    ("EUR", "", "100 (incl. VAT 59,90 €)"),
    ("EUR", "", "50,00 € (inkl. MwSt. 59,50 €)"),
    ("EUR", "", "59,50 € (50,00 € net)"),
    ("EUR", "", "59,50 € inkl. MwSt. (50,00 € netto)"),
    ("EUR", "", "50,00 € (zzgl. 9,50 € MwSt.)"),
    ("EUR", "", "50,00 € (+ 9,50 € MwSt.)"),
    ("EUR", "", "50,00 € (MwSt. 9,50 €)"),
    ("EUR", "", "59,90 € (incl. -5,00 € discount)"),
    ("EUR", "", "59,90 € (you save 10,00 €)"),
    ("EUR", "", "59,90 € (was 70,00 €)"),
    ("EUR", "", "€59.90 ($65.20)"),
    # no amount at all
    ("EUR", "", "3 items"),
    ("EUR", "", "3 Artikel"),
    ("JPY", "ja", "3点"),
    ("EUR", "", "0,75 Liter"),
    ("EUR", "", "100 points"),
    ("EUR", "", "Punkte: 100"),
    ("EUR", "", "Order 1001"),
    ("EUR", "", "July, 2004"),
    ("EUR", "", "Artikel: 884"),
    ("USD", "", "Free shipping on orders $49+"),
    ("EUR", "", "6,56 € + MwSt."),
    ("EUR", "", "Bestellung Nr. 1001"),
    ("EUR", "", "#1001"),
    ("EUR", "", "12.05.2026"),
    ("EUR", "", "05.12"),
    ("EUR", "", "2026-05-12"),
    ("EUR", "", "12/05"),
    ("EUR", "", "+49 301 234 567"),
    ("EUR", "", "030 123 456"),
    ("EUR", "", "Tel. 800 123 456"),
    ("EUR", "", "20 %"),
    ("RUB", "ru", "50 коп."),
    ("EUR", "", "50 ct"),
    ("GBP", "", "99p"),
    # not the whole amount
    ("EUR", "", "4 × 14,97 €"),
    ("EUR", "", "14,97 € × 4"),
    ("EUR", "", "4x 14,97 €"),
    ("EUR", "", "14,97 € / Monat"),
    ("EUR", "", "14,97 €/month"),
    ("EUR", "", "14,97 € pro Monat"),
    ("EUR", "", "14,97 € par mois"),
    ("EUR", "", "14,97 € each"),
    ("EUR", "", "Preis pro Stück: 14,97 €"),
    ("EUR", "", "ab 14,97 €"),
    ("EUR", "", "from €10"),
    ("EUR", "", "à partir de 10 €"),
    ("EUR", "", "bis zu 20 €"),
    ("EUR", "", "from 10 to 20"),
    ("EUR", "", "10–20 €"),
    ("EUR", "", "+ 5,00 €"),
    ("EUR", "", "ca. 5,00 €"),
    ("EUR", "", "max. 5,00 €"),
    ("EUR", "", "over €50"),
    ("EUR", "", "Spend €20 more for free shipping"),
    ("EUR", "", "€ 5.00 p.m."),
    ("SEK", "", "12:30"),
    ("EUR", "", "12:30 Uhr"),
    # labelled as another figure
    ("EUR", "", "Versandkosten: 4,90 €"),
    ("EUR", "", "Shipping €4.90"),
    ("EUR", "", "MwSt. 19 %: 9,56 €"),
    ("EUR", "", "Rabatt 10,00 €"),
    ("USD", "", "$5 off"),
    ("USD", "", "You save $10"),
    ("JPY", "ja", "1,299円から"),
    ("JPY", "ja", "1,299円〜"),
    ("CNY", "zh", "¥12.00起"),
    ("EUR", "", "&lt; 5,00 €"),
    # neither cents nor a footnote for certain
    ("EUR", "", "59,90<sup>1</sup> €"),
    ("EUR", "", "59 €<sup>1</sup>2"),
    ("EUR", "", "59,90 € 50 ct"),
    ("KWD", "", "1,250 KWD"),
    ("KWD", "de", "1.250 KWD"),
    ("TND", "fr", "1.250 TND"),
    ("USD", "hu", "1.250 $"),
]


@pytest.mark.parametrize(("currency", "language", "html"), REFUSED)
def test_a_text_that_is_not_certainly_one_amount_is_refused(currency: str, language: str, html: str) -> None:
    with pytest.raises(OrderError):
        amount(html, currency, language)


AMOUNTS = st.integers(1, 10**7).map(lambda cents: Decimal(cents) / 100)


PAIRS = [
    *(
        "{0} € {1} €",
        "{0} €<br>{1} €",
        "{0} – {1} €",
        "{0}<br>{1} €",
        "<p>{0}</p><p>{1}</p> €",
        "{0} / {1} €",
    ),
    *(
        "<i class=amount>{0}</i><i class=amount>{1}</i> €",
        "<i>{0}</i> <b>{1}</b> €",
        "{0} x {1} €",
        "{0}\n\t{1} €",
    ),
]


@given(AMOUNTS, AMOUNTS, st.sampled_from(PAIRS))
def test_two_amounts_are_refused(one: Decimal, other: Decimal, pattern: str) -> None:
    try:
        found = amount(pattern.format(one, other), "EUR")
    except OrderError:
        return
    raise AssertionError(found)


@given(st.integers(1, 999), AMOUNTS.filter(lambda a: not (a < 100 and a == a.to_integral())))
def test_numbers_in_separate_elements_are_not_joined_except_cents(count: int, price: Decimal) -> None:
    """field A1"""
    with pytest.raises(OrderError):
        amount(f"<b>{count}</b><i>{price}</i> €", "EUR")


@given(AMOUNTS, AMOUNTS)
def test_an_included_amount_is_never_read_as_the_total(total: Decimal, part: Decimal) -> None:
    for pattern in (
        "€{0:.2f} (incl. VAT €{1:.2f})",
        "€{0:.2f} incl. €{1:.2f} VAT",
        "€{0:.2f} (€{1:.2f} incl. VAT)",
    ):
        try:
            assert amount(pattern.format(total, part), "EUR") == total
            assert part * 2 <= total
        except OrderError:
            assert part * 2 > total


@given(st.integers(0, 10**6), st.integers(1, 9999), st.sampled_from(["", ".{:02}", ",{:02}"]))
def test_a_quantity_beside_an_amount_is_never_joined_to_it(whole: int, count: int, cents: str) -> None:
    number = f"{whole}{cents.format(count % 100)}"
    wanted = Decimal(number.replace(",", "."))
    for pattern in (
        "{n} € ({c} items)",
        "({c}) {n} €",
        "{c} × {n} €",
        "{c} {n} €",
        "{c}<br>{n} €",
        "{c}<p>{n} €",
    ):
        try:
            found = amount(pattern.format(n=number, c=count), "EUR", "de" if "," in cents else "en")
        except OrderError:
            continue
        grouped = Decimal(f"{count}{number}".replace(",", "."))  # "1 299 €" is 1299, as people group
        assert found == wanted or (pattern == "{c} {n} €" and found == grouped and 100 <= whole < 1000)
