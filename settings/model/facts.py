"""What facts are made from, besides requests and pages: places of addresses, holidays."""

from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import AfterValidator, Field, model_validator

from .base import Model, PageType
from .chat import Country, Day


class Geo(Model):
    """How the country of a client's address is known, and whether DNS is asked for its host name."""

    header: str | None = Field(None, pattern=r"^[A-Za-z0-9-]{1,64}$")
    database: str | None = Field(None, pattern=r"^/", max_length=500)
    hostnames: bool = False


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


STEPS: Final = 12
"""Lists, filters and functions of a JMESPath expression: each takes time that is linear in the data."""
_STEPS: Final = frozenset(
    ("projection", "value_projection", "filter_projection", "flatten", "slice", "function_expression")
)
_SELECTS: Final = frozenset(("multi_select_list", "multi_select_dict"))
SELECTED: Final = 10


def _takes_data(parts: list[dict[str, Any]]) -> bool:
    """Whether `join` puts what the data hold between the texts, which may be as long as all of them."""
    return not parts or parts[0]["type"] != "literal"


def _path(value: str) -> str:
    try:
        waiting: list[dict[str, Any]] = [jmespath.compile(value).parsed]
    except (JMESPathError, RecursionError) as error:
        raise ValueError(f"not a JMESPath expression: {error}") from error
    steps = selects = 0
    while waiting:
        node = waiting.pop()
        kind, parts = node["type"], node["children"]
        steps += kind in _STEPS
        if kind in _SELECTS:
            # `[@,@][] | [@,@][] | …` doubles the data each time.
            selects += 1
            if selects > 1 or len(parts) > SELECTED:
                raise ValueError(f"at most one `[a, b]` or `{{a: b}}`, of {SELECTED} parts")
        if kind == "function_expression" and node["value"] == "join" and _takes_data(parts):
            raise ValueError("the first argument of `join` is a text in quotes")
        waiting += [part for part in parts if isinstance(part, dict)]
    if steps > STEPS:
        raise ValueError(f"{steps} lists, filters and functions; at most {STEPS}")
    return value


JsonPath = Annotated[str, Field(max_length=300), AfterValidator(_path)]


class Signal(Model):
    """A request that is an event: by its address, its method, the status of its response, and what the page
    shows, or what the response says as JSON."""

    event: EventName
    path: list[Annotated[str, Field(min_length=1, max_length=300)]] = Field([], max_length=30)
    page: PageType | None = None
    method: Literal["GET", "POST", "any"] = "POST"
    status: list[Annotated[str, Field(pattern=r"^[1-5](xx|[0-9]{2})$")]] = Field([], max_length=10)
    selector: str | None = None
    json_path: JsonPath | None = None

    @model_validator(mode="after")
    def _has_a_place(self) -> Self:
        if self.selector is not None and self.json_path is not None:
            raise ValueError("a response is a page or JSON: write `selector` or `json_path`, or two signals")
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


def _api(value: str) -> str:
    parts = urlsplit(value.replace("{visitor}", "v").replace("{cookie}", "c"))
    if parts.scheme not in ("http", "https") or not parts.hostname or "{" in value.split("/", 3)[2]:
        raise ValueError(
            'not a URL to call; write for example "https://shop.example/api/visitor?ref={visitor}"'
        )
    return value


FactName = Annotated[str, Field(pattern=r"^(customer\.(logged_in|group|first_name)|[a-z][a-z0-9_]{0,31})$")]


class CustomFact(Model):
    """A fact of the site's own: where it comes from, and of which type it is."""

    type: Literal["string", "int", "double", "bool"] = "string"
    header: str | None = Field(None, pattern=r"^[A-Za-z0-9-]{1,64}$")
    cookie: str | None = Field(None, pattern=r"^[A-Za-z0-9_.-]{1,100}\*?$")
    selector: str | None = Field(None, min_length=1)
    attribute: str | None = Field(None, pattern=r"^[A-Za-z][A-Za-z0-9_:.-]{0,63}$")
    json_path: JsonPath | None = None
    script: str | None = Field(None, pattern=r"^[A-Za-z0-9_:.-]{1,100}$")
    pages: list[Annotated[str, Field(min_length=1, max_length=300)]] = Field([], max_length=20)
    url: Annotated[str, Field(max_length=500), AfterValidator(_api)] | None = None
    keep: Literal["page", "visit", "visitor"] = "visit"
    timeout: Decimal = Field(Decimal(2), gt=0, le=10)
    cache_seconds: int = Field(300, ge=1, le=86400)
    allow_private: bool = False

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        sources = {
            "header": self.header is not None,
            "cookie": self.cookie is not None and self.url is None,
            "selector": self.selector is not None,
            "json_path": self.json_path is not None and self.url is None,
            "pages": bool(self.pages),
            "url": self.url is not None,
        }
        given = [name for name, there in sources.items() if there]
        if len(given) != 1:
            which = f"it has {' and '.join(given)}" if given else "it has none"
            raise ValueError(f"a fact has one of {', '.join(sources)}; {which}")
        if self.pages and self.type != "int":
            raise ValueError('how many pages were seen is a number: write type = "int"')
        if self.url is not None and "{cookie}" in self.url and self.cookie is None:
            raise ValueError("{cookie} in `url` needs `cookie`, the cookie's name")
        return self
