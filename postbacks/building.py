"""Builds the call for claimed postbacks, with what the network has to be asked before it: a token, its own id
of the order. Several workers share a network's limit of calls a minute by the ledger."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace

from ..referral.calls import CallEntry
from ..referral.catalogue import Network
from ..settings.model import Partner
from .batches import account_of
from .call import Call, RenderError
from .client import CONNECT_SECONDS, Client
from .lookups import LookUpError, look_up
from .model import Postback
from .network_call import PURPOSE, network_call, usable, window_over
from .partners import Partners
from .protocols import Ids
from .render import render
from .tokens import TokenError, Tokens

CLAIM_SECONDS = CONNECT_SECONDS + 5  # of the lease of a row of which nothing was sent
# Seconds of a claim that a token or an order's id may not use, for storing what comes of it.
CLAIM_MARGIN = 2.0


class PartnerGoneError(Exception):
    """The partner is no longer in the settings."""


class TooEarlyError(Exception):
    """The network does not take the call yet."""

    def __init__(self, until: float) -> None:
        self.until = until
        super().__init__(f"not before {until}")


class TooLateError(Exception):
    """The network does not take the call any more."""


UNSENT = (RenderError, LookUpError, TokenError, TooEarlyError, PartnerGoneError, TooLateError)
"""Why no call can be made, now or at all."""


class Builder:
    """`now` returns unix seconds; `tokens` and `ids` are for networks whose calls need an OAuth token, or the
    network's own id of an order."""

    def __init__(
        self, partners: Partners, now: Callable[[], float], tokens: Tokens | None, ids: Ids | None
    ) -> None:
        self._partners = partners
        self._now = now
        self._tokens = tokens
        self._ids = ids

    async def build(self, client: Client, rows: Sequence[Postback]) -> Call:
        """The call that carries these postbacks of one partner. Raises one of UNSENT."""
        first = rows[0]
        found = self._partners.with_network(first.site, first.partner)
        if found is None:
            raise PartnerGoneError(
                f"the settings of site {first.site} no longer have a partner {first.partner}"
            )
        partner, network = found
        now = self._now()
        if network is None:
            return render(partner, first.report, network, now, postback_id=first.id, at=first.created_at)
        entry = usable(partner, network, PURPOSE[first.event])
        early = max(row.report.order_time + (entry.after or 0) for row in rows)
        if early > now and entry.after is not None:
            raise TooEarlyError(early)
        for row in rows:
            if (over := window_over(network, entry, row.report, now)) is not None:
                raise TooLateError(over)
        token = ""
        if self._tokens is not None and entry.oauth is not None:
            asked = self._tokens.get(client, partner, entry)
            token = await self._in_time(first, f"{network.name} gave no token", asked)
        kept = await self._kept(client, rows, partner, network, entry, token)
        await self.paced(partner, entry)
        reports = [row.report for row in rows]
        call = network_call(partner, reports, network, now, token=token, kept=kept)
        return replace(call, allow_private=partner.allow_private)

    async def question(self, client: Client, rows: Sequence[Postback]) -> Call:
        """The call that asks what became of accepted postbacks, which went out in one call. Raises one of
        UNSENT."""
        first = rows[0]
        found = self._partners.with_network(first.site, first.partner)
        if found is None or found[1] is None:
            raise PartnerGoneError(
                f"the settings of site {first.site} no longer have a partner {first.partner} of a network"
            )
        partner, network = found[0], found[1]
        entry = usable(partner, network, PURPOSE[first.event]).result
        if entry is None:
            raise RenderError(f"{network.name} has no call for results any more")
        token = ""
        if self._tokens is not None and entry.oauth is not None:
            asked = self._tokens.get(client, partner, entry)
            token = await self._in_time(first, f"{network.name} gave no token", asked)
        await self.paced(partner, entry)
        reports, kept = [row.report for row in rows], [first.job or ""] * len(rows)
        call = network_call(partner, reports, network, self._now(), token=token, kept=kept, entry=entry)
        return replace(call, allow_private=partner.allow_private)

    async def _kept(
        self,
        client: Client,
        rows: Sequence[Postback],
        partner: Partner,
        network: Network,
        entry: CallEntry,
        token: str,
    ) -> list[str]:
        """What the network calls each of the orders; empty if the call does not need it."""
        if self._ids is None or all(param.source != "kept" for param in entry.params):
            return []
        first = rows[0]
        kept = [await self._ids.kept(row.order, row.partner) for row in rows]
        if entry.lookup is not None and not kept[0]:
            await self.paced(partner, entry.lookup)
            asked = look_up(client, partner, network, entry.lookup, first.report, self._now(), token)
            kept = [await self._in_time(first, f"{network.name} did not say its id of the order", asked)]
            await self._ids.keep(first.order, first.partner, kept[0])
        return kept

    async def _in_time(self, row: Postback, failed: str, asked: Coroutine[None, None, str]) -> str:
        """The answer to what a network is asked before the call, while the rows are leased: after that,
        another worker may have them. Raises LookUpError, beginning with `failed`, if none comes in time."""
        left = (CLAIM_SECONDS if row.lease_until is None else row.lease_until - self._now()) - CLAIM_MARGIN
        if left < CLAIM_MARGIN:
            # It waited for its slot: claimed anew, it has more time.
            asked.close()
            raise TooEarlyError(row.next_at)
        try:
            async with asyncio.timeout(left):
                return await asked
        except TimeoutError:
            raise LookUpError(f"{failed} within {left:.3g} seconds") from None

    async def paced(self, partner: Partner, entry: CallEntry) -> None:
        """Count a call to an account, with those of all workers. Raises TooEarlyError."""
        if self._ids is None or entry.per_minute is None:
            return
        now = self._now()
        if wait := await self._ids.take(account_of(partner, entry), entry.per_minute, now):
            raise TooEarlyError(now + wait)

    async def refused_token(self, row: Postback) -> bool:
        """Whether the call had a token, which is forgotten now: it may have been revoked."""
        found = self._partners.entry(row)
        if self._tokens is None or found is None or found[1].oauth is None:
            return False
        await self._tokens.drop(*found)
        return True
