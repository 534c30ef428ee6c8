"""The facts that a rule can ask about, and how they change while time passes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Literal, get_args

from ..settings.model import PageType

FactType = Literal["int", "double", "string", "bool", "map"]

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact: `name` is `group.fact`, `type` its CEL type (a map is text to text).

    `values` are all texts that it can have, where they are few, `most` is the largest number: a line that
    compares it with another never holds.
    """

    name: str
    type: FactType
    doc: str
    values: tuple[str, ...] = ()
    most: int | None = None


FACTS: tuple[Fact, ...] = (
    Fact("page.url", "string", "The page's full address."),
    Fact("page.path", "string", "Its path, decoded, without host and query."),
    Fact("page.query", "map", "Its query parameters, decoded: page.query.size, page.query['utm-x']."),
    Fact("page.title", "string", "Its title."),
    Fact("page.seconds", "int", "How long it has been shown, in seconds."),
    Fact(
        "page.type",
        "string",
        "What kind of page it is, where the platform's preset knows.",
        get_args(PageType),
    ),
    Fact("page.language", "string", "Its language, as the page says or else the browser."),
    Fact("visit.seconds", "int", "How long the visit has lasted, in seconds."),
    Fact("visit.pages", "int", "How many pages the visitor has seen in it, this one included."),
    Fact("visit.count", "int", "Which visit of this visitor it is: 1 for the first."),
    Fact("visit.returning", "bool", "Whether the visitor was here before this visit."),
    Fact("visit.landing", "string", "The path of the visit's first page."),
    Fact("touch.network", "string", "The network of the last touch, where it carried a click id."),
    Fact("touch.referrer", "string", "The address that the last touch came from."),
    Fact("touch.landing", "string", "The page that the last touch led to."),
    Fact("touch.age_days", "int", "How long ago the last touch was, in full days."),
    Fact("touch.click_id", "string", "The click id of the last touch."),
    Fact("partner.id", "string", "The partner who would be credited if the visitor ordered now."),
    Fact("partner.network", "string", "That partner's network."),
    Fact("campaign.source", "string", "utm_source of the last touch."),
    Fact("campaign.medium", "string", "utm_medium of the last touch."),
    Fact("campaign.name", "string", "utm_campaign of the last touch."),
    Fact("campaign.term", "string", "utm_term of the last touch: the search word, where it is told."),
    Fact("campaign.content", "string", "utm_content of the last touch."),
    Fact("cart.value", "double", "What the cart is worth, where a page shows it."),
    Fact("cart.items", "int", "How many items are in it."),
    Fact("cart.currency", "string", "Its currency, an ISO 4217 code."),
    Fact("clock.hour", "int", "The hour in the site's time zone, 0 to 23.", most=23),
    Fact("clock.minute", "int", "The minute, 0 to 59.", most=59),
    Fact("clock.weekday", "string", "The day of the week: mon, tue, wed, thu, fri, sat, sun.", WEEKDAYS),
    Fact("clock.date", "string", 'The date, written "2026-12-24"; text comparison is comparison of dates.'),
    Fact("agents.online", "int", "How many agents have a desk open."),
    Fact("agents.load", "double", "Running conversations divided by what the agents can hold at once."),
    Fact("agents.free", "int", "How many more conversations they can hold."),
    Fact("invite.seen", "int", "How many invites the visitor has seen in this visit."),
    Fact("invite.dismissed", "int", "How many the visitor has dismissed in this visit."),
    Fact("invite.dismissals", "int", "How many the visitor has dismissed in all visits."),
    Fact("chat.open", "bool", "Whether the visitor has an open conversation."),
    Fact("chat.talked", "bool", "Whether the visitor has written in a conversation."),
    Fact("order.placed", "bool", "Whether the visitor has ordered in this visit."),
)

BY_NAME: Mapping[str, Fact] = {fact.name: fact for fact in FACTS}
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(fact.name.partition(".")[0] for fact in FACTS))

# What changes by the mere passing of time, as far as rules wait for it. `touch.age_days` does too, but
# nobody keeps a page open for that.
SECONDS = frozenset({"visit.seconds", "page.seconds"})
CLOCK = frozenset({"clock.hour", "clock.minute", "clock.weekday", "clock.date"})

Facts = Mapping[str, Mapping[str, Any]]


def advance(facts: Facts, seconds: int) -> dict[str, Mapping[str, Any]]:
    """The facts as they will be `seconds` later if nothing happens but time.

    The clock is moved as a wall clock, so in the hour in which summer time begins or ends it is off by that
    hour; whoever asks again then is answered by the real clock. No rule can ask for `clock.second`, but with
    it the minutes turn in the right second; without it the minute is taken to have just begun, so what waits
    for the next one comes late rather than too early.
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
