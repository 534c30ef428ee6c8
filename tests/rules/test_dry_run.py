"""Rules tried on recorded page views: every figure against one that is counted second by second."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from clew.chat.hours import OfficeHours
from clew.rules.dry_run import DryRun, PageView, Sampled, dry_run
from clew.rules.policy import Policy
from clew.rules.ruleset import RuleSet
from clew.rules.simulated import Answers, Simulated
from clew.rules.suggestions import LEAST, suggest
from clew.settings.model import Hours, Rule, Site

DAYS = 4.0
AT = 1_700_000_000.0
# In the order in which they are asked.
RULES: Sequence[dict[str, Any]] = [
    {"name": "cart", "when": ["page.type == 'cart'", "cart.value > 50.0"], "action": "show", "priority": 9},
    {"name": "slow", "when": ["visit.pages >= 2"], "wait_page": "20s", "action": "invite", "priority": 5},
    {"name": "young", "when": ["page.seconds < 10", "page.type == 'home'"], "action": "invite"},
    {"name": "off", "action": "invite", "enabled": False},
    {"name": "rest", "wait": "60s", "action": "invite", "default": True, "no_invite": 10},
]
ORDER = ("cart", "slow", "young", "rest")


def traffic(seed: int, visits: int = 60) -> list[PageView]:
    choose, found = random.Random(seed), []
    for number in range(visits):
        count, on_site = choose.randint(1, 4), 0
        for page in range(count):
            shown = choose.randint(0, 60)
            facts: dict[str, dict[str, Any]] = {
                "page": {"type": choose.choice(["home", "cart"]), "seconds": 0},
                "visit": {"pages": page + 1, "seconds": on_site},
            }
            if choose.random() < 0.7:
                facts["cart"] = {"value": float(choose.choice([20, 80]))}
            weight = choose.choice([10.0, 20.0])
            at = AT + number * 10_000 + on_site
            visitor, visit = f"v{number // 2:03}", 1 + number % 2
            found.append(PageView(visitor, visit, at, float(shown), page == count - 1, weight, facts))
            on_site += shown
    return found


def holds(name: str, view: PageView, after: int) -> bool:
    """The lines of a rule so many seconds later, written anew."""
    page, visit = view.facts["page"], view.facts["visit"]
    return {
        "cart": page["type"] == "cart" and view.facts.get("cart", {}).get("value", 0) > 50,
        "slow": visit["pages"] >= 2 and after >= 20,
        "young": page["seconds"] + after < 10 and page["type"] == "home",
        "rest": visit["seconds"] + after >= 60,
    }[name]


def counted(views: Sequence[PageView]) -> Mapping[str, dict[str, Any]]:
    """The figures a day, second by second."""
    found: dict[str, dict[str, Any]] = {
        name: {"matches": 0.0, "wins": 0.0, "visits": {}, "won": {}, "behind": Counter()} for name in ORDER
    }
    for view in views:
        first: dict[str, int] = {}
        for after in range(int(view.shown) + 1):
            for name in ORDER:
                if name not in first and holds(name, view, after):
                    first[name] = after
        invited = min((after for name, after in first.items() if name != "cart"), default=None)
        for name, after in first.items():
            own = found[name]
            own["matches"] += view.weight / DAYS
            own["visits"].setdefault((view.visitor, view.visit), view.weight)
            before = [o for o in ORDER[: ORDER.index(name)] if o in first and first[o] <= after]
            if before:
                soonest = min(before, key=lambda o: (first[o], ORDER.index(o)))
                own["behind"][soonest] += view.weight / DAYS
            elif name != "cart" and invited is not None and invited < after:
                by = next(o for o in ORDER if o != "cart" and first.get(o) == invited)
                own["behind"][by] += view.weight / DAYS
            else:
                own["wins"] += view.weight / DAYS
                own["won"].setdefault((view.visitor, view.visit), view.weight)
    return found


LENIENT = {"per_visit": 30, "per_visitor": 30, "pages": 50, "pause": 0, "dismissals": 100, "ignored": 100}
"""Limits that hold nothing back but a second invite on a page."""


def simulated(rules: Sequence[dict[str, Any]], **invites: Any) -> Simulated:
    site = Site.model_validate({"name": "shop", "rules": rules, "invites": {**LENIENT, **invites}})

    def hours(week: Any) -> OfficeHours:
        return OfficeHours(Hours.model_validate(week), "UTC")

    return Simulated(Policy(site, ZoneInfo("UTC"), hours), Answers({}, 0.0, 0.0))


def tried(views: Sequence[PageView], **more: Any) -> DryRun:
    rules = RuleSet([Rule.model_validate(one) for one in RULES])
    assert [rule.name for rule in rules.order if rule.enabled] == [*ORDER]
    given: dict[str, Any] = {"usual": 0.1, "holdout": 5.0, **more}
    return dry_run(rules, Sampled.of(views), DAYS, {"slow": 0.2}, simulated(RULES), **given)


@pytest.mark.parametrize("seed", range(5))
def test_matches_overlap_and_conversations_are_those_that_are_counted_by_hand(seed: int) -> None:
    views = traffic(seed)
    run, wanted = tried(views), counted(views)
    assert [one.rule for one in run.trials] == [*ORDER]
    assert run.page_views == pytest.approx(sum(view.weight for view in views) / DAYS)
    for one in run.trials:
        own = wanted[one.rule]
        assert (one.matches, one.wins) == (pytest.approx(own["matches"]), pytest.approx(own["wins"]))
        assert one.visits == pytest.approx(sum(own["visits"].values()) / DAYS)
        assert one.behind == pytest.approx(own["behind"])
        if one.rule == "cart":
            assert (one.invited, one.conversations, one.days, one.too_slow) == (None, None, None, False)
            continue
        part = 0.95 * (0.9 if one.rule == "rest" else 1.0)
        talks = sum(own["won"].values()) / DAYS * part * (0.2 if one.rule == "slow" else 0.1)
        assert one.conversations == pytest.approx(talks)
        assert one.days == pytest.approx(100 / talks)
        assert one.too_slow == (100 / talks > 60)


def test_the_line_in_the_way_is_the_first_that_is_false_most_often() -> None:
    def view(kind: str, value: float | None, shown: float = 0.0) -> PageView:
        facts: dict[str, Any] = {"page": {"type": kind, "seconds": 0}, "visit": {"pages": 2, "seconds": 0}}
        if value is not None:
            facts["cart"] = {"value": value}
        return PageView("v", 1, AT, shown, False, 1.0, facts)

    views = [view("home", 80.0), view("cart", 20.0), view("cart", None), view("cart", 80.0, 30.0)]
    cart, slow, young, rest = tried(views).trials
    assert (cart.blocking, cart.blocking_share) == (1, pytest.approx(2 / 3))
    assert (slow.blocking, slow.blocking_share) == (1, 1.0)
    # Of lines that wait only where all others are true.
    assert (young.blocking, young.blocking_share) == (1, 1.0)
    assert (rest.blocking, rest.blocking_share, rest.matches, rest.days) == (0, 1.0, 0.0, None)
    assert rest.too_slow


def test_what_the_limits_hold_back_is_told_apart_and_counts_for_no_conversation() -> None:
    rules = [{"name": "all", "action": "invite"}]
    facts: dict[str, Any] = {"page": {"type": "home", "seconds": 0}}
    views = [PageView("v", 1, AT + 60 * n, 10.0, n == 5, 2.0, facts) for n in range(6)]
    given = {"usual": 0.5, "runs": {"all": 1.5}}
    compiled = RuleSet([Rule.model_validate(one) for one in rules])
    (one,) = dry_run(compiled, Sampled.of(views), 2.0, {}, simulated(rules, pages=2), **given).trials
    assert (one.matches, one.wins, one.visits, one.held) == (6.0, 2.0, 1.0, {"pages": 4.0})
    assert (one.conversations, one.days, one.too_short) == (0.5, 200.0, True)


def test_facts_that_no_page_view_had_are_named() -> None:
    views = [PageView("v", 1, AT, 0.0, True, 1.0, {"page": {"type": "home", "seconds": 0}})]
    unknown = {one.rule: one.unknown for one in tried(views).trials}
    asked = {"cart": ("cart.value",), "slow": ("visit.pages",), "young": (), "rest": ("visit.seconds",)}
    assert unknown == asked


def test_a_trial_without_time_says_how_far_it_came_and_stands_for_all() -> None:
    views = traffic(1, visits=400)
    run = tried(views, seconds=-1.0)
    assert 0 <= run.tried < run.views == len(views)
    assert run.page_views == pytest.approx(sum(view.weight for view in views) / DAYS)
    assert tried([]).trials[0].matches == 0


def test_waits_and_pages_that_visits_end_on_are_suggested() -> None:
    def visit(number: int, *pages: tuple[str, float]) -> list[PageView]:
        found, at = [], AT + number * 10_000
        for place, (kind, shown) in enumerate(pages):
            step = 2 if kind == "checkout" else 0
            facts = {"page": {"type": kind, "seconds": 0}, "checkout": {"step": step}}
            found.append(PageView(f"v{number}", 1, at, shown, place == len(pages) - 1, 2.0, facts))
            at += shown
        return found

    views = []
    for number in range(40):
        last = "checkout" if number % 4 == 0 else "cart"
        views += visit(number, ("home", 10.0 + number), (last, 5.0))
        views += visit(100 + number, ("home", 30.0), ("checkout", 20.0), ("confirmation", 0.0))
    found = suggest(views, 2.0, AT + 10**9)
    pages = {one.what: one for one in found.pages}
    homes = sorted([10 + number for number in range(40)] + [30] * 40)
    assert (pages["home"].count, pages["home"].median, pages["home"].wait) == (80, homes[39], homes[39])
    assert (pages["home"].lower, pages["home"].upper) == (homes[19], homes[59])
    assert pages["checkout"].wait == 20
    assert not pages.keys() & {"cart", "confirmation"}, "nobody went on from there"
    assert found.site is not None
    assert found.site.count == 80
    exits = {one.what: one for one in found.exits}
    assert {what: (one.views, one.exits) for what, one in exits.items()} == {
        "home": (80.0, 0.0),
        "cart": (30.0, 30.0),
        "checkout": (50.0, 10.0),
        "confirmation": (40.0, 40.0),
    }
    assert [one.what for one in found.exits if one.candidate] == ["cart"]
    assert exits["cart"].of_all == pytest.approx(30 / 80)
    assert [(one.what, one.share) for one in found.steps] == [("step 2", pytest.approx(0.2))]
    # Too little says nothing, and a visit that may go on has not ended.
    few = suggest(views[: LEAST // 4], 2.0, AT + 10**9)
    assert not any(one.candidate for one in few.exits)
    assert all(one.wait is None for one in few.pages)
    assert sum(one.exits for one in suggest(views, 2.0, AT).exits) == 0
