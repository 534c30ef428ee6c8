"""What the shop gets of a request, as values: for servers that know more than HTTP/1.1, or check less."""

from typing import Any

import pytest
from clew.middleware.exchange.origin import origin_of
from clew.middleware.http.faults import RequestError
from clew.middleware.proxy.forwarding import Forwarding

Pairs = list[tuple[bytes, bytes]]
HOST = (b"host", b"shop.example")


def forwarded(*headers: tuple[bytes, bytes], **changes: Any) -> tuple[bytes, Pairs]:
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [HOST, *headers],
        "client": ("203.0.113.9", 5000),
    } | changes
    scope = {name: value for name, value in scope.items() if value is not None}
    return Forwarding(b"127.0.0.1:8000").request(scope, scope["headers"], origin_of(scope, ()))


def values_of(headers: Pairs, name: bytes) -> list[bytes]:
    return [value for found, value in headers if found == name]


@pytest.mark.parametrize("version", ["2", "3"])
def test_cookies_that_come_one_by_one_are_one_field_for_the_shop(version: str) -> None:
    """proxy 2.11"""
    crumbs = [(b"cookie", b"a=1"), (b"x-a", b"1"), (b"cookie", b"b=\xff,"), (b"cookie", b"a=2; c")]
    _, headers = forwarded(*crumbs, http_version=version)
    assert headers[:3] == [HOST, (b"cookie", b"a=1; b=\xff,; a=2; c"), (b"x-a", b"1")]


def test_two_cookie_fields_of_http_1_stay_two() -> None:
    """proxy 2.10, 2.11: cookies are not repaired"""
    _, headers = forwarded((b"cookie", b"a=1"), (b"cookie", b"b=2"))
    assert values_of(headers, b"cookie") == [b"a=1", b"b=2"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"headers": [HOST, (b"transfer-encoding", b"chunked")], "http_version": "2"}, id="2 te"),
        pytest.param(
            {"headers": [HOST, (b"transfer-encoding", b"chunked")], "http_version": "1.0"}, id="1.0"
        ),
        pytest.param({"headers": [HOST, (b"transfer-encoding", b"gzip, chunked")]}, id="two codings"),
        pytest.param({"headers": [HOST, *[(b"transfer-encoding", b"chunked")] * 2]}, id="twice chunked"),
        pytest.param({"headers": [HOST, *[(b"content-length", b"1")] * 2]}, id="two lengths"),
        pytest.param({"headers": [HOST, (b"content-length", b"9" * 19)]}, id="a length beyond 63 bits"),
        pytest.param({"headers": [HOST, (b"content-length", b"\xb2")]}, id="a digit that is none"),
        pytest.param({"headers": [HOST, (b"content-length", b"")]}, id="no length"),
        pytest.param({"headers": [HOST, (b"content-length", b"3")], "method": None}, id="a WebSocket's body"),
        pytest.param({"headers": [HOST, HOST]}, id="two hosts"),
        pytest.param({"headers": []}, id="no host"),
        pytest.param({"headers": [(b"host", b"a,b")]}, id="a list of hosts"),
        pytest.param({"headers": [(b"host", b'a"b')]}, id="a quote in the host"),
        pytest.param({"headers": [(b"host", b"a:80:90")]}, id="two ports"),
        pytest.param({"headers": [(b"host", b"[::1")]}, id="half an address"),
        pytest.param({"http_version": "0.9"}, id="0.9"),
        pytest.param({"http_version": "2.0"}, id="2.0 over 1.1"),
        pytest.param({"raw_path": None}, id="no raw path"),
        pytest.param({"raw_path": b""}, id="an empty path"),
        pytest.param({"raw_path": b"*", "method": "POST"}, id="a star"),
        pytest.param({"raw_path": b"@evil.example/"}, id="no slash"),
    ],
)
def test_invalid_heads_from_a_lenient_server_are_refused(changes: dict[str, Any]) -> None:
    """proxy 1.1, 1.5, 1.7, 3.1, 3.4"""
    with pytest.raises(RequestError):
        forwarded(**changes)


def test_the_shop_gets_the_whole_path_below_a_mount() -> None:
    """proxy 4.7: `raw_path` holds the mount's own part; X-Forwarded-Prefix is not invented"""
    target, headers = forwarded(
        (b"x-forwarded-prefix", b"/evil"), raw_path=b"/shop/a%2Fb", path="/shop/a/b", root_path="/shop"
    )
    assert target == b"/shop/a%2Fb"
    assert values_of(headers, b"x-forwarded-prefix") == []


def test_a_get_body_is_forwarded_with_its_framing_and_none_is_added() -> None:
    """proxy 2.16"""
    assert values_of(forwarded((b"content-length", b"3"))[1], b"content-length") == [b"3"]
    assert values_of(forwarded()[1], b"content-length") == []
