"""Orders that several partners earn: each gets a postback of its own, and the parts add up."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clew.credit.attribution import earning
from clew.credit.decision import decide
from clew.orders.intake import parse_order
from clew.orders.model import Item, OrderSeen, Refund
from clew.orders.sighting import Consented
from clew.postbacks.render import render
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Page, Shopped, Touched, Viewed
from clew.service.ordering.correcting import correct
from clew.service.ordering.doubts import Shown
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
    # One order, though three partners have a part of it.
    assert sum(one.main for one in sums) == 1
    lines = await Reports(shop.service.ledger.db).orders(OrderFilter())
    assert [(line.partner, line.part) for line in lines] != []
    assert {line.part for line in lines} == {"0.333334", "0.333333"}
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
    click = earning(visitor.touches, NOW, shop.service.sites["shop"].terms)
    await shop.report(told(), visitor="v1")
    story = await shop.service.ledger.stories.of("shop", "1001")
    assert story is not None
    assert click is not None
    assert click in [share.click for share in story.decisions[-1].decision.shares]
    await shop.service.close()


HALF = [{"name": "all", "percent": 10}]


async def commission(shop: Shop, number: str = "1001") -> dict[str, str]:
    story = await shop.service.ledger.stories.of("shop", number)
    assert story is not None
    assert all(decide(one.inputs, one.policy) == one.decision for one in story.decisions)
    shares = story.decisions[-1].decision.shares
    return {one.partner: str(one.commission.amount) for one in shares if one.commission is not None}


async def test_the_commission_follows_refunds_and_a_persons_correction(
    tmp_path: Path, ledger_address: str
) -> None:
    shop = shop_with(tmp_path, ledger_address, credit={"terms": HALF})
    await shop.service.open()
    await came(shop, "anna")
    await shop.report(told(), visitor="v1")
    assert await commission(shop) == {"anna": "10.00"}
    await shop.report(told(refunds=(Refund("r1", Decimal("25.00")),)))
    assert await commission(shop) == {"anna": "7.50"}
    order = await shop.service.ledger.orders.get("shop", "1001")
    assert order is not None
    partners = list(shop.service.sites["shop"].partners.values())
    await correct(shop.service.ledger, partners, order, NOW + 9, by="x", why="y", amount=Decimal(65))
    assert await commission(shop) == {"anna": "4.00"}
    await shop.report(told(state="cancelled"))
    await correct(shop.service.ledger, partners, order, NOW + 10, by="x", why="y", state="cancelled")
    assert await commission(shop) == {"anna": "0.00"}
    await shop.service.close()


async def test_a_refund_after_its_visitor_was_forgotten_takes_its_commission_back(tmp_path: Path) -> None:
    shop = shop_with(tmp_path, credit={"terms": HALF})
    await shop.service.open()
    await came(shop, "anna")
    await shop.report(told(), visitor="v1")
    forgetting = shop.service.ledger.forgetting
    person = await forgetting.person("shop", visitor="v1")
    await forgetting.mark(person, shop.now)
    await forgetting.forget(person, shop.now)
    await shop.report(told(refunds=(Refund("r1", Decimal("50.00")),)))
    story = await shop.service.ledger.stories.of("shop", "1001")
    assert story is not None
    (share,) = story.decisions[-1].decision.shares
    assert share.commission is not None
    assert (share.partner, str(share.commission.amount)) == ("anna", "5.00")
    await shop.service.close()


async def test_a_customer_is_returning_by_the_ledgers_own_history(
    tmp_path: Path, ledger_address: str
) -> None:
    """Row 20: by the e-mail hash or the visitor; the shop's word counts before it."""
    new = [{"name": "new", "when": ['order.customer == "new"'], "percent": 10}, {"name": "old", "percent": 1}]
    shop = shop_with(tmp_path, ledger_address, credit={"terms": new})
    await shop.service.open()
    for visitor in ("v1", "v2", "v3"):
        await came(shop, "anna", visitor=visitor)
    await shop.report(told(id="1", email_hash="a" * 64), visitor="v1")
    await shop.report(told(id="2", email_hash="a" * 64), visitor="v2")
    await shop.report(told(id="3"), visitor="v1")
    await shop.report(told(id="4", email_hash="a" * 64, customer="new"), visitor="v3")
    await shop.report(told(id="5", email_hash="b" * 64), visitor="v3")
    found = [(await commission(shop, str(n)))["anna"] for n in range(1, 6)]
    assert found == ["10.00", "1.00", "1.00", "10.00", "1.00"]
    # Later orders do not make an earlier one a returning customer's.
    await shop.report(told(id="1", email_hash="a" * 64, coupon="X"))
    assert await commission(shop, "1") == {"anna": "10.00"}
    await shop.service.close()


async def test_a_code_that_strangers_use_holds_their_orders_and_says_so(
    tmp_path: Path, ledger_address: str
) -> None:
    coded = [{**PARTNERS[0], "codes": ["ANNA10"]}, *PARTNERS[1:]]
    shop = shop_with(tmp_path, ledger_address, partners=coded, credit={"leak_orders": 3, "leak_days": 2})
    events: list[tuple[str, str]] = []
    shop.service.events.notice = lambda name, **said: events.append((name, str(said.get("why"))))  # type: ignore[method-assign]
    await shop.service.open()
    for number in range(3):
        await shop.report(told(id=str(number), coupon="anna10"))
    held = await shop.service.ledger.orders.get("shop", "2")
    assert held is not None
    assert [doubt.kind for doubt in held.doubts] == []
    await shop.report(told(id="3", coupon="Anna10"))
    leaked = await shop.service.ledger.orders.get("shop", "3")
    assert leaked is not None
    assert (leaked.partner, [doubt.kind for doubt in leaked.doubts]) == ("anna", ["code"])
    assert "3 of 3 orders with it in 2 days" in leaked.doubts[0].text
    assert ("code_leaked", leaked.doubts[0].text) in events
    rows = await shop.service.ledger.histories.postbacks(leaked.row)
    assert [(row.state, row.hold) for row in rows] == [("held", "code")]
    # Who came by the partner is no stranger.
    await came(shop, "anna", visitor="v9")
    await shop.report(told(id="4", coupon="ANNA10"), visitor="v9")
    known = await shop.service.ledger.orders.get("shop", "4")
    assert known is not None
    assert known.doubts == ()
    await shop.service.close()


@pytest.mark.parametrize("came_by", [(), ("anna",)], ids=["to raise it", "to keep it quiet"])
async def test_orders_that_a_browser_made_up_do_not_count_for_a_codes_alarm(
    tmp_path: Path, ledger_address: str, came_by: tuple[str, ...]
) -> None:
    coded = [{**PARTNERS[0], "codes": ["ANNA10"]}, *PARTNERS[1:]]
    shop = shop_with(tmp_path, ledger_address, partners=coded, credit={"leak_orders": 3, "leak_days": 2})
    await shop.service.open()
    await came(shop, *came_by)
    for number in range(9):
        told_by = replace(told(id=f"b{number}", coupon="ANNA10"), source="browser")
        await shop.service.ordering.record(
            shop.service.sites["shop"],
            told_by,
            visitor="v1",
            shown=Shown("/thanks", "inside", by_browser=True),
        )
    for number in range(4 if came_by else 1):
        await shop.report(told(id=str(number), coupon="ANNA10"))
    last = await shop.service.ledger.orders.get("shop", "3" if came_by else "0")
    assert last is not None
    assert [doubt.kind for doubt in last.doubts] == (["code"] if came_by else [])
    await shop.service.close()


async def test_a_code_without_a_click_is_held_for_its_partner(tmp_path: Path) -> None:
    shop = shop_with(tmp_path, partners=[{**PARTNERS[0], "codes": ["ANNA10"]}])
    await shop.service.open()
    await shop.report(told(coupon="ANNA10"))
    (row,) = await shop.service.ledger.histories.postbacks(1)
    assert (row.state, row.hold, row.report.amount) == ("held", "manual", "100.00")
    assert row.why is not None
    assert row.why.startswith("anna earns the order by its coupon ANNA10, without a click: report it by")
    await shop.service.close()


@pytest.mark.parametrize(
    ("enabled", "consent", "partner"),
    [(True, "assumed", "anna"), (True, "granted", "anna"), (True, "denied", None), (False, "assumed", None)],
)
async def test_a_click_on_another_device_counts_where_the_site_says_so(
    tmp_path: Path, ledger_address: str, enabled: bool, consent: Any, partner: str | None
) -> None:
    """Row 5: opt-in, and within the buyer's consent."""
    shop = shop_with(tmp_path, ledger_address, credit={"cross_device": enabled})
    await shop.service.open()
    await shop.report(told(id="0", email_hash="a" * 64), visitor="phone")
    await came(shop, "anna", visitor="phone")
    runtime = shop.service.sites["shop"]
    order = told(email_hash="a" * 64)
    await shop.service.ordering.record(runtime, order, visitor="desk", consent=Consented(consent))
    story = await shop.service.ledger.stories.of("shop", "1001")
    assert story is not None
    assert story.order.partner == partner
    if partner is not None:
        (one,) = story.decisions[-1].decision.considered
        assert one.verdict.endswith("; on another device of the same customer")
    await shop.service.close()


@pytest.mark.parametrize(
    ("state", "partner"),
    [
        ("seen", None),
        ("held", None),
        ("cancelled", None),
        ("test", None),
        ("placed", "anna"),
        ("refunded", "anna"),
    ],
)
async def test_an_order_that_is_no_sale_links_no_other_device(
    tmp_path: Path, ledger_address: str, state: Any, partner: str | None
) -> None:
    """A partner begins an order with somebody's address, with its own click, and never pays for it."""
    shop = shop_with(tmp_path, ledger_address, credit={"cross_device": True})
    await shop.service.open()
    await shop.report(told(id="0", email_hash="a" * 64, state=state), visitor="phone")
    await came(shop, "anna", visitor="phone")
    await shop.report(told(email_hash="a" * 64), visitor="desk")
    order = await shop.service.ledger.orders.get("shop", "1001")
    assert order is not None
    assert order.partner == partner
    await shop.service.close()


async def test_who_is_forgotten_is_also_forgotten_in_the_orders_of_another_device(
    tmp_path: Path, ledger_address: str
) -> None:
    shop = shop_with(tmp_path, ledger_address, credit={"cross_device": True})
    await shop.service.open()
    await shop.report(told(id="0", email_hash="a" * 64), visitor="phone")
    await came(shop, "anna", visitor="phone")
    await shop.report(told(email_hash="a" * 64), visitor="desk")
    await shop.deliver()
    forgetting = shop.service.ledger.forgetting
    person = await forgetting.person("shop", visitor="phone")
    await forgetting.mark(person, shop.now)
    assert (await forgetting.forget(person, shop.now, dry=True)).rows["decisions"] >= 1
    await forgetting.forget(person, shop.now)
    story = await shop.service.ledger.stories.of("shop", "1001")
    assert story is not None
    last = story.decisions[-1]
    assert (last.inputs.linked, last.inputs.forgotten, last.decision.considered) == ((), True, ())
    assert last.decision.shares[0].click is not None
    assert last.decision.shares[0].click.value == ""
    await shop.report(told(email_hash="c" * 64, refunds=(Refund("r1", Decimal("10.00")),)))
    order = await shop.service.ledger.orders.get("shop", "1001")
    assert order is not None
    assert (order.partner, order.refunded) == ("anna", Decimal("10.00"))
    await shop.service.close()


async def test_a_partners_call_may_have_its_commission(tmp_path: Path) -> None:
    called = {**PARTNERS[0], "postback": f"{CALL}&m={{commission}}"}
    signed = {**PARTNERS[1], "secret": "k" * 30}
    shop = shop_with(tmp_path, partners=[called, signed], credit={"model": "linear", "terms": HALF})
    await shop.service.open()
    await came(shop, "anna", "blog")
    await shop.report(told(), visitor="v1")
    rows = {row.partner: row for row in await shop.service.ledger.histories.postbacks(1)}
    partners = shop.service.sites["shop"].partners
    call = render(partners["anna"], rows["anna"].report, None, NOW, postback_id="pb")
    assert call.url.endswith("&m=5.00")
    body = render(partners["blog"], rows["blog"].report, None, NOW, postback_id="pb").body
    assert json.loads(body)["data"]["commission"] == "5.00"
    await shop.service.close()


async def test_the_call_that_takes_an_order_back_says_that_nothing_is_earned(tmp_path: Path) -> None:
    called = {**PARTNERS[0], "postback": f"{CALL}&m={{commission}}"}
    signed = {**PARTNERS[1], "secret": "k" * 30}
    for number, partner in enumerate(("anna", "blog")):
        for way in ("cancelled", "credited to nobody"):
            folder = tmp_path / f"{number}-{way}"
            folder.mkdir()
            shop = shop_with(folder, partners=[called, signed], credit={"terms": HALF})
            await shop.service.open()
            await came(shop, partner)
            await shop.report(told(), visitor="v1")
            await shop.deliver()
            order = await shop.service.ledger.orders.get("shop", "1001")
            assert order is not None
            partners = shop.service.sites["shop"].partners
            changed: dict[str, Any] = {"state": "cancelled"} if way == "cancelled" else {"partner": ""}
            known = list(partners.values())
            await correct(shop.service.ledger, known, order, NOW + 9, by="x", why="y", **changed)
            last = (await shop.service.ledger.histories.postbacks(1))[-1].report
            assert (last.event, last.amount, last.commission) == ("cancel", "0.00", "0.00")
            call = render(partners[partner], last, None, NOW, postback_id="pb")
            if partner == "anna":
                assert call.url.endswith("&m=0.00")
            else:
                assert json.loads(call.body)["data"]["commission"] == "0.00"
            await shop.service.close()


async def test_a_visit_without_an_arrival_is_a_direct_one_where_rules_ask(tmp_path: Path) -> None:
    rule = {"name": "own", "arrivals": ["direct"], "then": "take"}
    for rules, partner in (([rule], None), ([], "anna")):
        folder = tmp_path / str(bool(rules))
        folder.mkdir()
        shop = shop_with(folder, credit={"channels": rules})
        await shop.service.open()
        await came(shop, "anna")
        # The visitor comes back an hour before it orders, by a bookmark.
        view = Viewed(Page("view-1", NOW - 3600, "https://shop.example/"))
        await shop.service.visits.change("shop", "v1", [view], NOW - 3600)
        await shop.report(told(), visitor="v1")
        order = await shop.service.ledger.orders.get("shop", "1001")
        assert order is not None
        assert order.partner == partner
        if rules:
            assert order.considered[-1]["verdict"] == "takes the order from anna: rule own (direct)"
        await shop.service.close()


async def test_items_and_their_refunds_as_the_shop_sends_them(tmp_path: Path) -> None:
    terms = [
        {"name": "mills", "when": ['item.category == "mills"'], "percent": 10},
        {"name": "rest", "percent": 1},
    ]
    shop = shop_with(tmp_path, credit={"terms": terms})
    await shop.service.open()
    await came(shop, "anna")
    items = [
        {"id": "mill", "category": "mills", "price": 40, "quantity": 2},
        {"id": "beans", "category": "coffee", "price": 20},
    ]
    sent = {"id": "1001", "total": 100, "currency": "EUR", "state": "paid", "items": items}

    async def report(**more: Any) -> dict[str, str]:
        order = parse_order(json.dumps(sent | more).encode()).order
        await shop.report(order, visitor="v1")
        return await commission(shop)

    assert await report() == {"anna": "8.20"}
    one = {"id": "r1", "amount": 40, "items": [{"id": "mill", "quantity": 1}]}
    assert await report(refunds=[one]) == {"anna": "4.20"}
    rest = {"id": "r2", "amount": 20, "items": [{"id": "beans", "quantity": 1, "amount": 20}]}
    assert await report(refunds=[one, rest]) == {"anna": "4.00"}
    other = {"id": "r3", "amount": 40}
    assert await report(refunds=[one, rest, other]) == {"anna": "0.00"}
    await shop.service.close()


async def test_a_renewal_earns_for_the_partner_of_the_customers_first_order(
    tmp_path: Path, ledger_address: str
) -> None:
    """Row 23."""
    terms = [{"name": "all", "percent": 10, "renewals": 2}]
    shop = shop_with(tmp_path, ledger_address, credit={"terms": terms})
    await shop.service.open()
    await came(shop, "anna")
    await shop.report(told(email_hash="a" * 64, placed_at=NOW - 40 * DAY), visitor="v1")
    assert await commission(shop) == {}
    await shop.report(told(id="first", email_hash="b" * 64), visitor="v1")
    for number, days, earned in (("r1", 30, {"anna": "10.00"}), ("r2", 62, {"anna": "0.00"})):
        shop.now = NOW + days * DAY
        await shop.report(told(id=number, email_hash="b" * 64, recurring=True))
        assert await commission(shop, number) == earned
    (row,) = [r for r in await shop.service.ledger.histories.postbacks(3) if r.state != "superseded"]
    assert (row.partner, row.report.click_id, row.report.amount) == ("anna", "anna-1", "100.00")
    await shop.service.close()


@pytest.mark.parametrize(
    ("partners", "came_by", "shown"),
    [
        ([PARTNERS[0], {**PARTNERS[1], "soft": True}], ("anna", "blog"), "blog"),  # a day apart
        ([PARTNERS[0], {**PARTNERS[1], "soft": True}], ("blog", "anna"), "anna"),
        ([PARTNERS[0], {**PARTNERS[1], "codes": ["B"], "coupon": "code_only"}], ("anna", "blog"), "anna"),
    ],
)
async def test_the_partner_in_the_widgets_rules_follows_the_terms(
    tmp_path: Path, partners: list[dict[str, Any]], came_by: tuple[str, ...], shown: str
) -> None:
    shop = shop_with(tmp_path, partners=partners, credit={"soft_hours": 12})
    await shop.service.open()
    await came(shop, *came_by)
    visitor = await shop.service.visits.get("shop", "v1")
    assert visitor is not None
    click = earning(visitor.touches, NOW, shop.service.sites["shop"].terms)
    await shop.report(told(), visitor="v1")
    order = await shop.service.ledger.orders.get("shop", "1001")
    assert order is not None
    assert click is not None
    assert click.partner == order.partner == shown
    await shop.service.close()


async def test_the_items_that_several_partners_are_told_of_add_up_too(tmp_path: Path) -> None:
    shop = shop_with(tmp_path, credit={"model": "linear"})
    await shop.service.open()
    await came(shop, "anna", "blog", "cash")
    items = (
        Item(id="mill", price=Decimal("40.00"), quantity=Decimal(2), discount=Decimal("0.05")),
        Item(id="beans", price=Decimal("19.9975"), tax=Decimal("1.40")),
        Item(id="gift"),
    )
    await shop.report(told(items=items, shipping=Decimal("4.90")), visitor="v1")
    reports = [row.report for row in await shop.service.ledger.histories.postbacks(1)]
    assert len(reports) == 3
    assert sum(Decimal(report.amount) for report in reports) == Decimal("100.00")
    assert sum(Decimal(report.shipping) for report in reports) == Decimal("4.90")
    for place, item in enumerate(items):
        own = [report.items[place] for report in reports if report.items is not None]
        assert [one.id for one in own] == [item.id] * 3
        for name in ("price", "discount", "tax"):
            parts = [getattr(one, name) for one in own if getattr(one, name) is not None]
            assert (sum(parts) if parts else None) == getattr(item, name)
        assert {one.quantity for one in own} == {item.quantity}
    await shop.service.close()
