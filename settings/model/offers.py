"""Links and offers that agents send, and the coupons in them."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from .base import Model


def _path(value: str) -> str:
    if not re.fullmatch(r"/[!-~]{0,300}", value) or value.startswith("//") or "\\" in value:
        raise ValueError('a path of the shop, in ASCII; write for example "/discount/{code}?redirect={page}"')
    if left := set(re.findall(r"\{(\w*)\}", value)) - {"code", "page", "cart"}:
        raise ValueError(f"{{{left.pop()}}} has no value here; there are {{code}}, {{page}} and {{cart}}")
    return value


def _coupon_url(value: str) -> str:
    if "{code}" not in value:
        raise ValueError("{code} is missing: it is where the coupon goes")
    return _path(value)


def _cart_url(value: str) -> str:
    if "{cart}" not in value:
        raise ValueError("{cart} is missing: it is where the cart goes")
    return _path(value)


class Coupon(Model):
    """A coupon that agents may send. Without a `code` each offer gets one of its own, from a pool that is
    loaded before."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    label: str = Field("", max_length=80)
    code: str | None = Field(None, pattern=r"^[A-Za-z0-9_.~-]{1,100}$")
    return_unused: bool = False


class Offers(Model):
    """What an agent's link may do at this shop, for how long it can be followed, and for how long an order
    counts to it."""

    coupon_url: Annotated[str, AfterValidator(_coupon_url)] | None = None
    cart_url: Annotated[str, AfterValidator(_cart_url)] | None = None
    hours: int = Field(72, ge=1, le=24 * 90)
    window_hours: int = Field(72, ge=1, le=24 * 90)
    coupons: list[Coupon] = Field([], max_length=50)
