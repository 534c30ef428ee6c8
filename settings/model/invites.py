"""Whom rules invite and how often, and what is tried out with invites: see docs/rules.md."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from .base import Currency, Language, Model
from .spans import Spans

MOST_INVITES = 30
"""The number of a visitor's last invites that its record keeps."""

Goal = Literal["sale", "support", "retention"]
Stage = Literal["landing", "category", "product", "cart", "checkout", "after_sale"]


def _moment(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError("not a date; write for example 2026-12-24 or 2026-12-24T18:00:00") from error


When = Annotated[date | datetime, BeforeValidator(_moment)]
"""A day, or a time of the site's time zone if it has no offset."""


class Variant(Model):
    """One of several texts of an invite; the visitors are split by weight."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,32}$")
    text: str | dict[Language, str]
    weight: float = Field(1.0, gt=0, le=1000)


WeekDay = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Week = dict[WeekDay, Spans]
"""Hours by the day of the week."""


class RulePolicy(Model):
    """What decides, beside its lines, when and for whom a rule may act, and what it is judged by."""

    forced: bool = False
    default: bool = False
    starts: When | None = None
    ends: When | None = None
    hours: Week | None = None
    share: float = Field(100.0, gt=0, le=100)
    pages: int | None = Field(None, ge=1, le=50)
    per_visitor: int | None = Field(None, ge=1, le=MOST_INVITES)
    days: int | None = Field(None, ge=1, le=365)
    variants: list[Variant] = Field([], max_length=10)
    no_invite: float = Field(0.0, ge=0, lt=100)
    adaptive: bool = False
    goal: Goal = "sale"
    target: float = Field(0.2, gt=0, lt=1)
    stage: Stage | None = None


class Costs(Model):
    """What conversations cost, for the figures of rules: see docs/rules.md."""

    currency: Currency = "EUR"
    agent_hour: Decimal = Field(Decimal(0), ge=0, le=100_000)
    conversation: Decimal = Field(Decimal(0), ge=0, le=100_000)
    month: Decimal = Field(Decimal(0), ge=0, le=10_000_000)
    margin: Decimal = Field(Decimal(100), gt=0, le=100)


class Traffic(Model):
    """The sample of page views with which rules are tried: `share` in percent of visitors, and how many page
    views an hour are recorded before half of that share is taken."""

    share: float = Field(10.0, ge=0, le=100)
    per_hour: int = Field(100, ge=10, le=10_000)


class Invites(Model):
    """How often a visitor is invited, how many at a time, and who is never invited, to compare with."""

    per_page: int = Field(1, ge=1, le=10)
    per_visit: int = Field(3, ge=1, le=MOST_INVITES)
    per_visitor: int = Field(6, ge=1, le=MOST_INVITES)
    days: int = Field(7, ge=1, le=365)
    pages: int = Field(3, ge=1, le=50)
    pause: int = Field(30, ge=0, le=3600)
    dismissals: int = Field(1, ge=1, le=100)
    ignored: int = Field(2, ge=1, le=100)
    throttle: float = Field(10.0, ge=0, le=1000)
    reserved: int = Field(0, ge=0, le=1000)
    unattended: bool = True
    holdout: float = Field(5.0, ge=0, le=50)
    window_days: int = Field(7, ge=1, le=90)
    review_days: int = Field(14, ge=0, le=365)
    persona: str | None = Field(None, pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    keywords: list[Annotated[str, Field(min_length=1, max_length=60)]] = Field([], max_length=500)
