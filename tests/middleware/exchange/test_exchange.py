"""The exchange without any mount: values in, values out."""

import gzip

import pytest
from clew.injector.edit import PageEdit
from clew.injector.heads import RequestHead, ResponseHead, value, values
from clew.injector.tag import tag
from clew.middleware.exchange.exchange import (
    TABLE,
    Exchange,
    ExchangeError,
    Forward,
    Ours,
    Out,
    ResponseBrokenError,
    State,
)
from clew.referral.catalogue import load
from clew.referral.cookie import Known
from clew.service.site import SiteRuntime
from clew.settings.model import Settings

NOW = 1_800_000_000.0
PAGE = b"<!doctype html><html><head><title>T</title></head><body>Hello</body></html>"
AWC = b"awc=1001_1700000000_AbC%3D%7c%2f"


def site(**changes: object) -> SiteRuntime:
    data: dict[str, object] = {
        "name": "shop",
        "hosts": ["shop.example"],
        "partners": [
            {"id": "awin", "network": "awin", "settings": {"advertiser_id": "1001", "api_key": "k"}}
        ],
        "order": {"page": "/thanks*"},
        "debug": True,
    }
    settings = Settings.model_validate({"secret": "s" * 40, "sites": [data | changes]})
    return SiteRuntime(settings, settings.sites[0], load())


def request(path: bytes = b"/", query: bytes = b"", method: str = "GET", **headers: str) -> RequestHead:
    pairs = [(b"host", b"shop.example"), (b"accept", b"text/html"), (b"sec-fetch-dest", b"document")]
    named = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    pairs = [p for p in pairs if p[0] not in dict(named)]
    return RequestHead(method, path, query, [*pairs, *named], "https", "shop.example", "192.0.2.1")


def html(status: int = 200, **headers: str) -> ResponseHead:
    pairs = [(b"content-type", b"text/html; charset=utf-8")]
    return ResponseHead(
        status, [*pairs, *((k.replace("_", "-").encode(), v.encode()) for k, v in headers.items())]
    )


def run(exchange: Exchange, head: ResponseHead, *chunks: bytes) -> Out:
    """Everything that comes out for a whole response."""
    outs = [exchange.response(head), *(exchange.body(c) for c in chunks), exchange.end()]
    heads = [o.head for o in outs if o.head is not None]
    assert len(heads) == 1, "exactly one head goes to the client"
    return Out(heads[0], b"".join(o.body for o in outs))


def navigate(exchange: Exchange, head: RequestHead) -> Forward:
    plan = exchange.request(head)
    assert isinstance(plan, Forward)
    return plan


OLD, NEW = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6i", "XoR5tVnBqL1wEyKjS0aCzPdM8uGhF2iT"


def sealed(secret: str, *previous: str) -> SiteRuntime:
    values = {"secret": secret, "previous_secrets": previous, "sites": [{"name": "shop"}]}
    settings = Settings.model_validate(values)
    return SiteRuntime(settings, settings.sites[0], load())


def cookie_of(of: SiteRuntime) -> str:
    return of.cookie.set_cookie(Known("v" * 26, (), 1_700_000_000), secure=True).decode().partition(";")[0]


@pytest.mark.parametrize("status", [200, 302, 304, 404])
def test_a_cookie_under_a_previous_secret_is_renewed_by_the_next_page(status: int) -> None:
    """field E14"""
    now = sealed(NEW, OLD)
    exchange = Exchange(now, NOW)
    navigate(exchange, request(cookie=cookie_of(sealed(OLD))))
    head = run(exchange, html(status, cache_control="public, max-age=60")).head
    assert head is not None
    (renewed,) = values(head.headers, b"set-cookie")
    after = sealed(NEW)  # the old secret is forgotten
    known = after.cookie.read([renewed.partition(b";")[0]])
    assert known == Known("v" * 26, (), 1_700_000_000)
    assert b"private" in (value(head.headers, b"cache-control") or b"")


def test_a_cookie_under_the_newest_secret_costs_no_page_its_caching() -> None:
    now = sealed(NEW, OLD)
    for cookie in (cookie_of(now), "clew_visitor=rubbish", "a=1"):
        exchange = Exchange(now, NOW)
        navigate(exchange, request(cookie=cookie))
        head = run(exchange, html(cache_control="public, max-age=60"), PAGE).head
        assert head is not None
        assert values(head.headers, b"set-cookie") == []
        assert value(head.headers, b"cache-control") == b"public, max-age=60"


def test_a_page_gets_exactly_the_tag_and_nothing_else_changes() -> None:
    exchange = Exchange(site(), NOW)
    assert navigate(exchange, request()).watch
    out = run(exchange, html(content_length=str(len(PAGE))), PAGE)
    mark = tag("/-/clew/")
    assert out.body == PAGE.replace(b"<head>", b"<head>" + mark)
    assert out.head is not None
    assert value(out.head.headers, b"content-length") == str(len(out.body)).encode()
    assert value(out.head.headers, b"x-clew") == b"edit"
    assert exchange.state is State.DONE


@pytest.mark.parametrize("size", [1, 2, 7, 4096])
def test_chunking_changes_nothing(size: int) -> None:
    exchange = Exchange(site(), NOW)
    navigate(exchange, request())
    out = run(exchange, html(), *(PAGE[i : i + size] for i in range(0, len(PAGE), size)))
    assert out.body == PAGE.replace(b"<head>", b"<head>" + tag("/-/clew/"))


def test_a_path_under_the_prefix_is_ours_and_matched_on_raw_bytes() -> None:
    assert Exchange(site(), NOW).request(request(b"/-/clew/l.js")) == Ours(b"/l.js")
    assert isinstance(Exchange(site(), NOW).request(request(b"/-/%63lew/l.js")), Forward)
    assert isinstance(Exchange(site(), NOW).request(request(b"/x/../-/clew/l.js")), Forward)


def test_what_is_no_navigation_is_passed_with_no_state_touched() -> None:
    exchange = Exchange(site(), NOW)
    head = request(b"/api", AWC, sec_fetch_dest="empty")
    plan = navigate(exchange, head)
    assert (plan.watch, plan.effects, plan.headers) == (False, (), head.headers)


def test_the_click_is_written_down_before_the_shop_answers_and_kept_through_its_redirect() -> None:
    exchange = Exchange(site(), NOW)
    plan = navigate(exchange, request(b"/go", AWC + b"&utm_source=blog"))
    (effect,) = plan.effects
    assert effect.touch.clicks[0].value == "1001_1700000000_AbC=|/"
    assert effect.touch.clicks[0].partner == "awin"
    out = run(exchange, ResponseHead(302, [(b"location", b"/product"), (b"set-cookie", b"shop=1")]))
    assert out.head is not None
    cookies = values(out.head.headers, b"set-cookie")
    assert cookies[0] == b"shop=1", "the shop's own cookie stays, and stays first"
    awc = next(c for c in cookies if c.startswith(b"awc="))
    assert b"HttpOnly" in awc
    assert b"Secure" in awc
    own = next(c for c in cookies if c.startswith(b"clew_visitor="))
    for flag in (b"HttpOnly", b"SameSite=Lax", b"Secure", b"Max-Age=34560000", b"Path=/"):
        assert flag in own
    assert value(out.head.headers, b"cache-control") == b"private"


@pytest.mark.parametrize("said", ["public, max-age=60", "private", "s-maxage=600", ""])
def test_a_landing_that_sets_a_cookie_is_kept_by_no_shared_cache(said: str) -> None:
    exchange = Exchange(site(), NOW)
    navigate(exchange, request(b"/go", AWC))
    headers = {"cdn_cache_control": "max-age=3600", "surrogate_control": "max-age=1", "x_accel_expires": "9"}
    out = run(exchange, html(cache_control=said, **headers), PAGE)
    assert out.head is not None
    assert b"private" in (value(out.head.headers, b"cache-control") or b"")
    assert b"s-maxage" not in (value(out.head.headers, b"cache-control") or b"")
    for name in headers:
        assert value(out.head.headers, name.replace("_", "-").encode()) is None


def test_the_touch_survives_in_the_cookie_and_is_not_a_new_one_on_reload() -> None:
    first = Exchange(site(), NOW)
    navigate(first, request(b"/go", AWC))
    landed = run(first, ResponseHead(302, [(b"location", b"/")]))
    assert landed.head is not None
    cookie = next(c for c in values(landed.head.headers, b"set-cookie") if c.startswith(b"clew_visitor="))
    again = Exchange(site(), NOW + 60)
    plan = navigate(again, request(b"/go", AWC, cookie=cookie.partition(b";")[0].decode()))
    assert plan.effects == ()


def test_an_edited_pages_validator_is_marked_and_mapped_back() -> None:
    exchange = Exchange(site(), NOW)
    navigate(exchange, request())
    out = run(exchange, html(etag='"v1"', last_modified="Mon, 23 Nov 2026 00:00:00 GMT"), PAGE)
    assert out.head is not None
    marked = value(out.head.headers, b"etag")
    assert marked is not None
    assert marked.startswith(b'W/"v1')
    assert value(out.head.headers, b"last-modified") is None
    again = Exchange(site(), NOW)
    plan = navigate(again, request(if_none_match=marked.decode()))
    assert value(plan.headers, b"if-none-match") in (b'"v1"', b'W/"v1"')
    unchanged = run(again, ResponseHead(304, [(b"etag", b'"v1"')]))
    assert unchanged.head is not None
    assert value(unchanged.head.headers, b"etag") == marked


def test_a_validator_from_before_clew_asks_the_shop_for_the_whole_page() -> None:
    plan = navigate(Exchange(site(), NOW), request(if_none_match='"v1"'))
    assert value(plan.headers, b"if-none-match") is None


def test_the_shop_is_asked_for_an_unpacked_page_and_the_browser_gets_a_packed_one() -> None:
    exchange = Exchange(site(), NOW)
    plan = navigate(exchange, request(accept_encoding="gzip"))
    assert values(plan.headers, b"accept-encoding") == [b"identity"]
    out = run(exchange, html(), PAGE)
    assert out.head is not None
    assert value(out.head.headers, b"content-encoding") == b"gzip"
    assert b"accept-encoding" in (value(out.head.headers, b"vary") or b"").lower()
    assert gzip.decompress(out.body).replace(tag("/-/clew/"), b"") == PAGE


def test_a_page_that_the_shop_packs_all_the_same_is_edited_too() -> None:
    exchange = Exchange(site(), NOW)
    navigate(exchange, request(accept_encoding="identity"))
    out = run(exchange, html(content_encoding="gzip"), gzip.compress(PAGE))
    assert out.body.replace(tag("/-/clew/"), b"") == PAGE
    assert out.head is not None
    assert value(out.head.headers, b"content-encoding") is None


def test_a_page_that_breaks_off_after_it_was_begun_never_ends_cleanly() -> None:
    exchange = Exchange(site(), NOW)
    navigate(exchange, request())
    packed = gzip.compress(PAGE * 2000, mtime=0)
    exchange.response(html(content_encoding="gzip"))
    exchange.body(packed[: len(packed) // 2])
    with pytest.raises(ResponseBrokenError):
        exchange.end()
    assert exchange.state is State.BROKEN


def test_bytes_that_are_no_gzip_go_through_as_they_came() -> None:
    exchange = Exchange(site(), NOW)
    navigate(exchange, request())
    out = run(exchange, html(content_encoding="gzip", content_length="9"), b"no gzip!!")
    assert out.body == b"no gzip!!"
    assert out.head is not None
    assert value(out.head.headers, b"content-encoding") == b"gzip"


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (ResponseHead(200, [(b"content-type", b"application/json")]), "type"),
        (html(status=500), "status"),
        (html(content_disposition="attachment"), "attachment"),
        (html(cache_control="no-transform"), "no-transform"),
        (html(content_security_policy="script-src 'none'"), "policy"),
    ],
)
def test_what_must_not_be_touched_arrives_as_it_came(head: ResponseHead, why: str) -> None:
    exchange = Exchange(site(debug=False), NOW)
    navigate(exchange, request())
    out = run(exchange, head, PAGE)
    assert out == Out(head, PAGE), why
    assert exchange.outcome[0] == "pass"


def test_a_fault_of_our_own_leaves_the_shops_bytes_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = site(debug=False)
    exchange = Exchange(runtime, NOW)
    monkeypatch.setattr(runtime.landing, "read", lambda *_, **__: 1 / 0)
    head = request(b"/", AWC)
    plan = navigate(exchange, head)
    assert (plan.watch, plan.headers) == (False, head.headers)
    assert isinstance(exchange.fault, ZeroDivisionError)


def test_an_editor_that_fails_before_the_head_is_out_leaves_the_page_as_it_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(PageEdit, "feed", lambda *_: 1 / 0)
    exchange = Exchange(site(debug=False), NOW)
    navigate(exchange, request())
    exchange.response(html(content_length="10"))
    out = exchange.body(b"<!doctype ")
    rest = exchange.body(b"html>")
    assert out == Out(html(content_length="10"), b"<!doctype ")
    assert rest.body == b"html>"


def test_the_confirmation_page_is_copied_for_its_order_also_where_it_may_not_be_edited() -> None:
    for head in (html(), html(content_security_policy="default-src 'none'")):
        exchange = Exchange(site(), NOW)
        navigate(exchange, request(b"/thanks"))
        run(exchange, head, PAGE[:20], PAGE[20:])
        (effect,) = exchange.effects
        assert effect.order
        assert effect.body == PAGE


def test_an_ordinary_page_is_not_copied() -> None:
    exchange = Exchange(site(), NOW)
    navigate(exchange, request(b"/"))
    run(exchange, html(), PAGE)
    assert exchange.effects == ()


def test_head_tells_no_length_that_get_would_not_have() -> None:
    exchange = Exchange(site(), NOW)
    navigate(exchange, request(method="HEAD"))
    out = run(exchange, html(content_length=str(len(PAGE)), etag='"v1"'))
    assert out.head is not None
    assert value(out.head.headers, b"content-length") is None
    assert out.body == b""


def test_no_step_leads_where_the_table_does_not() -> None:
    exchange = Exchange(site(), NOW)
    with pytest.raises(ExchangeError):
        exchange.end()
    assert (State.DONE, "body") not in TABLE
    reached = {state for targets in TABLE.values() for state in targets}
    assert reached == set(State) - {State.START}
