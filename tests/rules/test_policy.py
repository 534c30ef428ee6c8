"""Whether a rule whose lines are true may act, and the one reason why not."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from clew.chat.hours import OfficeHours
from clew.referral.invites import Invited, Offer, Offered, offer_of
from clew.referral.visitor import VISIT_GAP, Page, Viewed, Visitor, changed
from clew.rules.experiments import HELD_OUT, NO_INVITE
from clew.rules.policy import Asked, Case, Load, Policy
from clew.rules.ranked import Refusal
from clew.settings.model import Hours, Rule, Site
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = 1_800_000_000.0
BERLIN = "Europe/Berlin"


def policy(*rules: dict[str, Any], zone: str = "UTC", **invites: Any) -> Policy:
    own = [{"name": "r", "action": "invite", **rule} for rule in rules or ({},)]
    site = Site.model_validate({"name": "shop", "rules": own, "invites": {"holdout": 0, **invites}})
    return Policy(site, ZoneInfo(zone), lambda week: OfficeHours(Hours.model_validate(week), zone))


def rule_of(name: str = "r", **more: Any) -> Rule:
    return Rule.model_validate({"name": name, "action": "invite", **more})


def case(**more: Any) -> Case:
    return Case(**{"visitor": "v" * 26, "view": "view-0001", "now": NOW, **more})


def asked(of: Policy, rule: Rule | None = None, *, waits: bool = False, **more: Any) -> Refusal | None:
    return Asked(of, case(**more))(rule or rule_of(), waits)


def why(of: Policy, rule: Rule | None = None, **more: Any) -> str | None:
    found = asked(of, rule, **more)
    return found.why if found is not None else None


def offer(rule: str = "r", ago: float = 100.0, **more: Any) -> Offer:
    at = NOW - ago
    return Offer(**{"rule": rule, "visit": 1, "at": at, "last_at": at, "pages": 1, **more})


def test_whom_nothing_spares_may_be_invited() -> None:
    assert why(policy()) is None


class TestSpared:
    def test_nobody_is_invited_in_a_talk_or_after_its_order(self) -> None:
        assert why(policy(), talks=True) == "in a talk"
        assert why(policy(), on_order=True, ordered=True) == "on the page that showed the order"
        assert why(policy(), ordered=True) == "the visitor has ordered in this visit"

    def test_nobody_is_invited_to_an_empty_desk_if_the_shop_says_so(self) -> None:
        away, there = Load(False, 0, True), Load(True, 3, False)
        of = policy(unattended=False)
        assert asked(of, load=away) == Refusal("nobody is there", 60.0, "agents")
        assert why(of, rule_of(forced=True), load=away) == "nobody is there"
        for load in (there, None):
            assert why(of, load=load) is None
        assert why(policy(), load=away) is None
        assert why(of, rule_of(action="callback"), load=away) is None

    def test_a_rule_of_the_stage_after_the_sale_invites_after_the_order(self) -> None:
        """But not over the order itself."""
        after = rule_of(stage="after_sale")
        assert why(policy({"stage": "after_sale"}), after, ordered=True) is None
        assert "showed the order" in str(why(policy({"stage": "after_sale"}), after, on_order=True))

    def test_rules_that_invite_nobody_are_not_held_back(self) -> None:
        hides = rule_of(action="hide")
        of = policy({"action": "hide"}, holdout=50, throttle=0.1)
        busy = Load(online=True, free=0, busy=True)
        assert why(of, hides, talks=True, ordered=True, load=busy, offers=(offer(end="dismissed"),)) is None

    def test_dismissals_and_ignored_invites_are_counted_apart(self) -> None:
        of = policy({}, {"name": "s"}, {"name": "t"}, dismissals=2, ignored=2, per_visit=9)
        dismissed, seen = offer("s", end="dismissed", seen=1), offer("s", seen=1)
        last = offer("t", seen=1)
        assert why(of, offers=(dismissed, last)) is None
        assert why(of, offers=(dismissed, offer("t", end="dismissed"))) == "2 invites dismissed in this visit"
        # The last one is not over yet.
        assert why(of, offers=(seen, last)) is None
        assert why(of, offers=(seen, offer("t", seen=3, pages=3))) == "2 invites ignored in this visit"
        assert why(of, visit=2, offers=(dismissed, offer("t", end="dismissed"))) is None

    def test_the_limits_name_what_they_count(self) -> None:
        of = policy({}, per_visit=2, per_visitor=3, days=7, per_page=1)
        two = (offer("s"), offer("t"))
        assert why(of, offers=two) == "2 invites in this visit"
        assert why(of, visit=2, offers=(*two, offer("u"))) == "3 invites within 7 days"
        old = offer("u", ago=7 * 86400 + 1)
        assert why(of, visit=2, offers=(*two, old)) is None
        shown = offer("s", views=("view-0001",))
        assert why(of, offers=(shown,)) == "1 invite on this page"

    def test_a_rule_has_limits_of_its_own(self) -> None:
        own = {"per_visitor": 1, "days": 30, "pages": 1}
        of, rule = policy(own), rule_of(**own)
        assert why(of, rule, visit=2, offers=(offer(ago=29 * 86400),)) == "1 invite of it within 30 days"
        assert why(of, rule, visit=2, offers=(offer(ago=31 * 86400),)) is None
        assert why(of, rule, offers=(offer(),)) == "seen on 1 page of this visit"

    def test_an_invite_goes_on_on_the_page_that_shows_it(self) -> None:
        shown = offer(pages=3, views=("view-0001",), ago=1)
        assert why(policy(), offers=(shown,)) is None
        assert why(policy(), view="view-0002", offers=(shown,)) == "seen on 3 pages of this visit"

    def test_between_two_invites_is_a_pause_that_ends(self) -> None:
        found = asked(policy(), offers=(offer("s", ago=12),))
        assert found == Refusal("12 s since another invite, the pause is 30 s", 18.0, "pause")
        assert asked(policy(), offers=(offer("s", ago=30),)) is None
        # The same invite on the next page is no further one.
        assert asked(policy(), view="view-0002", offers=(offer(ago=1, views=("view-0001",)),)) is None

    def test_a_clock_that_was_set_back_ends_no_limit_and_makes_no_pause_of_hours(self) -> None:
        of = policy({}, per_visitor=2, per_visit=5)
        later = offer("s", ago=-3600)
        assert why(of, offers=(later,)) is None
        assert why(of, visit=2, offers=(later, later)) == "2 invites within 7 days"


class TestTimes:
    def moment(self, text: str, zone: str = BERLIN) -> float:
        return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()

    def refused(self, at: float, **more: Any) -> str | None:
        return why(policy(more, zone=BERLIN), rule_of(**more), now=at)

    def test_a_rule_starts_and_ends_by_itself_in_the_time_zone_of_the_site(self) -> None:
        """feature A6"""
        more = {"starts": "2026-12-01", "ends": "2026-12-31"}
        assert self.refused(self.moment("2026-11-30T23:59"), **more) == "it starts on 2026-12-01 00:00"
        assert self.refused(self.moment("2026-12-01T00:00"), **more) is None
        # A day counts until it is over.
        assert self.refused(self.moment("2026-12-31T23:59"), **more) is None
        assert self.refused(self.moment("2027-01-01T00:00"), **more) == "it ended on 2027-01-01 00:00"

    def test_a_time_with_an_offset_is_that_time_everywhere(self) -> None:
        more = {"ends": "2026-12-24T18:00:00+00:00"}
        assert self.refused(self.moment("2026-12-24T18:59"), **more) is None
        assert self.refused(self.moment("2026-12-24T19:00"), **more) == "it ended on 2026-12-24 19:00"

    def test_the_start_is_asked_for_again_if_it_is_near(self) -> None:
        more = {"starts": "2026-12-01"}
        of, begin = policy(more, zone=BERLIN), self.moment("2026-12-01T00:00")
        near, far = (asked(of, rule_of(**more), now=begin - ahead) for ahead in (90, 7200))
        assert near is not None
        assert near.seconds == 90
        assert far is not None
        assert far.seconds is None

    def test_on_the_night_on_which_an_hour_comes_twice(self) -> None:
        """It begins with the first 02:30 and ends with the second."""
        first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()
        assert self.refused(first - 1, starts="2026-10-25T02:30:00") is not None
        assert self.refused(first, starts="2026-10-25T02:30:00") is None
        assert self.refused(first + 3599, ends="2026-10-25T02:30:00") is None
        assert self.refused(first + 3600, ends="2026-10-25T02:30:00") is not None

    def test_on_the_night_on_which_an_hour_is_left_out(self) -> None:
        """02:30 is then 03:30 of the summer, half an hour after 01:59:59 has passed."""
        moment = datetime(2026, 3, 29, 1, 30, tzinfo=UTC).timestamp()
        assert self.refused(moment - 1, starts="2026-03-29T02:30:00") is not None
        assert self.refused(moment, starts="2026-03-29T02:30:00") is None
        assert self.refused(moment - 1, ends="2026-03-29T02:30:00") is None
        assert self.refused(moment, ends="2026-03-29T02:30:00") is not None

    def test_hours_of_the_week(self) -> None:
        more = {"hours": {"fri": ["18:00-02:00"]}}
        assert self.refused(self.moment("2026-11-27T17:59"), **more) == (
            "outside its hours; they begin on 2026-11-27 18:00"
        )
        assert self.refused(self.moment("2026-11-28T01:59"), **more) is None
        assert self.refused(self.moment("2026-11-28T02:00"), **more) is not None
        assert self.refused(self.moment("2026-11-28T12:00"), hours={}) == "outside its hours"

    def test_also_rules_that_invite_nobody_have_times(self) -> None:
        more = {"action": "hide", "ends": "2026-12-31"}
        assert "it ended" in str(self.refused(self.moment("2027-02-01T00:00"), **more))


class TestAgents:
    def test_the_default_rule_is_there_while_agents_have_time(self) -> None:
        """feature E8"""
        of, rule = policy({"default": True}), rule_of(default=True)
        assert why(of, rule, load=Load(online=True, free=3, busy=False)) is None
        assert "too busy" in str(why(of, rule, load=Load(online=True, free=1, busy=True)))
        assert "no agent is there" in str(why(of, rule, load=Load(online=False, free=0, busy=False)))
        assert why(of, rule) is None  # it is not known who is there

    def test_invites_stop_when_no_place_is_free_but_forced_ones_go_on(self) -> None:
        """feature E9"""
        full = Load(online=True, free=0, busy=True)
        assert why(policy(), load=full) == "the agents have 0 free places"
        assert why(policy({"forced": True}), rule_of(forced=True), load=full) is None
        assert why(policy(), load=Load(online=False, free=0, busy=False)) is None
        of = policy(reserved=2)
        assert "2 of them kept for forced rules" in str(why(of, load=Load(online=True, free=2, busy=False)))

    def test_the_free_places_say_how_many_invites_there_are_in_a_minute(self) -> None:
        """feature B28"""
        rates: list[float] = []

        def full(rate: float) -> float:
            rates.append(rate)
            return 7.5

        load = Load(online=True, free=3, busy=False)
        found = asked(policy(throttle=2, reserved=1), load=load, full=full)
        assert found == Refusal("4 invites in a minute are enough for 2 free places", 7.5, "throttle")
        assert rates == [4]
        shown = offer(views=("view-0001",))
        assert asked(policy(throttle=2), load=load, full=full, offers=(shown,)) is None

    def test_a_share_of_the_visitors_is_the_same_at_each_visit(self) -> None:
        of, rule = policy({"share": 25}), rule_of(share=25)
        chosen = [v for v in (f"visitor-{n}" for n in range(4000)) if why(of, rule, visitor=v) is None]
        assert 0.22 < len(chosen) / 4000 < 0.28
        assert all(why(of, rule, visitor=v, visit=9) is None for v in chosen[:50])


class TestExperiments:
    def test_the_hold_out_gets_no_invite_of_any_rule_and_is_noted(self) -> None:
        of = policy({}, {"name": "s"}, holdout=50)
        held = next(v for v in (f"v{n}" for n in range(99)) if of.holdout.arm(v) == HELD_OUT)
        found = Asked(of, case(visitor=held))
        for name in "rs":
            refusal = found(rule_of(name), False)
            assert refusal is not None
            assert refusal.why == "the visitor is in the hold-out of 50 %"
        # The rules' own experiments know nothing of it.
        assert {(e.rule, arm, assigned) for e, arm, assigned in found.noted} == {("", HELD_OUT, True)}

    def test_an_arm_without_an_invite_leaves_the_visitor_to_the_other_rules(self) -> None:
        of = policy({"no_invite": 50}, {"name": "s"})
        one = next(v for v in (f"v{n}" for n in range(99)) if of.own["r"].experiment.arm(v) == NO_INVITE)
        found = Asked(of, case(visitor=one))
        refusal = found(rule_of(no_invite=50), False)
        assert refusal is not None
        assert refusal.why == "the visitor is in the arm without an invite (50 %)"
        assert found(rule_of("s"), False) is None
        assert [(e.rule, arm) for e, arm, _ in found.noted] == [("r", NO_INVITE), ("s", "invite")]

    def test_who_is_spared_anyway_is_in_no_experiment(self) -> None:
        of = policy(holdout=50)
        found = Asked(of, case(talks=True))
        assert found(rule_of(), False) is not None
        assert found.noted == []

    def test_who_only_waits_for_time_is_in_no_experiment_yet(self) -> None:
        """Else the hold-out would have more eligible visitors than the others."""
        of = policy(holdout=50)
        held = next(v for v in (f"v{n}" for n in range(99)) if of.holdout.arm(v) == HELD_OUT)
        found = Asked(of, case(visitor=held))
        assert found(rule_of(), True) is None
        assert found.noted == []

    def test_who_may_not_be_recognised_is_in_no_experiment(self) -> None:
        of = policy({"no_invite": 99}, holdout=50)
        found = Asked(of, case(recognised=False))
        assert found(rule_of(no_invite=99), False) is None
        assert (found.noted, found.arms) == ([], {})

    def test_without_a_place_a_visitor_is_eligible_but_not_assigned(self) -> None:
        found = Asked(policy(holdout=5), case(load=Load(online=True, free=0, busy=True)))
        assert found(rule_of(), False) is not None
        assert {assigned for _, _, assigned in found.noted} == {False}


def test_a_visitors_standing_has_limits_with_counts_and_its_arms() -> None:
    of = policy({"no_invite": 50}, {"name": "s"}, zone=BERLIN, holdout=50, throttle=4)
    one = next(v for v in (f"v{n}" for n in range(99)) if of.holdout.arm(v) != HELD_OUT)
    offers = (offer("s", ago=40, pages=2, seen=1), offer("old", ago=8 * 86400, visit=0, end="dismissed"))
    asked_of = Asked(of, case(visitor=one, offers=offers, load=Load(online=True, free=3, busy=False)))
    experiment = of.experiment("r")
    assert experiment is not None
    assert asked_of.standing() == (
        "hold-out of 50 %: no",
        "invites in this visit: 1 of 3",
        "  s, 2027-01-15 08:59, on 2 pages, seen",
        "invites within 7 days: 1 of 6",
        "dismissed in this visit: 0 of 1, ignored: 0 of 2",
        "the last invite was 40 s ago, the pause is 30 s",
        "places for invites: 3, 12 invites a minute",
        f"arm of r: {experiment.arm(one)}",
    )


def test_an_invite_of_the_future_hides_no_pause() -> None:
    of = policy({}, {"name": "s"}, {"name": "t"})
    assert asked(of, offers=(offer("s", ago=-600.0), offer("t", ago=12.0))) is not None


RULES = [{"name": name} for name in "abcd"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["view", "again", "seen", "dismissed", "accepted", "wait", "leave", "back"]),
        st.integers(0, 2),  # the tab
        st.sampled_from("abcd"),
        st.integers(0, 40),
    ),
    max_size=60,
)


@given(STEPS, st.integers(1, 3), st.integers(1, 5), st.integers(1, 2), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_the_limits_hold_for_any_order_of_events_in_several_tabs(
    steps: list[tuple[str, int, str, int]],
    per_visit: int,
    per_visitor: int,
    per_page: int,
    dismissals: int,
    ignored: int,
) -> None:
    """Each tab decides by what it read; a claim that comes too late is not written. Also if the clock is set
    back between."""
    limits = {"per_visit": per_visit, "per_visitor": per_visitor, "per_page": per_page}
    of = policy(*RULES, **limits, dismissals=dismissals, ignored=ignored, pause=10, pages=2)
    now, number = NOW, 0
    visitor = changed(None, "v", [Viewed(Page("view-0-0", now, "/"))], now)
    views = {0: "view-0-0"}
    read = {0: visitor}
    for what, tab, rule, seconds in steps:
        if what in ("view", "again"):
            if what == "view" or tab not in views:
                number += 1
                views[tab] = f"view-{tab}-{number}"
            visitor = changed(visitor, "v", [Viewed(Page(views[tab], now, "/"))], now)
            # It decides by what another tab may change meanwhile.
            read[tab], stale = visitor, read.get((tab + 1) % 3, visitor)
            for found in (stale, visitor):
                visitor = _invited(of, found, visitor, rule, views[tab], now)
        elif what in ("seen", "dismissed", "accepted"):
            if offer_of(visitor.offers, rule, visitor.visits) is not None:
                visitor = changed(visitor, "v", [Invited(rule, what)], now)
        else:
            now += {"wait": seconds, "leave": VISIT_GAP + 1, "back": -seconds * 60}[what]
        _keeps_its_limits(visitor, per_visit, per_page)
        assert len(visitor.offers) <= 30


def _invited(of: Policy, found: Visitor, stored: Visitor, rule: str, view: str, now: float) -> Visitor:
    """The record after a tab that read `found` gives an invite, where the policy lets it."""
    moment = case(view=view, now=now, visit=found.visits, offers=found.offers)
    refusal = Asked(of, moment)(rule_of(rule), False)
    known = offer_of(found.offers, rule, found.visits)
    if refusal is not None or (known is not None and known.on(view)):
        return stored
    limits = of.invites
    after = changed(stored, "v", [Offered(found.offers, rule, view, "", found.visits)], now)
    if after.offers != stored.offers and offer_of(stored.offers, rule, stored.visits) is None:
        lately = [one for one in stored.offers if one.at > now - limits.days * 86400]
        assert len(lately) < limits.per_visitor
        gaps = [now - one.last_at for one in stored.offers]
        assert not any(0 <= gap < limits.pause for gap in gaps)
        assert sum(one.end == "dismissed" for one in stored.invited) < limits.dismissals
    return after


def _keeps_its_limits(visitor: Visitor, per_visit: int, per_page: int) -> None:
    for visit in {one.visit for one in visitor.offers}:
        own = [one for one in visitor.offers if one.visit == visit]
        assert len(own) == len({one.rule for one in own}) <= per_visit
        assert all(one.seen <= one.pages <= 2 for one in own)
        for view in {view for one in own for view in one.views}:
            assert sum(one.on(view) for one in own) <= per_page


@pytest.mark.parametrize("order", [("dismissed", "accepted"), ("accepted", "dismissed")])
def test_an_invite_that_two_tabs_answered_was_accepted(order: tuple[str, str]) -> None:
    page = Viewed(Page("view-0001", NOW, "/"))
    visitor = changed(None, "v", [page, Offered((), "r", "view-0001")], NOW)
    done = changed(visitor, "v", [Invited("r", what) for what in order], NOW)
    assert (done.accepted, done.dismissed, done.dismissals) == (("r",), (), 0)
