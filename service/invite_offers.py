"""Offers in invites: whoever asks for the code in an invite gets one, and nobody else.

An invite that is loaded, or seen, takes no code: only a visitor who was invited in this visit and asks for it
gets one, the same one however often it asks. So those who only load pages do not drain a pool, and how many
codes one network of clients can get is limited.
"""

import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from ..events.events import Events
from ..referral.cookie import Known
from ..referral.invites import offer_of
from ..settings.model import Coupon, Rule
from ..stores.ledger.books import Ledger
from ..stores.ledger.offers import NewOffer, NoCodeError, Offer
from ..stores.visits import Visits
from .clock import Clock
from .limits import Limits
from .shop_pages import NoShopPageError, linked_page
from .site import SiteRuntime

FRESH_SECONDS: Final = 10.0
"""For which the number of codes that are left is used."""

Later = Callable[[Coroutine[Any, Any, None]], None]


class NotInvitedError(Exception):
    """The visitor has no invite with an offer."""


@dataclass(frozen=True, slots=True)
class Given:
    """The offer for the visitor: its code, what it is called, and the link that puts it into the cart, None
    where the shop takes none so."""

    code: str
    label: str
    link: str | None


class InviteOffers:
    """Hands out codes, and knows which pools have any left. `later` runs work in the background."""

    def __init__(
        self, ledger: Ledger, visits: Visits, limits: Limits, events: Events, clock: Clock, later: Later
    ) -> None:
        self._ledger = ledger
        self._visits = visits
        self._limits = limits
        self._events = events
        self._clock = clock
        self._later = later
        # By site and coupon: until when it holds, and whether there are codes left.
        self._left: dict[tuple[str, str], tuple[float, bool]] = {}

    def left(self, site: SiteRuntime, name: str) -> bool:
        """Whether there is a code, as far as is known; it is looked up in the background."""
        coupon = _coupon(site, name)
        if coupon is None or coupon.code is not None:
            return coupon is not None
        now = self._clock.monotonic()
        until, left = self._left.get((site.name, name), (0.0, True))
        if until <= now:
            self._left[site.name, name] = (now + FRESH_SECONDS, left)
            self._later(self._look(site, coupon))
        return left

    async def _look(self, site: SiteRuntime, coupon: Coupon) -> None:
        try:
            left = await self._ledger.offers.can_give(
                site.name, coupon.name, self._clock.now(), returned=coupon.return_unused
            )
        except Exception as error:
            self._events.failed(error, site=site.name, where="offers")
            return
        self._note(site, coupon.name, left)
        if not left:
            self._out(site, coupon.name)

    def _note(self, site: SiteRuntime, name: str, left: bool) -> None:
        self._left[site.name, name] = (self._clock.monotonic() + FRESH_SECONDS, left)

    def _out(self, site: SiteRuntime, name: str) -> None:
        self._events.notice("coupons_out", site=site.name, key=name, coupon=name)

    async def give(
        self, site: SiteRuntime, known: Known, rule: Rule, page: str, host: str, client: str | None
    ) -> Given:
        """The code for a visitor who asks for it on a page of the shop. Raises NotInvitedError, NoCodeError,
        LimitedError and the stores' errors."""
        coupon = _coupon(site, rule.offer or "")
        visitor = await self._visits.get(site.name, known.visitor)
        if coupon is None or visitor is None or visitor.forgotten:
            raise NotInvitedError
        invite = offer_of(visitor.offers, rule.name, visitor.visits)
        # What a page tells of an invite makes one without views: see `Invited`.
        if invite is None or not invite.views or invite.end == "withdrawn":
            raise NotInvitedError
        self._limits.take("coupons", site.name, client)
        now, settings = self._clock.now(), site.settings.offers
        new = NewOffer(
            code=secrets.token_urlsafe(16),
            site=site.name,
            conversation=None,
            visitor=known.visitor,
            agent="",
            client_id=None,
            label=coupon.label or coupon.name,
            page=_page(site, page, host, now),
            cart=None,
            coupon=coupon.name,
            coupon_code=coupon.code,
            pooled=coupon.code is None,
            returned=coupon.return_unused,
            made_at=now,
            expires_at=now + settings.hours * 3600,
            rule=rule.name,
        )
        try:
            offer = await self._ledger.offers.give(new)
        except NoCodeError:
            self._note(site, coupon.name, False)
            self._out(site, coupon.name)
            raise
        if offer.code == new.code:
            self._events.emit(
                "offer",
                site=site.name,
                what="given",
                rule=rule.name,
                visitor=known.visitor,
                coupon=coupon.name,
            )
        link = f"{site.prefix}o/{offer.code}" if settings.coupon_url is not None else None
        return Given(offer.coupon_code or "", offer.label, link)


def code_line(offer: Offer | None) -> str:
    """A line with the code that a visitor got by an invite, for its conversation; empty without one."""
    return "" if offer is None or not offer.coupon_code else f"{offer.label}: {offer.coupon_code}"


def _page(site: SiteRuntime, page: str, host: str, now: float) -> str:
    """Where the link leads, which the desk shows: the page on which the code was asked for, without what
    addresses may have of people or partners."""
    for one in (page, page.partition("?")[0]):
        try:
            found = linked_page(site, one.partition("#")[0], host, now)
        except NoShopPageError:
            continue
        if site.masking.stored(found) == found:
            return found
    return "/"


def _coupon(site: SiteRuntime, name: str) -> Coupon | None:
    return next((one for one in site.settings.offers.coupons if one.name == name), None)
