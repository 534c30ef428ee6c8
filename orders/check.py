"""Checks the selectors for orders and carts in the settings."""

import re
from collections.abc import Iterator
from typing import Any

from babel.numbers import is_currency

from ..injector.selectors import selector_error
from ..settings.model import Site
from ..settings.positions import KeyPath
from ..settings.wording import Wording


def selector_problems(site: Site, path: KeyPath) -> Iterator[Wording]:
    """Invalid selectors, also of what is masked, and currencies that are neither a code nor a selector."""
    order = site.order.model_dump(include={"id", "total", "currency"}) if site.order else {}
    named: list[tuple[tuple[str | int, ...], Any]] = [
        (("order", key), value) for key, value in order.items() if value != "jsonld"
    ]
    named += [(("cobrowsing", "mask", place), one) for place, one in enumerate(site.cobrowsing.mask)]
    named += [(("cart", key), value) for key, value in site.cart.model_dump(exclude_none=True).items()]
    named += [(("product", key), value) for key, value in site.product.model_dump(exclude_none=True).items()]
    named += [
        (("signals", place, "selector"), one.selector)
        for place, one in enumerate(site.signals)
        if one.selector is not None
    ]
    named += [
        (("facts", name, "selector"), one.selector)
        for name, one in site.facts.items()
        if one.selector is not None
    ]
    for keys, selector in named:
        error = _currency_error(selector) if keys[-1] == "currency" else selector_error(selector)
        if error is not None:
            yield Wording((*path, *keys), error)


def _currency_error(setting: str) -> str | None:
    """Why a currency is neither an ISO 4217 code nor a selector; None if it is one of them."""
    error = None if is_currency(setting) else selector_error(setting)
    if error is None or not re.fullmatch(r"\w+|[^\w\s.#*:\[{(]+", setting):
        return error
    begins = setting[:3].upper()
    example = begins if is_currency(begins) else "EUR"
    return f'{setting!r} is neither an ISO 4217 code nor a selector; write for example "{example}"'
