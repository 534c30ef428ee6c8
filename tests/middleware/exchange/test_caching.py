"""Which copies of a response a cache may hand to others."""

import pytest
from clew.injector.heads import value
from clew.middleware.exchange.exchange import Exchange
from exchanges import AWC, NOW, PAGE, html, navigate, request, run, site


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
