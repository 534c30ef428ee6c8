"""A redirect that drops the click while the visitor has not chosen on consent: the address keeps it."""

import pytest
from clew.injector.heads import ResponseHead, value
from clew.middleware.exchange.exchange import Exchange
from clew.referral.networks_file import load
from clew.service.site import SiteRuntime
from clew.settings.model import Settings
from exchanges import NOW, navigate, request, run


def asking(mode: str = "ask", **more: object) -> SiteRuntime:
    site = {
        "name": "shop",
        "hosts": ["shop.example", "www.shop.example"],
        "partners": [
            {"id": "blog", "param": "ref", "postback": "http://127.0.0.1:9/{click_id}"},
            {"id": "awin", "network": "awin", "settings": {"advertiser_id": "1"}},
        ],
        "consent": {"mode": mode},
        **more,
    }
    settings = Settings.model_validate({"secret": "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6i", "sites": [site]})
    return SiteRuntime(settings, settings.sites[0], load())


def location(
    to: str,
    target: bytes = b"/?ref=A1&x=2",
    *,
    status: int = 302,
    site: SiteRuntime | None = None,
    cookie: str = "",
) -> str:
    exchange = Exchange(site or asking(), NOW)
    navigate(exchange, request(*target.split(b"?", 1), cookie=cookie))
    headers = [(b"location", to.encode("latin-1")), (b"cache-control", b"public, max-age=9")]
    head = run(exchange, ResponseHead(status, headers)).head
    assert head is not None
    found = value(head.headers, b"location")
    assert found is not None
    kept = b"private" in (value(head.headers, b"cache-control") or b"")
    assert kept == (found != to.encode("latin-1")), "no shared cache may keep what depends on the visitor"
    return found.decode("latin-1")


@pytest.mark.parametrize(
    ("to", "after"),
    [
        ("/", "/#ref=A1"),
        ("/de/?lang=de", "/de/?lang=de#ref=A1"),
        ("https://www.shop.example/", "https://www.shop.example/#ref=A1"),
        ("//shop.example/", "//shop.example/#ref=A1"),
        # It is there already.
        ("/home?ref=A1", "/home?ref=A1"),
        ("/home?a=1&ref=A1", "/home?a=1&ref=A1"),
        # Another click than the visitor came by.
        ("/home?ref=B2", "/home?ref=B2#ref=A1"),
        # The fragment is the shop's.
        ("/#/start", "/#/start"),
        # Nobody else is told.
        ("https://pay.example/", "https://pay.example/"),
        ("//pay.example/", "//pay.example/"),
        ("app:open", "app:open"),
        ("http://[", "http://["),
    ],
)
def test_a_redirect_within_the_shop_keeps_the_click_in_its_address(to: str, after: str) -> None:
    assert location(to) == after


@pytest.mark.parametrize("status", [200, 201, 300, 304, 404])
def test_other_answers_stay_as_they_are(status: int) -> None:
    assert location("/", status=status) == "/"


@pytest.mark.parametrize(
    ("site", "cookie"),
    [
        (asking("assume"), ""),
        (asking(), "cmplz_marketing=allow"),
        (asking(), "cmplz_marketing=deny"),
        (asking(inject=False), ""),
    ],
)
def test_only_while_the_visitor_has_not_chosen(site: SiteRuntime, cookie: str) -> None:
    exchange = Exchange(site, NOW)
    navigate(exchange, request(b"/", b"ref=A1", cookie=cookie))
    head = run(exchange, ResponseHead(302, [(b"location", b"/")])).head
    assert head is not None
    assert value(head.headers, b"location") == b"/"


def test_what_is_carried_is_safe_in_a_header_and_is_read_again() -> None:
    target = b"/?utm_source=mail&ref=%3Ca%0d%0a%20b%3E%ff?c&secret=1"
    found = location("/", target)
    assert found.isascii()
    assert not set(found) & set("\r\n <>")
    assert "secret" not in found
    site = asking()
    touches = [
        site.landing.read(query, b"/", None, NOW, "shop.example", fragment=fragment)
        for query, fragment in ((target[2:], b""), (b"", found.partition("#")[2].encode()))
    ]
    assert touches[0] is not None
    assert touches[1] is not None
    assert [t.clicks for t in touches if t] == [touches[0].clicks] * 2
    assert touches[0].campaign == touches[1].campaign == {"utm_source": "mail"}


def test_what_is_too_long_for_a_click_is_left_out() -> None:
    assert location("/", b"/?ref=" + b"a" * 2000) == "/"
