"""Which page is copied for its order."""

from clew.middleware.exchange.exchange import Exchange
from exchanges import NOW, PAGE, html, navigate, request, run, site


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
