"""The facts of one decision, gathered from the visitor, the page, the touch, the agents and the clock."""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from ..chat.load import Gate
from ..credit.attribution import earning
from ..credit.channels import PAID_SEARCH, SEARCH, channel_of
from ..referral.assistants import assistant_of
from ..referral.invites import ignored
from ..referral.memory import NOTHING as NO_MEMORY
from ..referral.memory import Memory
from ..referral.search import search_word
from ..referral.touches import Touch
from ..referral.visitor import Visitor
from ..rules.fact_table import PAGE_TYPES
from ..rules.facts import ALL, WEEKDAYS, Each, LazyFacts
from ..rules.site_facts import CUSTOM, reads_page
from ..settings.addresses import decoded, patterns_of, split
from ..settings.model import CustomFact
from . import devices, trails
from .custom_facts import of_request
from .page_marks import page_mark
from .site import SiteRuntime
from .tallies import points, tally
from .trails import Trail

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
    since `waiting_since`. The `gate` is closed while they are busy. `departments` are those of the agents at
    the desk."""

    desk: int = 0
    elsewhere: int | None = None
    known: bool = True
    talks: int = 0
    places: int = 0
    queue: int = 0
    waiting_since: float | None = None
    gate: Gate = Gate()
    departments: tuple[str, ...] = ()

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


NONE_TOLD: frozenset[str] = frozenset()


class PageNow(Struct, frozen=True):
    """The page the browser shows. `seconds` is the time it has been shown for, `accepted` the browser's
    Accept-Language header, `told` the signals for rules that the browser has told on it."""

    view: str
    url: str
    title: str
    language: str
    seconds: int
    accepted: str = ""
    told: frozenset[str] = NONE_TOLD


class Client(Struct, frozen=True):
    """Who asks: the request's headers by name, the addresses of the visitor and of the connection, whether it
    came by https, and the browser's referrer."""

    fields: Mapping[bytes, bytes] = {}
    address: str | None = None
    peer: str | None = None
    secure: bool = False
    referrer: str = ""


Product = Mapping[str, Any]
"""A page's product, see `orders/product.py`."""


class Orders(Struct, frozen=True):
    """The visitor's orders by the ledger: how many count, and when the last one was placed that was not
    cancelled, 0 if there is none."""

    count: int = 0
    last_at: float = 0.0


NO_ORDERS = Orders()


class Found(Struct, frozen=True):
    """What a decision may have to wait for: the page's product (empty: it shows none), the visitor's orders,
    and how many conversations it has had. None where it is not known. `again`: it may be known in a
    moment. `memory` has what pages showed, if that has changed since the visitor's record was read; `values`
    are those of the shop's API, and `hostname` is that of the visitor's address."""

    product: Product | None = None
    orders: Orders | None = None
    chats: int | None = None
    again: bool = False
    memory: Memory | None = None
    values: Mapping[str, Any] = {}
    hostname: str | None = None


NOTHING = Found()

NOBODY = Client()
"""For a decision that no request asks for."""


def gather(
    site: SiteRuntime,
    visitor: Visitor,
    page: PageNow,
    load: AgentLoad | None,
    now: float,
    wanted: Mapping[str, Collection[str]] = ALL,
    client: Client = NOBODY,
    found: Found = NOTHING,
) -> LazyFacts:
    """The facts that are known now, by group. An unknown fact is absent from its group. `load` is None if the
    ledger did not provide it. `wanted` are the facts that are needed: others may be absent. `found` is what
    had to be waited for."""
    return LazyFacts(_GROUPS, _Inputs(site, visitor, page, load, now, wanted, client, found), wanted)


class _Inputs:
    """The sources of facts."""

    __slots__ = ("_trail", "client", "found", "load", "now", "page", "site", "visitor", "wanted")

    def __init__(
        self,
        site: SiteRuntime,
        visitor: Visitor,
        page: PageNow,
        load: AgentLoad | None,
        now: float,
        wanted: Mapping[str, Collection[str]],
        client: Client,
        found: Found,
    ) -> None:
        self.site = site
        self.visitor = visitor
        self.page = page
        self.load = load
        self.now = now
        self.wanted = wanted
        self.client = client
        self.found = found
        self._trail: Trail | None = None

    @property
    def trail(self) -> Trail:
        """This visit's pages, of which several groups have facts."""
        if self._trail is None:
            self._trail = Trail(self.site, self.visitor, self.page.view, self.page.url)
        return self._trail


def _page(inputs: _Inputs) -> dict[str, Any]:
    page, wanted, client = inputs.page, inputs.wanted["page"], inputs.client
    _, netloc, path, query, fragment = urlsplit(page.url)
    facts: dict[str, Any] = {
        "url": page.url,
        "path": decoded(path) if "%" in path else path,
        "title": page.title,
        "language": page.language,
        "seconds": page.seconds,
    }
    if "query" in wanted:
        facts["query"] = trails.parameters(query)
    if "type" in wanted and (kind := inputs.site.page_type(path, query)) is not None:
        facts["type"] = kind
    if "host" in wanted and netloc:
        facts["host"] = netloc.rpartition("@")[2].lower()
    if "fragment" in wanted and fragment:
        facts["fragment"] = unquote(fragment)
    if client.referrer:
        facts["referrer"] = client.referrer
        if "referrer_host" in wanted:
            _put(facts, "referrer_host", _host(client.referrer))
    for name in _OF_TRAIL["page"].keys() & wanted:
        _put(facts, name, _OF_TRAIL["page"][name](inputs.trail))
    return facts


_OF_TRAIL: Mapping[str, Mapping[str, Callable[[Trail], Any]]] = {
    "page": {
        "previous": trails.previous,
        "previous_type": trails.previous_type,
        "times": Trail.times,
    },
    "visit": {"paths": trails.paths, "types": trails.types},
    "seen": {kind: trails.seen(kind) for kind in PAGE_TYPES},
}


def _put(facts: dict[str, Any], name: str, value: Any) -> None:
    if value is not None:
        facts[name] = value


def _host(url: str) -> str | None:
    try:
        return (urlsplit(url).netloc.rpartition("@")[2]).lower() or None
    except ValueError:
        return None


def _visit(inputs: _Inputs) -> dict[str, Any]:
    visitor, wanted = inputs.visitor, inputs.wanted["visit"]
    if not visitor.visits:
        return {}  # a landing was stored, but no browser has shown a page yet
    facts: dict[str, Any] = {
        "seconds": max(0, int(inputs.now - visitor.visit_at)),
        "pages": visitor.pages,
        "count": visitor.visits,
        "returning": visitor.visits > 1,
        "days_since_first": max(0, int((inputs.now - visitor.first_at) // DAY)),
    }
    if not _LANDED.isdisjoint(wanted) and (landing := _landing(inputs)) is not None:
        _, _, path, query, _ = urlsplit(landing)
        facts |= {"landing": path, "landing_query": trails.parameters(query)}
        _put(facts, "landing_type", inputs.site.kind_of(landing))
    if "days_since_last" in wanted and (left := _left_at(visitor)) is not None:
        facts["days_since_last"] = max(0, int((visitor.visit_at - left) // DAY))
    for name in _OF_TRAIL["visit"].keys() & wanted:
        facts[name] = _OF_TRAIL["visit"][name](inputs.trail)
    return facts


DAY = 86400.0
_LANDED = frozenset({"landing", "landing_query", "landing_type"})


def _landing(inputs: _Inputs) -> str | None:
    """The stored address of the visit's first page."""
    visitor = inputs.visitor
    if visitor.memory is not None and visitor.memory.landing:
        return visitor.memory.landing
    return next((page.url for page in visitor.trail if page.at >= visitor.visit_at), None)


def _left_at(visitor: Visitor) -> float | None:
    """When the visit before this one ended."""
    if visitor.memory is not None and visitor.memory.left_at:
        return visitor.memory.left_at
    return next((page.at for page in reversed(visitor.trail) if page.at < visitor.visit_at), None)


def _seen(inputs: _Inputs) -> Mapping[str, Any]:
    return Each(_OF_TRAIL["seen"], inputs.trail)


def _search(inputs: _Inputs) -> Mapping[str, Any]:
    return Each(_SEARCH, inputs)


def _outer_words(inputs: _Inputs) -> str | None:
    last = _last_arrival(inputs.visitor)
    return search_word(last) if last is not None else None


def _engine(inputs: _Inputs) -> str | None:
    last = _last_arrival(inputs.visitor)
    return _host(last.referrer) if last is not None and channel_of(last) in _SEARCHED else None


_SEARCHED = (SEARCH, PAID_SEARCH)
_SEARCH: Mapping[str, Callable[[_Inputs], Any]] = {
    "words": _outer_words,
    "engine": _engine,
    "shop": lambda inputs: trails.search_words(inputs.trail),
}


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
        _put(facts, "referrer_host", _host(last.referrer))
    if "click_ids" in inputs.wanted["touch"]:
        facts["click_ids"] = {click.param: _printable(click.value) for click in last.clicks}
    if last.clicks:
        facts["network"] = last.clicks[0].network
        if "click_id" in inputs.wanted["touch"]:
            facts["click_id"] = _printable(last.clicks[0].value)
    return facts


def _printable(click_id: str) -> str:
    return click_id.encode("utf-8", "replace").decode("utf-8")


def _campaign(inputs: _Inputs) -> dict[str, Any]:
    last = _last_arrival(inputs.visitor)
    if last is None:
        return {}
    facts: dict[str, Any] = {CAMPAIGN[k]: v for k, v in last.campaign.items() if k in CAMPAIGN}
    return {**facts, "params": last.campaign}


def _partner(inputs: _Inputs) -> dict[str, Any]:
    """The partner that would be credited if the visitor ordered now."""
    click = earning(inputs.visitor.touches, inputs.now, inputs.site.terms)
    if click is None:
        return {}
    facts: dict[str, Any] = {"id": click.partner, "network": click.network}
    partner = inputs.site.partners.get(click.partner or "")
    if "sub_id" in inputs.wanted["partner"] and partner is not None and partner.sub_param is not None:
        touch = next((one for one in reversed(inputs.visitor.touches) if click in one.clicks), None)
        landing = trails.parameters(urlsplit(touch.landing).query) if touch is not None else {}
        _put(facts, "sub_id", landing.get(partner.sub_param))
    return facts


def _cart(inputs: _Inputs) -> dict[str, Any]:
    cart, facts = inputs.visitor.cart, _cart_history(inputs)
    if not cart:
        return facts
    try:
        if "value" in cart:
            facts["value"] = float(Decimal(cart["value"]))
        if "items" in cart:
            facts["items"] = int(cart["items"])
    except (InvalidOperation, ValueError):
        return {}
    for name in ("currency", "products"):
        if name in cart:
            facts[name] = cart[name]
    return facts


def _cart_history(inputs: _Inputs) -> dict[str, Any]:
    if not inputs.site.keeps.cart:
        return {}
    cart = (inputs.visitor.memory or NO_MEMORY).cart
    facts: dict[str, Any] = {"largest": cart.largest, "changes": cart.changes, "emptied": cart.emptied}
    if cart.filled_at:
        facts["seconds"] = max(0, int(inputs.now) - cart.filled_at)
    return facts


def _product(inputs: _Inputs) -> Mapping[str, Any]:
    return inputs.found.product or {}


def _events(inputs: _Inputs) -> Mapping[str, Any]:
    visitor, now = inputs.visitor, inputs.now
    return {name: tally(name)(visitor, now) for name in inputs.site.facts.get("events", ())}


def _score(inputs: _Inputs) -> Mapping[str, Any]:
    site = inputs.site
    return {"points": points(site, site.settings.score, inputs.visitor, inputs.now)}


def _customer(inputs: _Inputs) -> Mapping[str, Any]:
    return _own(inputs, "customer")


def _custom(inputs: _Inputs) -> Mapping[str, Any]:
    return _own(inputs, CUSTOM)


def _own(inputs: _Inputs, group: str) -> Mapping[str, Any]:
    """The site's own facts of a group."""
    found: dict[str, Any] = {}
    for name in inputs.wanted[group]:
        custom = inputs.site.own_facts.get(f"{group}.{name}")
        if custom is not None:
            _put(found, name, _own_value(inputs, f"{group}.{name}", custom))
    return found


def _own_value(inputs: _Inputs, name: str, custom: CustomFact) -> Any:
    if custom.url is not None:
        return inputs.found.values.get(name)
    if custom.pages:
        fits = patterns_of(tuple(custom.pages))
        return sum(fits(*split(page.url)) for page in inputs.trail.pages)
    if not reads_page(custom):
        return of_request(custom, inputs.client.fields)
    memory = inputs.found.memory or inputs.visitor.memory or NO_MEMORY
    if custom.keep == "page":
        here = page_mark(*split(inputs.page.url))
        return next((shown.get(name) for mark, shown in memory.of_pages if mark == here), None)
    value, at = memory.values.get(name, (None, 0))
    return None if custom.keep == "visit" and at < int(inputs.visitor.visit_at) else value


def _checkout(inputs: _Inputs) -> Mapping[str, Any]:
    return Each(_CHECKOUT, inputs)


_CHECKOUT: Mapping[str, Callable[[_Inputs], Any]] = {
    "step": lambda inputs: inputs.site.step_of(inputs.page.url),
    "furthest": lambda inputs: trails.furthest(inputs.site, inputs.trail),
}


def _device(inputs: _Inputs) -> Mapping[str, Any]:
    return Each(_DEVICE, inputs.client) if inputs.client.fields else {}


_DEVICE: Mapping[str, Callable[[Client], Any]] = {
    "type": lambda client: devices.device_type(client.fields),
    "browser": lambda client: devices.browser(client.fields),
    "browser_version": lambda client: devices.browser_version(client.fields),
    "os": lambda client: devices.system(client.fields),
    "language": lambda client: devices.language(client.fields),
    "bot": lambda client: devices.is_bot(client.fields, secure=client.secure),
}


def _place(inputs: _Inputs) -> Mapping[str, Any]:
    return Each(_PLACE, inputs)


_PLACE: Mapping[str, Callable[[_Inputs], Any]] = {
    "country": lambda inputs: inputs.site.places.country(
        inputs.client.fields, inputs.client.peer, inputs.client.address
    ),
    "region": lambda inputs: inputs.site.places.at(inputs.client.address).get("region"),
    "city": lambda inputs: inputs.site.places.at(inputs.client.address).get("city"),
    "ip": lambda inputs: inputs.client.address,
    "hostname": lambda inputs: inputs.found.hostname,
}


def _clock(inputs: _Inputs) -> dict[str, Any]:
    local = datetime.fromtimestamp(inputs.now, UTC).astimezone(inputs.site.zone)
    facts: dict[str, Any] = {
        "hour": local.hour,
        "minute": local.minute,
        # Not used by rules; they make `retry_after` exact.
        "second": local.second,
        "at": inputs.now,
        "zone": inputs.site.zone,
        "weekday": WEEKDAYS[local.weekday()],
        "date": local.date().isoformat(),
        "day": local.day,
        "month": local.month,
        "year": local.year,
    }
    if "holiday" in inputs.wanted["clock"]:
        facts["holiday"] = inputs.site.holidays.has(local.date())
    return facts


def _agents(inputs: _Inputs) -> dict[str, Any]:
    load = inputs.load
    facts: dict[str, Any] = {"open": inputs.site.hours.open_at(inputs.now)}
    if load is None or not load.known:
        return facts
    facts |= {"online": load.online, "free": load.free, "queue": load.queue, "busy": load.busy}
    facts["departments"] = ", ".join(load.departments)
    if load.load is not None:
        facts["load"] = load.load
    return facts


def _invite(inputs: _Inputs) -> dict[str, Any]:
    visitor = inputs.visitor
    facts: dict[str, Any] = {
        "seen": len(visitor.seen),
        "dismissed": len(visitor.dismissed),
        "dismissals": visitor.dismissals,
    }
    wanted = inputs.wanted["invite"]
    if not _UNANSWERED.isdisjoint(wanted):
        # As the limit `ignored` of `invites` counts them.
        counts = {visit: _ignored(inputs, visit) for visit in {one.visit for one in visitor.offers}}
        facts["ignored"] = counts.get(visitor.visits, 0)
        facts["ignores"] = sum(counts.values())
    if seen := [one.last_at for one in visitor.offers if one.seen]:
        facts["seconds"] = max(0, int(inputs.now - max(seen)))
    if put_away := [one.last_at for one in visitor.offers if one.end == "dismissed"]:
        facts["dismissed_seconds"] = max(0, int(inputs.now - max(put_away)))
    return facts


_UNANSWERED = frozenset({"ignored", "ignores"})


def _ignored(inputs: _Inputs, visit: int) -> int:
    policy = inputs.site.invites
    return ignored(inputs.visitor.offers, visit, policy.pages, policy.invites.pages)


def _chat(inputs: _Inputs) -> dict[str, Any]:
    visitor = inputs.visitor
    facts: dict[str, Any] = {}
    if inputs.site.settings.chat.provider is not None:
        facts["failed"] = bool(visitor.chat_failed_at) and visitor.chat_failed_at >= visitor.visit_at
    if inputs.found.chats is not None:
        facts["count"] = inputs.found.chats
    if began := _talk_began(visitor):
        facts["seconds"] = max(0, int(inputs.now - began))
    if visitor.talk is not None:
        facts |= {"open": visitor.talk.runs(inputs.now), "talked": visitor.talk.talked}
    return facts


def _talk_began(visitor: Visitor) -> float:
    """When the last conversation was begun; in another company's chat, when it went on last."""
    elsewhere = visitor.talk.elsewhere if visitor.talk is not None else None
    return max(visitor.talked_at, elsewhere[0] if elsewhere is not None else 0.0)


def _order(inputs: _Inputs) -> dict[str, Any]:
    visitor, orders = inputs.visitor, inputs.found.orders
    # Where the ledger does not answer, what was noted at the order has to do.
    last_at = visitor.ordered_at if orders is None else orders.last_at
    facts: dict[str, Any] = {"placed": bool(last_at) and last_at >= visitor.visit_at}
    if orders is not None:
        facts["count"] = orders.count
    if last_at:
        facts["age_days"] = max(0, int((inputs.now - last_at) // DAY))
    return facts


_GROUPS: Mapping[str, Callable[[_Inputs], Mapping[str, Any]]] = {
    "page": _page,
    "visit": _visit,
    "seen": _seen,
    "search": _search,
    "touch": _touch,
    "partner": _partner,
    "campaign": _campaign,
    "product": _product,
    "events": _events,
    "score": _score,
    "customer": _customer,
    "custom": _custom,
    "cart": _cart,
    "checkout": _checkout,
    "device": _device,
    "place": _place,
    "clock": _clock,
    "agents": _agents,
    "invite": _invite,
    "chat": _chat,
    "order": _order,
}
