"""What a partner's orders come to is one figure, whatever happened to them: on the pages of the desk and of
partners (`Totals`), for `clew report` (`Reports`) and for `clew commissions`."""

import asyncio
import tempfile
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from clew.orders.model import OrderError, OrderSeen, Refund
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Shopped, Touched
from clew.service.ordering.doubts import Shown
from clew.stores.ledger.commissions import Commissions, WantedCommissions
from clew.stores.ledger.reports import OrderFilter, Reports
from clew.stores.ledger.totals import Totals, Weeks
from hypothesis import given, settings
from reporting import NOW, PARTNER, Shop, site

PARTNERS = ("anna", "blog")
PARAM = {"anna": "aff", "blog": "ref"}
BROWSER = Shown("", "unknown", by_browser=True)
WEEKS = Weeks((NOW - 86400.0,), NOW + 86400.0)

numbers = st.sampled_from(["1", "2", "3"])
visitors = st.sampled_from(["of-anna", "of-blog", "of-both"])
totals = st.sampled_from(["0.00", "0.01", "33.33", "100.00"])
currencies = st.sampled_from(["EUR", "EUR", "USD"])
steps = st.one_of(
    st.tuples(
        st.just("api"), numbers, visitors, totals, currencies, st.sampled_from(["placed", "cancelled"])
    ),
    st.tuples(st.just("browser"), numbers, visitors, totals, currencies, st.just("placed")),
    st.tuples(st.just("agent"), numbers, visitors, totals, currencies, st.just("placed")),
    st.tuples(st.just("refund"), numbers, totals),
    st.tuples(
        st.just("verdict"), numbers, st.sampled_from(PARTNERS), st.sampled_from(["approve", "decline"])
    ),
)


async def _do(shop: Shop, step: Any) -> None:
    kind, number, *rest = step
    shop.now += 1
    runtime, record = shop.service.sites["shop"], shop.service.ordering.record
    if kind == "refund":
        refund = Refund(f"r{shop.now}", Decimal(rest[0]))
        seen = OrderSeen(number, None, "EUR", "api", state=None, refunds=(refund,))
        await record(runtime, seen, visitor=None)
    elif kind == "verdict":
        order = await shop.service.ledger.orders.get("shop", number)
        if order is not None:
            with suppress(OrderError):
                await shop.service.workflow.decide("shop", order.row, [rest[0]], rest[1], by="bo", why="seen")
    else:
        visitor, total, currency, state = rest
        tax = (Decimal(total) / 5).quantize(Decimal("0.01")) if kind == "api" else None
        seen = OrderSeen(number, Decimal(total), currency, kind, state=state, tax=tax)
        shown = BROWSER if kind == "browser" else None
        await record(runtime, seen, visitor=visitor, shown=shown, agent="bo" if kind == "agent" else None)


async def _came(shop: Shop) -> None:
    for visitor in ("of-anna", "of-blog", "of-both"):
        names = PARTNERS if visitor == "of-both" else (visitor.removeprefix("of-"),)
        for n, name in enumerate(names):
            touch = Touch(int(NOW) - 3600 + n, (Click("", PARAM[name], "c", name),), {}, "", "/")
            await shop.service.visits.change("shop", visitor, [Touched(touch), Shopped()], shop.now)


def _state(one: Any) -> tuple[Any, ...]:
    return one.partner, one.state, one.currency, one.approved


async def _agree(shop: Shop) -> None:
    db = shop.service.ledger.db
    found = await Totals(db).week("shop", WEEKS.starts[0], WEEKS.end)
    states = await Totals(db).states("shop", WEEKS, shop.now)
    reported = await Reports(db).sums(OrderFilter("shop"))
    everywhere = await Reports(db).sums(OrderFilter())
    of_site = await Commissions(db).sums(WantedCommissions(site="shop"))
    of_all = await Commissions(db).sums(WantedCommissions())
    assert everywhere == reported
    assert of_all == of_site
    states_of_site = {(*_state(one), one.count, one.amount) for one in states}
    sums_of_site = {(*_state(one), one.count, Decimal(one.amount).scaleb(-2)) for one in of_site}
    assert states_of_site == sums_of_site
    for partner in (*PARTNERS, None):
        for currency in ("EUR", "USD"):
            mine = [one for one in found if (one.partner, one.currency) == (partner, currency)]
            told = [one for one in reported if (one.partner, one.currency) == (partner, currency)]
            assert sum(one.revenue for one in mine) == sum(one.total for one in told)
            earned = sum(one.commission for one in mine)
            assert earned == sum(one.commission for one in told)
            own = [one for one in states if (one.partner, one.currency) == (partner, currency)]
            assert earned == sum(one.amount for one in own)
            lines = [one for one in of_site if (one.partner, one.currency) == (partner, currency)]
            assert earned == sum(Decimal(one.amount).scaleb(-2) for one in lines)


async def _example(steps: list[Any], net: bool = False) -> None:
    with tempfile.TemporaryDirectory() as folder:
        own = [
            {**PARTNER, "id": p, "param": PARAM[p], "terms": [{"name": "all", "percent": "7.5"}]}
            for p in PARTNERS
        ]
        more = {"hold": {"amounts": False}, "net": {"tax": "exclude" if net else "include"}}
        shop = Shop(Path(folder), site(partners=own, credit={"model": "linear"}, **more))
        await shop.service.open()
        try:
            await _came(shop)
            for step in steps:
                await _do(shop, step)
            await _agree(shop)
        finally:
            await shop.service.close()


@pytest.mark.slow
@settings(max_examples=25)
@given(st.lists(steps, min_size=1, max_size=8), st.booleans())
def test_all_sums_of_a_ledger_are_the_same_figure(steps: list[Any], net: bool) -> None:
    asyncio.run(_example(steps, net))


def test_what_only_a_browser_told_is_in_no_sum() -> None:
    asyncio.run(_example([("browser", "1", "of-anna", "100.00", "EUR", "placed")]))
