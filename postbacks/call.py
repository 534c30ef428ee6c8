"""A rendered call to a partner, and helpers that build one."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from urllib.parse import quote

from ..referral.calls import Success
from .values import Json

_OUTSIDE_ASCII = re.compile(r"[^\x21-\x7e]")
_OUTSIDE_UTF8 = re.compile("[\udc80-\udcff]")


class RenderError(ValueError):
    """A call cannot be built; the message names the settings key or the value that is wrong."""


class SecretError(RenderError):
    """The partner's `secret` cannot sign a call."""


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP call. `url` is sent byte for byte; its host may be an international name.

    `masked` is method, URL and body as they may be logged; `hidden` are the values to mask in a response.
    `keys` are the order ids of the reports that it carries, in their order. `gone`: status 410 means that
    the receiver wants no more calls (Standard Webhooks). `allow_private`: the call may go into private
    networks, see `reach`.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    masked: str
    success: Success
    keys: tuple[str, ...] = ()
    hidden: tuple[str, ...] = field(repr=False, default=())
    gone: bool = False
    allow_private: bool = False


def percent(value: str) -> str:
    """Percent-encode all bytes but letters, digits and `-._~` (RFC 3986 §2.3)."""
    return quote(value.encode("utf-8", "surrogateescape"), safe="")


def split_address(url: str) -> tuple[str, str]:
    """Scheme with host, and the target: without a fragment, with non-ASCII characters percent-encoded."""
    scheme, _, rest = url.partition("://")
    end = re.search(r"[/?#]|$", rest)
    host, target = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    target = target.partition("#")[0]
    if not target.startswith("/"):
        target = "/" + target
    return f"{scheme}://{host}", _OUTSIDE_ASCII.sub(lambda m: percent(m[0]), target)


def json_text(found: Json) -> str:
    """JSON in which a Decimal keeps its digits: 59.90 stays 59.90.

    JSON is Unicode (RFC 8259 §8.1), so bytes outside UTF-8 in a click id are percent-encoded.
    """
    match found:
        case dict():
            return "{" + ",".join(f"{json.dumps(k)}:{json_text(v)}" for k, v in found.items()) + "}"
        case list():
            return "[" + ",".join(json_text(v) for v in found) + "]"
        case Decimal():
            return format(found, "f")
        case str():
            return json.dumps(_OUTSIDE_UTF8.sub(lambda m: f"%{ord(m[0]) - 0xDC00:02X}", found))
        case _:
            return json.dumps(found)
