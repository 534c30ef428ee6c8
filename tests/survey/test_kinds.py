import pytest
from clew.settings.platforms import PageTypes, platforms
from clew.survey.kinds import candidates, kind_by_words, page_types, seen_as
from looks import look, page

NOBODY = PageTypes(())


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://s.example/", "home"),
        ("https://s.example/?page=2", None),
        ("https://s.example/de/warenkorb", "cart"),
        ("https://s.example/panier.html", "cart"),
        ("https://s.example/checkout/step1", "checkout"),
        ("https://s.example/produkt/muehle", "product"),
        ("https://s.example/products", None),
        ("https://s.example/collections/all", "category"),
        ("https://s.example/my-account/", "account"),
        ("https://s.example/suche", "search"),
        ("https://s.example/cartography/maps", None),
        ("https://s.example/checkout/thank-you", "confirmation"),
    ],
)
def test_the_words_of_an_address_tell_its_kind(url: str, kind: str | None) -> None:
    assert kind_by_words(url) == kind


def test_a_platform_knows_better_than_words() -> None:
    preset = PageTypes(platforms()["prestashop"].page_types)
    home = look(page('<a href="/shop/3-13-plakat.html">Plakat</a>'))
    assert list(candidates([home], "product", preset)) == ["https://shop.example/shop/3-13-plakat.html"]
    assert list(candidates([home], "category", preset)) == []


def test_without_words_pictures_lead_to_products_and_the_menu_to_categories() -> None:
    home = look(
        page('<nav><a href="/kaffee">K</a></nav><a href="/aurora"><img src=a.jpg></a><a href="/agb">AGB</a>')
    )
    assert list(candidates([home], "category", NOBODY)) == ["https://shop.example/kaffee"]
    assert list(candidates([home], "product", NOBODY)) == ["https://shop.example/aurora"]


def test_structured_data_make_a_page_a_products() -> None:
    data = '<script type="application/ld+json">{"@graph": [{"@type": ["Product"]}]}</script>'
    assert seen_as(look(page(head=data), "https://s.example/x"), NOBODY) == "product"
    micro = '<div itemscope itemtype="https://schema.org/Product"></div>'
    assert seen_as(look(page(micro), "https://s.example/x"), NOBODY) == "product"
    assert seen_as(look(page(micro * 2), "https://s.example/x", wanted="category"), NOBODY) == "category"


def test_a_folder_is_proposed_only_where_one_kind_was_seen_in_it() -> None:
    data = '<script type="application/ld+json">{"@type": "Product"}</script>'
    links = "".join(f'<a href="/w/{name}">{name}</a>' for name in ("a", "b", "c"))
    product = look(page(links, data), "https://shop.example/w/a", wanted="product")
    category = look(page(links), "https://shop.example/w/b", wanted="category")
    assert page_types([product], NOBODY) == {"/w/*": "product"}
    assert page_types([product, category], NOBODY) == {}


def test_values_of_the_platform_are_not_proposed() -> None:
    preset = PageTypes(platforms()["shopify"].page_types)
    assert page_types([look(page(), "https://shop.example/cart", wanted="cart")], preset) == {}


def test_page_types_of_a_shop_with_one_path_use_the_query() -> None:
    """field C8"""
    cart = look(page(), "https://shop.example/index.php?lang=de&view=shop/cart", wanted="cart")
    checkout = look(page(), "https://shop.example/index.php?view=shop/checkout", wanted="checkout")
    unknown = look(page(), "https://shop.example/index.php?id=7", wanted="category")
    kinds = PageTypes((("/index.php?id=7", "category"),))
    assert page_types([cart, checkout, unknown], NOBODY) == {}
    by_query = PageTypes((("/nowhere", "cart"),))
    assert page_types([look(page(), "https://shop.example/index.php?id=7")], kinds) == {}
    data = look(page(), "https://shop.example/index.php/cart?x=1", wanted="cart")
    assert page_types([data], by_query) == {"/index.php/cart": "cart"}


def test_proposals_do_not_overlap() -> None:
    """field C8"""
    looks = [
        look(page(), f"https://shop.example/{path}", wanted="account")
        for path in ("account", "account/login", "accounts/x")
    ]
    found = page_types(looks, NOBODY)
    assert found == {"/account*": "account"}


def test_the_platforms_search_address_is_tried_if_the_form_uses_a_script() -> None:
    """field C8"""
    preset = platforms()["opencart"]
    home = look(page("<form method=post><input name=search></form>"))
    (url,) = candidates([home], "search", PageTypes(preset.page_types), preset.pages)
    assert url == "https://shop.example/en-gb?route=product/search&search=mill"


@pytest.mark.parametrize("name", ["q", "s", "query", "keyword", "sSearch", "suche"])
def test_a_search_form_is_found_by_the_name_of_its_field(name: str) -> None:
    """field C8"""
    home = look(page(f'<form action="/find"><input name="{name}"></form>'))
    assert list(candidates([home], "search", NOBODY)) == [f"https://shop.example/find?{name}=a"]
