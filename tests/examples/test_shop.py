"""The demo's shop, without clew."""

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
    """The shop's address."""
    port = free_port()
    with Program([sys.executable, str(SHOP), "--port", str(port)]) as program:
        program.wait_for_port(port)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def visitor(shop: str) -> Iterator[httpx2.Client]:
    """A client that keeps cookies and follows redirects."""
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


def test_an_incomplete_address_is_refused_with_the_form(visitor: httpx2.Client) -> None:
    visitor.post("/basket/add", data={"product": "conica-64"})
    page = visitor.post("/checkout", data={**ADDRESS, "email": " "})
    assert page.status_code == 422
    assert page.text.count('aria-invalid="true"') == 1
    assert 'value="Ada &lt;b&gt;"' in page.text


def test_an_empty_basket_cannot_be_ordered(visitor: httpx2.Client) -> None:
    assert str(visitor.post("/checkout", data=ADDRESS).url).endswith("/basket")


def test_unknown_addresses_get_the_error_page(visitor: httpx2.Client) -> None:
    for path in ("/products/none", "/go/none", "/category/none", "/checkout/confirmation/CC-1", "/none"):
        page = visitor.get(path)
        assert page.status_code == 404
        assert "Not here." in page.text


def test_pages_restrict_scripts_and_are_compressed_on_request(visitor: httpx2.Client) -> None:
    compressed = visitor.get("/", headers={"accept-encoding": "gzip"})
    plain = visitor.get("/", headers={"accept-encoding": "identity"})
    assert "script-src 'self'" in compressed.headers["content-security-policy"]
    assert compressed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert compressed.text == plain.text
    assert "clew" not in plain.text
