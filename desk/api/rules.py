"""`rules`: the rules of the site, read and set by programs."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...orders.wording import field_problem
from ...service.rule_editing import Edition
from ...settings.load import SettingsErrors, format_problem
from ...settings.model import Site
from ...settings.rule_text import LONGEST
from ...stores.ledger.export_rows import timestamp
from ...stores.ledger.rule_revisions import NOTE_LENGTH, StaleError
from ..context import RequestContext
from ..guard import NO_STORE, Refused, read_body
from . import schemas
from .operation import Operation

BODY_LIMIT = 2 * LONGEST
PROBLEMS = 20
"""Problems that an answer names."""


class NewText(BaseModel):
    """Rules to set: as text in TOML, or without `text` those of the settings. `base` is the revision that
    they were made from, 0 if there was none; without it whichever is newest."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    text: str | None = None
    base: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    note: Annotated[str, Field(max_length=NOTE_LENGTH)] = ""
    by: Annotated[str, Field(min_length=1, max_length=64)] = "api"


async def shown(request: Request, at: RequestContext) -> Response:
    """The newest rules, and which revision is in force in this process."""
    at.take("exports")
    found = await at.service.rule_editing.current(_site(at))
    return JSONResponse(_shown(found, at).model_dump(), headers=NO_STORE)


async def changed(request: Request, at: RequestContext) -> Response:
    """Raises Refused: 409 if others were set meanwhile, 422 with what is wrong, by line."""
    at.take("exports")
    try:
        body = NewText.model_validate_json(await read_body(request, BODY_LIMIT))
    except ValidationError as error:
        raise Refused(422, field_problem(error.errors()[0])) from None
    editing, site, now = at.service.rule_editing, _site(at), at.service.clock.now()
    try:
        if body.text is None:
            await editing.settings_again(site, body.by, body.note, now, body.base)
        else:
            await editing.set(site, body.text, body.by, body.note, now, body.base)
    except SettingsErrors as error:
        raise Refused(422, "\n".join(map(format_problem, error.problems[:PROBLEMS]))) from None
    except StaleError as error:
        raise Refused(409, str(error)) from None
    await at.service.rule_sets.begin()
    return JSONResponse(_shown(await editing.current(site), at).model_dump(), headers=NO_STORE)


def _site(at: RequestContext) -> Site:
    found = at.service.sites.settings_of(at.site.name)
    assert found is not None
    return found


def _shown(found: Edition, at: RequestContext) -> schemas.Rules:
    head = found.head
    return schemas.Rules(
        revision=found.number,
        in_force=at.service.sites[at.site.name].revision,
        settings=found.settings,
        text=found.text,
        at=None if head is None else timestamp(head.at),
        by=None if head is None else head.by,
        note="" if head is None else head.note,
    )


operations = [
    Operation(
        "GET",
        "/rules",
        "get_rules",
        "The rules of the site, as text.",
        shown,
        {200: schemas.Rules},
        scope="rules:read",
    ),
    Operation(
        "POST",
        "/rules",
        "set_rules",
        "Set the rules of the site. The same rules again change nothing.",
        changed,
        {200: schemas.Rules},
        scope="rules:write",
        body=NewText,
        errors=(408, 409, 413, 422),
    ),
]
