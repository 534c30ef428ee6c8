"""field C6, E10: what of an address is kept and shown, by one rule."""

from urllib.parse import unquote

import pytest
from clew.referral.landing import LandingReader
from clew.referral.masking import Masking, masked_path, masked_text, short
from clew.referral.networks_file import load
from clew.settings.model import Partner, Site
from clew.settings.platforms import with_platform
from costs import assert_linear
from hypothesis import given
from hypothesis import strategies as st

MASKING = Masking(("awc", "ref"), ("utm_source", "q", "route", "product_id"))


@pytest.mark.parametrize(
    ("address", "stored"),
    [
        ("/reset?token=SECRET#access_token=SECRET", "/reset?token"),
        ("/index.php?route=account/edit&user_token=SECRET", "/index.php?route=account/edit&user_token"),
        ("/index.php?route=product&product_id=42", "/index.php?route=product&product_id=42"),
        ("/?awc=1001_17_ab&utm_source=x&sid=SECRET", "/?awc=1001_17_ab&utm_source=x&sid"),
        ("/?AWC=1001_17_ab&Q=mill", "/?AWC=1001_17_ab&Q=mill"),
        ("/?email=me%40x.example", "/?email"),
        ("/?q=me%40x.example", "/?q=…"),
        ("/?q=mill?token=SECRET", "/?q=mill&token"),
        ("/?q=mill;token=SECRET", "/?q=mill…"),
        ("/?route=%2Freset%3Ftoken%3DSECRET", "/?route=%2Freset…"),
        ("/?a=1&amp;token=SECRET", "/?a&token"),
        ("/?token%3DSECRET", "/?…"),
        ("/?eyJhbGciOiJIUzI1NiJ9.e30.abc", "/?…"),
        ("/?me@x.example", "/?…"),
        ("https://anna:SECRET@shop.example/mug?x=1", "https://shop.example/mug?x"),
        ("//other.example/?x=SECRET", "//other.example/?x"),
        ("android-app://com.example/x?y=SECRET", "android-app://com.example/x?y"),
        ("/reset/SECRET", "/reset/…"),
        ("/account/activate/12/SECRET/", "/account/activate/…/…/"),
        ("/Reset-Password/SECRET?x=1", "/Reset-Password/…?x"),
        ("/u/me%40x.example/orders", "/u/…/orders"),
        ("/cart;jsessionid=SECRET", "/cart;…"),
        ("/download/9f86d081884c7d659a2feaa0c55ad015", "/download/…"),
        ("/o/550e8400-e29b-41d4-a716-446655440000", "/o/…"),
        ("/s/Ab3-x9_Kq2LmN8zzQ1w", "/s/…"),
        ("/pay/4111111111111111", "/pay/…"),
        ("", ""),
        ("?", ""),
        ("/", "/"),
    ],
)
def test_only_known_values_of_an_address_are_kept(address: str, stored: str) -> None:
    assert MASKING.stored(address) == stored


@pytest.mark.parametrize(
    "path",
    [
        "/mills/grinder-mk-2.html",
        "/p/nike-air-max-270-react-2024-mens-shoes",
        "/Samsung-Galaxy-S24-Ultra-5G-256GB-Titanium-SM-S928B",
        "/dp/B07XJ8C8F5",
        "/NikeAirMaxRunningShoesForKids/",
        "/gtin/04006381333931",
        "/donaudampfschifffahrtsgesellschaft",
        "/%E3%82%AB%E3%83%A1%E3%83%A9",
        "/@maker/2024",
        "/checkout/onepage/success/",
        "/resetting-your-grinder",
    ],
)
def test_page_names_of_shops_are_kept(path: str) -> None:
    assert masked_path(path) == path


def test_the_log_shows_the_begin_of_a_click_id() -> None:
    assert MASKING.logged("/?awc=1001_1763859600_0123&ref=AB12&q=mill") == "/?awc=1001_1…&ref=AB…&q=mill"
    assert (short("x"), short("")) == ("…", "")


def test_without_a_site_every_value_is_hidden() -> None:
    assert Masking().logged("/?awc=1&q=2") == "/?awc&q"


def test_the_values_of_known_query_parameters_are_stored() -> None:
    site = Site(
        name="shop",
        platform="opencart",
        keep_query=["colour"],
        page_types={"/list?view=sale": "category"},
        partners=[Partner(id="blog", param="Ref", postback="https://blog.example/?c={click_id}")],
    )
    masking = LandingReader(with_platform(site), load()).masking
    address = (
        "/index.php?route=product/product&product_id=42&user_token=SECRET&colour=red&view=sale&ref=A&awc=1"
    )
    assert masking.stored(address) == address.replace("=SECRET", "")


def test_titles_lose_addresses_of_people() -> None:
    assert masked_text("Orders of me@x.example | Shop") == "Orders of … | Shop"
    assert masked_text("50 % off @ the mill") == "50 % off @ the mill"


@given(st.text(max_size=300))
def test_any_text_can_be_masked_twice(address: str) -> None:
    stored = MASKING.stored(address)
    assert "#" not in stored
    assert unquote(MASKING.stored(stored)) == unquote(stored)


@pytest.mark.parametrize("piece", ["a", "@", "&a", "?a=", ";a=", "&amp;", "/", "%", "a1", "-", "=", "%3D"])
def test_masking_takes_time_in_proportion_to_the_address(piece: str) -> None:
    assert_linear(lambda length: MASKING.stored("/?q=" + piece * (length // len(piece))), 8_000)
