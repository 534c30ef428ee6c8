from pathlib import Path

import pytest
from clew.injector.selectors import selector_error
from clew.settings.addresses import Patterns, split
from clew.settings.model import Site
from clew.settings.platforms import (
    Platform,
    PlatformError,
    admin_areas,
    platform_of,
    platforms,
    with_platform,
)


def site(**given: object) -> Site:
    return Site.model_validate({"name": "shop", **given})


@pytest.mark.parametrize("platform", platforms().values(), ids=platforms())
def test_every_preset_names_its_source_and_can_be_used(platform: Platform) -> None:
    assert platform.source
    assert platform.versions
    assert platform.pages
    assert platform.page_types
    assert all(pattern.startswith(("/", "*")) for pattern, _ in platform.page_types)
    selectors = list(platform.cart.model_dump(exclude_none=True).values())
    if platform.order is not None:
        assert platform.order.page.startswith(("/", "*"))
        selectors += [
            v
            for v in platform.order.model_dump(include={"id", "total", "currency"}).values()
            if v != "jsonld"
        ]
    assert [selector_error(selector) for selector in selectors] == [None] * len(selectors)


def test_without_a_platform_nothing_is_filled_in() -> None:
    plain = site()
    assert platform_of(plain) is None
    assert with_platform(plain) == plain


def test_the_preset_fills_missing_settings() -> None:
    preset = platforms()["django-oscar"]
    filled = with_platform(site(platform="django-oscar"))
    assert filled.order == preset.order
    assert filled.cart == preset.cart


def test_the_sites_own_settings_override_the_preset_by_key() -> None:
    preset = platforms()["django-oscar"]
    assert preset.order is not None
    given = site(
        platform="django-oscar", order={"page": "/merci/*", "currency": "EUR"}, cart={"items": ".count"}
    )
    filled = with_platform(given)
    assert filled.order is not None
    assert (filled.order.page, filled.order.currency) == ("/merci/*", "EUR")
    assert (filled.order.id, filled.order.total) == (preset.order.id, preset.order.total)
    assert (filled.cart.items, filled.cart.value) == (".count", preset.cart.value)
    assert with_platform(filled) == filled


def test_payment_pages_are_not_edited_unless_the_settings_allow_it() -> None:
    """injection 3.18."""
    assert with_platform(site(platform="django-oscar")).never == ["*/checkout/payment-details/*"]
    assert with_platform(site(platform="django-oscar", never=[])).never == []
    assert with_platform(site(platform="django-oscar", never=["/pay*"])).never == ["/pay*"]
    for platform in platforms().values():
        assert all(pattern.startswith(("/", "*")) for pattern in platform.never)


def test_an_unknown_platform_names_the_nearest_one() -> None:
    with pytest.raises(PlatformError, match="unknown platform 'django_oskar': did you mean django-oscar"):
        with_platform(site(platform="django_oskar"))
    with pytest.raises(PlatformError, match=r"known are .*django-oscar"):
        platform_of(site(platform="x"))


def test_the_versions_that_a_preset_was_made_for_are_documented() -> None:
    """field C2"""
    text = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    for name, platform in platforms().items():
        row = next(line for line in text.splitlines() if line.startswith(f'| `"{name}"` |'))
        assert "; ".join(platform.versions) in row, name


def test_no_preset_takes_a_page_of_a_shop_for_its_administration() -> None:
    """field C5"""
    admin = Patterns(admin_areas())
    pages = [(name, address) for name, preset in platforms().items() for address, _ in preset.pages]
    assert [page for page in pages if admin(*split(page[1]))] == []
