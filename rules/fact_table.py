"""The facts that the conditions of rules can use: for each its type, its unit, where it comes from, and what
it costs. The table in docs/rules.md is made from this one by `make facts`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from ..settings.model import EVENTS, PageType

FactType = Literal["int", "double", "string", "bool", "map"]
Source = Literal["request", "visit", "page", "ledger", "outside"]
"""Where a fact comes from: the request that asks for the decision, the visitor's record, a page that the shop
sent, the ledger, or another service, a file or the settings."""

Cost = Literal["", "low", "page", "query", "call"]
"""What a fact costs where a rule uses it: nothing that could be measured; some microseconds of a decision;
each page is read after it was sent; a query to the ledger for the visitors whom it is about; a call."""

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
PAGE_TYPES: Final[tuple[str, ...]] = get_args(PageType)
DEVICES: Final = ("desktop", "mobile", "tablet", "other")


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact: `name` is `group.fact`, `type` its CEL type (a map is text to text).

    `values` are all texts that it can have, if they are few; `most` is the largest number. A line that
    compares it with another value is never true. `unit` is that of a number, or the form of a text.
    `cost` orders the lines of a rule: the cheapest come first.
    `variant`: it is another fact over another time, and has no row of its own in the documents.
    """

    name: str
    type: FactType
    doc: str
    values: tuple[str, ...] = ()
    most: int | None = None
    unit: str = ""
    source: Source = "request"
    cost: Cost = ""
    variant: bool = False


class Vocabulary:
    """The facts that a kind of condition can use. `by_name` has them by their full name, `groups` the names
    of their groups."""

    def __init__(self, facts: tuple[Fact, ...]) -> None:
        self.facts = facts
        self.by_name: Mapping[str, Fact] = {fact.name: fact for fact in facts}
        self.groups: tuple[str, ...] = tuple(dict.fromkeys(fact.name.partition(".")[0] for fact in facts))


def _page() -> tuple[Fact, ...]:
    return (
        Fact("page.url", "string", "The page's full URL.", unit="URL"),
        Fact("page.host", "string", "Its host, in lower case, with the port if there is one.", unit="host"),
        Fact("page.path", "string", "Its path, decoded, without host and query.", unit="path"),
        Fact(
            "page.query",
            "map",
            "Its query parameters, decoded: `page.query.size`, `page.query['utm-x']`.",
        ),
        Fact("page.fragment", "string", "What follows the # in its URL, decoded."),
        Fact("page.title", "string", "Its title."),
        Fact("page.seconds", "int", "How long it has been shown.", unit="seconds"),
        Fact(
            "page.type",
            "string",
            "The kind of the page, from `page_types` or the platform's preset.",
            PAGE_TYPES,
        ),
        Fact("page.language", "string", "The page's language, else the browser's.", unit="BCP 47"),
        Fact("page.referrer", "string", "The URL of the page with the link that led here.", unit="URL"),
        Fact("page.referrer_host", "string", "The host of that URL, in lower case.", unit="host"),
        Fact(
            "page.previous",
            "string",
            "The path of the page that the visitor saw before this one in this visit.",
            unit="path",
            source="visit",
        ),
        Fact(
            "page.previous_type", "string", "The kind of that page.", PAGE_TYPES, source="visit", cost="low"
        ),
        Fact(
            "page.times",
            "int",
            "How many times the visitor has opened this path in this visit, this time included, among its "
            "last 50 pages.",
            source="visit",
            cost="low",
            unit="times",
        ),
    )


def _visit() -> tuple[Fact, ...]:
    return (
        Fact("visit.seconds", "int", "How long the visit has lasted.", unit="seconds", source="visit"),
        Fact(
            "visit.pages",
            "int",
            "How many pages the visitor has seen in this visit, this one included.",
            source="visit",
            unit="pages",
        ),
        Fact(
            "visit.count",
            "int",
            "The number of this visit: 1 for the visitor's first.",
            source="visit",
            unit="visits",
        ),
        Fact("visit.returning", "bool", "Whether the visitor was here before this visit.", source="visit"),
        Fact("visit.landing", "string", "The path of the visit's first page.", unit="path", source="visit"),
        Fact(
            "visit.landing_query",
            "map",
            "The query parameters of the visit's first page: `visit.landing_query.offer`. A parameter that a "
            "rule asks for by its name is kept; of others only those of `keep_query`.",
            source="visit",
        ),
        Fact(
            "visit.landing_type", "string", "The kind of that page.", PAGE_TYPES, source="visit", cost="low"
        ),
        Fact(
            "visit.paths",
            "string",
            "The paths of this visit's pages in their order, the last 50: `/ > /mugs > /mugs/1`.",
            unit="paths",
            source="visit",
            cost="low",
        ),
        Fact(
            "visit.types",
            "string",
            "The kinds of these pages: `home > category > product`; `other` for a page of no kind.",
            unit="kinds",
            source="visit",
            cost="low",
        ),
        Fact(
            "visit.days_since_last",
            "int",
            "How long ago the visit before this one ended, in full days. Missing in a first visit.",
            unit="days",
            source="visit",
        ),
        Fact(
            "visit.days_since_first",
            "int",
            "How long ago the visitor was seen first, in full days.",
            unit="days",
            source="visit",
        ),
        *(
            Fact(
                f"seen.{kind}",
                "int",
                f"How many pages of the kind `{kind}` the visitor has seen in this visit, among its last 50 "
                "pages.",
                unit="pages",
                source="visit",
                cost="low",
            )
            for kind in PAGE_TYPES
        ),
    )


def _arrival() -> tuple[Fact, ...]:
    return (
        Fact(
            "search.words",
            "string",
            "What the visitor searched for before it came, by `utm_term` or the referrer. Most search "
            "engines do not tell.",
            source="visit",
        ),
        Fact(
            "search.engine",
            "string",
            "The host of the search engine that the last touch came from.",
            unit="host",
            source="visit",
        ),
        Fact(
            "search.shop",
            "string",
            "What the visitor searched for last in the shop in this visit: the search parameter of the last "
            "page of the kind `search`.",
            source="visit",
            cost="low",
        ),
        Fact(
            "touch.network", "string", "The network of the last touch, if it had a click id.", source="visit"
        ),
        Fact(
            "touch.referrer", "string", "The URL that the last touch came from.", unit="URL", source="visit"
        ),
        Fact(
            "touch.referrer_host",
            "string",
            "The host of that URL, in lower case.",
            unit="host",
            source="visit",
        ),
        Fact(
            "touch.channel",
            "string",
            "The kind of the last touch: `partner`, `paid_search`, `paid_social`, `display`, `mail`, `ai`, "
            "`search`, `social`, `campaign`, `referral` or `direct`.",
            source="visit",
        ),
        Fact(
            "touch.assistant",
            "string",
            "The AI assistant that sent the last touch, by its referrer or `utm_source`: `chatgpt`, "
            "`perplexity`, `gemini`, `copilot`, `claude`, and others of `referral/assistants.toml`; empty if "
            "none did.",
            source="visit",
        ),
        Fact(
            "touch.landing",
            "string",
            "The page that the last touch led to.",
            unit="path and query",
            source="visit",
        ),
        Fact(
            "touch.age_days",
            "int",
            "How long ago the last touch was, in full days.",
            unit="days",
            source="visit",
        ),
        Fact("touch.click_id", "string", "The click id of the last touch.", source="visit"),
        Fact(
            "touch.click_ids",
            "map",
            "All click ids of the last touch by their parameters: `has(touch.click_ids.gclid)`.",
            source="visit",
        ),
        Fact(
            "partner.id",
            "string",
            "The partner that would be credited if the visitor ordered now.",
            source="visit",
        ),
        Fact("partner.network", "string", "That partner's network.", source="visit"),
        Fact(
            "partner.sub_id",
            "string",
            "What the partner's link had in the parameter that `sub_param` of the partner names.",
            source="visit",
        ),
        Fact("campaign.source", "string", "`utm_source` of the last touch.", source="visit"),
        Fact("campaign.medium", "string", "`utm_medium` of the last touch.", source="visit"),
        Fact("campaign.name", "string", "`utm_campaign` of the last touch.", source="visit"),
        Fact(
            "campaign.term",
            "string",
            "`utm_term` of the last touch: the search term, if it is known.",
            source="visit",
        ),
        Fact("campaign.content", "string", "`utm_content` of the last touch.", source="visit"),
        Fact(
            "campaign.params",
            "map",
            "All campaign parameters of the last touch: `campaign.params.utm_id`.",
            source="visit",
        ),
    )


def _cart() -> tuple[Fact, ...]:
    return (
        Fact(
            "cart.value",
            "double",
            "The value of the cart, if a page has shown it.",
            unit="its currency",
            source="page",
            cost="page",
        ),
        Fact(
            "cart.items", "int", "The number of items in the cart.", source="page", cost="page", unit="items"
        ),
        Fact(
            "cart.currency",
            "string",
            "The currency of the cart.",
            unit="ISO 4217",
            source="page",
            cost="page",
        ),
        Fact(
            "cart.products",
            "string",
            "The names of the things in the cart, if a page has shown them: `Mill, Filter`.",
            source="page",
            cost="page",
        ),
        Fact(
            "cart.largest",
            "double",
            "The largest value of the cart since the last order.",
            unit="its currency",
            source="page",
            cost="page",
        ),
        Fact(
            "cart.changes",
            "int",
            "How many times a cart that was not empty has changed since the last order.",
            source="page",
            cost="page",
            unit="times",
        ),
        Fact(
            "cart.emptied",
            "int",
            "How many times it was emptied since the last order.",
            source="page",
            cost="page",
            unit="times",
        ),
        Fact(
            "cart.seconds",
            "int",
            "How long ago the first thing was put into the cart. Missing while it is empty.",
            unit="seconds",
            source="page",
            cost="page",
        ),
        Fact(
            "checkout.step",
            "int",
            "The number of the page's pattern in `checkout_steps`, from 1; 0 on other pages. A site without "
            "these patterns has one step, the pages of the kind `checkout`.",
            source="request",
            unit="step",
        ),
        Fact(
            "checkout.furthest",
            "int",
            "The largest `checkout.step` of this visit, among its last 50 pages.",
            source="visit",
            cost="low",
            unit="step",
        ),
    )


def _client() -> tuple[Fact, ...]:
    return (
        Fact(
            "device.type",
            "string",
            "By client hints, else User-Agent: desktop, mobile, tablet, other.",
            DEVICES,
        ),
        Fact("device.browser", "string", "The browser: `Chrome`, `Firefox`, `Safari`, `Edge`.", cost="low"),
        Fact("device.browser_version", "int", "Its major version.", cost="low", unit="version"),
        Fact(
            "device.os", "string", "The system: `Windows`, `Mac OS X`, `iOS`, `Android`, `Linux`.", cost="low"
        ),
        Fact("device.language", "string", "The first language that the browser accepts.", unit="BCP 47"),
        Fact("device.bot", "bool", "Whether the client is a crawler or a program by its headers."),
        Fact(
            "place.country",
            "string",
            "The visitor's country: by a header of a trusted proxy or by a database (`geo`).",
            unit="ISO 3166",
            source="outside",
        ),
        Fact("place.region", "string", "The name of its region, by the database.", source="outside"),
        Fact("place.city", "string", "The name of its city, by the database.", source="outside"),
        Fact(
            "place.ip",
            "string",
            "The visitor's IP address, to leave out your own office: `!starts(place.ip, '203.0.113.')`. "
            "It is not stored.",
            unit="IP address",
        ),
        Fact(
            "place.hostname",
            "string",
            "The host name of that address, in lower case, if it leads back to the address; with `hostnames` "
            "of [geo](settings.md#geo). It is not stored.",
            unit="host",
            source="outside",
            cost="call",
        ),
    )


WINDOWS: Final[Mapping[str, float | None]] = {
    "": None,
    "_10m": 600.0,
    "_1h": 3600.0,
    "_24h": 86400.0,
    "_30d": 30 * 86400.0,
}
"""The endings of facts about events, and over how many seconds they count; None: over this visit."""

NO_EVENTS: Final = frozenset({"returning", "cart"})
"""What has points in a score and is no event: the visitor was here before, something is in its cart."""


def window_of(name: str) -> tuple[str, float | None]:
    """The event of a fact's name, `login_failed_10m`, and its seconds; None for this visit."""
    for ending, seconds in WINDOWS.items():
        if ending and name.endswith(ending):
            return name.removesuffix(ending), seconds
    return name, None


_HAPPENED: Final[Mapping[str, str]] = {
    "search": "How many times the visitor has searched in the shop",
    "search_empty": "How many times it found nothing",
    "add_to_cart": "How many times it put something into the cart",
    "login_failed": "How many times it was not let in",
    "coupon_refused": "How many times a coupon was refused",
    "payment_failed": "How many times a payment failed",
    "client_error": "How many pages it got with a status of 400 to 499, such as 404",
    "server_error": "How many pages it got with a status of 500 or more",
    "form_repeated": "How many times it sent a form again that was shown again, as with an error in it",
    "slow_page": "How many pages took longer than `slow_seconds`",
}


def event_facts(event: str, doc: str) -> tuple[Fact, ...]:
    """The facts about an event, over each window."""
    return tuple(
        Fact(
            f"events.{event}{ending}",
            "int",
            doc,
            unit="times",
            source="visit",
            cost="low",
            variant=bool(ending),
        )
        for ending in WINDOWS
    )


def _events() -> tuple[Fact, ...]:
    return (
        *(fact for event in EVENTS for fact in event_facts(event, f"{_HAPPENED[event]}, in this visit.")),
        Fact(
            "score.points",
            "double",
            "The visitor's [score](settings.md#score).",
            unit="points",
            source="visit",
            cost="low",
        ),
    )


def _product() -> tuple[Fact, ...]:
    return (
        Fact("product.id", "string", "The id or SKU of the page's product.", source="page", cost="page"),
        Fact("product.name", "string", "Its name.", source="page", cost="page"),
        Fact("product.brand", "string", "Its brand.", source="page", cost="page"),
        Fact(
            "product.category",
            "string",
            "Its category, or the page's breadcrumbs: `Kitchen > Mills`.",
            source="page",
            cost="page",
        ),
        Fact(
            "product.price",
            "double",
            "Its price, of several offers that of the first.",
            unit="its currency",
            source="page",
            cost="page",
        ),
        Fact(
            "product.currency", "string", "The price's currency.", unit="ISO 4217", source="page", cost="page"
        ),
        Fact(
            "product.in_stock",
            "bool",
            "Whether it, or a variant of it, can be had now.",
            source="page",
            cost="page",
        ),
    )


def _rest() -> tuple[Fact, ...]:
    return (
        Fact("clock.hour", "int", "The hour in the site's time zone, 0 to 23.", most=23, unit="hours"),
        Fact("clock.minute", "int", "The minute, 0 to 59.", most=59, unit="minutes"),
        Fact("clock.weekday", "string", "The day of the week: mon, tue, wed, thu, fri, sat, sun.", WEEKDAYS),
        Fact(
            "clock.date",
            "string",
            'The date, such as "2026-12-24". Dates can be compared with < and >.',
            unit="date",
        ),
        Fact("clock.day", "int", "The day of the month, 1 to 31.", most=31, unit="day"),
        Fact("clock.month", "int", "The month, 1 to 12.", most=12, unit="month"),
        Fact("clock.year", "int", "The year.", unit="year"),
        Fact(
            "clock.holiday",
            "bool",
            "Whether today is a holiday in the site's time zone, by its [calendar](settings.md#calendar).",
            source="outside",
        ),
        Fact(
            "agents.open",
            "bool",
            "Whether it is within the site's [office hours](settings.md#hours); true if it has none.",
            source="outside",
        ),
        Fact(
            "agents.online",
            "int",
            "How many agents have the desk open and take conversations (not those who are [away or at the "
            "end of a shift](desk.md#presence)), or are online in a provider's chat.",
            source="ledger",
            unit="agents",
        ),
        Fact(
            "agents.load",
            "double",
            "Active conversations divided by the number that the agents can handle, see "
            "[load](desk.md#load); absent where nobody is there.",
            source="ledger",
            unit="share",
        ),
        Fact(
            "agents.departments",
            "string",
            "The [departments](desk.md#assignment) of those agents: "
            '`has_word(agents.departments, "billing")`.',
            source="ledger",
        ),
        Fact(
            "agents.free",
            "int",
            "How many more conversations the agents can handle.",
            source="ledger",
            unit="conversations",
        ),
        Fact(
            "agents.queue",
            "int",
            "How many conversations wait for an agent, because nobody has them.",
            source="ledger",
            unit="conversations",
        ),
        Fact(
            "agents.busy",
            "bool",
            "Whether the agents have no time for more: the [load](desk.md#load) was above `busy_above` and "
            "has not been below `free_below` since, or nobody is there.",
            source="ledger",
        ),
        Fact(
            "invite.seen",
            "int",
            "How many invites the visitor has seen in this visit.",
            source="visit",
            unit="invites",
        ),
        Fact(
            "invite.dismissed",
            "int",
            "How many the visitor has dismissed in this visit.",
            source="visit",
            unit="invites",
        ),
        Fact(
            "invite.dismissals",
            "int",
            "How many the visitor has dismissed in all visits.",
            source="visit",
            unit="invites",
        ),
        Fact(
            "invite.ignored",
            "int",
            "How many invites of this visit the visitor has left unanswered on all pages that show them ("
            "`pages` of [invites](settings.md#invites)).",
            source="visit",
            unit="invites",
        ),
        Fact(
            "invite.ignores",
            "int",
            "How many it has left unanswered in all visits.",
            source="visit",
            unit="invites",
        ),
        Fact(
            "invite.seconds",
            "int",
            "How long ago the visitor saw an invite last.",
            unit="seconds",
            source="visit",
        ),
        Fact(
            "invite.dismissed_seconds",
            "int",
            "How long ago it dismissed one last.",
            unit="seconds",
            source="visit",
        ),
        Fact(
            "chat.count",
            "int",
            "How many conversations the visitor has had, up to 100.",
            source="ledger",
            cost="query",
            unit="conversations",
        ),
        Fact(
            "chat.seconds",
            "int",
            "How long ago the last conversation was begun.",
            unit="seconds",
            source="visit",
        ),
        Fact("chat.open", "bool", "Whether the visitor has an open conversation.", source="ledger"),
        Fact("chat.talked", "bool", "Whether the visitor has written in a conversation.", source="ledger"),
        Fact("chat.failed", "bool", "Whether a provider's chat did not come in this visit.", source="visit"),
        Fact(
            "order.placed",
            "bool",
            "Whether the visitor has ordered in this visit, and that was not cancelled since.",
            source="ledger",
            cost="query",
        ),
        Fact(
            "customer.logged_in",
            "bool",
            "Whether the visitor is logged in at the shop, by [facts](settings.md#facts).",
            source="page",
            cost="page",
        ),
        Fact(
            "customer.group",
            "string",
            "The customer's group, by [facts](settings.md#facts).",
            source="page",
            cost="page",
        ),
        Fact(
            "customer.first_name",
            "string",
            "The customer's first name, by [facts](settings.md#facts): for [texts](#texts).",
            source="page",
            cost="page",
        ),
        Fact(
            "order.count",
            "int",
            "How many orders of the visitor count, up to 100: without those that were cancelled or refunded.",
            source="ledger",
            cost="query",
            unit="orders",
        ),
        Fact(
            "order.age_days",
            "int",
            "How long ago the visitor's last order was, in full days; one that was cancelled is none.",
            unit="days",
            source="ledger",
            cost="query",
        ),
    )


FACTS: Final[tuple[Fact, ...]] = (
    *_page(),
    *_product(),
    *_visit(),
    *_arrival(),
    *_cart(),
    *_events(),
    *_client(),
    *_rest(),
)
