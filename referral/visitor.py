"""The record of one visitor at one site, and the changes to it.

The records are in the visit store, not in the ledger: if they are lost, no money is lost, because the touches
that earn credit are in the visitor's cookie too.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from msgspec import Struct, json, to_builtins
from msgspec.structs import replace

from .invites import Offer, Offered, moved_on
from .memory import CartHistory, Keeps, Memory, kept
from .touches import Touch, merge, with_shown

VISIT_GAP = 30 * 60
TRAIL_PAGES = 50
RECENT = 5  # page views for which `decide` may still be called again
TOUCHES = 20
# Bytes of JSON: a record has at most a few kilobytes, since it is read and written on each page.
TRAIL_BYTES = 5000
TOUCHES_BYTES = 4000
URL_LENGTH = 300
TITLE_LENGTH = 100
CART_PATHS = 8
AGAIN_SECONDS = 86400
AGAIN_TIMES = 50  # at most `own_clicks`
AGAIN_PARTNERS = 5
TALK_IDLE = 3600.0
"""Seconds without a message after which a talk in a provider's chat that nobody ended is over."""


class Page(Struct, frozen=True, array_like=True):
    """One page view of the trail. `at` in unix seconds, `status` as the shop answered where it is known."""

    view: str
    at: float
    url: str
    title: str = ""


class Talk(Struct, frozen=True, array_like=True):
    """The visitor's last conversation, as in the ledger.

    `last` is the id of its newest message, 0 if the visitor never wrote. `answers` are the ids of the newest
    50 agents' messages after the visitor's last message. `elsewhere` is there if it talked in a provider's
    chat: when that went on last, and whether it is open.
    """

    last: int = 0
    open: bool = False
    answers: tuple[int, ...] = ()
    elsewhere: tuple[float, bool] | None = None

    def runs(self, now: float) -> bool:
        """Whether the visitor talks now, in whichever chat."""
        if self.open or self.elsewhere is None:
            return self.open
        at, is_open = self.elsewhere
        return is_open and now - at < TALK_IDLE

    @property
    def talked(self) -> bool:
        """Whether the visitor ever wrote, in whichever chat."""
        return self.last > 0 or self.elsewhere is not None


class Used(Struct, frozen=True, array_like=True):
    """A token of `handover.py` by which the visitor came: its name, and until when it would count."""

    use: str
    until: int


class Visitor(Struct, omit_defaults=True):
    """One browser at one site. Only `changed` changes it, and before anybody else has it.

    `visits` counts runs of page views with gaps under 30 minutes, `visit_at` is the start of the current
    one and `pages` the number of its page views; `trail` holds the last page views of all visits. `cart`
    is the last cart seen on a page: `value` (decimal text), `currency`, `items`; `cart_at` is when. `offers`
    are the last invites of all visits, `dismissals` counts those that were dismissed; `exposed` has by
    experiment how far the visitor got (`invites.STEPS`), `withdrawn` are the events that have ended invites
    in this visit. `talked_at` is when the last conversation was opened, `chat_failed_at`
    when a provider's chat did not come. `ordered_on` marks the page that showed the last order,
    `order_seen_at` is when clew heard of it (`ordered_at` is the order's own time), `shopped_at` the last
    time since then that a cart or the checkout was seen, `cart_on` the last paths on which a cart was
    read. `talk` is what the ledger
    holds of the last conversation, None where the ledger has not been asked; `read` is the id of the newest
    message that the visitor has read. `consent` is what shows its consent, at a site that asks: the source,
    and when the choice was made. `handed` are the tokens by which it came from another host of the shop and
    that would still count. `forgotten`: the visitor asked to be forgotten, nothing else is kept, and nothing
    is added any more; a browser that still has this id gets another one. `own` are partners who were seen as
    this visitor: from their networks, or signed in. `again` has by partner the times of a day at which a link
    was followed again whose click is known, oldest first. `memory` is what only some rules ask about.
    """

    id: str
    first_at: float = 0.0
    seen_at: float = 0.0
    visits: int = 0
    visit_at: float = 0.0
    pages: int = 0
    language: str = ""
    touches: tuple[Touch, ...] = ()
    trail: tuple[Page, ...] = ()
    cart: Mapping[str, str] = {}
    cart_at: float = 0.0
    offers: tuple[Offer, ...] = ()
    dismissals: int = 0
    withdrawn: tuple[str, ...] = ()
    exposed: Mapping[str, int] = {}
    talked_at: float = 0.0
    chat_failed_at: float = 0.0
    ordered_at: float = 0.0
    ordered_on: str = ""
    order_seen_at: float = 0.0
    shopped_at: float = 0.0
    cart_on: tuple[str, ...] = ()
    talk: Talk | None = None
    read: int = 0
    consent: str = ""
    handed: tuple[Used, ...] = ()
    forgotten: bool = False
    own: tuple[str, ...] = ()
    again: Mapping[str, tuple[int, ...]] = {}
    memory: Memory | None = None

    @property
    def unread(self) -> int:
        """How many messages of agents in the open conversation the visitor has neither read nor answered."""
        if self.talk is None or not self.talk.open:
            return 0
        return sum(answer > self.read for answer in self.talk.answers)

    @property
    def invited(self) -> tuple[Offer, ...]:
        """The invites of the current visit."""
        return tuple(one for one in self.offers if one.visit == self.visits)

    @property
    def seen(self) -> tuple[str, ...]:
        """The rules whose invites were seen in the current visit, once for each page."""
        return tuple(one.rule for one in self.invited for _ in range(one.seen))

    @property
    def dismissed(self) -> tuple[str, ...]:
        """The rules whose invites were dismissed in the current visit."""
        return tuple(one.rule for one in self.invited if one.end == "dismissed")

    @property
    def accepted(self) -> tuple[str, ...]:
        """The rules whose invites were accepted in the current visit."""
        return tuple(one.rule for one in self.invited if one.end == "accepted")

    def pages_since(self, since: float, counts: Callable[[str], bool]) -> bool:
        """Whether a page view, or an arrival with attribution, came after `since`
        on an address that counts."""
        viewed = any(page.at > since and counts(page.url) for page in self.trail)
        return viewed or any(touch.at > since and counts(touch.landing) for touch in self.touches)

    def to_json(self) -> dict[str, Any]:
        """Plain data, without what is not known."""
        data = to_builtins(self)
        assert isinstance(data, dict)
        return data

    def viewed(self, view: str) -> bool:
        """Whether `view` is one of the last page views."""
        return view in [page.view for page in self.trail[-RECENT:]]


def _bytes(*texts: str) -> int:
    """What texts take as JSON, which writes each UTF-16 unit outside ASCII as an escape of six bytes."""
    return sum(len(t) if t.isascii() else 3 * len(t.encode("utf-16-le", "surrogatepass")) for t in texts)


def _touch_bytes(touch: Touch) -> int:
    clicks = (part or "" for c in touch.clicks for part in (c.network, c.param, c.value, c.partner))
    parts = (*touch.campaign, *touch.campaign.values(), touch.referrer, touch.landing, touch.consent)
    return 40 + _bytes(*clicks, *parts)


def _bounded(touches: tuple[Touch, ...]) -> tuple[Touch, ...]:
    """At most `TOUCHES` in `TOUCHES_BYTES`: those that earn nobody anything go first, the oldest before the
    newer. One that is too large on its own keeps the click that earns."""
    kept = list(touches)
    while len(kept) > 1 and (len(kept) > TOUCHES or sum(map(_touch_bytes, kept)) > TOUCHES_BYTES):
        idle = (t for t in kept if t.doubt or not any(click.partner for click in t.clicks))
        kept.remove(next(idle, kept[0]))
    if kept and _touch_bytes(kept[0]) > TOUCHES_BYTES:
        earning = tuple(click for click in kept[0].clicks if click.partner) or kept[0].clicks
        kept[0] = Touch(kept[0].at, earning[-1:], doubt=kept[0].doubt)
    return tuple(kept)


def _short(page: Page) -> Page:
    """A page view as it is kept: a long address without its query, which is of no use cut off."""
    if len(page.url) <= URL_LENGTH and len(page.title) <= TITLE_LENGTH:
        return page
    url = page.url if len(page.url) <= URL_LENGTH else page.url.partition("?")[0][:URL_LENGTH]
    return replace(page, url=url, title=page.title[:TITLE_LENGTH])


def _trail(pages: tuple[Page, ...], page: Page) -> tuple[Page, ...]:
    """The pages and one more: the last `TRAIL_PAGES` that fit into `TRAIL_BYTES`; the last always does."""
    trail = [*pages[-TRAIL_PAGES + 1 :], page]
    # Nobody asks for the number of an older page view again, and random text takes the most room.
    old = len(trail) - RECENT - 1
    while old >= 0 and trail[old].view:
        trail[old] = replace(trail[old], view="")
        old -= 1
    while len(trail) > 1 and _size(trail) > TRAIL_BYTES:
        del trail[0]
    return tuple(trail)


def _size(trail: list[Page]) -> int:
    try:
        return len(_encode(trail))
    except UnicodeEncodeError:  # a lone surrogate
        return sum(60 + _bytes(page.view, page.url, page.title) for page in trail)


_encode = json.Encoder().encode


class Touched(Struct, frozen=True):
    """A landing with attribution."""

    touch: Touch

    def apply(self, visitor: Visitor, now: float) -> None:
        """Add the touch unless its click is known already; the oldest go first when there are too many."""
        visitor.touches = _bounded(merge(visitor.touches, (self.touch,)))
        visitor.first_at = visitor.first_at or now


class Restored(Struct, frozen=True):
    """What the visitor's cookie knows and the store may not: it keeps nobody before the cookie has come back,
    and it may have lost it. `page` is the page view with which the cookie was issued, if it was one, and
    `invited` the rule whose invite it got.
    """

    touches: tuple[Touch, ...]
    page: Page | None = None
    invited: str = ""

    def apply(self, visitor: Visitor, now: float) -> None:
        """Begin with the page, for a visitor without page views; join the touches in their order of time."""
        if self.page is not None and not visitor.seen_at:
            Viewed(self.page).apply(visitor, self.page.at)
            if self.invited:
                Offered((), self.invited, self.page.view).apply(visitor, self.page.at)
        known = visitor.touches
        # Nearly always the same ones.
        if self.touches != known and not all(touch in known for touch in self.touches):
            visitor.touches = _bounded(merge(known, self.touches))


class Viewed(Struct, frozen=True):
    """A page that the browser shows. The same `page.view` again only refreshes url and title. `keeps` is what
    the site's rules ask about."""

    page: Page
    language: str = ""
    keeps: Keeps = Keeps()

    def apply(self, visitor: Visitor, now: float) -> None:
        """Count the page view, and a new visit after a gap of 30 minutes."""
        seen_at, visitor.seen_at = visitor.seen_at, now
        if visitor.visit_at > now:
            # The clock was set back: the visit is as old as it was at its last page, and goes on from there.
            visitor.visit_at = now - max(0.0, seen_at - visitor.visit_at)
        if visitor.touches:
            visitor.touches = with_shown(visitor.touches, now)
        if visitor.viewed(self.page.view):
            return
        new_visit = not seen_at or now - seen_at > VISIT_GAP
        if visitor.exposed:
            visitor.exposed = moved_on(visitor.exposed, same_visit=not new_visit)
        if new_visit:
            left_at = seen_at if self.keeps.left_at else 0.0
            visitor.memory = kept(visitor.memory, landing="", left_at=left_at)
            visitor.visits += 1
            # Never later than its first page, which was asked for before the store was.
            visitor.visit_at = min(now, self.page.at)
            visitor.pages = 0
            visitor.withdrawn = ()
        visitor.first_at = visitor.first_at or now
        visitor.pages += 1
        visitor.language = self.language or visitor.language
        visitor.trail = _trail(visitor.trail, _short(self.page))
        if self.keeps.landing and (visitor.memory is None or not visitor.memory.landing):
            first = next((page.url for page in visitor.trail if page.at >= visitor.visit_at), "")
            visitor.memory = kept(visitor.memory, landing=first)


class StillHere(Struct, frozen=True):
    """The visitor still looks at the page that it saw last."""

    def apply(self, visitor: Visitor, now: float) -> None:
        """Begins no visit: a page does."""
        if now - visitor.seen_at <= VISIT_GAP:
            visitor.seen_at = max(visitor.seen_at, now)


class CartSeen(Struct, frozen=True):
    """The cart on the page `path`: `value`, `currency`, `items`, each only where it was found; nothing: it
    is empty, or not there any more."""

    cart: Mapping[str, str]
    path: str = ""

    def apply(self, visitor: Visitor, now: float) -> None:
        """The newest cart is the cart."""
        visitor.cart = dict(self.cart)
        visitor.cart_at = now if self.cart else 0.0
        if self.cart:
            paths = (*(p for p in visitor.cart_on if p != self.path), self.path)
            visitor.cart_on = paths[-CART_PATHS:]
            visitor.shopped_at = now


class Shopped(Struct, frozen=True):
    """The visitor was at the cart or the checkout."""

    def apply(self, visitor: Visitor, now: float) -> None:
        """The last time counts."""
        visitor.first_at = visitor.first_at or now
        visitor.shopped_at = now


class Ordered(Struct, frozen=True):
    """An order of this visitor was recorded; `page` is the address of the page that showed it, if one did."""

    at: float
    page: str = ""

    def apply(self, visitor: Visitor, now: float) -> None:
        """The cart is gone with the order."""
        visitor.ordered_at = max(visitor.ordered_at, self.at)
        visitor.ordered_on = self.page or visitor.ordered_on
        visitor.order_seen_at = now
        visitor.shopped_at = 0.0
        visitor.cart, visitor.cart_at = {}, 0.0
        if visitor.memory is not None:
            visitor.memory = kept(visitor.memory, cart=CartHistory())


class Talked(Struct, frozen=True):
    """This visitor opened a conversation."""

    at: float

    def apply(self, visitor: Visitor, now: float) -> None:
        """The last one counts."""
        visitor.talked_at = max(visitor.talked_at, self.at)


class ChatFailed(Struct, frozen=True):
    """A provider's chat did not come: it is down, blocked or slow."""

    at: float

    def apply(self, visitor: Visitor, now: float) -> None:
        """The last time counts."""
        visitor.chat_failed_at = max(visitor.chat_failed_at, self.at)


class TalkChanged(Struct, frozen=True):
    """What the ledger holds of the visitor's conversation, in place of `before`."""

    before: Talk | None
    talk: Talk

    def apply(self, visitor: Visitor, now: float) -> None:
        """Does nothing if the record has changed since `before` was read: the other change is newer."""
        if visitor.talk == self.before:
            visitor.talk = self.talk


class MessagesRead(Struct, frozen=True):
    """The visitor has read the messages of its conversation up to this id."""

    message: int

    def apply(self, visitor: Visitor, now: float) -> None:
        """The newest counts, of those that there are."""
        newest = min(self.message, visitor.talk.last) if visitor.talk is not None else 0
        visitor.read = max(visitor.read, newest)


class Agreed(Struct, frozen=True):
    """The visitor has consented to be recognised; `basis` shows it."""

    basis: str

    def apply(self, visitor: Visitor, now: float) -> None:
        """What shows it now counts."""
        visitor.consent = self.basis


class HandedOver(Struct, frozen=True):
    """The visitor came from another host of the shop, by a token."""

    token: Used

    def apply(self, visitor: Visitor, now: float) -> None:
        """Only those are kept that would still count."""
        visitor.first_at = visitor.first_at or now
        others = (one for one in visitor.handed if one.until >= now and one.use != self.token.use)
        visitor.handed = (*others, self.token)


class ClickedAgain(Struct, frozen=True):
    """The visitor followed links again whose clicks are known, of these partners."""

    partners: tuple[str, ...]

    def apply(self, visitor: Visitor, now: float) -> None:
        """Keep their times, of the last `AGAIN_PARTNERS`."""
        found = dict(visitor.again)
        for partner in self.partners:
            recent = [at for at in found.pop(partner, ()) if now - at <= AGAIN_SECONDS]
            found[partner] = (*recent, int(now))[-AGAIN_TIMES:]
        visitor.again = dict(list(found.items())[-AGAIN_PARTNERS:])


class SeenAs(Struct, frozen=True):
    """The visitor is one of these partners."""

    partners: tuple[str, ...]

    def apply(self, visitor: Visitor, now: float) -> None:
        """That stays so."""
        visitor.own = tuple(dict.fromkeys((*visitor.own, *self.partners)))[-TOUCHES:]


class Forgotten(Struct, frozen=True):
    """The visitor asked to be forgotten."""

    def apply(self, visitor: Visitor, now: float) -> None:
        """Nothing but that is kept."""
        empty = Visitor(visitor.id, forgotten=True)
        for name in visitor.__struct_fields__:
            setattr(visitor, name, getattr(empty, name))


class Change(Protocol):
    """Something that happened to a visitor."""

    def apply(self, visitor: Visitor, now: float) -> None:
        """Write it into the record."""


def changed(stored: Visitor | None, visitor: str, changes: Iterable[Change], now: float) -> Visitor:
    """A visitor, new where it is not stored, with `changes` folded in; `stored` stays as it is."""
    found = Visitor(visitor) if stored is None else replace(stored)
    for change in changes:
        if found.forgotten:
            break
        change.apply(found, now)
    return found
