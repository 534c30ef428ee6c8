import re
from pathlib import Path

import pytest
from clew.injector.selectors import selector_error
from clew.referral.networks_file import load
from clew.settings.platforms import platforms
from clew.survey.signs import chats_on, consents_on, guard_of, name_platform, networks_on, signs
from looks import look, page

PAGES = Path(__file__).parents[1] / "settings" / "pages"


def test_every_preset_has_signs_and_every_sign_can_be_used() -> None:
    assert set(signs().platforms) == set(platforms())
    for told in signs().platforms.values():
        assert told.source
        assert [selector_error(m) for m in told.markup] == [None] * len(told.markup)
        for text in (*told.generator, *told.cookies, *told.headers, *told.assets, *told.scripts):
            re.compile(text)
    assert set(signs().networks) <= set(load().networks)


@pytest.mark.parametrize(
    ("platform", "head", "body", "headers", "cookies"),
    [
        ("shopify", '<script src="/cdn/shop/t/1/a.js"></script>', "", [("x-shopid", "1")], ["_shopify_y"]),
        (
            "woocommerce",
            '<meta name="generator" content="WooCommerce 9.8">',
            "<b class=woocommerce-Price-amount>",
            [],
            ["woocommerce_cart_hash"],
        ),
        (
            "shopware",
            '<script src="/bundles/storefront/a.js"></script>',
            "<a data-cart-widget>",
            [],
            ["sw-states"],
        ),
        (
            "magento",
            '<script type="text/x-magento-init">{}</script>',
            "",
            [("x-magento-tags", "a")],
            ["mage-cache-storage"],
        ),
        (
            "prestashop",
            "<script>var prestashop = {};</script>",
            '<div class="blockcart" data-refresh-url="/x">',
            [],
            ["PrestaShop-1a"],
        ),
        (
            "opencart",
            '<script src="catalog/view/javascript/common.js"></script>',
            "<i id=cart-total>",
            [],
            ["OCSESSID"],
        ),
        (
            "saleor",
            '<img src="https://x.saleor.cloud/thumbnail/a/1/">',
            "<b data-testid=CartNavItem>",
            [("content-security-policy", "img-src x.saleor.cloud")],
            [],
        ),
        (
            "django-oscar",
            '<script src="/static/oscar/js/ui.js"></script>',
            "<b class=basket-mini>",
            [],
            ["oscar_open_basket"],
        ),
    ],
)
def test_three_kinds_of_signs_make_a_platform_certain(
    platform: str, head: str, body: str, headers: list[tuple[str, str]], cookies: list[str]
) -> None:
    named = name_platform([look(page(body, head), "https://shop.example/", *headers)], cookies)
    assert named is not None
    assert (named.platform, named.certainty, len(named.evidence) >= 3) == (platform, "certain", True)


def test_one_kind_of_sign_is_a_guess_and_two_are_likely() -> None:
    one = page("<i class=header-cart-total>")
    guess = name_platform([look(one)], ())
    likely = name_platform([look(one)], ["sw-states"])
    assert guess is not None
    assert likely is not None
    assert (guess.certainty, likely.certainty) == ("a guess", "likely")
    assert name_platform([look(page("<p>Hello"))], ["session"]) is None


def test_no_platform_is_named_if_two_have_as_many_signs() -> None:
    assert name_platform([look(page("<i class=header-cart-total><i id=cart-total>"))], ()) is None


@pytest.mark.parametrize("name", [p.stem for p in sorted(PAGES.glob("*.html"))])
def test_the_templates_pages_are_never_taken_for_another_platform(name: str) -> None:
    named = name_platform([look((PAGES / f"{name}.html").read_text("utf-8"))], ())
    assert named is None or named.platform == name.partition("-")[0]


def test_consent_tools_are_found_by_their_scripts() -> None:
    loader = look(page(head='<script src="https://consent.cookiebot.com/uc.js"></script>'))
    snippet = look(page("<script>window.__tcfapi = function() {}</script>"))
    assert set(consents_on([loader, snippet])) == {"Cookiebot", "a tool with the IAB TCF"}
    assert consents_on([look(page("<p>We use Cookiebot and Klaro"))]) == ()


def test_other_chats_are_found_by_loader_or_snippet() -> None:
    loader = look(page(head='<script src="https://js.hs-scripts.com/1.js"></script>'))
    snippet = look(page('<script>s.src="https://embed.tawk.to/1/x"</script>'))
    assert set(chats_on([loader, snippet])) == {"HubSpot", "tawk"}
    assert chats_on([look(page("<p>We use Crisp packaging"))]) == ()


def test_networks_are_found_by_tag_or_cookie_and_ad_platforms_left_out() -> None:
    tag = look(page(head='<script src="https://tbs.tradedoubler.com/x.js"></script>'))
    ads = look(page(head='<script src="https://datamanager.googleapis.com/x.js"></script>'))
    networks = load().networks
    assert networks_on([tag], ["awc"], networks) == ("awin", "tradedoubler")
    assert networks_on([ads], (), networks) == ()


def test_bot_protections_are_recognised_by_header_or_text() -> None:
    assert guard_of([(b"x-datadome", b"protected")], "") == "DataDome"
    assert guard_of([], "<title>Just a moment...</title>") == "Cloudflare's challenge"
    assert guard_of([(b"server", b"nginx")], "Forbidden") is None
