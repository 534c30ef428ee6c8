"""Doubts about an order: about its amount, or about how it was shown."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal

from ...orders.doubt import Doubt, agent_doubt, amount_doubt
from ...orders.model import Figure, OrderSeen
from ...referral.visitor import Visitor
from ...stores.ledger.orders import Orders
from ..effects import CameFrom
from ..site import SiteRuntime
from .shopping import checkout_doubt

EARLIER = 50  # number of earlier orders with which an amount is compared


@dataclass(frozen=True, slots=True)
class Shown:
    """How an order was shown: on which page, how the visitor came there, and whether only the browser
    reported it."""

    page: str
    came: CameFrom
    by_browser: bool = False


async def doubts_of(
    orders: Orders,
    site: SiteRuntime,
    seen: OrderSeen,
    visitor: Visitor | None,
    shown: Shown | None,
    now: float,
    agent: str | None = None,
) -> tuple[Doubt, ...]:
    """The doubts about a new sighting. Raises the ledger's errors."""
    found = []
    cart = visitor.cart if visitor is not None else {}
    if (amount := await _amount_doubt(orders, site, seen, cart)) is not None:
        found.append(amount)
    if agent is not None:
        above = agent_doubt(agent, seen.total, seen.currency, site.settings.hold)
        found += [] if above is None else [above]
    if visitor is not None and shown is not None:
        found += _visitor_doubts(site, visitor, shown, now)
    return tuple(found)


def _visitor_doubts(site: SiteRuntime, visitor: Visitor, shown: Shown, now: float) -> Iterator[Doubt]:
    settings = site.settings.order
    if shown.by_browser and (settings is None or settings.browser != "send"):
        yield Doubt("browser", "only the visitor's browser reported it, and a browser can report anything")
    if settings is None or settings.confirm == "none":
        return
    if settings.confirm == "server":
        yield Doubt("confirm", "waits for the shop's server (POST orders)")
    if (doubt := checkout_doubt(site, visitor, shown.came, now)) is not None:
        yield doubt


async def _amount_doubt(
    orders: Orders, site: SiteRuntime, seen: OrderSeen, cart: Mapping[str, str]
) -> Doubt | None:
    """The doubt about the order's amount, compared with the visitor's cart or the site's earlier orders."""
    if not site.settings.hold.amounts or seen.total is None or not seen.is_sale:
        return None
    # In a shop with many currencies the last orders may all be in others; a currency counts as new only once.
    earlier = await orders.amounts(site.name, limit=EARLIER, currency=seen.currency)
    earlier = earlier or await orders.amounts(site.name, limit=EARLIER)
    figures: list[Figure] = []
    with suppress(KeyError, ArithmeticError):
        figures.append(Figure("the cart last seen", Decimal(cart["value"]), cart.get("currency")))
    return amount_doubt(seen, figures, earlier, site.settings.hold)
