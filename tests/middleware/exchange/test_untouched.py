"""What must reach the browser as the shop sent it: the same head, the same bytes, the same request before."""

import gzip
from typing import Any

import pytest
from clew.injector.heads import Headers, RequestHead, ResponseHead, value
from clew.injector.tag import tag
from clew.middleware.exchange.exchange import Exchange, Forward, Out, State
from clew.referral.networks_file import load
from clew.service.site import SiteRuntime
from clew.settings.model import Settings

NOW = 1_800_000_000.0
TAG = tag("/-/clew/")
PAGE = b"<!doctype html><html><head><title>T</title></head><body>Hello</body></html>"
CHUNKS = (1, 2, 3, 7, 4096)
DOCUMENT = [(b"accept", b"text/html"), (b"sec-fetch-dest", b"document")]

# All that would change if the page were edited, some of it twice, in an order of its own.
RICH: Headers = [
    (b"date", b"Sun, 06 Nov 1994 08:49:37 GMT"),
    (b"set-cookie", b"basket=1; Path=/"),
    (b"etag", b'"v1"'),
    (b"last-modified", b"Sun, 06 Nov 1994 08:49:37 GMT"),
    (b"accept-ranges", b"bytes"),
    (b"content-md5", b"Q2hlY2sgSW50ZWdyaXR5IQ=="),
    (b"content-digest", b"sha-256=:x:"),
    (b"vary", b"Cookie"),
    (b"link", b"</a.css>; rel=preload"),
    (b"set-cookie", b"basket=1; Path=/"),
    (b"x-shop", b"caf\xe9"),
]


def site(**changes: Any) -> SiteRuntime:
    settings = Settings.model_validate({"secret": "s" * 40, "sites": [{"name": "shop"} | changes]})
    return SiteRuntime(settings, settings.sites[0], load())


def request(*headers: tuple[bytes, bytes], method: str = "GET", path: bytes = b"/") -> RequestHead:
    pairs = [(b"host", b"shop.example"), *headers]
    return RequestHead(method, path, b"", pairs, "https", "shop.example", "192.0.2.1")


def run(exchange: Exchange, head: ResponseHead, chunks: list[bytes]) -> Out:
    outs = [exchange.response(head), *map(exchange.body, chunks), exchange.end()]
    (sent,) = [out.head for out in outs if out.head is not None]
    return Out(sent, b"".join(out.body for out in outs))


def cut(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


HTML = (b"content-type", b"text/html; charset=utf-8")

REQUESTS: dict[str, RequestHead] = {
    "injection 3.1 a script's fetch": request((b"sec-fetch-dest", b"empty")),
    "injection 3.1 jQuery": request((b"accept", b"text/html"), (b"x-requested-with", b"XMLHttpRequest")),
    "injection 3.1 htmx": request((b"accept", b"*/*"), (b"hx-request", b"true")),
    "injection 3.1 pjax": request((b"x-pjax", b"true"), *DOCUMENT),
    "injection 3.1 a Turbo frame": request((b"turbo-frame", b"cart"), *DOCUMENT),
    "injection 3.3 Turbo Drive": request((b"sec-fetch-dest", b"empty"), (b"accept", b"text/html")),
    "injection 3.10 an editor's frame": request((b"sec-fetch-dest", b"iframe")),
    "injection 3.11 the rest of a download": request((b"range", b"bytes=9-"), (b"if-range", b'"v1"')),
    "injection 3.22 a part of a page": request((b"surrogate-capability", b'v="ESI/1.0"'), *DOCUMENT),
    "injection 2.7 an upgrade": request((b"upgrade", b"websocket"), (b"connection", b"upgrade")),
    "a form sent by a program": request(method="PUT"),
}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("size", CHUNKS)
def test_requests_other_than_navigations_pass_unchanged_both_ways(name: str, size: int) -> None:
    """injection 10."""
    head = REQUESTS[name]
    exchange = Exchange(site(), NOW)
    plan = exchange.request(head)
    assert isinstance(plan, Forward)
    assert (plan.headers, plan.watch, plan.effects) == (head.headers, False, ())
    answer = ResponseHead(200, [HTML, *RICH])
    assert run(exchange, answer, cut(PAGE, size)) == Out(answer, PAGE)


def html(*headers: tuple[bytes, bytes], status: int = 200) -> ResponseHead:
    return ResponseHead(status, [HTML, *headers, *RICH])


def typed(*kinds: bytes) -> ResponseHead:
    return ResponseHead(200, [*((b"content-type", kind) for kind in kinds), *RICH])


RESPONSES: dict[str, tuple[ResponseHead, bytes]] = {
    "injection 2.6 events": (typed(b"text/event-stream"), b"data: <html><head>\n\n"),
    "injection 3.1 a fragment": (html(), b"<tr><td>1</td></tr>"),
    "injection 3.4 JSON": (html(), b'{"a": "<!doctype html><html><head>"}'),
    "injection 3.4 a script": (html(), b"var a = '<!doctype html><html><head>'"),
    "injection 3.5 no type": (typed(), PAGE),
    "injection 3.7 XHTML": (typed(b"application/xhtml+xml"), PAGE),
    "injection 3.8 AMP": (html(), PAGE.replace(b"<html>", "<html ⚡>".encode())),
    "injection 3.9 a download": (html((b"content-disposition", b"attachment; filename=a.html")), PAGE),
    "injection 3.11 a part": (html((b"content-range", b"bytes 0-75/76"), status=206), PAGE),
    "injection 3.11 a part that says 200": (html((b"content-range", b"bytes 0-75/76")), PAGE),
    "injection 3.13 no content": (html(status=204), b""),
    "injection 3.13 reset": (html(status=205), b""),
    "injection 3.14 a redirect with a page": (html((b"location", b"/b"), status=302), PAGE),
    "injection 3.14 a login": (html((b"www-authenticate", b"Basic"), status=401), PAGE),
    "injection 3.14 a failure": (html(status=503), PAGE),
    "injection 3.15 no-transform": (html((b"cache-control", b"max-age=60, no-transform")), PAGE),
    "injection 3.16 signed": (html((b"signature-input", b"a=()"), (b"signature", b"a=:x:")), PAGE),
    "injection 3.16 a signed exchange": (typed(b"application/signed-exchange;v=b3"), PAGE),
    "injection 3.19 source": (typed(b"text/plain"), PAGE),
    "injection 3.19 a feed": (typed(b"application/rss+xml"), b"<?xml version='1.0'?><rss/>"),
    "injection 3.20 two types": (typed(b"text/html", b"text/html"), PAGE),
    "injection 3.20 two types in one": (typed(b"text/html, text/html"), PAGE),
    "injection 3.21 push": (typed(b"multipart/x-mixed-replace; boundary=a"), b"--a\r\n\r\n" + PAGE),
    "injection 4.2 an unknown coding": (html((b"content-encoding", b"dcb")), b"\xff\x44" + PAGE),
    "injection 4.2 two codings": (html((b"content-encoding", b"br, gzip")), gzip.compress(PAGE)),
    "injection 4.4 cut off before its head": (
        html((b"content-encoding", b"gzip")),
        gzip.compress(b"<!doctype html><html lang=")[:-9],
    ),
    "injection 4.6 a bomb before its head": (
        html((b"content-encoding", b"gzip")),
        gzip.compress(b" " * 32_000_000),
    ),
    "injection 4.11 UTF-16": (typed(b"text/html; charset=utf-16"), PAGE.decode().encode("utf-16")),
    "injection 4.11 UTF-16 by its mark alone": (html(), ("\ufeff" + PAGE.decode()).encode("utf-16-be")),
    "injection 4.12 ISO-2022-JP": (typed(b"text/html; charset=iso-2022-jp"), PAGE),
    "injection 4.13 UTF-7": (typed(b"text/html; charset=utf-7"), PAGE),
    "injection 5.11 a file by another server": (html((b"x-accel-redirect", b"/files/a.html")), b""),
    "injection 6.2 two nonces": (
        html(
            (b"content-security-policy", b"script-src 'strict-dynamic' 'nonce-a'"),
            (b"content-security-policy", b"script-src 'strict-dynamic' 'nonce-b'"),
        ),
        PAGE,
    ),
    "injection 6.4 no scripts": (html((b"content-security-policy", b"default-src 'none'")), PAGE),
    "injection 6.6 one of two": (
        html((b"content-security-policy", b"script-src 'self', script-src 'none'")),
        PAGE,
    ),
    "injection 6.11 a sandbox": (html((b"content-security-policy", b"sandbox allow-forms")), PAGE),
    "injection 6.14 hashes": (html((b"integrity-policy", b"blocked-destinations=(script)")), PAGE),
    "injection 7.1 tagged already": (html(), PAGE.replace(b"<head>", b"<head>" + TAG)),
}


# Known for pages by their doctype, and refused by what follows it.
LATE = (
    "injection 3.8 AMP",
    "injection 4.4 cut off before its head",
    "injection 7.1 tagged already",
)


@pytest.mark.parametrize("name", RESPONSES)
@pytest.mark.parametrize("size", CHUNKS)
def test_responses_that_must_not_be_edited_keep_head_and_bytes(name: str, size: int) -> None:
    """injection 10. Flushed at any byte, but for `LATE` not right behind the doctype: see the next test."""
    head, body = RESPONSES[name]
    exchange = Exchange(site(), NOW)
    exchange.request(request(*DOCUMENT))
    chunks = cut(body, max(size, 64 if name in LATE else len(body) // 1000))
    assert run(exchange, head, chunks) == Out(head, body)
    assert exchange.outcome[0] == "pass"
    assert exchange.outcome[1]


@pytest.mark.parametrize("name", ["injection 3.8 AMP", "injection 7.1 tagged already"])
def test_a_page_that_was_flushed_before_it_refused_the_tag_keeps_its_bytes(name: str) -> None:
    """injection 2.4: its head was sent with its doctype, as that of an edited page."""
    head, body = RESPONSES[name]
    exchange = Exchange(site(), NOW)
    exchange.request(request(*DOCUMENT))
    sent = run(exchange, head, [body[:15], body[15:]])
    assert sent.body == body
    assert sent.head is not None
    assert value(sent.head.headers, b"etag") == b'W/"v1-clew-%s"' % exchange.site.mark
    again = Exchange(exchange.site, NOW)
    plan = again.request(request(*DOCUMENT, (b"if-none-match", b'W/"v1-clew-%s"' % exchange.site.mark)))
    assert isinstance(plan, Forward)
    assert value(plan.headers, b"if-none-match") == b'"v1"'


@pytest.mark.parametrize("change", [{"inject": False}, {"never": ["/pay*"]}])
def test_requests_for_excluded_pages_are_forwarded_unchanged(change: dict[str, Any]) -> None:
    """injection 3.18, 5.7: also its validators and the coding that it comes in are the browser's and the
    shop's own."""
    conditions = [
        (b"accept-encoding", b"gzip, br"),
        (b"if-none-match", b'"v1"'),
        (b"if-modified-since", b"Sun, 06 Nov 1994 08:49:37 GMT"),
    ]
    head = request(*DOCUMENT, *conditions, path=b"/pay/card")
    for answer, body in ((html(), PAGE), (ResponseHead(304, RICH), b"")):
        exchange = Exchange(site(**change), NOW)
        plan = exchange.request(head)
        assert isinstance(plan, Forward)
        assert plan.headers == head.headers
        assert run(exchange, answer, [body] if body else []) == Out(answer, body)
        assert exchange.outcome in {("pass", "switched off"), ("pass", "never")}


def test_a_script_request_over_plain_http_is_forwarded_unchanged() -> None:
    """injection 3.2: what looks like a navigation only because the browser sends no `Sec-Fetch-Dest`."""
    head = request((b"accept", b"*/*"), (b"accept-encoding", b"gzip"), (b"if-none-match", b'"v1"'))
    for answer, body in (
        (typed(b"text/javascript"), b"let a"),
        (ResponseHead(304, RICH), b""),
    ):
        exchange = Exchange(site(), NOW)
        plan = exchange.request(head)
        assert isinstance(plan, Forward)
        assert plan.headers == head.headers
        assert run(exchange, answer, [body] if body else []) == Out(answer, body)


def test_a_page_requested_with_accept_any_is_edited_by_its_content() -> None:
    """injection 3.2: and sent in a coding that the client accepts."""
    exchange = Exchange(site(), NOW)
    exchange.request(request((b"accept", b"*/*"), (b"accept-encoding", b"gzip")))
    sent = run(exchange, html((b"content-encoding", b"gzip")), [gzip.compress(PAGE)])
    assert gzip.decompress(sent.body) == PAGE.replace(b"<head>", b"<head>" + TAG)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
def test_saved_pages_are_named_like_the_shops(method: str) -> None:
    """injection 5.5: by the tag that an editor in the browser read it with, and sends by a script."""
    marked = b'W/"v1-clew-%s", "v2"' % site().mark
    head = request((b"sec-fetch-dest", b"empty"), (b"if-match", marked), (b"a", b"b"), method=method)
    plan = Exchange(site(), NOW).request(head)
    assert isinstance(plan, Forward)
    assert plan.headers == [*head.headers[:2], (b"if-match", b'"v1", "v2"'), (b"a", b"b")]
    without = request((b"sec-fetch-dest", b"empty"), (b"if-match", b'"v1"'), method=method)
    plan = Exchange(site(), NOW).request(without)
    assert isinstance(plan, Forward)
    assert plan.headers is without.headers


def test_no_transform_may_be_meant_for_others() -> None:
    """injection 3.15: a setting may override it; the directive itself is kept for other caches."""
    exchange = Exchange(site(ignore_no_transform=True), NOW)
    exchange.request(request(*DOCUMENT))
    sent = run(exchange, html((b"cache-control", b"no-transform")), [PAGE])
    assert sent.body == PAGE.replace(b"<head>", b"<head>" + TAG)
    assert sent.head is not None
    assert value(sent.head.headers, b"cache-control") == b"no-transform"
    exchange = Exchange(site(ignore_no_transform=True), NOW)
    exchange.request(request(*DOCUMENT))
    refused = html((b"cache-control", b"no-transform"), (b"content-encoding", b"dcb"))
    assert run(exchange, refused, [PAGE]) == Out(refused, PAGE)


def test_a_held_head_is_released_before_other_messages() -> None:
    """injection 8.1, 8.8: with the bytes that were held, all as they came."""
    exchange = Exchange(site(), NOW)
    exchange.request(request(*DOCUMENT))
    assert exchange.response(html()) == Out()
    assert exchange.body(b"<!doctype html><html lang=") == Out()
    assert exchange.other() == Out(html(), b"<!doctype html><html lang=")
    assert exchange.other() == Out()
    assert exchange.body(b"de><head>") == Out(body=b"de><head>")
    exchange.end()
    assert exchange.state is State.DONE
    assert exchange.outcome == ("pass", "no body")


@pytest.mark.parametrize("policy", [[], [(b"content-security-policy", b"script-src 'nonce-abc'")]])
def test_the_edit_is_the_same_for_every_visitor(policy: Headers) -> None:
    """injection 4.9, 5.6, 9: nothing of a request is in the page: no secret to guess at, nothing to
    reflect, and one copy that suits everybody."""
    first: Out | None = None
    for headers, path, query, host in (
        (DOCUMENT, b"/", b"", "shop.example"),
        ([*DOCUMENT, (b"cookie", b"basket=1; clew_visitor=x")], b"/", b"q=<script>", "shop.example"),
        ([*DOCUMENT, (b"referer", b"https://x.example/'\"><b>")], b"/%22%3E", b"", "evil.example"),
        ([*DOCUMENT, (b"user-agent", b"curl/8"), (b"dnt", b"1")], b"/-/", b"data-clew=1", '"><script>'),
    ):
        exchange = Exchange(site(), NOW + len(path))
        exchange.request(RequestHead("GET", path, query, [*headers], "https", host, "192.0.2.9"))
        sent = run(exchange, html(*policy), [PAGE])
        first = first or sent
        assert sent == first
    assert first is not None
    assert first.body.count(b"data-clew=") == 1


def test_a_nonce_is_that_of_the_same_response_only() -> None:
    """injection 6.13."""
    runtime = site()
    for nonce in (b"first", b"second"):
        exchange = Exchange(runtime, NOW)
        exchange.request(request(*DOCUMENT))
        policy = (b"content-security-policy", b"script-src 'strict-dynamic' 'nonce-%s'" % nonce)
        sent = run(exchange, html(policy), [PAGE])
        assert sent.body == PAGE.replace(b"<head>", b"<head>" + tag("/-/clew/", nonce))
    exchange = Exchange(runtime, NOW)
    exchange.request(request(*DOCUMENT))
    assert b"nonce" not in run(exchange, html(), [PAGE]).body


def test_policies_and_hints_of_an_edited_page_stay_as_they_are() -> None:
    """injection 5.9, 6.16, 6.17."""
    theirs = [
        (b"content-security-policy", b"script-src 'self'; report-uri /csp"),
        (b"content-security-policy", b"img-src *, frame-src 'none'"),
        (b"content-security-policy-report-only", b"script-src 'none'"),
        (b"permissions-policy", b"microphone=(), clipboard-write=()"),
        (b"cross-origin-embedder-policy", b"require-corp"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"link", b"</a.js>; rel=preload; as=script"),
        (b"speculation-rules", b'"/rules.json"'),
    ]
    exchange = Exchange(site(), NOW)
    exchange.request(request(*DOCUMENT))
    sent = run(exchange, ResponseHead(200, [HTML, *theirs]), [PAGE])
    assert sent.head is not None
    assert sent.head.headers == [HTML, *theirs]
    assert sent.body.count(TAG) == 1
    assert exchange.outcome == ("edit", "csp report-only script-src")


@pytest.mark.parametrize("coding", [b"identity", b"gzip"])
def test_get_head_and_304_of_a_page_agree(coding: bytes) -> None:
    """injection 3.12, 5.2, 5.3, 10: what one of them says of the page holds for the others."""
    runtime = site()
    asks = [*DOCUMENT, (b"accept-encoding", coding)]
    answers = {}
    for method in ("GET", "HEAD"):
        exchange = Exchange(runtime, NOW)
        exchange.request(request(*asks, method=method))
        answers[method] = run(exchange, html(), [PAGE] if method == "GET" else []).head
    assert answers["GET"] == answers["HEAD"]
    assert answers["GET"] is not None
    etag = value(answers["GET"].headers, b"etag")
    assert etag is not None
    exchange = Exchange(runtime, NOW)
    plan = exchange.request(request(*asks, (b"if-none-match", etag)))
    assert isinstance(plan, Forward)
    assert value(plan.headers, b"if-none-match") == b'"v1"'
    unchanged = run(exchange, ResponseHead(304, [(b"etag", b'"v1"')]), []).head
    assert unchanged is not None
    assert value(unchanged.headers, b"etag") == etag
