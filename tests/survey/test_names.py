from datetime import date

import pytest
from clew.survey.draft import Proposal, draft
from looks import look, page

HERE = "http://127.0.0.1:8000/"
AWAY = "".join(f'<a href="https://www.shop.example/p/{n}">x</a>' for n in range(6))


@pytest.mark.parametrize(
    ("body", "head", "name"),
    [
        (AWAY, "", "https://www.shop.example"),
        (AWAY + '<a href="/">Home</a>', "", "https://www.shop.example"),
        ("", '<link rel="canonical" href="https://shop.example/">', "https://shop.example"),
        ("", '<meta property="og:url" content="https://shop.example/x">', "https://shop.example"),
        (AWAY, '<base href="http://127.0.0.1:8000/">', "https://www.shop.example"),
        ('<a href="https://facebook.example/x">f</a><a href="/p/1">x</a>', "", None),
        (AWAY + "".join(f'<a href="/p/{n}">x</a>' for n in range(6)), "", None),
        ("", '<link rel="canonical" href="/x">', None),
        ("", "", None),
    ],
)
def test_a_shop_that_calls_itself_by_another_name_is_noticed(body: str, head: str, name: str | None) -> None:
    """field C7"""
    assert look(page(body, head), HERE).own_name == name


@pytest.mark.parametrize(
    ("address", "title", "name"),
    [
        (HERE, "Caffè & Cø – Home", "caffe-c"),
        (HERE, "Home | Tea & Things", "tea-things"),
        ("http://localhost:8000/", "Startseite", "shop"),
        ("http://[::1]:8000/", "", "shop"),
        ("http://10.0.0.5/", "东方茶", "shop"),
        ("https://www.shop.example/", "Tea", "shop.example"),
    ],
)
def test_a_site_is_named_by_its_host_or_else_by_its_title(address: str, title: str, name: str) -> None:
    """field G19"""
    text = draft(Proposal(address, (), title=title), date(2026, 11, 23))
    assert f'name = "{name}"' in text
