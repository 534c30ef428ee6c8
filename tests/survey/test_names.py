from datetime import date
from html import escape

import pytest
from clew.survey.draft import Proposal, draft
from clew.survey.look import shop_title
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


def test_a_shop_that_is_tried_on_this_machine_is_named_by_the_host_that_it_uses() -> None:
    text = draft(Proposal(HERE, (), title="Tea", own_name="https://www.shop.example"), date(2026, 11, 23))
    assert 'name = "shop.example"' in text


@pytest.mark.parametrize(
    ("titles", "name"),
    [
        (["All products | Kettle & Crema", "Mug | Kettle & Crema"], "Kettle & Crema"),
        (["All products", "Mug", "Basket"], ""),
        (["Kettle & Crema - All", "Basket", "Mug · Kettle & Crema"], "Kettle & Crema"),
        (["Home | Tea"], "Home | Tea"),
    ],
)
def test_the_title_of_a_shop_is_what_its_pages_have_in_common(titles: list[str], name: str) -> None:
    looks = [look(f"<html><head><title>{escape(title)}</title></head></html>", HERE) for title in titles]
    assert shop_title(looks) == name


def test_a_shop_may_say_its_title() -> None:
    named = '<meta property="og:site_name" content="Kettle">'
    assert shop_title([look(page(head=named), HERE), look(page(), HERE)]) == "Kettle"
