"""The desk's pages and their files, with the headers that keep them to themselves."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from .. import templates
from ..settings.model import LANGUAGES
from .clock import Clock, span
from .here import here

_FOLDER = Path(templates.__file__).parent / "desk"

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    # Not no-referrer: it makes browsers send "Origin: null" with the forms of our own pages (Fetch §3.2).
    "Referrer-Policy": "same-origin",
    "X-Robots-Tag": "noindex",
}
MEDIA_TYPES = {"desk.css": "text/css; charset=utf-8", "desk.js": "text/javascript; charset=utf-8"}

_env = Environment(
    loader=FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_env.filters["span"] = span


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the desk: its bytes and a short text that changes with them."""

    body: bytes
    version: str
    media_type: str


@cache
def asset(name: str) -> Asset:
    """One of `MEDIA_TYPES`."""
    body = (_FOLDER / name).read_bytes()
    return Asset(body, sha256(body).hexdigest()[:16], MEDIA_TYPES[name])


@cache
def canned(language: str) -> tuple[str, ...]:
    """Ready answers in a visitor's language; in English for one that clew does not speak."""
    lines = tomllib.loads((_FOLDER / "canned.toml").read_text(encoding="utf-8"))["answers"]
    return tuple(line[language if language in LANGUAGES else "en"] for line in lines)


def desk_path(request: Request) -> str:
    """The path of the desk as browsers see it, without a slash at its end."""
    return f"{request.scope['root_path']}/desk"


def page(request: Request, template: str, status: int = 200, **values: object) -> Response:
    """A page of the desk from `templates/desk/`."""
    at = here(request)
    text = _env.get_template(template).render(
        base=desk_path(request),
        site=at.site.name,
        clock=Clock(ZoneInfo(at.site.settings.time_zone), at.service.now()),
        css=asset("desk.css").version,
        js=asset("desk.js").version,
        **values,
    )
    return HTMLResponse(text.encode("utf-8", "replace"), status, HEADERS)


def file(request: Request, name: str) -> Response:
    """A file of the desk; its address holds its version, so that it may be kept."""
    found = asset(name)
    return Response(
        found.body,
        media_type=found.media_type,
        headers={
            "Cache-Control": "private, max-age=31536000, immutable",
            "X-Content-Type-Options": "nosniff",
        },
    )
