"""A partner's commission for one order: its entries, and the state and the sums that they come to.

Append-only: an entry is never changed. What an entry adds to the commission is the difference to the entries
before it, so all `amount`s together are what the partner has earned in the end, in whatever order reports
came in. Amounts are whole numbers of the currency's minor unit. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, get_args

from ..orders.money import minor_digits

# credited: what the credit decision gives, the first time and after each change. clawback: the same, less
# than before, after it was locked. approved, declined: a decision about it. locked: it is part of a
# settlement, and not changed any more. paid: it was paid.
Kind = Literal["credited", "clawback", "approved", "declined", "locked", "paid"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
State = Literal["pending", "amended", "approved", "declined", "locked", "paid"]
STATES: Final[tuple[State, ...]] = get_args(State)
# credit: the order's credit decision. hold: the hold period was over. person: somebody decided. network,
# file: a file of the network, or of the owner. settlement, payout: the close of a period, and its payment.
Source = Literal["credit", "hold", "person", "network", "file", "settlement", "payout"]
Verdict = Literal["approve", "decline"]


class WorkflowError(ValueError):
    """A commission cannot get this state; the text says why."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a credit decision gives a partner for an order as it stands. `value` is the partner's part of the
    order's amount, `amount` the commission, None where the site has no terms for it, both in minor units.
    `stands`: the order is a sale, and something is left of it. `due_at` is the end of the hold period, `part`
    the partner's part of the order, from 0 to 1."""

    currency: str
    value: int
    amount: int | None
    stands: bool
    due_at: float
    part: str = "1"


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry. `amount` is what it adds to the commission (None where there are no terms); of `locked` and
    `paid` it is what is settled or paid, which adds nothing. `value` likewise, of the partner's part of the
    order. `earned` is what the credit decision gives since this entry, `stands`, `due_at` and `part`
    as in `Standing`. `ref` is the settlement or the payout; `at` in unix seconds."""

    kind: Kind
    at: float
    source: Source
    by: str
    why: str
    currency: str
    amount: int | None = None
    value: int = 0
    earned: int | None = None
    stands: bool = True
    due_at: float | None = None
    ref: str | None = None
    part: str = "1"


@dataclass(frozen=True, slots=True)
class Account:
    """What the entries of one order, partner and currency come to.

    `amount` is the commission as it stands, None without terms; `value` the partner's part of the order.
    `first` is the amount and the value that it began with, `earned` what the credit decision gives now.
    `locked` and `paid` are what was settled and paid of it. `due_at` is the end of the hold period.
    `verdict` is the last decision about it, by `decided_by` at `decided_at`.
    """

    currency: str
    amount: int | None = None
    value: int = 0
    earned: int | None = None
    first: tuple[int | None, int] | None = None
    stands: bool = False
    locked: int = 0
    locked_value: int = 0
    paid: int = 0
    due_at: float | None = None
    verdict: Verdict | None = None
    decided_by: Source | None = None
    decided_at: float | None = None
    was_locked: bool = False
    was_paid: bool = False
    ref: str | None = None

    @property
    def state(self) -> State:
        """The state, in the words of the pages. `amended` is pending or approved with another amount than at
        first; `ready` says which."""
        if not self.stands or self.verdict == "decline":
            return "declined"
        if self.settled:
            return "paid" if self.was_paid else "locked"
        if (self.earned, self.value) != self.first:
            return "amended"
        return "approved" if self.ready else "pending"

    @property
    def ready(self) -> bool:
        """Whether what is open of it may be settled: it was approved, or less is left than was settled."""
        return (self.verdict == "approve" and self.stands) or self.open < 0

    @property
    def settled(self) -> bool:
        """Whether all of it is locked."""
        return self.was_locked and not self.open and self.value == self.locked_value

    @property
    def lockable(self) -> bool:
        """Whether something of it may become a part of a settlement."""
        return self.ready and not self.settled and (self.stands or self.was_locked)

    @property
    def is_unpaid(self) -> bool:
        """Whether a payout has to pay or to deduct something of it."""
        return self.unpaid != 0

    @property
    def open(self) -> int:
        """What is not locked yet. Negative: more was locked than the partner has earned."""
        return (self.amount or 0) - self.locked

    @property
    def unpaid(self) -> int:
        """What is locked and not paid yet. Negative: it is deducted from a payout."""
        return self.locked - self.paid

    @property
    def waits_until(self) -> float | None:
        """The end of the hold period, while it waits for that; else None."""
        return self.due_at if self.verdict is None and self.stands else None


def worded(state: str, *, approved: bool) -> str:
    """A state for people. An amended commission is pending or approved: which of them is to be seen."""
    return "amended, approved" if state == "amended" and approved else state


def accounts(entries: Iterable[Entry]) -> Mapping[str, Account]:
    """What entries come to, by currency. They are of one order and partner, in the order in which they were
    added."""
    found: dict[str, Account] = {}
    for entry in entries:
        found[entry.currency] = after(found.get(entry.currency) or Account(entry.currency), entry)
    return found


def after(before: Account, entry: Entry) -> Account:
    """The account with one more entry."""
    values = {name: getattr(before, name) for name in before.__slots__}
    match entry.kind:
        case "credited" | "clawback":
            values |= {"earned": entry.earned, "stands": entry.stands, "due_at": entry.due_at}
            values["value"] = before.value + entry.value
            if before.first is None:
                values["first"] = (entry.earned, entry.value)
            if before.verdict == "approve" and _rises(entry):
                # What was approved was less: the rest waits as the whole did.
                values |= {"verdict": None, "decided_by": None, "decided_at": None}
        case "approved" | "declined":
            values["verdict"] = "approve" if entry.kind == "approved" else "decline"
            values |= {"decided_by": entry.source, "decided_at": entry.at}
        case "locked":
            values["locked"] = before.locked + (entry.amount or 0)
            values["locked_value"] = before.locked_value + entry.value
            # Nobody pays a sum of nothing. Without terms the sum is not known, and somebody else pays it.
            done = before.amount is not None and values["locked"] == before.paid
            values |= {"was_locked": True, "was_paid": done, "ref": entry.ref}
        case "paid":
            values["paid"] = before.paid + (entry.amount or 0)
            values |= {"was_paid": True, "ref": entry.ref}
    if entry.kind not in ("locked", "paid") and entry.amount is not None:
        values["amount"] = (before.amount or 0) + entry.amount
    return Account(**values)


def _rises(entry: Entry) -> bool:
    """Whether a change adds to what the partner earns."""
    return (entry.value if entry.amount is None else entry.amount) > 0


def credited(account: Account | None, standing: Standing, at: float, why: str) -> Entry | None:
    """The entry for what the credit decision gives now; None if nothing is new. A declined commission stays
    declined: nothing is added to it."""
    before = account or Account(standing.currency)
    if account is None and not standing.stands:
        return None
    declined = before.verdict == "decline"
    amount = 0 if declined else _change(before.amount, standing.amount)
    value = standing.value - before.value
    same = (standing.amount, standing.stands) == (before.earned, before.stands)
    # The order's time was corrected.
    same = same and not (before.waits_until is not None and before.waits_until != standing.due_at)
    if account is not None and same and not amount and not value:
        return None
    has_terms = standing.amount is not None or before.amount is not None
    return Entry(
        kind="clawback" if before.was_locked and amount < 0 else "credited",
        at=at,
        source="credit",
        by="",
        why=why,
        currency=standing.currency,
        amount=amount if has_terms else None,
        value=value,
        earned=standing.amount,
        stands=standing.stands,
        due_at=standing.due_at,
        part=standing.part,
    )


def _change(before: int | None, now: int | None) -> int:
    return (now or 0) - (before or 0)


def approved(account: Account, at: float, source: Source, by: str, why: str) -> Entry | None:
    """The entry of an approval; None if it is approved already. What was declined is earned again. Raises
    WorkflowError if there is nothing to approve."""
    if not account.stands:
        raise WorkflowError("nothing is left of the order, so there is nothing to approve")
    if account.verdict == "approve":
        return None
    return _decided(account, "approved", _change(account.amount, account.earned), at, source, by, why)


def declined(account: Account, at: float, source: Source, by: str, why: str) -> Entry | None:
    """The entry of a refusal; None if it is declined already. What was settled of it is taken back."""
    if account.verdict == "decline":
        return None
    return _decided(account, "declined", -(account.amount or 0), at, source, by, why)


def _decided(
    account: Account, kind: Kind, amount: int, at: float, source: Source, by: str, why: str
) -> Entry:
    has_terms = account.earned is not None or account.amount is not None
    own = amount if has_terms else None
    return Entry(kind, at, source, by, why, account.currency, own, 0, account.earned, account.stands)


def locked(account: Account, at: float, source: Source, by: str, ref: str) -> Entry | None:
    """The entry by which all that is open becomes a part of a settlement; None if nothing is open, or it is
    not ready for it."""
    if not account.lockable:
        return None
    value = account.value - account.locked_value
    why = f"settled with {ref}"
    return Entry("locked", at, source, by, why, account.currency, account.open, value, ref=ref)


def paid(account: Account, at: float, source: Source, by: str, ref: str) -> Entry | None:
    """The entry by which all that is locked is paid; None if it is."""
    if not account.was_locked or account.was_paid:
        return None
    return Entry("paid", at, source, by, f"paid with {ref}", account.currency, account.unpaid, ref=ref)


def told(account: Account) -> Verdict | None:
    """What the partner's network is to be told of the commission: a decision that it did not make itself;
    None before there is one."""
    if account.verdict is None or not account.stands or account.decided_by == "network":
        return None
    return account.verdict


def minor(amount: Decimal, currency: str) -> int:
    """An amount in minor units."""
    return int(amount.scaleb(minor_digits(currency)).to_integral_value())


def decimal(amount: int, currency: str) -> Decimal:
    """Minor units as an amount."""
    return Decimal(amount).scaleb(-minor_digits(currency))
