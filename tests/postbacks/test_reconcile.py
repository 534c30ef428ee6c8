"""A network's report is read and compared with what the network was told."""

import json
import tracemalloc
from dataclasses import replace
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from clew.postbacks import report_file
from clew.postbacks.reconcile import Told, compare, known_number, number_of
from clew.postbacks.report_file import ReportFileError, Row, _formats, format_of, read_report, rows_of
from clew.referral.networks_file import load
from hypothesis import given
from hypothesis import strategies as st

AWIN = (
    b"id,publisher_id,sale_amount,commission,date,commission_status,extra\n"
    b"1,77,59.90,5.99,2026-11-20T10:00:00,pending,1001\n"
    b"2,77,1234.50,12,2026-11-21T10:00:00,2,1002\n"
    b"3,77,5.00,1,2026-11-21T10:00:00,1,\n"
)


def told(
    order: str, amount: str | None = "10.00", *, cancelled: bool = False, state: str = "delivered"
) -> Told:
    number = None if amount is None else Decimal(amount)
    return Told(order, number, None if amount is None else "EUR", cancelled, state, "", 0.0)  # type: ignore[arg-type]


def row(
    order: str, amount: str = "10.00", status: str | None = "approved", currency: str | None = "EUR"
) -> Row:
    return Row(1, order, Decimal(amount), currency, status, None)  # type: ignore[arg-type]


def kinds(ours: list[Told], theirs: list[Row], others: dict[str, str] | None = None) -> list[tuple[str, str]]:
    return [(one.kind, one.order) for one in compare(ours, theirs, others or {}).differences]


def test_awins_report_is_read_by_its_entry() -> None:
    rows = read_report(AWIN, format_of("awin"), {})
    assert [(r.order, r.amount, r.status) for r in rows] == [
        ("1001", Decimal("59.90"), "pending"),
        ("1002", Decimal("1234.50"), "declined"),
    ]
    assert rows[0].at == 1795168800.0
    assert [r.order for r in rows_of(rows, 1795200000.0, None)] == ["1002"]


def test_times_are_those_of_the_networks_zone_and_dates_as_it_writes_them() -> None:
    def at(text: str, network: str | None = None, zone: str | None = None) -> float | None:
        body = f"order id,amount,Sale Amount,Action Date,date\n1,2,2,{text},{text}\n".encode()
        named = {"order": "order id"}
        (found,) = read_report(body, format_of(network), named, None if zone is None else ZoneInfo(zone))
        return found.at

    assert at("2025-11-23 23:30") == 1763940600.0
    assert at("2025-11-23 23:30", zone="America/Los_Angeles") == 1763940600.0 + 8 * 3600
    assert at("2025-11-23T23:30:00+01:00", zone="America/Los_Angeles") == 1763940600.0 - 3600
    assert at("1763940600", zone="America/Los_Angeles") == 1763940600.0
    assert at("11/23/2025", "impact") == at("23/11/2025") == at("2025-11-23")
    assert at("23/11/2025", "impact") is None


def test_the_answers_of_awins_and_everflows_interfaces_are_read() -> None:
    sale = {"amount": 5.5, "currency": "GBP"}
    awin = [{"orderRef": "1", "saleAmount": sale, "commissionStatus": "declined"}]
    (found,) = read_report(json.dumps(awin).encode(), format_of("awin"), {"order": "orderRef"})
    assert (found.order, found.amount, found.currency) == ("1", Decimal("5.5"), "GBP")
    assert found.status == "declined"
    at = 1763940600
    record = {"order_id": "7", "sale_amount": 12.3, "status": "invalid", "conversion_unix_timestamp": at}
    (found,) = read_report(json.dumps({"conversions": [record]}).encode(), format_of("everflow"), {})
    assert (found.order, found.amount, found.at) == ("7", Decimal("12.3"), float(at))
    assert found.status == "declined"


def test_each_difference_says_what_settles_it() -> None:
    def settled(ours: list[Told], theirs: list[Row]) -> tuple[str, str]:
        (found,) = compare([replace(one, postback="pb_1") for one in ours], theirs, {}).differences
        assert found.todo
        return found.kind, found.command

    assert settled([told("1")], []) == ("missing", "clew postbacks resend pb_1 --event order")
    assert settled([told("1", None, state="dead")], []) == ("not told", "clew postbacks retry pb_1")
    assert settled([told("1", None, state="held")], []) == ("not told", "clew postbacks release pb_1")
    assert settled([told("1", None, state="due")], []) == ("not told", "")
    assert settled([], [row("1")]) == ("unknown here", "")
    assert settled([told("1")], [row("1"), row("1")]) == ("doubled", "")
    assert settled([told("1")], [row("1", "9.99")]) == ("amount", "clew postbacks resend pb_1 --event adjust")
    assert settled([told("1")], [row("1", currency="USD")])[1].endswith("--event adjust")
    assert settled([told("1", cancelled=True)], [row("1")]) == ("state", "clew postbacks resend pb_1")
    assert settled([told("1", None, state="unknown")], [row("1")]) == ("state", "")


def test_every_format_is_of_a_network_in_the_catalogue() -> None:
    known = load().networks
    assert [one.network for one in _formats().report if one.network not in known] == []


@pytest.mark.parametrize(
    ("body", "amounts"),
    [
        ("Order ID;Amount\n1;1.234,50 €\n2;7,5\n3;1.000", ["1234.50", "7.5", "1000"]),
        ("Order ID\tAmount\n1\t1,234.50\n2\t$7.50\n3\t1,000", ["1234.50", "7.50", "1000"]),
        ("Order ID,Amount\n1,1234\n2,-7.5\n", ["1234", "-7.5"]),
        ("Bestellnummer;Bestellwert\n1;1 234,50\n2;12\n", ["1234.50", "12"]),
    ],
)
@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_amounts_are_read_as_the_file_writes_them(body: str, amounts: list[str], coding: str) -> None:
    rows = read_report(body.encode(coding), format_of(None), {})
    assert [r.amount for r in rows] == [Decimal(a) for a in amounts]


def test_json_is_read_where_the_networks_answer_has_its_records() -> None:
    record = {"orderId": "7", "saleAmountAdvCurrency": 12.30, "actionStatus": "locked"}
    answer = {"data": {"advertiserCommissions": {"records": [record]}}}
    (found,) = read_report(json.dumps(answer).encode(), format_of("cj"), {})
    assert (found.order, found.amount, found.status) == ("7", Decimal("12.3"), "approved")
    lines = b'{"order_id": "7", "amount": 1}\n{"order_id": "8", "amount": 0.1}\n'
    assert [r.amount for r in read_report(lines, format_of(None), {})] == [Decimal(1), Decimal("0.1")]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "the file has no rows"),
        (b"a,b\n1,2\n", "there is no column order id, orderid"),
        (b"order,amount\n1,free\n", "row 1: 'free' is no amount"),
        (b"order,amount,status\n1,2,maybe\n", "row 1: unknown status 'maybe'; known are pending"),
        (b'order,amount\n"1,2\n', "the file is not CSV"),
        (b"[1, 2]", "the file has no list of records at its top"),
        (b"{" * 5000, "the file is not JSON"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(body: bytes, problem: str) -> None:
    with pytest.raises(ReportFileError, match=problem):
        read_report(body, format_of(None), {})


def test_a_person_may_name_the_columns() -> None:
    rows = read_report(b"N,M,order,amount\n7,5,x,y\n", format_of(None), {"order": "n", "amount": "M"})
    assert [(r.order, r.amount) for r in rows] == [("7", Decimal(5))]


def test_what_agrees_is_no_difference() -> None:
    ours = [told("1"), told("2", cancelled=True), told("3", cancelled=True), told("4", None, state="refused")]
    theirs = [row("#1"), row("2", status="declined"), row("5", status="declined")]
    result = compare(ours, theirs, {})
    assert (result.agree, result.differences) == (5, ())


def test_each_kind_of_difference_is_found() -> None:
    assert kinds([told("1")], []) == [("missing", "1")]
    assert kinds([told("1", None, state="dead")], []) == [("not told", "1")]
    assert kinds([], [row("1")]) == [("unknown here", "1")]
    assert kinds([], [row("1")], {"1": "credited to nobody"}) == [("not theirs", "1")]
    assert kinds([told("1")], [row("1"), row("1")]) == [("doubled", "1")]
    assert kinds([told("1")], [row("1", "10.01")]) == [("amount", "1")]
    assert kinds([told("1")], [row("1", currency="USD")]) == [("currency", "1")]
    assert kinds([told("1", cancelled=True)], [row("1")]) == [("state", "1")]
    assert kinds([told("1")], [row("1", status="declined")]) == [("state", "1")]
    assert kinds([told("1", None, state="unknown")], [row("1")]) == [("state", "1")]


def test_the_parts_of_one_order_add_up() -> None:
    assert kinds([told("1")], [row("1", "4.00"), row("1", "6.00")]) == []
    assert kinds([told("1")], [row("1", "10.00"), row("1", "10.00", "declined")]) == []


def test_a_difference_says_what_each_side_has() -> None:
    (found,) = compare([told("1", None, state="dead")], [row("1")], {}).differences
    assert (found.kind, found.order, found.ours, found.theirs) == ("state", "1", "dead", "10.00 EUR approved")


@given(st.binary(max_size=300))
def test_any_file_is_read_or_refused_by_name(body: bytes) -> None:
    try:
        rows = read_report(body, format_of(None), {})
    except ReportFileError:
        return
    assert all(row.order for row in rows)


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31", "9999-12-31T23:59:59-23:59", "1969-12-31"])
def test_a_day_that_stands_for_no_time_is_none(day: str) -> None:
    (found,) = read_report(f"order,amount,date\n1,2,{day}\n".encode(), format_of(None), {})
    assert found.at is None


def test_a_column_without_a_name_is_no_field() -> None:
    (found,) = read_report(b"order,amount,\n1,2,paid\n", format_of(None), {})
    assert (found.status, found.currency, found.at) == (None, None, None)


def test_a_file_of_too_many_rows_is_refused_without_reading_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_file, "ROWS", 3)
    lines = "1,2\n" * 3
    assert len(read_report(f"order,amount\n{lines}".encode(), format_of(None), {})) == 3
    with pytest.raises(ReportFileError, match="more than 3 rows: split it"):
        # What comes after is no CSV.
        read_report(f'order,amount\n{lines}1,2\n"'.encode(), format_of(None), {})


def test_what_is_kept_of_a_row_is_small() -> None:
    rows = "100001,59.90,EUR,approved,2026-01-01 10:00:00,and a text that nobody asks for\n" * 20_000
    body = f"Order,Amount,Currency,Status,Date,Text\n{rows}".encode()
    tracemalloc.start()
    try:
        read_report(body, format_of(None), {})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - 5 * len(body) < 20_000 * 700


def test_a_command_to_copy_is_no_other_command() -> None:
    order = "$(reboot);x"
    (found,) = compare([], [row(order)], {number_of(order): "blog"}).differences
    assert found.command == "clew explain order '$(reboot);x'"


@pytest.mark.parametrize("order", ["1\x00", "\ud800", "x" * 5000, " "])
def test_a_text_that_is_no_number_is_not_looked_up(order: str) -> None:
    assert known_number(order) is None
    assert number_of(order) == order.strip()
