"""The response's body and its end, also when something fails on the way."""

import gzip

import pytest
from clew.injector.edit import PageEdit
from clew.injector.heads import value
from clew.injector.tag import tag
from clew.middleware.exchange.exchange import Exchange, Out, ResponseBrokenError, State
from exchanges import NOW, PAGE, html, navigate, request, run, site


@pytest.mark.parametrize("size", [1, 2, 7, 4096])
def test_chunking_changes_nothing(size: int) -> None:
    exchange = Exchange(site(), NOW)
    navigate(exchange, request())
    out = run(exchange, html(), *(PAGE[i : i + size] for i in range(0, len(PAGE), size)))
    assert out.body == PAGE.replace(b"<head>", b"<head>" + tag("/-/clew/"))


def test_a_page_that_the_shop_compresses_nevertheless_is_edited() -> None:
    exchange = Exchange(site(), NOW)
    navigate(exchange, request(accept_encoding="identity"))
    out = run(exchange, html(content_encoding="gzip"), gzip.compress(PAGE))
    assert out.body.replace(tag("/-/clew/"), b"") == PAGE
    assert out.head is not None
    assert value(out.head.headers, b"content-encoding") is None


def test_a_page_aborted_by_the_app_is_not_completed() -> None:
    exchange = Exchange(site(), NOW)
    navigate(exchange, request())
    packed = gzip.compress(PAGE * 2000, mtime=0)
    exchange.response(html(content_encoding="gzip"))
    exchange.body(packed[: len(packed) // 2])
    with pytest.raises(ResponseBrokenError):
        exchange.end()
    assert exchange.state is State.BROKEN


def test_bytes_that_are_not_gzip_pass_unchanged() -> None:
    exchange = Exchange(site(), NOW)
    navigate(exchange, request())
    out = run(exchange, html(content_encoding="gzip", content_length="9"), b"no gzip!!")
    assert out.body == b"no gzip!!"
    assert out.head is not None
    assert value(out.head.headers, b"content-encoding") == b"gzip"


def test_an_editor_that_fails_before_the_head_is_sent_leaves_the_page_unchanged(
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
