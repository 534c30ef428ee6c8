"""Whether a rule whose lines are all true may act for a visitor now, or the one reason why not. No I/O.

The order of the reasons: the rule's own times; then what spares the visitor (a conversation, an order, what
it dismissed and ignored, the limits, the pause); then the share; then whether the agents have time, and only
then the experiments. So whoever is compared could have been invited at that moment.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from msgspec import Struct

from ..referral.invites import Offer, ignored, kept_arm, offer_of
from ..settings.model import Rule, Site, Week
from .experiments import HELD_OUT, NO_INVITE, Experiment, experiment_of, holdout_of, place_of, share_salt
from .moments import HORIZON
from .ranked import Refusal

DAY: Final = 86400.0
BUSY_SECONDS: Final = 60.0
"""After which a page asks again whether the agents have time, or the visit store answers."""


class Hours(Protocol):
    """Weekly hours; see `chat/hours.py`."""

    def open_at(self, now: float) -> bool:
        """Whether a moment is within them."""

    def opens_at(self, now: float) -> float | None:
        """When they begin, if they have not."""


class Load(Struct, frozen=True):
    """The agents: whether somebody is there, how many conversations more they can take, and whether they have
    no time for the default rule."""

    online: bool
    free: int
    busy: bool


class Case(Struct, frozen=True):
    """Whom a decision is about, and when. `visit` is the number of the visit; `ordered` is whether it has
    ordered in it, `on_order` whether this page showed the order. `load` is None if it is not known who is
    there. `recognised`: the visitor is the same on its next page. `withdrawn` are the events that
    have ended invites in the visit. `exposed` are the experiments of its record, `parts` the present ones of
    the arms of adaptive rules, by key. `unread`: the record cannot be read or written
    now. `full` says, for so many invites a minute, after how many seconds there may be one more; 0 for now.
    `unable` says of an invite why it has nothing to offer now: a number that nobody answers."""

    visitor: str
    view: str
    now: float
    visit: int = 1
    offers: tuple[Offer, ...] = ()
    talks: bool = False
    ordered: bool = False
    on_order: bool = False
    load: Load | None = None
    recognised: bool = True
    unread: bool = False
    withdrawn: tuple[str, ...] = ()
    exposed: Mapping[str, int] = {}
    parts: Mapping[str, Sequence[float]] = {}
    full: Callable[[float], float] = lambda rate: 0.0
    unable: Callable[[Rule], Refusal | None] = lambda rule: None


class _Own:
    """What the policy knows of a rule."""

    def __init__(self, site: Site, rule: Rule, zone: ZoneInfo, hours: Callable[[Week], Hours]) -> None:
        self.starts = None if rule.starts is None else moment(rule.starts, zone)
        self.ends = None if rule.ends is None else moment(rule.ends, zone, end=True)
        self.hours = None if rule.hours is None else hours(rule.hours)
        self.share = None if rule.share >= 100 else (rule.share / 100, share_salt(site.name, rule.name))
        self.experiment = experiment_of(site.name, rule) if rule.invites else None

    def days_left(self, now: float) -> float | None:
        """For how many days the rule still runs; None if it does not end by itself."""
        if self.ends is None:
            return None
        return max(0.0, self.ends - max(now, self.starts or now)) / DAY


class Policy:
    """The policy of a site. `hours` compiles weekly hours."""

    def __init__(self, site: Site, zone: ZoneInfo, hours: Callable[[Week], Hours]) -> None:
        self.invites = site.invites
        self.zone = zone
        self.holdout = holdout_of(site.name, site.invites)
        self.own = {rule.name: _Own(site, rule, zone, hours) for rule in site.rules}
        every = (self.holdout, *(one.experiment for one in self.own.values() if one.experiment is not None))
        self.by_key: Mapping[str, Experiment] = {one.key: one for one in every}
        self.pages: Mapping[str, int] = {r.name: r.pages for r in site.rules if r.pages is not None}

    def experiment(self, rule: str) -> Experiment | None:
        """The experiment of a rule; None if it invites nobody, or is not there."""
        own = self.own.get(rule)
        return None if own is None else own.experiment

    def ended(self, rule: str, now: float) -> bool:
        """Whether a rule has ended by itself."""
        ends = self.own[rule].ends
        return ends is not None and now >= ends

    def at_any_time(self) -> None:
        """Let each rule act as if it had begun and would not end."""
        for own in self.own.values():
            own.starts = own.ends = None


class Asked:
    """Is asked of each rule, by `RuleSet.decide`. `noted` has how far the visitor came: the experiment, its
    arm, and whether there was also an agent for it (then it is `assigned`)."""

    def __init__(self, policy: Policy, case: Case) -> None:
        self._policy = policy
        self._case = case
        self._common: Refusal | bool | None = False
        self.noted: list[tuple[Experiment, str, bool]] = []
        self.arms: dict[str, str] = {}
        self.throttled = False
        self._held: str | None = None

    def standing(self) -> tuple[str, ...]:
        """See `standing`."""
        return standing(self._policy, self._case)

    def __call__(self, rule: Rule, waits: bool) -> Refusal | None:
        """Why the rule may not act, or None. One that waits is not assigned yet."""
        own, now = self._policy.own[rule.name], self._case.now
        if (refusal := self._times(own, now)) is not None:
            return refusal
        if rule.default and (refusal := self._default()) is not None:
            return refusal
        if own.experiment is None:
            return self._shared(own)
        return (
            self._case.unable(rule)
            or self._spared(rule)
            or self._own_limits(rule)
            or self._shared(own)
            or (None if waits else self._assigned(rule, own.experiment))
        )

    def rate(self, rule: Rule) -> float | None:
        """How many invites a minute there may be of rules like this one; None for any number, or where the
        page shows it already."""
        case, limits = self._case, self._policy.invites
        if rule.forced or not limits.throttle or case.load is None or not case.load.online:
            return None
        found = offer_of(case.offers, rule.name, case.visit)
        if found is not None and found.on(case.view):
            return None
        return max(0, case.load.free - limits.reserved) * limits.throttle

    def _times(self, own: _Own, now: float) -> Refusal | None:
        zone = self._policy.zone
        if own.starts is not None and now < own.starts:
            return _until(f"it starts on {_local(own.starts, zone)}", own.starts - now, "starts")
        if own.ends is not None and now >= own.ends:
            return Refusal(f"it ended on {_local(own.ends, zone)}", by="ends")
        if own.hours is not None and not own.hours.open_at(now):
            opens = own.hours.opens_at(now)
            if opens is None:
                return Refusal("outside its hours", by="hours")
            why = f"outside its hours; they begin on {_local(opens, zone)}"
            return _until(why, opens - now, "hours")
        return None

    def _default(self) -> Refusal | None:
        load = self._case.load
        if load is not None and not load.online:
            return Refusal("no agent is there for the default rule", BUSY_SECONDS, "agents")
        if load is not None and load.busy:
            return Refusal("the agents are too busy for the default rule", BUSY_SECONDS, "agents")
        return None

    def _shared(self, own: _Own) -> Refusal | None:
        if own.share is None or place_of(own.share[1], self._case.visitor) < own.share[0]:
            return None
        return Refusal(f"the visitor is not in the share of {own.share[0]:.3g} of all", by="share")

    # -- invites

    def _spared(self, rule: Rule) -> Refusal | None:
        case = self._case
        if case.unread:
            why = "what it dismissed, and how often it was invited, is not known: the visit store fails"
            return Refusal(why, BUSY_SECONDS, "store")
        if case.talks:
            return Refusal("in a talk", by="conversation")
        if case.on_order:
            return Refusal("on the page that showed the order", by="order")
        if case.ordered and rule.stage != "after_sale":
            return Refusal("the visitor has ordered in this visit", by="order")
        if self._common is False:
            self._common = self._stopped()
        assert not isinstance(self._common, bool)
        return self._common

    def _stopped(self) -> Refusal | None:
        """What stops all invites in this visit."""
        case, limits = self._case, self._policy.invites
        dismissed = sum(one.visit == case.visit and one.end == "dismissed" for one in case.offers)
        if dismissed >= limits.dismissals:
            return Refusal(f"{_invites(dismissed)} dismissed in this visit", by="dismissals")
        passed = ignored(case.offers, case.visit, self._policy.pages, limits.pages)
        if passed >= limits.ignored:
            return Refusal(f"{_invites(passed)} ignored in this visit", by="ignored")
        return None

    def _own_limits(self, rule: Rule) -> Refusal | None:
        """How often it was there in this visit; one that is not over yet is no further invite."""
        case, limits = self._case, self._policy.invites
        if rule.cancel_on and case.withdrawn:
            by = [name for name in rule.cancel_on if name in case.withdrawn]
            if by:
                return Refusal(f"withdrawn in this visit by {' and '.join(by)}", by="cancel_on")
        found = offer_of(case.offers, rule.name, case.visit)
        if found is None:
            return self._another(rule)
        if found.end:
            return Refusal(f"{found.end} in this visit", by=found.end)
        most = self._policy.pages.get(rule.name, limits.pages)
        if found.pages >= most and not found.on(case.view):
            return Refusal(f"seen on {most} {'page' if most == 1 else 'pages'} of this visit", by="pages")
        return None if found.on(case.view) else self._on_page() or self._paused(rule.name)

    def _another(self, rule: Rule) -> Refusal | None:
        case, limits = self._case, self._policy.invites
        here = sum(one.visit == case.visit for one in case.offers)
        if here >= limits.per_visit:
            return Refusal(f"{_invites(here)} in this visit", by="per_visit")
        days = rule.days or limits.days
        if rule.per_visitor is not None:
            since = case.now - days * DAY
            own = sum(one.rule == rule.name and one.at > since for one in case.offers)
            if own >= rule.per_visitor:
                return Refusal(f"{_invites(own)} of it within {_days(days)}", by="per_visitor")
        since = case.now - limits.days * DAY
        lately = sum(one.at > since for one in case.offers)
        if lately >= limits.per_visitor:
            return Refusal(f"{_invites(lately)} within {_days(limits.days)}", by="per_visitor")
        return self._on_page() or self._paused(rule.name)

    def _on_page(self) -> Refusal | None:
        case, most = self._case, self._policy.invites.per_page
        here = sum(one.visit == case.visit and one.on(case.view) for one in case.offers)
        return Refusal(f"{_invites(here)} on this page", by="per_page") if here >= most else None

    def _paused(self, rule: str) -> Refusal | None:
        """The pause since another invite. One from the future was noted before the clock was set back."""
        case, pause = self._case, self._policy.invites.pause
        others = (one.last_at for one in case.offers if (one.visit, one.rule) != (case.visit, rule))
        passed = case.now - max((at for at in others if at <= case.now), default=0.0)
        if passed >= pause:
            return None
        why = f"{passed:.0f} s since another invite, the pause is {pause} s"
        return Refusal(why, pause - passed, "pause")

    # -- agents and experiments

    def _assigned(self, rule: Rule, experiment: Experiment) -> Refusal | None:
        case, holdout = self._case, self._policy.holdout
        refusal = self._attended(rule) or (None if rule.forced else self._capacity(rule))
        if not case.recognised:
            # It would get another arm on each page.
            return refusal
        assigned = refusal is None
        if self._held is None:
            self._held = holdout.arm(case.visitor)
        if self._policy.invites.holdout:
            self.noted.append((holdout, self._held, assigned))
        if self._held == HELD_OUT:
            why = f"the visitor is in the hold-out of {self._policy.invites.holdout:g} %"
            return refusal or Refusal(why, by="holdout")
        arm = _arm(experiment, case)
        self.noted.append((experiment, arm, assigned))
        if arm == NO_INVITE:
            why = f"the visitor is in the arm without an invite ({rule.no_invite:g} %)"
            return refusal or Refusal(why, by="no_invite")
        if assigned:
            self.arms[rule.name] = arm
        return refusal

    def _attended(self, rule: Rule) -> Refusal | None:
        """Nobody there, and the shop does not want what is then left. Calls are for then."""
        load = self._case.load
        if self._policy.invites.unattended or load is None or load.online:
            return None
        return (
            Refusal("nobody is there", BUSY_SECONDS, "agents") if rule.action in ("invite", "open") else None
        )

    def _capacity(self, rule: Rule) -> Refusal | None:
        """Invites only as fast as there are places. One that the page shows already stays."""
        rate, limits, load = self.rate(rule), self._policy.invites, self._case.load
        if rate is None or load is None:
            return None
        if not rate:
            kept = f", {limits.reserved} of them kept for forced rules" if limits.reserved else ""
            return Refusal(f"the agents have {load.free} free places{kept}", BUSY_SECONDS, "agents")
        if (wait := self._case.full(rate)) > 0:
            self.throttled = True
            places = load.free - limits.reserved
            why = f"{rate:g} invites in a minute are enough for {places} free places"
            return Refusal(why, wait, "throttle")
        return None


def standing(policy: Policy, case: Case) -> tuple[str, ...]:
    """How a visitor stands with the limits and experiments, a line for each, for people."""
    limits, zone = policy.invites, policy.zone
    here = [one for one in case.offers if one.visit == case.visit]
    lately = sum(one.at > case.now - limits.days * DAY for one in case.offers)
    dismissed = sum(one.end == "dismissed" for one in here)
    passed = ignored(case.offers, case.visit, policy.pages, limits.pages)
    held = policy.holdout.arm(case.visitor) == HELD_OUT
    lines = [
        f"hold-out of {limits.holdout:g} %: {'yes, no rule invites this visitor' if held else 'no'}",
        f"invites in this visit: {len(here)} of {limits.per_visit}",
        *(f"  {one.rule}, {_local(one.at, zone)}, {_fate(one)}" for one in here),
        f"invites within {_days(limits.days)}: {lately} of {limits.per_visitor}",
        f"dismissed in this visit: {dismissed} of {limits.dismissals}, ignored: {passed} of {limits.ignored}",
    ]
    if case.offers:
        passed_seconds = case.now - max(one.last_at for one in case.offers)
        lines.append(f"the last invite was {passed_seconds:.0f} s ago, the pause is {limits.pause} s")
    if case.load is not None and case.load.online and limits.throttle:
        places = max(0, case.load.free - limits.reserved)
        lines.append(f"places for invites: {places}, {places * limits.throttle:g} invites a minute")
    for name, own in policy.own.items():
        if own.experiment is not None and len(own.experiment.arms) > 1:
            lines.append(f"arm of {name}: {_arm(own.experiment, case)}")
    return tuple(lines)


def _arm(experiment: Experiment, case: Case) -> str:
    key = experiment.key
    return experiment.arm(case.visitor, kept_arm(case.exposed, key), case.parts.get(key, ()))


def _fate(one: Offer) -> str:
    pages = f"on {one.pages} page{'' if one.pages == 1 else 's'}"
    return f"{pages}, {one.end or ('seen' if one.seen else 'not seen')}"


def moment(at: date | datetime, zone: ZoneInfo, *, end: bool = False) -> float:
    """A day or time of the settings in unix seconds. As an end, a day counts until it is over. Of an hour
    that comes twice the first counts as a beginning, the second as an end; one that is left out counts as the
    one after it."""
    if not isinstance(at, datetime):
        at = datetime.combine(at + timedelta(days=1) if end else at, time())
    if at.tzinfo is not None:
        return at.timestamp()
    local = at.replace(tzinfo=zone)
    if not end:
        return local.timestamp()
    return max(local.timestamp(), local.replace(fold=1).timestamp())


def _until(why: str, seconds: float, by: str) -> Refusal:
    return Refusal(why, seconds if seconds <= HORIZON else None, by)


def _local(at: float, zone: ZoneInfo) -> str:
    return f"{datetime.fromtimestamp(at, zone):%Y-%m-%d %H:%M}"


def _invites(count: int) -> str:
    return f"{count} invite{'' if count == 1 else 's'}"


def _days(count: int) -> str:
    return f"{count} day{'' if count == 1 else 's'}"
