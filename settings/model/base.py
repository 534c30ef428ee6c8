"""What the models of settings have in common: their base class and the values that several of them have."""

import re
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

# Those of templates/texts/: the 24 of the European Union, and ar, ja, ru, tr, uk, zh.
Language = Literal[
    "ar",
    "bg",
    "cs",
    "da",
    "de",
    "el",
    "en",
    "es",
    "et",
    "fi",
    "fr",
    "ga",
    "hr",
    "hu",
    "it",
    "ja",
    "lt",
    "lv",
    "mt",
    "nl",
    "pl",
    "pt",
    "ro",
    "ru",
    "sk",
    "sl",
    "sv",
    "tr",
    "uk",
    "zh",
]
LANGUAGES: tuple[Language, ...] = get_args(Language)
PageType = Literal["home", "category", "product", "search", "cart", "checkout", "confirmation", "account"]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, OSError, ValueError) as error:
        raise ValueError('not an IANA time zone; write for example "Europe/Berlin"') from error
    return value


TimeZone = Annotated[str, AfterValidator(_time_zone)]


def _host(value: str) -> str:
    value = value.lower()
    if not re.fullmatch(r"(\*\.)?[a-z0-9_]([a-z0-9._-]*[a-z0-9])?(:\d+)?|\[[0-9a-f:.]+\](:\d+)?", value):
        raise ValueError(
            'not a host name; write for example "shop.example", "*.shop.example" or "localhost:8000"'
        )
    return value


Host = Annotated[str, AfterValidator(_host)]


def _one_host(value: str) -> str:
    value = _host(value)
    port = value.rpartition(":")[2]
    if value.startswith("*") or (port.isdigit() and not 0 < int(port) < 65536):
        raise ValueError('not a single host; write for example "shop.internal" or "shop.internal:8000"')
    return value


OneHost = Annotated[str, AfterValidator(_one_host)]


def _endpoint(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError('write scheme, host and port of a relay or test host: "https://relay.example"')
    return value.rstrip("/")


Endpoint = Annotated[str, AfterValidator(_endpoint)]


def _written(value: object) -> object:
    # ipaddress accepts integers and booleans as addresses.
    if not isinstance(value, str):
        raise ValueError('a network is written in quotes, for example "10.0.0.0/8"')
    return value


Addresses = Annotated[IPv4Network | IPv6Network, BeforeValidator(_written)]


_MAIL = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9])",
    re.ASCII,
)


def mail_address(value: str) -> str:
    """A mail address as it goes into a header (RFC 5321 §4.1.2, without quoted names and without addresses in
    brackets); a domain with other letters is encoded. Raises ValueError."""
    local, _, domain = value.strip().rpartition("@")
    if len(value) <= 254 and not domain.isascii():
        domain = domain.encode("idna").decode("ascii")
    found = f"{local}@{domain}"
    if len(found) > 254 or len(local) > 64 or not _MAIL.fullmatch(found):
        raise ValueError('not a mail address; write for example "service@shop.example"')
    return found


def sender_parts(value: str) -> tuple[str, str]:
    """Name and address of `Shop <service@shop.example>`; the name may be missing. Raises ValueError."""
    name, bracket, rest = value.strip().partition("<")
    if not bracket:
        return "", mail_address(name)
    name = name.strip().strip('"')
    if not rest.endswith(">") or any(ord(c) < 32 for c in name):
        raise ValueError('write an address, or "Shop <service@shop.example>"')
    return name, mail_address(rest[:-1])


def _sender(value: str) -> str:
    sender_parts(value)
    return value


Sender = Annotated[str, Field(max_length=320), AfterValidator(_sender)]


class Model(BaseModel):
    """The base of all models: unknown keys are errors, and values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False)
