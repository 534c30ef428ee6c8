"""The form without JavaScript: a visitor's question, with the mail address for the answer."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import cache, wraps
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from ... import templates
from ...service.asking import Question
from ...service.conversations import BlockedError, MessageError
from ...service.limits import LimitedError
from ...stores.errors import STORE_FAILURES
from ..context import RequestContext, request_context
from ..guard import NO_STORE, Endpoint, Refused, api, form_body, json_body, over
from ..visitor import known_writer, writer

MAIL_LENGTH = 254
_FOLDER = Path(templates.__file__).parent / "visitor"
_STYLE = "visitor.css"
_env = Environment(
    loader=FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
Handler = Callable[[Request, RequestContext], Awaitable[Response]]


@cache
def _style(color: str) -> tuple[bytes, str]:
    """The style sheet with a button in the site's colour, and a short text that changes with it."""
    rule = f"\nbutton {{ background: {color}; color: {_ink(color)}; }}\n"
    body = (_FOLDER / _STYLE).read_bytes() + rule.encode("ascii")
    return body, sha256(body).hexdigest()[:16]


def _ink(color: str) -> str:
    """Black or white text on `#rrggbb`, as in the chat (templates/widget/theme.js; WCAG 2.2, contrast)."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "#ffffff" if 1.05 / (light + 0.05) >= 4.5 else "#000000"


def language_of(request: Request, at: RequestContext) -> str:
    """The language of a page: that of the address (`?lang=`), else the browser's, else the site's."""
    accepted = request.headers.get("accept-language", "")[:200]
    return templates.language(request.query_params.get("lang", "")[:20], accepted, at.site.settings.language)


def shown(
    request: Request,
    at: RequestContext,
    template: str,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: object,
) -> Response:
    """A page for visitors from `templates/visitor/`. Nothing on it loads or sends anything elsewhere."""
    language = language_of(request, at)
    root = request.scope["root_path"]
    found = templates.texts_of(language)
    text = _env.get_template(template).render(
        t=found.all,
        language=language,
        direction=found.direction,
        root=root,
        css=_style(at.site.settings.widget.color)[1],
        calls=at.site.settings.callback is not None,
        shop=at.origin.host,
        query=f"?lang={language}" if "lang" in request.query_params else "",
        **values,
    )
    policy = (
        "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'"
    )
    own = {
        **NO_STORE,
        "Content-Security-Policy": policy,
        "Content-Language": language,
        "Referrer-Policy": "same-origin",
        "X-Frame-Options": "DENY",
        "X-Robots-Tag": "noindex",
        "Vary": "Accept-Language",
    }
    return HTMLResponse(text.encode("utf-8", "replace"), status, {**own, **(headers or {})})


def for_visitor(template: str) -> Callable[[Handler], Endpoint]:
    """A form for visitors: what goes wrong is said on its page, in the visitor's language."""

    def decorated(handler: Handler) -> Endpoint:
        @wraps(handler)
        async def endpoint(request: Request) -> Response:
            at = request_context(request)
            try:
                return await handler(request, at)
            except LimitedError as limited:
                refused, key = over(limited), "too_often"
            except BlockedError as error:
                refused, key = Refused(403, str(error)), "blocked"
            except Refused as error:
                refused, key = error, "not_now"
            except STORE_FAILURES as error:
                at.service.events.failed(error, site=at.site.name, where=request.url.path)
                refused, key = Refused(503, "", wait=2), "not_now"
            return shown(request, at, template, refused.status, refused.headers, **_empty(problem=key))

        return endpoint

    return decorated


def _empty(**values: object) -> dict[str, object]:
    given: dict[str, object] = {"problem": "", "wrong": "", "done": "", "question": "", "mail": ""}
    return {**given, "client_id": secrets.token_urlsafe(16), "most": 4000, **values}


@for_visitor("ask.html")
async def form(request: Request, at: RequestContext) -> Response:
    """The form."""
    at.take("reads")
    return _form(request, at)


def _form(
    request: Request,
    at: RequestContext,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    given: Mapping[str, object] | None = None,
) -> Response:
    values = _empty(most=at.site.settings.chat.message_length, **(given or {}))
    return shown(request, at, "ask.html", status, headers, **values)


@for_visitor("ask.html")
async def ask(request: Request, at: RequestContext) -> Response:
    """A question."""
    fields = await form_body(request)
    text, mail = fields.get("question", "").strip(), fields.get("mail", "").strip()[: MAIL_LENGTH + 1]
    given: dict[str, object] = {"question": text[:20_000], "mail": mail}
    client_id = fields.get("client_id", "")
    if not (8 <= len(client_id) <= 64 and client_id.isascii()):
        client_id = secrets.token_urlsafe(16)
    known, cookie, _ = await writer(request, at, by_form=True)
    question = Question(text, mail, client_id, language_of(request, at), fields.get("website", "").strip())
    try:
        sent_to = await at.service.asking.ask(at.site, known, question, at.origin.client)
    except BlockedError:
        return _form(request, at, 403, None, {"problem": "blocked", **given})
    except MessageError:
        return _form(request, at, 422, None, {"wrong": "question", **given})
    except ValueError:
        return _form(request, at, 422, None, {"wrong": "mail", **given})
    return _form(request, at, 200, cookie, {"done": sent_to})


class ReplyBody(BaseModel):
    """The body of `POST reply-to`."""

    mail: str = Field(max_length=MAIL_LENGTH)


@api
async def reply_to(request: Request, at: RequestContext) -> Response:
    """The widget's: the answers of the visitor's conversation go to a mail address too."""
    known = known_writer(request, at)
    body = await json_body(request, ReplyBody)
    try:
        found = await at.service.asking.reply_to(at.site, known, body.mail, at.origin.client)
    except ValueError as error:
        raise Refused(422, f"mail: {error}") from None
    if found is None:
        raise Refused(409, "this visitor has no open conversation: send a message first")
    return Response(status_code=204, headers=NO_STORE)


async def style(request: Request) -> Response:
    """The style sheet of the forms."""
    body, version = _style(request_context(request).site.settings.widget.color)
    kept = "max-age=31536000, immutable" if request.query_params.get("v") == version else "max-age=3600"
    headers = {"Cache-Control": f"public, {kept}", "X-Content-Type-Options": "nosniff"}
    return Response(body, media_type="text/css; charset=utf-8", headers=headers)


routes: list[BaseRoute] = [
    Route("/ask", form, methods=["GET"]),
    Route("/ask", ask, methods=["POST"]),
    Route("/reply-to", reply_to, methods=["POST"]),
    Route(f"/{_STYLE}", style, methods=["GET"]),
]
