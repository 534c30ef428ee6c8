"""A trial of rules in words, for the terminal and for the desk."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ..rules.dry_run import CONVERSATIONS, LONG_DAYS, Trial
from ..settings.model import Site
from .recorded_facts import LEFT_OUT, MASKED
from .rule_trials import LEAST_INVITES, Tried

_WEEK: Final = 7.0
_HINTS: Final = 5
_NAMES: Final = 25
_OF_OTHERS: Final = ("invite", "chat")
"""Groups of facts that come from the rules that ran while the page views were recorded."""

HELD: Final[Mapping[str, str]] = {
    "hours": "outside its hours",
    "agents": "no agent was there or had time",
    "share": "not in its share of visitors",
    "conversation": "in a conversation",
    "order": "after an order",
    "dismissals": "another invite was dismissed",
    "ignored": "invites were ignored",
    "cancel_on": "withdrawn by an event",
    "accepted": "answered before",
    "dismissed": "dismissed before",
    "withdrawn": "withdrawn before",
    "pages": "shown on enough pages",
    "per_page": "invites a page",
    "per_visit": "invites a visit",
    "per_visitor": "invites a visitor",
    "pause": "the pause between invites",
    "offer": "nothing to offer",
}
"""What keeps a rule back whose lines are true (`Refusal.by`)."""

UNTOLD: Final = (
    "Not known, and so not looked at: what other visitors would be shown (the throttle), invites from before "
    "the recording, whether coupons are left. Agents were as busy as they were."
)


def number(value: float) -> str:
    """A count a day."""
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.2g}"


def way(tried: Tried, one: Trial) -> str:
    """The line that is most often in the way; empty if none is."""
    if one.blocking is None:
        return ""
    return f"{one.blocking_share:.0%}: {tried.lines[one.rule][one.blocking]}"


def days_of(one: Trial) -> str:
    """The days until the first look; empty for rules that invite nobody."""
    if one.conversations is None:
        return ""
    return "–" if one.days is None else f"{one.days:,.0f}"


def basis(tried: Tried, since: str) -> str:
    """What the figures rest on; `since` is when the first page view was recorded."""
    return (
        f"A day, by {tried.recorded} page views recorded since {since} ({tried.run.days:.1f} days); they "
        f"stand for {number(tried.run.page_views)} page views a day of visitors who may be recognised."
    )


def nothing(site: Site) -> str:
    """Why there are no page views."""
    why = "`share` in [sites.traffic] is 0" if not site.traffic.share else "a running clew records them"
    return f"{site.name}: no page views are recorded in this time: {why}."


def not_recorded(one: Trial) -> list[str]:
    """The facts that its lines ask for and that are not recorded as they are."""
    return [name for name in one.asked if name in LEFT_OUT or name in MASKED]


def notes(tried: Tried) -> Iterator[str]:
    """What is to be said of the whole trial."""
    run = tried.run
    if run.tried < run.views:
        yield f"The time was up after {run.tried} of {run.views} page views; the figures stand for all."
    if run.days <= 1:
        yield "Less than a day is recorded: what is missing of the day counts as without page views."
    elif run.days < _WEEK:
        yield "That is less than a week: days of the week that are missing may be different."
    if any(one.invited is not None for one in run.trials):
        said = "as at this site so far"
        if not tried.measured:
            said = f"assumed, until {LEAST_INVITES} invites were shown"
        dismissed = f", {tried.dismissed:.1%} are dismissed" if tried.measured else " and none is dismissed"
        yield f"Of invites {tried.acceptance:.1%} lead to a conversation{dismissed} ({said})."
        yield UNTOLD
    late = [f"{one.rule} ({one.days:,.0f} days)" for one in run.trials if one.too_slow and one.days]
    if late:
        yield (
            f"Not enough traffic for {CONVERSATIONS} conversations, and so for a verdict, within "
            f"{LONG_DAYS:.0f} days: {_some(late)}. Ask for less, or join rules that are alike."
        )
    if never := [one.rule for one in run.trials if one.too_slow and not one.days]:
        yield f"No conversation is to be expected of: {_some(never)}."


def notes_on(one: Trial) -> Iterator[str]:
    """What is to be said of one rule."""
    if one.behind:
        yield f"another rule comes first, page views a day: {_most(one.behind)}."
    if one.held:
        held = {HELD.get(by, by): count for by, count in one.held.items()}
        yield f"held back, page views a day: {_most(held)}."
    if one.runs is not None and not one.runs:
        yield "it has ended, and will not act: the figures are as if it went on."
    elif one.too_short:
        yield f"it ends before its first look: it runs for {one.runs:,.0f} days."
    if one.signals:
        yield f"as if the browser told its signal on each page: {', '.join(one.signals)}."
    if one.unknown:
        yield f"never known in what was recorded: {', '.join(one.unknown)}."
    if left := not_recorded(one):
        yield f"recorded without what may lead to a person: {', '.join(left)}."
    if own := [name for name in one.asked if name.partition(".")[0] in _OF_OTHERS]:
        yield f"as they were by the rules of that time: {', '.join(own)}."


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMES
    return ", ".join(names[:_NAMES]) + (f" and {more} more" if more > 0 else "")


def _most(counts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} ({number(count)})" for name, count in [*counts.items()][:_HINTS])
