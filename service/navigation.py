"""What a mount has done for an exchange: touches written before, page facts read after."""

import asyncio
import time
from collections.abc import Iterable

from ..referral.landing import Dropped
from ..referral.masking import masked_path
from ..referral.touches import DOUBTS, Touch, doubted
from ..referral.visitor import CartSeen, Change, Restored, Touched
from .effects import Finished, ReadPage, SaveTouch, TellDropped
from .ordering import record_seen_order
from .service import Service
from .site import SiteRuntime

# How long a landing may wait for the visit store.
TOUCH_SECONDS = 1.0

# Reasons by which a page itself keeps the tag out or has it reported: its owner can do something about it.
TOLD = ("csp", "integrity-policy", "no-transform")


async def perform(service: Service, site: SiteRuntime, effects: Iterable[SaveTouch | TellDropped]) -> None:
    """Write touches down. A store that fails is told of and does not stop the visitor: the touch is in his
    cookie too."""
    for effect in effects:
        if isinstance(effect, TellDropped):
            tell_dropped(service, site, effect.dropped)
            continue
        touch = effect.touch
        changes: list[Change] = [Restored(effect.known), Touched(touch)]
        try:
            async with asyncio.timeout(TOUCH_SECONDS):
                await service.visits.change(site.name, effect.visitor, changes, service.now())
        except Exception as error:
            service.journal.emit("fault", site=site.name, where="touch", error=repr(error))
        tell_touch(service, site, effect.visitor, touch)


def tell_touch(service: Service, site: SiteRuntime, visitor: str, touch: Touch) -> None:
    """Tell of a touch that was written down, and of one that did not come from outside."""
    service.journal.touch(site.name, visitor, touch, site.masking)
    for click in touch.clicks:
        if click.partner is not None and doubted(touch, click.partner, site.terms.inside):
            service.journal.notice(
                "click_suspicious",
                site=site.name,
                key=f"{click.partner} {touch.doubt}",
                partner=click.partner,
                visitor=visitor,
                why=DOUBTS[touch.doubt],
                landing=site.masking.logged(touch.landing),
            )


def tell_dropped(service: Service, site: SiteRuntime, dropped: Iterable[Dropped]) -> None:
    """Tell of parameters that held no click id."""
    for one in dropped:
        service.journal.notice(
            "click_dropped",
            site=site.name,
            key=f"{one.partner} {one.param} {one.why}",
            partner=one.partner,
            param=one.param,
            why=one.why,
        )


def finish(service: Service, finished: Finished) -> None:
    """Count what became of an answer, and see to its page's facts now that the bytes are gone."""
    site = finished.site
    outcome, reason = finished.outcome
    metrics = service.journal.metrics
    metrics.answered(site.name, outcome, reason)
    if finished.began:
        metrics.took("page", site.name, outcome, time.monotonic() - finished.began)
    if reason.startswith(TOLD):
        service.journal.notice(
            "policy",
            site=site.name,
            key=reason,
            outcome=outcome,
            reason=reason,
            path=masked_path(finished.path),
        )
    if finished.fault is not None:
        service.journal.emit("fault", site=site.name, where="exchange", error=repr(finished.fault))
    for page in finished.effects:
        service.later(_read(service, site, page))


async def _read(service: Service, site: SiteRuntime, page: ReadPage) -> None:
    asked = service.unmatched.asked(site.settings, page.kind)
    found = await service.pages.read(site, page, asked)
    if found.refused is None:
        service.unmatched.page(site.settings, page.kind, asked, found.matched)
    if found.unreadable is not None:
        service.journal.emit(
            "order_unreadable", site=site.name, page=masked_path(page.path), why=found.unreadable
        )
    if found.order is not None:
        await record_seen_order(service, site, found.order, page.visitor, page.touches)
    elif found.cart is not None and page.visitor is not None:
        await _note_cart(service, site, page.visitor, found.cart)


async def _note_cart(service: Service, site: SiteRuntime, visitor: str, cart: dict[str, str]) -> None:
    try:
        known = await service.visits.get(site.name, visitor)
        if known is not None and dict(known.cart) != cart:
            await service.visits.change(site.name, visitor, [CartSeen(cart)], service.now())
    except Exception as error:
        service.journal.emit("fault", site=site.name, where="cart", error=repr(error))
