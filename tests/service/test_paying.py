"""Months are closed and partners paid: each commission once, with files that are always the same."""

import asyncio
import csv
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import pytest_asyncio
from clew.orders.model import OrderSeen, Refund
from clew.payouts.period import Period, PeriodError
from clew.payouts.settlement_file import SettlementFileError, format_for, read_rows
from clew.postbacks.report_file import format_of
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Shopped, Touched
from clew.service.ordering.correcting import correct
from clew.service.paying import Result, close, pay, statement
from clew.service.settling import Imported, exported, imported
from clew.service.workflow import decide
from clew.settings.model import Hold, Settings
from clew.stores.ledger import schema
from clew.stores.ledger.commissions import WantedCommissions
from clew.stores.ledger.postgresql import _Transaction as Transaction
from pydantic import ValidationError
from reporting import NOW, PARTNER, Shop, site

TERMS = [{"name": "all", "percent": "10"}]
OWN = {"name": "Shop GmbH", "iban": "DE89370400440532013000", "minimum": {"EUR": "5.00"}}
ACCOUNT = {"name": "Jürgen Blog", "iban": "FR1420041010050500013M02606"}
PERIOD = Period.at(NOW, "UTC")
NAMESPACE = {"p": "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"}


def settings(**partner: Any) -> dict[str, Any]:
    values = {**PARTNER, "terms": TERMS, "payout": ACCOUNT, **partner}
    return site(partners=[values], payer=OWN)


@pytest_asyncio.fixture
async def shop(tmp_path: Path, ledger_address: str) -> AsyncIterator[Shop]:
    built = Shop(tmp_path, settings(), ledger_address)
    await built.service.open()
    yield built
    await built.service.close()


async def buy(shop: Shop, number: str, total: str = "100.00", currency: str = "EUR") -> None:
    touch = Touch(int(shop.now) - 3600, (Click("", "ref", "c1", "blog"),), {}, "", "/")
    await shop.service.visits.change("shop", f"v{number}", [Touched(touch), Shopped()], shop.now)
    seen = OrderSeen(number, Decimal(total), currency, "api", state="paid")
    await shop.report(seen, f"v{number}")


async def refund(shop: Shop, number: str, amount: str) -> None:
    seen = OrderSeen(number, None, "EUR", "api", state=None, refunds=(Refund("r1", Decimal(amount)),))
    await shop.report(seen)


async def approve(shop: Shop, number: str) -> None:
    stored = await shop.service.ledger.orders.get("shop", number)
    assert stored is not None
    known = shop.service.sites["shop"].partners.get
    await decide(shop.service.ledger, known, stored.row, (), "approve", shop.now, by="ann", why="fine")


def parts(shop: Shop) -> tuple[Any, Any]:
    own = shop.service.settings.sites[0]
    return own, own.partners[0]


async def paid(shop: Shop, period: Period = PERIOD) -> list[Result]:
    ledger = shop.service.ledger
    await close(ledger, *parts(shop), period, shop.now)
    return await pay(ledger, *parts(shop), period, shop.now)


async def rows_of(shop: Shop, result: Result) -> list[list[str]]:
    assert result.payout is not None
    return [list(row) async for row in statement(shop.service.ledger, result.payout, str)]


async def states(shop: Shop) -> dict[str, str]:
    found = await shop.service.ledger.commissions.page(WantedCommissions())
    return {row.number: row.state for row in found}


async def test_a_payout_has_a_payment_and_a_line_for_each_order(shop: Shop) -> None:
    for number in ("1001", "1002", "1003"):
        await buy(shop, number)
    await refund(shop, "1002", "40.00")
    for number in ("1001", "1002"):
        await approve(shop, number)
    (result,) = await paid(shop)
    assert result.payout is not None
    assert (result.payout.amount, result.payout.lines) == (1600, 2)
    assert await states(shop) == {"1001": "paid", "1002": "paid", "1003": "pending"}
    rows = await rows_of(shop, result)
    assert [(row[1], row[3], row[4], row[5]) for row in rows[1:]] == [
        ("1001", "1", "100.00", "10.00"),
        ("1002", "1", "60.00", "6.00"),
        ("", "", "", "16.00"),
    ]
    assert "40.00 EUR of the order were refunded" in rows[2][7]
    assert (rows[0][2], rows[0][8]) == ("Order placed", "Commission as of")
    stored = await shop.service.ledger.orders.get("shop", "1002")
    assert stored is not None
    assert (rows[2][2], float(rows[2][8]) > stored.placed_at) == (str(stored.placed_at), True)
    tree = ElementTree.fromstring(result.payout.document or "")

    def text(path: str) -> str | None:
        return tree.findtext(f".//p:{path}", namespaces=NAMESPACE)

    assert (text("CtrlSum"), text("NbOfTxs"), text("InstdAmt")) == ("16.00", "1", "16.00")
    assert text("CdtrAcct/p:Id/p:IBAN") == ACCOUNT["iban"]
    assert text("DbtrAcct/p:Id/p:IBAN") == OWN["iban"]
    assert text("Cdtr/p:Nm") == "Jurgen Blog"  # the characters that SEPA allows


async def test_the_same_payout_again_is_the_same_and_pays_nothing(shop: Shop) -> None:
    await buy(shop, "1001")
    await approve(shop, "1001")
    (first,) = await paid(shop)
    before = await rows_of(shop, first)
    shop.now += 1000
    await buy(shop, "1002")
    await approve(shop, "1002")
    await refund(shop, "1001", "50.00")
    (again,) = await paid(shop)
    assert again.payout == first.payout
    assert await rows_of(shop, again) == before
    entries = await shop.rows(schema.commission_entries)
    assert [row["kind"] for row in entries].count("paid") == 1


async def test_two_processes_at_once_make_one_payout(shop: Shop) -> None:
    for number in range(4):
        await buy(shop, f"{number}1001")
        await approve(shop, f"{number}1001")
    results = await asyncio.gather(*(paid(shop) for _ in range(4)))
    assert len({one.payout.made_at for (one,) in results if one.payout}) == 1
    assert {one.payout.amount for (one,) in results if one.payout} == {4000}
    assert len(await shop.rows(schema.payouts)) == 1
    kinds = [row["kind"] for row in await shop.rows(schema.commission_entries)]
    assert (kinds.count("paid"), kinds.count("locked")) == (4, 4)


@pytest.mark.parametrize("ledger_address", ["postgresql"], indirect=True)
async def test_what_is_settled_while_a_payout_is_made_is_paid_later_and_whole(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order that nobody had settled when the payout locked its orders is settled by another process, at
    each step: its number is in between theirs."""
    ledger, own = shop.service.ledger, parts(shop)
    for number in ("1001", "1002", "1003", "1004", "1005"):
        await buy(shop, number)
    for number in ("1001", "1005"):
        await approve(shop, number)
    await close(ledger, *own, PERIOD, shop.now)
    waiting, steps, execute = ["1002", "1003", "1004"], list[str](), Transaction.execute

    async def with_another(tx: Transaction, statement: Any, given: Any = None) -> Any:
        found = await execute(tx, statement, given)
        text = str(getattr(statement, "statement", statement))
        if asyncio.current_task() is paying and ("FOR UPDATE" in text or "payouts" in text or "sum" in text):
            steps.append(text)
            if waiting and len(steps) > 1:
                await asyncio.create_task(settle(waiting.pop()))
        return found

    async def settle(number: str) -> None:
        await approve(shop, number)
        await close(ledger, *own, PERIOD, shop.now)

    monkeypatch.setattr(Transaction, "execute", with_another)
    paying = asyncio.create_task(pay(ledger, *own, PERIOD, shop.now))
    (result,) = await paying
    monkeypatch.undo()
    assert waiting == []
    assert result.payout is not None
    assert (result.payout.amount, result.payout.lines) == (2000, 2)
    assert [row[1] for row in await rows_of(shop, result)] == ["Order", "1001", "1005", ""]
    found = await states(shop)
    assert {number for number, state in found.items() if state == "paid"} == {"1001", "1005"}
    later = Period.at(PERIOD.end + 1, "UTC")
    (rest,) = await paid(shop, later)
    assert rest.payout is not None
    assert [row[1] for row in await rows_of(shop, rest)] == ["Order", "1002", "1003", "1004", ""]
    kinds = [row["kind"] for row in await shop.rows(schema.commission_entries)]
    assert kinds.count("paid") == 5


async def test_a_refund_after_the_payment_is_deducted_and_leaves_nothing(shop: Shop) -> None:
    await buy(shop, "1001")
    await approve(shop, "1001")
    await paid(shop)
    await refund(shop, "1001", "100.00")
    later = Period.at(PERIOD.end + 1, "UTC")
    shop.now = later.end + 1
    (negative,) = await paid(shop, later)
    assert (negative.payout, negative.due) == (None, -1000)
    await buy(shop, "1002", "250.00")
    await approve(shop, "1002")
    last = Period.at(shop.now, "UTC")
    (result,) = await paid(shop, last)
    assert result.payout is not None
    assert (result.payout.amount, result.payout.lines) == (1500, 2)
    lines = await rows_of(shop, result)
    assert [(row[1], row[5]) for row in lines[1:3]] == [("1001", "-10.00"), ("1002", "25.00")]
    sums = await shop.service.ledger.commissions.sums(WantedCommissions())
    assert sum(one.paid for one in sums) == sum(one.amount for one in sums) == 2500


async def test_files_that_leave_the_shop_have_no_notes_names_or_other_partners(tmp_path: Path) -> None:
    values = {**PARTNER, "terms": TERMS, "payout": ACCOUNT}
    shop = Shop(tmp_path, site(partners=[values, values | {"id": "other", "param": "o"}], payer=OWN))
    await shop.service.open()
    runtime, ledger = shop.service.sites["shop"], shop.service.ledger

    async def credit(number: str, partner: str) -> None:
        order = await ledger.orders.get("shop", number)
        assert order is not None
        whose, why = list(runtime.partners.values()), "the customer Jane Doe wrote that"
        await correct(ledger, whose, order, shop.now, by="ann", why=why, partner=partner)

    for number in ("1001", "1002", "1003", "1004"):
        await buy(shop, number)
    stored = await ledger.orders.get("shop", "1004")
    assert stored is not None
    why = "Jane Doe was refused"
    known = runtime.partners.get
    await decide(ledger, known, stored.row, (), "decline", shop.now, by="ann", why=why)
    await shop.report(OrderSeen("1005", Decimal("100.00"), "EUR", "api", state="paid"))
    shop.now += 1
    await credit("1005", "blog")
    for number in ("1001", "1002", "1003", "1005"):
        await approve(shop, number)
    first = await paid(shop)
    await refund(shop, "1002", "100.00")
    await credit("1001", "other")
    await buy(shop, "1006", "900.00")
    later = Period.at(PERIOD.end + 1, "UTC")
    shop.now = later.start + 1
    await approve(shop, "1006")
    lines = {row[1]: row[7] for one in (*first, *await paid(shop, later)) for row in await rows_of(shop, one)}
    assert lines["1001"] == "the order is not credited to the partner any more"
    assert lines["1002"] == "the order is refunded"
    assert lines["1003"] == lines["1005"] == "the order is credited to the partner"
    form = format_for(None)
    rows = [row async for row in exported(ledger, *parts(shop), PERIOD, form)]
    reasons = {row[0]: row[-1] for row in rows}
    assert (reasons["1001"], reasons["1004"]) == (lines["1001"], "declined")
    text = str((lines, rows))
    assert not [word for word in ("by ann", "Jane", "other") if word in text]
    shown = [row["why"] for row in await shop.rows(schema.commission_entries)]
    assert any("chosen by ann: the customer Jane Doe wrote that" in why for why in shown)
    await shop.service.close()


async def test_a_sum_below_the_minimum_is_carried_over(shop: Shop) -> None:
    await buy(shop, "1001", "30.00")
    await approve(shop, "1001")
    (first,) = await paid(shop)
    assert first.payout is None
    assert "below the minimum of 5.00 EUR" in first.why
    await buy(shop, "1002", "30.00")
    shop.now = PERIOD.end + 10
    await approve(shop, "1002")
    later = Period.at(shop.now, "UTC")
    (result,) = await paid(shop, later)
    assert result.payout is not None
    assert (result.payout.amount, result.payout.lines) == (600, 2)


async def test_other_currencies_have_a_file_of_their_own_and_no_sepa(shop: Shop) -> None:
    await buy(shop, "1001")
    await buy(shop, "1002", "10000", "JPY")
    for number in ("1001", "1002"):
        await approve(shop, number)
    euro, yen = await paid(shop)
    assert euro.payout is not None
    assert yen.payout is not None
    assert (euro.payout.currency, euro.payout.document is None) == ("EUR", False)
    assert (yen.payout.currency, yen.payout.amount, yen.payout.document) == ("JPY", 1000, None)
    assert (await rows_of(shop, yen))[1][5] == "1000"


async def test_a_partner_without_an_account_is_not_paid_and_that_is_said(tmp_path: Path) -> None:
    built = Shop(tmp_path, settings(payout=None))
    await built.service.open()
    await buy(built, "1001")
    await approve(built, "1001")
    (result,) = await paid(built)
    assert (result.payout, result.impossible) == (None, True)
    assert "has no account" in result.why
    await built.service.workflow.step()
    noted = [one for one in built.service.events.take_noted() if one.event == "payout_impossible"]
    assert [one.details["amount"] for one in noted] == ["10.00"]
    await built.service.close()


async def test_only_partners_that_clew_pays_are_looked_at_for_what_they_are_not_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network pays its partners itself: what was settled with it is not read every hour, for years."""
    own = settings(payout=None)
    network = {"id": "awin", "network": "awin", "settings": {"merchant_id": "1"}}
    built = Shop(tmp_path, {**own, "partners": [*own["partners"], network]})
    await built.service.open()
    payouts, asked = built.service.ledger.payouts, list[tuple[str, str]]()
    real = payouts.unpaid

    async def unpaid(site: str, partner: str) -> tuple[tuple[str, int], ...]:
        asked.append((site, partner))
        return await real(site, partner)

    monkeypatch.setattr(payouts, "unpaid", unpaid)
    await built.service.workflow.step()
    assert asked == [("shop", "blog")]
    await built.service.close()


@pytest.mark.parametrize("iban", ["DE89370400440532013001", "DE12", "nonsense"])
def test_a_wrong_iban_is_refused_in_the_settings(iban: str) -> None:
    data = {"secret": "s" * 40, "sites": [settings(payout={"name": "x", "iban": iban})]}
    with pytest.raises(ValidationError, match="not an IBAN"):
        Settings.model_validate(data)


def test_a_period_is_a_month_of_the_sites_time_zone() -> None:
    found = Period.named("2026-10", "Europe/Berlin")
    assert found.end - found.start == 31 * 86400 + 3600
    for name in ("2026-13", "2026-1", "10-2026", "2026-10-01"):
        with pytest.raises(PeriodError, match="write a month"):
            Period.named(name, "UTC")


async def take(shop: Shop, text: str) -> Imported:
    rows = list(read_rows(text.encode(), format_of(None), {}))
    own = parts(shop)
    return await imported(shop.service.ledger, *own, rows, shop.now, name="f.csv", source="file")


async def test_a_file_gives_states_and_the_same_file_twice_changes_nothing(shop: Shop) -> None:
    for number in ("1001", "1002", "1003", "1004"):
        await buy(shop, number)
    await refund(shop, "1004", "100.00")
    text = (
        "Order;Status;Currency\n#1001;confirmed;EUR\n1002;Rejected;EUR\n1003;paid;\n"
        "1004;approved;EUR\n9999;approved;EUR\n"
    )
    first = await take(shop, text)
    assert first.changed == {"approved": 1, "declined": 1, "paid": 1}
    assert [(line, number) for line, number, _ in first.left] == [(5, "1004"), (6, "9999")]
    expected = {"1001": "approved", "1002": "declined", "1003": "paid", "1004": "declined"}
    assert await states(shop) == expected
    count = len(await shop.rows(schema.commission_entries))
    again = await take(shop, text)
    assert (again.changed, again.unchanged) == ({}, 3)
    assert len(await shop.rows(schema.commission_entries)) == count
    assert await states(shop) == expected


async def test_what_was_exported_can_be_imported_again(shop: Shop) -> None:
    for number in ("1001", "1002", "1003"):
        await buy(shop, number)
    await approve(shop, "1001")
    rows = [row async for row in exported(shop.service.ledger, *parts(shop), PERIOD, format_for(None))]
    assert [row[0] for row in rows] == ["Order", "1003", "1002", "1001"]
    assert [row[2] for row in rows[1:]] == ["pending", "pending", "approved"]
    edited = [[cell.replace("pending", "approved") for cell in row] for row in rows]
    text = "\n".join(",".join(f'"{cell}"' for cell in row) for row in edited)
    found = await take(shop, text)
    assert (found.changed, found.unchanged) == ({"approved": 2}, 1)
    assert next(csv.reader(text.splitlines())) == rows[0]


async def test_a_file_says_of_what_was_amended_whether_it_is_approved(shop: Shop) -> None:
    for number in ("1001", "1002"):
        await buy(shop, number)
        await refund(shop, number, "40.00")
    await approve(shop, "1001")
    rows = [row async for row in exported(shop.service.ledger, *parts(shop), PERIOD, format_for(None))]
    assert [row[2] for row in rows[1:]] == ["amended", "amended, approved"]
    found = await take(shop, "\n".join(",".join(f'"{cell}"' for cell in row) for row in rows))
    assert (found.changed, found.unchanged, found.open) == ({}, 1, 1)
    network = [
        row async for row in exported(shop.service.ledger, *parts(shop), PERIOD, format_for("webgains"))
    ]
    assert [row[0] for row in network] == ["Action", "Adjust", "Adjust"]
    sums = await shop.service.ledger.commissions.sums(WantedCommissions())
    assert [(one.state, one.approved, one.count, one.amount) for one in sums] == [
        ("amended", False, 1, 600),
        ("amended", True, 1, 600),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the file is empty"),
        ("Order,Amount\n1,2\n", "line 1: there is no column .* for the status"),
        ("Order,Status\n1001,approved\n1002,perhaps\n", "line 3, column Status: unknown status 'perhaps'"),
        ("Order,Status\n,approved\n", "line 2, column Order: "),
        ('Order,Status\n"1001,approved\n', "it is not CSV"),
    ],
)
def test_a_file_with_an_error_names_line_and_column(text: str, why: str) -> None:
    with pytest.raises(SettlementFileError, match=why):
        list(read_rows(text.encode(), format_of(None), {}))


async def test_a_payout_pays_nothing_of_an_order_in_doubt_and_names_it(shop: Shop) -> None:
    for number in ("1001", "1002"):
        await buy(shop, number)
        await approve(shop, number)
    stored = await shop.service.ledger.orders.get("shop", "1001")
    assert stored is not None
    changed = {"amount": Decimal(20_000), "hold": Hold(agent_limit=Decimal(500))}
    site, partner = parts(shop)
    ledger = shop.service.ledger
    await correct(ledger, [partner], stored, shop.now, by="ann", why="misread", **changed)
    closed = await close(ledger, site, partner, PERIOD, shop.now)
    assert (closed.settled, closed.waiting) == (1, 0)  # the approval was of less
    await approve(shop, "1001")
    closed = await close(ledger, site, partner, PERIOD, shop.now)
    assert (closed.settled, closed.waiting) == (0, 1)
    assert closed.why[0][0] == "1001"
    assert "above the limit of 500 for one agent" in closed.why[0][1]
    (result,) = await paid(shop)
    assert result.payout is not None
    assert (result.payout.amount, result.payout.lines) == (1000, 1)


async def test_a_commission_of_nothing_is_paid_as_it_is_settled(tmp_path: Path) -> None:
    shop = Shop(tmp_path, settings(terms=[{"name": "none", "percent": "0"}]))
    await shop.service.open()
    await buy(shop, "1001")
    await approve(shop, "1001")
    assert await paid(shop) == []
    assert await states(shop) == {"1001": "paid"}
    await shop.service.close()
