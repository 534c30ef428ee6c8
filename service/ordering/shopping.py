"""Whether a visitor who is shown an order has probably placed it: whether it was at the checkout before.

A visitor who opens somebody else's confirmation page, or tries one order number after another, was not there.
This is no proof, since it can be faked by visiting the checkout. Only the shop's server is proof
(`order.confirm`).
"""

import re

from ...injector.heads import RequestHead
from ...orders.doubt import Doubt
from ...referral.visitor import VISIT_GAP, Visitor
from ...settings.addresses import split
from ..effects import CameFrom
from ..page_marks import page_mark
from ..site import SiteRuntime

__all__ = [
    "came_from",
    "checkout_doubt",
    "is_settled",
    "is_shopping",
    "page_mark",
    "showed_its_order",
]

# A payment on a bank's site may take longer than the gap that ends a visit.
CHECKOUT_SECONDS = 2 * 3600
# Words in the addresses of cart and checkout in most shops, used if no page type names these pages.
_WORDS = re.compile(
    r"cart|basket|bag\b|trolley|checkout|kasse|warenkorb|bestell|zahlung|panier|commande|paiement|winkelwagen|"
    r"afrekenen|ostoskori|tilaus|korzina|oformlenie|carrito|pedido|carrello|koszyk|payment|\bpay\b|purchase",
    re.IGNORECASE,
)


def is_shopping(site: SiteRuntime, method: str, path: str, query: str) -> bool:
    """Whether a page is the cart or the checkout. If the settings do not name these pages: whether a form was
    sent, or the address looks like one of them. The order page does not count."""
    if site.order_page(path, query):
        return False
    kind = site.page_type(path, query)
    if site.knows_checkout or kind in ("cart", "checkout"):
        return kind in ("cart", "checkout")
    return method == "POST" or _WORDS.search(path[:500]) is not None


def is_settled(visitor: Visitor) -> bool:
    """Whether the visitor has bought nothing since a page or the server reported its last order."""
    return visitor.order_seen_at > 0 and visitor.shopped_at <= visitor.order_seen_at


def showed_its_order(visitor: Visitor, path: str, query: str) -> bool:
    """Whether a page showed the visitor's last order and nothing was bought since. Many shops show all orders
    at one address."""
    return visitor.ordered_on == page_mark(path, query) and is_settled(visitor)


def came_from(head: RequestHead) -> CameFrom:
    """How the visitor came to a page, as far as the request shows it (Fetch Metadata, Referer)."""
    fields = dict(head.headers)
    site = fields.get(b"sec-fetch-site", b"").strip().lower()
    if site in (b"same-origin", b"same-site"):
        return "inside"
    if site:
        return "outside"
    referrer = fields.get(b"referer", b"").decode("latin-1")
    if not referrer:
        # Every browser of these years tells on https.
        return "outside" if head.scheme == "https" else "unknown"
    host = re.match(r"[a-z]{1,10}://([^/?#]*)", referrer)
    return "inside" if host and host[1].lower() == head.host.lower() else "outside"


def checkout_doubt(site: SiteRuntime, visitor: Visitor, came: CameFrom, now: float) -> Doubt | None:
    """What is missing, as text; None if enough was seen since the visitor's last order."""
    since = max(visitor.order_seen_at, now - CHECKOUT_SECONDS)
    if visitor.visit_at and now - visitor.seen_at <= VISIT_GAP:
        since = max(visitor.order_seen_at, min(since, visitor.visit_at))
    if visitor.shopped_at > since:
        return None
    wanted = "cart or checkout of this visitor"
    if not site.knows_checkout:
        earlier = visitor.pages_since(since, lambda url: not site.order_page(*split(url)))
        if came == "inside" and (earlier or not visitor.order_seen_at):
            return None
        if came == "unknown" and earlier:
            return None
        wanted += ", no submitted form and no navigation from another page of the shop"
    since_last = " since the last order" if visitor.order_seen_at else ""
    return Doubt(
        "checkout", f"no {wanted} was seen before the order{since_last}: anybody can open such an address"
    )
