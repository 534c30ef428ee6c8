"""What the loader and the widget ask of the rules: `decide`, and what became of an invite: `events`."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...referral.cookie import Known, new_visitor_id
from ...referral.visitor import Invited, MessagesRead
from ...service.decisions import Ask
from ...service.facts import PageNow
from ...service.limits import LimitedError, network_of
from ..context import RequestContext
from ..guard import NO_STORE, api, json_body

URL_LENGTH = 2048
TITLE_LENGTH = 300
LANGUAGE_LENGTH = 64

Short = Annotated[str, StringConstraints(max_length=8192)]


class DecideBody(BaseModel):
    """The body of `decide`; what is missing is taken from the request's own headers or left unknown."""

    model_config = ConfigDict(extra="ignore")

    view: str = Field("", pattern=r"^([A-Za-z0-9_-]{8,64})?$")
    url: Short = ""
    title: Short = ""
    referrer: Short = ""
    language: str = Field("", max_length=LANGUAGE_LENGTH)
    seconds: int = Field(0, ge=0, le=7 * 86400)


class EventBody(BaseModel):
    """The body of `events`. `rule` names the invite; `message` is the newest message that was read."""

    model_config = ConfigDict(extra="ignore")

    kind: Literal["seen", "dismissed", "accepted", "read"]
    rule: str = Field("", max_length=64)
    message: int = Field(0, ge=0, lt=2**53)


@api
async def decide_endpoint(request: Request, at: RequestContext) -> Response:
    """`POST decide`: what to show on this page, and when to ask again."""
    body = await json_body(request, DecideBody)
    url = body.url or request.headers.get("referer", "")
    page = PageNow(
        view=body.view or new_visitor_id(),
        url=_page_url(url),
        title=body.title[:TITLE_LENGTH],
        language=body.language
        or request.headers.get("accept-language", "").partition(",")[0][:LANGUAGE_LENGTH],
        seconds=body.seconds,
    )
    if at.origin.scheme == "http" and request.headers.get("origin", "").startswith("https://"):
        # What ends the TLS says nothing of it, or is not believed.
        peer = request.client.host if request.client else None
        at.service.events.proxy_untrusted(
            at.site.name, network_of(peer) or "", "X-Forwarded-Proto", by="Origin"
        )
    ask = Ask(page, body.referrer, at.origin)
    began, action = at.service.clock.monotonic(), "failed"
    try:
        at.take("decides")
        answer = await at.service.decisions.decide(at.site, known_visitor(request, at), ask)
        action = str(answer.body["action"])
    except LimitedError as limited:
        answer, action = at.service.decisions.plain_answer(at.site, page, limited.wait), "limited"
    finally:
        at.service.events.took("decide", at.site.name, action, at.service.clock.monotonic() - began)
    response = JSONResponse(answer.body, headers=NO_STORE)
    for cookie in answer.set_cookies:
        response.headers.append("set-cookie", cookie.decode("latin-1"))
    return response


@api
async def events_endpoint(request: Request, at: RequestContext) -> Response:
    """`POST events`: an invite was seen, dismissed or accepted, or messages were read. Unknown rules and
    visitors change nothing."""
    body = await json_body(request, EventBody)
    at.take("events")
    known = known_visitor(request, at)
    if body.kind == "read":
        if known is not None:
            read = MessagesRead(body.message)
            await at.service.visitors.remember(at.site, known, [read], at.origin.client)
    elif known is not None and any(r.name == body.rule for r in at.site.settings.rules):
        await at.service.visitors.remember(at.site, known, [Invited(body.rule, body.kind)], at.origin.client)
        at.service.events.emit(
            "invite", site=at.site.name, visitor=known.visitor, rule=body.rule, what=body.kind
        )
    return Response(status_code=204, headers=NO_STORE)


def known_visitor(request: Request, at: RequestContext) -> Known | None:
    """Who asks, by the cookie."""
    return at.site.cookie.read([value for name, value in request.scope["headers"] if name == b"cookie"])


def _page_url(url: str) -> str:
    """The address for trail and facts: bounded, and only an address of the web."""
    url = url[:URL_LENGTH]
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in ("http", "https") else ""


routes = [
    Route("/decide", decide_endpoint, methods=["POST"]),
    Route("/events", events_endpoint, methods=["POST"]),
]
