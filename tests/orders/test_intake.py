import json
from decimal import Decimal
from typing import Any

import pytest
from clew.orders.intake import BODY_LIMIT, parse_order, parsed_order
from clew.orders.model import OrderError, OrderSeen
from costs import assert_linear
from hypothesis import given
from hypothesis import strategies as st

GOOD: dict[str, Any] = {"id": "1001", "total": "59.90", "currency": "EUR"}


def body(**changes: Any) -> bytes:
    return json.dumps(GOOD | changes).encode()


def test_an_order_with_all_fields_is_accepted() -> None:
    told = parse_order(body(id=" 1001 ", visitor="v1", channel="phone", coupon="CHAT10"))
    assert told.visitor == "v1"
    assert told.order == OrderSeen(
        id="1001", total=Decimal("59.90"), currency="EUR", source="api", coupon="CHAT10", channel="phone"
    )


def test_only_id_total_and_currency_are_required() -> None:
    told = parse_order(body(visitor=None, channel=None, coupon=None))
    assert (told.visitor, told.order.channel, told.order.coupon) == (None, None, None)


@pytest.mark.parametrize(
    ("text", "total"),
    [
        (b"59.9", "59.90"),
        (b'"59.9"', "59.90"),
        (b"60", "60.00"),
        (b"6e1", "60.00"),
        (b"0", "0.00"),
        (b"0.1", "0.10"),
        (b"900000000000000.01", "900000000000000.01"),
    ],
)
def test_a_total_written_as_a_number_is_read_exactly(text: bytes, total: str) -> None:
    order = parse_order(b'{"id":"a","currency":"EUR","total":' + text + b"}").order
    assert str(order.total) == total


def test_a_number_as_id_is_the_same_order_as_its_text() -> None:
    assert parse_order(body(id=1001)).order.id == parse_order(body(id="1001")).order.id


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": ""}, "id"),
        ({"id": "   "}, "id"),
        ({"id": "x" * 201}, "id"),
        ({"id": "a\u0000b"}, "id"),
        ({"id": "a\nb"}, "id"),
        ({"id": "a\ud800"}, "id"),
        ({"id": 1.5}, "id"),
        ({"id": True}, "id"),
        ({"id": None}, "id"),
        ({"id": ["1"]}, "id"),
        ({"total": -1}, "total"),
        ({"total": "-0.01"}, "total"),
        ({"total": "1,299.00"}, "total"),
        ({"total": "59.90 EUR"}, "total"),
        ({"total": ""}, "total"),
        ({"total": True}, "total"),
        ({"total": None}, "total"),
        ({"total": 10**15}, "total"),
        ({"currency": "EUX"}, "currency"),
        ({"currency": ""}, "currency"),
        ({"currency": 978}, "currency"),
        ({"channel": "fax"}, "channel"),
        ({"visitor": "a\u0007"}, "visitor"),
        ({"coupon": "x" * 201}, "coupon"),
        ({"totel": 1}, "totel"),
    ],
)
def test_the_error_names_the_wrong_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(OrderError, match=rf"^{field}: "):
        parse_order(body(**changes))


def test_every_wrong_field_is_named_at_once() -> None:
    with pytest.raises(OrderError, match=r"id: .*; total: .*; currency: "):
        parse_order(b"{}")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nonsense",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b"[" * 10_000,
        b'{"id":"a","currency":"EUR","total":NaN}',
        b'{"id":"a","currency":"EUR","total":Infinity}',
        b'{"id":"a","currency":"EUR","total":1e99999999999999999999}',
        b'{"id":"a","currency":"EUR","total":' + b"9" * 5000 + b"}",
        b'{"id":"a","currency":"EUR","total":"1.00","total":"100.00"}',  # of two readings neither
        b'{"id":"a","id":"b","currency":"EUR","total":"1.00"}',
        b" " * (BODY_LIMIT + 1),
    ],
)
def test_a_body_that_is_not_an_order_is_an_order_error(raw: bytes) -> None:
    with pytest.raises(OrderError):
        parse_order(raw)


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_an_order_or_an_order_error(raw: bytes) -> None:
    with pytest.raises(OrderError):
        parse_order(raw)


def test_an_agents_form_is_checked_the_same_way() -> None:
    told = parsed_order({"id": "7", "total": "12.5", "currency": "chf"}, "agent")
    assert told.order == OrderSeen(id="7", total=Decimal("12.50"), currency="CHF", source="agent")


def test_errors_in_the_json_are_described_in_our_own_words() -> None:
    with pytest.raises(OrderError, match="'total' is in it twice"):
        parse_order(b'{"id":"a","total":"1.00","currency":"EUR","total":"100.00"}')
    with pytest.raises(OrderError, match="a number in it has 5000 digits"):
        parse_order(b'{"id":' + b"9" * 5000 + b',"total":"1.00","currency":"EUR"}')


@pytest.mark.parametrize("number", ["#", "Order #", "Order number:", "Bestellnummer", "No.", "--", "№ "])
def test_a_label_without_a_number_is_refused(number: str) -> None:
    """field A11: the shop's variable was empty; all its orders would be one"""
    with pytest.raises(OrderError, match=r"has no order number|is empty"):
        parse_order(json.dumps({"id": number, "total": "1.00", "currency": "EUR"}).encode())


def _refused(raw: bytes) -> str:
    with pytest.raises(OrderError) as told:
        parse_order(raw)
    return str(told.value)


@pytest.mark.parametrize(
    "members",
    [
        lambda n: [*(f'"{k:x}":1' for k in range(n)), '"z":1,"z":2'],
        lambda n: [f'"{k:x}":1' for k in range(n)],
        lambda n: ['"items":[' + ",".join('{"id":"a","x":1}' for _ in range(n)) + "]"],
    ],
    ids=["a name twice", "unknown names", "unknown names of items"],
)
def test_what_is_no_order_is_refused_in_time_linear_in_its_length(members: Any) -> None:
    def refused(count: int) -> None:
        assert len(_refused(("{" + ",".join(members(count)) + "}").encode())) < 1500

    assert_linear(refused, 300)


@pytest.mark.parametrize("number", ["1e999999", "1e15", "1000000000000000.0", "-1e999999", "1e400"])
@pytest.mark.parametrize("field", ["price", "quantity", "discount", "tax"])
def test_no_amount_of_an_item_is_too_large_to_compute_with(field: str, number: str) -> None:
    raw = body(items=[{"id": "a", field: "@"}]).replace(b'"@"', number.encode())
    assert f"{field}: it is " in _refused(raw)


@pytest.mark.parametrize("number", ["1e-999999", "0e999999", "0.00000000000001", "1" + ".1" + "1" * 9000])
def test_an_amount_of_an_item_has_no_more_digits_than_one_computes_with(number: str) -> None:
    item = {"id": "a", "price": "@", "quantity": "@", "discount": "@", "tax": "@"}
    (found,) = parse_order(body(items=[item]).replace(b'"@"', number.encode())).order.items or ()
    for amount in (found.price, found.quantity, found.discount, found.tax):
        assert amount is not None
        assert len(f"{amount:f}") <= 28


def test_an_item_may_be_a_discount_and_none_is_less_than_no_pieces() -> None:
    (found,) = parse_order(body(items=[{"id": "a", "price": "-5.00", "tax": -1}])).order.items or ()
    assert (found.price, found.tax) == (Decimal("-5.00"), Decimal(-1))
    assert "quantity: it is negative" in _refused(body(items=[{"id": "a", "quantity": -1}]))
    returned = {"id": "r", "amount": "1", "items": [{"id": "a", "quantity": -9}]}
    assert "quantity: it is negative" in _refused(body(refunds=[returned]))


def test_the_items_of_all_refunds_together_are_bounded() -> None:
    refunds = [{"id": str(n), "amount": "1", "items": [{"id": "a"}] * 9} for n in range(50)]
    assert "refunds: they name more than 400 items" in _refused(body(refunds=refunds))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"placed_at": "yesterday"}, "placed_at: write it with its zone"),
        ({"updated_at": -5}, "updated_at: it is not one of these years"),
        ({"tax": "1,50"}, "tax: write it as a number with a dot"),
        ({"refunds": [{"id": "r", "amount": "x"}]}, "refunds.0.amount: write it as a number with a dot"),
        ({"email_hash": "j@x.example"}, "email_hash: write the SHA-256 of the address in lower case"),
        ({"visitors": "v"}, "visitors: there is no such field; docs/api.md names all"),
        ({"items": [{"name": "mug"}]}, "items.0.id: it is missing"),
    ],
)
def test_an_error_names_the_field_and_what_to_write(wrong: dict[str, Any], said: str) -> None:
    assert said in _refused(body(**wrong))
