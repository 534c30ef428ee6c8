"""Who earns an order, and what."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from .base import Currency, Model

CouponPolicy = Literal["click_first", "code_first", "code_only", "blocked"]
# batch: what is approved is settled when a period is closed; live: at once.
Settlement = Literal["batch", "live"]


class Terms(Model):
    """What a partner earns by some orders or items; the first entry that applies counts."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    when: list[str] = Field([], max_length=20)
    since: date | None = None
    until: date | None = None
    percent: Decimal | None = Field(None, ge=0, le=100)
    fixed: Decimal | None = Field(None, ge=0, le=1_000_000)
    per_item: Decimal | None = Field(None, ge=0, le=1_000_000)
    cap: Decimal | None = Field(None, ge=0, le=1_000_000)
    currency: Currency | None = None
    pay: Decimal | None = Field(None, ge=0, le=100)
    report_only: bool = False
    renewals: Literal["none", "lifetime"] | Annotated[int, Field(ge=1, le=240)] = "none"
    hold_days: int | None = Field(None, ge=0, le=3650)


class Lookback(Model):
    """The lookback window of some clicks; the first one in the list that applies counts."""

    days: int = Field(ge=1, le=400)
    network: str | None = None
    partner: str | None = None
    channel: Literal["web", "chat", "phone"] | None = None


Arriving = Literal[
    "paid_search",
    "paid_social",
    "display",
    "mail",
    "ai",
    "search",
    "social",
    "campaign",
    "referral",
    "direct",
]


class ChannelRule(Model):
    """What an arrival of another channel after the partner's click does to its credit; the first one that
    applies acts."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    arrivals: list[Arriving] = []
    then: Literal["keep", "unpaid", "take"]
    days: int | None = Field(None, ge=1, le=400)
    partners: list[str] = []
    when: list[str] = Field([], max_length=20)


class Split(Model):
    """An agreement between partners about a part of what one of them earns."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    of: str
    to: dict[str, Annotated[Decimal, Field(gt=0, le=100)]] = Field(min_length=1)
    when: list[str] = Field([], max_length=20)


CreditModel = Literal["last", "first", "linear", "position"]


class Credit(Model):
    """Who earns an order: see docs/credit.md."""

    model: CreditModel = "last"
    ends: int = Field(40, ge=0, le=50)
    compare: list[CreditModel] = []
    lookback: list[Lookback] = Field([], max_length=200)
    soft_hours: int = Field(24, ge=1, le=720)
    soft_networks: list[str] = []
    coupon: CouponPolicy = "click_first"
    leak_orders: int = Field(20, ge=0, le=100_000)
    leak_percent: int = Field(80, ge=1, le=100)
    leak_days: int = Field(7, ge=1, le=90)
    channels: list[ChannelRule] = Field([], max_length=100)
    splits: list[Split] = Field([], max_length=100)
    terms: list[Terms] = Field([], max_length=100)
    categories: list[str] = []
    hold_days: int = Field(30, ge=0, le=3650)
    settlement: Settlement = "batch"
    operator: str = Field("", max_length=64)
    operator_percent: Decimal = Field(Decimal(0), ge=0, le=100)
    cross_device: bool = False
    claims: Literal["credit", "hold", "ignore"] = "credit"
