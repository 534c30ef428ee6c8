"""Arrivals: one function computes the stored touches and the cookies for each kind of arrival."""

import pytest
from clew.referral.arrival import Arrival, Consent, arrive
from clew.referral.cookie import Known
from clew.referral.touches import INSIDE, Click, Touch
from clew.referral.visitor import Page, Touched

NOW = 1_800_000_000.0
GRANTED = Consent.GRANTED


def touch(value: str = "1001_1_a", at: float = NOW, doubt: str = "") -> Touch:
    return Touch(int(at), (Click("awin", "awc", value, "awin"),), doubt=doubt)


def known(*touches: Touch, stale: bool = False) -> Known:
    return Known("v" * 26, touches, int(NOW) - 100, stale=stale)


def test_a_newcomer_with_a_click_gets_a_cookie_that_holds_it() -> None:
    found = arrive(None, touch(), GRANTED, NOW)
    assert (found.new, found.renew, found.changes) == (True, True, (Touched(touch()),))
    assert (found.known.touches, found.known.issued, found.known.page) == ((touch(),), int(NOW), None)
    assert len(found.known.visitor) == 26


def test_a_newcomer_without_one_gets_a_cookie_with_its_first_page() -> None:
    page = Page("view-1", NOW, "/")
    found = arrive(None, None, GRANTED, NOW, page)
    assert (found.touch, found.new, found.renew, found.changes) == (None, False, True, ())
    assert found.known.page == page


def test_a_visitor_without_a_touch_keeps_its_cookie() -> None:
    assert arrive(known(touch()), None, GRANTED, NOW) == Arrival(known(touch()))


def test_a_cookie_under_an_old_secret_is_renewed() -> None:
    assert arrive(known(stale=True), None, GRANTED, NOW).renew
    assert arrive(known(touch(), stale=True), touch(), GRANTED, NOW).renew


def test_another_click_joins_those_that_are_known() -> None:
    old, new = touch("old", NOW - 50), touch("new")
    found = arrive(known(old), new, GRANTED, NOW)
    assert found == Arrival(known(old, new), new, new=True, renew=True, changes=(Touched(new),))


def test_the_same_click_again_is_an_arrival_but_no_new_touch() -> None:
    again = touch(at=NOW + 86400)
    found = arrive(known(touch()), again, GRANTED, NOW + 86400)
    assert found == Arrival(known(touch()), again)


def test_a_known_click_on_the_shops_own_page_is_no_arrival() -> None:
    found = arrive(known(touch()), touch(at=NOW + 60, doubt=INSIDE), GRANTED, NOW + 60)
    assert found == Arrival(known(touch()))


def test_a_suspicious_click_that_is_new_is_kept() -> None:
    doubtful = touch(doubt=INSIDE)
    assert arrive(known(), doubtful, GRANTED, NOW).known.touches == (doubtful,)


def test_the_cookie_records_that_consent_was_asked() -> None:
    asked = arrive(None, None, GRANTED, NOW, agreed=True)
    assert asked.known.agreed
    assert not arrive(None, None, GRANTED, NOW).known.agreed
    # Who wrote in the chat before it agreed has a cookie without it, which is renewed.
    talker = Known("v" * 26, (), NOW)
    later = arrive(talker, None, GRANTED, NOW, agreed=True)
    assert (later.known.visitor, later.known.agreed, later.renew) == (talker.visitor, True, True)
    assert not arrive(later.known, None, GRANTED, NOW, agreed=True).renew


@pytest.mark.parametrize("consent", [Consent.DENIED, Consent.PENDING])
@pytest.mark.parametrize("who", [None, known(), known(touch("old", NOW - 50), stale=True)])
def test_without_consent_nothing_is_kept_and_no_cookie_set(consent: Consent, who: Known | None) -> None:
    found = arrive(who, touch(), consent, NOW)
    assert (found.touch, found.new, found.renew, found.changes) == (None, False, False, ())
    assert who is None or found.known == who
