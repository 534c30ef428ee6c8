"""The schema of a network's calls in `networks.toml`, with its checks."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from .calls import (
    FORMATS,
    ORDER_KEY,
    SOURCES,
    Digest,
    Encoding,
    Method,
    Place,
    Purpose,
    Repeat,
    Setting,
    argument_of,
    formats_of,
    word_of,
)
from .tables import Noted, Table

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
KEY = re.compile(r"[a-z][a-z0-9_]*")
# What is the same for all reports that one call carries.
_OF_CALL = ("setting", "const", "now")


def _listed(value: object) -> object:
    return list(value) if isinstance(value, list) else [value]


_Status = Annotated[int, Field(ge=100, le=599)]
_Pointer = Annotated[str, Field(pattern=r"^(/.*)?$")]
_Values = Annotated[tuple[str | int | bool, ...], BeforeValidator(_listed)]


class AnswerTable(Table):
    """Conditions for a response."""

    status: tuple[_Status, _Status]
    contains: str = ""
    lacks: str = ""
    pointer: _Pointer = ""
    equals: _Values = ()

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if self.status[0] > self.status[1]:
            raise ValueError("`status` must be [lowest, highest]")
        if self.equals and not self.pointer:
            raise ValueError("`equals` needs a `pointer`")
        return self


class EachTable(Table):
    """`each` of `success`: what a response says of each report."""

    list: _Pointer
    key: _Pointer = ""
    index: _Pointer = ""
    failed: bool = False
    pointer: _Pointer = ""
    ok: _Values = ()
    already: _Values = ()
    later: _Values = ()
    text: _Pointer = ""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.failed and self.ok:
            raise ValueError("`failed` and `ok`: a list of failures has no successes")
        if self.key and self.index:
            raise ValueError("`key` and `index`: one of them names the report")
        if self.failed and not (self.key or self.index):
            raise ValueError("`failed` needs `key` or `index`: which report was refused")
        if (self.ok or self.already or self.later) and not self.pointer:
            raise ValueError("`ok`, `already` and `later` need a `pointer`")
        return self


class SuccessTable(AnswerTable):
    """`success` of a call."""

    already: AnswerTable | None = None
    later: AnswerTable | None = None
    done: AnswerTable | None = None
    silent: bool = False
    each: EachTable | None = None


class ParamTable(Table):
    """One of a call's `params`."""

    name: str = Field(min_length=1)
    source: str = Field("template", alias="from")
    req: bool = False
    format: str | None = None
    place: Place = Field("body", alias="in")
    join: str = ""
    template: str = ""
    when: Literal["", "items", "no items", "test"] = ""
    of: tuple[str, ...] = ()
    after: str = ""
    until: str = ""
    values: dict[str, str] = {}
    max_length: int | None = Field(None, ge=1)
    negative: bool = False
    remove: str = ""
    escape: bool = False
    digest: Digest | None = None
    key: str = ""
    base64: bool = False
    prefix: str = ""
    default: Setting | None = None
    range: tuple[int, int] | None = None

    @property
    def word(self) -> str:
        """The word of SOURCES."""
        return word_of(self.source)

    @property
    def argument(self) -> str:
        """The settings key, or the constant."""
        return argument_of(self.source)

    @property
    def used(self) -> tuple[tuple[str, str], ...]:
        """Each `from` that it is made of, with its format, which is empty for the default."""
        if self.word != "template":
            return ((self.source, self.format or ""),)
        pairs = (inner.partition(":") for inner in PLACEHOLDER.findall(self.template))
        return tuple((source, written) for source, _, written in pairs)

    @property
    def words(self) -> tuple[str, ...]:
        """The words of SOURCES that it is made of."""
        return tuple(word_of(source) for source, _ in self.used)

    @property
    def each(self) -> Literal["", "item", "part"]:
        """What it is written for once each."""
        kinds = {word.partition(".")[0] for word in self.words if "." in word}
        return "item" if "item" in kinds else "part" if "part" in kinds else ""

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if (self.word == "template") != bool(self.template):
            raise ValueError("`from` or `template`: one of them")
        if ":" in self.source and self.word != "const":
            raise ValueError(f"from: unknown source {self.source!r}")
        for source, written in self.used:
            _check_source(word_of(source), argument_of(source), source, written)
        if self.digest is not None and (self.digest.startswith("hmac") != bool(self.key)):
            raise ValueError("`key`, the settings key of the secret, is for an HMAC, and needed there")
        if self.word == "body" and self.place != "header":
            raise ValueError("the body can only be signed in a header")
        return self

    @model_validator(mode="after")
    def _counts(self) -> Self:
        if self.range is not None:
            if "{n}" not in self.name or "{n}" not in self.argument:
                raise ValueError("`range` needs {n} in the name and in the settings key")
        elif any(count in self.name + self.argument for count in ("{n}", "{i}")) and not self.each:
            raise ValueError("{n} and {i} count items and commission groups, or needs a `range`")
        return self

    def written_out(self) -> "Iterator[ParamTable]":
        """The parameter itself, or one for each number of its range."""
        if self.range is None:
            yield self
            return
        for n in range(self.range[0], self.range[1] + 1):
            new = {"name": self.name.replace("{n}", str(n)), "source": self.source.replace("{n}", str(n))}
            yield self.model_copy(update={**new, "range": None})


def _check_source(word: str, argument: str, source: str, written: str) -> None:
    if word not in SOURCES:
        raise ValueError(f"from: unknown source {source!r}; known are {', '.join(SOURCES)}")
    allowed = formats_of(word)
    pattern = "unix" in allowed and "%" in written
    if written and written not in allowed and not pattern:
        known = "; ".join(f"{name}: {FORMATS[name]}" for name in allowed)
        raise ValueError(f"format: {written!r} is not a format of {word}, which are {known}")
    if word == "setting" and not KEY.fullmatch(argument.replace("{n}", "0")):
        raise ValueError(f"from: {argument!r} is not a settings key")


class BasicTable(Table):
    """HTTP Basic authentication."""

    user: str
    password: str


class OAuthTable(Table):
    """`oauth`: where the call's token comes from."""

    grant: Literal["client_credentials", "refresh_token"]
    url: str = Field(pattern=r"^https://[^/\s]+")
    client: str
    secret: str
    refresh: str = ""
    basic: bool = False
    params: dict[str, str] = {}
    header: str = "Bearer {token}"
    seconds: int = Field(3600, ge=60)

    @model_validator(mode="after")
    def _has_its_token(self) -> Self:
        if (self.grant == "refresh_token") != bool(self.refresh):
            raise ValueError("`refresh` is for the grant refresh_token, and needed there")
        return self

    def templates(self) -> Iterator[str]:
        """All texts with settings keys in them."""
        yield from (self.url, self.client, self.secret, self.refresh, *self.params.values())
        yield self.header.replace("{token}", "")


class TrialTable(Table):
    """`test`: how a call is marked as a test."""

    url: str = Field("", pattern=r"^(https://[^/\s]+.*)?$")
    settings: dict[str, Setting] = {}


class ResponseTable(Table):
    """A response in an example, and what becomes of each report."""

    status: _Status
    body: str = ""
    outcomes: list[Literal["delivered", "retry", "dead", "unknown"]] = Field(min_length=1)
    kept: str = ""


class SentTable(Table):
    """`call` of an example: what is sent, byte for byte."""

    url: str
    headers: dict[str, str] = {}
    body: str = ""


class ExampleTable(Table):
    """`example`: what goes in, and exactly what comes out."""

    source: str = ""
    reports: list[dict[str, object]] = [{}]
    settings: dict[str, Setting] = {}
    groups: dict[str, str] = {}
    now: float = 0.0
    token: str = ""
    kept: str = ""
    test: bool = False
    call: SentTable
    responses: list[ResponseTable] = []


class FindTable(Table):
    """`find`: where the response to a lookup has the order."""

    list: _Pointer
    key: str = Field(pattern=r"^/.+$")


class CallTable(Noted):
    """One of a network's calls."""

    id: str = Field(pattern=r"^[a-z0-9_]+$")
    purposes: frozenset[Purpose] = Field(alias="for", min_length=1)
    method: Method
    url: str = Field(pattern=r"^https://[^/\s]+")
    encoding: Encoding
    success: SuccessTable
    params: list[ParamTable] = []
    preferred: bool = False
    envelope: str = ""
    document: str = ""
    headers: dict[str, str] = {}
    basic: BasicTable | None = None
    oauth: OAuthTable | None = None
    batch: int = Field(1, ge=1)
    without_items: str = ""
    keep: _Pointer = ""
    find: FindTable | None = None
    lookup: str = ""
    job: _Pointer = ""
    result: str = ""
    repeat: Repeat = "unknown"
    within: int | None = Field(None, ge=1)
    after: int | None = Field(None, ge=1)
    days: int | None = Field(None, ge=1)
    per_minute: int | None = Field(None, ge=1)
    test: TrialTable = TrialTable()
    needs: frozenset[str] = frozenset()
    example: list[ExampleTable] = []

    @model_validator(mode="after")
    def _fits_its_encoding(self) -> Self:
        if self.method == "GET" and self.encoding not in ("query", "path", "none"):
            raise ValueError(f"{self.encoding} is written into a body, and GET has none")
        if bool(self.document) != (self.encoding in ("graphql", "xml")):
            raise ValueError("`document` is required for graphql and xml, and only allowed there")
        if self.envelope and self.encoding not in ("json", "graphql"):
            raise ValueError("`envelope` is only for a JSON body")
        if self.basic is not None and self.oauth is not None:
            raise ValueError("`basic` and `oauth`: one of them")
        keyed = [p.name for p in self.params if ORDER_KEY in p.name and p.place == "body"]
        if keyed and self.encoding not in ("json", "graphql"):
            raise ValueError(f"params.{keyed[0]}: a key with the order's number is only for a JSON body")
        return self

    @model_validator(mode="after")
    def _looks_up(self) -> Self:
        if ("lookup" in self.purposes) != (self.find is not None):
            raise ValueError("`find` is for a lookup, and needed there")
        if self.find is not None and (not self.keep or len(self.purposes) > 1 or self.batch > 1):
            raise ValueError("a lookup has `keep`, one report, and no other purpose")
        if self.lookup and not any("kept" in param.words for param in self.params):
            raise ValueError("`lookup` finds what a parameter has from `kept`")
        if bool(self.job) != bool(self.result):
            raise ValueError(
                "`job` and `result`: what the network calls an accepted call, and who asks for it"
            )
        if (self.success.done is not None) != ("result" in self.purposes):
            raise ValueError("success.done is for a result, and needed there")
        if self.lookup and self.batch > 1:
            raise ValueError("`lookup` finds one order, and the call has several")
        return self

    @model_validator(mode="after")
    def _carries_its_batch(self) -> Self:
        if self.batch > 1 and "[]" not in self.envelope and ORDER_KEY not in self.envelope:
            raise ValueError(
                '`batch` needs an `envelope` with the list of the reports, "orders[]", or a key for each, '
                f'"orders.{ORDER_KEY}"'
            )
        if self.success.each is not None and self.batch == 1 and "result" not in self.purposes:
            raise ValueError("success.each is for a `batch`")
        for param in self.params if self.batch > 1 else ():
            shared = param.place != "body" or param.name.startswith("/")
            if shared and not set(param.words) <= {*_OF_CALL, "body"}:
                raise ValueError(
                    f"params.{param.name}: it differs from report to report, and the call has several"
                )
        return self

    def all_params(self) -> Iterator[ParamTable]:
        """The parameters with their ranges written out."""
        for param in self.params:
            yield from param.written_out()

    def placeholders(self) -> Iterator[str]:
        """The settings keys in address, headers and authentication."""
        templates = [self.url, self.test.url, *self.headers.values()]
        if self.basic is not None:
            templates += [self.basic.user, self.basic.password]
        if self.oauth is not None:
            templates += self.oauth.templates()
        filled = {param.name for param in self.params if param.place == "url"}
        for template in templates:
            yield from (key for key in PLACEHOLDER.findall(template) if key not in filled)
