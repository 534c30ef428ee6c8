import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace

import pytest
from clew.referral.cookie import LIMIT, MAX_AGE, NAME, Known, VisitorCookie, new_visitor_id
from clew.referral.domains import CookieDomains
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Page, Restored, changed
from hypothesis import given
from hypothesis import strategies as st

SECRET = "s" * 32
NOW = 1763860000
AWIN = Click("awin", "awc", "1001_1763859600_0123456789abcdef", "awin")
TOUCH = Touch(NOW, (AWIN,), {"utm_source": "blog"}, "https://blog.example/", f"/?awc={AWIN.value}")
KNOWN = Known("a" * 26, (TOUCH,), NOW)


def cookies(
    secret: str = SECRET, *previous: str, site: str = "shop", domain: str | None = None
) -> VisitorCookie:
    return VisitorCookie(secret, previous, site, CookieDomains((), domain))


def value(set_cookie: bytes) -> bytes:
    return set_cookie.partition(b";")[0].removeprefix(NAME + b"=")


VALUE = value(cookies().set_cookie(KNOWN, secure=True))

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ids = st.binary(min_size=1, max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
clicks = st.builds(Click, texts, texts, ids, st.none() | st.sampled_from(["awin", "blog"]))
touches = st.builds(
    Touch,
    st.integers(0, 2**32),
    st.lists(clicks, max_size=3).map(tuple),
    st.dictionaries(texts, texts, max_size=3),
    texts,
    texts,
)


def test_a_written_cookie_is_read_back() -> None:
    assert cookies().read([NAME + b"=" + VALUE]) == KNOWN


@given(touch=touches)
def test_any_touch_is_read_back_unchanged(touch: Touch) -> None:
    known = Known(new_visitor_id(), (touch,), NOW)
    assert cookies().open(value(cookies().set_cookie(known, secure=False))) == known


@given(touch=touches, agreed=st.booleans(), rule=st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True))
def test_the_first_page_brings_its_invite_along(touch: Touch, agreed: bool, rule: str) -> None:
    """An invite is part of its page view: where there is no room for that, both are left out."""
    page = Page("view-number-1", float(NOW), "https://shop.example/mug", "A mug")
    known = Known(new_visitor_id(), (touch,), NOW, page, agreed=agreed, invited=rule)
    found = cookies().open(value(cookies().set_cookie(known, secure=False)))
    assert found == known
    assert found.restored == Restored((touch,), page, rule)
    visitor = changed(None, known.visitor, [found.restored, found.restored], NOW)
    assert [(one.rule, one.visit, one.pages, one.on(page.view)) for one in visitor.offers] == [
        (rule, 1, 1, True)
    ]
    wide = Touch(NOW, (AWIN,), {f"utm_{n}": f"{n}".zfill(200) + str(hash(str(n))) for n in range(60)})
    known = replace(known, touches=(wide,))
    narrow = cookies().open(value(cookies().set_cookie(known, secure=False)))
    assert narrow is not None
    assert (narrow.page is None) == (not narrow.invited)


def test_that_the_visitor_agreed_stays_in_the_cookie() -> None:
    agreed = replace(KNOWN, agreed=True)
    assert cookies().open(value(cookies().set_cookie(agreed, secure=True))) == agreed
    assert agreed != KNOWN
    necessary = replace(KNOWN, necessary=True)
    assert cookies().open(value(cookies().set_cookie(necessary, secure=True))) == necessary


def test_a_cookie_for_a_conversation_ends_with_the_browsers_session_and_one_is_deleted_by_an_empty_one() -> (
    None
):
    of_domain = cookies(domain="shop.example")
    session = of_domain.set_cookie(KNOWN, True, "shop.example", session=True)
    assert b"Max-Age" not in session
    assert session.endswith(b"; Path=/; HttpOnly; SameSite=Lax; Domain=shop.example; Secure")
    assert of_domain.unset_cookie(True, "shop.example") == (
        b"clew_visitor=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Domain=shop.example; Secure"
    )


def test_the_cookie_has_the_flags_of_a_first_party_cookie_of_400_days() -> None:
    plain = f"; Max-Age={MAX_AGE}; Path=/; HttpOnly; SameSite=Lax".encode()
    assert MAX_AGE == 400 * 86400
    assert cookies().set_cookie(KNOWN, secure=False).endswith(plain)
    assert cookies().set_cookie(KNOWN, secure=True).endswith(plain + b"; Secure")
    assert (
        cookies(domain="shop.example")
        .set_cookie(KNOWN, secure=True)
        .endswith(plain + b"; Domain=shop.example; Secure")
    )


def test_the_cookie_is_unreadable_and_different_each_time() -> None:
    again = value(cookies().set_cookie(KNOWN, secure=True))
    assert again != VALUE
    for part in (b"1001_", b"blog", b"a" * 8):
        assert part not in urlsafe_b64decode(VALUE + b"==")


def test_a_visitor_id_is_random_and_fits_into_the_ledger() -> None:
    made = {new_visitor_id() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"[a-z2-7]{26}", visitor) for visitor in made)


# -- bounds


def noise(length: int) -> str:
    return "".join(new_visitor_id() for _ in range(length // 26 + 1))[:length]


def many(count: int, length: int = 150) -> tuple[Touch, ...]:
    """Touches that do not pack well; every third has a partner's click."""
    out = []
    for n in range(count):
        id_ = noise(length)
        click = Click("awin", "awc", id_, "awin") if n % 3 == 0 else Click("google_ads", "gclid", id_)
        out.append(Touch(NOW + n, (click,), {"utm_source": id_[:20]}, "", f"/?x={id_}"))
    return tuple(out)


@given(count=st.integers(0, 40), length=st.integers(1, 512), secure=st.booleans())
def test_the_cookie_is_at_most_3_kb_with_name_and_attributes(count: int, length: int, secure: bool) -> None:
    known = Known(new_visitor_id(), many(count, length), NOW)
    domain = "a-rather-long-name." * 8 + "shop.example"
    assert LIMIT == 3072
    assert len(cookies(domain=domain).set_cookie(known, secure)) <= LIMIT


def test_touches_without_a_partner_are_dropped_first_oldest_first() -> None:
    all_of_them = many(24)
    known = cookies().open(value(cookies().set_cookie(Known("v", all_of_them, NOW), secure=True)))
    assert known is not None
    kept = {t.at for t in known.touches}
    partners = [t.at for t in all_of_them if t.clicks[0].partner]
    others = [t.at for t in all_of_them if not t.clicks[0].partner]
    assert kept.issuperset(partners)
    assert 0 < len(kept & set(others)) < len(others)
    assert kept & set(others) == set(others[-len(kept & set(others)) :])


def test_the_oldest_partner_touches_are_dropped_next_but_never_the_newest() -> None:
    partners = tuple(t for t in many(60) if t.clicks[0].partner)
    newer = Touch(NOW + 99, (Click("google_ads", "gclid", "x"),))
    known = cookies().open(value(cookies().set_cookie(Known("v", (*partners, newer), NOW), secure=True)))
    assert known is not None
    assert 0 < len(known.touches) < len(partners)
    assert known.touches == partners[-len(known.touches) :]


def test_the_newest_partner_touch_stays_even_if_only_its_click_fits() -> None:
    raw = bytes(range(256)) * 2
    click = Click("awin", "awc", raw.decode("utf-8", "surrogateescape"), "awin")
    others = tuple(Click("n", f"p{n}", noise(500), "blog") for n in range(7))
    touch = Touch(NOW, (*others, click), {"utm_source": noise(200)}, noise(300), noise(1000))
    known = cookies().open(value(cookies().set_cookie(Known("v", (touch,), NOW), secure=True)))
    assert known is not None
    assert known.touches == (Touch(NOW, (click,)),)


def test_a_visitor_is_known_even_if_no_touch_of_its_own_fits() -> None:
    giant = Touch(NOW, (Click("n", "p", noise(10000), "blog"),))
    known = cookies().open(value(cookies().set_cookie(Known("v", (giant,), NOW), secure=True)))
    assert known == Known("v", (), NOW)


# -- among other cookies


@pytest.mark.parametrize(
    "headers",
    [
        [b"a=1; clew_visitor=%s; b=2"],
        [b"a=1", b"clew_visitor=%s"],
        [b"clew_visitor=%s;a"],
        [b'weird; =x; "q"=";; \xff\x00; clew_visitor=%s'],
        [b"clew_visitor=junk; clew_visitor=%s; clew_visitor="],
        [b"xclew_visitor=1; clew_visitors=2;clew_visitor=%s"],
    ],
)
def test_the_cookie_is_found_among_others(headers: list[bytes]) -> None:
    assert cookies().read([h.replace(b"%s", VALUE) for h in headers]) == KNOWN


def test_of_two_cookies_the_one_with_the_latest_touch_counts() -> None:
    older = value(cookies().set_cookie(Known("b" * 26, (Touch(NOW - 9, (AWIN,)),), NOW + 5), secure=True))
    for pair in ((VALUE, older), (older, VALUE)):
        assert cookies().read([b"; ".join(NAME + b"=" + v for v in pair)]) == KNOWN


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_no_cookie_header_breaks_the_reader(headers: list[bytes]) -> None:
    assert cookies().read(headers) is None
    assert cookies().read([*headers, NAME + b"=" + VALUE]) == KNOWN


def test_a_flood_of_cookies_of_our_name_costs_little() -> None:
    flood = b"; ".join([NAME + b"=" + b"A" * 60] * 500)
    assert cookies().read([flood, NAME + b"=" + VALUE]) is None


# -- forged


@given(
    st.integers(0, len(VALUE) - 1),
    st.sampled_from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.%= "),
)
def test_a_cookie_with_one_changed_character_is_invalid(place: int, char: int) -> None:
    forged = bytearray(VALUE)
    forged[place] = char
    opened = cookies().open(bytes(forged))
    # The last character may hold bits that belong to no byte.
    assert opened is None or urlsafe_b64decode(bytes(forged) + b"==") == urlsafe_b64decode(VALUE + b"==")


@given(st.integers(0, len(VALUE) - 1))
def test_a_truncated_cookie_is_invalid(end: int) -> None:
    assert cookies().open(VALUE[:end]) is None


@given(st.binary(max_size=4500) | st.binary(max_size=400).map(urlsafe_b64encode))
def test_any_other_cookie_value_is_invalid(raw: bytes) -> None:
    assert cookies().open(raw) is None
    assert cookies().open(b"AQ" + raw) is None


@given(st.text(max_size=100))
def test_any_text_is_an_invalid_cookie(text: str) -> None:
    assert cookies().open(text) is None


def test_a_value_may_be_text() -> None:
    assert cookies().open(VALUE.decode("ascii")) == KNOWN


def test_a_value_of_more_than_4_kb_is_not_looked_at() -> None:
    assert cookies().open(VALUE + b"A" * 4096) is None


def test_a_cookie_of_one_shop_is_invalid_at_another() -> None:
    assert cookies(site="other").open(VALUE) is None


def test_a_cookie_encrypted_with_another_secret_is_invalid() -> None:
    assert cookies("x" * 32).open(VALUE) is None


def test_after_the_secret_was_changed_old_cookies_are_read_and_new_ones_written_under_the_new() -> None:
    rotated = cookies("n" * 32, "m" * 32, SECRET)
    assert rotated.open(VALUE) == KNOWN
    renewed = value(rotated.set_cookie(KNOWN, secure=True))
    assert cookies().open(renewed) is None
    assert cookies("n" * 32).open(renewed) == KNOWN
