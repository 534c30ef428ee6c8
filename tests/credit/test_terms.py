"""Soft clicks, coupons, channels, agreements and commission: rows 10, 12 to 14, 19 to 24; A6, A7, A14."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from clew.credit.arrivals import DAY
from clew.credit.channels import channel_of
from clew.credit.compiled import terms_for
from clew.credit.decision import Decision, decide, repriced
from clew.credit.inputs import Inputs
from clew.credit.sale import Beside, Line, Origin, Sale
from clew.credit.terms import MODELS, Policy
from clew.orders.money import minor_digits
from clew.referral.touches import Click, Touch
from clew.settings.model import Site
from hypothesis import given
from hypothesis import strategies as st

ORDER = datetime(2026, 12, 10, 12, tzinfo=UTC).timestamp()
CALL = "https://partner.example/?c={click_id}"


def site(*partners: dict[str, Any], **credit: Any) -> Policy:
    """The policy of a site with these partners; each is named by its `id`, which is also its parameter."""
    listed = [{"param": p["id"], "postback": CALL, **p} for p in partners]
    settings = Site.model_validate({"name": "shop", "partners": listed, "credit": credit})
    return Policy(terms_for(settings, {}, {}))


def click(partner: str) -> Click:
    return Click("", partner, f"{partner}-1", partner)


def came(age: float, partner: str | None = None, **touch: Any) -> Touch:
    clicks = () if partner is None else (click(partner),)
    return Touch(int(ORDER - age * DAY), **{"clicks": clicks, **touch})


def sold(total: str = "100.00", currency: str = "EUR", **sale: Any) -> Sale:
    return Sale(total=Decimal(total), currency=currency, **sale)


def decided(policy: Policy, *touches: Touch, **inputs: Any) -> Decision:
    return decide(
        Inputs(**{"order_time": ORDER, "decided_at": ORDER, "touches": touches, "sale": sold()} | inputs),
        policy,
    )


def earned(decision: Decision) -> dict[str, str]:
    return {s.partner: str(s.commission.amount) for s in decision.shares if s.commission is not None}


def parts(decision: Decision) -> dict[str, str]:
    return {share.partner: str(share.part) for share in decision.shares}


BLOG, BAR = {"id": "blog"}, {"id": "bar", "soft": True}


# -- soft clicks


@pytest.mark.parametrize(("hours", "winner"), [(1, "blog"), (24, "blog"), (24.5, "bar")])
def test_a_soft_click_does_not_take_an_order_from_a_click_of_the_last_24_hours(
    hours: float, winner: str
) -> None:
    found = decided(site(BLOG, BAR), came(2, "blog"), came(2 - hours / 24, "bar"))
    assert list(parts(found)) == [winner]
    if winner == "blog":
        assert found.considered[1].verdict.startswith(
            "soft click: does not take the order from the click of blog"
        )


def test_a_soft_click_alone_earns_and_a_lost_click_protects_nothing() -> None:
    assert list(parts(decided(site(BLOG, BAR), came(1, "bar")))) == ["bar"]
    old = decided(site({**BLOG, "lookback_days": 1}, BAR), came(1.5, "blog"), came(1, "bar"))
    assert list(parts(old)) == ["bar"]
    later = decided(site(BLOG, BAR), came(2, "bar"), came(1, "blog"))
    assert list(parts(later)) == ["blog"]


# -- coupons

ANNA = {"id": "anna", "codes": ["ANNA10", "anna-vip"]}


@pytest.mark.parametrize(
    ("policy", "touched", "winner", "verdict"),
    [
        ("click_first", True, "blog", "a click counts before the code (click_first)"),
        ("click_first", False, "anna", "won: the code of a partner"),
        ("code_first", True, "anna", "won: the code of a partner"),
        ("code_only", True, "anna", "won: the code of a partner"),
        ("blocked", True, "blog", "codes earn nothing here (blocked)"),
        ("blocked", False, None, "codes earn nothing here (blocked)"),
    ],
)
def test_the_coupon_policy_says_whether_code_or_click_earns(
    policy: str, touched: bool, winner: str | None, verdict: str
) -> None:
    touches = (came(1, "blog"),) if touched else ()
    found = decided(site(BLOG, ANNA, coupon=policy), *touches, sale=sold(coupon="anna10"))
    assert (next(iter(parts(found)), None), found.considered[-1].verdict) == (winner, verdict)
    assert (found.considered[-1].code, found.considered[-1].partner) == ("anna10", "anna")


def test_a_partners_own_policy_counts_before_the_sites() -> None:
    policy = site(BLOG, {**ANNA, "coupon": "code_only"})
    by_click = decided(policy, came(1, "anna"))
    assert parts(by_click) == {}
    assert "anna earns by its codes only" in by_click.reason
    assert list(parts(decided(policy, came(1, "blog"), sale=sold(coupon="x; ANNA-VIP")))) == ["anna"]


def test_a_code_with_a_click_of_its_partner_earns_by_the_click() -> None:
    found = decided(
        site(BLOG, ANNA, coupon="code_first"), came(3, "anna"), came(1, "blog"), sale=sold(coupon="ANNA10")
    )
    assert found.shares[0].click == click("anna")
    assert found.considered[1].verdict == "the code ANNA10 of anna counts before clicks"


def test_a_code_needs_no_consent_and_no_arrival() -> None:
    found = decided(site(BLOG, ANNA), came(1, "blog"), consent="denied", sale=sold(coupon="ANNA10"))
    assert (parts(found), found.shares[0].click) == ({"anna": "1"}, None)


# -- channels

RULE = {"name": "brand", "arrivals": ["paid_search"], "days": 7}
SEARCHED = {"clicks": (Click("google_ads", "gclid", "x", None),), "campaign": {"utm_campaign": "Brand"}}


@pytest.mark.parametrize(
    ("rule", "at", "winner", "verdict"),
    [
        ({"then": "take"}, 1, None, "takes the order from blog: rule brand (paid_search)"),
        ({"then": "unpaid"}, 1, "blog", "leaves the order unpaid for blog: rule brand (paid_search)"),
        ({"then": "keep"}, 1, "blog", "blog keeps the order: rule brand (paid_search)"),
        ({"then": "take", "when": ['campaign.name == "Other"']}, 1, "blog", "no partner: "),
        ({"then": "take", "when": ['campaign.name == "Brand" && partner.id == "blog"']}, 1, None, "takes"),
        ({"then": "take", "partners": ["anna"]}, 1, "blog", "no partner: "),
        ({"then": "take"}, 8, "blog", "no partner: "),  # before the rule's days
        ({"then": "take"}, 10, "blog", "no partner: "),  # before the click
        ({"then": "take"}, -1, "blog", "no partner: "),  # after the order
    ],
)
def test_an_arrival_of_another_channel_after_the_click_acts_by_the_sites_rule(
    rule: dict[str, Any], at: float, winner: str | None, verdict: str
) -> None:
    terms = [{"name": "all", "percent": 10}]
    policy = site(BLOG, ANNA, channels=[RULE | rule], terms=terms)
    found = decided(policy, came(9, "blog"), came(at, **SEARCHED), decided_at=ORDER + 5 * DAY)
    assert next(iter(parts(found)), None) == winner
    assert any(one.verdict.startswith(verdict) for one in found.considered)
    if winner is not None:
        assert earned(found) == {"blog": "0.00" if rule["then"] == "unpaid" else "10.00"}
    if rule["then"] == "unpaid":
        assert found.shares[0].commission is not None
        assert found.shares[0].commission.unpaid == "rule brand of the channels"


@pytest.mark.parametrize(
    ("touch", "channel"),
    [
        ({"clicks": (Click("awin", "awc", "1", "awin"),)}, "partner"),
        (SEARCHED, "paid_search"),
        ({"campaign": {"utm_source": "google", "utm_medium": "CPC"}}, "paid_search"),
        ({"clicks": (Click("meta", "fbclid", "1", None),)}, "paid_social"),
        ({"campaign": {"utm_medium": "email"}}, "mail"),
        ({"campaign": {"utm_source": "chatgpt.com"}}, "ai"),
        ({"referrer": "https://www.perplexity.ai/search"}, "ai"),
        ({"referrer": "https://www.google.de/"}, "search"),
        ({"referrer": "https://l.facebook.com/x"}, "social"),
        ({"referrer": "https://blog.example/post"}, "referral"),
        ({"campaign": {"utm_source": "flyer"}}, "campaign"),
        ({}, "direct"),
    ],
)
def test_each_arrival_has_one_kind(touch: dict[str, Any], channel: str) -> None:
    assert channel_of(came(1, **touch)) == channel


# -- commission


def test_chat_orders_are_paid_in_full_for_one_month_and_half_after_it_by_themselves() -> None:
    """A6, A7: the Congstar month."""
    chat = ['order.channel == "chat"']
    terms = [
        {"name": "trial", "when": chat, "since": date(2026, 12, 1), "until": date(2026, 12, 31), "pay": 100},
        {"name": "chat", "when": chat, "pay": 50},
        {"name": "all", "percent": 5},
    ]
    policy = Policy(
        terms_for(
            Site.model_validate(
                {
                    "name": "s",
                    "time_zone": "Europe/Berlin",
                    "partners": [{**BLOG, "param": "b", "postback": CALL}],
                    "credit": {"terms": terms},
                }
            ),
            {},
            {},
        )
    )

    def paid(when: datetime, channel: str) -> str:
        at = when.timestamp()
        touch = Touch(int(at) - 60, (click("blog"),))
        found = decide(Inputs(at, at, (touch,), channel=channel, sale=sold()), policy)
        return earned(found)["blog"]

    # Midnight in Berlin is 23:00 UTC.
    assert paid(datetime(2026, 11, 30, 22, 59, 59, tzinfo=UTC), "chat") == "2.50"
    assert paid(datetime(2026, 11, 30, 23, tzinfo=UTC), "chat") == "5.00"
    assert paid(datetime(2026, 12, 31, 22, 59, 59, tzinfo=UTC), "chat") == "5.00"
    assert paid(datetime(2026, 12, 31, 23, tzinfo=UTC), "chat") == "2.50"
    assert paid(datetime(2026, 12, 10, tzinfo=UTC), "web") == "5.00"


LINES = (
    Line(id="phone", category="phones", quantity=Decimal(1), value=Decimal("300.00")),
    Line(id="case", category="accessories", quantity=Decimal(2), value=Decimal("40.00")),
    Line(id="sim", category="tariffs", quantity=Decimal(1), value=Decimal("60.00")),
)
GROUPS = [
    {"name": "tariffs", "when": ['item.category == "tariffs"'], "per_item": "25", "currency": "EUR"},
    {"name": "phones", "when": ['item.category == "phones"'], "percent": 2},
    {"name": "rest", "percent": 10},
]


def test_each_item_earns_by_the_first_terms_that_apply_to_it() -> None:
    """Row 19."""
    found = decided(site(BLOG, terms=GROUPS), came(1, "blog"), sale=sold("400.00", lines=LINES))
    assert earned(found) == {"blog": "35.00"}
    assert found.shares[0].commission is not None
    assert found.shares[0].commission.lines == (
        "terms tariffs for sim: 25 for each of 1 pieces = 25.00 EUR",
        "terms phones for phone: 2 % of 300.00 = 6.00 EUR",
        "terms rest for case: 10 % of 40.00 = 4.00 EUR",
    )


def test_a_refund_takes_its_part_back_by_item() -> None:
    policy, touch = site(BLOG, terms=GROUPS), came(1, "blog")
    back = replace(LINES[2], refunded=Decimal(60), returned=Decimal(1))
    sale = sold("400.00", refunded=Decimal(60), lines=(*LINES[:2], back))
    assert earned(decided(policy, touch, sale=sale)) == {"blog": "10.00"}
    half = replace(LINES[1], refunded=Decimal(20), returned=Decimal(1))
    sale = sold("400.00", refunded=Decimal(20), lines=(LINES[0], half, LINES[2]))
    assert earned(decided(policy, touch, sale=sale)) == {"blog": "33.00"}
    unnamed = sold("400.00", refunded=Decimal(200), lines=LINES)
    assert earned(decided(policy, touch, sale=unnamed)) == {"blog": "17.50"}


def test_the_orders_discount_and_shipping_are_divided_between_the_items() -> None:
    found = decided(site(BLOG, terms=GROUPS), came(1, "blog"), sale=sold("200.00", lines=LINES))
    assert earned(found) == {"blog": "30.00"}  # 25 + 2 % of 150 + 10 % of 20


@pytest.mark.parametrize(
    ("terms", "sale", "amount"),
    [
        ({"percent": 10, "cap": "5", "currency": "EUR"}, {}, "5.00"),
        ({"fixed": "3.333", "currency": "EUR"}, {}, "3.33"),
        ({"fixed": "3", "currency": "USD"}, {}, "0.00"),  # another currency
        ({"percent": 10, "when": ["order.total >= 100.0"]}, {}, "10.00"),
        ({"percent": 10, "when": ["order.total > 100.0"]}, {}, "0.00"),
        ({"percent": 10, "when": ['order.customer == "new"']}, {"shop_says": "new"}, "10.00"),
        ({"percent": 10, "when": ['order.customer == "new"']}, {"beside": Beside(earlier=2)}, "0.00"),
        ({"percent": 10, "when": ['order.customer == "new"']}, {"beside": Beside(earlier=0)}, "10.00"),
        (
            {"percent": 10, "when": ['order.customer == "new"']},
            {"shop_says": "new", "beside": Beside(earlier=2)},  # the shop knows better
            "10.00",
        ),
        ({"percent": 10, "when": ['order.customer == "new"']}, {}, "0.00"),  # nobody knows
        ({"percent": 10, "when": ['order.date >= "2026-12-24"']}, {}, "0.00"),
        ({"percent": 10, "when": ["touch.age_days < 2", 'partner.id == "blog"']}, {}, "10.00"),
        ({"report_only": True}, {}, "0.00"),
    ],
)
def test_terms_apply_by_their_conditions(terms: dict[str, Any], sale: dict[str, Any], amount: str) -> None:
    policy = site(BLOG, terms=[{"name": "t", **terms}])
    assert earned(decided(policy, came(1, "blog"), sale=sold(**sale))) == {"blog": amount}


def test_a_partners_own_terms_come_before_the_sites() -> None:
    own = {**BLOG, "terms": [{"name": "all", "percent": 7}]}
    policy = site(own, ANNA, terms=[{"name": "all", "percent": 3}])
    assert earned(decided(policy, came(1, "blog"))) == {"blog": "7.00"}
    assert earned(decided(policy, came(1, "anna"))) == {"anna": "3.00"}


def test_the_chat_operator_gets_its_part_of_chat_orders_only() -> None:
    """A14: explicit, and 100/0 by default."""
    terms = [{"name": "all", "percent": "5.55"}]
    policy = site(BLOG, terms=terms, operator="chatters", operator_percent=20)
    share = decided(policy, came(1, "blog"), channel="chat").shares[0].commission
    assert share is not None
    assert (str(share.amount), str(share.operator)) == ("4.44", "1.11")
    assert share.lines[-1] == "of it 20 % to chatters: 1.11 EUR"
    assert earned(decided(policy, came(1, "blog"))) == {"blog": "5.55"}
    assert earned(decided(site(BLOG, terms=terms), came(1, "blog"), channel="chat")) == {"blog": "5.55"}


def test_an_agreement_gives_a_part_to_another_partner() -> None:
    """Row 10."""
    splits = [{"name": "mentor", "of": "blog", "to": {"anna": 30}, "when": ["order.total > 50.0"]}]
    policy = site(BLOG, ANNA, splits=splits, terms=[{"name": "all", "percent": 10}])
    found = decided(policy, came(1, "blog"))
    assert (parts(found), earned(found)) == ({"blog": "0.7", "anna": "0.3"}, {"blog": "7.00", "anna": "3.00"})
    assert found.shares[1].click is None
    assert found.reason.endswith("; of the part of blog by agreement mentor: anna 30 %")
    assert parts(decided(policy, came(1, "blog"), sale=sold("50.00"))) == {"blog": "1"}
    with_click = decided(policy, came(2, "anna"), came(1, "blog"))
    assert with_click.shares[1].click == click("anna")


def test_renewals_earn_as_long_as_the_terms_say() -> None:
    """Row 23: by the partners of the customer's first order."""
    first = datetime(2026, 6, 10, 12, tzinfo=UTC).timestamp()
    origin = (Origin(partner="blog", part=Decimal(1), click=("", "blog", "blog-1"), touched_at=first - 60),)
    renewal = sold(recurring=True, beside=Beside(earlier=5, first_at=first, origin=origin))

    def paid(**terms: Any) -> dict[str, str]:
        return earned(decided(site(BLOG, terms=[{"name": "t", "percent": 10, **terms}]), sale=renewal))

    assert paid(renewals="lifetime") == {"blog": "10.00"}
    assert paid(renewals=7) == {"blog": "10.00"}
    assert paid(renewals=6) == {"blog": "0.00"}  # to the day
    found = decided(site(BLOG, terms=[{"name": "t", "percent": 10, "renewals": 12}]), sale=renewal)
    assert found.shares[0].click == click("blog")
    assert "renews a subscription" in found.reason
    assert paid() == {}


def test_nothing_is_left_of_a_refunded_or_cancelled_order() -> None:
    terms = [{"name": "all", "percent": 10, "fixed": "3", "per_item": "1", "currency": "EUR"}]
    policy = site(BLOG, terms=terms)
    for sale in (sold(refunded=Decimal(100)), sold(sold=False), sold(refunded=Decimal(100), lines=LINES)):
        assert earned(decided(policy, came(1, "blog"), sale=sale)) == {"blog": "0.00"}


# -- properties

NAMES = ("anna", "blog", "cash")
AMOUNT = st.decimals(0, 100, places=2)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Any model with any terms."""
    terms = draw(
        st.lists(
            st.fixed_dictionaries(
                {"percent": AMOUNT, "renewals": st.just("lifetime")},
                optional={
                    "when": st.sampled_from(
                        [['item.category == "a"'], ["order.total > 10.0"], ['partner.id == "anna"']]
                    ),
                    "fixed": AMOUNT,
                    "per_item": AMOUNT,
                    "cap": AMOUNT,
                },
            ),
            max_size=4,
        )
    )
    listed = [{"name": f"t{n}", **one} for n, one in enumerate(terms)]
    splits = draw(st.sampled_from([[], [{"name": "s", "of": "anna", "to": {"blog": 33, "cash": 33}}]]))
    return site(
        *({"id": name, "lookback_days": 30} for name in NAMES),
        model=draw(st.sampled_from(MODELS)),
        terms=[*listed, {"name": "rest", "percent": draw(AMOUNT), "renewals": "lifetime"}],
        splits=splits,
        operator_percent=draw(st.integers(0, 100)),
    )


@st.composite
def sales(draw: st.DrawFn) -> Sale:
    """Any order with any refunds, in a currency of no, two or three minor digits."""
    currency = draw(st.sampled_from(["JPY", "EUR", "KWD"]))
    digits = minor_digits(currency)
    total = draw(st.integers(0, 10**9))
    back = draw(st.sampled_from([0, total]) | st.integers(0, total))
    lines = draw(
        st.lists(
            st.builds(
                lambda value, quantity, category, gone: Line(
                    id=category,
                    category=category,
                    quantity=Decimal(quantity),
                    value=Decimal(value).scaleb(-digits),
                    refunded=min(Decimal(gone), Decimal(value)).scaleb(-digits),
                    returned=Decimal(min(gone, quantity)),
                ),
                st.integers(0, 10**8),
                st.integers(1, 9),
                st.sampled_from("ab"),
                st.sampled_from([0, 0, 1, 10**8]),
            ),
            max_size=4,
        )
    )
    return Sale(
        total=Decimal(total).scaleb(-digits),
        currency=currency,
        refunded=Decimal(back).scaleb(-digits),
        lines=tuple(lines),
        recurring=draw(st.booleans()),
    )


TOUCHES = st.lists(
    st.builds(
        lambda age, name: Touch(int(ORDER) - age, (click(name),)),
        st.integers(0, 29 * DAY),
        st.sampled_from(NAMES),
    ),
    max_size=6,
)


@given(policies(), sales(), TOUCHES, st.sampled_from(["web", "chat"]))
def test_the_shares_add_up_to_the_commission_to_the_last_minor_unit(
    policy: Policy, sale: Sale, touches: list[Touch], channel: str
) -> None:
    found = decide(Inputs(ORDER, ORDER, tuple(touches), channel=channel, sale=sale), policy)
    if not found.shares:
        return
    assert sum(share.part for share in found.shares) == 1
    whole = Decimal()
    unit = Decimal(1).scaleb(-minor_digits(str(sale.currency)))
    for share in found.shares:
        assert share.commission is not None
        for amount in (share.commission.amount, share.commission.operator):
            assert amount >= 0
            assert amount == amount.quantize(unit)
            whole += amount
    alone = _alone(policy, sale, found, channel)
    assert abs(whole - alone) <= unit / 2
    if sale.total == sale.refunded and sale.total:
        assert not whole


def _alone(policy: Policy, sale: Sale, found: Decision, channel: str) -> Decimal:
    """What each partner would earn if the order were all its own, times its part, with many more digits."""
    fine = replace(sale, currency=sale.currency)
    terms = replace(
        policy.terms, model="last", further=replace(policy.terms.further, splits=(), operator=Decimal())
    )
    sum_ = Decimal()
    for share in found.shares:
        touch = Touch(int(ORDER) - 60, (click(share.partner),))
        one = decide(Inputs(ORDER, ORDER, (touch,), channel=channel, sale=fine), Policy(terms)).shares[0]
        assert one.commission is not None
        sum_ += _exact(one.commission.lines) * share.part
    return sum_


def _exact(lines: tuple[str, ...]) -> Decimal:
    """The amounts that the lines of a commission end with."""
    return sum((Decimal(line.rpartition(" = ")[2].split()[0]) for line in lines if " = " in line), Decimal())


@given(policies(), sales(), TOUCHES)
def test_a_decision_is_the_same_from_what_the_ledger_keeps(
    policy: Policy, sale: Sale, touches: list[Touch]
) -> None:
    inputs = Inputs(ORDER, ORDER, tuple(touches), sale=sale)
    found = decide(inputs, policy)
    again = Policy.from_json(policy.data)
    assert again.version == policy.version
    assert decide(Inputs.from_json(inputs.to_json()), again) == found
    bare = repriced(found, replace(inputs, touches=(), forgotten=True), policy)
    assert [share.commission for share in bare.shares] == [share.commission for share in found.shares]


@given(policies(), sales(), TOUCHES, st.integers(0, 10**9))
def test_a_larger_refund_never_leaves_more(
    policy: Policy, sale: Sale, touches: list[Touch], more: int
) -> None:
    digits = minor_digits(str(sale.currency))
    assert sale.total is not None
    refunded = min(sale.refunded + Decimal(more).scaleb(-digits), sale.total)
    plain_lines = tuple(replace(line, refunded=Decimal(), returned=Decimal()) for line in sale.lines)

    def whole(gone: Decimal) -> Decimal:
        inputs = Inputs(ORDER, ORDER, tuple(touches), sale=replace(sale, refunded=gone, lines=plain_lines))
        shares = decide(inputs, policy).shares
        return sum((s.commission.amount + s.commission.operator for s in shares if s.commission), Decimal())

    # Of several lines the rounding of the base may move one minor unit between rates.
    slack = Decimal(len(sale.lines) + 1).scaleb(-digits)
    assert whole(refunded) <= whole(sale.refunded) + slack
