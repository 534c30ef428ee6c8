"""Host rewriting of headers, both ways."""

import re

import pytest
from clew.middleware.exchange.hostrewrite import HostRewrite, cookie, moved, origin_text, to_shop, to_visitor
from clew.service.origin import Origin
from hypothesis import assume, given
from hypothesis import strategies as st

SHOP = b"http://shop.internal:8000"
SHOPS = frozenset({SHOP, b"https://shop.internal"})
VISITOR = b"https://www.shop.example"


@pytest.mark.parametrize(
    ("scheme", "authority", "text"),
    [
        (b"https", b"Shop.Example", b"https://shop.example"),
        (b"https", b"shop.example:443", b"https://shop.example"),
        (b"http", b"shop.example:", b"http://shop.example"),
        (b"http", b"shop.example:080", b"http://shop.example"),
        (b"http", b"shop.example:443", b"http://shop.example:443"),
        (b"http", b"[2001:DB8::1]:8000", b"http://[2001:db8::1]:8000"),
        (b"http", b"shop.example:0", None),
        (b"http", b"shop.example:65536", None),
        (b"http", b"user@shop.example", None),
        (b"http", b"shop.example/x", None),
        (b"http", b"", None),
        (b"ftp", b"shop.example", None),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(
    scheme: bytes, authority: bytes, text: bytes | None
) -> None:
    """proxy 5.1"""
    assert origin_text(scheme, authority) == text


@pytest.mark.parametrize(
    ("reference", "result"),
    [
        (b"http://shop.internal:8000/a%2Fb?x=%41#c", VISITOR + b"/a%2Fb?x=%41#c"),
        (b"HTTP://Shop.Internal:8000/caf\xe9", VISITOR + b"/caf\xe9"),
        (b"https://shop.internal:443/", VISITOR + b"/"),
        (b"https://shop.internal", VISITOR),
        (b"http://shop.internal:8000?x", VISITOR + b"?x"),
        (b"//shop.internal:8000/x", VISITOR + b"/x"),
        (b"//shop.internal/x", VISITOR + b"/x"),
    ],
)
def test_a_reference_to_the_shop_gets_the_visitors_origin_and_keeps_its_bytes(
    reference: bytes, result: bytes
) -> None:
    """proxy 5.1, 2.6"""
    assert moved(reference, SHOPS, VISITOR) == result


@pytest.mark.parametrize(
    "reference",
    [
        b"/login?next=http://shop.internal:8000/x",
        b"login",
        b"",
        b"?next=//shop.internal/",
        b"http://shop.internal/",
        b"http://shop.internal:8001/",
        b"https://shop.internal:8000/",
        b"http://shop.internal.evil.example:8000/",
        b"http://shop.internal:80000/",
        b"http://evil.example/http://shop.internal:8000/",
        b"http://evil.example?http://shop.internal:8000/",
        b"http://shop.internal:8000@evil.example/",
        b"http://user@shop.internal:8000/",
        b"http://shop.internal:8000\\@evil.example/",
        b"http:/shop.internal:8000/",
        b"http:\\\\shop.internal:8000/",
        b"///shop.internal:8000/",
        b"ftp://shop.internal:8000/",
        b"myhttp://shop.internal:8000/",
        b"mailto:shop.internal",
    ],
)
def test_a_reference_to_another_origin_is_unchanged(reference: bytes) -> None:
    """proxy 5.1: never by a part of the text"""
    assert moved(reference, SHOPS, VISITOR) == reference


@given(
    path=st.binary(max_size=60).map(lambda p: b"/" + p),
    shop=st.sampled_from(sorted(SHOPS)),
)
def test_the_part_after_the_origin_is_kept(path: bytes, shop: bytes) -> None:
    assert moved(shop + path, SHOPS, VISITOR) == VISITOR + path


# Hosts that resemble the shop's, anywhere in a reference.
OTHER_HOSTS = st.sampled_from(
    [
        b"//",
        b"http://",
        b"https:",
        b"other.example",
        b"shop.internal.example",
        b"my-shop.internal",
        b":8000",
        b"/",
    ]
)


@given(reference=st.lists(OTHER_HOSTS | st.binary(max_size=20), max_size=6).map(b"".join))
def test_headers_that_do_not_name_the_shop_are_unchanged(reference: bytes) -> None:
    assume(not re.search(rb"//shop\.internal(?![.\w-])", reference.lower()))
    assert moved(reference, SHOPS, VISITOR) == reference


@pytest.mark.parametrize(
    ("name", "value", "result"),
    [
        (b"location", b"http://shop.internal:8000/x", b"https://www.shop.example/x"),
        (b"content-location", b"http://shop.internal:8000/x.html", b"https://www.shop.example/x.html"),
        (b"uri", b"http://shop.internal:8000/x", b"https://www.shop.example/x"),
        (b"uri", b"<http://shop.internal:8000/x>", b"<https://www.shop.example/x>"),
        (b"refresh", b"5;url=http://shop.internal:8000/x", b"5;url=https://www.shop.example/x"),
        (b"refresh", b"0 ; URL = 'http://shop.internal:8000/'", b"0 ; URL = 'https://www.shop.example/'"),
        (b"refresh", b'0; url="http://shop.internal:8000"', b'0; url="https://www.shop.example"'),
        (b"refresh", b"5, http://shop.internal:8000/x", b"5, https://www.shop.example/x"),
        (b"refresh", b"5; url=/x?u=http://shop.internal:8000/", b"5; url=/x?u=http://shop.internal:8000/"),
        (b"refresh", b"5", b"5"),
        (
            b"link",
            b'<http://shop.internal:8000/a>; rel="canonical", </b,c>; rel=preload, <//shop.internal/d>',
            b'<https://www.shop.example/a>; rel="canonical", </b,c>; rel=preload, <https://www.shop.example/d>',
        ),
        (
            b"link",
            b'<https://cdn.example/x>; title="<http://shop.internal:8000/>"; anchor="http://shop.internal:8000/p"',
            b'<https://cdn.example/x>; title="<http://shop.internal:8000/>"; anchor="https://www.shop.example/p"',
        ),
        (b"access-control-allow-origin", b"http://shop.internal:8000", b"https://www.shop.example"),
        (b"access-control-allow-origin", b"*", b"*"),
        (b"access-control-allow-origin", b"https://partner.example", b"https://partner.example"),
        (b"timing-allow-origin", b"http://shop.internal:8000, null", b"https://www.shop.example, null"),
        (b"x-debug", b"http://shop.internal:8000/x", b"http://shop.internal:8000/x"),
    ],
)
def test_fields_that_name_the_shop_name_the_visitors_host(name: bytes, value: bytes, result: bytes) -> None:
    """proxy 5.1, 5.9, 5.10"""
    assert to_visitor([(name, value)], SHOPS, VISITOR) == [(name, result)]


@given(value=st.binary(max_size=200))
@pytest.mark.parametrize("name", [b"link", b"refresh", b"uri", b"access-control-allow-origin", b"set-cookie"])
def test_any_bytes_in_a_field_are_kept_where_they_do_not_name_the_shop(name: bytes, value: bytes) -> None:
    if b"shop.internal" not in value.lower() and b"internal" not in value.lower():
        assert to_visitor([(name, value)], SHOPS, VISITOR) == [(name, value)]


def test_a_field_as_long_as_a_head_is_read_in_one_pass() -> None:
    for value in (
        b'"\\"' * 40_000,
        b"<" * 120_000,
        b";anchor=" * 15_000,
        b"http://shop.internal:8000" * 4_000,
    ):
        assert len(to_visitor([(b"link", value), (b"refresh", value)], SHOPS, VISITOR)) == 2


def test_host_wide_headers_are_dropped_if_the_hosts_differ() -> None:
    """proxy 5.3"""
    headers = [
        (b"strict-transport-security", b"max-age=1; includeSubDomains; preload"),
        (b"clear-site-data", b'"*"'),
        (b"public-key-pins", b"x"),
        (b"public-key-pins-report-only", b"x"),
        (b"x-frame-options", b"DENY"),
    ]
    assert to_visitor(headers, SHOPS, VISITOR) == [(b"x-frame-options", b"DENY")]
    assert to_visitor(headers, SHOPS, b"http://shop.internal:8080") == headers


@pytest.mark.parametrize(
    ("value", "result"),
    [
        (b"a=b; Domain=shop.internal; Path=/", b"a=b; Path=/"),
        (b"a=b;domain=.SHOP.internal;Secure", b"a=b;Secure"),
        (b"a=b; Path=/; DOMAIN = internal", b"a=b; Path=/"),
        (b"a=b; Domain=x.example; Domain=shop.internal;", b"a=b; Domain=x.example;"),
        (b"__Secure-a=b; Domain=shop.internal; Secure", b"__Secure-a=b; Secure"),
        (
            b'a="x,y; Domain=shop.internal; Expires=Wed, 09 Jun 2031 10:18:14 GMT; Partitioned; New=1;',
            b'a="x,y; Expires=Wed, 09 Jun 2031 10:18:14 GMT; Partitioned; New=1;',
        ),
        (b"caf\xe9=\xff; domain=shop.internal", b"caf\xe9=\xff"),
    ],
)
def test_a_cookie_for_the_shops_own_domain_becomes_the_visitors_hosts(value: bytes, result: bytes) -> None:
    """proxy 5.4, 5.6, 5.7"""
    assert to_visitor([(b"set-cookie", value)], SHOPS, VISITOR) == [(b"set-cookie", result)]


@pytest.mark.parametrize(
    "value",
    [
        b"a=b",
        b"a=b; Path=/; HttpOnly; SameSite=None; Secure; Partitioned",
        b"Domain=shop.internal",
        b"a=Domain=shop.internal; Path=/domain=shop.internal",
        b"a=b; Domain=",
        b"a=b; Domain",
        b"a=b; Domain=shop.example",
        b"a=b; Domain=www.shop.example",
        b"a=b; Domain=other.example",
        b"a=b; Domain=op.internal",
        b"a=b; XDomain=shop.internal",
        b"__Host-a=b; Path=/; Secure",
        b"__Host-a=b; Domain=shop.internal; Path=/; Secure",
        b";;; ;",
        b"",
    ],
)
def test_any_other_cookie_keeps_its_bytes(value: bytes) -> None:
    """proxy 5.4, 5.6, 5.7"""
    assert to_visitor([(b"set-cookie", value)], SHOPS, VISITOR) == [(b"set-cookie", value)]


def test_an_address_has_no_parent_domain() -> None:
    """proxy 5.4"""
    shops = frozenset({b"10.0.0.5"})
    assert cookie(b"a=b; Domain=0.5", shops, b"www.shop.example") == b"a=b; Domain=0.5"
    assert cookie(b"a=b; Domain=10.0.0.5", shops, b"www.shop.example") == b"a=b"


@given(
    pair=st.binary(max_size=30).filter(lambda b: b";" not in b and not b.lower().startswith(b"__host-")),
    attributes=st.lists(
        st.binary(max_size=12).filter(lambda b: b";" not in b and b"domain" not in b.lower()), max_size=5
    ),
    place=st.integers(0, 5),
)
def test_only_the_domain_leaves_a_cookie(pair: bytes, attributes: list[bytes], place: int) -> None:
    """proxy 5.7"""
    within = [*attributes[:place], b" dOmAiN=shop.internal", *attributes[place:]]
    changed = cookie(b";".join([pair, *within]), {b"shop.internal"}, b"www.shop.example")
    if not pair.lstrip().lower().startswith(b"__host-"):
        assert changed == b";".join([pair, *attributes])


def test_the_visitors_own_page_is_the_shops_own_page() -> None:
    """proxy 5.9: a CSRF check that compares Origin and Referer with Host still passes"""
    own = [(b"origin", VISITOR), (b"referer", VISITOR + b"/cart?x=1"), (b"x-a", VISITOR)]
    assert to_shop(own, VISITOR, SHOP) == [
        (b"origin", SHOP),
        (b"referer", SHOP + b"/cart?x=1"),
        (b"x-a", VISITOR),
    ]


@pytest.mark.parametrize(
    "value",
    [
        b"null",
        b"https://evil.example",
        b"http://www.shop.example",
        b"https://www.shop.example.evil.example",
        b"https://www.shop.example:8443",
        b"https://evil.example/?https://www.shop.example",
    ],
)
def test_a_foreign_page_stays_foreign(value: bytes) -> None:
    """proxy 5.9"""
    headers = [(b"origin", value), (b"referer", value)]
    assert to_shop(headers, VISITOR, SHOP) == headers


@pytest.mark.parametrize(
    ("address", "host", "scheme", "shops"),
    [
        (
            "http://10.0.0.5:8000",
            "shop.internal",
            "http",
            {b"http://shop.internal", b"http://shop.internal:8000", b"http://10.0.0.5:8000"},
        ),
        (
            "http://10.0.0.5:8000",
            "shop.internal",
            "https",
            {
                b"http://shop.internal",
                b"http://shop.internal:8000",
                b"http://10.0.0.5:8000",
                b"https://shop.internal",
            },
        ),
        (
            "https://edge.example",
            "shop.internal",
            "http",
            {b"https://shop.internal", b"https://edge.example", b"http://shop.internal"},
        ),
        ("unix:/run/shop.sock", "shop.internal:81", "http", {b"http://shop.internal:81"}),
    ],
)
def test_the_shops_own_origins_are_those_it_may_believe_in(
    address: str, host: str, scheme: str, shops: set[bytes]
) -> None:
    """proxy 5.1: a redirect from http to https is no redirect to itself"""
    assert HostRewrite.of(address, host).shops[scheme] == shops


def test_a_visitor_on_the_shops_host_gets_unchanged_headers() -> None:
    """proxy 1.7"""
    rewrite = HostRewrite.of("http://10.0.0.5:8000", "www.shop.example")
    headers = [(b"location", b"http://www.shop.example/x"), (b"strict-transport-security", b"max-age=1")]
    assert rewrite.response(headers, Origin("203.0.113.9", "https", "www.shop.example")) == headers
    assert rewrite.response(headers, Origin("203.0.113.9", "https", "")) == headers
    asked = [(b"host", b"www.shop.example"), (b"origin", VISITOR)]
    assert rewrite.request(asked, Origin("203.0.113.9", "https", "www.shop.example")) == asked


def test_an_invalid_host_never_appears_in_a_response() -> None:
    """proxy 3.10"""
    rewrite = HostRewrite.of("http://10.0.0.5:8000", "shop.internal")
    headers = [(b"location", b"http://shop.internal/x")]
    for host in ("a\r\nSet-Cookie: b=c", "a b", "evil.example/", "a,b", "user@host"):
        assert rewrite.response(headers, Origin("203.0.113.9", "https", host)) == headers
