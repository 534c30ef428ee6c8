"""Reads the cookies in which consent tools keep a visitor's choice, by the table in `cookies.toml`."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .bits import UnreadableError
from .signals import Purpose, Rank, Signal, shown, tcf_signal
from .tcf import decode
from .values import flat

COOKIES = 24  # cookies of consent tools in one request that are read
VALUE_LENGTH = 8192  # bytes of one; browsers keep up to 4096 of name and value
TOTAL_LENGTH = 32768  # bytes of all; most servers take no more than 16 KB of headers
_ENCODED = re.compile(rb"%[0-9A-Fa-f]{2}")
_BYTES = {b"%%%02x" % number: bytes((number,)) for number in range(256)}

_Texts = Sequence[str]


class Tool(BaseModel):
    """One entry of the table; its comment says what each key means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    name: str
    cookie: str = Field(pattern=r"^[A-Za-z0-9_-]+\*?$")
    format: Literal[
        "json", "base64-json", "object", "form", "pairs", "bang", "members", "words", "text", "tcf"
    ]
    choices: dict[Purpose, tuple[str, ...]] = {}
    refusals: dict[Purpose, tuple[str, ...]] = {}
    yes: tuple[str, ...] = ()
    no: tuple[str, ...] = ()
    absent: Literal["no"] | None = None
    decided: dict[str, tuple[str, ...]] = {}
    decided_by: str | None = None
    implied: dict[str, tuple[str, ...]] = {}
    time: str | None = None
    unit: Literal["s", "ms", "iso"] = "s"
    region: str | None = None
    unneeded: tuple[str, ...] = ()
    unmade: tuple[str, ...] = ()
    services: bool = False
    source: tuple[str, ...] = Field(min_length=1)
    confidence: Literal["verified", "read", "reported"]


@cache
def tools() -> tuple[Tool, ...]:
    """The table, read and checked once. Raises ValueError."""
    data = tomllib.loads(files(__package__).joinpath("cookies.toml").read_text("utf-8"))
    return tuple(Tool.model_validate(entry) for entry in data["tool"])


@cache
def _by_name() -> tuple[Mapping[bytes, Tool], tuple[tuple[bytes, Tool], ...], frozenset[bytes]]:
    """Tools by their cookie's whole name, those by its beginning, and the names of other cookies needed."""
    exact = {t.cookie.encode(): t for t in tools() if not t.cookie.endswith("*")}
    begun = tuple((t.cookie[:-1].encode(), t) for t in tools() if t.cookie.endswith("*"))
    return exact, begun, frozenset(t.decided_by.encode() for t in tools() if t.decided_by)


def read(headers: Sequence[bytes], service: str) -> tuple[Signal, ...]:
    """What the cookies in raw Cookie headers say. `service` is the name by which tools that list services
    list this one. A value that cannot be read is a signal that says nothing, and why."""
    found, beside = _cookies(headers)
    return tuple(_signal(tool, name, value, beside, service) for tool, name, value in found)


def _cookies(headers: Sequence[bytes]) -> tuple[list[tuple[Tool, str, str]], dict[str, str]]:
    exact, begun, others = _by_name()
    found: list[tuple[Tool, str, str]] = []
    beside: dict[str, str] = {}
    left = TOTAL_LENGTH
    for header in headers:
        for pair in header.split(b";"):
            name, equals, value = pair.strip().partition(b"=")
            if not equals:
                continue
            if name in others and name.decode("ascii") not in beside:
                beside[name.decode("ascii")] = _text(value[: min(left, VALUE_LENGTH)])
                left -= min(left, len(value))
            tool = exact.get(name) or next((t for prefix, t in begun if name.startswith(prefix)), None)
            if tool is not None and len(found) < COOKIES:
                fits = len(value) <= min(left, VALUE_LENGTH)
                text = _text(value) if fits else ""
                left -= len(value) if fits else 0
                found.append((tool, name.decode("latin-1"), text))
    return found, beside


def _text(value: bytes) -> str:
    """A cookie's value, percent-decoded, without the quotes that some servers put around it."""
    # unquote() takes a microsecond for each % that encodes nothing.
    text = _ENCODED.sub(_decoded, value).decode("utf-8", "replace")
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def _decoded(match: re.Match[bytes]) -> bytes:
    return _BYTES[match[0].lower()]


def _signal(tool: Tool, name: str, value: str, beside: Mapping[str, str], service: str) -> Signal:
    source, raw = f"cookie {name}", shown(value)
    if value in tool.unneeded:
        granted = dict.fromkeys(tool.choices, True)
        return Signal(source, raw, f"{tool.name}: no consent needed here", granted, Rank.NOT_REQUIRED)
    if value in tool.unmade or not value:
        return Signal(source, raw, f"{tool.name}: no choice yet" if value else "empty, or too long")
    try:
        if tool.format == "tcf":
            return tcf_signal(source, value, decode(value))
        found = flat(tool.format, value)
    except UnreadableError as error:
        return Signal(source, raw, f"unreadable: {error}", unread=True)
    region = found.get(tool.region, "")[:6] if tool.region else ""
    at = _time(found.get(tool.time, "") if tool.time else beside.get(tool.decided_by or "", ""), tool.unit)
    if not _has_chosen(tool, found, beside):
        return Signal(source, raw, f"{tool.name}: no choice yet", region=region)
    if tool.services:
        says, why = _of_services(tool, found, service)
    else:
        says, why = dict(_says(tool, found)), ""
    rank = Rank.NOT_REQUIRED if _holds(tool.implied, found) else Rank.CHOSEN
    return Signal(source, raw, f"{tool.name}: {why or _worded(says)}", says, rank, at, region)


def _has_chosen(tool: Tool, found: Mapping[str, str], beside: Mapping[str, str]) -> bool:
    if tool.decided_by is not None and tool.decided_by not in beside:
        return False
    return not tool.decided or _holds(tool.decided, found)


def _holds(wanted: Mapping[str, _Texts], found: Mapping[str, str]) -> bool:
    return any(found.get(key) in texts for key, texts in wanted.items())


def _says(tool: Tool, found: Mapping[str, str]) -> Iterator[tuple[Purpose, bool]]:
    for purpose, keys in tool.choices.items():
        value = next((found[key] for key in keys if key in found), None)
        refused = any(found.get(key) in tool.yes for key in tool.refusals.get(purpose, ()))
        if refused or value in tool.no or (value is None and tool.absent == "no"):
            yield purpose, False
        elif value in tool.yes:
            yield purpose, True


def _of_services(tool: Tool, found: Mapping[str, str], service: str) -> tuple[dict[Purpose, bool], str]:
    """Tools that list services by the shop's own names: this one's, else what all of them have in common."""
    listed = {key: text for key, text in found.items() if "." not in key and not key.startswith("$")}
    known = {key: text in tool.yes for key, text in listed.items() if text in (*tool.yes, *tool.no)}
    if service in known:
        yes = known[service]
        return _all(yes), f"service {service} {'accepted' if yes else 'refused'}"
    if service in listed or not known:
        return {}, "no choice yet"
    if len(set(known.values())) == 1 and len(known) == len(listed):
        yes = next(iter(known.values()))
        return _all(yes), f"all services {'accepted' if yes else 'refused'}"
    return {}, f"it lists no service {service}"


def _all(yes: bool) -> dict[Purpose, bool]:
    return {"preferences": yes, "statistics": yes, "marketing": yes}


def _worded(says: Mapping[Purpose, bool]) -> str:
    return (
        ", ".join(f"{purpose} {'yes' if yes else 'no'}" for purpose, yes in says.items()) or "no choice yet"
    )


_NUMBER = re.compile(r"\d{1,16}(\.\d{1,9})?")


def _time(text: str, unit: str) -> float | None:
    """A time in unix seconds, None where the text is none."""
    with suppress(ValueError, OverflowError):
        if unit == "iso":
            moment = datetime.fromisoformat(text[:40].strip())
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        if _NUMBER.fullmatch(text):
            number = float(text)
            return number / 1000 if unit == "ms" else number
    return None
