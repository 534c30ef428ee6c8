"""What people are told of an event that needs them: what happened, and what to do about it.

`{key}` is the notice's key, every other name one of its details.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from ...events.events import EVENTS, MORE
from ...stores.ledger.notices import Notice

ADVICE: Mapping[str, tuple[str, str]] = {
    "click_dropped": (
        "Visitors from {partner} came with a parameter {param} that holds no click id ({why}).",
        "Tell the partner: a macro in the links was not filled in, so clew cannot report these orders.",
    ),
    "click_suspicious": (
        "A click of {partner} did not come from outside the shop: {why}. It earns nothing.",
        "If the partner's terms allow it (cashback, voucher extensions), set `inside_clicks = true` for it.",
    ),
    "reload_refused": (
        "Changed settings were not taken, with {errors} errors. The first: {why}",
        "Correct it, then `clew reload`; `clew check` shows all errors. What runs goes on as it was.",
    ),
    "clock_jump": (
        "The server's clock jumped by {seconds} seconds.",
        "Let a time service such as chrony keep the clock. Clicks from before a step back still count.",
    ),
    "policy": (
        "A page's own policy is in clew's way: {reason}. Last seen on {path}.",
        "See “Pages without the tag” in the operations guide for what to change in the shop's policy.",
    ),
    "order_unreadable": (
        "A page of the type {type} was shown, but no order was read on it: {why}. Last seen on {page}.",
        "If it showed an order, correct `[sites.order]` (`clew inspect` proposes selectors), and report the "
        "missed order by `POST orders`. If it did not, make `order.page` narrower. If a script draws the "
        "page, the browser tells of its orders: see `order.browser`.",
    ),
    "order_held": (
        "Orders are held and their partners not told. Last: order {order} for {partner}: {why}.",
        "Release, correct or refuse each under “held” above. If many are held that are right, see "
        "`[sites.hold]` and `order.confirm` in the settings.",
    ),
    "order_conflict": (
        "The order {order} was {why}.",
        "Look which one is right. If the partner has been told already, tell the partner of a difference.",
    ),
    "page_unread": (
        "A page was not read for its order and cart: {why}. Last seen on {page}.",
        "If that page is your shop's own, report its orders by `POST orders`; "
        "else it was made to stop clew, and nothing is to be done.",
    ),
    "order_unrecorded": (
        "The order {order} over {total} {currency} could not be written into the ledger.",
        "Look at the disk and the ledger's file. The log line `order_unrecorded` holds the whole order: "
        "report it by `POST orders`.",
    ),
    "host_unknown": (
        "Requests came for the host {key}, which fits no site. Known are: {known}.",
        "Add it to `hosts` of its site if it is a shop's name. A load balancer that asks by address, or a "
        "stranger who tries names, needs nothing.",
    ),
    "selector_unmatched": (
        "The selector `{key}` ({selector}) has found nothing on {pages} {kind} pages for a day or longer.",
        "Look at such a page of your shop, and set the selector. `clew inspect` proposes those of the cart.",
    ),
    "limited": (
        "Requests were over the limit `{limit}`, by {scope}. Refused last: {client}.",
        "If these were visitors, raise `[limits]`, or name the proxy in front of clew in `trusted_proxies`. "
        "If it was an attack, nothing is to be done.",
    ),
    "proxy_untrusted": (
        "{peer} speaks as a proxy ({header}) and is not believed: behind https, cookies are then not Secure, "
        "and the shop is told http.",
        "If that is your own proxy, have it set X-Forwarded-Proto and X-Forwarded-For, and write {setting}. "
        "If you do not know the address, leave it: anybody may send such a header.",
    ),
    "token_refused": (
        "A request to {path} from {key} brought a wrong token.",
        "If that was your shop's server, give it the token of the settings; else somebody guesses.",
    ),
    "postback_failed": (
        "{partner} may not know of its orders. Last: order {order} is {outcome}, status {status}, answer "
        "“{answer}”.",
        "Dead: mend the cause, and send them again. Unknown: ask the partner first. Both stand above.",
    ),
    "partner_slow": (
        "The server of {key} takes {seconds} seconds to answer.",
        "Postbacks to it are delivered a few at a time; others do not wait for them. Tell the partner.",
    ),
    "unusable": (
        "Clew cannot be used: {why}. The shop goes on without it.",
        "Correct the cause, then start clew again.",
    ),
    "fault": (
        "Something of clew's own failed in {where}: {error}. The shop's pages went through unchanged.",
        "Look at the log. If the ledger or the disk is the cause, mend that; else report it as a bug.",
    ),
}


def advice(notice: Notice) -> tuple[str, str]:
    """What happened and what to do, in plain words."""
    if notice.key == MORE:
        return f"More of the same, beyond what is listed: {EVENTS.get(notice.event, notice.event)}.", ""
    known = ADVICE.get(notice.event)
    if known is None:
        return f"{EVENTS.get(notice.event, notice.event).capitalize()}: {notice.key}.", ""
    values: defaultdict[str, Any] = defaultdict(lambda: "?", notice.details, key=notice.key)
    return known[0].format_map(values), known[1].format_map(values)
