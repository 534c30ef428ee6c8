import dataclasses

import pytest
from clew.credit.arrivals import DAY, SKEW, Considered, earning_now
from clew.credit.terms import Terms
from clew.referral.touches import Click, Touch, earning_click
from clew.referral.visitor import TOUCHES, Touched, changed
from msgspec.structs import replace
from recorded import credit

ORDER = 1763860000.0
TERMS = Terms({"awin": 30, "blog": 7})
AWIN = Click("awin", "awc", "1001_1_ab", "awin")
BLOG = Click("", "ref", "b-7", "blog")
GOOGLE = Click("google_ads", "gclid", "Cj0", None)


def touch(age: float, *clicks: Click) -> Touch:
    return Touch(int(ORDER - age), clicks)


def test_the_last_partner_click_before_the_order_earns_it() -> None:
    older, newer = touch(5 * DAY, AWIN), touch(2 * DAY + 3 * 3600, BLOG)
    earned = credit([newer, older], ORDER, TERMS)
    assert (earned.partner, earned.click, earned.touched_at) == ("blog", BLOG, float(newer.at))
    assert (
        earned.reason
        == "blog: last partner click, 2 days 3 hours before the order, within its lookback of 7 days"
    )
    assert earned.considered == (
        Considered(older.at, "awin", "awin", "superseded by the later click of blog"),
        Considered(newer.at, "blog", None, "won: the last partner click before the order"),
    )


def test_campaigns_searches_and_strangers_do_not_take_an_order_from_a_partner() -> None:
    arrivals = [
        touch(3 * DAY, AWIN),
        touch(2 * DAY, GOOGLE),
        replace(touch(DAY), campaign={"utm_source": "mail"}),
    ]
    earned = credit(arrivals, ORDER, TERMS)
    assert earned.partner == "awin"
    assert [c.verdict for c in earned.considered] == [
        "won: the last partner click before the order",
        "no partner: the click's network is not one of this shop's",
        "no partner: no click id",
    ]
    assert [c.network for c in earned.considered] == ["awin", "google_ads", None]


@pytest.mark.parametrize(
    ("age", "partner"),
    [
        (0, "awin"),
        (30 * DAY - 1, "awin"),
        (30 * DAY, "awin"),  # exactly the window is inside it
        (30 * DAY + 1, None),
        (-SKEW, "awin"),  # the shop's clock is behind, or cuts the seconds off
        (-SKEW - 1, None),
        (-3600, None),
    ],
)
def test_a_click_counts_from_the_order_back_to_exactly_the_end_of_its_window(
    age: float, partner: str | None
) -> None:
    assert credit([touch(age, AWIN)], ORDER, TERMS).partner == partner


def test_a_click_after_the_order_does_not_earn_it_and_does_not_hide_the_one_before() -> None:
    earned = credit([touch(DAY, AWIN), touch(-DAY, BLOG)], ORDER, TERMS)
    assert earned.partner == "awin"
    assert earned.considered[1].verdict == "after the order"


def test_each_partner_has_its_own_window() -> None:
    earned = credit([touch(20 * DAY, AWIN), touch(8 * DAY + 7200, BLOG)], ORDER, TERMS)
    assert earned.partner == "awin"
    assert earned.considered[1].verdict == "outside the lookback of 7 days: 8 days 2 hours before the order"


def test_a_removed_partner_earns_nothing_and_does_not_displace_others() -> None:
    gone = Click("", "p", "x", "gone")
    earned = credit([touch(2 * DAY, AWIN), touch(DAY, gone)], ORDER, TERMS)
    assert earned.partner == "awin"
    assert earned.considered[1].verdict == "gone is no longer a partner of this shop"


@pytest.mark.parametrize(
    ("touches", "reason"),
    [
        ([], "nobody: no campaign, referrer or click id of the visitor is known"),
        ([touch(DAY, GOOGLE)], "nobody: no arrival of the visitor carried a partner's click id"),
        (
            [touch(31 * DAY, AWIN)],
            "nobody: the last partner click, of awin, does not count: "
            "outside the lookback of 30 days: 31 days before the order",
        ),
    ],
)
def test_credit_to_nobody_has_a_reason(touches: list[Touch], reason: str) -> None:
    earned = credit(touches, ORDER, TERMS)
    assert (earned.partner, earned.click, earned.touched_at) == (None, None, None)
    assert earned.reason == reason


def test_of_several_partners_in_one_address_the_last_one_earns() -> None:
    both = touch(DAY, AWIN, GOOGLE, BLOG)
    earned = credit([both], ORDER, TERMS)
    assert earned.click == BLOG == earning_click(both)
    assert earned.reason.endswith("its landing address held 2 partners' click ids, the last that counts")
    assert credit([touch(DAY, BLOG, AWIN)], ORDER, TERMS).click == AWIN


def test_of_several_partners_in_one_address_an_expired_one_is_skipped() -> None:
    assert credit([touch(10 * DAY, AWIN, BLOG)], ORDER, TERMS).click == AWIN


def test_the_order_of_the_touches_in_the_store_does_not_matter() -> None:
    arrivals = [touch(n * DAY, AWIN if n % 2 else BLOG) for n in range(1, 7)]
    assert credit(arrivals, ORDER, TERMS) == credit(arrivals[::-1], ORDER, TERMS)


def test_every_touch_gets_exactly_one_verdict_and_one_at_most_wins() -> None:
    arrivals = [
        touch(n * DAY, *cs) for n, cs in enumerate([(AWIN,), (), (GOOGLE,), (BLOG,), (AWIN, BLOG), (AWIN,)])
    ]
    considered = credit(arrivals, ORDER, TERMS).considered
    assert [c.at for c in considered] == sorted(t.at for t in arrivals)
    assert sum(c.verdict.startswith("won") for c in considered) == 1
    assert all(c.verdict for c in considered)


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (5, "less than a minute before"),
        (60, "1 minute before"),
        (3600, "1 hour before"),
        (2 * 3600 + 300, "2 hours 5 minutes before"),
        (DAY, "1 day before"),
        (DAY + 3600, "1 day 1 hour before"),
        (-30, "less than a minute before"),
    ],
)
def test_the_reason_has_the_clicks_age_in_words(age: float, words: str) -> None:
    assert words in credit([touch(age, AWIN)], ORDER, TERMS).reason


@pytest.mark.parametrize(
    ("at", "partner"),
    [
        (ORDER + 1800, "awin"),  # written down before the step
        (ORDER + 3600 + SKEW, "awin"),
        (ORDER + 3600 + SKEW + 1, None),  # by more than the step
        (ORDER + 7200, None),  # written down after the step
    ],
)
def test_a_click_from_before_the_clock_was_set_back_by_an_hour_is_not_after_the_order(
    at: float, partner: str | None
) -> None:
    """field B6: the shop's clock was right, clew's was an hour ahead until it was set back."""
    terms = dataclasses.replace(TERMS, set_back=((ORDER + 3700, 3600.0),))
    assert credit([Touch(int(at), (AWIN,))], ORDER, TERMS).partner is None
    assert credit([Touch(int(at), (AWIN,))], ORDER, terms).partner == partner


def test_a_click_cannot_be_later_than_now() -> None:
    """field B6: after a restart the step is not known."""
    assert credit([touch(-3600, AWIN)], ORDER, TERMS, now=ORDER + 30).partner == "awin"
    assert credit([touch(-3600, AWIN)], ORDER, TERMS, now=ORDER + 3600).partner is None


def test_a_suspicious_click_earns_nothing_unless_the_terms_say_so() -> None:
    """field E11"""
    inside = replace(touch(DAY, BLOG), doubt="inside")
    earned = credit([touch(2 * DAY, AWIN), inside], ORDER, TERMS)
    assert earned.partner == "awin"
    assert earned.considered[1].verdict == "suspicious: it was made on one of the shop's own pages"
    assert "does not count: suspicious" in credit([inside], ORDER, TERMS).reason
    terms = dataclasses.replace(TERMS, inside=frozenset({"blog"}))
    assert credit([touch(2 * DAY, AWIN), inside], ORDER, terms).partner == "blog"
    elsewhere = replace(inside, doubt="elsewhere")
    assert credit([elsewhere], ORDER, terms).partner is None


def test_suspicious_touches_are_dropped_first_and_stay_suspicious() -> None:
    """field E11"""
    visitor = changed(None, "v", [Touched(touch(DAY, AWIN))], ORDER)
    for number in range(3 * TOUCHES):
        click = Click("", "ref", f"{number}{'x' * 200}", "blog")
        visitor = changed(visitor, "v", [Touched(replace(touch(0, click), doubt="inside"))], ORDER)
    assert visitor.touches[0].clicks == (AWIN,)
    assert credit(visitor.touches, ORDER, TERMS).partner == "awin"
    large = replace(
        touch(0, *(Click("", "ref", f"{n}{'x' * 500}", "blog") for n in range(8))), doubt="inside"
    )
    alone = changed(None, "v", [Touched(replace(large, landing="/" + "x" * 5000))], ORDER)
    assert [t.doubt for t in alone.touches] == ["inside"]


@pytest.mark.parametrize(
    "arrivals",
    [
        [],
        [touch(DAY)],
        [touch(DAY, GOOGLE)],
        [touch(DAY, AWIN), touch(2 * DAY, BLOG)],
        [touch(8 * DAY, BLOG), touch(20 * DAY, AWIN)],
        [touch(3 * DAY, BLOG, AWIN), touch(DAY, GOOGLE)],
        [replace(touch(DAY, BLOG), doubt="inside"), touch(2 * DAY, AWIN)],
        [touch(31 * DAY, AWIN)],
    ],
)
def test_the_partner_shown_as_credited_now_is_the_one_credited(arrivals: list[Touch]) -> None:
    assert earning_now(arrivals, ORDER, TERMS) == credit(arrivals, ORDER, TERMS, ORDER).click
