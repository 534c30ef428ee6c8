"""What facts are made from, besides requests and pages: places of addresses, holidays."""

from functools import cache
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from .base import Model, PageType
from .chat import Country, Day


class Geo(Model):
    """How the country of a client's address is known."""

    header: str | None = Field(None, pattern=r"^[A-Za-z0-9-]{1,64}$")
    database: str | None = Field(None, pattern=r"^/", max_length=500)


def _known_country(value: str) -> str:
    if value not in _holiday_countries():
        raise ValueError('no holidays are known of it; write an ISO 3166 code, for example "DE"')
    return value


@cache
def _holiday_countries() -> dict[str, list[str]]:
    # Imported here: it takes a second, and few sites ask for holidays.
    from holidays import list_supported_countries

    found: dict[str, list[str]] = list_supported_countries(include_aliases=False)
    return found


class Calendar(Model):
    """The holidays of a site: those of its country and its own."""

    country: Annotated[Country, AfterValidator(_known_country)] | None = None
    subdivision: str | None = Field(None, pattern=r"^[A-Za-z0-9-]{1,20}$")
    days: list[Day] = Field([], max_length=400)

    @model_validator(mode="after")
    def _subdivision_is_known(self) -> Self:
        if self.subdivision is None:
            return self
        known = _holiday_countries().get(self.country or "", [])
        if self.subdivision not in known:
            which = f"known are {', '.join(known)}" if known else "write `country` too"
            raise ValueError(f"no holidays are known of the subdivision {self.subdivision!r}; {which}")
        return self


EVENTS: Final = (
    "search",
    "search_empty",
    "add_to_cart",
    "login_failed",
    "coupon_refused",
    "payment_failed",
    "client_error",
    "server_error",
    "form_repeated",
    "slow_page",
)
"""The events that clew knows; a site may have others of its own."""

EventName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]


class Signal(Model):
    """A request that is an event: by its address, its method, the status of its response, and what the page
    shows."""

    event: EventName
    path: list[Annotated[str, Field(min_length=1, max_length=300)]] = Field([], max_length=30)
    page: PageType | None = None
    method: Literal["GET", "POST", "any"] = "POST"
    status: list[Annotated[str, Field(pattern=r"^[1-5](xx|[0-9]{2})$")]] = Field([], max_length=10)
    selector: str | None = None

    @model_validator(mode="after")
    def _has_a_place(self) -> Self:
        if not self.path and self.page is None:
            raise ValueError('write `path`, for example path = ["*/login*"], or `page`, a kind of page')
        return self


class Score(Model):
    """Points by which a visitor is scored: for events and pages."""

    points: dict[Annotated[str, Field(pattern=r"^(page\.)?[a-z][a-z0-9_]{0,31}$")], float] = Field(
        {}, max_length=60
    )
    scope: Literal["visit", "visitor"] = "visit"
    half_life_hours: float | None = Field(None, gt=0, le=24 * 365)
    least: float = 0.0
    most: float = 1000.0


class ProductPage(Model):
    """Where a product is on its page, if not in structured data: CSS selectors."""

    id: str | None = None
    name: str | None = None
    brand: str | None = None
    price: str | None = None
    category: str | None = None
    in_stock: str | None = None
