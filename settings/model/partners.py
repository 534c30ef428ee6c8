"""The partners of a site, and what their own pages compare."""

import re
from datetime import date
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from .base import Addresses, Endpoint, Model
from .credit import CouponPolicy, Settlement, Terms
from .payouts import Creditor

PLACEHOLDERS = ("click_id", "order_id", "amount", "currency", "channel", "event", "consent", "commission")


def _postback(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            'not a URL to call; write for example "https://partner.example/postback?click={click_id}"'
        )
    if "{" in parts.netloc:
        raise ValueError("the host must not contain a placeholder")
    for name in re.findall(r"\{([^{}]*)\}", value):
        if name not in PLACEHOLDERS:
            known = ", ".join(f"{{{p}}}" for p in PLACEHOLDERS)
            raise ValueError(f"unknown placeholder {{{name}}}; known are {known}")
    return value


def _email(value: str) -> str:
    found = value.strip().lower()
    if re.fullmatch(r"[0-9a-f]{64}", found) or re.fullmatch(r"[^@\s]{1,64}@[^@\s]{1,255}", found):
        return found
    raise ValueError("not an e-mail address, nor the SHA-256 of one in hex")


class Partner(Model):
    """A partner: in a network of the catalogue, or a plain one with a parameter and a postback URL."""

    id: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    name: str | None = Field(None, min_length=1, max_length=60)
    network: str | None = None
    # Which of the texts are secret the network's entry says, which these models do not know: so all are.
    settings: dict[str, SecretStr | int | bool] = {}
    # By category or id of an item.
    commission_groups: dict[str, str] = {}
    param: str | None = Field(None, pattern=r"^[A-Za-z0-9_.~-]{1,64}$")
    sub_param: str | None = Field(None, pattern=r"^[A-Za-z0-9_.~-]{1,64}$")
    postback: Annotated[str, AfterValidator(_postback)] | None = None
    secret: SecretStr | None = None
    lookback_days: int | None = Field(None, ge=1, le=400)
    endpoint: Endpoint | None = None
    retry_unknown: bool | None = None
    allow_private: bool = False
    inside_clicks: bool = False
    soft: bool = False
    codes: list[Annotated[str, Field(max_length=200)]] = Field([], max_length=1000)
    coupon: CouponPolicy | None = None
    leak_orders: int | None = Field(None, ge=0, le=100_000)
    hold_days: int | None = Field(None, ge=0, le=3650)
    settlement: Settlement | None = None
    emails: list[Annotated[str, AfterValidator(_email)]] = Field([], max_length=100)
    own_networks: list[Addresses] = Field([], max_length=100)
    brand_bidding: bool = False
    payout: Creditor | None = None
    terms: list[Terms] = Field([], max_length=100)

    @property
    def plain_settings(self) -> dict[str, str | int | bool]:
        """`settings` with their values as they are, for a call."""
        return {
            key: value.get_secret_value() if isinstance(value, SecretStr) else value
            for key, value in self.settings.items()
        }

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.network is None and (self.param is None or self.postback is None):
            raise ValueError(
                "a partner needs either `network` (with `settings`) or both `param` and `postback`; "
                "see docs/settings.md#partners"
            )
        if self.network is not None and (self.postback is not None or self.secret is not None):
            raise ValueError(
                "`postback` and `secret` are only for a plain partner: remove them, or remove `network`"
            )
        if self.network is None and self.commission_groups:
            raise ValueError("`commission_groups` is only for a network: remove it")
        if self.network is None and self.endpoint is not None:
            raise ValueError("`endpoint` is only for a network: the URL of a plain partner is `postback`")
        return self


class PartnerPages(Model):
    """What partners' pages compare: see docs/partners.md."""

    change: date | None = None
    change_name: str = Field("", max_length=100)
    weeks: int = Field(4, ge=3, le=26)
