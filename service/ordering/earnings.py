"""The entries of partners' commissions as text, for the history of an order."""

from collections.abc import Iterator, Sequence
from typing import Any

from ...payouts.account import Account, Entry, after, decimal, worded
from .lines import Line, Moment

_BY = {
    "hold": "by itself",
    "network": "by the network's file",
    "file": "by a file",
    "settlement": "by the settlement",
    "payout": "by the payout",
}


def commission_lines(partner: str, entries: Sequence[Entry], moment: Moment) -> Iterator[Line]:
    """A partner's entries, oldest first."""
    known: dict[str, Account] = {}
    for entry in entries:
        before = known.get(entry.currency) or Account(entry.currency)
        account = known[entry.currency] = after(before, entry)
        details = [f"why: {entry.why}"] if entry.why else []
        yield Line(entry.at, "commission", _said(partner, entry, before), (*details, _now(account, moment)))


def _said(partner: str, entry: Entry, before: Account) -> str:
    amount = priced(entry.amount, entry.currency)
    of_order = priced(entry.value, entry.currency)
    by = entry.by if entry.source == "person" else _BY.get(entry.source, entry.by)
    if entry.source in ("network", "file") and entry.by:
        by = f"{by} {entry.by}"
    match entry.kind:
        case "clawback":
            return f"Claw-back from {partner}: {amount}"
        case "credited" if before.first is None:
            what = f"commission {amount}" if entry.amount is not None else f"its part {of_order} of the order"
            return f"{partner} earns: {what}"
        case "credited":
            what = f"commission {amount}" if entry.amount is not None else f"its part of the order {of_order}"
            return f"Changed for {partner}: {what}"
        case "approved":
            return f"Commission of {partner} approved {by}"
        case "declined":
            less = f": {amount}" if entry.amount else ""
            return f"Commission of {partner} declined {by}{less}"
        case "locked":
            return f"Settled with {partner}, {entry.ref}: {amount}"
        case _:
            return f"Paid to {partner}, {entry.ref}: {amount}"


def _now(account: Account, moment: Moment) -> str:
    parts = [f"now {worded(account.state, approved=account.verdict == 'approve')}"]
    parts += [f"commission {priced(account.amount, account.currency)}"] if account.amount is not None else []
    if account.waits_until is not None:
        parts.append(f"approved by itself {moment(account.waits_until)} if nothing stands against it")
    if account.was_locked and account.open:
        parts.append(f"{priced(account.open, account.currency)} to be settled")
    return ", ".join(parts)


def priced(amount: int | None, currency: str) -> str:
    """Minor units as text, with the currency."""
    return "unknown" if amount is None else f"{decimal(amount, currency):f} {currency}"


def account_json(account: Account) -> dict[str, Any]:
    """An account as plain data; amounts as decimal text."""
    amounts = {name: getattr(account, name) for name in ("amount", "value", "locked", "paid")}
    own = {"currency": account.currency, "state": account.state, "waits_until": account.waits_until}
    return own | {name: text(amount, account.currency) for name, amount in amounts.items()}


def entry_json(entry: Entry) -> dict[str, Any]:
    """An entry as plain data; amounts as decimal text."""
    own = {name: getattr(entry, name) for name in ("kind", "at", "source", "by", "why", "currency", "ref")}
    return own | {name: text(getattr(entry, name), entry.currency) for name in ("amount", "value")}


def text(amount: int | None, currency: str) -> str | None:
    """Minor units as decimal text."""
    return None if amount is None else f"{decimal(amount, currency):f}"
