"""Signs of fraud hold an order and change nothing else, and an honest month has none."""

import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from clew.credit.decision import decide, doubts_of
from clew.credit.fraud import Evidence, Suspects, Suspicion, both, suspicions
from clew.credit.inputs import Inputs
from clew.credit.terms import MODELS, Policy, Terms
from clew.orders.doubt import SUSPECTED, Doubt
from clew.orders.history import project
from clew.orders.sighting import Sighting
from clew.postbacks.due import plan, reports
from clew.postbacks.model import Postback
from clew.referral.touches import AUTOMATED, CROWD, OWN, Click, Touch
from clew.settings.model import Fraud, Site
from clew.stores.ledger.paces import DAY, HOUR, Pace
from hypothesis import given
from hypothesis import strategies as st

ORDER = 1_800_000_000.0
TERMS = Terms({"anna": 30, "blog": 30})


def touch(partner: str = "anna", age: float = 2 * HOUR, **changes: Any) -> Touch:
    clicks = changes.pop("clicks", (Click("", "ref", f"{partner}-{age}", partner),))
    return Touch(int(ORDER - age), clicks, landing="/", **{"shown": True, **changes})


def kinds(
    touches: list[Touch], *, evidence: Evidence | None = None, suspects: Suspects | None = None, **rules: Any
) -> list[str]:
    """The kinds of doubt about an order that these arrivals earn."""
    suspects = suspects or Suspects.of(site(**rules))
    found = suspicions(suspects, ORDER, touches, TERMS, evidence or Evidence())
    inputs = Inputs(ORDER, ORDER, tuple(touches), suspicions=found)
    assert Inputs.from_json(inputs.to_json()) == inputs
    return [doubt.kind for doubt in doubts_of(inputs, Policy(TERMS), decide(inputs, Policy(TERMS)))]


def site(anna: dict[str, Any] | None = None, **rules: Any) -> Site:
    partner = {"param": "ref", "postback": "https://p.example/{click_id}"}
    partners = [{**partner, "id": "anna", **(anna or {})}, {**partner, "id": "blog", "param": "b"}]
    return Site.model_validate({"name": "shop", "partners": partners, "fraud": rules})


def test_an_ordinary_order_is_in_no_doubt() -> None:
    assert kinds([touch(), touch("blog", 30 * 60)], evidence=Evidence(email="a" * 64, views=True)) == []


# -- self-referral

EMAIL = "anna@partner.example"


@pytest.mark.parametrize("named", [EMAIL, " Anna@Partner.example ", "hash"])
def test_a_partner_that_buys_with_its_own_address_is_held(named: str) -> None:
    from hashlib import sha256

    digest = sha256(EMAIL.encode()).hexdigest()
    suspects = Suspects.of(site({"emails": [digest if named == "hash" else named]}))
    assert kinds([touch()], suspects=suspects, evidence=Evidence(email=digest)) == ["self"]
    assert kinds([touch()], suspects=suspects, evidence=Evidence(email="b" * 64)) == []
    # Another partner's order is no business of that.
    assert kinds([touch("blog")], suspects=suspects, evidence=Evidence(email=digest)) == []


@pytest.mark.parametrize(
    ("touches", "evidence"),
    [
        ([touch(signs=(OWN,))], Evidence()),
        ([touch()], Evidence(own=("anna",))),
        ([touch(age=3600 + n) for n in range(10)], Evidence()),
        ([touch(age=3600 + n) for n in range(4)], Evidence(again={"anna": 6})),
    ],
    ids=["own network", "signed in", "ten clicks", "the same link again"],
)
def test_a_partner_that_is_the_visitor_is_held(touches: list[Touch], evidence: Evidence) -> None:
    assert kinds(touches, evidence=evidence) == ["self"]
    assert kinds(touches, evidence=evidence, self_referral=False) == []


def test_what_an_agent_claims_is_held_where_the_settings_say_so_unless_the_visitor_came_by_it() -> None:
    claimed = touch(age=DAY, claim="acp last")
    own = touch(age=2 * DAY, clicks=claimed.clicks)
    strict = replace(Suspects.of(site()), hold_claims=True)
    assert kinds([claimed], suspects=strict) == ["claim"]
    assert kinds([claimed]) == []
    assert kinds([claimed, own], suspects=strict) == []
    assert kinds([own], suspects=strict) == []
    # Another partner's click, or another click of the partner, shows nothing.
    assert kinds([claimed, touch("blog", age=2 * DAY)], suspects=strict) == ["claim"]


def test_nine_clicks_of_a_day_and_thirty_of_a_month_are_a_customer() -> None:
    assert kinds([touch(age=3600 + n) for n in range(9)]) == []
    assert kinds([touch(age=n * DAY) for n in range(1, 21)]) == []


# -- clicks


def test_a_click_that_nobody_saw_is_held_if_the_browser_runs_the_tag() -> None:
    hidden = touch(age=DAY, shown=False)
    assert kinds([hidden], evidence=Evidence(views=True)) == ["unseen"]
    assert kinds([touch("blog", age=2 * DAY), hidden]) == ["unseen"]
    # Nothing is known of a browser that never asked `decide`: scripts may be blocked.
    assert kinds([hidden]) == []
    assert kinds([hidden], evidence=Evidence(views=True), unseen=False) == []
    # Its page has no tag by the settings, and a page that loads slowly may still come.
    assert kinds([hidden], evidence=Evidence(views=True, untagged={"/"})) == []
    assert kinds([touch(age=60, shown=False)], evidence=Evidence(views=True)) == []
    # What an agent claims for its user was never on a page.
    assert kinds([touch(age=DAY, shown=False, claim="acp")], evidence=Evidence(views=True)) == []
    # A click that is seen later earns the order, so nothing stands against it.
    assert kinds([hidden, touch(age=HOUR)]) == []


@pytest.mark.parametrize(
    ("sign", "rules", "expected"),
    [
        (AUTOMATED, {}, []),
        (AUTOMATED, {"automated": "hold"}, ["bot"]),
        (CROWD, {}, ["crowd"]),
        (CROWD, {"network_clicks": 0}, []),
    ],
)
def test_signs_of_the_click_count_as_the_settings_say(
    sign: str, rules: dict[str, Any], expected: list[str]
) -> None:
    assert kinds([touch(signs=(sign,))], **rules) == expected


def paid(**changes: Any) -> Touch:
    clicks = (Click("google_ads", "gclid", "g1"), Click("", "ref", "a", "anna"))
    return touch(**changes).__class__(int(ORDER - 7200), clicks, shown=True, **changes)


@pytest.mark.parametrize(
    ("arrival", "expected"),
    [
        (paid(campaign={"utm_term": "Acme shoes"}), ["brand"]),
        (paid(campaign={"utm_term": "+acme-shoes discount"}), ["brand"]),
        (paid(campaign={"utm_term": "acmeshoes"}), ["brand"]),
        (paid(campaign={"utm_term": "acmes"}), ["brand"]),
        (paid(referrer="https://www.bing.com/search?q=acme"), ["brand"]),
        (paid(campaign={"utm_term": "running shoes"}), []),
        (paid(campaign={"utm_term": "pacme"}), []),
        (paid(), []),
        (touch(campaign={"utm_term": "acme", "utm_medium": "cpc"}), ["brand"]),
        (touch(referrer="https://www.google.com/aclk?q=acme"), ["brand"]),
        (touch(campaign={"utm_term": "acme"}), []),
        (touch(referrer="https://www.google.com/search?q=acme"), []),
    ],
)
def test_a_partner_that_bids_on_the_shops_name_is_held(arrival: Touch, expected: list[str]) -> None:
    assert kinds([arrival], brand=["Acme", "ACME Shoes"]) == expected
    allowed = Suspects.of(site({"brand_bidding": True}, brand=["acme"]))
    assert kinds([arrival], suspects=allowed) == []


# -- what stays the same

_SIGNS = st.lists(st.sampled_from((AUTOMATED, CROWD, OWN)), unique=True).map(tuple)
_TOUCHES = st.lists(
    st.builds(
        touch,
        st.sampled_from(("anna", "blog", "gone")),
        st.integers(-120, 40 * DAY),
        shown=st.booleans(),
        signs=_SIGNS,
        campaign=st.sampled_from(({}, {"utm_term": "acme", "utm_medium": "cpc"})),
    ),
    max_size=6,
)
_FOUND = st.lists(
    st.builds(
        Suspicion,
        partner=st.sampled_from(("anna", "blog")),
        kind=st.sampled_from(sorted(SUSPECTED)),
        text=st.just("why"),
    ),
    max_size=5,
).map(tuple)


@given(_TOUCHES, _FOUND, st.sampled_from(MODELS), st.booleans())
def test_a_check_changes_no_share(
    touches: list[Touch], found: tuple[Suspicion, ...], model: Any, views: bool
) -> None:
    terms = Terms(TERMS.lookback_days, model=model)
    suspects = Suspects.of(site({"emails": [EMAIL]}, brand=["acme"], automated="hold"))
    own = suspicions(suspects, ORDER, touches, terms, Evidence(views=views, own=("blog",)))
    plain = decide(Inputs(ORDER, ORDER, tuple(touches)), Policy(terms))
    inputs = Inputs(ORDER, ORDER, tuple(touches), suspicions=both(own, found))
    assert decide(inputs, Policy(terms)) == plain
    doubts = doubts_of(inputs, Policy(terms), plain)
    assert {doubt.kind for doubt in doubts} <= SUSPECTED
    assert bool(plain.shares) or not doubts
    # What a person has chosen is not questioned.
    chosen = Inputs(ORDER, ORDER, tuple(touches), partner="anna", suspicions=inputs.suspicions)
    assert doubts_of(chosen, Policy(terms), decide(chosen, Policy(terms))) == ()


@given(_TOUCHES, st.decimals("0.01", "9999", places=2), st.sampled_from(MODELS))
def test_what_is_released_is_what_would_have_been_sent(
    touches: list[Touch], total: Decimal, model: Any
) -> None:
    decision = decide(Inputs(ORDER, ORDER, tuple(touches)), Policy(Terms(TERMS.lookback_days, model=model)))
    sold = Sighting(site="shop", source="api", at=ORDER, id="1", total=total, currency="EUR", state="paid")
    wanted = reports(project([sold]), decision, "web")
    free = plan([], wanted)
    held = plan([], wanted, doubts=[Doubt("self", "why")])
    assert [one.state for one in held.added] == ["held"] * len(free.added)
    rows = [
        Postback(
            id=str(place),
            order=1,
            site="shop",
            partner=one.report.partner,
            sequence=one.sequence,
            event=one.report.event,
            report=one.report,
            state=one.state,
            attempts=0,
            next_at=0.0,
            lease_until=None,
            last_answer=None,
            created_at=0.0,
            finished_at=None,
            hold=one.hold,
            why=one.why,
        )
        for place, one in enumerate(held.added)
    ]
    released = plan(rows, wanted, settlement="released by eva")
    assert released.added == ()
    assert [(row.state, row.report) for row in released.changed] == [("due", p.report) for p in free.added]


@given(_FOUND, _FOUND)
def test_what_was_found_before_stays(before: tuple[Suspicion, ...], now: tuple[Suspicion, ...]) -> None:
    assert {one.key for one in both(before, now)} == {one.key for one in (*before, *now)}


# -- velocity

NOW = ORDER


def month(rate: float, factor: dict[int, float], rng: random.Random) -> list[float]:
    """The times of the orders of 29 days, with days and nights; `factor` by days before now."""
    found = []
    for hour in range(29 * 24):
        at = NOW - hour * HOUR
        busy = 1.6 if 8 <= (at // HOUR) % 24 < 22 else 0.2
        expected = rate / 24 * busy * factor.get(hour // 24, 1.0)
        count = 0
        level = rng.random()
        chance = term = 2.718281828**-expected
        while level > chance and count < 10_000:
            count += 1
            term *= expected / count
            chance += term
        found += [at] * count
    return found


def pace(orders: dict[str | None, list[float]], held: frozenset[str] = frozenset()) -> Pace:
    return Pace((p, int(at // HOUR), p not in held, 1) for p, times in orders.items() for at in times)


@pytest.mark.parametrize("rate", [0.5, 3, 20, 200])
@pytest.mark.parametrize("seed", range(5))
def test_an_honest_month_is_not_too_fast(rate: float, seed: int) -> None:
    """Small and large partners, a sale of the whole shop by twelve times, a newsletter by three times."""
    rng = random.Random(seed)
    days = [
        ({}, {}),
        ({0: 12.0}, {0: 12.0}),
        ({0: 3.0}, {}),
        ({0: 4.0, 7: 4.0, 14: 4.0}, {}),
    ]
    for own, others in days:
        orders = {"anna": month(rate, own, rng), None: month(rate * 6, others, rng)}
        assert pace(orders).excess("anna", NOW, 20, 5) == ""


def test_a_partner_far_beyond_its_busiest_day_is_too_fast() -> None:
    rng = random.Random(1)
    orders = {"anna": [*month(3, {}, rng), *[NOW] * 80], None: month(50, {}, rng)}
    why = pace(orders).excess("anna", NOW, 20, 5)
    assert "orders within a day; its busiest day of the 28 before had" in why
    assert pace(orders).excess("blog", NOW, 20, 5) == ""
    # Orders that were held are no history: the second day of an attack is still one.
    days = {"anna": month(3, {}, rng), None: month(50, {}, rng)}
    counts = [(p, int(at // HOUR), True, 1) for p, times in days.items() for at in times]
    attack = [("anna", int((NOW - day * DAY) // HOUR), False, 80) for day in (0, 1, 2)]
    assert Pace([*counts, *attack]).excess("anna", NOW, 20, 5)
    assert not Pace([*counts, *((p, h, True, n) for p, h, _, n in attack)]).excess("anna", NOW, 20, 5)


def test_orders_that_a_browser_made_up_make_no_room_for_a_partners_own() -> None:
    rng = random.Random(3)
    orders = {"anna": [*month(3, {}, rng), *[NOW] * 80], None: month(50, {}, rng)}
    invented = [(None, int(NOW // HOUR), False, 5000)]
    counts = [(p, int(at // HOUR), True, 1) for p, times in orders.items() for at in times]
    assert Pace([*counts, *invented]).excess("anna", NOW, 20, 5)
    # As many without a doubt are a sale.
    assert not Pace([*counts, *((p, h, True, n) for p, h, _, n in invented)]).excess("anna", NOW, 20, 5)


def test_a_new_partner_is_compared_with_the_shop_and_a_new_shop_with_nothing() -> None:
    rng = random.Random(2)
    shop = month(10, {}, rng)
    assert pace({"new": [NOW] * 15, None: shop}).excess("new", NOW, 20, 5) == ""
    assert "it is new" in pace({"new": [NOW] * 60, None: shop}).excess("new", NOW, 20, 5)
    assert pace({"new": [NOW] * 5000}).excess("new", NOW, 20, 5) == ""
    young = [NOW - hour * HOUR for hour in range(6 * 24)]
    assert pace({"new": [NOW] * 5000, None: young}).excess("new", NOW, 20, 5) == ""


def test_the_defaults_are_those_of_the_settings() -> None:
    assert (Fraud().orders, Fraud().factor) == (20, Decimal(5))
