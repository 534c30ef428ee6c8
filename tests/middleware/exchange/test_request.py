"""The request's head: who answers it, the visitor's touch, the headers for the shop."""

import pytest
from clew.injector.heads import ResponseHead, value, values
from clew.middleware.exchange.exchange import Exchange, Forward, OwnPage
from clew.referral.cookie import Known
from clew.referral.networks_file import load
from clew.service.site import SiteRuntime
from clew.settings.model import Settings
from exchanges import AWC, NOW, PAGE, html, navigate, request, run, site

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


def test_a_path_under_the_prefix_is_ours_and_matched_on_raw_bytes() -> None:
    assert Exchange(site(), NOW).request(request(b"/-/clew/l.js")) == OwnPage(b"/l.js")
    assert isinstance(Exchange(site(), NOW).request(request(b"/-/%63lew/l.js")), Forward)
    assert isinstance(Exchange(site(), NOW).request(request(b"/x/../-/clew/l.js")), Forward)


def test_other_requests_pass_without_reading_any_state() -> None:
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


def test_the_touch_survives_in_the_cookie_and_is_not_a_new_one_on_reload() -> None:
    first = Exchange(site(), NOW)
    navigate(first, request(b"/go", AWC))
    landed = run(first, ResponseHead(302, [(b"location", b"/")]))
    assert landed.head is not None
    cookie = next(c for c in values(landed.head.headers, b"set-cookie") if c.startswith(b"clew_visitor="))
    again = Exchange(site(), NOW + 60)
    plan = navigate(again, request(b"/go", AWC, cookie=cookie.partition(b";")[0].decode()))
    assert plan.effects == ()


def test_an_etag_from_before_clew_gets_the_whole_page() -> None:
    plan = navigate(Exchange(site(), NOW), request(if_none_match='"v1"'))
    assert value(plan.headers, b"if-none-match") is None


def test_a_fault_of_clew_leaves_the_shops_bytes_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = site(debug=False)
    exchange = Exchange(runtime, NOW)
    monkeypatch.setattr(runtime.landing, "read", lambda *_, **__: 1 / 0)
    head = request(b"/", AWC)
    plan = navigate(exchange, head)
    assert (plan.watch, plan.headers) == (False, head.headers)
    assert isinstance(exchange.fault, ZeroDivisionError)
