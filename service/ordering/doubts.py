"""What stands against telling a partner of an order: its amount, or how it was shown."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal

from ...orders.doubt import Doubt, amount_doubt
from ...orders.model import Figure, OrderSeen
from ...referral.visitor import Visitor
from ...stores.ledger.orders import Orders
from ..effects import CameFrom
from ..site import SiteRuntime
from .shopping import checkout_doubt

EARLIER = 50  # orders with which an amount is compared


@dataclass(frozen=True, slots=True)
class Shown:
    """How an order was shown: on which page, how the visitor came there, and whether
    only the browser says so."""

    page: str
    came: CameFrom
    by_browser: bool = False


async def doubt_of(
    orders: Orders,
    site: SiteRuntime,
    order: OrderSeen,
    who: Visitor,
    shown: Shown | None,
    now: float,
    *,
    confirmed: bool = False,
) -> Doubt | None:
    """What stands against telling a partner of the order, None if nothing does. `confirmed` says that the
    shop's server has told of it. Raises what the ledger raises."""
    found = await amounts_doubt(orders, site, order, who.cart)
    if found is not None or shown is None:
        return found
    settings = site.settings.order
    if shown.by_browser and (settings is None or settings.browser != "send"):
        return Doubt("browser", "only the visitor's browser told of it, and a browser can say anything")
    if settings is None or settings.confirm == "none":
        return None
    if settings.confirm == "server" and not confirmed:
        return Doubt("confirm", "waits for the shop's server (POST orders)")
    return checkout_doubt(site, who, shown.came, now)


async def amounts_doubt(
    orders: Orders, site: SiteRuntime, order: OrderSeen, cart: Mapping[str, str]
) -> Doubt | None:
    """What stands against the order's amount: the visitor's cart, or the site's earlier orders."""
    if not site.settings.hold.amounts:
        return None
    # In a shop of many currencies the last orders may all be in others: a currency is new once only.
    earlier = await orders.amounts(site.name, limit=EARLIER, currency=order.currency)
    earlier = earlier or await orders.amounts(site.name, limit=EARLIER)
    figures: list[Figure] = []
    with suppress(KeyError, ArithmeticError):
        figures.append(Figure("the cart last seen", Decimal(cart["value"]), cart.get("currency")))
    return amount_doubt(order, figures, earlier, site.settings.hold)
