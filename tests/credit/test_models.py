"""Which part of an order each partner gets, and that the parts add up (A-table rows 7 to 11)."""

from decimal import Decimal
from fractions import Fraction

import pytest
from clew.credit.arrivals import DAY
from clew.credit.decision import Decision, decide
from clew.credit.division import divide, divided, parts
from clew.credit.inputs import Inputs
from clew.credit.terms import MODELS, Model, Policy, Terms, Window
from clew.orders.money import minor_digits
from clew.referral.touches import Click, Touch
from hypothesis import given
from hypothesis import strategies as st

ORDER = 1763860000.0
LATER = ORDER + 2 * DAY
PARTNERS = {"awin": 30, "blog": 30, "cash": 30}
AWIN, BLOG, CASH = (
    Click("awin", "awc", "1001_1_ab", "awin"),
    Click("", "ref", "b-7", "blog"),
    Click("", "cash", "c-1", "cash"),
)
STRANGER = Click("google_ads", "gclid", "Cj0", None)


def touch(days: float, *clicks: Click) -> Touch:
    return Touch(int(ORDER - days * DAY), clicks)


def decided(*touches: Touch, channel: str = "web", **terms: object) -> Decision:
    inputs = Inputs(ORDER, ORDER, touches, channel=channel)
    return decide(inputs, Policy(Terms(PARTNERS, **terms)))  # type: ignore[arg-type]


def shares(decision: Decision) -> list[tuple[str, str]]:
    return [(share.partner, str(share.part)) for share in decision.shares]


THREE = (touch(9, BLOG), touch(5, AWIN), touch(2, BLOG))
FOUR = (touch(9, BLOG), touch(5, AWIN), touch(3, CASH), touch(2, BLOG))


@pytest.mark.parametrize(
    ("model", "touches", "expected"),
    [
        ("last", THREE, [("blog", "1")]),
        ("first", (touch(9, AWIN), touch(2, BLOG)), [("awin", "1")]),
        ("linear", THREE, [("blog", "0.666667"), ("awin", "0.333333")]),
        ("linear", (touch(1, AWIN),), [("awin", "1")]),
        ("position", THREE, [("blog", "0.8"), ("awin", "0.2")]),
        ("position", FOUR, [("blog", "0.8"), ("cash", "0.1"), ("awin", "0.1")]),
        ("position", (touch(9, AWIN), touch(2, BLOG)), [("blog", "0.5"), ("awin", "0.5")]),
    ],
)
def test_each_model_gives_the_parts_it_says(
    model: Model, touches: tuple[Touch, ...], expected: list[tuple[str, str]]
) -> None:
    assert shares(decided(*touches, model=model)) == expected


def test_a_share_is_by_the_partners_last_click_and_by_its_first_one_in_the_model_first() -> None:
    assert decided(*THREE, model="linear").shares[0].touched_at == THREE[2].at
    first = decided(*THREE, model="first").shares[0]
    assert (first.partner, first.touched_at) == ("blog", THREE[0].at)


def test_each_click_says_what_it_counted_for() -> None:
    verdicts = [one.verdict for one in decided(*FOUR, touch(1, STRANGER), model="position").considered]
    assert verdicts == [
        "counts for 40 %: the first of 4 partner clicks",
        "counts for 10 %: between the first and the last of 4 partner clicks",
        "counts for 10 %: between the first and the last of 4 partner clicks",
        "counts for 40 %: the last of 4 partner clicks",
        "no partner: the click's network is not one of this shop's",
    ]
    found = decided(*THREE, model="first")
    assert [one.verdict for one in found.considered] == [
        "won: the first partner click before the order",
        "preceded by the earlier click of blog",
        "preceded by the earlier click of blog",
    ]
    assert decided(*THREE, model="linear").reason == (
        "blog 66.67 %, awin 33.33 %: each click the same, of 3 partner clicks"
    )


def test_other_models_are_shown_beside_and_pay_nobody() -> None:
    found = decided(*THREE, compare=("first", "linear", "last"))
    assert shares(found) == [("blog", "1")]
    assert [(one.model, one.parts) for one in found.compared] == [
        ("first", (("blog", Decimal(1)),)),
        ("linear", (("blog", Decimal("0.666667")), ("awin", Decimal("0.333333")))),
    ]
    assert Decision.of(found.shares, found.reason, found.considered_json(), found.compared_json()) == found


def test_the_first_window_that_applies_counts() -> None:
    """Row 11: by network, partner and channel."""
    windows = (Window(60, channel="chat"), Window(14, network="awin"), Window(3, partner="blog"))
    old = touch(40, AWIN)
    assert shares(decided(old, windows=windows, channel="chat")) == [("awin", "1")]
    assert shares(decided(old, windows=windows)) == []
    assert "outside the lookback of 14 days" in decided(touch(20, AWIN), windows=windows).reason
    assert "outside the lookback of 3 days" in decided(touch(4, BLOG), windows=windows).reason
    assert shares(decided(touch(20, CASH), windows=windows)) == [("cash", "1")]


ANY_CLICK = st.sampled_from([(AWIN,), (BLOG,), (CASH,), (BLOG, AWIN), (STRANGER,), ()])
ANY_TOUCH = st.builds(
    lambda age, clicks, doubt: Touch(int(ORDER) - age, clicks, doubt=doubt),
    st.integers(-DAY, 60 * DAY) | st.integers(0, 3),
    ANY_CLICK,
    st.sampled_from(["", "", "", "inside"]),
)
ANY_TERMS = st.builds(
    lambda model, ends, days: Terms(dict.fromkeys(PARTNERS, days), model=model, ends=ends),
    st.sampled_from(MODELS),
    st.integers(0, 50),
    st.integers(1, 90),
)
TOUCHES = st.lists(ANY_TOUCH, max_size=12)
AMOUNTS = st.tuples(st.sampled_from(["EUR", "JPY", "KWD"]), st.integers(0, 10**12)).map(
    lambda pair: (Decimal(pair[1]).scaleb(-minor_digits(pair[0])), pair[0])
)


@given(TOUCHES, ANY_TERMS, AMOUNTS)
def test_the_shares_of_an_amount_add_up_to_its_last_minor_unit(
    touches: list[Touch], terms: Terms, money: tuple[Decimal, str]
) -> None:
    found = decide(Inputs(ORDER, ORDER, tuple(touches)), Policy(terms))
    amount, currency = money
    given_parts = [share.part for share in found.shares]
    if given_parts:
        assert sum(given_parts) == 1
        amounts = divided(amount, currency, given_parts)
        assert sum(amounts) == amount
        assert all(
            abs(a - amount * p) < Decimal(1).scaleb(-minor_digits(currency))
            for a, p in zip(amounts, given_parts, strict=True)
        )
        assert all(a == a.quantize(Decimal(1).scaleb(-minor_digits(currency))) for a in amounts)


@given(TOUCHES, ANY_TERMS, st.randoms())
def test_the_order_in_which_touches_are_stored_changes_nothing(
    touches: list[Touch], terms: Terms, random: object
) -> None:
    # Of the same second, the order of arrival decides.
    touches = list({touch.at: touch for touch in touches}.values())
    shuffled = list(touches)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    policy = Policy(terms)
    assert decide(Inputs(ORDER, ORDER, tuple(touches)), policy) == decide(
        Inputs(ORDER, ORDER, tuple(shuffled)), policy
    )


@given(TOUCHES, ANY_TERMS, ANY_CLICK, st.integers(0, 12))
def test_a_touch_that_cannot_earn_changes_no_share(
    touches: list[Touch], terms: Terms, clicks: tuple[Click, ...], place: int
) -> None:
    policy = Policy(terms)
    before = decide(Inputs(ORDER, LATER, tuple(touches)), policy)
    for late in (
        Touch(int(ORDER) + DAY, clicks),
        Touch(int(ORDER) - 91 * DAY, clicks),
        Touch(int(ORDER) - 5, clicks, doubt="inside"),
        Touch(int(ORDER) - 5, (STRANGER,)),
    ):
        after = decide(Inputs(ORDER, LATER, (*touches[:place], late, *touches[place:])), policy)
        assert after.shares == before.shares


@given(TOUCHES, ANY_TERMS, st.integers(0, 60))
def test_a_longer_lookback_never_excludes_a_click_that_counted(
    touches: list[Touch], terms: Terms, more: int
) -> None:
    def counting(days: int) -> set[int]:
        longer = Terms(dict.fromkeys(PARTNERS, days), model=terms.model)
        found = decide(Inputs(ORDER, ORDER, tuple(touches)), Policy(longer))
        lost = ("outside", "no partner", "suspicious", "after the order")
        return {n for n, one in enumerate(found.considered) if not one.verdict.startswith(lost)}

    days = terms.lookback_days["blog"]
    assert counting(days) <= counting(days + more)


@given(TOUCHES, ANY_TERMS)
def test_a_decision_from_stored_inputs_and_terms_is_the_same(touches: list[Touch], terms: Terms) -> None:
    inputs, policy = Inputs(ORDER, ORDER, tuple(touches), channel="chat"), Policy(terms)
    again = Policy.from_json(policy.data)
    assert (again.version, again.data) == (policy.version, policy.data)
    assert decide(Inputs.from_json(inputs.to_json()), again) == decide(inputs, policy)


@given(st.integers(0, 10**15), st.lists(st.fractions(0, 100), max_size=9))
def test_a_division_adds_up_and_is_off_by_less_than_one_unit(total: int, weights: list[Fraction]) -> None:
    found = divide(total, weights)
    whole = sum(weights)
    if not whole:
        assert not any(found)
        return
    assert sum(found) == total
    assert all(abs(part - total * weight / whole) < 1 for part, weight in zip(found, weights, strict=True))
    assert sum(parts(weights)) == 1
