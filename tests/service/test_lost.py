"""Orders that nobody earns are proposed with their evidence, and credited by a person only."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clew.orders.model import OrderError, OrderSeen
from clew.orders.sighting import Consented
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Touched
from clew.service.ordering.correcting import correct
from clew.service.ordering.lost import SECONDS
from clew.settings.model import Hold
from clew.stores.ledger.lost import AMONG
from reporting import NOW, Shop, site

PARTNERS = [
    {"id": name, "param": name, "postback": "http://127.0.0.1:9/?c={click_id}&e={event}"}
    for name in ("anna", "blog")
]
DAY = 86400
EMAIL = "e" * 64


def shop_with(folder: Path, ledger: str | None = None, **settings: Any) -> Shop:
    return Shop(folder, site(**{"partners": PARTNERS, **settings}), ledger)


async def clicked(shop: Shop, visitor: str, partner: str = "anna", age: float = DAY, **said: Any) -> None:
    touch = Touch(int(NOW - age), (Click("", partner, f"{partner}-1", partner),), {}, "", "/", **said)
    await shop.service.visits.change("shop", visitor, [Touched(touch)], shop.now)


def told(number: str, **said: Any) -> OrderSeen:
    values: dict[str, Any] = {"total": Decimal("100.00"), "currency": "EUR", "state": "paid", **said}
    return OrderSeen(id=number, source="api", **values)


async def found(shop: Shop, **options: Any) -> dict[str, dict[str, tuple[str, ...]]]:
    """By order, the proposed partners with their evidence."""
    lost = await shop.service.lost.find(shop.service.sites["shop"], shop.now, **options)
    return {one.order.number: {p.partner: p.evidence for p in one.proposals} for one in lost}


async def test_a_customer_who_clicked_elsewhere_is_proposed_and_assigned_with_its_click(
    tmp_path: Path, ledger_address: str
) -> None:
    shop = shop_with(tmp_path, ledger_address)
    await shop.service.open()
    # On the phone: a click, and an earlier order with the same e-mail hash.
    await shop.report(told("1", email_hash=EMAIL), visitor="phone")
    await clicked(shop, "phone", age=-0.5)
    await shop.report(told("2", email_hash=EMAIL))
    await shop.report(told("3"))
    proposed = await found(shop)
    assert proposed.keys() == {"1", "2"}
    assert proposed["2"]["anna"] == (
        "a visitor who ordered with the same e-mail hash came by anna at 2027-01-15 08:00 UTC",
    )
    order = await shop.service.ledger.orders.get("shop", "2")
    assert order is not None
    assert order.partner is None  # nothing by itself
    runtime = shop.service.sites["shop"]
    with pytest.raises(OrderError, match="nothing points to 'blog'; proposed: anna"):
        await shop.service.lost.assign(runtime, "2", "blog", shop.now, by="eva", why="mail", hold=Hold())
    entry = await shop.service.lost.assign(
        runtime, "#2", "anna", shop.now + 1, by="eva", why="asked", hold=Hold()
    )
    assert entry.after.partner == "anna"
    (row,) = entry.postbacks
    assert (row.state, row.partner, row.report.click_id, row.report.amount) == (
        "due",
        "anna",
        "anna-1",
        "100.00",
    )
    assert "chosen by eva: asked (a visitor who ordered with the same e-mail hash" in entry.after.reason
    assert "2" not in await found(shop)
    with pytest.raises(OrderError, match="no sale that nobody earns"):
        await shop.service.lost.assign(runtime, "2", "anna", shop.now, by="eva", why="mail", hold=Hold())
    await shop.service.close()


@pytest.mark.parametrize(
    "said", [{"age": 40 * DAY}, {"doubt": "elsewhere"}, {"age": -DAY}], ids=["too old", "suspicious", "later"]
)
async def test_a_click_that_would_not_earn_is_no_evidence(tmp_path: Path, said: dict[str, Any]) -> None:
    shop = shop_with(tmp_path)
    await shop.service.open()
    await shop.report(told("1", email_hash=EMAIL, placed_at=NOW), visitor="phone")
    await clicked(shop, "phone", **said)
    await shop.report(told("2", email_hash=EMAIL, placed_at=NOW))
    shop.now += 3 * DAY
    assert await found(shop) == {}
    await shop.service.close()


async def test_a_click_that_the_store_learned_of_later_and_that_of_a_conversation_are_proposed(
    tmp_path: Path,
) -> None:
    shop = shop_with(tmp_path)
    await shop.service.open()
    await shop.report(told("1"), visitor="late")
    await clicked(shop, "late", "blog")
    assert (await found(shop))["1"]["blog"][0].startswith("the buyer's own visit came by blog at")
    talks = shop.service.ledger.conversations
    added = await talks.add_visitor_message(
        "shop", "talker", "hello", client_id="m1", language="en", rule=None, now=shop.now
    )
    await clicked(shop, "talker")
    shop.now += 1
    await shop.service.ordering.record(
        shop.service.sites["shop"], told("2"), visitor=None, conversation=added.conversation.id
    )
    (why,) = (await found(shop))["2"]["anna"]
    assert why.startswith("the visitor of the order's conversation came by anna at")
    await shop.service.close()


async def test_a_coupon_that_one_partner_nearly_always_earns_is_proposed(tmp_path: Path) -> None:
    shop = shop_with(tmp_path)
    await shop.service.open()
    for number in range(3):
        await clicked(shop, f"v{number}")
        await shop.report(told(f"c{number}", coupon="ANNA10"), visitor=f"v{number}")
    await shop.report(told("lost", coupon="anna10"))
    proposed = await found(shop)
    assert proposed == {
        "lost": {
            "anna": (
                "its coupon anna10: anna earned 3 of 3 orders with it that were credited within 90 days",
            )
        }
    }
    # Another one earns some of them: then it says little.
    await clicked(shop, "v9", "blog")
    await shop.report(told("c9", coupon="ANNA10"), visitor="v9")
    assert await found(shop) == {}
    await shop.service.close()


async def test_a_partners_report_is_evidence_and_without_a_click_nobody_is_called(tmp_path: Path) -> None:
    shop = shop_with(tmp_path)
    await shop.service.open()
    await shop.report(told("7"))
    await shop.report(told("8"))
    assert await found(shop, reported={"anna": {"7"}}) == {
        "7": {"anna": ("the report of anna has the order",)}
    }
    # What a person has decided is not proposed again.
    order = await shop.service.ledger.orders.get("shop", "7")
    assert order is not None
    partners = list(shop.service.sites["shop"].partners.values())
    await correct(shop.service.ledger, partners, order, shop.now + 1, by="eva", why="checked", partner="")
    assert await found(shop, reported={"anna": {"7"}}) == {}
    await shop.service.close()


async def test_a_visitor_who_refused_consent_is_not_looked_up(tmp_path: Path) -> None:
    shop = shop_with(tmp_path)
    await shop.service.open()
    await clicked(shop, "v1", age=-5)
    runtime = shop.service.sites["shop"]
    shop.now += 1
    await shop.service.ordering.record(runtime, told("1"), visitor="v1", consent=Consented("denied"))
    shop.now += 10
    assert await found(shop) == {}
    await shop.service.close()


async def test_pages_ask_the_ledger_once_a_minute_and_for_the_newest_orders_only(
    tmp_path: Path, ledger_address: str
) -> None:
    shop = shop_with(tmp_path, ledger_address)
    await shop.service.open()
    runtime, lost = shop.service.sites["shop"], shop.service.lost
    for number in ("1", "2", "3"):
        await shop.report(told(number), visitor=f"v{number}")
        await clicked(shop, f"v{number}", age=-0.5)
    unearned = shop.service.ledger.lost.unearned
    newest = [one.number for one in await unearned("shop", 0, 9, among=2)]
    assert newest == ["3", "2"]
    asked: list[Any] = []

    async def counted(*given: Any, **options: Any) -> Any:
        asked.append(options)
        return await unearned(*given, **options)

    shop.service.ledger.lost.unearned = counted  # type: ignore[method-assign]
    first = await lost.newest(runtime, shop.now)
    assert await lost.newest(runtime, shop.now + 50) is first
    assert [(one["among"], one["seconds"]) for one in asked] == [(AMONG, SECONDS)]
    await lost.newest(runtime, shop.now + 70)
    assert len(asked) == 2
    # What was credited here is gone at once.
    shop.now += 70
    number = first[0].order.number
    await lost.assign(runtime, number, "anna", shop.now, by="eva", why="asked", hold=Hold())
    assert number not in [one.order.number for one in await lost.newest(runtime, shop.now)]
    assert len(asked) == 3
    await shop.service.close()
