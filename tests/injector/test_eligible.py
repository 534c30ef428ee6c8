"""The pass list."""

from typing import Any

import pytest
from clew.injector.eligible import asks_for_page, request_reason, response_reason
from clew.injector.heads import Headers, RequestHead, ResponseHead

HTML = (b"content-type", b"text/html; charset=utf-8")


def request(*headers: tuple[bytes, bytes], method: str = "GET") -> RequestHead:
    return RequestHead(method, b"/", b"", list(headers), "https", "shop.example", "192.0.2.1")


def answer(*headers: tuple[bytes, bytes], status: int = 200, method: str = "GET") -> str | None:
    return response_reason(request(method=method), ResponseHead(status, list(headers)))


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"sec-fetch-dest", b"document")],
        [(b"sec-fetch-dest", b" Document ")],
        [
            (b"sec-fetch-dest", b"document"),
            (b"sec-fetch-mode", b"navigate"),
            (b"sec-fetch-site", b"cross-site"),
        ],
        [(b"sec-fetch-dest", b"document"), (b"sec-purpose", b"prefetch;prerender")],
        [(b"sec-fetch-dest", b"empty"), (b"sec-purpose", b"prefetch")],
        [(b"purpose", b"prefetch"), (b"sec-fetch-dest", b"empty")],
        [(b"x-requested-with", b"com.instagram.android")],
        [(b"upgrade-insecure-requests", b"1"), (b"accept", b"*/*"), (b"cache-control", b"no-cache")],
        [(b"upgrade", b"h2c"), (b"connection", b"Upgrade, HTTP2-Settings")],  # field F1
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_navigations_may_be_edited(headers: Headers, method: str) -> None:
    """injection 3.2, 3.17, and in-app browsers of Android, which name their app."""
    assert request_reason(request(*headers, method=method)) is None


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([(b"sec-fetch-dest", b"empty")], "fetch"),  # injection 3.1, 3.3
        ([(b"sec-fetch-dest", b"script")], "fetch"),
        ([(b"sec-fetch-dest", b"serviceworker")], "fetch"),
        ([(b"sec-fetch-dest", b"image"), (b"sec-purpose", b"prefetch")], "fetch"),
        ([(b"sec-fetch-dest", b"iframe")], "frame"),  # injection 3.10
        ([(b"sec-fetch-dest", b"frame")], "frame"),
        ([(b"sec-fetch-dest", b"embed")], "frame"),
        ([(b"sec-fetch-dest", b"object")], "frame"),
        ([(b"x-requested-with", b"XMLHttpRequest")], "fetch"),  # injection 3.1
        ([(b"x-requested-with", b"fetch")], "fetch"),
        ([(b"x-requested-with", b"")], "fetch"),
        ([(b"hx-request", b"true")], "fetch"),
        ([(b"hx-request", b"true"), (b"hx-boosted", b"true")], "fetch"),
        ([(b"x-pjax", b"true")], "fetch"),
        ([(b"turbo-frame", b"cart")], "fetch"),
        ([(b"x-fetch", b"1")], "fetch"),
        ([(b"surrogate-capability", b'v="ESI/1.0"')], "esi"),  # injection 3.22
        ([(b"range", b"bytes=0-")], "range"),  # injection 3.11
        ([(b"upgrade", b"websocket"), (b"connection", b"upgrade")], "upgrade"),  # injection 2.7
    ],
)
def test_requests_of_scripts_pass(headers: Headers, reason: str) -> None:
    assert request_reason(request(*headers)) == reason
    assert request_reason(request((b"sec-fetch-dest", b"document"), *headers[1:], *headers[:1])) == reason


@pytest.mark.parametrize(
    "method", ["PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PROPFIND", "get"]
)
def test_other_methods_pass(method: str) -> None:
    assert request_reason(request(method=method)) == "method"


@pytest.mark.parametrize(
    ("headers", "page"),
    [
        ([(b"sec-fetch-dest", b"document")], True),
        ([(b"host", b"shop.example"), (b"accept", b"TEXT/HTML, application/xhtml+xml, */*")], True),
        ([(b"accept", b"image/*"), (b"accept", b"text/html;q=0.5")], True),
        ([(b"accept", b"*/*")], False),
        ([(b"accept", b"text/css,*/*;q=0.1")], False),
        ([], False),
    ],
)
def test_a_script_request_over_plain_http_is_distinguished_from_a_page(headers: Headers, page: bool) -> None:
    """injection 3.2: there browsers say by Accept alone what they want."""
    assert request_reason(request(*headers)) is None
    assert asks_for_page(request(*headers)) is page


@pytest.mark.parametrize("status", [200, 201, 202, 203, 400, 402, 403, 404, 405, 410, 422, 429, 451])
def test_pages_and_refusals_with_a_page_are_edited(status: int) -> None:
    """injection 3.14."""
    assert answer(HTML, status=status) is None


@pytest.mark.parametrize(
    "status", [100, 101, 103, 204, 205, 206, 207, 226, 300, 301, 302, 303, 304, 307, 308, 401, 407]
)
def test_answers_without_a_page_of_their_own_pass(status: int) -> None:
    """injection 3.11, 3.13, 3.14."""
    assert answer(HTML, status=status) == "status"


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599, 600, 999])
def test_failures_of_the_shop_pass(status: int) -> None:
    """injection 3.14."""
    assert answer(HTML, status=status) == "status"


@pytest.mark.parametrize(
    "kind",
    [
        *(
            b"text/html",
            b"TEXT/HTML",
            b" text/html ",
            b"text/html;charset=UTF-8",
            b'text/html; charset="utf-8"',
        ),
        *(b"text/html; charset=iso-8859-1", b"text/html; charset=Shift_JIS", b"text/html; charset=gb18030"),
        *(b"text/html; charset=euc-jp", b"text/html; charset=big5", b"text/html;"),
        b"text/html; profile=x; charset=koi8-r",
    ],
)
def test_html_in_charsets_that_hold_ascii_is_edited(kind: bytes) -> None:
    assert answer((b"content-type", kind)) is None


@pytest.mark.parametrize(
    "kinds",
    [
        [],  # injection 3.5
        [b""],
        [b"application/xhtml+xml"],  # injection 3.7
        [b"text/plain"],  # injection 3.19
        [b"application/json"],
        [b"text/xml"],
        [b"text/html+x"],
        [b"text/htmlx"],
        [b"x-text/html"],
        [b"text/html, text/html"],  # injection 3.20
        [b"text/html; charset=utf-8, text/plain"],
        [b"text/html", b"text/html"],
        [b"text/html", b"application/json"],
        [b"multipart/x-mixed-replace; boundary=x"],  # injection 3.21
        [b"multipart/byteranges; boundary=x"],
        [b"text/event-stream"],  # injection 2.6
        [b"application/signed-exchange;v=b3"],  # injection 3.16
    ],
)
def test_responses_that_are_not_clearly_html_pass(kinds: list[bytes]) -> None:
    assert answer(*((b"content-type", kind) for kind in kinds)) == "content type"


@pytest.mark.parametrize(
    "charset",
    [
        *(b"utf-16", b"UTF-16LE", b"utf-16be", b"utf16", b"unicode", b"unicodeFEFF", b"csUnicode", b"ucs-2"),
        *(b"iso-10646-ucs-2", b"utf-32", b"UTF-32BE", b"ucs-4"),  # injection 4.11
        *(b"utf-7", b"unicode-1-1-utf-7", b"hz-gb-2312", b"HZ"),  # injection 4.13
        *(
            b"iso-2022-jp",
            b"ISO-2022-KR",
            b"csISO2022JP",
            b"csiso2022kr",
            b"iso-2022-cn-ext",
        ),  # injection 4.12
    ],
)
def test_charsets_in_which_an_angle_may_be_something_else_pass(charset: bytes) -> None:
    for kind in (b"text/html; charset=%s", b'text/html;x=y; CHARSET = "%s"', b"text/html;charset=%s;x=y"):
        assert answer((b"content-type", kind % charset)) == "charset"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ((b"content-range", b"bytes 0-9/100"), "partial"),  # injection 3.11
        ((b"content-disposition", b"attachment"), "download"),  # injection 3.9
        ((b"content-disposition", b'ATTACHMENT; filename="export.html"'), "download"),
        ((b"content-disposition", b"form-data; name=x"), "download"),
        ((b"content-encoding", b"gzip, br"), "coding"),  # injection 4.2
        ((b"content-encoding", b"compress"), "coding"),
        ((b"content-encoding", b"dcz"), "coding"),
        ((b"transfer-encoding", b"gzip, chunked"), "coding"),
        ((b"cache-control", b"public, No-Transform"), "no-transform"),  # injection 3.15
        ((b"signature", b"sig1=:x:"), "signed"),  # injection 3.16
        ((b"signature-input", b'sig1=("content-digest")'), "signed"),
        ((b"x-accel-redirect", b"/private/a.html"), "sendfile"),  # injection 5.11
        ((b"x-sendfile", b"/srv/a.html"), "sendfile"),
        ((b"x-reproxy-url", b"http://a/"), "sendfile"),
        ((b"content-length", b"0"), "empty"),
    ],
)
def test_pages_that_must_reach_the_client_as_they_are_pass(header: Any, reason: str) -> None:
    assert answer(HTML, header) == reason
    assert answer(header, HTML, status=404) == reason


@pytest.mark.parametrize(
    "header",
    [
        (b"content-disposition", b"inline"),
        (b"content-disposition", b'INLINE; filename="a.html"'),
        (b"content-encoding", b"gzip"),
        (b"content-encoding", b"identity"),
        (b"transfer-encoding", b"chunked"),
        (b"cache-control", b"no-store, private"),
        (b"content-digest", b"sha-256=:x:"),  # injection 3.16: left out of an edited page's head
        (b"x-accel-buffering", b"no"),
        (b"x-content-type-options", b"nosniff"),  # injection 3.6
        (b"accept-ranges", b"bytes"),
        (b"content-length", b"100"),
        (b"content-security-policy", b"script-src 'none'"),  # judged apart
    ],
)
def test_pages_with_these_headers_are_edited(header: Any) -> None:
    assert answer(HTML, header) is None


def test_head_is_answered_as_get_would_be() -> None:
    """injection 3.12."""
    assert answer(HTML, method="HEAD") is None
    assert answer(HTML, (b"content-length", b"0"), method="HEAD") is None
    assert answer((b"content-type", b"text/plain"), method="HEAD") == "content type"
