"""The schema of `networks.toml`: one model for each kind of table, with its checks."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from .catalogue import FORMATS, SOURCES, Confidence, Encoding, Kind, SameSite, Setting

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
KEY = re.compile(r"[a-z][a-z0-9_]*")
# The formats of a source, the default first. Other sources are text.
SOURCE_FORMATS: Mapping[str, tuple[str, ...]] = {
    "amount": ("decimal", "decimal2", "number", "minor", "integer"),
    "discount": ("decimal", "decimal2", "number", "minor"),
    "item.unit_price": ("decimal", "decimal2", "number", "minor"),
    "item.line_total": ("decimal", "decimal2", "number", "minor"),
    "item.discount": ("decimal", "decimal2", "number", "minor"),
    "order_time": ("unix", "unix_ms", "iso8601"),
    "landing_time": ("unix", "unix_ms", "iso8601"),
    "parts": ("group:amount", "group_objects"),
    "click_id": ("text", "fbc"),
    "setting": ("text", "integer", "boolean"),
    "const": ("text", "integer", "boolean"),
}


def formats_of(source: str) -> tuple[str, ...]:
    """The formats of this source, the default first."""
    return SOURCE_FORMATS.get(source, ("text",))


def _named(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


def _condition(value: object) -> object:
    if not isinstance(value, str):
        return value
    name, equals, wanted = value.partition("=")
    return (name, wanted if equals else None)


_Ascii = Annotated[str, Field(pattern=r"^[\x20-\x7e]+$")]
_Condition = Annotated[tuple[_Ascii, _Ascii | None], BeforeValidator(_condition)]
_Status = Annotated[int, Field(ge=100, le=599)]
_Host = Annotated[str, Field(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)+$")]


class Table(BaseModel):
    """The base of all tables: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Noted(Table):
    """Keys with notes for people."""

    source: list[str] = []
    notes: list[str] = []
    other_cookies: list[str] = []
    not_verified: list[str] = []
    flags: list[str] = []
    adjust: dict[str, Any] = {}


class LandingTable(Table):
    """One of `landing_params`."""

    name: _Ascii
    any_case: bool = False
    shared: bool = False
    fallback: bool = False
    parts: tuple[_Ascii, ...] = ()
    value: str = ""

    @model_validator(mode="after")
    def _parts_are_used(self) -> Self:
        if set(PLACEHOLDER.findall(self.value)) != set(self.parts):
            raise ValueError("`value` must contain each of `parts` in braces, and no other braces")
        if self.parts and self.name not in self.parts:
            raise ValueError("`name` must be one of `parts`")
        return self


class CookieTable(Table):
    """One of `cookies`."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    days: int = Field(ge=1, le=400)
    http_only: bool
    secure: bool
    same_site: SameSite | None = None
    value: str = Field("{click_id}", pattern=r"^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+$")
    of: tuple[str, ...] = ()
    when: _Condition | None = None
    unless: _Condition | None = None

    @model_validator(mode="after")
    def _browsers_take_it(self) -> Self:
        if self.same_site == "None" and not self.secure:
            raise ValueError("SameSite=None needs Secure")
        if "{click_id}" not in self.value:
            raise ValueError("`value` must contain {click_id}")
        return self


class AnswerTable(Table):
    """Conditions for a response."""

    status: tuple[_Status, _Status]
    contains: str = ""
    lacks: str = ""
    pointer: str = Field("", pattern=r"^(/.*)?$")
    equals: str | int | None = None

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if self.status[0] > self.status[1]:
            raise ValueError("`status` must be [lowest, highest]")
        if self.equals is not None and not self.pointer:
            raise ValueError("`equals` needs a `pointer`")
        return self


class SuccessTable(AnswerTable):
    """`success` of a call."""

    already: AnswerTable | None = None
    silent: bool = False


class ParamTable(Table):
    """One of a call's `params`."""

    name: str = Field(min_length=1)
    source: str = Field(alias="from")
    req: bool = False
    format: str | None = None
    join: str = ""
    of: tuple[str, ...] = ()
    values: dict[str, str] = {}
    max_length: int | None = Field(None, ge=1)
    default: Setting | None = None
    range: tuple[int, int] | None = None

    @property
    def word(self) -> str:
        """The word of SOURCES."""
        return "setting" if self.source.startswith("settings.") else self.source.partition(":")[0]

    @property
    def argument(self) -> str:
        """The settings key, or the constant."""
        if self.word == "setting":
            return self.source.removeprefix("settings.")
        return self.source.partition(":")[2]

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if self.word not in SOURCES or (":" in self.source and self.word != "const"):
            raise ValueError(f"from: unknown source {self.source!r}; known are {', '.join(SOURCES)}")
        allowed = formats_of(self.word)
        pattern = "unix" in allowed and "%" in (self.format or "")
        if self.format is not None and self.format not in allowed and not pattern:
            known = "; ".join(f"{name}: {FORMATS[name]}" for name in allowed)
            raise ValueError(f"format: {self.format!r} is not a format of {self.word}, which are {known}")
        if self.word == "setting" and not KEY.fullmatch(self.argument.replace("{n}", "0")):
            raise ValueError(f"from: {self.argument!r} is not a settings key")
        return self

    @model_validator(mode="after")
    def _counts(self) -> Self:
        if self.range is not None:
            if "{n}" not in self.name or "{n}" not in self.argument:
                raise ValueError("`range` needs {n} in the name and in the settings key")
        elif ("{n}" in self.name or "{n}" in self.argument) and not self.word.startswith("item"):
            raise ValueError("{n} counts items, or needs a `range`")
        return self

    def written_out(self) -> "Iterator[ParamTable]":
        """The parameter itself, or one for each number of its range."""
        if self.range is None:
            yield self
            return
        for n in range(self.range[0], self.range[1] + 1):
            new = {"name": self.name.replace("{n}", str(n)), "source": self.source.replace("{n}", str(n))}
            yield self.model_copy(update={**new, "range": None})


class SettingTable(Table):
    """Properties of a key of a partner's settings."""

    secret: bool = False
    default: Setting | None = None


class BasicTable(Table):
    """HTTP Basic authentication."""

    user: str
    password: str


class ConversionTable(Noted):
    """One of a network's calls."""

    id: str = Field(pattern=r"^[a-z0-9_]+$")
    method: Literal["GET", "POST"]
    url: str = Field(pattern=r"^https://[^/\s]+")
    encoding: Encoding
    success: SuccessTable
    params: list[ParamTable] = Field(min_length=1)
    preferred: bool = False
    envelope: str = ""
    document: str = ""
    headers: dict[str, str] = {}
    basic: BasicTable | None = None
    needs: frozenset[str] = frozenset()

    @model_validator(mode="after")
    def _fits_its_encoding(self) -> Self:
        bodiless = self.encoding in ("query", "path")
        if bodiless != (self.method == "GET"):
            raise ValueError(f"{self.encoding} requires {'GET' if bodiless else 'POST'}")
        if bool(self.document) != (self.encoding == "graphql"):
            raise ValueError("`document` is required for graphql, and only allowed there")
        if self.envelope and self.encoding not in ("json", "graphql"):
            raise ValueError("`envelope` is only for a JSON body")
        return self

    def all_params(self) -> Iterator[ParamTable]:
        """The parameters with their ranges written out."""
        for param in self.params:
            yield from param.written_out()

    def placeholders(self) -> Iterator[str]:
        """The settings keys in address, headers and authentication."""
        templates = [self.url, *self.headers.values()]
        if self.basic is not None:
            templates += [self.basic.user, self.basic.password]
        for template in templates:
            yield from PLACEHOLDER.findall(template)


class VendorTable(Table):
    """`tcf`: the network in the Global Vendor List, with the purposes that it declares."""

    vendor: int = Field(ge=1, le=65535)
    consent: frozenset[int]
    interest: frozenset[int] = frozenset()
    flexible: frozenset[int] = frozenset()


class NetworkTable(Noted):
    """One `[[network]]`."""

    id: str = Field(pattern=r"^[a-z0-9_]+$")
    name: str
    kind: Kind
    confidence: Confidence
    source: list[str] = Field(min_length=1)
    landing_params: list[Annotated[LandingTable, BeforeValidator(_named)]]
    own_param: bool = False
    lookback_days: int | None = Field(None, ge=1, le=400)
    retry_unknown: bool = False
    tcf: VendorTable | None = None
    necessary: _Condition | None = None
    cookies: list[CookieTable] = []
    settings: dict[str, SettingTable] = {}
    conversion: list[ConversionTable] = []


class UtmTable(Noted):
    """`[utm]`."""

    confidence: Confidence
    params: list[_Ascii]


class ReferrersTable(Noted):
    """`[referrers]`."""

    confidence: Confidence
    payment_hosts: list[_Host]


class FileTable(Table):
    """The whole file."""

    meta: dict[str, Any]
    referrers: ReferrersTable
    utm: UtmTable
    network: list[NetworkTable]
