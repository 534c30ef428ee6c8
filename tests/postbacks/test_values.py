import hmac
from base64 import b64decode
from collections.abc import Callable
from decimal import Decimal
from hashlib import md5
from typing import Any

import pytest
from clew.orders.model import Item
from clew.orders.money import minor_digits
from clew.postbacks.model import Report
from clew.postbacks.values import given, text, value
from clew.referral.calls import Param
from hypothesis import given as given_by_hypothesis
from hypothesis import strategies as st

MakeReport = Callable[..., Report]


def read(report: Report, source: str, written: str = "text", settings: Any = None, **more: Any) -> Any:
    return value(Param("p", source, format=written, **more), given(report, settings or {}))


@pytest.mark.parametrize(
    ("amount", "currency", "written", "expected"),
    [
        ("59.90", "EUR", "text", "59.90"),
        ("59.90", "EUR", "decimal", "59.90"),
        ("7200", "JPY", "decimal", "7200"),
        ("7200", "JPY", "decimal2", "7200.00"),
        ("1.235", "KWD", "decimal2", "1.24"),
        ("59.90", "EUR", "number", Decimal("59.90")),
        ("59.90", "EUR", "minor", 5990),
        ("7200", "JPY", "minor", 7200),
        ("1.235", "KWD", "minor", 1235),
        ("59.50", "EUR", "integer", 60),
    ],
)
def test_amounts_are_written_as_each_network_wants_them(
    report: MakeReport, amount: str, currency: str, written: str, expected: Any
) -> None:
    assert read(report(amount=amount, currency=currency), "amount", written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("text", 1763860000),
        ("unix", 1763860000),
        ("unix_ms", 1763860000000),
        ("iso8601", "2025-11-23T01:06:40Z"),
        ("%Y-%m-%d %H:%M:%S", "2025-11-23 01:06:40"),
    ],
)
def test_times_are_written_as_each_network_wants_them(
    report: MakeReport, written: str, expected: Any
) -> None:
    assert read(report(), "order_time", written) == expected


def test_a_click_id_goes_to_the_parameter_of_its_own_kind(report: MakeReport) -> None:
    google = report(click_id="X", click_param="wbraid")
    assert read(google, "click_id", of=("gclid",)) is None
    assert read(google, "click_id", of=("wbraid",)) == "X"
    assert read(google, "click_id") == "X"
    assert read(report(click_id="X"), "click_id", of=("gclid",)) == "X"


def test_a_click_id_in_metas_form_carries_the_landing_time(report: MakeReport) -> None:
    assert read(report(click_id="X"), "click_id", "fbc") == "fb.1.1763859600000.X"


def test_one_click_id_is_a_list_of_one_where_several_are_taken(report: MakeReport) -> None:
    assert read(report(click_id="X"), "click_ids", join=",") == "X"
    assert read(report(click_id="X"), "click_ids") == ["X"]


def groups_of(report: Report, groups: dict[str, str], **settings: Any) -> list[tuple[str, Decimal]]:
    return [(part.group, part.amount) for part in given(report, settings, groups).parts]


BASKET = (
    Item(id="1", category="Shoes", quantity=Decimal(3), price=Decimal("10.01")),
    Item(id="2", category="Books", quantity=Decimal(2), price=Decimal("21.01"), discount=Decimal("2.02")),
    Item(id="3", category="Mugs", price=Decimal("9.97")),
)


def test_an_order_of_which_no_items_are_known_is_one_part_in_the_commission_group(report: MakeReport) -> None:
    assert groups_of(report(), {}, commission_group="CHAT") == [("CHAT", Decimal("59.90"))]
    assert groups_of(report(), {"Shoes": "S"}, commission_group="CHAT") == [("CHAT", Decimal("59.90"))]
    assert groups_of(report(), {}) == []


def test_the_items_of_an_order_are_in_the_groups_of_their_category_or_id(report: MakeReport) -> None:
    order = report(amount="80.00", items=BASKET)
    found = groups_of(order, {"Shoes": "S", "2": "B"}, commission_group="D")
    assert found == [("S", Decimal("30.03")), ("B", Decimal("40.00")), ("D", Decimal("9.97"))]
    assert groups_of(order, {"Shoes": "S"}) == []  # an item without a group


@given_by_hypothesis(
    amount=st.integers(0, 10**9),
    before=st.integers(0, 10**9),
    items=st.lists(
        st.tuples(st.integers(0, 10**7), st.integers(1, 50), st.integers(0, 10**7)), min_size=1, max_size=12
    ),
    currency=st.sampled_from(["EUR", "JPY", "KWD"]),
)
def test_the_items_are_together_exactly_what_is_reported(
    amount: int, before: int, items: list[tuple[int, int, int]], currency: str
) -> None:
    unit = Decimal(1).scaleb(-minor_digits(currency))
    bought = tuple(
        Item(id=str(n), quantity=Decimal(q), price=p * unit, discount=d * unit)
        for n, (p, q, d) in enumerate(items)
    )
    money = lambda minor: format(minor * unit, "f")  # noqa: E731
    told = Report(
        "adjust", "p", "c", "1", money(amount), currency, "web", 1, 1, before=money(before), items=bought
    )
    lines = given(told, {"commission_group": "A"}).lines
    assert sum(line.total for line in lines) == amount * unit
    assert sum(line.change for line in lines) == (amount - before) * unit
    assert all(line.unit_price * line.quantity - line.discount == line.total for line in lines)
    assert all(line.discount >= 0 and line.total >= 0 for line in lines)
    assert sum(part.amount for part in given(told, {"commission_group": "A"}).parts) == amount * unit


def test_items_without_a_price_are_as_if_they_were_not_known(report: MakeReport) -> None:
    order = report(items=(*BASKET, Item(id="4")))
    assert given(order, {}).lines == ()
    (line,) = given(order, {}, without_items="ORDER").lines
    assert (line.sku, line.unit_price, line.quantity, line.total) == (
        "ORDER",
        Decimal("59.90"),
        Decimal(1),
        Decimal("59.90"),
    )


def test_a_cancelled_order_takes_back_what_was_reported_of_each_item(report: MakeReport) -> None:
    told = report(event="cancel", amount="0.00", before="80.00", items=BASKET)
    changes = [line.change for line in given(told, {}).lines]
    assert changes == [Decimal("-30.03"), Decimal("-40.00"), Decimal("-9.97")]
    assert read(told, "amount.change", "minor") == -8000
    assert read(told, "amount.change", "decimal", negative=True) == "80.00"


def test_a_template_is_filled_and_its_separators_stay_its_own(report: MakeReport) -> None:
    order = report(amount="80.00", items=(Item(id="a|b", name="Tea & more", price=Decimal("80.00")),))
    param = Param(
        "p",
        "template",
        template="{item.sku}|{item.name}|{item.line_total:minor}",
        each="item",
        join=";",
        remove="|",
    )
    assert value(param, given(order, {})) == "a b|Tea & more|8000"
    assert read(report(), "template", template="{order_id}-{amount:minor}") == "100001-5990"
    assert read(report(), "template", template="{voucher}{settings.none}") is None


def test_values_are_hashed_and_signed(report: MakeReport) -> None:
    assert read(report(), "order_id", digest="md5", prefix="v04") == "v04" + md5(b"100001").hexdigest()
    signed = read(report(), "order_id", settings={"key": "k"}, digest="hmac-sha256", key="key")
    assert signed == hmac.new(b"k", b"100001", "sha256").hexdigest()
    short = read(report(), "order_id", settings={"key": "k"}, digest="hmac-sha256", key="key", base64=True)
    assert b64decode(short).hex() == signed


def test_an_email_hash_goes_only_where_the_person_consented(report: MakeReport) -> None:
    assert read(report(email_sha256="ab", consent="granted"), "email_sha256") == "ab"
    for consent in ("denied", "pending", "unknown", "assumed"):
        assert read(report(email_sha256="ab", consent=consent), "email_sha256") is None


def test_settings_and_constants_are_written_in_their_type(report: MakeReport) -> None:
    settings: dict[str, Any] = {"n": 7, "on": True, "empty": ""}
    assert read(report(), "setting", settings=settings, argument="n") == "7"
    assert read(report(), "setting", "integer", settings, argument="n") == 7
    assert read(report(), "setting", "boolean", settings, argument="on") is True
    assert read(report(), "setting", settings=settings, argument="empty") is None
    assert read(report(), "setting", settings=settings, argument="missing", default="d") == "d"
    assert read(report(), "const", argument="ss") == "ss"


def test_an_empty_voucher_is_not_sent(report: MakeReport) -> None:
    assert read(report(), "voucher") is None
    assert read(report(voucher="CHAT10"), "voucher") == "CHAT10"


def test_values_are_translated_and_cut_as_the_catalogue_says(report: MakeReport) -> None:
    assert read(report(), "channel", values={"chat": "livechat"}) == "livechat"
    assert read(report(channel="web"), "channel", values={"chat": "livechat"}) == "web"
    assert read(report(order_id="x" * 60), "order_id", max_length=50) == "x" * 50


def test_unknown_values_are_omitted_from_calls(report: MakeReport) -> None:
    assert read(report(), "customer_type") is None


def test_values_in_a_query_are_text() -> None:
    assert [text(v) for v in (True, False, 5, Decimal("59.90"), "x")] == ["1", "0", "5", "59.90", "x"]


@pytest.mark.parametrize(
    ("click_id", "more", "expected"),
    [
        ("2557489.b7d13f.x", {"until": "."}, "2557489"),
        ("2557489", {"until": "."}, "2557489"),
        (".b7d13f", {"until": "."}, None),
        ("123.9f8e.7d", {"after": "."}, "9f8e.7d"),
        ("123", {"after": "."}, None),
        ("a=1;b=2;c", {"after": "b=", "until": ";"}, "2"),
        ("123.9f8e", {"until": ".", "written": "integer"}, 123),
        ("12a.9f8e", {"until": ".", "written": "integer"}, None),
        ("9" * 5000 + ".x", {"until": ".", "written": "integer"}, None),
        ("１２３.x", {"until": ".", "written": "integer"}, None),
    ],
)
def test_a_part_of_a_click_id_may_be_a_parameter(
    report: MakeReport, click_id: str, more: Any, expected: Any
) -> None:
    assert read(report(click_id=click_id), "click_id", **more) == expected


def test_a_digest_is_left_out_where_its_secret_is_not_set(report: MakeReport) -> None:
    made, keyed = report(), Param("s", "order_id", digest="hmac-sha256", key="secret")
    in_template = Param("s", "template", template="{settings.secret}{order_id}", digest="md5")
    for param in (keyed, in_template):
        assert value(param, given(made, {})) is None
        assert value(param, given(made, {"secret": ""})) is None
        assert value(param, given(made, {"secret": "x"})) is not None


def test_a_parameter_for_tests_has_no_value_elsewhere(report: MakeReport) -> None:
    param = Param("t", "setting", argument="code", when="test")
    assert value(param, given(report(), {"code": "T1"})) is None
    assert value(param, given(report(), {"code": "T1"}, test=True)) == "T1"
