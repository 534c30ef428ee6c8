import string

import pytest
from clew.referral.landing import LandingReader
from clew.referral.macros import unfilled
from clew.referral.networks_file import load
from clew.settings.model import Partner, Site
from hypothesis import assume, given
from hypothesis import strategies as st

NOW = 1763860000.9  # 2025-11-23 01:06:40 UTC
DAY = 86400


def set_cookies(
    query: bytes, *networks: str, secure: bool = True, domain: str | None = None, **more: str
) -> list[bytes]:
    partners = [Partner.model_validate({"id": n, "network": n, **more}) for n in networks]
    site = Site(name="shop", hosts=["shop.example"], partners=partners, cookie_domain=domain)
    reader = LandingReader(site, load())
    touch = reader.read(query, b"/", None, NOW)
    assert touch is not None
    return reader.set_cookies(touch, secure)


@pytest.mark.parametrize(
    ("network", "query", "cookies"),
    [
        ("awin", b"awc=1001_1_ab", [b"awc=1001_1_ab; Max-Age=31536000; Path=/; Secure; HttpOnly"]),
        ("awin", b"sn=1&awc=1001_1_ab", [b"sn_awc=1001_1_ab; Max-Age=31536000; Path=/; Secure; HttpOnly"]),
        ("awin", b"sn=0&awc=1", [b"awc=1; Max-Age=31536000; Path=/; Secure; HttpOnly"]),
        ("cj", b"CJEvent=f5c7", [b"cje=f5c7; Max-Age=34128000; Path=/; Secure"]),
        ("cj", b"cjdata=MXxO", []),
        (
            "rakuten",
            b"ranMID=77&ranEAID=9&ranSiteID=a.B-c",
            [b"rmStore=amid:77|ald:20251123_0106|atrv:a.B-c; Max-Age=2592000; Path=/; Secure"],
        ),
        (
            "rakuten",
            b"ranSiteID=a.B-c",
            [b"rmStore=ald:20251123_0106|atrv:a.B-c; Max-Age=2592000; Path=/; Secure"],
        ),
        ("daisycon", b"dci=x", [b"dci=x; Max-Age=31622400; Path=/; Secure; SameSite=None"]),
        ("kwanko", b"kwkuniv=x", [b"kwku=x; Max-Age=5184000; Path=/; Secure; SameSite=None"]),
        ("belboon", b"belboon=x", [b"bb_trc=x; Max-Age=2592000; Path=/; Secure; HttpOnly"]),
        ("ingenious", b"iclid=x", [b"_iclid=x; Max-Age=31536000; Path=/; Secure"]),
        ("dub", b"dub_id=x", [b"dub_id=x; Max-Age=7776000; Path=/; Secure; SameSite=Lax"]),
        ("dub", b"via=x", []),
        (
            "tradedoubler",
            b"tduid=x&tdclid_sn=y",
            [b"tduid=x; Max-Age=31536000; Path=/; Secure", b"tdclid_sn=y; Max-Age=31536000; Path=/; Secure"],
        ),
        ("everflow", b"_ef_transaction_id=x", []),
    ],
)
def test_each_network_gets_its_own_cookie_with_its_own_flags(
    network: str, query: bytes, cookies: list[bytes]
) -> None:
    assert set_cookies(query, network) == cookies


def test_a_network_that_is_no_partner_gets_no_cookie() -> None:
    assert set_cookies(b"awc=1&cjevent=2", "cj") == [b"cje=2; Max-Age=34128000; Path=/; Secure"]


def test_a_visit_without_a_click_leaves_the_networks_cookies_alone() -> None:
    assert set_cookies(b"utm_source=mail", "awin", "cj") == []


def test_network_cookies_use_the_domain_in_the_settings() -> None:
    (cookie,) = set_cookies(b"cjevent=1", "cj", domain="shop.example")
    assert cookie == b"cje=1; Max-Age=34128000; Path=/; Domain=shop.example; Secure"


def test_without_https_a_cookie_is_set_in_a_form_that_browsers_keep() -> None:
    assert set_cookies(b"awc=1", "awin", secure=False) == [b"awc=1; Max-Age=31536000; Path=/; HttpOnly"]
    assert set_cookies(b"dci=1", "daisycon", secure=False) == [b"dci=1; Max-Age=31622400; Path=/"]


def test_a_cookie_is_set_for_the_parameter_that_the_partner_chose() -> None:
    assert set_cookies(b"event=1", "cj", param="event") == [b"cje=1; Max-Age=34128000; Path=/; Secure"]


@pytest.mark.parametrize(
    "written", [b"a%0D%0ASet-Cookie:%20x=1", b"a%3Bb", b"a%20b", b"a%2Cb", b"a%22b", b"%C3%BC", b"%00"]
)
def test_a_click_id_that_no_cookie_can_contain_gets_no_cookie(written: bytes) -> None:
    assert set_cookies(b"awc=" + written, "awin") == []


@pytest.mark.parametrize("value", [b"a:b=c|d%e", b"{12}", b"0::1::ref::::2"])
def test_a_click_id_that_fits_into_a_cookie_is_stored_unchanged(value: bytes) -> None:
    assert set_cookies(b"awc=" + value, "awin")[0].startswith(b"awc=" + value + b"; ")


WORDS = st.text(string.ascii_letters + string.digits, min_size=1, max_size=40).map(str.encode)


@given(WORDS | st.lists(WORDS | st.sampled_from([b"; ", b";", b"|", b"=", b"-"])).map(b"".join) | st.binary())
def test_no_click_id_writes_into_the_attributes(raw: bytes) -> None:
    assume(0 < len(raw) <= 100 and not unfilled(raw.decode("utf-8", "replace")))
    query = b"ranMID=%b&ranSiteID=%b" % ((b"".join(b"%%%02X" % c for c in raw),) * 2)
    cookies = set_cookies(query, "rakuten")
    assert len(cookies) == 1 or not raw.isalnum()
    for cookie in cookies:
        assert cookie.endswith(b"|atrv:" + raw + b"; Max-Age=2592000; Path=/; Secure")
        assert cookie.count(b";") == 3
