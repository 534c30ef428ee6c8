"""What partners are owed and paid, whatever happens to orders, in whatever order."""

import asyncio
import tempfile
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import hypothesis.strategies as st
import pytest
from clew.credit.decision import decide as credited_by
from clew.orders.model import OrderError, OrderSeen, Refund
from clew.payouts.account import Account, accounts
from clew.payouts.period import Period
from clew.payouts.settlement_file import read_rows
from clew.postbacks.report_file import format_of
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Shopped, Touched
from clew.service.ordering.correcting import correct
from clew.service.paying import close, pay, statement
from clew.service.settling import imported
from clew.service.workflow import decide
from clew.settings.model import Hold
from clew.stores.ledger import schema
from clew.stores.ledger.stories import Story
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from reporting import NOW, PARTNER, Shop, site

DAY = 86400.0
NUMBERS = ("1001", "1002", "1003")
PARTNERS = ("blog", "anna")
PARAM = {"blog": "ref", "anna": "aff"}
RATE = {"blog": Decimal(10), "anna": Decimal("7.5")}
DIGITS = {"EUR": 2, "JPY": 0, "USD": 2}
T = TypeVar("T")

numbers = st.sampled_from(NUMBERS)
partners = st.sampled_from(PARTNERS)
totals = st.sampled_from(["0", "0.01", "33.33", "100.00", "999999999.99"])


def the_site() -> dict[str, Any]:
    account = {"name": "Blog", "iban": "FR1420041010050500013M02606", "method": "csv"}
    own = [
        {
            **PARTNER,
            "id": name,
            "param": PARAM[name],
            "payout": account,
            "codes": ["ANNA"] if name == "anna" else [],
            "terms": [{"name": "all", "percent": str(RATE[name])}],
        }
        for name in PARTNERS
    ]
    return site(partners=own, credit={"model": "linear"})


class Money(RuleBasedStateMachine):
    """Orders, refunds, corrections, decisions, settlements and payouts."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.shop = Shop(Path(self.folder.name), the_site())
        self.run(self.shop.service.open())
        self.site = self.shop.service.settings.sites[0]
        self.ledger = self.shop.service.ledger
        self.declined: set[tuple[int, str]] = set()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.run(self.shop.service.close())
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()
        self.folder.cleanup()

    # -- what may happen

    @initialize()
    def visitors(self) -> None:
        """1001 was led by one partner, 1002 by both, 1003 by nobody."""
        for number, names in (("1001", ("blog",)), ("1002", PARTNERS)):
            for age, name in enumerate(names, 1):
                click = Click("", PARAM[name], f"c{name}", name)
                touch = Touch(int(NOW) - 7200 * age, (click,), {}, "", "/")
                self.run(
                    self.shop.service.visits.change(
                        "shop", f"v{number}", [Touched(touch), Shopped()], self.shop.now
                    )
                )

    @rule(days=st.sampled_from([0, 1, 15, 31]))
    def time_passes(self, days: int) -> None:
        self.shop.now += days * DAY + 1
        self.run(self.shop.service.workflow.step())

    @rule(
        number=numbers,
        total=totals,
        currency=st.sampled_from(["EUR", "EUR", "EUR", "JPY"]),
        state=st.sampled_from(
            ["paid", "paid", "placed", "cancelled", "charged_back", "test", "held", "refunded"]
        ),
        source=st.sampled_from(["api", "webhook", "import", "page"]),
        coupon=st.sampled_from([None, None, "ANNA"]),
        late=st.sampled_from([None, None, -5 * DAY, 0.0]),
    )
    def reported(
        self,
        number: str,
        total: str,
        currency: str,
        state: Any,
        source: Any,
        coupon: str | None,
        late: float | None,
    ) -> None:
        amount = Decimal(total) if currency == "EUR" else Decimal(total).to_integral_value()
        seen = OrderSeen(
            number,
            amount,
            currency,
            source,
            state=state,
            coupon=coupon,
            as_of=None if late is None or source == "page" else self.shop.now + late,
        )
        self.run(self.shop.record(seen, f"v{number}"))

    @rule(number=numbers, name=st.sampled_from(["r1", "r2", "r3"]), amount=totals)
    def refunded(self, number: str, name: str, amount: str) -> None:
        seen = OrderSeen(number, None, "EUR", "api", state=None, refunds=(Refund(name, Decimal(amount)),))
        self.run(self.shop.record(seen))

    @rule(
        number=numbers,
        partner=st.sampled_from([None, "", *PARTNERS]),
        amount=st.sampled_from([None, "50.00"]),
        currency=st.sampled_from([None, None, "USD"]),
        state=st.sampled_from([None, "cancelled", "paid"]),
    )
    def corrected(
        self, number: str, partner: str | None, amount: str | None, currency: str | None, state: str | None
    ) -> None:
        stored = self.run(self.ledger.orders.get("shop", number))
        if stored is None:
            return
        values: dict[str, Any] = {"partner": partner, "state": state}
        values["currency"] = currency if amount else None
        work = correct(
            *(self.ledger, self.site.partners, stored, self.shop.now),
            **{"by": "ann", "why": "wrong", "hold": Hold(agent_limit=None), **values},
            amount=None if amount is None else Decimal(amount),
        )
        with suppress(OrderError):
            self.run(work)

    @rule(number=numbers, partner=partners, verdict=st.sampled_from(["approve", "decline"]))
    def decided(self, number: str, partner: str, verdict: Any) -> None:
        stored = self.run(self.ledger.orders.get("shop", number))
        if stored is None:
            return
        known = self.shop.service.sites["shop"].partners.get
        try:
            self.run(
                decide(
                    self.ledger, known, stored.row, [partner], verdict, self.shop.now, by="ann", why="looked"
                )
            )
        except OrderError:
            return
        self._said(stored.row, partner, verdict)

    def _said(self, row: int, partner: str, verdict: str) -> None:
        if verdict == "decline":
            self.declined.add((row, partner))
        else:
            self.declined.discard((row, partner))

    @rule(number=numbers, partner=partners, word=st.sampled_from(["approved", "declined", "paid"]))
    def filed(self, number: str, partner: str, word: str) -> None:
        rows = list(read_rows(f"Order,Status\n{number},{word}\n".encode(), format_of(None), {}))
        own = next(one for one in self.site.partners if one.id == partner)
        done = self.run(
            imported(self.ledger, self.site, own, rows, self.shop.now, name="f.csv", source="file")
        )
        stored = self.run(self.ledger.orders.get("shop", number))
        if stored is not None and not done.left:
            self._said(stored.row, partner, "decline" if word == "declined" else "approve")

    @rule(months=st.sampled_from([0, 0, 1]), pays=st.booleans())
    def settled(self, months: int, pays: bool) -> None:
        period = Period.at(self.shop.now - months * 31 * DAY, "UTC")
        for partner in self.site.partners:
            self.run(close(self.ledger, self.site, partner, period, self.shop.now))
            if pays:
                self.run(pay(self.ledger, self.site, partner, period, self.shop.now))

    # -- what always holds

    def _stories(self) -> Iterator[Story]:
        for number in NUMBERS:
            if (found := self.run(self.ledger.stories.of("shop", number))) is not None:
                yield found

    @invariant()
    def a_declined_commission_is_owed_nothing(self) -> None:
        for story in self._stories():
            for partner, entries in story.commissions.items():
                if (story.order.row, partner) in self.declined:
                    owed = {c: one.amount for c, one in accounts(entries).items() if one.amount}
                    assert not owed, f"{story.order.order_id} {partner} is declined, and owed {owed}"

    @invariant()
    def nobody_is_owed_more_than_the_terms_give(self) -> None:
        for story in self._stories():
            decision = story.decisions[-1]
            again = credited_by(decision.inputs, decision.policy)
            assert again.shares == decision.decision.shares
            shares = {share.partner: share for share in again.shares}
            owed = self._owed(story)
            order = story.order
            left = max((order.total or Decimal()) - order.refunded, Decimal())
            for (partner, currency), amount in owed.items():
                share = shares.get(partner)
                assert amount == 0 or (share is not None and currency == order.currency)
                if share is not None and amount:
                    assert share.commission is not None
                    assert share.commission.amount == amount
                    most = Fraction(left) * Fraction(RATE[partner]) / 100
                    assert Fraction(amount) < most + Fraction(1, 10 ** DIGITS[currency])

    def _owed(self, story: Story) -> Mapping[tuple[str, str], Decimal]:
        return {
            (partner, currency): Decimal(account.amount or 0).scaleb(-DIGITS[currency])
            for partner, entries in story.commissions.items()
            for currency, account in accounts(entries).items()
        }

    @invariant()
    def each_row_is_what_its_entries_come_to(self) -> None:
        rows = {
            (row["order"], row["partner"], row["currency"]): row
            for row in self.run(self.shop.rows(schema.commissions))
        }
        found = dict(self._accounts())
        assert rows.keys() == found.keys()
        for key, account in found.items():
            row = rows[key]
            said = (row["state"], row["amount"], row["value"], row["locked"], row["paid"])
            assert said == (account.state, account.amount, account.value, account.locked, account.paid)
            assert (row["lockable"], row["unpaid"]) == (account.lockable, account.is_unpaid)

    def _accounts(self) -> Iterator[tuple[tuple[int, str, str], Account]]:
        for story in self._stories():
            for partner, entries in story.commissions.items():
                for currency, account in accounts(entries).items():
                    yield (story.order.row, partner, currency), account

    @invariant()
    def payouts_are_what_was_paid_once(self) -> None:
        entries = self.run(self.shop.rows(schema.commission_entries))
        for payout in self.run(self.ledger.payouts.list("shop")):
            own = [e for e in entries if e["kind"] == "paid" and e["ref"] == payout.name]
            assert payout.amount > 0
            assert (sum(e["amount"] for e in own), len(own)) == (payout.amount, payout.lines)
            assert len({e["order"] for e in own}) == len(own)
            self.run(_all(statement(self.ledger, payout, str)))
        paid: dict[tuple[int, str, str], int] = {}
        for entry in entries:
            if entry["kind"] == "paid":
                key = (entry["order"], entry["partner"], entry["currency"])
                paid[key] = paid.get(key, 0) + entry["amount"]
        for key, account in self._accounts():
            assert account.paid == paid.get(key, 0)

    @invariant()
    def nothing_is_lost(self) -> None:
        """What is settled and not owed any more is taken back with the next close, without anybody's word."""
        for key, account in self._accounts():
            if account.locked > (account.amount or 0):
                assert account.lockable, key


async def _all(rows: Any) -> list[Any]:
    return [row async for row in rows]


TestMoney = pytest.mark.slow(Money.TestCase)
# The same ones each time; `derandomize=False` and more examples search for others.
TestMoney.settings = settings(
    max_examples=10,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
