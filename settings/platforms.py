"""The presets of `platform = "…"`: page types and selectors of shop systems, from `platforms.toml`."""

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeVar

from pydantic import Field

from .addresses import patterns_of
from .letters import not_ascii
from .model import Cart, CustomFact, FactName, Model, Offers, Order, PageType, ProductPage, Signal, Site
from .wording import nearest

M = TypeVar("M", bound=Model)


class Platform(Model):
    """One shop system. `page_types` are (pattern, page.type), the first match counts; `pages` are sample
    addresses with their kinds; `note` is a hint for the shop's owner."""

    versions: tuple[str, ...]
    source: tuple[str, ...]
    confidence: Literal["verified", "read", "reported"]
    note: str = ""
    page_types: tuple[tuple[str, PageType], ...] = ()
    pages: tuple[tuple[str, PageType], ...] = ()
    checkout_steps: tuple[str, ...] = ()
    signals: tuple[Signal, ...] = ()
    product: ProductPage = ProductPage()
    facts: dict[FactName, CustomFact] = Field({})
    cart: Cart = Cart()
    order: Order | None = None
    never: tuple[str, ...] = ()
    keep_query: tuple[str, ...] = ()
    offers: Offers = Offers()


class PlatformError(ValueError):
    """The `platform` setting names no preset; `message` says so and `hint` names the nearest one."""

    def __init__(self, name: str) -> None:
        self.message = f"unknown platform {name!r}{not_ascii(name)}"
        self.hint = nearest(name, platforms())
        super().__init__(f"{self.message}: {self.hint}")


class PageTypes:
    """Maps addresses to kinds of pages by patterns (see `addresses`); the first match counts."""

    def __init__(self, patterns: Iterable[tuple[str, PageType]]) -> None:
        pairs = tuple(patterns)
        self._patterns = patterns_of(tuple(pattern for pattern, _ in pairs))
        self._kinds = tuple(kind for _, kind in pairs)

    def __call__(self, path: str | bytes, query: str | bytes = "") -> PageType | None:
        """The kind of page at a raw path and query, None if no pattern matches."""
        number = self._patterns.first(path, query)
        return None if number is None else self._kinds[number]


@cache
def admin_areas() -> tuple[str, ...]:
    """Patterns of the addresses of shops' administration pages (`admin.toml`)."""
    data = tomllib.loads(files(__package__).joinpath("admin.toml").read_text("utf-8"))
    return tuple(pattern for area in data["areas"] for pattern in area["patterns"])


@cache
def platforms() -> Mapping[str, Platform]:
    """All presets by name."""
    data = tomllib.loads(files(__package__).joinpath("platforms.toml").read_text("utf-8"))
    return {name: Platform.model_validate(entry) for name, entry in data.items()}


def platform_of(site: Site) -> Platform | None:
    """The preset that a site names, None if it names none. Raises PlatformError if there is no such one."""
    if site.platform is None:
        return None
    platform = platforms().get(site.platform)
    if platform is None:
        raise PlatformError(site.platform)
    return platform


def with_platform(site: Site) -> Site:
    """The site with `order`, `cart`, `offers` and `never` of its preset where the settings have no value.

    Keys are filled one by one: a site that sets only the currency of `order` gets the preset's selectors.
    `keep_query` is the union of both. Raises PlatformError.
    """
    platform = platform_of(site)
    if platform is None:
        return site
    update: dict[str, Any] = {
        "cart": _filled(site.cart, platform.cart),
        "offers": _filled(site.offers, platform.offers),
        "product": _filled(site.product, platform.product),
    }
    if platform.order is not None:
        update["order"] = _filled(site.order, platform.order) if site.order else platform.order
    if "never" not in site.model_fields_set:
        update["never"] = list(platform.never)
    update["facts"] = {**platform.facts, **site.facts}
    update["keep_query"] = [*platform.keep_query, *site.keep_query]
    return site.model_copy(update=update)


def _filled(given: M, preset: M) -> M:
    return preset.model_copy(update={name: getattr(given, name) for name in given.model_fields_set})
