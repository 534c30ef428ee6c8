"""What a request shows of its device and its program: by client hints (User-Agent Client Hints) where the
browser sends them, else by User-Agent."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from ..referral.clients import automation_of, crawler_of

AGENT_LENGTH: Final = 512  # bytes of User-Agent that are read
_TABLET: Final = re.compile(r"iPad|Tablet|PlayBook|Silk/|Kindle|Nexus (?:7|9|10)\b|SM-T\d|; Xoom ")
_PHONE: Final = re.compile(r"Mobi|iPhone|iPod|Windows Phone|Opera Mini|BlackBerry")
_DESKTOP: Final = re.compile(r"Windows NT|Macintosh|X11|CrOS")


def warm() -> None:
    """Load what finds browsers and systems: a second and 40 MB, only for sites that ask for them."""
    _parsed(b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")


def device_type(fields: Mapping[bytes, bytes]) -> str | None:
    """desktop, mobile, tablet or other; None without User-Agent."""
    agent = fields.get(b"user-agent", b"")[:AGENT_LENGTH]
    return _device_type(agent, fields.get(b"sec-ch-ua-mobile", b"")) if agent.strip() else None


@lru_cache(maxsize=4096)
def _device_type(agent: bytes, hint: bytes) -> str:
    text = agent.decode("latin-1")
    if _TABLET.search(text) or ("Android" in text and "Mobile" not in text and hint != b"?1"):
        return "tablet"
    if hint == b"?1" or _PHONE.search(text):
        return "mobile"
    return "desktop" if _DESKTOP.search(text) else "other"


def browser(fields: Mapping[bytes, bytes]) -> str | None:
    """The browser's name, without words for its mobile variant: `Chrome`, not `Chrome Mobile`."""
    return _parsed(fields.get(b"user-agent", b"")[:AGENT_LENGTH])[0]


def browser_version(fields: Mapping[bytes, bytes]) -> int | None:
    """The browser's major version."""
    return _parsed(fields.get(b"user-agent", b"")[:AGENT_LENGTH])[1]


def system(fields: Mapping[bytes, bytes]) -> str | None:
    """The operating system's name."""
    return _parsed(fields.get(b"user-agent", b"")[:AGENT_LENGTH])[2]


_VARIANT: Final = re.compile(r"^Mobile | (?:Mobile(?: WebView| iOS)?|iOS|WebView)$")


@lru_cache(maxsize=4096)
def _parsed(agent: bytes) -> tuple[str | None, int | None, str | None]:
    # Imported here: its patterns take a second to load.
    from ua_parser import parse_os, parse_user_agent

    text = agent.decode("latin-1")
    found: Any = parse_user_agent(text)
    os: Any = parse_os(text)
    name = _VARIANT.sub("", found.family) if found is not None else None
    version = int(found.major) if found is not None and (found.major or "").isdecimal() else None
    return name, version, os.family if os is not None else None


def language(fields: Mapping[bytes, bytes]) -> str | None:
    """The first language that the browser accepts."""
    return (
        fields.get(b"accept-language", b"")[:64].decode("latin-1").split(",")[0].split(";")[0].strip() or None
    )


def is_bot(fields: Mapping[bytes, bytes], *, secure: bool) -> bool:
    """Whether the client calls itself a crawler, or is a program by its headers."""
    # A page's script always asks with Fetch Metadata of its own; a page is asked for by `decide` only.
    return bool(crawler_of(fields.get(b"user-agent", b"")) or automation_of(fields, secure=secure))
