"""Settlement files out and in: what is decided about commissions, for networks, partners and owners."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Final, Literal
from zoneinfo import ZoneInfo

from ..payouts.account import Account, Entry, Source, approved, decimal, declined, locked, paid, worded
from ..payouts.period import Period
from ..payouts.settlement_file import Format, Row, written
from ..settings.model import Partner, Site
from ..stores.ledger.books import Ledger
from ..stores.ledger.commissions import Commission, WantedCommissions, place
from .workflow import able_of

STEP: Final = 500
"""Orders that are looked up in one go."""


@dataclass(slots=True)
class Imported:
    """What an imported file changed: orders by their new state, those that had it already, and those about
    which nothing was done, each with its line and the reason."""

    changed: dict[str, int] = field(default_factory=dict)
    unchanged: int = 0
    open: int = 0
    left: list[tuple[int, str, str]] = field(default_factory=list)


async def exported(
    ledger: Ledger, site: Site, partner: Partner, period: Period, form: Format
) -> AsyncIterator[Sequence[str]]:
    """The rows of a file about a partner's orders that were placed in a period, the newest first."""
    states = form.states or None
    wanted = WantedCommissions(site.name, partner.id, states, period.start, period.end)
    zone = ZoneInfo(site.time_zone)
    last = None
    yield [column.name for column in form.columns]
    while found := await ledger.commissions.page(wanted, limit=STEP, after=last):
        reasons = await ledger.payouts.reasons([one.order for one in found])
        for one in found:
            why = reasons.get((one.order, one.partner, one.currency), "")
            yield written(form, _values(one, why, zone), partner.plain_settings)
        last = place(found[-1])


def _values(one: Commission, why: str, zone: ZoneInfo) -> dict[str, str]:
    def day(at: float | None) -> str:
        return "" if at is None else datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d")

    def text(amount: int | None) -> str:
        return "" if amount is None else f"{decimal(amount, one.currency):f}"

    return {
        "order": one.number,
        "partner": one.partner,
        "state": one.state,
        "shown": worded(one.state, approved=one.waits_until is None),
        "value": text(one.value),
        "commission": text(one.amount),
        "currency": one.currency,
        "channel": one.channel,
        "placed": day(one.placed_at),
        "decided": day(one.decided_at),
        "reason": why,
    }


async def imported(
    ledger: Ledger,
    site: Site,
    partner: Partner,
    rows: Iterable[Row],
    now: float,
    *,
    name: str,
    source: Literal["network", "file"],
) -> Imported:
    """Give a partner's commissions the states that a file says. Of `source` "network" it is the network's own
    decision, of which it is not told. What the file says already holds changes nothing, so the same file may
    come again."""
    done, waiting = Imported(), iter(rows)
    while some := list(islice(waiting, STEP)):
        known = await ledger.commissions.by_numbers(site.name, partner.id, [row.number for row in some])
        for row in some:
            found = [one for one in known.get(row.number, ()) if row.currency in (None, one.currency)]
            await _import(ledger, site, partner, row, found, now, name, source, done)
    return done


async def _import(
    ledger: Ledger,
    site: Site,
    partner: Partner,
    row: Row,
    found: Sequence[Commission],
    now: float,
    name: str,
    source: Literal["network", "file"],
    done: Imported,
) -> None:
    if not found:
        done.left.append((row.line, row.number, f"no order of {partner.id} has this number"))
        return
    if row.status == "pending":
        done.open += 1
        return
    # An account in another currency is of an order that was corrected.
    target = next((one for one in found if one.value), found[-1])
    why = f"{row.status} by line {row.line} of {name}"
    against = ""

    def word(account: Account) -> Entry | None:
        nonlocal against
        if account.currency != target.currency:
            return None
        if row.status == "declined":
            return declined(account, now, source, name, why)
        if not account.stands:
            against = f"the file says {row.status}, but nothing is left of the order"
            return None
        if account.was_locked and account.verdict == "approve":
            return None
        return approved(account, now, source, name, why)

    steps = [word]
    if row.status == "paid":
        steps += [partial(_settled, target.currency, step, now, source, name) for step in (locked, paid)]
    able = able_of({one.id: one for one in site.partners}.get, now)
    changed = await ledger.commissions.decide(target.order, partner.id, *steps, able=able)
    if against:
        done.left.append((row.line, row.number, against))
    elif changed:
        done.changed[row.status] = done.changed.get(row.status, 0) + 1
    else:
        done.unchanged += 1


def _settled(
    currency: str, step: object, now: float, source: Source, name: str, account: Account
) -> Entry | None:
    """The entry by which what is approved is settled, or paid, by a file."""
    if account.currency != currency or not account.stands or account.verdict != "approve":
        return None
    make = locked if step is locked else paid
    return make(account, now, source, name, name)
