"""One order has one number, however it is written, and two orders never have the same."""

import pytest
from clew.orders.ids import normalised, same, shown
from clew.orders.model import OrderError
from hypothesis import given
from hypothesis import strategies as st

# field A11
OF_1001 = """\
#1001|Order #1001|order#1001|Order: 1001|Order:1001|Order # 1001|Order ID: 1001|ID:1001|Order number: #1001
Your order number is: 1001|Order no. 1001|Your order #1001 has been placed.|Order confirmation #1001|No. 1001
№ 1001|№1001|(1001)|“1001”|1001.|[#1001]|1001\u200b|\u20661001\u2069|10\u00ad01|１００１|＃１００１
1 001|# 1001
١٠٠١|१००१|Bestellnummer 1001|Bestell-Nr. 1001|Bestell-Nr.: 1001|Ihre Bestellung Nr. 1001|Auftragsnummer: 1001
Commande n° 1001|N° de commande : 1001|Numéro de commande 1001|Pedido nº1001|Pedido núm. 1001|n.º 1001|Nº 1001
Ordine n. 1001|Bestelnummer: 1001|Ordrenummer 1001|Ordernr 1001|Tilausnumero: 1001|Zamówienie nr 1001
objednávka č. 1001|Rendelésszám: 1001|Comanda nr. 1001|Заказ № 1001|Заказ №1001 оформлен|Поръчка номер: 1001
Αρ. παραγγελίας: 1001|Sipariş No: 1001|رقم الطلب: 1001|הזמנה מספר 1001|หมายเลขคำสั่งซื้อ: 1001
Mã đơn hàng: 1001|注文番号：１００１|注文番号1001|订单号:1001|訂單編號 1001|주문번호 1001
Ditt dossier: 1001"""


@pytest.mark.parametrize("text", [t for line in OF_1001.splitlines() for t in line.split("|")])
def test_labels_signs_and_punctuation_are_not_part_of_the_number(text: str) -> None:
    assert shown(text).id == "1001"
    assert normalised(text).id == "1001"
    assert same(text, "1001")


def test_the_shops_own_spelling_is_kept() -> None:
    assert normalised(" Order \n #1001 ") == ("1001", "Order #1001")


# field A11
DIFFERENT = """\
1001|01001|0001001|10010|1001-A|1001-a|1001A|A1001|A-1001|1001/1|1001.1|1001,1|1001 1|1001:1|100²|1002|No1001
SO1001|PO1001|DE 1001|AT 1001|NO 1001|EU#1001|ORDER-1001|INV-1001|Invoice 1001|-1001|1001-|1001+1|1001_1
1001(2)|1001(3)|1001%|Rechnung 1001|Customer 1001|Ⅹ1001|½1001|10.01|1-001|XKBKNABJK|Xkbknabjk"""


def test_two_numbers_never_become_one() -> None:
    texts = [t for line in DIFFERENT.splitlines() for t in line.split("|")]
    assert len({normalised(t).id for t in texts}) == len(texts)


@pytest.mark.parametrize(
    "text", ["Order", "Thank you", "Order number:", "Your order has been placed", "Danke!"]
)
def test_words_without_a_number_are_refused(text: str) -> None:
    with pytest.raises(OrderError, match=r"^id: .* has no order number"):
        shown(text)


@given(st.text(max_size=60))
def test_normalising_twice_changes_nothing(text: str) -> None:
    try:
        found = normalised(text)
    except OrderError:
        return
    assert found.id
    assert normalised(found.spelling) == found


@given(st.from_regex(r"[A-Z0-9a-z]{1,4}[-/_]?[0-9]{1,8}", fullmatch=True))
def test_a_plain_number_is_its_own_normal_form(number: str) -> None:
    assert normalised(number).id == number
    assert normalised(f"Order #{number}").id == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Thank you! Your order 1003 has been received", "1003"),
        ("Vielen Dank, Ihre Bestellung #A-1003 ist bei uns eingegangen.", "A-1003"),
        ("Thank you! Your order of 3 items has been received", None),
        ("We received your order on 26 November and will ship order 1003 soon", None),
    ],
)
def test_a_sentence_is_read_only_if_a_label_precedes_its_only_number(text: str, number: str | None) -> None:
    """field A11: the words around a number are no part of it."""
    if number is None:
        with pytest.raises(OrderError, match="sentence"):
            shown(text)
    else:
        assert shown(text).id == number
