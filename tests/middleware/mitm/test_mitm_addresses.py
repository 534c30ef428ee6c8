"""A shop on a local address: headers that change so that the browser stays there, and those that do not."""

import pytest
from clew.middleware.mitm.addresses import Addresses, leaves_to, origin, to_local, to_shop

HERE = Addresses(b"https://shop.example", b"http://localhost:8080")
SECURE = Addresses(b"https://shop.example", b"https://localhost:8080")
PLAIN = Addresses(b"http://shop.example:8000", b"http://localhost:8080")


def local(name: bytes, value: bytes, addresses: Addresses = HERE) -> bytes | None:
    headers = to_local([(name, value)], addresses)
    return headers[0][1] if headers else None


@pytest.mark.parametrize(
    ("location", "wanted"),
    [
        (
            b"https://shop.example/a?next=https://shop.example/b",
            b"http://localhost:8080/a?next=https://shop.example/b",
        ),
        (b"HTTPS://Shop.Example:443/caf\xe9", b"http://localhost:8080/caf\xe9"),
        (b"http://shop.example/a", b"http://localhost:8080/a"),
        (b"//shop.example/a", b"http://localhost:8080/a"),
        (b"https://shop.example", b"http://localhost:8080"),
        (b"https://shop.example?a", b"http://localhost:8080?a"),
        (b"/a//b", b"/a//b"),
        (b"a:b", b"a:b"),
        (b"https://shop.example.evil.test/", b"https://shop.example.evil.test/"),
        (b"https://shop.example@evil.test/", b"https://shop.example@evil.test/"),
        (b"https://shop.example:8443/", b"https://shop.example:8443/"),
        (b"https://www.shop.example/", b"https://www.shop.example/"),
        (b"/?u=https://shop.example/", b"/?u=https://shop.example/"),
    ],
)
def test_only_the_shops_own_origin_is_moved_and_only_at_the_beginning(location: bytes, wanted: bytes) -> None:
    """Hard case proxy 5.1."""
    assert local(b"location", location) == wanted
    assert local(b"Content-Location", location) == wanted
    assert local(b"refresh", b"5; URL=" + location) == b"5; URL=" + wanted


def test_a_redirect_from_http_to_https_is_not_rewritten_into_a_loop() -> None:
    assert local(b"location", b"https://shop.example:8000/a", PLAIN) == b"https://shop.example:8000/a"
    assert leaves_to(b"https://shop.example/a", PLAIN) == b"https://shop.example"
    assert leaves_to(b"https://www.shop.example/a", HERE) == b"https://www.shop.example"
    for stays in (b"/a", b"https://shop.example/a", b"http://shop.example/a", b"http://localhost:8080/a"):
        assert leaves_to(stays, HERE) is None


@pytest.mark.parametrize(
    ("cookie", "on_http", "on_https"),
    [
        (b"a=1; Path=/; HttpOnly", b"a=1; Path=/; HttpOnly", b"a=1; Path=/; HttpOnly"),
        (b"a=1; Domain=.shop.example; Path=/", b"a=1; Path=/", b"a=1; Path=/"),
        (b"a=1; domain=EXAMPLE", b"a=1", b"a=1"),
        (b"a=1; Domain=other.example", b"a=1; Domain=other.example", b"a=1; Domain=other.example"),
        (b"a=1; Secure; SameSite=None; Partitioned", b"a=1", b"a=1; Secure; SameSite=None; Partitioned"),
        (b"a=1; SECURE;samesite=lax", b"a=1;samesite=lax", b"a=1; SECURE;samesite=lax"),
        (b"__Host-a=1; Path=/; Secure", b"__Host-a=1; Path=/; Secure", b"__Host-a=1; Path=/; Secure"),
        (b'a=\xe9,"x; Foo=Bar;', b'a=\xe9,"x; Foo=Bar;', b'a=\xe9,"x; Foo=Bar;'),
        (b"Secure=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT",) * 3,
    ],
)
def test_cookie_attributes_that_the_local_address_cannot_have_are_removed(
    cookie: bytes, on_http: bytes, on_https: bytes
) -> None:
    """Hard cases proxy 5.4, 5.6, 5.7."""
    assert local(b"set-cookie", cookie) == on_http
    assert local(b"set-cookie", cookie, SECURE) == on_https


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        (b"upgrade-insecure-requests", None),
        (
            b"default-src 'self'; Upgrade-Insecure-Requests; object-src 'none'",
            b"default-src 'self';; object-src 'none'",
        ),
        (b"default-src 'self', upgrade-insecure-requests;", b"default-src 'self',;"),
        (b"default-src upgrade-insecure-requests.example", b"default-src upgrade-insecure-requests.example"),
    ],
)
def test_a_page_on_http_does_not_use_https(policy: bytes, wanted: bytes | None) -> None:
    assert local(b"content-security-policy", policy) == wanted
    assert local(b"content-security-policy", policy, SECURE) == policy


def test_headers_about_the_shops_own_host_are_removed() -> None:
    """Hard cases proxy 5.2, 5.3."""
    headers = [
        (b"Alt-Svc", b'h3=":443"'),
        (b"X-A", b"https://shop.example/"),
        (b"strict-transport-security", b"max-age=1; includeSubDomains; preload"),
        (b"X-A", b"2"),
    ]
    assert to_local(headers, HERE) == [(b"X-A", b"https://shop.example/"), (b"X-A", b"2")]


def test_the_shop_sees_a_browser_that_is_on_its_own_address() -> None:
    sent = [
        (b"host", b"localhost:8080"),
        (b"origin", b"http://localhost:8080"),
        (b"referer", b"http://localhost:8080/a?u=http://localhost:8080/"),
        (b"x-forwarded-host", b"localhost:8080"),
        (b"x_forwarded_host", b"localhost:8080"),
        (b"cookie", b"a=http://localhost:8080"),
    ]
    assert to_shop(sent, HERE) == [
        (b"host", b"shop.example"),
        (b"origin", b"https://shop.example"),
        (b"referer", b"https://shop.example/a?u=http://localhost:8080/"),
        (b"cookie", b"a=http://localhost:8080"),
    ]
    elsewhere = [(b"origin", b"https://evil.test"), (b"origin", b"null"), (b"referer", b"https://evil.test/")]
    assert to_shop(elsewhere, HERE) == elsewhere


@pytest.mark.parametrize(
    ("scheme", "authority", "wanted"),
    [
        (b"https", b"Shop.Example:443", b"https://shop.example"),
        (b"http", b"shop.example:443", b"http://shop.example:443"),
        (b"http", b"[::1]:80", b"http://[::1]"),
        (b"http", b"localhost:8080", b"http://localhost:8080"),
    ],
)
def test_origins_are_written_as_browsers_write_them(scheme: bytes, authority: bytes, wanted: bytes) -> None:
    assert origin(scheme, authority) == wanted
