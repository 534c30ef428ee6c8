"""The chat and its look."""

import re
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from .base import Language, Model, PageType, Sender, TimeZone
from .spans import Spans

DEPARTMENT = r"^[A-Za-z0-9_.-]{1,64}$"
Side = Literal["left", "right"]
WidgetText = Literal["agent", "away", "button", "closed", "greeting", "invitation", "offline", "online"]


class WidgetPlace(Model):
    """Where the chat is on the pages of a type, if not where it is on the others."""

    side: Side | None = None
    offset: int | None = Field(None, ge=0, le=400)


class Widget(Model):
    """The look of the chat, and what happens if no rule acts."""

    default: Literal["show", "hide"] = "show"
    title: str | dict[Language, str] | None = None
    color: str = Field("#1b5e9e", pattern=r"^#[0-9a-fA-F]{6}$")
    scheme: Literal["page", "light", "dark"] = "page"
    side: Side = "right"
    offset: int = Field(20, ge=0, le=400)
    pages: dict[PageType, WidgetPlace] = {}
    avatar: str | None = Field(None, max_length=500, pattern=r"""^(https://|/[^/])[^\s"'<>\\]*$""")
    texts: dict[WidgetText, str | dict[Language, str]] = {}
    sound: bool = False

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, data: object) -> object:
        for old, new in (("dismissals", "dismissals"), ("invite_pages", "pages")):
            if isinstance(data, dict) and old in data:
                raise ValueError(
                    f"`{old}` is not a key of the widget any more; write `{new}` in [sites.invites]"
                )
        return data


_DAY = re.compile(r"(\d{4}-)?\d{2}-\d{2}", re.ASCII)


def _day(value: str) -> str:
    try:
        # A day without a year comes every year, also 29 February.
        date.fromisoformat(value if len(value) == 10 else f"2024-{value}")
    except ValueError as error:
        raise ValueError('write a day as "2026-12-24", or as "12-24" for every year') from error
    if not _DAY.fullmatch(value):
        raise ValueError('write a day as "2026-12-24", or as "12-24" for every year')
    return value


Day = Annotated[str, AfterValidator(_day)]


class Hours(Model):
    """When somebody is there, by day of the week, and on which days it is different."""

    time_zone: TimeZone | None = None
    mon: Spans = []
    tue: Spans = []
    wed: Spans = []
    thu: Spans = []
    fri: Spans = []
    sat: Spans = []
    sun: Spans = []
    holidays: dict[Day, Spans] = Field({}, max_length=400)


Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]


class Callback(Model):
    """The form with which visitors ask to be called."""

    country: Country | None = None
    countries: list[Country] = Field([], max_length=250)
    waiting: int = Field(200, ge=1, le=1000)


ChatAttribute = Literal["partner", "campaign", "cart", "page"]


class Chat(Model):
    """The chat: clew's own or that of a provider; how long before an order a conversation counts, and limits
    against abuse."""

    provider: str | None = None
    ids: dict[str, str] = {}
    attributes: tuple[ChatAttribute, ...] = ()
    load: Literal["click", "page"] = "click"
    csp: Literal["report", "extend"] = "report"
    mail: str | None = Field(None, pattern=r"^[^\s@<>\"?&]{1,64}@[A-Za-z0-9.-]{1,190}$")
    sender: Sender | None = None
    secret: SecretStr | None = None
    previous_secrets: list[SecretStr] = Field([], max_length=5)
    presence_token: SecretStr | None = None
    texts: bool = False
    typing_preview: bool = False
    tags: list[Annotated[str, Field(pattern=r"^[^,\x00-\x1f]{1,30}$")]] = Field([], max_length=50)
    free_tags: bool = True
    command: str = Field("/order", pattern=r"^(/[a-z]{2,20})?$")

    window_hours: int = Field(24, ge=1, le=24 * 60)
    message_length: int = Field(4000, ge=100, le=20000)
    messages_per_minute: int = Field(20, ge=1, le=600)
    per_agent: int = Field(3, ge=1, le=50)
    per_network: int = Field(2, ge=1, le=1000)
    undo_seconds: int = Field(60, ge=0, le=3600)
    assignment: Literal["free", "round_robin", "language"] = "free"
    departments: list[Annotated[str, Field(pattern=DEPARTMENT)]] = Field([], max_length=50)
    widen_seconds: int = Field(60, ge=0, le=86400)
    idle_minutes: int = Field(15, ge=1, le=1440)
    busy_above: float = Field(0.95, ge=0.1, le=5)
    free_below: float = Field(0.8, ge=0.05, le=5)

    @model_validator(mode="after")
    def _gate_opens_below_where_it_closes(self) -> Self:
        if self.free_below > self.busy_above:
            raise ValueError(
                f"free_below = {self.free_below} is above busy_above = {self.busy_above}: write a lower one, "
                "below which the agents count as free again"
            )
        return self
