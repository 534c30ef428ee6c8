import pytest
from clew.referral.domains import CookieDomains


@pytest.mark.parametrize(
    ("hosts", "host", "domain"),
    [
        (["shop.example", "www.shop.example"], "shop.example", "shop.example"),
        (["shop.example", "www.shop.example"], "WWW.shop.example:443", "shop.example"),
        (["m.shop.example", "www.shop.example"], "m.shop.example", "shop.example"),
        (["a.eu.shop.example", "b.eu.shop.example"], "a.eu.shop.example", "eu.shop.example"),
        (["shop.co.uk", "www.shop.co.uk"], "shop.co.uk", "shop.co.uk"),
        (["*.shop.example"], "de.shop.example", "shop.example"),
        (["shop.example", "*.shop.example"], "a.b.shop.example", "shop.example"),
        (["shop.test:8080", "www.shop.test:8080"], "shop.test:8080", "shop.test"),
        (["shop.de", "www.shop.de", "shop.at", "www.shop.at"], "www.shop.at", "shop.at"),
        # One host needs no domain, and shares its cookies with nobody.
        (["shop.example"], "shop.example", None),
        (["shop.example", "shop.example:8080"], "shop.example:8080", None),
        ([], "shop.example", None),
        (["shop.de", "shop.at"], "shop.de", None),
        # Below these everybody has a domain.
        (["a.myshopify.com", "b.myshopify.com"], "a.myshopify.com", None),
        (["*.myshopify.com"], "a.myshopify.com", None),
        (["a.co.uk", "b.co.uk"], "a.co.uk", None),
        (["a.github.io", "www.a.github.io"], "a.github.io", "a.github.io"),
        # Hosts that no cookie can be shared with.
        (["localhost:8000", "127.0.0.1:8000"], "localhost:8000", None),
        (["10.0.0.1", "10.0.0.2"], "10.0.0.1", None),
        (["[::1]:8000", "shop.example", "www.shop.example"], "[::1]:8000", None),
        (["shop.example", "www.shop.example"], "127.0.0.1:8080", None),
        (["shop.example", "www.shop.example"], "notshop.example", None),
    ],
)
def test_cookies_are_set_for_the_domain_that_the_hosts_share(
    hosts: list[str], host: str, domain: str | None
) -> None:
    """field B1"""
    assert CookieDomains(hosts).of(host) == domain


def test_the_configured_domain_has_precedence_if_a_browser_accepts_it() -> None:
    domains = CookieDomains(["a.shop.example", "b.shop.example", "localhost"], ".Shop.example")
    assert [domains.of(host) for host in ("a.shop.example:80", "localhost", "")] == [
        "shop.example",
        None,
        "shop.example",
    ]
