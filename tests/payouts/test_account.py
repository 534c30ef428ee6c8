"""A commission's state and sums from its entries, whatever happens in which order."""

from collections.abc import Callable

from clew.payouts.account import (
    STATES,
    Account,
    Entry,
    Standing,
    WorkflowError,
    accounts,
    approved,
    credited,
    declined,
    locked,
    paid,
)
from hypothesis import given
from hypothesis import strategies as st

DUE = 2_000.0


def standing(value: int, amount: int | None, *, stands: bool = True) -> Standing:
    return Standing("EUR", value if stands else 0, amount if stands else (amount and 0), stands, DUE)


class Book:
    """The entries of one account."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    @property
    def account(self) -> Account:
        return accounts(self.entries).get("EUR") or Account("EUR")

    def credit(self, value: int, amount: int | None, *, stands: bool = True) -> None:
        account = self.account if self.entries else None
        self._add(credited(account, standing(value, amount, stands=stands), 1.0, "why"))

    def do(self, word: Callable[..., Entry | None], *args: object) -> None:
        if self.entries:
            self._add(word(self.account, 2.0, *args))

    def approve(self) -> None:
        try:
            self.do(approved, "person", "ann", "good")
        except WorkflowError:
            assert not self.account.stands

    def decline(self) -> None:
        self.do(declined, "person", "ann", "bad")

    def lock(self) -> None:
        self.do(locked, "settlement", "", "2026-10")

    def pay(self) -> None:
        self.do(paid, "payout", "", "p1")

    def _add(self, entry: Entry | None) -> None:
        if entry is not None:
            self.entries.append(entry)


def test_a_commission_goes_from_pending_to_paid() -> None:
    book, seen = Book(), []
    book.credit(10_000, 500)
    for step in (lambda: None, book.approve, book.lock, book.pay):
        step()
        seen.append(book.account.state)
    assert seen == ["pending", "approved", "locked", "paid"]
    assert (book.account.amount, book.account.paid, book.account.open) == (500, 500, 0)
    assert book.account.waits_until is None


def test_a_part_refund_within_the_hold_period_amends_and_a_full_one_declines() -> None:
    book = Book()
    book.credit(10_000, 500)
    book.credit(4_000, 200)
    assert (book.account.state, book.account.amount, book.account.waits_until) == ("amended", 200, DUE)
    book.credit(0, 0, stands=False)
    assert (book.account.state, book.account.amount, book.account.waits_until) == ("declined", 0, None)


def test_a_refund_after_the_payment_is_a_claw_back_and_leaves_nothing() -> None:
    book = Book()
    book.credit(10_000, 500)
    book.approve()
    book.lock()
    book.pay()
    book.credit(0, 0, stands=False)
    assert book.entries[-1].kind == "clawback"
    assert book.entries[-1].amount == -500
    assert (book.account.state, book.account.open) == ("declined", -500)
    book.lock()
    book.pay()
    assert (book.account.locked, book.account.paid, book.account.amount) == (0, 0, 0)
    assert not book.account.lockable
    assert not book.account.is_unpaid


def test_a_declined_commission_stays_declined_and_may_be_approved_again() -> None:
    book = Book()
    book.credit(10_000, 500)
    book.decline()
    book.credit(8_000, 400)
    assert (book.account.state, book.account.amount) == ("declined", 0)
    book.approve()
    assert (book.account.state, book.account.amount) == ("amended", 400)


def test_a_commission_without_terms_has_the_same_states() -> None:
    book, seen = Book(), []
    book.credit(10_000, None)
    for step in (lambda: None, book.approve, book.lock, book.pay, lambda: book.credit(6_000, None)):
        step()
        seen.append((book.account.state, book.account.amount))
    states = ["pending", "approved", "locked", "paid", "amended"]
    assert seen == [(state, None) for state in states]


EVENTS = st.one_of(
    st.tuples(st.just("credit"), st.integers(0, 10_000), st.booleans()),
    st.sampled_from([("approve",), ("decline",), ("lock",), ("pay",)]),
)


@given(st.lists(EVENTS, max_size=25), st.booleans())
def test_the_lines_add_up_to_what_the_partner_has_earned(
    events: list[tuple[object, ...]], terms: bool
) -> None:
    book = Book()
    last: tuple[int, bool] = (0, False)
    for name, *given_ in events:
        if name == "credit":
            value, stands = given_
            assert isinstance(value, int)
            book.credit(value, value // 20 if terms else None, stands=bool(stands))
            last = (value // 20, bool(stands)) if book.entries else last
        else:
            getattr(book, str(name))()
        account, entries = book.account, book.entries
        lines = [e for e in entries if e.kind not in ("locked", "paid")]
        earned = last[0] if last[1] and account.verdict != "decline" and terms else 0
        assert sum(e.amount or 0 for e in lines) == earned == (account.amount or 0)
        assert sum(e.value for e in lines) == account.value
        assert account.locked == sum(e.amount or 0 for e in entries if e.kind == "locked")
        assert account.paid == sum(e.amount or 0 for e in entries if e.kind == "paid")
        assert account.state in STATES
        # Nothing is paid that is not locked, and nothing is locked twice.
        assert account.paid in {0, account.locked} or account.is_unpaid
    before = len(book.entries)
    book.lock()
    book.pay()
    if book.account.was_locked and (book.account.state != "pending" or book.account.open == 0):
        book.lock()
        book.pay()
        assert len(book.entries) <= before + 2
        if book.account.ready or book.account.settled or not book.account.open:
            assert book.account.paid == book.account.locked


@given(st.lists(EVENTS, max_size=20))
def test_what_has_a_state_already_gets_no_second_entry(events: list[tuple[object, ...]]) -> None:
    book = Book()
    for name, *given_ in events:
        repeated = 0
        for _ in range(2):
            count = len(book.entries)
            if name == "credit":
                value, stands = given_
                assert isinstance(value, int)
                book.credit(value, value // 20, stands=bool(stands))
            else:
                getattr(book, str(name))()
            repeated = len(book.entries) - count
        assert repeated == 0


@given(st.permutations(["decline", "approve", "lock", "pay", "refund"]))
def test_a_full_refund_leaves_nothing_whatever_came_before(steps: list[str]) -> None:
    book = Book()
    book.credit(10_000, 500)
    for step in steps:
        if step == "refund":
            book.credit(0, 0, stands=False)
        else:
            getattr(book, step)()
    book.lock()
    book.pay()
    assert (book.account.amount, book.account.locked, book.account.paid) == (0, 0, 0)
