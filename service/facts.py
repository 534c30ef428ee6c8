"""The facts of one decision, gathered from the visitor, the page, the touch, the agents and the clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ..referral.credit import credit
from ..referral.visitor import Visitor
from ..rules.facts import WEEKDAYS
from ..settings.addresses import decoded
from .site import SiteRuntime

CAMPAIGN = {
    "utm_source": "source",
    "utm_medium": "medium",
    "utm_campaign": "name",
    "utm_term": "term",
    "utm_content": "content",
}


@dataclass(frozen=True, slots=True)
class AgentLoad:
    """The agents of a site: how many have a desk open, how many conversations they have."""

    online: int = 0
    conversations: int = 0


@dataclass(frozen=True, slots=True)
class PageNow:
    """The page the browser shows. `seconds` is the time it has been shown for."""

    view: str
    url: str
    title: str
    language: str
    seconds: int


def gather(
    site: SiteRuntime,
    visitor: Visitor,
    page: PageNow,
    load: AgentLoad | None,
    now: float,
) -> dict[str, dict[str, Any]]:
    """All facts that are known now, by group; what is not known is absent from its group. `load` is None
    where the ledger has not told it."""
    return {
        "page": _page(site, page),
        "visit": _visit(visitor, now),
        **_touch(site, visitor, now),
        "cart": _cart(visitor.cart),
        "clock": _clock(site, now),
        "agents": _agents(site, load) if load is not None else {},
        "invite": {
            "seen": len(visitor.seen),
            "dismissed": len(visitor.dismissed),
            "dismissals": visitor.dismissals,
        },
        "chat": {"open": talk.open, "talked": talk.last > 0} if (talk := visitor.talk) is not None else {},
        "order": {"placed": bool(visitor.ordered_at and visitor.ordered_at >= visitor.visit_at)},
    }


def _page(site: SiteRuntime, page: PageNow) -> dict[str, Any]:
    parts = urlsplit(page.url)
    facts: dict[str, Any] = {
        "url": page.url,
        "path": decoded(parts.path),
        "query": dict(parse_qsl(parts.query, keep_blank_values=True, max_num_fields=None)),
        "title": page.title,
        "language": page.language,
        "seconds": page.seconds,
    }
    if (kind := site.page_type(parts.path, parts.query)) is not None:
        facts["type"] = kind
    return facts


def _visit(visitor: Visitor, now: float) -> dict[str, Any]:
    if not visitor.visits:
        return {}  # no browser has shown a page yet: a landing was written down, and its visit has not begun
    facts: dict[str, Any] = {
        "seconds": max(0, int(now - visitor.visit_at)),
        "pages": visitor.pages,
        "count": visitor.visits,
        "returning": visitor.visits > 1,
    }
    first = next((p for p in visitor.trail if p.at >= visitor.visit_at), None)
    if first is not None:
        facts["landing"] = urlsplit(first.url).path
    return facts


def _touch(site: SiteRuntime, visitor: Visitor, now: float) -> dict[str, dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {"touch": {}, "partner": {}, "campaign": {}}
    # What was not brought from outside tells nothing of where the visitor came from.
    arrivals = [t for t in visitor.touches if not t.doubt]
    if arrivals:
        last = arrivals[-1]
        touch = groups["touch"]
        touch["age_days"] = max(0, int((now - last.at) // 86400))
        if last.landing:
            touch["landing"] = last.landing
        if last.referrer:
            touch["referrer"] = last.referrer
        if last.clicks:
            touch["network"] = last.clicks[0].network
            touch["click_id"] = last.clicks[0].value.encode("utf-8", "replace").decode("utf-8")
        groups["campaign"] = {CAMPAIGN[k]: v for k, v in last.campaign.items() if k in CAMPAIGN}
    # The partner is whoever would be credited if the visitor ordered now.
    earned = credit(visitor.touches, now, site.terms, now)
    if earned.partner is not None and earned.click is not None:
        groups["partner"] = {"id": earned.partner, "network": earned.click.network}
    return groups


def _cart(cart: Mapping[str, str]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    try:
        if "value" in cart:
            facts["value"] = float(Decimal(cart["value"]))
        if "items" in cart:
            facts["items"] = int(cart["items"])
    except (InvalidOperation, ValueError):
        return {}
    if "currency" in cart:
        facts["currency"] = cart["currency"]
    return facts


def _clock(site: SiteRuntime, now: float) -> dict[str, Any]:
    local = datetime.fromtimestamp(now, UTC).astimezone(site.zone)
    return {
        "hour": local.hour,
        "minute": local.minute,
        # No rule asks for it; it makes the moment to ask again exact.
        "second": local.second,
        "weekday": WEEKDAYS[local.weekday()],
        "date": local.date().isoformat(),
    }


def _agents(site: SiteRuntime, load: AgentLoad) -> dict[str, Any]:
    facts: dict[str, Any] = {"online": load.online}
    places = load.online * site.settings.chat.per_agent
    facts["free"] = max(0, places - load.conversations)
    if places:
        facts["load"] = load.conversations / places
    return facts
