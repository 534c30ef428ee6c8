"""What agents say of who led a buyer to an order: ACP's `affiliate_attribution`, UCP's `attribution`.

The models take what the protocols allow, and refuse what their rules refuse: personal data above all. A name
or a value that looks like it is refused, as the Agentic Commerce Protocol asks: rather one too many.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from itertools import pairwise
from typing import Annotated, Final, Literal

import re2  # type: ignore[import-untyped]
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from .model import OrderError

KEYS: Final = 20
METADATA: Final = 4096  # bytes of a claim's metadata as JSON
PARAMS: Final = 40  # parameters of `attribution`
TOKEN: Final = 512

_EMAIL: Final = re2.compile(r"[^\s@=&]{1,64}(?:@|%40)[A-Za-z0-9-]{1,63}\.[A-Za-z]{2,}")
# With a country, or written as people write them; a bare number may be a publisher's.
_PHONE: Final = re2.compile(
    r"(?:^|[^\w-])(?:\+\d[\d ()./-]{6,}\d|(?:\(\d{2,5}\)|0\d{1,4})[ /-]?\d{2,5}[ -]\d{2,}[\d -]*"
    r"|\d{3}[ .-]\d{3}[ .-]\d{4})(?:$|[^\w-])"
)
_PERSONAL: Final = frozenset(
    {
        *(
            "address",
            "birthday",
            "birthdate",
            "city",
            "dob",
            "email",
            "firstname",
            "fullname",
            "ip",
            "lastname",
        ),
        *("mail", "mobile", "passport", "phone", "postcode", "ssn", "street", "surname", "tel", "telephone"),
        *("user", "userid", "username", "zip"),
    }
)
# Joined by what stands between the words: `user_email`, `customer-phone`, `firstName`.
_WORDS: Final = re2.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")


class ClaimError(OrderError):
    """A claim is refused. `code` is the protocol's, `param` the JSON path of the part."""

    def __init__(self, code: str, param: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.param = param


def _number(value: object) -> object:
    # JSON's fractions are read as decimals.
    return str(value) if isinstance(value, Decimal) else value


class _Claim(BaseModel):
    # The protocol may add fields.
    model_config = ConfigDict(extra="ignore", frozen=True)


class ClaimOrigin(_Claim):
    """Where the claim comes from."""

    type: Literal["url", "platform", "unknown"]
    url: Annotated[str, Field(max_length=2000)] | None = None


class AffiliateAttribution(_Claim):
    """One `affiliate_attribution` of the Agentic Commerce Protocol."""

    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        json_schema_extra={
            "anyOf": [
                {"required": [name], "properties": {name: {"type": "string"}}}
                for name in ("token", "publisher_id")
            ]
        },
    )

    provider: Annotated[str, Field(min_length=1, max_length=100)]
    token: Annotated[str, Field(min_length=1, max_length=TOKEN)] | None = None
    publisher_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    campaign_id: Annotated[str, Field(max_length=200)] | None = None
    creative_id: Annotated[str, Field(max_length=200)] | None = None
    sub_id: Annotated[str, Field(max_length=500)] | None = None
    source: ClaimOrigin | None = None
    issued_at: Annotated[str, Field(max_length=40)] | None = None
    expires_at: Annotated[str, Field(max_length=40)] | None = None
    metadata: (
        Annotated[
            dict[
                Annotated[str, Field(max_length=100)],
                Annotated[bool | int | float | str, BeforeValidator(_number)],
            ],
            Field(max_length=KEYS),
        ]
        | None
    ) = None
    touchpoint: Literal["first", "last"] = "last"

    @model_validator(mode="after")
    def _complete(self) -> "AffiliateAttribution":
        if self.token is None and self.publisher_id is None:
            raise ValueError("either `token` or `publisher_id` is needed")
        if self.metadata is not None and len(json.dumps(self.metadata)) > METADATA:
            raise ValueError(f"metadata: more than {METADATA} bytes")
        return self


Attribution = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=100)], Annotated[str, Field(max_length=TOKEN)]],
    Field(max_length=PARAMS),
]
"""UCP's `attribution`: parameters as in an address."""


def refuse_personal(
    claims: Sequence[AffiliateAttribution], attribution: Mapping[str, str] | None, *, listed: bool = False
) -> None:
    """Raise ClaimError (`pii_not_allowed`) if one of them holds what looks like personal data. `listed`: the
    claims were sent as a list."""
    for number, claim in enumerate(claims):
        path = f"$.affiliate_attribution[{number}]" if listed else "$.affiliate_attribution"
        for where, name, value in _parts(claim):
            _refuse(f"{path}{where}", name, value, "affiliate_attribution")
    for name, value in (attribution or {}).items():
        _refuse(f"$.attribution.{name}", name, value, "attribution")


def _refuse(param: str, name: str, value: str, what: str) -> None:
    if _is_personal_name(name) or _EMAIL.search(value) or _PHONE.search(value):
        text = f"{what} fields must not contain personally identifiable information."
        raise ClaimError("pii_not_allowed", param, text)


def _parts(claim: AffiliateAttribution) -> Iterator[tuple[str, str, str]]:
    for name in ("provider", "token", "publisher_id", "campaign_id", "creative_id", "sub_id"):
        if (value := getattr(claim, name)) is not None:
            yield f".{name}", "", value
    if claim.source is not None and claim.source.url is not None:
        yield ".source.url", "", claim.source.url
    for name, value in (claim.metadata or {}).items():
        yield f".metadata.{name}", name, str(value)


def _is_personal_name(name: str) -> bool:
    words = [word.lower() for word in _WORDS.findall(name)]
    pairs = ["".join(two) for two in pairwise(words)]
    return any(word in _PERSONAL for word in (*words, *pairs))


def digest_of(claims: Sequence[AffiliateAttribution], attribution: Mapping[str, str] | None) -> str | None:
    """A name for what was claimed, by which one report differs from the next; None if nothing was."""
    if not claims and not attribution:
        return None
    said = [[claim.model_dump(exclude_none=True) for claim in claims], attribution]
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
