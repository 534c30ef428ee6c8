"""Decides about the commissions of partners: a person approves or declines one, and what nobody objects to is
approved by itself when its hold period is over."""

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Protocol

from ..orders.checks import checked_text
from ..orders.doubt import Doubt
from ..orders.model import OrderError
from ..payouts.account import (
    Account,
    Entry,
    Source,
    Verdict,
    WorkflowError,
    accounts,
    approved,
    decimal,
    declined,
    locked,
)
from ..payouts.payees import impossible, is_paid_here
from ..payouts.period import Period
from ..postbacks.approvals import verdict_doubt
from ..postbacks.model import Report
from ..referral.networks_file import load as load_catalogue
from ..settings.model import Partner, Site
from ..stores.ledger.books import Ledger
from ..stores.ledger.commissions import Open, Overdue, in_doubt
from ..stores.ledger.errors import LedgerAwayError
from .clock import Clock

STEP: Final = 100
"""Commissions that are looked at in one go."""

EVERY: Final = 60.0
"""Seconds between two looks for hold periods that are over."""

TELL_EVERY: Final = 3600.0
"""Seconds between two reports of what cannot be paid."""

WHY_LENGTH: Final = 300


class Events(Protocol):
    """Receives events."""

    def emit(self, name: str, *, site: str, **fields: Any) -> None:
        """Report that `name` happened."""

    def notice(self, name: str, *, site: str, key: str, **fields: Any) -> bool:
        """Report something that needs a person."""

    def failed(self, error: BaseException, *, site: str, where: str) -> None:
        """Report that something of clew's own failed."""


def able_of(partner: Callable[[str], Partner | None], now: float) -> Callable[[Report], Doubt | None]:
    """Why an approval or a refusal cannot be told by a call; `partner` is one of the order's site by id."""
    networks = load_catalogue().networks
    return lambda report: verdict_doubt(partner(report.partner), report, networks, now)


async def decide(
    ledger: Ledger,
    known: Callable[[str], Partner | None],
    order: int,
    partners: Sequence[str],
    verdict: Verdict,
    now: float,
    *,
    by: str,
    why: str,
    source: Source = "person",
    seen: str | None = None,
) -> dict[str, tuple[Account, ...]]:
    """Approve or decline the commissions of some partners, or of all, for an order; by partner, those that
    changed. `order` is the ledger's own number, `known` a partner of its site by id. Their networks are told.
    `seen` is the state as `by` saw it, None for any. Raises OrderError if there is nothing to decide, and if
    it has another state by now."""
    reason = checked_text(why, "why", WHY_LENGTH)
    there = await ledger.commissions.of_order(order)
    chosen = list(partners) or sorted(there)
    if missing := [partner for partner in chosen if partner not in there]:
        raise OrderError(f"partner: the order has no commission of {', '.join(missing)}")
    if not chosen:
        raise OrderError("partner: nobody earns this order, so there is no commission to decide about")
    word = approved if verdict == "approve" else declined
    found = {}
    try:
        for partner in chosen:
            # An order has a second account only if its currency was corrected.
            stands = any(account.stands for account in accounts(there[partner]).values())

            def entry(account: Account, stands: bool = stands) -> Entry | None:
                if stands and not account.stands:
                    return None
                made = word(account, now, source, by, reason)
                if made is not None and seen not in (None, account.state):
                    raise WorkflowError(f"its commission is {account.state} by now: look at it again")
                return made

            able = able_of(known, now)
            found[partner] = await ledger.commissions.decide(order, partner, entry, able=able)
    except WorkflowError as error:
        raise OrderError(f"order: {error}") from None
    return {partner: changed for partner, changed in found.items() if changed}


class Workflow:
    """Approves what nobody objects to, and settles at once where the settings say so. `changed` is called
    after a decision."""

    def __init__(
        self,
        ledger: Ledger,
        events: Events,
        clock: Clock,
        sites: Callable[[], Sequence[Site]],
        partner: Callable[[str, str], Partner | None],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger = ledger
        self._events = events
        self._clock = clock
        self._sites = sites
        self._partner = partner
        self._changed = changed
        self._told_at = -math.inf

    async def decide(
        self,
        site: str,
        order: int,
        partners: Sequence[str],
        verdict: Verdict,
        *,
        by: str,
        why: str,
        seen: str | None = None,
    ) -> dict[str, tuple[Account, ...]]:
        """A person's decision: see `decide`."""
        known, now = partial(self._partner, site), self._clock.now()
        found = await decide(self._ledger, known, order, partners, verdict, now, by=by, why=why, seen=seen)
        for partner, changed in found.items():
            state = next((one.state for one in changed if one.stands), "declined")
            fields = {"order": order, "partner": partner, "state": state, "by": by}
            self._events.emit("commission", site=site, **fields)
        if found:
            self._changed()
        return found

    async def step(self) -> None:
        """Do what is due now."""
        await self._approve_overdue()
        for site in self._sites():
            for partner in site.partners:
                if (partner.settlement or site.credit.settlement) == "live":
                    with self._apart(site.name):
                        await self._settle_live(site, partner.id)
        await self._tell_impossible()

    @contextmanager
    def _apart(self, site: str) -> Iterator[None]:
        """One that fails is reported, and the others go on. Raises LedgerAwayError: then all would fail."""
        try:
            yield
        except LedgerAwayError:
            raise
        except Exception as error:
            self._events.failed(error, site=site, where="commissions")

    def _waits(self, site: str, partner: str, number: str, against: str) -> None:
        fields = {"order": number, "partner": partner, "why": against}
        self._events.notice("commission_waiting", site=site, key=partner, **fields)

    async def _tell_impossible(self) -> None:
        """Report who cannot be paid, once an hour."""
        now = self._clock.monotonic()
        if now < self._told_at + TELL_EVERY:
            return
        self._told_at = now
        for site in self._sites():
            # A network pays its partners itself: what clew has settled with it stays unpaid here, for ever.
            for partner in filter(is_paid_here, site.partners):
                with self._apart(site.name):
                    await self._tell_unpaid(site, partner)

    async def _tell_unpaid(self, site: Site, partner: Partner) -> None:
        for currency, amount in await self._ledger.payouts.unpaid(site.name, partner.id):
            if amount > 0 and (why := impossible(site, partner, currency)):
                fields = {"amount": f"{decimal(amount, currency):f}", "currency": currency, "why": why}
                self._events.notice(
                    "payout_impossible", site=site.name, key=partner.id, partner=partner.id, **fields
                )

    async def _approve_overdue(self) -> None:
        now, last = self._clock.now(), None
        while found := await self._ledger.commissions.overdue(now, last, STEP):
            for one in found:
                with self._apart(one.site):
                    await self._approve(one, now)
            last = found[-1]
            await asyncio.sleep(0)

    async def _approve(self, one: Overdue, now: float) -> None:
        fields = {"order": one.number, "partner": one.partner}
        if one.against:
            self._waits(one.site, one.partner, one.number, one.against)
            return
        why = "the hold period is over, and nothing stands against it"

        def entry(account: Account) -> Entry | None:
            if account.waits_until is None or account.waits_until > now:
                return None
            return approved(account, now, "hold", "", why)

        able = able_of(partial(self._partner, one.site), now)
        if await self._ledger.commissions.decide(one.order, one.partner, entry, able=able):
            self._events.emit("commission", site=one.site, **fields, state="approved", by="hold period")
            self._changed()

    async def _settle_live(self, site: Site, partner: str) -> None:
        """Settle what is approved and not in doubt."""
        now, last = self._clock.now(), None
        ref = Period.at(now, site.time_zone).name
        entry = partial(locked, at=now, source="settlement", by="", ref=ref)
        while found := await self._ledger.commissions.open_of(site.name, partner, last, STEP):
            for one in found:
                with self._apart(site.name):
                    await self._settle(site.name, partner, one, entry, now)
            last = found[-1].order
            await asyncio.sleep(0)

    async def _settle(
        self, site: str, partner: str, one: Open, entry: Callable[[Account], Entry | None], now: float
    ) -> None:
        if one.against:
            self._waits(site, partner, one.number, one.against)
            return
        able = able_of(partial(self._partner, site), now)
        books = self._ledger.commissions
        if await books.decide(one.order, partner, entry, able=able, unless=in_doubt):
            fields = {"order": one.number, "partner": partner}
            self._events.emit("commission", site=site, **fields, state="locked", by="live")
