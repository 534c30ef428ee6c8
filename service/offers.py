"""Links and offers that agents send: to a page of the shop, with a coupon or a cart.

A link has a code that nobody can guess, and no address: where it leads is in the ledger, and always a path of
the shop itself. It touches neither the visitor's arrivals nor anybody's credit.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from ..credit.coupons import folded
from ..events.events import Events
from ..orders.checks import checked_text
from ..orders.model import OrderError
from ..settings.model import Coupon, Site
from ..stores.ledger.books import Ledger
from ..stores.ledger.connection import Connection
from ..stores.ledger.conversations import HeldError
from ..stores.ledger.offers import NewOffer, NoCodeError, Offer, TooManyError, add
from .clock import Clock
from .conversations import Conversations
from .shop_pages import NoShopPageError, linked_page
from .site import SiteRuntime

CODE_LENGTH: Final = 22  # 132 bits
LABEL_LENGTH: Final = 80
POOL_AT_ONCE: Final = 20_000

_CODE = re.compile(r"[A-Za-z0-9_-]{22}", re.ASCII)
_CART = re.compile(r"[A-Za-z0-9_.:,-]{1,200}", re.ASCII)
_COUPON = re.compile(r"[A-Za-z0-9_.~-]{1,100}", re.ASCII)


class OfferError(ValueError):
    """An offer that cannot be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an agent typed. `origin` is the shop's own, as the visitor knows it."""

    page: str
    label: str
    coupon: str
    cart: str
    origin: str
    client_id: str | None


class OfferDesk:
    """Makes offers and follows them, for all sites."""

    def __init__(self, ledger: Ledger, conversations: Conversations, events: Events, clock: Clock) -> None:
        self._ledger = ledger
        self._conversations = conversations
        self._events = events
        self._clock = clock

    async def send(
        self, site: SiteRuntime, conversation: str, visitor: str, agent: str, wanted: Wanted
    ) -> Offer:
        """Make an offer and write it into the conversation. Raises OfferError, MessageError and the ledger's
        errors."""
        settings, now = site.settings.offers, self._clock.now()
        try:
            label = checked_text(" ".join(wanted.label.split()), "label", LABEL_LENGTH)
        except OrderError as error:
            raise OfferError(str(error)) from None
        coupon, cart = _coupon(settings.coupons, wanted.coupon), wanted.cart.strip()
        if cart and (settings.cart_url is None or not _CART.fullmatch(cart)):
            known = settings.cart_url is not None
            raise OfferError(
                "cart: write it as the shop's address has it, with letters, digits and . , : _ -"
                if known
                else "cart: the settings do not say how the shop takes one (`cart_url`)"
            )
        new = NewOffer(
            code=secrets.token_urlsafe(16),
            site=site.name,
            conversation=conversation,
            visitor=visitor,
            agent=agent,
            client_id=wanted.client_id,
            label=label,
            page=offered_page(site, wanted.page, urlsplit(wanted.origin).netloc, now),
            cart=cart or None,
            coupon=None if coupon is None else coupon.name,
            coupon_code=None if coupon is None else coupon.code,
            pooled=coupon is not None and coupon.code is None,
            returned=coupon is not None and coupon.return_unused,
            made_at=now,
            expires_at=now + settings.hours * 3600,
        )

        async def offered(tx: Connection) -> str:
            given = await add(tx, new)
            shown = f" ({given})" if given and settings.coupon_url is None else ""
            return f"{label}{shown}\n{wanted.origin}{site.prefix}o/{new.code}"

        try:
            added = await self._conversations.agent_says(
                *(site, conversation, offered),
                agent=agent,
                client_id=None if wanted.client_id is None else f"offer-{wanted.client_id}",
            )
        except NoCodeError:
            name = new.coupon or ""
            self._events.notice("coupons_out", site=site.name, key=name, coupon=name)
            raise OfferError(f"coupon: no code of {name} is left; a lead adds some under “Coupons”") from None
        except TooManyError:
            raise OfferError("this conversation has as many offers as there may be") from None
        except HeldError as held:
            raise OfferError(f"{held}: take it over first") from None
        books = self._ledger.offers
        if added.created:
            offer = await books.get(site.name, new.code)
        else:
            # The form was sent before.
            offer = await books.of_form(site.name, conversation, wanted.client_id or "")
        if offer is None:
            raise OfferError("the conversation was deleted meanwhile")
        if added.created:
            self._tell(site, offer, "sent")
        return offer

    async def followed(
        self, site: SiteRuntime, code: str, visitor: str | None, *, counts: bool = True
    ) -> tuple[Offer | None, bool]:
        """The offer of a link that somebody follows, None if there is none, and whether it has not ended. It
        is noted, unless it only looks at it (`counts`); only its own visitor has clicked it."""
        offer = await self._ledger.offers.get(site.name, code) if _CODE.fullmatch(code) else None
        now = self._clock.now()
        if offer is None or offer.expires_at <= now:
            if offer is not None and counts:
                self._tell(site, offer, "ended")
            return offer, False
        if counts and (visitor is None or visitor != offer.visitor):
            await self._ledger.offers.clicked_by_other(site.name, code)
        elif counts:
            until = now + site.settings.offers.window_hours * 3600
            if await self._ledger.offers.clicked(site.name, code, now, until):
                self._conversations.changed(site.name)
                self._tell(site, offer, "clicked")
        return offer, True

    def _tell(self, site: SiteRuntime, offer: Offer, what: str) -> None:
        about = {"conversation": offer.conversation, "agent": offer.agent, "coupon": offer.coupon}
        self._events.emit("offer", site=site.name, what=what, **about)

    async def withdraw(self, site: SiteRuntime, conversation: str, code: str) -> bool:
        """End a link; whether it could be followed until now."""
        return await self._ledger.offers.withdraw(site.name, conversation, code, self._clock.now())

    async def add_codes(self, site: SiteRuntime, name: str, typed: str) -> tuple[int, int]:
        """Add single-use codes to the pool of a coupon, one a line: how many there are, and how many are new.
        Raises OfferError and the ledger's errors."""
        codes = pool_codes(site.settings, name, typed)
        return len(codes), await self._ledger.offers.add_codes(site.name, name, codes, self._clock.now())


def pool_codes(site: Site, name: str, typed: str) -> list[str]:
    """The codes in a text, one a line, for the pool of a coupon. Raises OfferError."""
    coupon = next((c for c in site.offers.coupons if c.name == name), None)
    if coupon is None or coupon.code is not None:
        pools = ", ".join(c.name for c in site.offers.coupons if c.code is None) or "none"
        raise OfferError(f"coupon: {name[:64]!r} has no pool of codes at this site; there are: {pools}")
    codes = list(dict.fromkeys(filter(None, (line.strip() for line in typed.splitlines()))))
    if not codes:
        raise OfferError("codes: write one a line")
    if len(codes) > POOL_AT_ONCE:
        raise OfferError(f"codes: {len(codes)} are too many at once; at most {POOL_AT_ONCE}")
    wrong = next((code for code in codes if not _COUPON.fullmatch(code)), None)
    if wrong is not None:
        raise OfferError(f"codes: {wrong[:60]!r} is no code: letters, digits and . _ ~ -, at most 100")
    partners = {folded(code): partner.id for partner in site.partners for code in partner.codes}
    if (taken := next((code for code in codes if folded(code) in partners), None)) is not None:
        raise OfferError(f"codes: {taken} is a code of the partner {partners[folded(taken)]}")
    return codes


def _coupon(coupons: Sequence[Coupon], name: str) -> Coupon | None:
    if not name:
        return None
    found = next((coupon for coupon in coupons if coupon.name == name), None)
    if found is None:
        raise OfferError(f"coupon: the site has no {name[:40]!r}")
    return found


def offered_page(site: SiteRuntime, typed: str, here: str, now: float) -> str:
    """See `linked_page`. Raises OfferError."""
    try:
        return linked_page(site, typed, here, now)
    except NoShopPageError as error:
        raise OfferError(f"page: {error}") from None


def target(site: SiteRuntime, offer: Offer) -> str:
    """Where an offer leads, as path and query at the shop. Its parts are escaped into the shop's own
    addresses, which the settings name."""
    settings, page = site.settings.offers, offer.page
    if offer.cart is not None and settings.cart_url is not None:
        page = _filled(settings.cart_url, cart=offer.cart, page=page, code=offer.coupon_code or "")
    if offer.coupon_code is not None and settings.coupon_url is not None:
        page = _filled(settings.coupon_url, code=offer.coupon_code, page=page, cart=offer.cart or "")
    return page if page.startswith("/") and not page.startswith("//") else "/"


def _filled(template: str, **values: str) -> str:
    # A cart is kept as the shop writes it: its parts are divided by these characters.
    return re.sub(
        r"\{(code|page|cart)\}",
        lambda found: quote(values[found[1]], safe=":,." if found[1] == "cart" else ""),
        template,
    )
