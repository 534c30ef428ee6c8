"""The schema of `sources.toml`: how the webhooks of shop systems are checked and read."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Final, Literal, Self

import jmespath
import re2  # type: ignore[import-untyped]
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from .model import OrderState

PLACEHOLDERS: Final = ("url", "secret", "topics")
"""What `clew connect` fills in the steps of `connect`."""


def _compiled(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("write a JMESPath expression")
    try:
        return jmespath.compile(value)
    except JMESPathError as error:
        raise ValueError(f"not a JMESPath expression: {error}") from error


def _place(value: str) -> str:
    kind, _, rest = value.partition(":")
    if kind not in ("header", "body") or not rest:
        raise ValueError('write "header:NAME" or "body:EXPRESSION"')
    if kind == "body":
        _compiled(rest)
    return value


def _step(value: str) -> str:
    try:
        value.format(**dict.fromkeys(PLACEHOLDERS, ""))
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"has a placeholder that is not one of {PLACEHOLDERS}: {error}") from error
    return value


Expression = Annotated[ParsedResult, BeforeValidator(_compiled)]
Place = Annotated[str, AfterValidator(_place)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


def _form(value: str) -> str:
    try:
        groups = re2.compile(value).groupindex
    except re2.error as error:
        raise ValueError(f"not an expression of RE2: {error}") from error
    if value and "mac" not in groups:
        raise ValueError("it needs a group `mac`")
    return value


class Signature(_Table):
    """How deliveries are signed; see the head of `sources.toml`. `tolerance` is in seconds."""

    scheme: Literal["hmac", "standard", "jws", "rsa", "secret"]
    header: str = Field("", pattern=r"^[A-Za-z0-9-]*$")
    field: Expression | None = None
    path: bool = False
    encoding: Literal["base64", "hex"] = "hex"
    hash: Literal["sha256", "sha1", "sha512"] = "sha256"
    prefix: str = ""
    form: Annotated[str, AfterValidator(_form)] = ""
    signed: str = Field("{body}", pattern=r"\{body\}")
    time: str = Field("", pattern=r"^[A-Za-z0-9-]*$")
    tolerance: int = Field(300, ge=1, le=3600)

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if not (self.header or self.field is not None or self.path):
            raise ValueError("say where it is: `header`, `field` or `path`")
        if "{time}" in self.signed and not (self.time or "(?P<time>" in self.form):
            raise ValueError("`signed` has a time: say where it is, by `time` or in `form`")
        if self.scheme == "rsa" and self.hash == "sha1":
            raise ValueError("a signature by RSA with SHA-1 can be forged")
        return self


class Fetch(_Table):
    """What is asked of the system's API, by name → address below `base`. A name that ends in "?" may be
    missing there (404, or an empty 204)."""

    model_config = ConfigDict(extra="allow")

    header: str
    id: Expression
    base: str = Field(pattern=r"^https://[a-z0-9.-]+/.*/$")

    @property
    def addresses(self) -> Mapping[str, str]:
        """The addresses by name."""
        return self.model_extra or {}


class Read(_Table):
    """How the orders of some topics are read; see the head of `sources.toml`."""

    topics: tuple[str, ...] = ()
    only: Expression | None = None
    base: Expression | None = None
    states: Mapping[str, OrderState | Literal[""]] = {}
    number: Expression | None = None
    key: Expression | None = None
    numbers: Expression | None = None
    total: Expression | None = None
    currency: Expression | None = None
    tax: Expression | None = None
    shipping: Expression | None = None
    discount: Expression | None = None
    net: Expression | None = None
    state: Expression | None = None
    test: Expression | None = None
    placed_at: Expression | None = None
    updated_at: Expression | None = None
    email: Expression | None = None
    customer: Expression | None = None
    coupon: Expression | None = None
    recurring: Expression | None = None
    carrier: Expression | None = None
    landing: Expression | None = None
    items: Expression | None = None
    refunds: Expression | None = None

    @model_validator(mode="after")
    def _is_of_an_order(self) -> Self:
        if self.number is None and self.key is None and self.numbers is None:
            raise ValueError("name the order: `number`, `key` or `numbers`")
        if (self.state is None) != (not self.states):
            raise ValueError("`state` and `states` go together")
        if self.total is not None and self.currency is None:
            raise ValueError("`total` needs `currency`")
        return self


class WebhookSource(_Table):
    """One shop system."""

    title: str
    docs: tuple[str, ...] = Field(min_length=1)
    confidence: Literal["verified", "likely"]
    likely: tuple[str, ...] = ()
    connect: tuple[Annotated[str, AfterValidator(_step)], ...] = Field(min_length=1)
    carrier: str
    topic: Place | None = None
    delivery: Place | None = None
    ping: str = ""
    unread: Literal[200, 422] = 200
    minor: bool = False
    minor_digits: Mapping[str, int] = {}
    signature: Signature
    fetch: Fetch | None = None
    same: Literal["orders"] | None = None
    reads: tuple[Read, ...] = ()

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if (self.same is None) == (not self.reads):
            raise ValueError("give either `reads` or `same`")
        if self.topic is None and any(read.topics for read in self.reads):
            raise ValueError("`topics` need `topic`")
        return self

    @property
    def topics(self) -> tuple[str, ...]:
        """All topics that report orders."""
        return tuple(topic for read in self.reads for topic in read.topics)


class SourcesError(ValueError):
    """`sources.toml` is invalid."""


def read_sources(text: str) -> Mapping[str, WebhookSource]:
    """The sources in a TOML text, by name. Raises SourcesError."""
    try:
        data: dict[str, Any] = tomllib.loads(text)
        return {name: WebhookSource.model_validate(entry) for name, entry in data.items()}
    except ValueError as error:
        raise SourcesError(f"sources.toml: {error}") from error


@cache
def webhook_sources() -> Mapping[str, WebhookSource]:
    """The sources that are part of clew, by name. Raises SourcesError."""
    return read_sources(files(__package__).joinpath("sources.toml").read_text("utf-8"))
