"""`POST forget`: the shop's server has a person forgotten."""

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..context import RequestContext
from ..guard import NO_STORE, Refused, json_body
from . import schemas
from .operation import Operation


class ForgetBody(BaseModel):
    """The body: a visitor by its id or the value of its cookie, or the hash of an e-mail address."""

    model_config = ConfigDict(extra="forbid")

    visitor: str | None = Field(None, pattern=r"^[A-Za-z0-9_-]{1,4096}$")
    email_hash: str | None = Field(None, pattern=r"^[0-9A-Fa-f]{64}$")
    dry_run: bool = False


async def forget(request: Request, at: RequestContext) -> Response:
    """200 with the receipt: what went, what stayed, and why."""
    at.take("exports")
    body = await json_body(request, ForgetBody)
    if (body.visitor is None) == (body.email_hash is None):
        raise Refused(422, "name either `visitor` or `email_hash`")
    known = None if body.visitor is None else at.site.cookie.open(body.visitor)
    receipt = await at.service.forgetter.forget(
        at.site.name,
        visitor=body.visitor if known is None else known.visitor,
        email=None if body.email_hash is None else body.email_hash.lower(),
        dry=body.dry_run,
    )
    return JSONResponse(receipt.to_json(), headers=NO_STORE)


operations = [
    Operation(
        "POST",
        "/forget",
        "forget_person",
        "Delete what names a person: a visitor, or the hash of an e-mail address. The answer is the receipt.",
        forget,
        {200: schemas.Receipt},
        scope="forget",
        body=ForgetBody,
        errors=(408, 413, 415, 422),
    )
]
