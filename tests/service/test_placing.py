"""Reports without an order number: joined while that is sure, in any order of arrival; else a question."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from itertools import permutations
from pathlib import Path

import pytest
import pytest_asyncio
from clew.orders.model import OrderError, OrderSeen, Refund
from clew.service import service
from clew.service.ordering import placing, recording
from clew.service.ordering.story import replays
from clew.stores.ledger import schema
from clew.stores.ledger.known import Known
from reporting import PARTNER, Shop, site
from sqlalchemy import func, select

EMAIL = "a" * 64


@pytest_asyncio.fixture
async def shop(tmp_path: Path, ledger_address: str) -> AsyncIterator[Shop]:
    sending = PARTNER | {"postback": "http://127.0.0.1:9/p?c={click_id}&e={event}"}
    built = Shop(tmp_path, site(partners=[sending], hold={"amounts": False}), ledger_address)
    await built.service.open()
    yield built
    await built.service.close()


def order_seen(number: str | None, total: str | None = "100.00", **said: object) -> OrderSeen:
    amount = None if total is None else Decimal(total)
    state = "placed" if total else None
    values = {"total": amount, "currency": "EUR", "state": state} | said
    return OrderSeen(id=number, source="api", **values)  # type: ignore[arg-type]


async def report(shop: Shop, seen: OrderSeen, visitor: str | None = None) -> int | None:
    """Report an order; the row of the report if it names no number."""
    shop.now += 1
    ordering, at = shop.service.ordering, shop.service.sites["shop"]
    if seen.numbers:
        await ordering.record(at, seen, visitor=visitor)
        return None
    return (await ordering.record_unnumbered(at, seen, visitor=visitor)).stored.row


async def known(shop: Shop, number: str) -> Known:
    return (await shop.service.ledger.histories.known("shop", [number]))[0]


async def test_a_payment_without_a_number_is_joined_to_its_order_now_or_later(shop: Shop) -> None:
    await shop.bought("v1")
    paid = order_seen(None, state="paid", coupon="SAVE")
    for number, arrival in (("1", ("order", "payment")), ("2", ("payment", "order"))):
        visitor = f"v{number}"
        await shop.bought(visitor)
        for step in arrival:
            if step == "payment":
                await report(shop, paid, visitor)
            else:
                await report(shop, order_seen(number), visitor)
        order = await shop.service.ledger.orders.get("shop", number)
        assert order is not None
        assert order.state == "paid", arrival
        assert [s.joined_by for s in (await known(shop, number)).sightings if s.by_evidence] == [
            "carrier,amount"
        ]


async def left_behind(shop: Shop, monkeypatch: pytest.MonkeyPatch, *visitors: str) -> None:
    """Payments, and then their orders, whose process ends before it looks for the payments."""
    for visitor in visitors:
        await shop.bought(visitor)
        await report(shop, order_seen(None, state="paid"), visitor)

    async def ended(*_: object) -> None:
        raise EndedError

    with monkeypatch.context() as patched:
        patched.setattr(placing.Placing, "join_near", ended)
        for visitor in visitors:
            with pytest.raises(EndedError):
                await report(shop, order_seen(visitor), visitor)


class EndedError(Exception):
    pass


async def test_reports_that_a_process_left_behind_are_joined_by_another(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await left_behind(shop, monkeypatch, "1", "2", "3", "4", "5")
    monkeypatch.setattr(recording, "LOOKED_AT", 2)
    counts = []
    for _ in range(4):
        await shop.service.ordering.join_waiting(shop.service.sites.get)
        counts.append(await shop.service.ordering.waiting_count("shop"))
    assert counts == [3, 1, 0, 0]
    for number in "12345":
        order = await shop.service.ledger.orders.get("shop", number)
        assert order is not None
        assert order.state == "paid"


async def test_reports_that_fit_no_order_do_not_keep_others_from_being_looked_at(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.bought("nobody")
    for total in ("1.00", "2.00", "3.00"):
        await report(shop, order_seen(None, total), "nobody")
    await left_behind(shop, monkeypatch, "1")
    assert await shop.service.ordering.waiting_count("shop") == 4
    monkeypatch.setattr(recording, "LOOKED_AT", 2)
    for _ in range(2):
        await shop.service.ordering.join_waiting(shop.service.sites.get)
    assert await shop.service.ordering.waiting_count("shop") == 3
    for _ in range(3):
        await shop.service.ordering.join_waiting(lambda _: None)


async def test_a_running_clew_looks_for_them_by_itself(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await left_behind(shop, monkeypatch, "1")
    monkeypatch.setattr(service, "JOIN_EVERY", 0.01)
    await shop.service.close()
    await shop.service.start()
    async with asyncio.timeout(20):
        while await shop.service.ordering.waiting_count("shop"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await shop.service.stop()
    await shop.service.open()


@pytest.mark.slow
@pytest.mark.parametrize("told_at_once", [True, False])
async def test_any_order_of_arrival_ends_the_same(shop: Shop, told_at_once: bool) -> None:
    """A payment and a refund without a number, two orders of one customer, one of which has their amount."""
    expected: object = None
    for arrival in shop.arrivals(5):
        name = "".join(map(str, arrival))
        await shop.bought(name)
        five: list[tuple[OrderSeen, str | None]] = [
            (order_seen(name, "100.00", email_hash=None), name),
            (order_seen(f"{name}-b", "80.00"), None),
            (order_seen(None, "100.00", state="paid", coupon=f"C{name}"), name),
            (order_seen(f"{name}-b", None, coupon=f"C{name}"), None),
            (order_seen(None, "80.00", coupon=f"C{name}", refunds=(Refund("r", Decimal(30)),)), None),
        ]
        for step in arrival:
            seen, visitor = five[step]
            await report(shop, seen, visitor)
            if told_at_once:
                await shop.deliver()
        await shop.deliver()
        first = await shop.service.ledger.orders.get("shop", name)
        second = await shop.service.ledger.orders.get("shop", f"{name}-b")
        assert first is not None
        assert second is not None
        found = (
            (first.state, first.total, first.refunded, first.partner),
            (second.state, second.total, second.refunded),
            [s.joined_by for s in (await known(shop, name)).sightings if s.by_evidence],
            [s.joined_by for s in (await known(shop, f"{name}-b")).sightings if s.by_evidence],
            shop.sums.get(name),
            len(await shop.service.ledger.loose.waiting("shop", 0, 99)),
        )
        expected = expected or found
        assert found == expected, name
    assert expected == (
        ("paid", Decimal("100.00"), Decimal(0), "blog"),
        ("part_refunded", Decimal("80.00"), Decimal(30)),
        ["carrier,amount"],
        ["coupon,amount"],
        Decimal("100.00"),
        0,
    )


@pytest.mark.parametrize("arrival", list(permutations(range(3))), ids=lambda a: "".join(map(str, a)))
async def test_a_second_candidate_undoes_a_join_and_the_report_is_proposed(
    shop: Shop, arrival: tuple[int, ...]
) -> None:
    three = [
        order_seen("1", email_hash=EMAIL),
        order_seen("2", email_hash=EMAIL),
        order_seen(None, state="paid", email_hash=EMAIL),
    ]
    for step in arrival:
        await report(shop, three[step])
    for number in ("1", "2"):
        order = await shop.service.ledger.orders.get("shop", number)
        assert order is not None
        assert order.state == "placed"
    ((stored, candidates),) = await shop.service.ordering.waiting("shop", 9)
    assert list(candidates) == ["1", "2"]
    at = shop.service.sites["shop"]
    await shop.service.ordering.move(at, stored.row, "2", by="ann", why="she paid both by card")
    assert sorted(str(s.joined_by) for s in (await known(shop, "2")).sightings) == ["number", "person"]
    order = await shop.service.ledger.orders.get("shop", "2")
    assert order is not None
    assert order.state == "paid"
    assert await shop.service.ordering.waiting_count("shop") == 0
    await report(shop, three[2])
    assert await shop.service.ordering.waiting_count("shop") == 0


async def test_of_two_writers_at_the_same_time_the_later_one_joins(shop: Shop) -> None:
    for number in range(20):
        visitor = f"v{number}"
        await shop.bought(visitor)
        both = [
            report(shop, order_seen(str(number)), visitor),
            report(shop, order_seen(None, state="paid"), visitor),
        ]
        await asyncio.gather(*(reversed(both) if number % 2 else both))
        order = await shop.service.ledger.orders.get("shop", str(number))
        assert order is not None
        assert order.state == "paid", number


async def test_the_same_report_without_a_number_adds_nothing(shop: Shop) -> None:
    paid = order_seen(None, state="paid", email_hash=EMAIL)
    rows = {await report(shop, paid) for _ in range(3)}
    assert len(rows) == 1
    assert await report(shop, replace(paid, as_of=shop.now)) not in rows


async def test_too_many_and_too_old_ones_are_given_up_and_kept(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "WAITING", 3)
    for number in range(5):
        await report(shop, order_seen(None, f"{number}.00", email_hash=EMAIL))
    assert await shop.service.ordering.waiting_count("shop") == 3
    shop.now += 31 * 86400
    await report(shop, order_seen(None, "9.00", email_hash=EMAIL))
    assert await shop.service.ordering.waiting_count("shop") == 1
    noted = {(n.event, n.details["reports"]): n.count for n in shop.service.events.take_noted()}
    assert noted == {("report_given_up", 3): 3}
    await report(shop, order_seen("1", "0.00", email_hash=EMAIL, placed_at=shop.now - 31 * 86400))
    assert len((await known(shop, "1")).sightings) == 1


async def test_undoing_a_wrong_join_separates_the_orders_and_notifies_the_partner(shop: Shop) -> None:
    """The server said that two numbers are one order. They are not."""
    await shop.bought("v1")
    await report(shop, order_seen("1001"), "v1")
    await report(shop, order_seen("x7", "40.00"))
    await report(shop, replace(order_seen("1001", None), further=("x7",)))
    await shop.deliver()
    merged = await known(shop, "x7")
    assert (merged.number, len(merged.sightings)) == ("1001", 3)
    wrong = merged.sightings[-1]
    at = shop.service.sites["shop"]
    await shop.service.ordering.move(at, wrong.row, "9999", by="ann", why="a typing error")
    await shop.deliver()
    for number, count, total in (("1001", 1, "100.00"), ("x7", 1, "40.00"), ("9999", 1, None)):
        order = await shop.service.ledger.orders.get("shop", number)
        assert order is not None, number
        assert (order.total, len((await known(shop, number)).sightings)) == (
            None if total is None else Decimal(total),
            count,
        ), number
    assert shop.sums["1001"] == Decimal("100.00")
    # The same report again goes where the person put it.
    await report(shop, replace(order_seen("1001", None), further=("x7",)))
    assert (await known(shop, "x7")).number == "x7"
    assert len((await known(shop, "9999")).sightings) == 1


async def test_an_order_without_its_only_report_is_cancelled_and_may_come_back(shop: Shop) -> None:
    await shop.bought("v1")
    await report(shop, order_seen("1001"), "v1")
    await shop.deliver()
    (stored,) = (await known(shop, "1001")).sightings
    at = shop.service.sites["shop"]
    for _ in range(2):  # the second time adds nothing
        await shop.service.ordering.move(at, stored.row, "2002", by="ann", why="another number")
    async with shop.service.ledger.db.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(schema.placements)) == 1
    await shop.deliver()
    assert shop.sums == {"1001": Decimal("0.00"), "2002": Decimal("100.00")}
    gone = await shop.service.ledger.orders.get("shop", "1001")
    assert gone is not None
    assert (gone.state, gone.partner) == ("cancelled", None)
    await report(shop, order_seen("1001", "55.00"))
    back = await shop.service.ledger.orders.get("shop", "1001")
    assert back is not None
    assert (back.state, back.total) == ("placed", Decimal("55.00"))
    story = await shop.service.ledger.stories.of("shop", "1001")
    assert story is not None
    assert all(one.same for one in replays(story))


async def test_moving_an_unknown_report_or_a_correction_is_an_error(shop: Shop) -> None:
    at = shop.service.sites["shop"]
    await report(shop, order_seen("1001"))
    with pytest.raises(OrderError, match="shop has no such report"):
        await shop.service.ordering.move(at, 99, "1", by="ann", why="x")
    (stored,) = (await known(shop, "1001")).sightings
    with pytest.raises(OrderError, match="why"):
        await shop.service.ordering.move(at, stored.row, "1", by="ann", why=" ")


async def test_the_same_report_sent_many_times_at_once_is_kept_once(shop: Shop) -> None:
    """A shop's server that got no answer in time sends it again, and another process takes it."""
    payment = order_seen(None, state="paid", coupon="SAVE")
    rows = await asyncio.gather(*(report(shop, payment) for _ in range(6)))
    assert len(set(rows)) == 1
    assert len(await shop.rows(schema.sightings)) == 1
