"""Closes periods and makes payouts: each commission is settled once and paid once, however often and in how
many processes it is asked for."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from ..payouts.account import decimal, locked
from ..payouts.payees import carried, impossible
from ..payouts.period import Period
from ..payouts.sepa import PayoutError, document
from ..settings.model import Partner, Site
from ..stores.ledger.books import Ledger
from ..stores.ledger.commissions import in_doubt
from ..stores.ledger.payouts import Due, Payout, PayoutLine
from .workflow import STEP, able_of

TRIES: Final = 10
"""How often a payout is computed again because what is due changed meanwhile."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a partner's payout in a currency: `payout`, or `why` there is none, where `due` in
    minor units is carried over. `impossible`: not by the terms, but because something is missing."""

    partner: str
    currency: str
    due: int
    payout: Payout | None = None
    why: str = ""
    impossible: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """What a close did: of how many orders something was settled, of how many not because something stands
    against it, and of the first SHOWN of these the number and what that is."""

    settled: int
    waiting: int
    why: Sequence[tuple[str, str]]


SHOWN: Final = 20
"""Orders that wait, as shown."""


async def close(ledger: Ledger, site: Site, partner: Partner, period: Period, now: float) -> Closed:
    """Settle what was approved before the end of a period, and what is to be taken back, except of orders in
    doubt. What is settled already stays as it is."""
    count, waiting, why, last = 0, 0, list[tuple[str, str]](), None
    able = able_of({one.id: one for one in site.partners}.get, now)
    books = ledger.commissions
    entry = partial(locked, at=now, source="settlement", by="", ref=period.name)
    while found := await books.open_of(site.name, partner.id, last, STEP, before=period.end):
        for one in found:
            if one.against:
                waiting += 1
                why += [(one.number, one.against)] if len(why) < SHOWN else []
            else:
                done = await books.decide(one.order, partner.id, entry, able=able, unless=in_doubt)
                count += bool(done)
        last = found[-1].order
    return Closed(count, waiting, why)


async def pay(ledger: Ledger, site: Site, partner: Partner, period: Period, now: float) -> list[Result]:
    """Make the payouts of a partner for a period, by currency. Those that were made before are returned as
    they are. The period has to be closed. Raises PayoutError."""
    # In this order: what another process pays meanwhile is in one of the two.
    waiting = await ledger.payouts.due(site.name, partner.id, period.name)
    made = {p.currency: p for p in await ledger.payouts.of_period(site.name, partner.id, period.name)}
    found = [Result(partner.id, p.currency, 0, p) for p in made.values()]
    found += [
        await _pay(ledger, site, partner, period, now, due) for due in waiting if due.currency not in made
    ]
    return sorted(found, key=lambda one: one.currency)


async def _pay(ledger: Ledger, site: Site, partner: Partner, period: Period, now: float, due: Due) -> Result:
    for _ in range(TRIES):
        if why := carried(site, partner, due.currency, due.amount):
            return Result(partner.id, due.currency, due.amount, why=why)
        if why := impossible(site, partner, due.currency):
            return Result(partner.id, due.currency, due.amount, why=why, impossible=True)
        written = await ledger.payouts.pay(_payout(site, partner, period, now, due), due)
        if written is not None:
            return Result(partner.id, due.currency, 0, written)
        changed = await ledger.payouts.due(site.name, partner.id, period.name)
        due = next((one for one in changed if one.currency == due.currency), Due(due.currency, 0, 0, 0))
    raise PayoutError(f"{partner.id}: its commissions keep changing: try again")


def _payout(site: Site, partner: Partner, period: Period, now: float, due: Due) -> Payout:
    # "~" is in no name of a site or a partner.
    name = f"{period.name}~{site.name}~{partner.id}~{due.currency}"
    own = partner.payout
    creditor = {} if own is None else {"name": own.name, "iban": own.iban, "bic": own.bic}
    xml = None
    if own is not None and own.method == "sepa" and due.currency == "EUR" and site.payer is not None:
        text = f"Commission {period.name} {site.name}"
        xml = document(name, site.payer, creditor, due.amount, now, text)
    return Payout(
        *(name, site.name, partner.id, period.name, due.currency),
        *(due.amount, due.lines, now, creditor, xml),
    )


HEADER: Final = (
    *("Payout", "Order", "Order placed", "Part", "Amount", "Commission", "Currency", "Reason"),
    "Commission as of",
)


async def statement(
    ledger: Ledger, payout: Payout, moment: Callable[[float], str]
) -> AsyncIterator[Sequence[str]]:
    """The rows of a payout's statement: a line of each order, and at the end their number and their sum."""

    def text(amount: int) -> str:
        return f"{decimal(amount, payout.currency):f}"

    count = total = 0
    yield HEADER
    async for line in ledger.payouts.lines(payout):
        count, total = count + 1, total + line.amount
        yield _cells(payout, line, text, moment)
    if (count, total) != (payout.lines, payout.amount):
        raise PayoutError(f"{payout.name}: its lines do not add up to what was paid: report this")
    last = (text(total), payout.currency, f"{count} lines", moment(payout.made_at))
    yield (payout.name, "", "", "", "", *last)


def _cells(
    payout: Payout, line: PayoutLine, text: Callable[[int], str], moment: Callable[[float], str]
) -> Sequence[str]:
    amounts = (line.part, text(line.value), text(line.amount), payout.currency)
    return (payout.name, line.number, moment(line.placed_at), *amounts, line.reason, moment(line.at))
