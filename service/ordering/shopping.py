"""Whether a visitor who is shown an order may well have placed it: what was seen of the checkout before.

Whoever opens a stranger's confirmation page, or one page number after the other, has done none of it. It is
no proof: whoever wants to fake it can go to the checkout and leave. Proof is the shop's server
(`order.confirm`).
"""

import re
from hashlib import blake2b

from ...injector.heads import RequestHead
from ...orders.doubt import Doubt
from ...referral.visitor import VISIT_GAP, Visitor
from ...settings.addresses import decoded, split
from ..effects import CameFrom
from ..site import SiteRuntime

# A payment at a bank may take longer than the gap that ends a visit.
CHECKOUT_SECONDS = 2 * 3600
# Where no page type says which pages are cart and checkout: words of their addresses in most shops.
_WORDS = re.compile(
    r"cart|basket|bag\b|trolley|checkout|kasse|warenkorb|bestell|zahlung|panier|commande|paiement|winkelwagen|"
    r"afrekenen|ostoskori|tilaus|korzina|oformlenie|carrito|pedido|carrello|koszyk|payment|\bpay\b|purchase",
    re.IGNORECASE,
)


def is_shopping(site: SiteRuntime, method: str, path: str, query: str) -> bool:
    """Whether a page belongs to buying: the cart, the checkout; where the site does not say which these
    are, a form that was sent, or an address that looks like it. The order's own page does not count."""
    if site.order_page(path, query):
        return False
    kind = site.page_type(path, query)
    if site.knows_checkout or kind in ("cart", "checkout"):
        return kind in ("cart", "checkout")
    return method == "POST" or _WORDS.search(path[:500]) is not None


def page_mark(path: str, query: str) -> str:
    """What tells one page from another, without its address, which may hold what nobody is to read."""
    return blake2b(f"{decoded(path)}?{query}".encode("utf-8", "replace"), digest_size=8).hexdigest()


def is_settled(visitor: Visitor) -> bool:
    """Whether the visitor has bought nothing since its last order was told of, by a page or by the server."""
    return visitor.order_seen_at > 0 and visitor.shopped_at <= visitor.order_seen_at


def showed_its_order(visitor: Visitor, path: str, query: str) -> bool:
    """Whether a page has shown the visitor's last order, and nothing was bought since: in many shops every
    order is shown at one address."""
    return visitor.ordered_on == page_mark(path, query) and is_settled(visitor)


def came_from(head: RequestHead) -> CameFrom:
    """How a browser came to ask for this, as far as it says so (Fetch Metadata, Referer)."""
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
    """What is missing, in words; None where enough was seen since the visitor's last order."""
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
        wanted += ", no form that was sent, no way from another page of the shop"
    since_last = " since the last order" if visitor.order_seen_at else ""
    return Doubt(
        "checkout", f"no {wanted} was seen before the order{since_last}: anybody can open such an address"
    )
