"""Orders that several partners earn: each gets a postback of its own, and the parts add up."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clew.credit.arrivals import earning_now
from clew.credit.decision import decide
from clew.orders.model import OrderSeen, Refund
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Shopped, Touched
from clew.stores.ledger.reports import OrderFilter, Reports
from reporting import NOW, Shop, site

CALL = "http://127.0.0.1:9/p?c={click_id}&e={event}"
PARTNERS = [
    {"id": name, "param": name, "postback": CALL, "lookback_days": 30} for name in ("anna", "blog", "cash")
]
DAY = 86400


def shop_with(folder: Path, ledger: str | None = None, **settings: Any) -> Shop:
    return Shop(folder, site(**{"partners": PARTNERS, **settings}), ledger)


async def came(shop: Shop, *partners: str, visitor: str = "v1") -> None:
    """The visitor comes by each partner in turn, a day apart, the last a day before now."""
    for age, name in enumerate(reversed(partners), 1):
        touch = Touch(int(NOW) - age * DAY, (Click("", name, f"{name}-{age}", name),), {}, "", "/")
        await shop.service.visits.change("shop", visitor, [Touched(touch)], shop.now)
    await shop.service.visits.change("shop", visitor, [Shopped()], shop.now)


def told(**said: Any) -> OrderSeen:
    values: dict[str, Any] = {"total": Decimal("100.00"), "currency": "EUR", "state": "paid", **said}
    return OrderSeen(id=values.pop("id", "1001"), source="api", **values)


async def reported(shop: Shop) -> dict[str, tuple[str, str]]:
    """The last event of each partner."""
    rows = await shop.service.ledger.histories.postbacks(1)
    return {row.partner: (row.event, row.report.amount) for row in rows if row.state != "superseded"}


async def test_each_partner_gets_its_part_and_a_refund_takes_its_part_back(
    tmp_path: Path, ledger_address: str
) -> None:
    shop = shop_with(tmp_path, ledger_address, credit={"model": "linear", "compare": ["first"]})
    await shop.service.open()
    await came(shop, "anna", "blog", "cash")
    await shop.report(told(), visitor="v1")
    assert await reported(shop) == {
        "anna": ("order", "33.33"),
        "blog": ("order", "33.33"),
        "cash": ("order", "33.34"),
    }
    sums = await Reports(shop.service.ledger.db).sums(OrderFilter())
    assert {one.partner: one.total for one in sums} == {
        "anna": Decimal("33.33"),
        "blog": Decimal("33.33"),
        "cash": Decimal("33.34"),
    }
    await shop.deliver()
    await shop.report(told(refunds=(Refund("r1", Decimal("0.01")),)))
    assert {name: event for name, (event, _) in (await reported(shop)).items()} == {
        "anna": "order",
        "blog": "order",
        "cash": "adjust",
    }
    await shop.deliver()
    await shop.report(told(refunds=(Refund("r1", Decimal("100.00")),)))
    assert set((await reported(shop)).values()) == {("cancel", "0.00")}
    orders = shop.service.ledger.orders
    assert len(await orders.list("shop")) == len(await orders.of_visitor("shop", "v1")) == 1
    story = await shop.service.ledger.stories.of("shop", "1001")
    assert story is not None
    assert all(decide(one.inputs, one.policy) == one.decision for one in story.decisions)
    assert [one.model for one in story.decisions[-1].decision.compared] == ["first"]
    await shop.service.close()


async def test_a_longer_window_holds_for_orders_in_the_chat_only(tmp_path: Path) -> None:
    windows = [{"days": 60, "channel": "chat"}, {"days": 1, "partner": "anna"}]
    shop = shop_with(tmp_path, credit={"lookback": windows})
    await shop.service.open()
    await came(shop, "anna", "ignored")
    await shop.report(told(), visitor="v1")
    await shop.report(told(id="1002", channel="chat"), visitor="v1")
    web, chat = [await shop.service.ledger.orders.get("shop", n) for n in ("1001", "1002")]
    assert web is not None
    assert chat is not None
    assert (web.partner, chat.partner) == (None, "anna")
    assert "within its lookback of 60 days" in chat.reason
    await shop.service.close()


@pytest.mark.parametrize("model", ["last", "first", "linear", "position"])
async def test_the_partner_of_the_widgets_rules_is_one_that_earns(tmp_path: Path, model: str) -> None:
    shop = shop_with(tmp_path, credit={"model": model})
    await shop.service.open()
    await came(shop, "anna", "blog", "cash")
    visitor = await shop.service.visits.get("shop", "v1")
    assert visitor is not None
    click = earning_now(visitor.touches, NOW, shop.service.sites["shop"].terms)
    await shop.report(told(), visitor="v1")
    story = await shop.service.ledger.stories.of("shop", "1001")
    assert story is not None
    assert click is not None
    assert click in [share.click for share in story.decisions[-1].decision.shares]
    await shop.service.close()
