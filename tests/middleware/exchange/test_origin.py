"""The client of a request, and how it is reported to the shop."""

from ipaddress import ip_network
from typing import Any

import pytest
from clew.middleware.exchange.origin import Origin, forwarded_headers, is_trusted, origin_of
from hypothesis import given
from hypothesis import strategies as st

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]

Pairs = list[tuple[bytes, bytes]]


def scope(
    *headers: tuple[bytes, bytes], peer: str | None = "203.0.113.9", scheme: str = "http"
) -> dict[str, Any]:
    return {
        "headers": [(b"host", b"shop.example"), *headers],
        "client": None if peer is None else (peer, 5000),
        "scheme": scheme,
    }


def values_of(headers: Pairs, name: bytes) -> list[bytes]:
    return [value for found, value in headers if found == name]


def forwarded(*headers: tuple[bytes, bytes], peer: str | None = "203.0.113.9", scheme: str = "http") -> Pairs:
    asked = scope(*headers, peer=peer, scheme=scheme)
    origin = origin_of(asked, PROXIES, forwarded_host=True)
    return forwarded_headers(asked["headers"], origin, is_trusted(peer, PROXIES), peer)


SPOOFED = [
    (b"x-forwarded-for", b"6.6.6.6"),
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-host", b"evil.example"),
    (b"x-forwarded-port", b"6666"),
    (b"x-forwarded-prefix", b"/evil"),
    (b"x-real-ip", b"6.6.6.6"),
    (b"forwarded", b"for=6.6.6.6;proto=https;host=evil.example"),
    (b"true-client-ip", b"6.6.6.6"),
    (b"cf-connecting-ip", b"6.6.6.6"),
    (b"x-original-url", b"/evil"),
    (b"x-rewrite-url", b"/evil"),
    (b"x-http-method-override", b"EVIL"),
]


def test_a_stranger_cannot_choose_its_visitor_id() -> None:
    """proxy 4.1, 4.4, 4.6"""
    assert origin_of(scope(*SPOOFED), PROXIES) == Origin("203.0.113.9", "http", "shop.example")
    assert forwarded(*SPOOFED, (b"accept", b"*/*")) == [
        (b"host", b"shop.example"),
        (b"accept", b"*/*"),
        (b"x-forwarded-for", b"203.0.113.9"),
        (b"x-real-ip", b"203.0.113.9"),
        (b"x-forwarded-proto", b"http"),
        (b"x-forwarded-host", b"shop.example"),
        (b"forwarded", b'for=203.0.113.9;proto=http;host="shop.example"'),
    ]


@pytest.mark.parametrize(
    "name",
    [
        b"x_forwarded_for",
        b"x-forwarded_for",
        b"x_real-ip",
        b"content_length",
        b"transfer_encoding",
        b"x_clew_referral",
    ],
)
def test_names_that_a_cgi_shop_reads_as_protected_ones_are_dropped(name: bytes) -> None:
    """proxy 2.7"""
    assert not values_of(forwarded((name, b"6.6.6.6")), name)


def test_other_names_with_an_underscore_pass() -> None:
    """proxy 2.7"""
    assert values_of(forwarded((b"x_api_key", b"1")), b"x_api_key") == [b"1"]


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ([b"198.51.100.7"], "198.51.100.7"),
        ([b"6.6.6.6, 198.51.100.7"], "198.51.100.7"),
        ([b"6.6.6.6", b"198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ([b"6.6.6.6, 198.51.100.7 , 10.0.0.3,10.0.0.2"], "198.51.100.7"),
        ([b"10.0.0.3"], "10.0.0.3"),
        ([b"198.51.100.7:4711"], "198.51.100.7"),
        ([b"2001:db8::7"], "2001:db8::7"),
        ([b"[2001:db8::7]:4711"], "2001:db8::7"),
        ([b"fe80::1%eth0"], "fe80::1"),
        ([b"::ffff:198.51.100.7"], "198.51.100.7"),
        ([b"6.6.6.6, unknown"], "10.0.0.1"),
        ([b"6.6.6.6, unknown, 10.0.0.2"], "10.0.0.2"),
        ([b"6.6.6.6, " + b"9" * 500], "10.0.0.1"),
        ([b""], "10.0.0.1"),
        ([], "10.0.0.1"),
    ],
)
def test_the_client_is_the_right_most_untrusted_hop(chain: list[bytes], client: str) -> None:
    """proxy 4.2, 4.5"""
    headers = [(b"x-forwarded-for", value) for value in chain]
    assert origin_of(scope(*headers, peer="10.0.0.1"), PROXIES).client == client


def test_forwarded_is_read_where_the_proxy_sets_nothing_else() -> None:
    """proxy 4.4, 4.5"""
    element = (b"forwarded", b'for=6.6.6.6, For="[2001:db8::7]:4711";Proto=https;host="shop.example:8443"')
    origin = origin_of(scope(element, peer="10.0.0.1"), PROXIES, forwarded_host=True)
    assert origin == Origin("2001:db8::7", "https", "shop.example:8443")
    assert origin.host_forwarded
    assert origin_of(scope(element, peer="10.0.0.1"), PROXIES).host == "shop.example"
    spoofed = [element, (b"x-forwarded-for", b"198.51.100.7"), (b"x-forwarded-proto", b"http")]
    assert origin_of(scope(*spoofed, peer="10.0.0.1"), PROXIES) == Origin(
        "198.51.100.7", "http", "shop.example"
    )


@pytest.mark.parametrize(
    ("chain", "protos", "scheme"),
    [
        (b"198.51.100.7", b"https", "https"),
        (b"198.51.100.7, 10.0.0.2", b"https, http", "https"),
        (b"198.51.100.7", b"https, http", "http"),
        (b"198.51.100.7", b"HTTPS", "https"),
        (b"198.51.100.7", b"gopher", "http"),
    ],
)
def test_the_scheme_is_that_of_the_outermost_trusted_proxy(chain: bytes, protos: bytes, scheme: str) -> None:
    """proxy 4.6"""
    asked = scope((b"x-forwarded-for", chain), (b"x-forwarded-proto", protos), peer="10.0.0.1")
    assert origin_of(asked, PROXIES).scheme == scheme


def test_a_trusted_proxys_chain_is_kept_and_its_address_added() -> None:
    """proxy 4.1, 4.4"""
    headers = forwarded(
        (b"x-forwarded-for", b"6.6.6.6, 198.51.100.7"),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"www.shop.example"),
        (b"x-forwarded-port", b"443"),
        (b"forwarded", b"for=6.6.6.6"),
        peer="10.0.0.1",
    )
    assert values_of(headers, b"x-forwarded-for") == [b"6.6.6.6, 198.51.100.7, 10.0.0.1"]
    assert values_of(headers, b"x-real-ip") == [b"198.51.100.7"]
    assert values_of(headers, b"x-forwarded-proto") == [b"https"]
    assert values_of(headers, b"x-forwarded-host") == [b"www.shop.example"]
    assert values_of(headers, b"x-forwarded-port") == [b"443"]
    assert values_of(headers, b"forwarded") == [
        b'for=6.6.6.6, for=198.51.100.7, for=10.0.0.1;proto=https;host="www.shop.example"'
    ]
    assert values_of(headers, b"host") == [b"shop.example"]


def test_ipv6_is_quoted_in_forwarded() -> None:
    """proxy 4.5"""
    headers = forwarded(peer="2001:db8::7", scheme="https")
    assert values_of(headers, b"forwarded") == [b'for="[2001:db8::7]";proto=https;host="shop.example"']


def test_a_peer_without_an_address_is_not_trusted() -> None:
    """proxy 4.5"""
    headers = forwarded(*SPOOFED, peer=None)
    assert values_of(headers, b"x-forwarded-for") == []
    assert values_of(headers, b"x-real-ip") == []
    assert values_of(headers, b"forwarded") == [b'for=unknown;proto=http;host="shop.example"']


@pytest.mark.parametrize(
    ("scheme", "expected"), [("http", "http"), ("https", "https"), ("ws", "http"), ("wss", "https")]
)
def test_a_websocket_has_its_pages_scheme(scheme: str, expected: str) -> None:
    assert origin_of(scope(scheme=scheme), []).scheme == expected


@pytest.mark.parametrize("peer", ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1"])
def test_networks_are_matched_in_both_families(peer: str) -> None:
    """proxy 4.5"""
    assert is_trusted(peer, PROXIES)


@pytest.mark.parametrize("peer", ["11.0.0.1", "2001:db8::1", "", "localhost", None])
def test_nobody_else_is_trusted(peer: str | None) -> None:
    assert not is_trusted(peer, PROXIES)


def test_connection_strips_what_it_names_but_nothing_protected() -> None:
    """proxy 2.1, 2.2"""
    headers = forwarded(
        (b"connection", b""),
        (b"connection", b"close, X-Secret"),
        (b"connection", b" cookie ,X-Forwarded-For,host, content-length"),
        (b"x-secret", b"1"),
        (b"cookie", b"a=b"),
        (b"content-length", b"0"),
        (b"te", b"trailers"),
        (b"proxy-authorization", b"Basic x"),
        (b"http2-settings", b"x"),
        (b"upgrade", b"h2c"),
    )
    assert [name for name, _ in headers if not name.startswith((b"x-", b"forwarded"))] == [
        b"host",
        b"cookie",
        b"content-length",
    ]
    assert values_of(headers, b"x-forwarded-for") == [b"203.0.113.9"]


@given(
    values=st.lists(st.binary(max_size=40).filter(lambda v: not set(v) & {0, 10, 13}), max_size=4),
    name=st.sampled_from([b"x-forwarded-for", b"forwarded", b"x-forwarded-proto", b"x-forwarded-host"]),
)
def test_any_proxy_headers_give_one_client_scheme_and_host(values: list[bytes], name: bytes) -> None:
    headers = [(name, value) for value in values]
    origin = origin_of(scope(*headers, peer="10.0.0.1"), PROXIES)
    assert origin.client
    assert origin.scheme in ("http", "https")
    result = forwarded(*headers, peer="10.0.0.1")
    for single in (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded", b"x-real-ip"):
        assert len(values_of(result, single)) == 1
