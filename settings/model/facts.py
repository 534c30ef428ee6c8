"""What facts are made from, besides requests and pages: places of addresses, holidays."""

from functools import cache
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from .base import Model
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
