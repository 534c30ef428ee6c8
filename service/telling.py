"""What an answer tells the loader besides the action: when to ask again, and what else it is to do."""

import math

from ..orders.money import is_currency
from ..referral.consent.decision import ConsentState
from ..referral.consent.signals import Consent
from ..referral.cookie import Known
from ..referral.visitor import Visitor
from ..settings.addresses import split
from ..settings.model import PageType
from .facts import Found, PageNow
from .ordering.shopping import showed_its_order
from .outside import AGAIN_SECONDS
from .page_view import Ask
from .site import SiteRuntime

# Seconds: the longest `retry_after` of a visitor who talks; less than LIVE_SECONDS of `stores/watch.py`.
SIGN_SECONDS = 45
# How long after its consent a visitor without a touch is asked where its visit began.
BEGIN_SECONDS = 60
CALL = "call"


def soon(found: Found, retry_after: float | None) -> float | None:
    """When to decide again: soon, where something may be known in a moment."""
    if not found.again:
        return retry_after
    return float(AGAIN_SECONDS) if retry_after is None else min(retry_after, AGAIN_SECONDS)


def watched(site: SiteRuntime, signals: tuple[str, ...]) -> tuple[str, ...]:
    """What the browser should tell: signals for rules, and that a script has called the shop where rules ask
    about what may come of that."""
    return (*signals, CALL) if site.signals.by_scripts else signals


def again(site: SiteRuntime, retry_after: float | None, now: float, talks: bool) -> float | None:
    """When the page asks again: also when the office hours begin or end, and as long as the visitor `talks`,
    so that the agent sees that it is still there."""
    change = site.hours.changes_at(now)
    times = [retry_after, change and math.ceil(change - now), SIGN_SECONDS if talks else None]
    return min((one for one in times if one is not None), default=None)


def page_type(site: SiteRuntime, page: PageNow) -> PageType | None:
    """The type of the page, where the widget's settings ask for it."""
    if not site.settings.widget.pages:
        return None
    path, query = (text.encode("utf-8", "surrogatepass") for text in split(page.url))
    return site.kind_at(path, query)


def wanted(site: SiteRuntime, visitor: Visitor, url: str) -> list[str] | None:
    """The selectors of an order's parts, where the page should show one and none was seen by the server: a
    script drew it, or it is being read right now. None where nothing is wanted of the browser."""
    order = site.settings.order
    if order is None or order.browser == "ignore" or not site.order_page(*split(url)):
        return None
    if showed_its_order(visitor, *split(url)):
        return None
    parts = (order.id, order.total, order.currency)
    return [part for part in parts if part != "jsonld" and not is_currency(part)]


def carry(site: SiteRuntime, known: Known | None) -> dict[str, str] | None:
    """What the shop's cart gets of a visitor whose cookie has come back; None if the site does not ask for
    it, or the visitor has not agreed to be recognised."""
    cart = site.settings.carry.cart
    if cart is None or known is None or (site.asks_consent and not known.agreed):
        return None
    return {"cart": cart, "token": site.carrier.token(known.visitor)}


def checkout(site: SiteRuntime, ask: Ask) -> list[str] | None:
    """The other hosts of the shop to which links get a token; None where there are none, or the visitor has
    not agreed to be recognised."""
    if not site.handovers.hosts or ask.consent.consent is not Consent.GRANTED:
        return None
    return [host for host in site.handovers.hosts if site.handovers.leads_to(host, ask.origin.host)]


def told(known: Known | None, consent: ConsentState, now: float) -> dict[str, object]:
    """The consent for the loader: the state, whether cookies or the page decided it, and whether the address
    at which the visit started is needed."""
    begins = consent.consent is Consent.GRANTED and (known is None or _begins(known, now))
    return {"state": consent.consent.value, "sure": consent.sure, "landing": begins}


def _begins(known: Known, now: float) -> bool:
    """Whether it is to be told where the visit began. Who goes on to the next page right after it has
    consented may not have told yet."""
    return not known.agreed or (not known.touches and now - known.issued < BEGIN_SECONDS)
