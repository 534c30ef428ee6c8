"""The facts that a rule can use, and how they change with time."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Literal, get_args

from ..settings.model import PageType

FactType = Literal["int", "double", "string", "bool", "map"]

Cost = Literal["", "low", "page", "query", "call"]
"""What a fact costs where a rule uses it: nothing that could be measured; some microseconds of a decision;
each page is read after it was sent; a query to the ledger for the visitors whom it is about; a call."""

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact: `name` is `group.fact`, `type` its CEL type (a map is text to text).

    `values` are all texts that it can have, if they are few; `most` is the largest number. A line that
    compares it with another value is never true. `cost` orders the lines of a rule: the cheapest come first.
    """

    name: str
    type: FactType
    doc: str
    values: tuple[str, ...] = ()
    most: int | None = None
    cost: Cost = ""


class Vocabulary:
    """The facts that a kind of condition can use. `by_name` has them by their full name, `groups` the names
    of their groups."""

    def __init__(self, facts: tuple[Fact, ...]) -> None:
        self.facts = facts
        self.by_name: Mapping[str, Fact] = {fact.name: fact for fact in facts}
        self.groups: tuple[str, ...] = tuple(dict.fromkeys(fact.name.partition(".")[0] for fact in facts))


FACTS: tuple[Fact, ...] = (
    Fact("page.url", "string", "The page's full URL."),
    Fact("page.path", "string", "Its path, decoded, without host and query."),
    Fact("page.query", "map", "Its query parameters, decoded: page.query.size, page.query['utm-x']."),
    Fact("page.title", "string", "Its title."),
    Fact("page.seconds", "int", "How long it has been shown, in seconds."),
    Fact(
        "page.type",
        "string",
        "The kind of the page, from `page_types` or the platform's preset.",
        get_args(PageType),
    ),
    Fact("page.language", "string", "The page's language, else the browser's."),
    Fact("visit.seconds", "int", "How long the visit has lasted, in seconds."),
    Fact("visit.pages", "int", "How many pages the visitor has seen in this visit, this one included."),
    Fact("visit.count", "int", "The number of this visit: 1 for the visitor's first."),
    Fact("visit.returning", "bool", "Whether the visitor was here before this visit."),
    Fact("visit.landing", "string", "The path of the visit's first page."),
    Fact("touch.network", "string", "The network of the last touch, if it had a click id."),
    Fact("touch.referrer", "string", "The URL that the last touch came from."),
    Fact("touch.channel", "string", "The kind of the last touch: partner, paid_search, mail, ai and others."),
    Fact(
        "touch.assistant",
        "string",
        "The AI assistant that sent the last touch, such as chatgpt.",
    ),
    Fact("touch.landing", "string", "The page that the last touch led to."),
    Fact("touch.age_days", "int", "How long ago the last touch was, in full days."),
    Fact("touch.click_id", "string", "The click id of the last touch."),
    Fact("partner.id", "string", "The partner that would be credited if the visitor ordered now."),
    Fact("partner.network", "string", "That partner's network."),
    Fact("campaign.source", "string", "utm_source of the last touch."),
    Fact("campaign.medium", "string", "utm_medium of the last touch."),
    Fact("campaign.name", "string", "utm_campaign of the last touch."),
    Fact("campaign.term", "string", "utm_term of the last touch: the search term, if it is known."),
    Fact("campaign.content", "string", "utm_content of the last touch."),
    Fact("cart.value", "double", "The value of the cart, if a page has shown it."),
    Fact("cart.items", "int", "The number of items in the cart."),
    Fact("cart.currency", "string", "The currency of the cart, an ISO 4217 code."),
    Fact("clock.hour", "int", "The hour in the site's time zone, 0 to 23.", most=23),
    Fact("clock.minute", "int", "The minute, 0 to 59.", most=59),
    Fact("clock.weekday", "string", "The day of the week: mon, tue, wed, thu, fri, sat, sun.", WEEKDAYS),
    Fact("clock.date", "string", 'The date, such as "2026-12-24". Dates can be compared with < and >.'),
    Fact("agents.open", "bool", "Whether it is within the site's office hours; true if it has none."),
    Fact("agents.online", "int", "How many agents have the desk open, or are online in a provider's chat."),
    Fact("agents.load", "double", "Active conversations divided by the number that the agents can handle."),
    Fact("agents.free", "int", "How many more conversations the agents can handle."),
    Fact("agents.queue", "int", "How many conversations wait for an agent."),
    Fact("agents.busy", "bool", "Whether the agents have no time for more, or nobody is there."),
    Fact("invite.seen", "int", "How many invites the visitor has seen in this visit."),
    Fact("invite.dismissed", "int", "How many the visitor has dismissed in this visit."),
    Fact("invite.dismissals", "int", "How many the visitor has dismissed in all visits."),
    Fact("chat.open", "bool", "Whether the visitor has an open conversation."),
    Fact("chat.talked", "bool", "Whether the visitor has written in a conversation."),
    Fact("chat.failed", "bool", "Whether a provider's chat did not come in this visit."),
    Fact("order.placed", "bool", "Whether the visitor has ordered in this visit."),
)

RULE_FACTS = Vocabulary(FACTS)
"""What the conditions of rules can use."""

GROUPS: tuple[str, ...] = RULE_FACTS.groups

ALL: Mapping[str, frozenset[str]] = {
    group: frozenset(fact.name.partition(".")[2] for fact in FACTS if fact.name.startswith(f"{group}."))
    for group in GROUPS
}
"""The names of all facts by group."""

# The facts that change with time and that rules can wait for. `touch.age_days` changes too, but no page stays
# open that long.
SECONDS = frozenset({"visit.seconds", "page.seconds"})
CLOCK = frozenset({"clock.hour", "clock.minute", "clock.weekday", "clock.date"})

Facts = Mapping[str, Mapping[str, Any]]


Sources = Mapping[str, Callable[[Any], Mapping[str, Any]]]
"""What makes each group of facts, without what is not known."""


class LazyFacts(dict[str, Mapping[str, Any]]):
    """Facts of which a group is gathered when somebody first asks for it by `[]`: most rules end at their
    first line. `sources` make these `groups` out of `about`; any other group is empty."""

    def __init__(self, sources: Sources, about: Any, groups: Collection[str]) -> None:
        super().__init__()
        self._sources = sources
        self._about = about
        self._groups = groups

    @classmethod
    def of(cls, facts: Facts) -> "LazyFacts":
        """These facts."""
        lazy = cls({}, None, ())
        lazy.update((group, known) for group, known in facts.items() if known)
        return lazy

    def __missing__(self, group: str) -> Mapping[str, Any]:
        found = self[group] = self._sources[group](self._about) if group in self._groups else {}
        return found

    def complete(self) -> Facts:
        """The facts of all groups."""
        for group in self._groups:
            self[group]
        return self


def advance(facts: Facts, seconds: int) -> dict[str, Mapping[str, Any]]:
    """The facts `seconds` later if nothing changes but time.

    The clock is advanced as a wall clock, so when daylight saving time begins or ends it is off by that hour;
    the next decision uses the real clock. No rule can use `clock.second`, but with it minutes change at the
    right second. Without it the minute is assumed to have just begun, so that a rule acts late rather than
    too early.
    """
    later: dict[str, Mapping[str, Any]] = dict(facts)
    for group in ("visit", "page"):
        known = facts.get(group, {})
        if isinstance(known.get("seconds"), int | float):
            later[group] = {**known, "seconds": known["seconds"] + seconds}
    later["clock"] = _advance_clock(facts.get("clock", {}), seconds)
    return later


def _advance_clock(clock: Mapping[str, Any], seconds: int) -> Mapping[str, Any]:
    try:
        today = date.fromisoformat(clock["date"])
        moment = datetime.combine(today, time(clock["hour"], clock["minute"], clock.get("second", 0)))
        moment += timedelta(seconds=seconds)
    except (KeyError, TypeError, ValueError, OverflowError):
        return clock
    later = {
        "hour": moment.hour,
        "minute": moment.minute,
        "second": moment.second,
        "weekday": WEEKDAYS[moment.weekday()],
        "date": moment.date().isoformat(),
    }
    return {name: later[name] for name in clock if name in later}
