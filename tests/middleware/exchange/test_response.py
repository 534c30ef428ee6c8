"""The response's head: edited or not, its codings and validators."""

import gzip

import pytest
from clew.injector.heads import ResponseHead, value, values
from clew.injector.tag import tag
from clew.middleware.exchange.exchange import Exchange, Out, State
from exchanges import NOW, PAGE, html, navigate, request, run, site


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


def test_pages_are_requested_uncompressed_and_sent_compressed() -> None:
    exchange = Exchange(site(), NOW)
    plan = navigate(exchange, request(accept_encoding="gzip"))
    assert values(plan.headers, b"accept-encoding") == [b"identity"]
    out = run(exchange, html(), PAGE)
    assert out.head is not None
    assert value(out.head.headers, b"content-encoding") == b"gzip"
    assert b"accept-encoding" in (value(out.head.headers, b"vary") or b"").lower()
    assert gzip.decompress(out.body).replace(tag("/-/clew/"), b"") == PAGE


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
def test_responses_that_must_not_be_edited_are_unchanged(head: ResponseHead, why: str) -> None:
    exchange = Exchange(site(debug=False), NOW)
    navigate(exchange, request())
    out = run(exchange, head, PAGE)
    assert out == Out(head, PAGE), why
    assert exchange.outcome[0] == "pass"


def test_head_has_no_length_that_get_would_not_have() -> None:
    exchange = Exchange(site(), NOW)
    navigate(exchange, request(method="HEAD"))
    out = run(exchange, html(content_length=str(len(PAGE)), etag='"v1"'))
    assert out.head is not None
    assert value(out.head.headers, b"content-length") is None
    assert out.body == b""


CRISP = {"provider": "crisp", "ids": {"website_id": "5f9d3b0c-8a7e-4d5c-9b3a-29181706f5e4"}}


def policy_of(out: Out) -> bytes:
    assert out.head is not None
    return value(out.head.headers, b"content-security-policy") or b""


def test_what_a_policy_forbids_of_the_providers_chat_is_noted_and_left() -> None:
    exchange = Exchange(site(chat=CRISP), NOW)
    navigate(exchange, request())
    out = run(exchange, html(content_security_policy="script-src 'self'; frame-src 'none'"), PAGE)
    assert policy_of(out) == b"script-src 'self'; frame-src 'none'"
    assert exchange.forbidden == {
        "script-src": ("https://client.crisp.chat",),
        "frame-src": ("https://game.crisp.chat",),
    }


def test_a_policy_is_extended_if_the_owner_wants_that() -> None:
    shop = site(chat=CRISP | {"csp": "extend"})
    exchange = Exchange(shop, NOW)
    navigate(exchange, request())
    out = run(exchange, html(content_security_policy="script-src 'self'", etag='"v1"'), PAGE)
    assert policy_of(out) == b"script-src 'self' https://client.crisp.chat"
    assert not exchange.forbidden
    assert out.head is not None
    marked = value(out.head.headers, b"etag")
    assert marked is not None
    # The headers of a 304 replace those of the stored page.
    again = Exchange(shop, NOW)
    navigate(again, request(if_none_match=marked.decode()))
    unchanged = ResponseHead(304, [(b"etag", b'"v1"'), (b"content-security-policy", b"script-src 'self'")])
    assert policy_of(run(again, unchanged)) == b"script-src 'self' https://client.crisp.chat"


def test_policies_of_what_is_not_edited_are_left_alone() -> None:
    exchange = Exchange(site(chat=CRISP | {"csp": "extend"}), NOW)
    navigate(exchange, request())
    head = ResponseHead(
        200, [(b"content-type", b"application/json"), (b"content-security-policy", b"script-src 'self'")]
    )
    assert policy_of(run(exchange, head, b"{}")) == b"script-src 'self'"
