"""The facts of one decision, gathered from the visitor, the page, the touch, the agents and the clock."""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from msgspec import Struct

from ..chat.load import Gate
from ..credit.attribution import earning
from ..credit.channels import channel_of
from ..referral.assistants import assistant_of
from ..referral.touches import Touch
from ..referral.visitor import Visitor
from ..rules.facts import ALL, WEEKDAYS, LazyFacts
from ..settings.addresses import decoded
from .site import SiteRuntime

CAMPAIGN = {
    "utm_source": "source",
    "utm_medium": "medium",
    "utm_campaign": "name",
    "utm_term": "term",
    "utm_content": "content",
}


class AgentLoad(Struct, frozen=True):
    """The agents of a site: how many have a desk open and take conversations, and how many a provider's chat
    has online, None if that is not known. `known` is whether it is known at all who is there. `talks` are the
    conversations that take one of their `places`, `queue` those that wait for an agent, the first of them
    since `waiting_since`. The `gate` is closed while they are busy."""

    desk: int = 0
    elsewhere: int | None = None
    known: bool = True
    talks: int = 0
    places: int = 0
    queue: int = 0
    waiting_since: float | None = None
    gate: Gate = Gate()

    @property
    def online(self) -> int:
        """How many are there, wherever."""
        return self.desk + (self.elsewhere or 0)

    @property
    def load(self) -> float | None:
        """The part of the places that is taken; None where nobody is there."""
        return self.talks / self.places if self.places else None

    @property
    def free(self) -> int:
        """How many more conversations they can handle."""
        return max(0, self.places - self.talks)

    @property
    def busy(self) -> bool | None:
        """Whether they have no time for more: the gate is closed, or nobody is there. None if that is not
        known."""
        return (self.gate.busy or not self.places) if self.known else None


class PageNow(Struct, frozen=True):
    """The page the browser shows. `seconds` is the time it has been shown for, `accepted` the browser's
    Accept-Language header."""

    view: str
    url: str
    title: str
    language: str
    seconds: int
    accepted: str = ""


def gather(
    site: SiteRuntime,
    visitor: Visitor,
    page: PageNow,
    load: AgentLoad | None,
    now: float,
    wanted: Mapping[str, Collection[str]] = ALL,
) -> LazyFacts:
    """The facts that are known now, by group. An unknown fact is absent from its group. `load` is None if the
    ledger did not provide it. `wanted` are the facts that are needed: others may be absent."""
    return LazyFacts(_GROUPS, _Inputs(site, visitor, page, load, now, wanted), wanted)


class _Inputs(Struct, frozen=True):
    """The sources of facts."""

    site: SiteRuntime
    visitor: Visitor
    page: PageNow
    load: AgentLoad | None
    now: float
    wanted: Mapping[str, Collection[str]]


def _page(inputs: _Inputs) -> dict[str, Any]:
    page, wanted = inputs.page, inputs.wanted["page"]
    _, _, path, query, _ = urlsplit(page.url)
    facts: dict[str, Any] = {
        "url": page.url,
        "path": decoded(path) if "%" in path else path,
        "title": page.title,
        "language": page.language,
        "seconds": page.seconds,
    }
    if "query" in wanted:
        facts["query"] = _parameters(query)
    if "type" in wanted and (kind := inputs.site.page_type(path, query)) is not None:
        facts["type"] = kind
    return facts


def _parameters(query: str) -> dict[str, str]:
    if "%" in query or "+" in query:
        return dict(parse_qsl(query, keep_blank_values=True, max_num_fields=None))
    # Nothing is encoded: the same result in a fifth of the time.
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    return {name: value for name, _, value in pairs}


def _visit(inputs: _Inputs) -> dict[str, Any]:
    visitor = inputs.visitor
    if not visitor.visits:
        return {}  # a landing was stored, but no browser has shown a page yet
    facts: dict[str, Any] = {
        "seconds": max(0, int(inputs.now - visitor.visit_at)),
        "pages": visitor.pages,
        "count": visitor.visits,
        "returning": visitor.visits > 1,
    }
    if "landing" in inputs.wanted["visit"]:
        first = next((p for p in visitor.trail if p.at >= visitor.visit_at), None)
        if first is not None:
            facts["landing"] = urlsplit(first.url).path
    return facts


def _last_arrival(visitor: Visitor) -> Touch | None:
    """The last touch that came from outside; others do not show where the visitor came from."""
    for touch in reversed(visitor.touches):
        if not touch.doubt:
            return touch
    return None


def _touch(inputs: _Inputs) -> dict[str, Any]:
    last = _last_arrival(inputs.visitor)
    if last is None:
        return {}
    facts: dict[str, Any] = {"age_days": max(0, int((inputs.now - last.at) // 86400))}
    if "channel" in inputs.wanted["touch"]:
        facts["channel"] = channel_of(last)
    if "assistant" in inputs.wanted["touch"]:
        facts["assistant"] = assistant_of(last)
    if last.landing:
        facts["landing"] = last.landing
    if last.referrer:
        facts["referrer"] = last.referrer
    if last.clicks:
        facts["network"] = last.clicks[0].network
        if "click_id" in inputs.wanted["touch"]:
            facts["click_id"] = last.clicks[0].value.encode("utf-8", "replace").decode("utf-8")
    return facts


def _campaign(inputs: _Inputs) -> dict[str, Any]:
    last = _last_arrival(inputs.visitor)
    return {CAMPAIGN[k]: v for k, v in last.campaign.items() if k in CAMPAIGN} if last is not None else {}


def _partner(inputs: _Inputs) -> dict[str, Any]:
    """The partner that would be credited if the visitor ordered now."""
    click = earning(inputs.visitor.touches, inputs.now, inputs.site.terms)
    return {} if click is None else {"id": click.partner, "network": click.network}


def _cart(inputs: _Inputs) -> dict[str, Any]:
    cart, facts = inputs.visitor.cart, dict[str, Any]()
    if not cart:
        return facts
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


def _clock(inputs: _Inputs) -> dict[str, Any]:
    local = datetime.fromtimestamp(inputs.now, UTC).astimezone(inputs.site.zone)
    return {
        "hour": local.hour,
        "minute": local.minute,
        # Not used by rules; it makes `retry_after` exact.
        "second": local.second,
        "weekday": WEEKDAYS[local.weekday()],
        "date": local.date().isoformat(),
    }


def _agents(inputs: _Inputs) -> dict[str, Any]:
    load = inputs.load
    facts: dict[str, Any] = {"open": inputs.site.hours.open_at(inputs.now)}
    if load is None or not load.known:
        return facts
    facts |= {"online": load.online, "free": load.free, "queue": load.queue, "busy": load.busy}
    if load.load is not None:
        facts["load"] = load.load
    return facts


def _invite(inputs: _Inputs) -> dict[str, Any]:
    visitor = inputs.visitor
    return {
        "seen": len(visitor.seen),
        "dismissed": len(visitor.dismissed),
        "dismissals": visitor.dismissals,
    }


def _chat(inputs: _Inputs) -> dict[str, Any]:
    visitor = inputs.visitor
    facts: dict[str, Any] = {}
    if inputs.site.settings.chat.provider is not None:
        facts["failed"] = bool(visitor.chat_failed_at) and visitor.chat_failed_at >= visitor.visit_at
    if visitor.talk is not None:
        facts |= {"open": visitor.talk.runs(inputs.now), "talked": visitor.talk.talked}
    return facts


def _order(inputs: _Inputs) -> dict[str, Any]:
    visitor = inputs.visitor
    return {"placed": bool(visitor.ordered_at and visitor.ordered_at >= visitor.visit_at)}


_GROUPS: Mapping[str, Callable[[_Inputs], dict[str, Any]]] = {
    "page": _page,
    "visit": _visit,
    "touch": _touch,
    "partner": _partner,
    "campaign": _campaign,
    "cart": _cart,
    "clock": _clock,
    "agents": _agents,
    "invite": _invite,
    "chat": _chat,
    "order": _order,
}
