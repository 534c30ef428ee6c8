"""Decides about the commissions of partners: a person approves or declines one, and what nobody objects to is
approved by itself when its hold period is over."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol

from ..orders.checks import checked_text
from ..orders.model import OrderError
from ..payouts.account import (
    Account,
    Entry,
    Source,
    Verdict,
    WorkflowError,
    accounts,
    approved,
    declined,
    locked,
)
from ..payouts.period import Period
from ..settings.model import Site
from ..stores.ledger.books import Ledger
from ..stores.ledger.commissions import Overdue
from .clock import Clock

STEP: Final = 100
"""Commissions that are looked at in one go."""

EVERY: Final = 60.0
"""Seconds between two looks for hold periods that are over."""

WHY_LENGTH: Final = 300


class Events(Protocol):
    """Receives events."""

    def emit(self, name: str, *, site: str, **fields: Any) -> None:
        """Report that `name` happened."""

    def notice(self, name: str, *, site: str, key: str, **fields: Any) -> bool:
        """Report something that needs a person."""


async def decide(
    ledger: Ledger,
    order: int,
    partners: Sequence[str],
    verdict: Verdict,
    now: float,
    *,
    by: str,
    why: str,
    source: Source = "person",
) -> dict[str, tuple[Account, ...]]:
    """Approve or decline the commissions of some partners, or of all, for an order; by partner, those that
    changed. `order` is the ledger's own number. Raises OrderError if there is nothing to decide."""
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
                return word(account, now, source, by, reason) if account.stands or not stands else None

            found[partner] = await ledger.commissions.decide(order, partner, entry)
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
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger = ledger
        self._events = events
        self._clock = clock
        self._sites = sites
        self._changed = changed

    async def step(self) -> None:
        """Do what is due now."""
        await self._approve_overdue()
        for site in self._sites():
            for partner in site.partners:
                if (partner.settlement or site.credit.settlement) == "live":
                    await self._settle_live(site, partner.id)

    async def _approve_overdue(self) -> None:
        now, last = self._clock.now(), None
        while found := await self._ledger.commissions.overdue(now, last, STEP):
            for one in found:
                await self._approve(one, now)
            last = found[-1]
            await asyncio.sleep(0)

    async def _approve(self, one: Overdue, now: float) -> None:
        fields = {"order": one.number, "partner": one.partner}
        if one.against:
            self._events.notice(
                "commission_waiting", site=one.site, key=one.partner, **fields, why=one.against
            )
            return
        why = "the hold period is over, and nothing stands against it"

        def entry(account: Account) -> Entry | None:
            if account.waits_until is None or account.waits_until > now:
                return None
            return approved(account, now, "hold", "", why)

        if await self._ledger.commissions.decide(one.order, one.partner, entry):
            self._events.emit("commission", site=one.site, **fields, state="approved", by="hold period")
            self._changed()

    async def _settle_live(self, site: Site, partner: str) -> None:
        """Settle what is approved."""
        now, last = self._clock.now(), None
        ref = Period.at(now, site.time_zone).name
        while found := await self._ledger.commissions.open_of(site.name, partner, last, STEP):
            for one in found:
                entry = partial(locked, at=now, source="settlement", by="", ref=ref)
                if await self._ledger.commissions.decide(one.order, partner, entry):
                    fields = {"order": one.number, "partner": partner}
                    self._events.emit("commission", site=site.name, **fields, state="locked", by="live")
            last = found[-1].order
            await asyncio.sleep(0)
