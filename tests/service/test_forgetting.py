"""A person asks to be forgotten: nothing names it any more, and the accounts stay what they were."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from clew.orders.model import OrderSeen, Refund
from clew.orders.sighting import Sighting
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Shopped, Touched
from clew.service.forgetting import Receipt
from clew.service.ordering.doubts import Shown
from clew.service.ordering.story import lines, replays, story_json
from clew.stores.ledger import schema
from clew.stores.ledger.again import OutboxError
from clew.stores.ledger.connection import executing
from clew.stores.ledger.forgetting import Person
from clew.stores.ledger.notices import Noted
from filled import Filled
from sqlalchemy import insert, select, update
from unasked import nobody

ANN, BOB = "annannannannannannannannan", "bobbobbobbobbobbobbobbobbo"
MAIL, OTHER_MAIL = "a" * 64, "b" * 64
DAY = 86400.0


@pytest_asyncio.fixture
async def shop(tmp_path: Path, ledger_address: str) -> AsyncIterator[Filled]:
    filled = Filled(tmp_path, ledger=ledger_address)
    await filled.service.open()
    yield filled
    await filled.service.close()


async def forget(shop: Filled, visitor: str | None = ANN, **more: Any) -> Receipt:
    shop.now += 1
    return await shop.service.forgetter.forget("shop", visitor=visitor, **more)


async def bought(shop: Filled, visitor: str, number: str, email: str | None = None) -> None:
    """A visitor came by a click, wrote in the chat, and ordered; the page and the server report the order."""
    await shop.bought(visitor, f"click-{visitor}")
    await shop.talk(visitor, f"secret of {visitor}")
    shop.now += 1
    page = OrderSeen(number, Decimal("60.00"), "EUR", "page", coupon="MAY")
    shown = Shown("/thanks", "inside")
    await shop.service.ordering.record(shop.service.sites["shop"], page, visitor=visitor, shown=shown)
    await shop.order(number, "59.90", email_hash=email)


async def dump(shop: Filled) -> dict[str, list[str]]:
    """All that is stored, as text, by table."""
    found: dict[str, list[str]] = {}
    async with shop.service.ledger.db.read() as connection:
        for table in schema.metadata.sorted_tables:
            found[table.name] = [str(dict(r._mapping)) for r in await connection.execute(select(table))]
    visits = [await shop.service.visits.get("shop", visitor) for visitor in (ANN, BOB)]
    found["visits"] = [str(one) for one in visits if one is not None and not one.forgotten]
    return found


async def naming(shop: Filled, *texts: str) -> list[str]:
    """The tables that contain one of these values."""
    stored = await dump(shop)
    return sorted(n for n, rows in stored.items() if any(text in row for text in texts for row in rows))


async def calls(shop: Filled) -> list[tuple[str, str, str, str]]:
    """Event, state, amount and click id of each postback."""
    async with shop.service.ledger.db.read() as connection:
        own = schema.postbacks.c
        rows = (await connection.execute(select(schema.postbacks).order_by(own.order, own.sequence))).all()
    return [(r.event, r.state, r.report["amount"], r.report["click_id"]) for r in rows]


async def test_nothing_names_the_visitor_and_the_accounts_stay(shop: Filled) -> None:
    await bought(shop, ANN, "1001", MAIL)
    await bought(shop, BOB, "1002", OTHER_MAIL)
    await shop.deliver()
    await shop.service.ledger.notices.add(
        [Noted("shop", "click_suspicious", "blog inside", 1, {"visitor": ANN})], shop.now
    )
    before = {row.order_id: row for row in await shop.service.ledger.orders.list("shop")}
    bobs = {name: [r for r in rows if BOB in r] for name, rows in (await dump(shop)).items()}
    receipt = await forget(shop)
    assert await naming(shop, ANN, MAIL) == []
    assert receipt.visitors == (ANN,)
    assert receipt.email_hashes == (MAIL,)
    went = {line.table: line.rows for line in receipt.went}
    once = ("visits", "conversations", "messages", "desk_log", "orders", "notices")
    once = (*once, "decisions", "shares", "attempts")
    assert went == {**dict.fromkeys(once, 1), "sightings": 2, "postbacks": 2}
    stayed = {line.table for line in receipt.stayed}
    assert stayed == {*("orders", "sightings", "decisions", "shares", "postbacks", "attempts", "forgotten")}
    after = {row.order_id: row for row in await shop.service.ledger.orders.list("shop")}
    for name in ("total", "currency", "state", "partner", "touched_at", "reason", "channel", "coupon"):
        assert getattr(after["1001"], name) == getattr(before["1001"], name), name
    assert after["1002"] == before["1002"]
    assert {name: [r for r in rows if BOB in r] for name, rows in (await dump(shop)).items()} == bobs
    again = await forget(shop)
    assert (again.went, [line.table for line in again.stayed]) == ((), ["forgotten"])


async def test_a_dry_run_reports_the_same_and_changes_nothing(shop: Filled) -> None:
    await bought(shop, ANN, "1001", MAIL)
    await shop.deliver()
    before = await dump(shop)
    dry = await forget(shop, dry=True)
    assert await dump(shop) == before
    assert dry.dry_run
    real = await forget(shop)
    assert (dry.went, dry.stayed) == (real.went, real.stayed)


async def test_a_person_is_found_by_the_hash_of_its_address(shop: Filled) -> None:
    await bought(shop, ANN, "1001", MAIL)
    await bought(shop, BOB, "1002", OTHER_MAIL)
    await shop.order("1003", "5.00", email_hash=MAIL)
    await shop.deliver()
    receipt = await forget(shop, None, email=MAIL)
    assert (receipt.visitors, receipt.email_hashes) == ((ANN,), (MAIL,))
    assert await naming(shop, ANN, MAIL) == []
    assert "orders" in await naming(shop, BOB)


async def test_a_due_postback_is_sent_with_its_click_id_which_is_then_deleted(shop: Filled) -> None:
    await bought(shop, ANN, "1001")
    receipt = await forget(shop)
    click = f"click-{ANN}"
    assert await naming(shop, ANN) == ["postbacks", "shares"]
    assert "click id, until the partner was notified" in receipt.stayed[-2].what
    assert await calls(shop) == [
        ("order", "superseded", "60.00", click),
        ("order", "due", "59.90", click),
    ]
    await shop.service.apply_retention()
    assert (await calls(shop))[-1][-1] == click
    await shop.deliver()
    await shop.service.apply_retention()
    assert [call[1:] for call in await calls(shop)] == [
        ("superseded", "60.00", ""),
        ("delivered", "59.90", ""),
    ]
    assert await naming(shop, ANN) == []


async def test_click_ids_of_unsent_postbacks_are_deleted_after_a_month(shop: Filled) -> None:
    await bought(shop, ANN, "1001")
    await forget(shop)
    shop.now += 30 * DAY
    await shop.service.apply_retention()
    assert [call[1] for call in await calls(shop)] == ["superseded", "refused"]
    assert await naming(shop, ANN) == []


async def test_an_unpaid_order_is_reported_once_it_is_paid(shop: Filled) -> None:
    await shop.bought(ANN, f"click-{ANN}")
    await shop.order("1001", "59.90", ANN, state="seen")
    await forget(shop)
    await shop.order("1001", "59.90", state="paid")
    assert await calls(shop) == [("order", "due", "59.90", f"click-{ANN}")]
    await shop.deliver()
    await shop.service.apply_retention()
    assert await naming(shop, ANN) == []


async def test_a_refund_leaves_the_credit_and_waits_for_a_person_to_report_it(shop: Filled) -> None:
    await bought(shop, ANN, "1001")
    await shop.deliver()
    await forget(shop)
    await shop.refund("1001", "20.00")
    order = await shop.service.ledger.orders.get("shop", "1001")
    assert order is not None
    assert (order.partner, order.state, order.channel) == ("blog", "part_refunded", "chat")
    assert [call[:3] for call in await calls(shop)][-1] == ("adjust", "held", "39.90")
    (held,) = await shop.service.ledger.outbox.list("held")
    assert held.hold == "manual"
    assert "report it by hand" in (held.why or "")
    with pytest.raises(OutboxError, match="is held"):
        await shop.service.ledger.outbox.retry(held.id, shop.now, able=nobody)
    assert await naming(shop, ANN) == []


async def test_a_dead_call_is_not_sent_without_its_click_id(shop: Filled) -> None:
    await bought(shop, ANN, "1001")
    own = schema.postbacks
    lost = own.update().where(own.c.state == "due").values(state="unknown")
    await shop.service.ledger.db.transact(executing(lost))
    await forget(shop)
    (row,) = await shop.service.ledger.outbox.list("unknown")
    assert row.report.click_id
    shop.now += 31 * DAY
    await shop.service.apply_retention()
    with pytest.raises(OutboxError, match="forgotten"):
        await shop.service.ledger.outbox.retry(row.id, shop.now, able=nobody)


async def test_a_decision_says_that_its_inputs_are_forgotten(shop: Filled) -> None:
    await bought(shop, ANN, "1001")
    await shop.deliver()
    await forget(shop)
    story = await shop.service.ledger.stories.of("shop", "1001")
    assert story is not None
    again = replays(story)
    assert [one.result for one in again] == [None]
    assert all(one.same for one in again)
    assert {one["replay"] for one in story_json(story, again)["decisions"]} == {"inputs forgotten"}
    text = "\n".join(f"{line.text}\n{line.details}" for line in lines(story, str, again))
    for words in (
        "inputs are forgotten",
        "arrivals are forgotten",
        "forgotten: visitor",
        "whose id is forgotten",
    ):
        assert words in text, words
    assert "DIFFERS" not in text


async def test_a_late_report_does_not_bring_the_person_back(shop: Filled) -> None:
    await bought(shop, ANN, "1001", MAIL)
    await shop.deliver()
    await forget(shop)
    stored = await dump(shop)
    site = shop.service.sites["shop"]
    page = OrderSeen("1001", Decimal("60.00"), "EUR", "page", coupon="MAY")
    click = Touch(int(shop.now) - 50, (Click("", "ref", "late", "blog"),))
    shop.now += 1
    await shop.service.ordering.record(site, page, visitor=ANN, touches=(click,))
    await shop.order("1001", "59.90", email_hash=MAIL)
    assert await dump(shop) == stored
    # Another order of the same browser, and one of the same address, is nobody's.
    await shop.order("1002", "5.00", ANN, email_hash=MAIL)
    order = await shop.service.ledger.orders.get("shop", "1002")
    assert order is not None
    assert (order.visitor, order.partner) == (None, None)
    assert await naming(shop, ANN, MAIL) == []


async def test_an_order_in_the_journal_is_recorded_without_the_person(shop: Filled) -> None:
    page = OrderSeen("1001", Decimal("60.00"), "EUR", "page")
    seen = Sighting.of(page, site="shop", at=shop.now, visitor=ANN, touches=({"t": 5, "l": "/ann"},))
    await shop.service.journal.open()
    number = await shop.service.journal.add({"sighting": seen.to_json(), "shown": None})
    receipt = await forget(shop)
    assert any(line.table == "journal" for line in receipt.stayed)
    await shop.service.ordering.replay(
        shop.service.sites["shop"], number, {"sighting": seen.to_json(), "shown": None}
    )
    assert await shop.service.ledger.orders.get("shop", "1001") is not None
    assert await naming(shop, ANN, "/ann") == []
    assert shop.service.journal.path.with_name(f"{shop.service.journal.path.name}.0").read_bytes() == b""


async def test_a_stranger_who_opens_the_page_later_does_not_get_the_order(shop: Filled) -> None:
    await bought(shop, ANN, "1001")
    await shop.deliver()
    await forget(shop)
    await shop.bought(BOB, "click-bob")
    page = OrderSeen("1001", Decimal("60.00"), "EUR", "page", coupon="MAY")
    await shop.service.ordering.record(
        shop.service.sites["shop"], page, visitor=BOB, shown=Shown("/thanks", "inside")
    )
    order = await shop.service.ledger.orders.get("shop", "1001")
    assert order is not None
    assert (order.visitor, order.partner) == (None, "blog")
    assert [call[:2] for call in await calls(shop)] == [("order", "superseded"), ("order", "delivered")]


async def test_a_report_that_the_address_joined_stays_with_its_order(shop: Filled) -> None:
    site = shop.service.sites["shop"]
    await shop.order("1001", "59.90", state="seen", email_hash=MAIL)
    paid = OrderSeen(None, Decimal("59.90"), "EUR", "api", state="paid", email_hash=MAIL)
    placed = await shop.service.ordering.record_unnumbered(site, paid, visitor=None)
    assert placed.order is not None
    await forget(shop, None, email=MAIL)
    assert await naming(shop, MAIL) == []
    again = await shop.service.ordering.record_unnumbered(site, paid, visitor=None)
    assert (again.stored.row, again.order) == (placed.stored.row, placed.order)
    await shop.order("1001", "59.90", state="seen")
    order = await shop.service.ledger.orders.get("shop", "1001")
    assert order is not None
    assert order.state == "paid"
    assert await naming(shop, MAIL) == []


async def test_orders_written_during_forgetting_name_no_visitor_either(shop: Filled) -> None:
    await shop.bought(ANN, f"click-{ANN}")
    site, done, written = shop.service.sites["shop"], asyncio.Event(), asyncio.Event()

    async def order(writer: int) -> None:
        count = 0
        while not done.is_set() or count < 3:
            seen = OrderSeen(f"{writer}-{count % 5}", Decimal(5 + count), "EUR", "api", email_hash=MAIL)
            await shop.service.ordering.record(site, seen, visitor=ANN)
            count += 1
            written.set()

    writers = [asyncio.create_task(order(n)) for n in range(4)]
    await written.wait()
    receipt = await forget(shop)
    done.set()
    await asyncio.gather(*writers)
    assert {"orders", "decisions"} <= {line.table for line in receipt.went}
    assert set(await naming(shop, ANN, MAIL)) <= {"shares", "postbacks"}
    orders = await shop.service.ledger.orders.list("shop")
    assert len(orders) >= 4
    await shop.deliver()
    await shop.service.apply_retention()
    assert await naming(shop, ANN, MAIL) == []
    assert {call[0] for call in await calls(shop)} == {"order"}


async def test_an_order_that_turned_out_to_be_another_one_is_found_too(shop: Filled) -> None:
    await bought(shop, ANN, "1001")
    await shop.order("A-1", "59.90", ANN)
    await shop.order("1001", "59.90", further=("A-1",))
    await shop.deliver()
    await forget(shop)
    await shop.service.apply_retention()
    assert await naming(shop, ANN) == []


async def test_after_withdrawal_the_visitor_is_not_named_and_refunds_are_still_reported(
    shop: Filled,
) -> None:
    await bought(shop, ANN, "1001", MAIL)
    await shop.deliver()
    await shop.service.visits.forget("shop", ANN)
    await shop.service.forgetter.withdraw("shop", ANN, talks=False)
    assert await naming(shop, ANN) == ["conversations", "messages", "postbacks", "shares"]
    await shop.refund("1001", "20.00")
    assert [call[:3] for call in await calls(shop)][-1] == ("adjust", "due", "39.90")
    # Later it asks to be forgotten: its address finds what its visitor does not any more.
    await shop.deliver()
    await forget(shop, None, email=MAIL)
    assert await naming(shop, MAIL, f"click-{ANN}") == []


async def test_a_second_order_of_the_visitor_is_reported_too(shop: Filled) -> None:
    for number in range(130):
        await shop.bought(ANN, f"click-{ANN}")
        await shop.service.visits.change("shop", ANN, [Shopped(), Touched(Touch(5))], shop.now)
        await shop.order(f"N{number}", "5.00", ANN, refunds=(Refund("r", Decimal(1)),))
    await shop.deliver()
    receipt = await forget(shop)
    assert {line.table: line.rows for line in receipt.went}["orders"] == 130
    assert await naming(shop, ANN) == []


@pytest.mark.parametrize("withdrawn", [False, True])
async def test_the_hash_of_the_address_goes_from_what_waits_and_from_what_was_sent(
    shop: Filled, withdrawn: bool
) -> None:
    await bought(shop, ANN, "1001", MAIL)
    await shop.deliver()
    await bought(shop, BOB, "1002", OTHER_MAIL)
    told = [row for row in await shop.service.ledger.outbox.list() if row.state != "superseded"]
    rows = {row.report.order_id: row for row in told}
    assert (rows["1001"].state, rows["1002"].state) == ("delivered", "due")
    for row, mail in ((rows["1001"], MAIL), (rows["1002"], OTHER_MAIL)):
        report = replace(row.report, email_sha256=mail).to_json()
        own = schema.postbacks.c.id == row.id
        await shop.service.ledger.db.transact(
            executing(update(schema.postbacks).where(own).values(report=report))
        )
        text = {
            "request": f"POST {mail}",
            "status": 400,
            "answer": f"no {mail}",
            "outcome": "retry",
        }
        await shop.service.ledger.db.transact(
            executing(insert(schema.attempts).values(postback=row.id, at=shop.now, **text))
        )
    for visitor, mail in ((ANN, MAIL), (BOB, OTHER_MAIL)):
        assert {"postbacks", "attempts"} <= {*await naming(shop, mail)}
        person = Person("shop", (visitor,), (mail,), withdrawn=withdrawn)
        await shop.service.ledger.forgetting.forget(person, shop.now)
        assert not {"postbacks", "attempts"} & {*await naming(shop, mail)}
    # What waits is still reported, without the address.
    left = await shop.service.ledger.outbox.get(rows["1002"].id)
    assert left is not None
    assert (left.state, left.report.email_sha256, bool(left.report.click_id)) == ("due", "", True)
