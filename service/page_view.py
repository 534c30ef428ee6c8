"""One page view: what the browser asks with, and what it changes in the visitor's record."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from ..referral.arrival import Arrival, arrive
from ..referral.consent.decision import ASSUMED, ConsentState, permitted
from ..referral.consent.signals import Consent
from ..referral.cookie import Known
from ..referral.invites import Withdrawn
from ..referral.landing import Dropped
from ..referral.masking import masked_text
from ..referral.touches import SAME_ARRIVAL, Touch, merge
from ..referral.visitor import Agreed, Change, Page, SeenAs, Viewed, Visitor, changed
from ..rules.ranked import EVENT
from .facts import NOTHING, Client, PageNow
from .origin import Origin
from .site import SiteRuntime

if TYPE_CHECKING:
    from .answers import Said


class Ask(Struct, frozen=True):
    """What the loader asks with, and from where. `referrer` is the browser's, empty where there is none.

    `consent` is what the visitor has consented to, as far as it is known; `settled`: nothing more of it is to
    come from this page. `landing` is the address at which the visit began, told once when consent is given on
    a later page; empty otherwise. `fields` are the request's headers by name, `peer` is
    the address of the connection.
    """

    page: PageNow
    referrer: str
    origin: Origin
    consent: ConsentState = ASSUMED
    settled: bool = True
    landing: str = ""
    fields: Mapping[bytes, bytes] = {}
    peer: str | None = None

    @property
    def client(self) -> Client:
        """Who asks, for the facts."""
        origin = self.origin
        return Client(self.fields, origin.client, self.peer, origin.scheme == "https", self.referrer)


class PageView:
    """A page view, and what the visitor brought with it."""

    def __init__(self, site: SiteRuntime, known: Known | None, ask: Ask, now: float) -> None:
        self.site = site
        self.known = known
        self.ask = ask
        self.now = now
        # Whether it is the same visitor on its next page.
        self.recognised = ask.consent is ASSUMED or ask.consent.consent is Consent.GRANTED
        touch, self.dropped = _landing(site, ask, now)
        seen = known.touches if known is not None else ()
        touch = _marked(site, ask, touch, seen)
        self.necessary = None if touch is None else _necessary(site, touch)
        self._touch = None if touch is None else permitted(touch, ask.consent, self.necessary)
        began = _marked(site, ask, _begin(site, ask, now), seen) if ask.landing else None
        self._began = permitted(began, ask.consent, _necessary(site, began))
        page = ask.page
        self._shown = Page(page.view, now, site.masking.stored(page.url), masked_text(page.title))
        self.ended: tuple[str, ...] = ()  # the rules whose invites an event on this page has withdrawn
        self._viewed = Viewed(self._shown, page.language, site.keeps)
        self.arrival: Arrival  # the result, after `happened`
        self.found = NOTHING  # what the facts had to wait for
        self.said: Said | None = None  # of the invite that the rules decided on
        self.waited = False  # for the text of an invite
        self.unread = False  # whether the visitor's record cannot be read or written

    def happened(self, stored: Visitor | None) -> Sequence[Change]:
        """The changes to the visitor's record; it may be called again."""
        touch, known = self._touch, self.known
        if known is not None and touch is not None and _seen_before(touch, self._shown.view, known, stored):
            touch = None
        consent, asked = self.ask.consent.consent, self.site.asks_consent
        self.arrival = arrive(known, self._began or touch, consent, self.now, self._shown, agreed=asked)
        return (
            *self.arrival.changes,
            *self._agreed(stored),
            *self._own(stored),
            self._viewed,
            *self._withdrawn(stored),
        )

    def _withdrawn(self, stored: Visitor | None) -> Sequence[Change]:
        """The events on this page that withdraw invites, and which of those that are shown."""
        cancels = self.site.rules.cancels
        told = [signal for signal in self.ask.page.told if signal in cancels]
        if not told:
            return ()
        if stored is not None:
            shown = [one.rule for one in stored.offers if one.visit == stored.visits and not one.end]
            self.ended = tuple(rule for rule in shown if any(rule in cancels[signal] for signal in told))
        return (Withdrawn(tuple(signal.removeprefix(f"{EVENT} ") for signal in told), self.ended),)

    def _own(self, stored: Visitor | None) -> Sequence[Change]:
        """The partners of whose networks the visitor is, where that is new."""
        owners = self.site.clicks.owners(self.ask.origin.client)
        new = tuple(owner for owner in owners if stored is None or owner not in stored.own)
        return (SeenAs(new),) if new else ()

    def _agreed(self, stored: Visitor | None) -> Sequence[Change]:
        """What the visitor's record is to say of its consent, where that is new. That its cookie was issued
        with consent says less than what was noted then."""
        state = self.ask.consent
        if not self.site.asks_consent or state.consent is not Consent.GRANTED:
            return ()
        noted = "" if stored is None else stored.consent
        return (Agreed(state.basis),) if state.basis != noted and (state.sure or not noted) else ()

    def unstored(self, stored: Visitor | None) -> Visitor:
        """The visitor as it would be stored now: at a first sign of life, over a limit, or when the store
        does not take it."""
        changes = self.happened(stored)
        restored = [self.known.restored] if self.known is not None else []
        return changed(stored, self.arrival.known.visitor, [*restored, *changes], self.now)

    def invited(self, rule: str) -> None:
        """The page view gets the invite of a rule: a new visitor's cookie says so, as nothing is stored of it
        yet."""
        if self.known is None and self.recognised:
            known = dataclasses.replace(self.arrival.known, invited=rule)
            self.arrival = replace(self.arrival, known=known)

    def set_cookies(self) -> list[bytes]:
        """Values for Set-Cookie, where the browser does not have them yet."""
        arrival, origin = self.arrival, self.ask.origin
        if not arrival.renew:
            return []
        # Where the landing page came from a cache in front of us, this sets what it would have set.
        new = arrival if arrival.new else replace(arrival, touch=None)
        return self.site.arrival_cookies(new, origin.scheme == "https", origin.host)


def _landing(site: SiteRuntime, ask: Ask, now: float) -> tuple[Touch | None, list[Dropped]]:
    """What the address of the page brings along. Scripts can ask with any address: only one of the site's own
    is where somebody arrived."""
    _, netloc, path, query, fragment = urlsplit(ask.page.url)
    dropped: list[Dropped] = []
    touch = site.landing.read(
        query.encode("utf-8", "surrogatepass"),
        path.encode("utf-8", "surrogatepass"),
        ask.referrer.encode("utf-8", "surrogatepass") or None,
        now,
        ask.origin.host,
        fragment=fragment.encode("utf-8", "surrogatepass"),
        shown_at=netloc.rpartition("@")[2],
        dropped=dropped,
    )
    return touch, dropped


def _necessary(site: SiteRuntime, touch: Touch | None) -> Touch | None:
    """The part of an arrival that needs no consent."""
    return site.landing.necessary(touch) if touch is not None and site.consent.necessary else None


def _marked(site: SiteRuntime, ask: Ask, touch: Touch | None, seen: tuple[Touch, ...]) -> Touch | None:
    """The arrival with what the request shows of its client."""
    if touch is None or not touch.clicks:
        return touch
    origin = ask.origin
    return site.clicks.marked(touch, seen, ask.fields, origin.client, secure=origin.scheme == "https")


def _begin(site: SiteRuntime, ask: Ask, now: float) -> Touch | None:
    """What the address brought along at which the visit began."""
    begin = replace(ask, page=replace(ask.page, url=ask.landing), referrer="")
    return _landing(site, begin, now)[0]


def _seen_before(touch: Touch, view: str, known: Known, stored: Visitor | None) -> bool:
    """Whether an arrival was written down when this page view began, or was found suspicious by what only the
    request for the page tells."""
    if stored is not None and stored.viewed(view):
        return True
    if known.page is not None and known.page.view == view:
        return True
    earlier = merge(known.touches, stored.touches if stored is not None else ())
    return any(t.doubt and t.clicks == touch.clicks and touch.at - t.at <= SAME_ARRIVAL for t in earlier)
