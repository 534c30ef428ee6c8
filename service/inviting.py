"""Whether a visitor is invited now: what the policy of rules has to know of it, and the note in its record
that makes the limits hold over tabs and pages."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

from ..events.events import Events
from ..referral.cookie import Known
from ..referral.invites import (
    ARM_BIT,
    STEPS,
    Exposed,
    Invited,
    Offer,
    Offered,
    going_on,
    kept_arm,
    offer_of,
    offered,
)
from ..referral.visitor import Change, Visitor, changed
from ..rules.experiments import HELD_OUT, NO_INVITE, Experiment
from ..rules.policy import Asked, Case, Hours, Load, moment
from ..rules.ranked import Refusal
from ..settings.addresses import split
from ..settings.model import Rule, Site
from ..stores.ledger.exposures import Situation
from .clock import Clock
from .exposing import ExposureWriter
from .facts import AgentLoad, PageNow
from .invite_offers import InviteOffers
from .limits import LimitedError, Limits, Rate, is_of_clients, network_of, parts_of
from .ordering.shopping import page_mark
from .site import SiteRuntime
from .sites import Sites
from .visitors import Visitors

MINUTE: Final = 60.0
OF_CLIENT: Final = 5.0
"""Invites a minute of one client network at least, and a quarter of all: a program that has no cookies is a
new visitor at each call, and could else take the invites of all others."""
KNOWN_SECONDS: Final = 1.0
"""After which the first page of a visitor asks again for an invite with a code. By then its record has that
it was invited, which is the proof for the code; what pages tell is none."""
KNOWN_MOST: Final = 10
"""Seconds on the page after which it does so no more."""
_WENT_ON: Final = 1 << STEPS.index("went_on")


class Inviting:
    """Asks the policy of a site for its visitors. `mark` makes the pseudonym of a client's network."""

    def __init__(
        self,
        limits: Limits,
        visitors: Visitors,
        exposures: ExposureWriter,
        events: Events,
        clock: Clock,
        offers: InviteOffers,
        mark: Callable[[str | None], str | None],
    ) -> None:
        self._mark = mark
        self._offers = offers
        self._limits = limits
        self._visitors = visitors
        self._exposures = exposures
        self._events = events
        self._clock = clock
        # The parts of the arms of adaptive rules, by the experiment's key; see `adapting.py`.
        self.parts: Mapping[str, Sequence[float]] = {}

    def ask(
        self,
        site: SiteRuntime,
        visitor: Visitor,
        page: PageNow,
        load: AgentLoad | None,
        now: float,
        *,
        recognised: bool,
        unread: bool = False,
        known: bool = True,
        client: str | None = None,
    ) -> Asked:
        """What `RuleSet.decide` asks. `recognised`: the visitor is the same one on its next page. `unread`:
        what is stored of it cannot be read or written now. `known`: its cookie has come back. `client` is the
        address of who asks."""

        def full(rate: float) -> float:
            return max(self._limits.until_free(*one) for one in _throttles(site, rate, client))

        late = None
        if recognised and not known:
            # A page without cookies does not ask again and again.
            again = KNOWN_SECONDS if page.seconds < KNOWN_MOST else None
            why = "the visitor's cookie has not come back, so that it could get no code"
            late = Refusal(why, again, by="offer")
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
                unread=unread,
                withdrawn=visitor.withdrawn,
                exposed=visitor.exposed,
                parts=self.parts,
                full=full,
                unable=partial(self._unable, site, now, recognised, late),
            ),
        )

    def _unable(
        self, site: SiteRuntime, now: float, recognised: bool, late: Refusal | None, rule: Rule
    ) -> Refusal | None:
        """Why an invite has nothing to offer now."""
        if (closed := unanswered(site.settings, rule, site.hours, now)) is not None:
            return closed
        if rule.offer is not None and late is not None:
            return late
        if rule.offer is not None and rule.offer_out == "nothing":
            if not recognised:
                return Refusal("without consent to be recognised the visitor gets no code", by="offer")
            if not self._offers.left(site, rule.offer):
                return Refusal(f"no code of the coupon {rule.offer} is left", by="offer")
        return None

    def changes(
        self, visitor: Visitor, page: PageNow, rule: Rule | None, steps: Mapping[str, int], text: str = ""
    ) -> Sequence[Change]:
        """What the visitor's record has to hold before it gets this invite, and of the `steps` that it came
        to; nothing where it does already. `text` is what the invite says, if that is the visitor's own."""
        found: list[Change] = []
        if rule is not None and rule.invites and not given(visitor, page, rule):
            found.append(Offered(visitor.offers, rule.name, page.view, text, visitor.visits))
        new = {key: bits for key, bits in steps.items() if bits & ~visitor.exposed.get(key, 0)}
        for key in going_on(visitor.exposed):
            new[key] = new.get(key, 0) | _WENT_ON
        if new:
            found.append(Exposed(new))
        return found

    def note(
        self,
        site: SiteRuntime,
        visitor: Visitor,
        asked: Asked,
        rule: Rule | None,
        now: float,
        client: str | None,
    ) -> None:
        """Write down how far the visitor came in experiments; `visitor` is the record before that, `client`
        the address of who asks."""
        held = site.invites.holdout
        for key in going_on(visitor.exposed):
            if (experiment := site.invites.by_key.get(key)) is not None:
                arm, times = _arm(experiment, visitor), {"went_on": now}
                self._exposures.add(site.name, experiment.rule, experiment.version, visitor.id, arm, times)
        for experiment, arm, bits in _reached(asked, rule):
            new = bits & ~visitor.exposed.get(experiment.key, 0)
            if not new:
                continue
            times = {step: now for place, step in enumerate(STEPS) if new & 1 << place}
            # With this the ledger adds the row, if it is not there or was deleted after its time.
            times["eligible"] = now
            stood = network = None
            if "assigned" in times:
                stood, network = _situation(visitor, now), self._network(client)
            which = (site.name, experiment.rule, experiment.version, visitor.id, arm)
            self._exposures.add(*which, times, stood, network)
            if experiment is held and arm == HELD_OUT:
                self._events.emit("held_out", site=site.name, visitor=visitor.id)
        if asked.throttled:
            self._events.notice("invites_throttled", site=site.name, key="throttle")

    def _network(self, client: str | None) -> str | None:
        """The pseudonym of the client's network; None where that says nothing of who it is."""
        network = network_of(client)
        return self._mark(client) if network is not None and is_of_clients(network) else None

    def note_new(
        self,
        site: SiteRuntime,
        visitor: Visitor,
        asked: Asked,
        rule: Rule | None,
        now: float,
        client: str | None,
    ) -> None:
        """The same for a visitor without a record: of one client only so many may be new."""
        if not asked.noted:
            return
        try:
            self._limits.take("visitors", site.name, client)
        except LimitedError:
            return
        self.note(site, visitor, asked, rule, now, client)

    def forget(self, site: SiteRuntime, visitor: str) -> None:
        """Write down nothing that waits of a visitor who refuses now."""
        self._exposures.forget(site.name, visitor)

    async def told(self, site: SiteRuntime, known: Known, rule: str, what: str, client: str | None) -> bool:
        """A browser tells that an invite was seen, dismissed or accepted: whether that is new. It is not for
        rules whose invite this visitor did not get, nor for the second time. Raises the errors of
        `Visitors.update`."""
        experiment = site.invites.experiment(rule)
        if experiment is None:
            return False
        now, before = self._clock.now(), None
        steps = Exposed({experiment.key: 1 << STEPS.index(what)})

        def happened(stored: Visitor | None) -> Sequence[Change]:
            nonlocal before
            before = offered(changed(stored, known.visitor, [known.restored], now).offers, rule)
            return [] if before is None else [Invited(rule, what), steps]

        found = await self._visitors.update(site, known, happened, client)
        after = offered(found.offers, rule)
        if before is None or after is None or _so_far(after) == _so_far(before):
            return False
        arm = _arm(experiment, found)
        if arm != NO_INVITE:
            self._exposures.add(site.name, rule, experiment.version, known.visitor, arm, {what: now})
        return True

    def gave(self, site: SiteRuntime, asked: Asked, rule: Rule, client: str | None) -> None:
        """Count an invite that goes out, for the throttle."""
        if (rate := asked.rate(rule)) is not None:
            for one in _throttles(site, rate, client):
                self._limits.crowded(*one)


def calls_back(site: Site, rule: Rule) -> bool:
    """Whether the form to be called comes in place of a number outside of the office hours."""
    if rule.closed is not None:
        return rule.closed == "callback"
    return site.callback is not None


def unanswered(site: Site, rule: Rule, hours: Hours, now: float) -> Refusal | None:
    """Why a rule has no number to show at a time: nobody is there to answer. The page asks again when the
    office hours begin."""
    if rule.action == "number" and not calls_back(site, rule) and not hours.open_at(now):
        return Refusal("outside of the office hours", by="hours")
    return None


def steps_of(asked: Asked, rule: Rule | None) -> dict[str, int]:
    """How far a decision brings the visitor in experiments, as bits of STEPS; `rule` is the one that acts."""
    return {experiment.key: bits for experiment, _, bits in _reached(asked, rule)}


def _so_far(offer: Offer) -> tuple[int, int, str]:
    """What became of an invite."""
    return offer.visit, offer.seen, offer.end


def _reached(asked: Asked, rule: Rule | None) -> Iterator[tuple[Experiment, str, int]]:
    """Of each experiment that the rules asked for; the hold-out is asked for by each of them."""
    found: dict[str, tuple[Experiment, str, int]] = {}
    for experiment, arm, assigned in asked.noted:
        before = found[experiment.rule][2] if experiment.rule in found else 1
        rendered = rule is not None and experiment.rule == rule.name
        bits = before | assigned << 1 | rendered << 2 | experiment.code(arm) << ARM_BIT
        found[experiment.rule] = (experiment, arm, bits)
    yield from found.values()


def given(visitor: Visitor, page: PageNow, rule: Rule) -> bool:
    """Whether the record has it that this page view shows the invite of this rule."""
    offer = offer_of(visitor.offers, rule.name, visitor.visits)
    return offer is not None and offer.on(page.view)


def _arm(experiment: Experiment, visitor: Visitor) -> str:
    """The arm that a visitor has."""
    return experiment.arm(visitor.id, kept_arm(visitor.exposed, experiment.key))


def _situation(visitor: Visitor, now: float) -> Situation:
    """How the visitor stands."""
    cart = visitor.cart.get("value"), visitor.cart.get("currency")
    # Without the one the other says nothing.
    value, currency = cart if all(cart) else (None, None)
    return Situation(max(0, round(now - visitor.visit_at)), visitor.visits, value, currency)


def _throttles(site: SiteRuntime, rate: float, client: str | None) -> Iterator[tuple[str, Rate]]:
    """What an invite counts for: the site, and the network of the client."""
    yield f"invites {site.name}", Rate(max(1.0, rate), MINUTE)
    yield from parts_of(client, f"invites {site.name}", Rate(max(OF_CLIENT, rate / 4), MINUTE))


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


class RuleEnds:
    """Reports rules that end by themselves: from then on nothing else would tell that they are gone."""

    def __init__(self, sites: Sites, events: Events, clock: Clock) -> None:
        self._sites = sites
        self._events = events
        self._clock = clock
        self._until = clock.now()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(MINUTE)
            self.report()

    def report(self) -> None:
        """Report those that have ended since the last time."""
        since, self._until = self._until, self._clock.now()
        for site in self._sites.table.settings.sites:
            rules = self._sites.rules(site.name, having='"ends"')
            if not (ending := [rule for rule in rules if rule.ends is not None and rule.enabled]):
                continue
            zone = ZoneInfo(site.time_zone)
            for rule in ending:
                assert rule.ends is not None
                if since < moment(rule.ends, zone, end=True) <= self._until:
                    self._events.notice("rule_ended", site=site.name, key=rule.name)
