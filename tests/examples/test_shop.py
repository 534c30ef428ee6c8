"""The demo's shop behaves like a real one, and knows nothing of clew."""

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from processes import Program, free_port

SHOP = Path(__file__).parents[2] / "examples" / "shop" / "app.py"
ADDRESS = {"name": "Ada <b>", "street": "Row 1", "city": "London", "email": "ada@example.com"}


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    """Its address."""
    port = free_port()
    with Program([sys.executable, str(SHOP), "--port", str(port)]) as program:
        program.wait_for_port(port)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def visitor(shop: str) -> Iterator[httpx2.Client]:
    """A browser's cookies and redirects."""
    with httpx2.Client(base_url=shop, follow_redirects=True) as client:
        yield client


def test_a_campaign_link_redirects_and_loses_its_query(visitor: httpx2.Client) -> None:
    page = visitor.get("/go/aurora-58?cb=1")
    assert [r.status_code for r in page.history] == [302]
    assert str(page.url).endswith("/products/aurora-58")


def test_the_basket_and_the_confirmation_belong_to_one_browser(visitor: httpx2.Client, shop: str) -> None:
    basket = visitor.post("/basket/add", data={"product": "conica-64"})
    assert '<span class="basket-items">1</span>' in basket.text
    assert ">€289.90</span>" in basket.text

    page = visitor.post("/checkout", data=ADDRESS)

    number = str(page.url).rpartition("/")[2]
    assert f'<strong id="order-number">{number}</strong>' in page.text
    assert '<strong id="order-total">€289.90</strong>' in page.text
    assert "Ada &lt;b&gt;" in page.text
    assert visitor.get(page.url).status_code == 200
    assert httpx2.get(page.url).status_code == 404


def test_cheap_orders_pay_for_shipping(visitor: httpx2.Client) -> None:
    visitor.post("/basket/add", data={"product": "beans-terra"})
    page = visitor.post("/checkout", data=ADDRESS)
    assert '<strong id="order-total">€29.70</strong>' in page.text


def test_an_address_that_is_not_whole_is_asked_for_again(visitor: httpx2.Client) -> None:
    visitor.post("/basket/add", data={"product": "conica-64"})
    page = visitor.post("/checkout", data={**ADDRESS, "email": " "})
    assert page.status_code == 422
    assert page.text.count('aria-invalid="true"') == 1
    assert 'value="Ada &lt;b&gt;"' in page.text


def test_an_empty_basket_cannot_be_ordered(visitor: httpx2.Client) -> None:
    assert str(visitor.post("/checkout", data=ADDRESS).url).endswith("/basket")


def test_what_is_not_there_is_a_page_of_its_own(visitor: httpx2.Client) -> None:
    for path in ("/products/none", "/go/none", "/category/none", "/checkout/confirmation/CC-1", "/none"):
        page = visitor.get(path)
        assert page.status_code == 404
        assert "Not here." in page.text


def test_pages_forbid_scripts_of_others_and_are_packed_for_those_who_can(visitor: httpx2.Client) -> None:
    packed = visitor.get("/", headers={"accept-encoding": "gzip"})
    plain = visitor.get("/", headers={"accept-encoding": "identity"})
    assert "script-src 'self'" in packed.headers["content-security-policy"]
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.text == plain.text
    assert "clew" not in plain.text
