"""What the policy would do with recorded visitors: each limit by itself."""

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from clew.chat.hours import OfficeHours
from clew.rules.experiments import place_of, share_salt
from clew.rules.policy import Policy
from clew.rules.ranked import Refusal
from clew.rules.simulated import Answers, Simulated
from clew.settings.model import Hours, Site

AT = 1_800_000_000.0  # a Friday, 08:00 UTC
NOBODY = Answers({}, 0.0, 0.0)
Seen = tuple[float, dict[str, Any]]


class Shop:
    """A site with rules, of which all lines are true on each page, after so many seconds by `waits`."""

    def __init__(
        self,
        *rules: dict[str, Any],
        answers: Answers = NOBODY,
        zone: str = "UTC",
        unable: Any = lambda rule, now: None,
        **invites: Any,
    ) -> None:
        own = [{"name": "r", "action": "invite", **rule} for rule in rules or ({},)]
        site = Site.model_validate({"name": "shop", "rules": own, "invites": invites})
        self.policy = Policy(site, ZoneInfo(zone), lambda week: OfficeHours(Hours.model_validate(week), zone))
        self.rules = site.rules
        self.simulated = Simulated(self.policy, answers, unable)

    def page(
        self,
        at: float = 0.0,
        *,
        visitor: str = "v",
        visit: int = 1,
        within: float = 0.0,
        waits: Sequence[float] = (),
        **facts: Any,
    ) -> str:
        """What becomes of the rules on a page so many seconds later, in one line."""
        after = [*waits, *[0.0] * (len(self.rules) - len(waits))]
        matched = [*zip(after, self.rules, strict=True)]
        found = self.simulated.view(visitor, visit, AT + at, within, facts, matched)
        assert [one.rule for one in found] == self.rules
        return ", ".join(f"behind {one.behind}" if one.behind else one.held or "acts" for one in found)


def test_an_invite_is_shown_on_so_many_pages_of_a_visit() -> None:
    shop = Shop({"pages": 2})
    assert [shop.page(60.0 * n) for n in range(3)] == ["acts", "acts", "pages"]
    assert shop.page(7200.0, visit=2) == "acts"
    assert shop.page(visitor="w") == "acts"


def test_two_invites_have_a_pause_which_may_end_while_the_page_is_shown() -> None:
    shop = Shop({"pages": 1}, {"name": "s"})
    assert shop.page() == "acts, behind r"
    assert shop.page(10.0) == "pages, pause"
    assert shop.page(12.0, within=30.0) == "pages, acts"


def test_a_page_a_visit_and_a_visitor_have_so_many_invites() -> None:
    rules = [{"name": name, "pages": 1} for name in "abc"]
    # The last one in the order is true first; a page shows one.
    assert Shop(*rules).page(within=90.0, waits=(60.0, 30.0, 0.0)) == "behind c, behind c, acts"
    two = Shop(*rules, per_page=2, pause=0, ignored=9)
    assert two.page(within=90.0, waits=(60.0, 30.0, 0.0)) == "behind b, acts, acts"
    shop = Shop(*rules, per_visit=2, ignored=9)
    assert [shop.page(60.0 * n) for n in range(3)] == [
        "acts, behind a, behind a",
        "pages, acts, behind b",
        "pages, pages, per_visit",
    ]
    shop = Shop(*rules, per_visitor=1, days=1)
    assert shop.page() == "acts, behind a, behind a"
    assert shop.page(3600.0, visit=2) == "per_visitor, per_visitor, per_visitor"
    assert shop.page(100_000.0, visit=3) == "acts, behind a, behind a"
    own = Shop({"per_visitor": 1, "days": 30})
    assert [own.page(90_000.0 * n, visit=n + 1) for n in range(2)] == ["acts", "per_visitor"]


def test_who_dismisses_or_ignores_invites_gets_no_more_in_the_visit() -> None:
    shop = Shop({}, {"name": "s"}, answers=Answers({}, 0.0, 1.0), dismissals=2)
    found = [shop.page(60.0 * n) for n in range(3)]
    assert found == ["acts, behind r", "dismissed, acts", "dismissals, dismissals"]
    assert shop.page(7200.0, visit=2) == "acts, behind r"
    rules = [{"name": name, "pages": 1} for name in "abc"]
    shop = Shop(*rules, ignored=2)
    assert [shop.page(60.0 * n) for n in range(3)][2] == "ignored, ignored, ignored"


def test_who_accepts_is_in_a_conversation_for_the_rest_of_the_visit() -> None:
    shop = Shop({}, {"name": "s"}, answers=Answers({"r": 1.0}, 0.0, 0.0))
    assert shop.page() == "acts, behind r"
    assert shop.page(600.0) == "conversation, conversation"
    assert shop.page(7200.0, visit=2) == "acts, behind r"
    assert shop.page(visitor="w", chat={"open": True}) == "conversation, conversation"


def test_after_an_order_only_rules_for_then_invite() -> None:
    shop = Shop({"stage": "after_sale"}, {"name": "s"})
    assert shop.page(page={"type": "confirmation"}) == "order, order"
    assert shop.page(60.0) == "acts, behind r"
    other = Shop({}, {"name": "s", "action": "hide"})
    assert other.page(order={"placed": True}) == "order, acts"
    assert other.page(7200.0, visit=2) == "acts, behind r"


def test_hours_are_those_of_the_site_and_starts_and_ends_are_left_out() -> None:
    rule = {"hours": {"fri": ["09:00-10:00"]}, "starts": "2030-01-01"}
    shop = Shop(rule, zone="Europe/Berlin")
    assert shop.page() == "starts"
    assert shop.policy.own["r"].days_left(AT) is None
    shop.policy.at_any_time()
    assert shop.page() == "acts"
    assert shop.page(-120.0, visitor="w") == "hours"
    assert shop.page(-120.0, visitor="x", within=200.0) == "acts"
    ending = Shop({"starts": "2027-01-25", "ends": "2027-01-26"}).policy.own["r"]
    assert ending.days_left(AT) == 2.0
    assert ending.days_left(AT + 50 * 86400) == 0.0


def test_only_the_share_of_visitors_is_invited_that_really_would_be() -> None:
    shop = Shop({"share": 30})
    salt = share_salt("shop", "r")
    for number in range(200):
        visitor = f"v{number}"
        wanted = "acts" if place_of(salt, visitor) < 0.3 else "share"
        assert shop.page(visitor=visitor) == wanted


@pytest.mark.parametrize(
    ("agents", "found"),
    [
        ({}, "acts, behind r"),
        ({"online": 0}, "agents, acts"),
        ({"online": 1, "free": 2, "busy": False}, "acts, behind r"),
        ({"online": 1, "free": 2, "busy": True}, "agents, acts"),
        ({"online": 1, "free": 0, "busy": True}, "agents, agents"),
    ],
)
def test_agents_are_as_busy_as_they_were(agents: dict[str, Any], found: str) -> None:
    assert Shop({"default": True}, {"name": "s"}).page(agents=agents) == found
    assert Shop({"forced": True}, {"name": "s"}).page(agents=agents) == "acts, behind r"


def test_events_of_the_visit_withdraw_and_what_has_nothing_to_offer_does_not_act() -> None:
    shop = Shop({"cancel_on": ["add_to_cart"]})
    assert shop.page(events={"add_to_cart": 0}) == "acts"
    assert shop.page(60.0, events={"add_to_cart": 1}) == "cancel_on"
    closed = Shop({}, unable=lambda rule, now: Refusal("closed", by="hours") if now < AT + 60 else None)
    assert [closed.page(60.0 * n) for n in range(2)] == ["hours", "acts"]


def test_as_many_accept_and_dismiss_as_are_expected_and_always_the_same() -> None:
    answers = Answers({"r": 0.2}, 0.05, 0.3)
    found = [answers.to("r", f"v{number}", 1) for number in range(4000)]
    assert found == [answers.to("r", f"v{number}", 1) for number in range(4000)]
    # Six standard deviations.
    assert found.count("accepted") == pytest.approx(800, abs=155)
    assert found.count("dismissed") == pytest.approx(1200, abs=175)
    assert [answers.to("s", f"v{number}", 1) for number in range(4000)].count("accepted") < 300
