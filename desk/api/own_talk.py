"""The visitor's own conversation: its rating, its transcript, and having it deleted."""

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ...service.own_talk import RATING_LENGTH
from ..context import RequestContext
from ..guard import NO_STORE, Refused, api, json_body
from ..visitor import known_writer

NONE = "there is no conversation yet"
EAST, WEST = 14 * 60, -12 * 60  # minutes: the time zones that there are


class RatingBody(BaseModel):
    """The body of `POST rating`."""

    rating: int = Field(ge=1, le=5, strict=True)
    text: str = Field("", max_length=RATING_LENGTH)


class ForgetTalkBody(BaseModel):
    """The body of `POST forget-talk`: JSON, which no other site's page can send."""


@api
async def _rate(request: Request, at: RequestContext) -> Response:
    known = known_writer(request, at)
    body = await json_body(request, RatingBody)
    own = at.service.own_talk
    if await own.rate(at.site, known.visitor, body.rating, body.text, at.origin.client) is None:
        raise Refused(404, NONE)
    return Response(status_code=204, headers=NO_STORE)


@api
async def _transcript(request: Request, at: RequestContext) -> Response:
    known = known_writer(request, at)
    try:
        offset = min(EAST, max(WEST, int(request.query_params.get("offset", "0")[:5])))
    except ValueError:
        raise Refused(400, "offset: minutes east of UTC, such as 120") from None
    text = await at.service.own_talk.transcript(
        at.site, known.visitor, offset, at.origin.client, at.origin.host
    )
    if text is None:
        raise Refused(404, NONE)
    headers = {
        **NO_STORE,
        "content-type": "text/plain; charset=utf-8",
        "content-disposition": 'attachment; filename="chat.txt"',
        "x-content-type-options": "nosniff",
    }
    # The mark of the encoding is for programs that would take it for another.
    return Response("\ufeff" + text, headers=headers)


@api
async def _forget(request: Request, at: RequestContext) -> Response:
    known = known_writer(request, at)
    await json_body(request, ForgetTalkBody)
    deleted = await at.service.own_talk.forget(at.site, known.visitor, at.origin.client)
    return JSONResponse({"deleted": deleted}, headers=NO_STORE)


routes: list[BaseRoute] = [
    Route("/rating", _rate, methods=["POST"]),
    Route("/transcript", _transcript, methods=["GET"]),
    Route("/forget-talk", _forget, methods=["POST"]),
]
