from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest
import tc_strings
from clew.referral.arrival import Consent
from clew.referral.consent.decision import ASSUMED, ConsentState, Terms, decide, permitted
from clew.referral.consent.message import PageMessage, read_message
from clew.referral.consent.tcf import Vendor
from clew.referral.touches import Click, Touch
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_795_750_000.0
GRANTED, DENIED, PENDING = Consent.GRANTED, Consent.DENIED, Consent.PENDING
ASK = Terms("ask")
AWIN = {"awin": Vendor(907, frozenset({1}), frozenset({7}), frozenset({7}))}


def bot(marketing: bool, utc: float = NOW - 100, region: str = "de", statistics: bool = True) -> str:
    yes = {True: "true", False: "false"}
    return (
        f"CookieConsent={{stamp:'x'%2Cnecessary:true%2Cpreferences:true%2Cstatistics:{yes[statistics]}"
        f"%2Cmarketing:{yes[marketing]}%2Cver:1%2Cutc:{utc * 1000:.0f}%2Cregion:'{region}'}}"
    )


def state(
    *cookies: str, terms: Terms = ASK, gpc: bool = False, message: dict[str, Any] | None = None
) -> ConsentState:
    told = read_message(message) if message is not None else None
    return decide(terms, [c.encode() for c in cookies], gpc, told, NOW)


def test_consent_is_pending_without_any_source() -> None:
    found = state("_ga=GA1.1.1")
    assert (found.consent, found.why) == (PENDING, "no consent tool's choice was seen")
    assert found.of("awin").consent is PENDING
    assert set(found.purposes) == {"preferences", "statistics", "marketing"}


def test_a_choice_is_shown_with_its_evidence() -> None:
    found = state(bot(True))
    assert (found.consent, found.of("cj").consent) == (GRANTED, GRANTED)
    assert found.why == "cookie CookieConsent: Cookiebot: preferences yes, statistics yes, marketing yes"
    (evidence,) = found.evidence
    assert (evidence.source, evidence.at) == ("cookie CookieConsent", NOW - 100)
    assert evidence.raw.startswith("{stamp:'x',necessary:true")


def test_a_touch_keeps_the_evidence_of_its_consent() -> None:
    touch = Touch(int(NOW), (Click("awin", "awc", "1", "awin"), Click("cj", "cjevent", "2", "cj")))
    granted = permitted(touch, state(bot(True)))
    assert granted is not None
    assert (granted.consent, granted.clicks) == ("cookie CookieConsent, 2026-11-27 03:25 UTC", touch.clicks)
    untimed = permitted(touch, state("cmplz_marketing=allow"))
    assert untimed is not None
    assert untimed.consent == "cookie cmplz_marketing"
    assert Touch.from_json(untimed.to_json()) == untimed
    assert permitted(touch, ASSUMED) is touch
    ancient = permitted(touch, state('_iub_cs-1={"timestamp":"0001-01-01","consent":true}'))
    assert ancient is not None
    assert ancient.consent == "cookie _iub_cs-1"


def test_a_network_that_was_refused_loses_its_click_alone() -> None:
    touch = Touch(int(NOW), (Click("awin", "awc", "1", "awin"), Click("cj", "cjevent", "2", "cj")))
    string = tc_strings.tc_string(at=NOW - 9, consents={1, 7})
    found = state(f"euconsent-v2={string}", terms=Terms("ask", vendors=AWIN))
    kept = permitted(touch, found)
    assert kept is not None
    assert [click.network for click in kept.clicks] == ["cj"]
    assert permitted(Touch(int(NOW), touch.clicks[:1]), found) is None


def test_all_purposes_that_the_site_requires_are_needed() -> None:
    cookie = bot(True, statistics=False)
    assert state(cookie).consent is GRANTED
    assert state(cookie, terms=Terms("ask", ("statistics", "marketing"))).consent is DENIED
    assert state("cmplz_marketing=allow", terms=Terms("ask", ("statistics", "marketing"))).consent is PENDING
    assert (
        state(
            "cmplz_marketing=allow", "cmplz_statistics=allow", terms=Terms("ask", ("statistics", "marketing"))
        ).consent
        is GRANTED
    )
    assert state(bot(False), terms=Terms("ask", ("statistics",))).consent is GRANTED


def test_mode_assume_grants_without_reading_anything() -> None:
    assumed = Terms("assume")
    assert state(bot(False), terms=assumed, gpc=True) is ASSUMED
    assert state(terms=assumed, message={"tcf": "x", "mode": {"ad_storage": "denied"}}) is ASSUMED
    assert state(terms=assumed, message={"choice": "denied"}).consent is DENIED
    assert state(terms=assumed, message={"choice": "granted"}) is ASSUMED


@pytest.mark.parametrize("cookies", [*permutations([bot(True, NOW - 50), "cmplz_marketing=deny"])])
def test_a_refusal_without_a_time_counts_before_a_grant(cookies: Sequence[str]) -> None:
    found = state(*cookies)
    assert found.consent is DENIED
    assert len(found.evidence) == 2


@pytest.mark.parametrize(
    ("granted", "refused", "expected"),
    [(NOW - 50, NOW - 100, GRANTED), (NOW - 100, NOW - 50, DENIED), (NOW - 50, NOW - 50, DENIED)],
)
def test_of_two_timed_choices_the_later_counts(granted: float, refused: float, expected: Consent) -> None:
    yes, no = bot(True, granted), f"euconsent-v2={tc_strings.tc_string(at=refused)}"
    assert state(yes, no).consent is state(no, yes).consent is expected
    # The same name twice, for the host and for the domain.
    assert state(bot(False, refused), bot(True, granted)).consent is expected


def test_a_choice_dated_in_the_far_future_does_not_win_for_ever() -> None:
    ahead = bot(True, NOW + 400 * 86400)
    assert state(ahead).consent is GRANTED
    assert state(ahead, bot(False, NOW - 10)).consent is DENIED


def test_the_page_in_particular_counts_before_cookies() -> None:
    assert state(bot(False), message={"choice": "granted"}).consent is GRANTED
    assert state(bot(True), message={"choice": "denied"}).consent is DENIED


def test_consent_mode_counts_only_without_a_more_specific_source() -> None:
    mode = {"mode": {"ad_storage": "granted", "analytics_storage": "denied"}}
    found = state(message=mode)
    assert (found.consent, found.purposes["statistics"].consent) == (GRANTED, DENIED)
    assert state(bot(False), message=mode).consent is DENIED
    assert state(bot(True), message={"mode": {"ad_storage": "denied"}}).consent is GRANTED


def test_consent_that_is_not_required_is_granted_except_in_strict_mode() -> None:
    for cookie, message in (
        ("CookieConsent=-1", None),
        ("_ga=1", {"gdpr": False}),
        ("_ga=1", {"gpp": "DBABrw~1YNN"}),
    ):
        assert state(cookie, terms=Terms("strict"), message=message).consent is PENDING
    assert state("CookieConsent=-1").consent is GRANTED
    assert state(message={"gdpr": False}).consent is GRANTED
    assert state("CookieConsent=-1", "cmplz_marketing=deny").consent is DENIED
    assert state(bot(True), terms=Terms("strict")).consent is GRANTED
    assert state(message={"mode": {"ad_storage": "granted"}}, terms=Terms("strict")).consent is PENDING
    assert state(message={"mode": {"ad_storage": "denied"}}, terms=Terms("strict")).consent is DENIED


@pytest.mark.parametrize(
    ("setting", "region", "expected"),
    [
        ("us", "de", GRANTED),
        ("us", "us-06", DENIED),
        ("us", "", DENIED),
        ("always", "de", DENIED),
        ("ignore", "us-06", GRANTED),
    ],
)
def test_the_site_configures_global_privacy_control(setting: Any, region: str, expected: Consent) -> None:
    found = state(bot(True, region=region), terms=Terms("ask", gpc=setting), gpc=True)
    assert found.consent is expected
    assert any(signal.source == "Sec-GPC" for signal in found.evidence)


def test_the_global_privacy_control_denies_marketing_alone() -> None:
    found = state(gpc=True)
    assert found.consent is DENIED
    assert found.purposes["statistics"].consent is PENDING
    assert state(bot(True), terms=Terms("strict"), gpc=True).consent is DENIED
    assert state(bot(True, region=""), gpc=True, message={"choice": "granted"}).consent is DENIED


def opt_out(*choices: int, gpc: bool | None = None) -> str:
    core = tc_strings._packed(tc_strings.number(1, 6) + "0" * 6 + "".join(f"{c:02b}" for c in choices))
    sub = "" if gpc is None else "." + tc_strings._packed("01" + ("1" if gpc else "0"))
    return f"{tc_strings.gpp_header([8])}~{core}{sub}"


def test_a_gpp_string_of_california_says_whether_the_visitor_opted_out() -> None:
    assert state(message={"gpp": opt_out(2, 2)}).consent is GRANTED
    assert state(message={"gpp": opt_out(2, 1)}).consent is DENIED
    assert state(message={"gpp": opt_out(2, 2, gpc=True)}).consent is DENIED
    assert state(message={"gpp": opt_out(2, 2, gpc=False)}).consent is GRANTED
    assert state(message={"gpp": opt_out(0, 0)}).consent is PENDING
    assert state(bot(True), message={"gpp": opt_out(1, 2)}).consent is DENIED


def test_a_gpp_string_of_europe_is_its_tc_string() -> None:
    inner = tc_strings.tc_string(at=NOW - 9, consents={1, 7}, vendor_consents=[(907, 907)])
    gpp = f"{tc_strings.gpp_header([2])}~{inner}"
    found = state(message={"gpp": gpp}, terms=Terms("ask", vendors=AWIN))
    assert (found.consent, found.tcf) == (GRANTED, inner)
    assert "legitimate interest" in found.of("awin").why


def test_a_tc_string_refuses_a_network_in_particular() -> None:
    terms = Terms("ask", vendors=AWIN)
    usual: dict[str, Any] = {"consents": {1, 7}, "interests": {7}, "vendor_interests": [(907, 907)]}

    def given(**fields: Any) -> ConsentState:
        return state(f"euconsent-v2={tc_strings.tc_string(at=NOW - 9, **{**usual, **fields})}", terms=terms)

    yes = given(vendor_consents=[(907, 907)])
    assert (yes.consent, yes.of("awin").consent, yes.of("dub").consent) == (GRANTED, GRANTED, GRANTED)
    no = given()
    assert (no.consent, no.of("awin").consent, no.of("dub").consent) == (GRANTED, DENIED, GRANTED)
    assert no.of("awin").why == "cookie euconsent-v2: no consent to vendor 907 for purpose 1"
    # A network gets no more than the purposes.
    assert given(vendor_consents=[(907, 907)], consents={1}).of("awin").consent is DENIED


def test_an_invalid_tc_string_is_pending_and_not_forwarded() -> None:
    old = tc_strings.tc_string(at=NOW - 9, consents={1, 7}, disclosed=None)
    found = state(f"euconsent-v2={old}")
    assert (found.consent, found.tcf) == (PENDING, "")
    assert "disclosed vendors" in found.why
    # The page's other words stand.
    assert state(f"euconsent-v2={old}", bot(True)).consent is GRANTED


@pytest.mark.parametrize(
    "data",
    [
        None,
        "granted",
        [],
        {},
        {"choice": True, "tcf": 5, "gdpr": "yes", "gpp": None, "mode": ["ad_storage"]},
        {"mode": {"ad_storage": "maybe", "security_storage": "granted"}},
        {"choice": "Granted"},
        {"tcf": "C" * 20_000, "gpp": "D" * 20_000},
        {"mode": {"ad_storage": {}}},
    ],
)
def test_a_message_without_valid_values_is_none(data: object) -> None:
    assert read_message(data) is None


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda c: st.lists(c, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(["choice", "tcf", "gdpr", "gpp", "mode"]), json_like | st.text(max_size=60)
    ),
    st.lists(st.binary(max_size=200), max_size=3),
    st.booleans(),
)
def test_any_signals_give_a_consent_state(data: dict[str, Any], cookies: list[bytes], gpc: bool) -> None:
    for terms in (ASK, Terms("strict"), Terms("assume"), Terms("ask", vendors=AWIN)):
        found = decide(terms, cookies, gpc, read_message(data), NOW)
        assert found.why


def test_a_page_message_is_read_as_the_loader_sends_it() -> None:
    told = {
        "choice": "granted",
        "tcf": "CP",
        "gdpr": True,
        "gpp": "DB",
        "mode": {"ad_storage": "denied", "x": "granted"},
    }
    assert read_message(told) == PageMessage("granted", "CP", True, "DB", {"ad_storage": "denied"})
