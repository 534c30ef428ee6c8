"""The presets against pages as the shop systems' own templates render them (`platforms.toml` names each)."""

from decimal import Decimal
from pathlib import Path

import pytest
from clew.injector.page import read
from clew.orders.cart import read_cart
from clew.orders.product import read_product
from clew.referral.networks_file import load
from clew.service.custom_facts import of_page, said
from clew.service.signals import Signals
from clew.service.site import SiteRuntime
from clew.settings.addresses import Patterns
from clew.settings.model import Settings, Site
from clew.settings.platforms import platforms
from order_pages import read_order

PAGES = Path(__file__).parent / "pages"


def shown(name: str) -> bytes:
    return (PAGES / f"{name}.html").read_bytes()


def preset_of(name: str) -> str:
    return name.partition("-")[0]


@pytest.mark.parametrize(
    ("name", "number", "total", "currency"),
    [
        ("shopware-finish", "10042", "1234.56", "EUR"),
        ("prestashop-classic-confirmation", "XKBKNABJK", "1241.56", "EUR"),
        ("prestashop-classic-1.7-confirmation", "KHWLILZLL", "296.90", "EUR"),
        ("prestashop-hummingbird-confirmation", "QWERTYUIO", "1299.00", "EUR"),
        ("prestashop-hummingbird-2-confirmation", "QWERTYUIO", "1299.00", "EUR"),
        ("prestashop-hummingbird-2-business-confirmation", "QWERTYUIO", "1299.00", "EUR"),
        ("woocommerce-classic-received", "2043", "1234.56", "EUR"),
        ("woocommerce-block-received", "77", "1289.90", "GBP"),
    ],
)
def test_amounts_are_read_by_the_currencys_conventions(
    name: str, number: str, total: str, currency: str
) -> None:
    order = platforms()[preset_of(name)].order
    assert order is not None
    seen = read_order(shown(name), "utf-8", order)
    assert seen is not None
    assert (seen.id, seen.total, seen.currency) == (number, Decimal(total), currency)


@pytest.mark.parametrize(
    ("name", "cart"),
    [
        ("shopware-category", {"value": "1234.56", "currency": "EUR", "items": "2"}),
        ("shopware-finish", None),
        ("prestashop-cart", {"value": "1234.56", "currency": "EUR", "items": "3"}),
        ("prestashop-hummingbird-home", {"items": "2"}),
        ("prestashop-classic-confirmation", None),
        ("woocommerce-storefront-product", {"value": "1234.56", "currency": "EUR", "items": "2"}),
        ("woocommerce-cart", {"value": "579.80", "currency": "GBP"}),
        ("woocommerce-classic-received", {"value": "0.00", "currency": "EUR", "items": "0"}),
        ("shopify-cart", {"value": "1234.56", "currency": "EUR", "items": "2"}),
        ("shopify-home-empty", None),
        # field C2
        ("opencart-3.0-product", {"value": "1239.55", "currency": "EUR", "items": "2"}),
        ("opencart-3.0-empty", {"items": "0"}),
        ("opencart-4.0-product", {"value": "1239.55", "currency": "EUR", "items": "2"}),
        ("opencart-4.0-empty", {"items": "0"}),
        ("opencart-4.1-product", {"value": "1239.55", "currency": "EUR", "items": "2"}),
        ("opencart-4.1-empty", {"items": "0"}),
        ("prestashop-hummingbird-2-cart", {"value": "1234.56", "currency": "EUR", "items": "3"}),
        ("opencart-success", {"items": "0"}),
        ("saleor-cart", {"value": "1234.56", "currency": "EUR", "items": "3"}),
    ],
)
def test_the_cart_is_read_and_never_a_products_price(name: str, cart: dict[str, str] | None) -> None:
    assert read_cart(read(shown(name), "utf-8"), platforms()[preset_of(name)].cart) == cart


@pytest.mark.parametrize(
    ("name", "product", "logged_in"),
    [
        (
            "opencart-4.1-item",
            {"name": "Conica 64", "brand": "Conica", "category": "Mills", "price": 1299.5},
            True,
        ),
        ("opencart-3.0-item", {"name": "Conica 64", "price": 1299.5, "currency": "EUR"}, False),
    ],
)
def test_the_product_and_the_customer_are_read(
    name: str, product: dict[str, object], logged_in: bool
) -> None:
    preset, page = platforms()[preset_of(name)], read(shown(name), "utf-8")
    assert read_product(page, preset.product) == product
    assert of_page(preset.facts["customer.logged_in"], page) is logged_in


@pytest.mark.parametrize(
    ("method", "address", "shows", "event"),
    [
        ("POST", "/index.php?route=checkout/cart.add&language=en-gb", '{"success": "added"}', "add_to_cart"),
        ("POST", "/index.php?route=checkout/cart/add", '{"success": "added"}', "add_to_cart"),
        ("POST", "/index.php?route=checkout/cart/add", '{"error": {"option_218": "required!"}}', None),
        (
            *("POST", "/en-gb?route=account/login.login&login_token=ab12"),
            *('{"error": {"warning": "No match"}}', "login_failed"),
        ),
        ("POST", "/index.php?route=account/login.login", '{"redirect": "https://shop.example/"}', None),
        (
            *("POST", "/index.php?route=extension/opencart/checkout/coupon.save"),
            *('{"error": "Coupon is invalid"}', "coupon_refused"),
        ),
        (
            *("POST", "/index.php?route=extension/total/coupon/coupon"),
            *('{"error": "Coupon is invalid"}', "coupon_refused"),
        ),
        (
            *("POST", "/index.php?route=extension/opencart/payment/cod.confirm"),
            *('{"error": "declined"}', "payment_failed"),
        ),
        ("GET", "/index.php?route=product/search&search=xyzzy", "opencart-4.1-nothing", "search_empty"),
        ("GET", "/index.php?route=product/search&search=mill", "opencart-4.1-item", None),
    ],
)
def test_opencarts_answers_are_events(method: str, address: str, shows: str, event: str | None) -> None:
    preset = platforms()["opencart"]
    path, _, query = address.encode().partition(b"?")
    found = []
    for signal in Signals([], preset.signals, [one.event for one in preset.signals]).of(
        method, path, query, None
    ):
        if signal.json_path is not None:
            found += said([(signal.event, signal.json_path)], shows.encode())
        elif signal.selector is not None and not shows.startswith("{"):
            found += [signal.event] * read(shown(shows), "utf-8").has(signal.selector)
    assert found == ([] if event is None else [event])


def test_a_page_without_an_order_is_none() -> None:
    for name in ("shopware-category", "prestashop-cart", "woocommerce-storefront-product"):
        order = platforms()[preset_of(name)].order
        assert order is not None
        assert read_order(shown(name), "utf-8", order) is None, name


@pytest.mark.parametrize("name", ["magento", "opencart", "saleor", "shopify"])
def test_check_explains_how_orders_come_in_if_no_page_shows_them(name: str) -> None:
    preset = platforms()[name]
    assert preset.order is None
    assert "POST orders" in preset.note


def test_magento_shows_a_number_but_no_total_and_no_cart() -> None:
    page = read(shown("magento-success"), "utf-8")
    assert page.text(".checkout-success .order-number strong, .checkout-success p > span") == "000000042"
    assert platforms()["magento"].cart.model_dump(exclude_none=True) == {}


@pytest.mark.parametrize(
    ("platform", "address", "kind"),
    [
        ("magento", "/mill.html", None),
        ("opencart", "/route=checkout/cart", None),
        ("opencart", "/index.php?route=information/contact", None),
        ("prestashop", "/content/4-about-us", None),
        ("django-oscar", "/about/", None),
        *((name, *page) for name, preset in platforms().items() for page in preset.pages),
    ],
)
def test_addresses_show_the_kind_of_page(platform: str, address: str, kind: str | None) -> None:
    assert kind_of(Site(name="shop", platform=platform), address) == kind


@pytest.mark.parametrize(
    ("platform", "path"),
    [
        ("prestashop", "/en/order-confirmation"),
        ("prestashop", "/confirmation-commande"),
        ("shopware", "/de/checkout/finish"),
        ("woocommerce", "/kasse/order-received/2043/"),
    ],
)
def test_the_confirmation_page_is_known_by_its_path(platform: str, path: str) -> None:
    order = platforms()[platform].order
    assert order is not None
    assert Patterns([order.page])(path)


def test_the_owners_page_types_come_before_the_platforms() -> None:
    site = Site(
        name="shop", platform="shopware", page_types={"/kaffee/*": "category", "/detail/*": "category"}
    )
    assert kind_of(site, "/kaffee/bohnen/") == "category"
    assert kind_of(site, "/detail/018f") == "category"
    assert kind_of(site, "/checkout/cart") == "cart"


def kind_of(site: Site, address: str) -> str | None:
    path, _, query = address.partition("?")
    settings = Settings.model_validate({"secret": "x" * 40, "sites": [site]})
    return SiteRuntime(settings, site, load()).page_type(path, query)
