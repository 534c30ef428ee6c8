"""The schema of `networks.toml`: one model for each kind of table, with its checks; the calls are in
`calls_schema.py`."""

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from .calls import Purpose, Setting
from .calls_schema import PLACEHOLDER, CallTable
from .catalogue import Confidence, Kind, SameSite
from .tables import Noted, Table


def _named(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


def _condition(value: object) -> object:
    if not isinstance(value, str):
        return value
    name, equals, wanted = value.partition("=")
    return (name, wanted if equals else None)


_Ascii = Annotated[str, Field(pattern=r"^[\x20-\x7e]+$")]
_Condition = Annotated[tuple[_Ascii, _Ascii | None], BeforeValidator(_condition)]
_Host = Annotated[str, Field(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)+$")]


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


class SettingTable(Table):
    """Properties of a key of a partner's settings."""

    secret: bool = False
    default: Setting | None = None


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
    tcf: VendorTable | None = None
    necessary: _Condition | None = None
    cookies: list[CookieTable] = []
    settings: dict[str, SettingTable] = {}
    call: list[CallTable] = []
    by_hand: dict[Purpose, str] = {}
    nothing: dict[Purpose, str] = {}


class UtmTable(Noted):
    """`[utm]`."""

    confidence: Confidence
    params: list[_Ascii]


class ReferrersTable(Noted):
    """`[referrers]`."""

    confidence: Confidence
    payment_hosts: list[_Host]


class FileTable(Table):
    """The whole file. `example` has the fields of a report that every example starts from."""

    meta: dict[str, Any]
    example: dict[str, object] = {}
    referrers: ReferrersTable
    utm: UtmTable
    network: list[NetworkTable]
