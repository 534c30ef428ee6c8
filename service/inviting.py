"""Whether a visitor is invited now: what the policy of rules has to know of it, and the note in its record
that makes the limits hold over tabs and pages."""

from collections.abc import Sequence
from typing import Final

from ..events.events import Events
from ..referral.invites import Offered, offer_of
from ..referral.visitor import Change, Visitor
from ..rules.policy import Asked, Case, Load
from ..settings.addresses import split
from ..settings.model import Rule
from .facts import AgentLoad, PageNow
from .limits import Limits, Rate
from .ordering.shopping import page_mark
from .site import SiteRuntime

MINUTE: Final = 60.0


class Inviting:
    """Asks the policy of a site for its visitors."""

    def __init__(self, limits: Limits, events: Events) -> None:
        self._limits = limits
        self._events = events

    def ask(
        self,
        site: SiteRuntime,
        visitor: Visitor,
        page: PageNow,
        load: AgentLoad | None,
        now: float,
        *,
        recognised: bool,
    ) -> Asked:
        """What `RuleSet.decide` asks. `recognised`: the visitor is the same one on its next page."""

        def full(rate: float) -> float:
            return self._limits.until_free(_throttle(site), Rate(max(1.0, rate), MINUTE))

        return Asked(
            site.invites,
            Case(
                visitor=visitor.id,
                view=page.view,
                now=now,
                visit=visitor.visits,
                offers=visitor.offers,
                talks=_in_talk(site, visitor, now),
                ordered=bool(visitor.ordered_at) and visitor.ordered_at >= visitor.visit_at,
                on_order=bool(visitor.ordered_on) and visitor.ordered_on == page_mark(*split(page.url)),
                load=_load(load),
                recognised=recognised,
                full=full,
            ),
        )

    def changes(self, visitor: Visitor, page: PageNow, rule: Rule | None) -> Sequence[Change]:
        """What the visitor's record has to hold before it gets this invite; nothing where it does already."""
        if rule is None or rule.action != "invite" or given(visitor, page, rule):
            return ()
        return (Offered(visitor.offers, rule.name, page.view),)

    def gave(self, site: SiteRuntime, asked: Asked, rule: Rule) -> None:
        """Count an invite that goes out, for the throttle."""
        if (rate := asked.rate(rule)) is not None:
            self._limits.crowded(_throttle(site), Rate(max(1.0, rate), MINUTE))


def given(visitor: Visitor, page: PageNow, rule: Rule) -> bool:
    """Whether the record has it that this page view shows the invite of this rule."""
    offer = offer_of(visitor.offers, rule.name, visitor.visits)
    return offer is not None and offer.on(page.view)


def _throttle(site: SiteRuntime) -> str:
    return f"invites {site.name}"


def _in_talk(site: SiteRuntime, visitor: Visitor, now: float) -> bool:
    """Whether the visitor talks; where the ledger cannot say so, whether a talk was opened not long ago."""
    if visitor.talk is not None:
        return visitor.talk.runs(now)
    return bool(visitor.talked_at) and now - visitor.talked_at < site.settings.chat.window_hours * 3600


def _load(load: AgentLoad | None) -> Load | None:
    """The agents as the policy knows them; None if it is not known who is there."""
    if load is None or not load.known:
        return None
    return Load(load.online > 0, load.free, load.gate.busy)
