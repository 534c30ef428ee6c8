"""The visitor's side of files and pictures: what the widget sends and shows."""

from collections.abc import Mapping

from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ...chat.files import FileRefusedError
from ...orders.wording import field_problem
from ...service.conversations import VisitorMessage
from ...settings.model import Language
from ..context import RequestContext
from ..files import delivered, received, spelled_name, temporary
from ..guard import NO_STORE, Refused, api, require_same_origin, require_type
from ..visitor import known_writer, writer

_STATUS: Mapping[str, int] = {
    "size": 413,
    "type": 415,
    "lies": 415,
    "many": 409,
    "full": 507,
    "unscanned": 503,
}


class FileQuery(BaseModel):
    """The query of `POST files`; the same as a message has."""

    client_id: str = Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")
    language: Language | None = None
    rule: str | None = Field(None, max_length=64)


@api
async def _send(request: Request, at: RequestContext) -> Response:
    require_same_origin(request)
    require_type(request, "application/octet-stream")
    known, cookie, _ = await writer(request, at)
    query = _query(request)
    name = spelled_name(request.headers.get("x-clew-name", ""))
    said = VisitorMessage("", query.client_id, query.language, query.rule)
    with at.hold("file_uploads"), temporary() as file:
        upload = await received(request, at, file, name)
        try:
            added = await at.service.files.visitor_sends(at.site, known, said, upload, at.origin.client)
        except FileRefusedError as refused:
            raise Refused(
                _STATUS.get(refused.reason, 422), str(refused), more={"reason": refused.reason}
            ) from None
    data = {"id": added.message.id, "at": added.message.at, "text": added.message.text, **added.message.more}
    return JSONResponse(data, 201 if added.created else 200, {**NO_STORE, **cookie})


def _query(request: Request) -> FileQuery:
    given = {
        name: request.query_params[name] for name in FileQuery.model_fields if name in request.query_params
    }
    try:
        return FileQuery.model_validate(given)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        raise Refused(422, "; ".join(field_problem(p) for p in problems[:5])) from None


@api
async def _show(request: Request, at: RequestContext) -> Response:
    visitor = known_writer(request, at).visitor
    at.take("reads")
    found = await at.service.ledger.files.find(at.site.name, request.path_params["id"], visitor)
    if found is None:
        raise Refused(404, "there is no such file in this visitor's conversations")
    return delivered(at, found[0])


routes: list[BaseRoute] = [
    Route("/files", _send, methods=["POST"]),
    Route("/files/{id}", _show, methods=["GET"]),
]
