from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from clew.postbacks.model import Report
from clew.postbacks.values import Given, text, value
from clew.referral.catalogue import Param

MakeReport = Callable[..., Report]


def read(report: Report, source: str, written: str = "text", settings: Any = None, **more: Any) -> Any:
    return value(Param("p", source, format=written, **more), Given(report, settings or {}))


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


def test_an_order_is_one_part_in_the_partners_commission_group(report: MakeReport) -> None:
    settings = {"commission_group": "CHAT"}
    assert read(report(), "parts", "group:amount", settings) == "CHAT:59.90"
    assert read(report(), "parts", "group_objects", settings) == [
        {"code": "CHAT", "amount": Decimal("59.90")}
    ]
    assert read(report(), "parts", "group:amount") is None


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
