"""The desk's pages and their files, with the headers that keep them to themselves."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b, sha256
from pathlib import Path
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ... import templates
from ..context import RequestContext, request_context
from ..roles import MAY, PREFS, PRESENCE
from ..times import Times, span
from ..ways import HOME

_FOLDER = Path(templates.__file__).parent / "desk"

_HEADERS: Mapping[str, str] = {
    # Without it a page of the shop that opens the desk in a window could read and use it.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    # Not no-referrer: it makes browsers send "Origin: null" with the forms of our own pages (Fetch §3.2).
    "Referrer-Policy": "same-origin",
    "X-Robots-Tag": "noindex",
}
# What a policy may name as a host (CSP3 §2.3.1); of addresses only this one matches (§6.7.2.9).
_NAMEABLE = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9.-]*|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z][A-Za-z0-9-]*|127\.0\.0\.1)(?::[0-9]{1,5})?"
)


def headers(request: Request) -> dict[str, str]:
    """The headers of a page of the desk. Its policy names the desk's own files and paths, not the origin: the
    shop's scripts may be there too."""
    origin, base = request_context(request).origin, desk_path(request)
    if not _NAMEABLE.fullmatch(origin.host):
        script = style = below = "'self'"
    else:
        # `http:` also stands for https, which a proxy before us may speak (CSP3 §6.7.2.8).
        desk = f"{origin.scheme}://{origin.host}{base}"
        script, style, below = f"{desk}/desk.js", f"{desk}/desk.css", f"{desk} {desk}/"
    policy = (
        f"default-src 'none'; script-src {script}; style-src {style}; connect-src {below}; "
        f"img-src data: {below}; frame-src {below}; form-action {below}; frame-ancestors 'none'; "
        "base-uri 'none'"
    )
    return {"Content-Security-Policy": policy, **_HEADERS}


# In this order, after desk.js, in which they are served: a policy that names one file lets no other in.
_PARTS = ("canned", "talk", "cobrowsing", "notify", "keys", "side", "presence", "start")
MEDIA_TYPES = {"desk.css": "text/css; charset=utf-8", "desk.js": "text/javascript; charset=utf-8"}


def size(count: int) -> str:
    """A number of bytes as people read it."""
    return (
        f"{count} bytes"
        if count < 1000
        else f"{count / 1000:.0f} KB"
        if count < 1e6
        else f"{count / 1e6:.1f} MB"
    )


_env = Environment(
    loader=FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    auto_reload=False,
    trim_blocks=True,
    lstrip_blocks=True,
)
_env.filters["span"] = span
_env.filters["bytes"] = size


def stream_key(csrf: str) -> str:
    """What proves a stream to be a desk page's own. A stream cannot send the token in a header, and the token
    itself belongs in no address, which others log."""
    return blake2b(csrf.encode(), digest_size=16, person=b"desk stream").hexdigest()


_env.filters["stream_key"] = stream_key


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
    if name == "desk.js":
        body = b"\n".join([body, *((_FOLDER / "js" / f"{part}.js").read_bytes() for part in _PARTS)])
    return Asset(body, sha256(body).hexdigest()[:16], MEDIA_TYPES[name])


def language_name(tag: str) -> str:
    """A language's name in English; the tag itself if there is no such language."""
    try:
        return Locale(tag).get_display_name("en") or tag
    except (UnknownLocaleError, ValueError):
        return tag


_env.filters["language_name"] = language_name


def desk_path(request: Request) -> str:
    """The path of the desk as browsers see it, without a slash at its end."""
    return f"{request.scope['root_path']}/desk"


def times(at: RequestContext) -> Times:
    """The clock of a page: the site's time zone, and now."""
    return Times(ZoneInfo(at.site.settings.time_zone), at.service.clock.now())


def _nothing(name: str) -> bool:
    return False


def page(request: Request, template: str, status: int = 200, **values: object) -> Response:
    """A page of the desk from `templates/desk/`."""
    at = request_context(request)
    text = _env.get_template(template).render(
        base=desk_path(request),
        site=at.chosen or "clew",
        sites=len(at.service.sites) > 1 and at.way is not None,
        home=HOME,
        calls_back=at.chosen is not None and at.site.settings.callback is not None,
        clock=times(at),
        css=asset("desk.css").version,
        js=asset("desk.js").version,
        may=request.scope.get(MAY, _nothing),
        presence=request.scope.get(PRESENCE, ""),
        prefs=request.scope.get(PREFS),
        **values,
    )
    return HTMLResponse(text.encode("utf-8", "replace"), status, headers(request))


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
