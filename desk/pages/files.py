"""Files and pictures of conversations at the desk."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Message

from ...chat.files import FileRefusedError
from ...stores.ledger.conversations import HeldError
from .. import files
from ..context import RequestContext
from ..files import copied, delivered, most_bytes, temporary, too_large, too_late
from ..guard import NO_STORE, Refused, require_same_origin, require_type
from .auth import (
    AgentContext,
    agent_context,
    anyone,
    must_set_up,
    require_own_stream,
    require_role,
    same,
    see_other,
    signed_in,
)
from .handing_on import talk_of

FORM_BYTES: Final = 16 * 1024
"""Beside the file."""


@signed_in
async def send(request: Request, context: AgentContext) -> Response:
    """Send a file into a conversation; it is then assigned to the agent. The desk's script asks for JSON; the
    form without it is led back to the conversation."""
    at = context.at
    require_same_origin(request)
    require_type(request, "multipart/form-data")
    found = await talk_of(request, context)
    scripted = request.headers.get("accept", "") == "application/json"
    try:
        with at.hold("file_uploads"):
            await _take(request, context, found.id)
    except (FileRefusedError, HeldError) as refused:
        status, why = (
            (422, f"{refused}") if isinstance(refused, FileRefusedError) else (409, f"{refused}: take over")
        )
        if scripted:
            return JSONResponse({"error": f"Not sent: {why}."}, status, headers=NO_STORE)
        raise Refused(status, f"Not sent: {why}.") from None
    except Refused as refused:
        if scripted:
            return JSONResponse({"error": f"Not sent: {refused.text}."}, refused.status, headers=NO_STORE)
        raise
    if scripted:
        return JSONResponse({}, 201, headers=NO_STORE)
    return see_other(request, f"/conversations/{found.id}#end")


async def _take(request: Request, context: AgentContext, conversation: str) -> None:
    at = context.at
    bounded = Request(request.scope, _bounded(request.receive, at))
    try:
        async with bounded.form(max_files=1, max_fields=5) as form:
            if not same(str(form.get("csrf", "")), context.session.csrf):
                raise Refused(403, "This form is from another session: reload the page and try again.")
            given, client_id = form.get("file"), str(form.get("client_id", ""))[:64] or None
            if not isinstance(given, UploadFile) or not given.filename:
                raise Refused(422, "Not sent: no file was chosen.")
            with temporary() as file:
                upload = await copied(given.file, at, file, given.filename)
                await at.service.files.agent_sends(
                    at.site, conversation, upload, agent=context.session.agent, client_id=client_id
                )
    except HTTPException as error:
        raise Refused(400, f"the form cannot be read: {error.detail}") from None


def _bounded(
    receive: Callable[[], Awaitable[Message]], at: RequestContext
) -> Callable[[], Awaitable[Message]]:
    left = most_bytes(at) + FORM_BYTES
    until = asyncio.get_running_loop().time() + files.UPLOAD_SECONDS

    async def bounded() -> Message:
        nonlocal left
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            raise too_late() from None
        left -= len(message.get("body", b""))
        if left < 0:
            raise too_large(at)
        return message

    return bounded


@anyone
async def show(request: Request, at: RequestContext) -> Response:
    """A file of a conversation of the site. Where a page shows it, `?key=` proves that it is the desk's."""
    context = await agent_context(request, at)
    if context is None or must_set_up(context):
        return Response(status_code=404, headers=NO_STORE)
    require_own_stream(request, context.session.csrf)
    require_role(context)
    found = await at.service.ledger.files.find(at.site.name, request.path_params["id"])
    if found is None:
        raise Refused(404, "There is no such file at this site.")
    return delivered(at, found[0])


routes: list[BaseRoute] = [
    Route("/desk/conversations/{id}/files", send, methods=["POST"]),
    Route("/desk/files/{id}", show, methods=["GET"]),
]
