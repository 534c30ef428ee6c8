"""What becomes of a change that a partner's network cannot take: told by a notice, at the desk's list and in
the order's story, and never dropped."""

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from clew.orders.model import Item, OrderSeen
from clew.orders.sighting import Consented
from clew.postbacks.due import manual
from clew.postbacks.model import Postback
from clew.postbacks.render import render
from clew.referral.networks_file import load
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Shopped, Touched
from clew.settings.model import Partner
from reporting import NOW, SHOWN, Shop, site
from unasked import nobody

AWIN = {"id": "awin", "network": "awin", "settings": {"advertiser_id": "1001", "api_key": "k"}}
IMPACT = {"account_sid": "a", "auth_token": "t", "campaign_id": "1", "event_type_id": "2"}


def partner(**settings: Any) -> dict[str, Any]:
    return AWIN | {"settings": AWIN["settings"] | settings}  # type: ignore[operator]


@pytest.fixture
def partners() -> list[dict[str, Any]]:
    return [partner()]


@pytest_asyncio.fixture
async def shop(tmp_path: Path, partners: list[dict[str, Any]]) -> AsyncIterator[Shop]:
    built = Shop(tmp_path, site(partners=partners))
    await built.service.open()
    yield built
    await built.service.close()


async def bought(shop: Shop, total: str = "100.00") -> None:
    touch = Touch(int(NOW) - 3600, (Click("awin", "awc", "1001_1_abc", "awin"),), {}, "", "/")
    await shop.service.visits.change("shop", "v1", [Touched(touch), Shopped()], shop.now)
    await shop.report(OrderSeen("1001", Decimal(total), "EUR", "page"), "v1")
    await shop.deliver()


def cancelled() -> OrderSeen:
    return OrderSeen("1001", None, None, "api", state="cancelled")


async def rows(shop: Shop) -> list[Postback]:
    return sorted(await shop.service.ledger.outbox.list(), key=lambda row: row.sequence)


async def test_a_cancellation_for_which_a_setting_is_missing_is_held_with_the_reason(shop: Shop) -> None:
    told: list[tuple[str, Any]] = []
    notice = shop.service.events.notice
    shop.service.events.notice = lambda name, **more: (told.append((name, more)), notice(name, **more))[1]  # type: ignore[method-assign]
    await bought(shop)
    await shop.report(cancelled())
    await shop.deliver()
    order, cancel = await rows(shop)
    assert (order.state, cancel.state, cancel.hold) == ("delivered", "held", "manual")
    assert cancel.why == (
        "the order was cancelled after it was reported, and partner awin: Awin (validate_decline) needs "
        "settings.access_token: report it by hand"
    )
    assert [more["why"] for name, more in told if name == "order_held"] == [cancel.why]
    assert (await shop.service.ledger.outbox.holds("shop")) == {"manual": 1}
    done = await shop.service.ledger.outbox.mark_reported(cancel.id, shop.now, by="ada", able=nobody)
    assert (done.state, done.last_answer) == ("delivered", "reported by hand by ada")


@pytest.mark.parametrize("partners", [[partner(access_token="t")]])
async def test_a_correction_that_the_network_takes_is_due_with_what_was_reported_before(shop: Shop) -> None:
    await bought(shop)
    await shop.report(OrderSeen("1001", Decimal("80.00"), "EUR", "api", state="paid"))
    _, change = await rows(shop)
    assert (change.event, change.state, change.report.before) == ("adjust", "due", "100.00")
    await shop.deliver()
    await shop.report(cancelled())
    *_, cancel = await rows(shop)
    assert (cancel.event, cancel.state, cancel.report.amount, cancel.report.before) == (
        "cancel",
        "due",
        "0.00",
        "80.00",
    )


@pytest.mark.parametrize("partners", [[{"id": "awin", "network": "impact", "settings": IMPACT}]])
async def test_a_correction_after_the_networks_window_is_held(shop: Shop) -> None:
    await bought(shop)
    order, *_ = await rows(shop)
    assert order.state == "delivered"
    member = Partner.model_validate({"id": "awin", "network": "impact", "settings": IMPACT})
    late = manual(member, order.report, load().networks, NOW + 89 * 86400)
    assert late is not None
    assert late.text == (
        "the network's window of 88 days after the order is over (impact.com, conversions_api): "
        "report it by hand"
    )
    assert manual(member, order.report, load().networks, NOW + 87 * 86400) is None


@pytest.mark.parametrize("partners", [[partner(access_token="t") | {"commission_groups": {"Shoes": "S"}}]])
async def test_the_items_of_an_order_reach_the_report(shop: Shop) -> None:
    touch = Touch(int(NOW) - 3600, (Click("awin", "awc", "1001_1_abc", "awin"),), {}, "", "/")
    await shop.service.visits.change("shop", "v1", [Touched(touch), Shopped()], shop.now)
    items = (Item(id="s", category="Shoes", price=Decimal("60.00")), Item(id="m", price=Decimal("40.00")))
    seen = OrderSeen(
        "1001", Decimal("100.00"), "EUR", "page", items=items, customer="new", tax=Decimal("15.97")
    )
    await shop.report(seen, "v1")
    (row,) = await rows(shop)
    assert (row.report.items, row.report.customer, row.report.tax) == (items, "new", "15.97")


META = {"id": "awin", "network": "meta", "settings": {"pixel_id": "1", "token": "t"}}


@pytest.mark.parametrize("partners", [[META]])
async def test_what_a_network_has_no_correction_for_waits_for_nobody(shop: Shop) -> None:
    touch = Touch(int(NOW) - 3600, (Click("meta", "fbclid", "Iw1", "awin"),), {}, "", "/")
    await shop.service.visits.change("shop", "v1", [Touched(touch), Shopped()], shop.now)
    await shop.report(OrderSeen("1001", Decimal("100.00"), "EUR", "page"), "v1")
    await shop.deliver()
    await shop.report(OrderSeen("1001", Decimal("80.00"), "EUR", "api", state="paid"))
    await shop.report(cancelled())
    await shop.report(cancelled())
    order, *others, cancel = await rows(shop)
    assert order.state == "delivered"
    assert {row.state for row in others} == {"superseded"}
    assert (cancel.event, cancel.state, cancel.hold) == ("cancel", "refused", "nothing")
    assert (
        cancel.why
        == "there is nothing to report to Meta (Facebook, Instagram): Meta has no correction of an event"
    )
    assert await shop.service.ledger.outbox.holds("shop") == {}
    await shop.deliver()
    assert [row.state for row in await rows(shop)][-1] == "refused"


@pytest.mark.parametrize("partners", [[META]])
async def test_the_hash_of_the_buyers_address_reaches_the_report_of_a_network_that_takes_it(
    shop: Shop,
) -> None:
    touch = Touch(int(NOW) - 3600, (Click("meta", "fbclid", "Iw1", "awin"),), {}, "", "/")
    await shop.service.visits.change("shop", "v1", [Touched(touch), Shopped()], shop.now)
    site_of_shop, page = shop.service.sites["shop"], OrderSeen("1001", Decimal("100.00"), "EUR", "page")
    yes = Consented("granted", "its tool")
    await shop.service.ordering.record(site_of_shop, page, visitor="v1", shown=SHOWN, consent=yes)
    await shop.report(OrderSeen("1001", Decimal("100.00"), "EUR", "api", email_hash="a" * 64))
    (*before, row) = await rows(shop)
    assert {one.state for one in before} <= {"superseded"}
    assert (row.state, row.report.email_sha256) == ("due", "a" * 64)


async def test_a_network_is_told_who_is_new_also_where_only_the_ledger_knows(tmp_path: Path) -> None:
    """No terms ask for it: the network's call does."""
    shop = Shop(tmp_path, site(partners=[AWIN]))
    await shop.service.open()
    touch = Touch(int(NOW) - 3600, (Click("awin", "awc", "1001_1_abc", "awin"),), {}, "", "/")
    await shop.service.visits.change("shop", "v1", [Touched(touch), Shopped()], NOW)
    for number, says in (("1", None), ("2", None), ("3", "new")):
        found = OrderSeen(number, Decimal("100.00"), "EUR", "api", state="paid", customer=says)  # type: ignore[arg-type]
        await shop.report(found, "v1")
        shop.now += 3600
    network, partner = load().networks["awin"], Partner.model_validate(AWIN)
    calls = {}
    for row in await rows(shop):
        body = render(partner, row.report, network, int(NOW), postback_id="pb").body
        calls[row.report.order_id] = body or ""
    told = {
        number: json.loads(body)["orders"][0].get("customerAcquisition") for number, body in calls.items()
    }
    assert told == {"1": "NEW", "2": "RETURNING", "3": "NEW"}
    await shop.service.close()
