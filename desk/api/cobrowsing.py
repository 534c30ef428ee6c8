"""The visitor's side of co-browsing: whether it shows its page, and the copy of that page."""

from typing import Final, Literal

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ...service.cobrowsing import PageRefusedError
from ...settings.model import Language
from ..context import RequestContext
from ..guard import NO_STORE, Refused, api, json_body
from ..visitor import known_writer

_URL: Final = 2000


class AnswerBody(BaseModel):
    """The body of `POST cobrowsing`."""

    state: Literal["on", "off"]
    client_id: str = Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")
    language: Language | None = None


class PageBody(BaseModel):
    """The body of `POST cobrowsing/page`."""

    url: str = Field(max_length=_URL)
    html: str


@api
async def _state(request: Request, at: RequestContext) -> Response:
    visitor = known_writer(request, at).visitor
    at.take("reads")
    url = request.query_params.get("url", "")[:_URL]
    state, page = await at.service.cobrowsing.may_show(at.site, visitor, url, at.origin.host)
    mask = list(at.site.settings.cobrowsing.mask) if page else []
    return JSONResponse({"state": state, "page": page, "mask": mask}, headers=NO_STORE)


@api
async def _answer(request: Request, at: RequestContext) -> Response:
    known = known_writer(request, at)
    body = await json_body(request, AnswerBody)
    try:
        await at.service.cobrowsing.answer(
            at.site, known, body.state == "on", body.client_id, body.language, at.origin.client
        )
    except PageRefusedError as refused:
        raise Refused(refused.status, str(refused)) from None
    return Response(status_code=204, headers=NO_STORE)


@api
async def _show(request: Request, at: RequestContext) -> Response:
    visitor = known_writer(request, at).visitor
    settings = at.site.settings.cobrowsing
    if not settings.enabled:
        raise Refused(409, "co-browsing is off at this site")
    # Held, because a page is much longer than other bodies, and waits for its turn to be made harmless.
    with at.hold("file_uploads"):
        # JSON writes some letters as two or six.
        body = await json_body(request, PageBody, settings.kilobytes * 1024 * 2)
        if len(body.html) > settings.kilobytes * 1024:
            raise Refused(413, f"the page is longer than {settings.kilobytes} KB")
        try:
            await at.service.cobrowsing.show(
                at.site, visitor, body.url, body.html, at.origin.client, at.origin.host
            )
        except PageRefusedError as refused:
            raise Refused(refused.status, str(refused)) from None
    return Response(status_code=204, headers=NO_STORE)


routes: list[BaseRoute] = [
    Route("/cobrowsing", _state, methods=["GET"]),
    Route("/cobrowsing", _answer, methods=["POST"]),
    Route("/cobrowsing/page", _show, methods=["POST"]),
]
