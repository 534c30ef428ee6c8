"""Joins a visitor who comes from another host of the shop with a token (`referral/handover.py`).

A token counts once; if the server took it for a page, once more for that page's script, as the page does not
wait for a slow store and then has no cookie. Which ones were used is kept in the record of the visitor that
they name, and the record is changed by compare and set, so that of two machines only one takes a token.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from ..events.events import Events
from ..referral.consent.signals import Consent
from ..referral.cookie import Known
from ..referral.handover import Handover
from ..referral.touches import merge
from ..referral.visitor import Change, HandedOver, Restored, Shopped, Used, Visitor
from .clock import Clock
from .effects import JoinVisitor
from .limits import LimitedError
from .site import SiteRuntime
from .visitors import Visitors

# Tokens of one visitor within five minutes: more than a person follows links.
TOKENS = 50
# Maximum time that a page waits for the visit store.
JOIN_SECONDS = 0.25
# Writes that may go on at the same time while no page waits for them.
LATE = 1000


class _UsedError(Exception):
    """The token does not count any more; `why` as in the event."""


def joined(handover: Handover, known: Known | None) -> Known:
    """What a visitor is known by who comes with a token. `known` is what it was known by on this host: the
    visitor goes on as the one that it was on the page before, with the arrivals of both."""
    other = handover.known
    if known is None:
        return replace(other, stale=False)
    touches = merge(other.touches, known.touches)
    return replace(other, touches=touches, agreed=other.agreed or known.agreed, stale=False)


def may_join(handover: Handover, consent: Consent) -> bool:
    """Whether a visitor may be recognised by a token: with what it has consented to here, or on the page
    before if nothing is known of that here."""
    return consent is Consent.GRANTED or (consent is Consent.PENDING and handover.known.agreed)


class Handing:
    """Takes tokens."""

    def __init__(self, visitors: Visitors, events: Events, clock: Clock) -> None:
        self._visitors = visitors
        self._events = events
        self._clock = clock
        self._writes: set[asyncio.Task[Visitor]] = set()
        # Tokens of pages that went on before the store had answered, and until when they count.
        self._late: dict[str, int] = {}

    async def join(self, site: SiteRuntime, effect: JoinVisitor, *, by_script: bool = False) -> None:
        """Take the token, and set `effect.joined`. If the store does not answer soon, it does not count yet:
        the page's script tries it again (`by_script`), whether or not the store has taken it meanwhile. Only
        this process knows of that: elsewhere the token was used."""
        handover, known = effect.handover, effect.known
        is_late = by_script and self._late.pop(handover.use, None) is not None

        def happened(stored: Visitor | None) -> Sequence[Change]:
            handed = () if stored is None else stored.handed
            if stored is not None and stored.forgotten:
                raise _UsedError("forgotten")
            was_used = any(one.use == handover.use for one in handed)
            if was_used and not is_late:
                raise _UsedError("used")
            if not was_used and sum(one.until >= self._clock.now() for one in handed) >= TOKENS:
                raise _UsedError("too many")
            shopped = [Shopped()] if effect.shopped else []
            return (HandedOver(Used(handover.use, handover.until)), Restored(known.touches), *shopped)

        write = asyncio.ensure_future(self._visitors.update(site, known, happened, effect.client))
        self._writes.add(write)
        write.add_done_callback(self._written)
        try:
            async with asyncio.timeout(JOIN_SECONDS):
                # The store may have taken a write that is cancelled: it ends, and only the page goes on.
                await asyncio.shield(write)
        except _UsedError as error:
            self.refused(site, str(error))
        except LimitedError:
            pass
        except Exception as error:
            if len(self._writes) > LATE:
                write.cancel()
            self._note_late(handover)
            self._visitors.failed(site.name, "handover", error)
        else:
            effect.joined = True
            self._events.emit("handover", site=site.name, visitor=known.visitor)

    def _note_late(self, handover: Handover) -> None:
        now = self._clock.now()
        if len(self._late) >= LATE:
            self._late = {use: until for use, until in self._late.items() if until >= now}
        if len(self._late) < LATE:
            self._late[handover.use] = handover.until

    def _written(self, write: asyncio.Task[Visitor]) -> None:
        self._writes.discard(write)
        if not write.cancelled():
            write.exception()  # so that nobody misses it where no page waits any more

    def refused(self, site: SiteRuntime, why: str) -> None:
        """Report a token that does not count."""
        self._events.notice("handover_refused", site=site.name, key=why, why=why)
