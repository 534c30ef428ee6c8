"""The canned answers, for those who edit them: each agent its own, leads those of the site."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...rules.placeholders import PLACEHOLDERS
from ...service.canned_answers import checked, first_answers
from ...settings.model import LANGUAGES
from ...stores.ledger.canned import SHORTCUT_LENGTH, SITE, TEXT_LENGTH, Canned, CannedError
from ..guard import Endpoint, Refused
from .auth import AgentContext, agent_form, see_other, signed_in
from .live import page_mark
from .render import page

_SAID = {"saved": "The answer is saved.", "removed": "The answer is removed."}


async def answers_of(context: AgentContext) -> tuple[Canned, ...]:
    """The agent's and the site's answers; a new site is given its first ones."""
    at, books = context.at, context.at.service.ledger.canned
    found = await books.of(at.site.name, context.session.agent)
    if not any(one.agent == SITE for one in found) and not await books.seeded(at.site.name):
        await books.seed(at.site.name, first_answers(), at.service.clock.now())
        found = await books.of(at.site.name, context.session.agent)
    return found


async def _page(
    request: Request, context: AgentContext, status: int = 200, problem: str = "", **form: str
) -> Response:
    at, query = context.at, request.query_params
    found = await answers_of(context)
    own = [one for one in found if one.agent != SITE]
    edited = next((one for one in found if str(one.id) == query.get("edit", "")), None)
    language = query.get("language", "")
    if language not in LANGUAGES:
        language = at.site.settings.language
    if edited is not None and not form:
        form = {"row": str(edited.id), "shortcut": edited.shortcut, "text": edited.texts.get(language, "")}
    return page(
        request,
        "canned.html",
        status,
        mark=await page_mark(at),
        current=None,
        agent=context.session.agent,
        csrf=context.session.csrf,
        done=_SAID.get(query.get("done", ""), ""),
        problem=problem,
        groups=[
            ("own", "Your own", own),
            ("site", "Of the site", [one for one in found if one.agent == SITE]),
        ],
        languages=LANGUAGES,
        placeholders=PLACEHOLDERS,
        of_site=form.get("of", "") == "site" or (edited is not None and edited.agent == SITE),
        form={"row": "", "shortcut": "", "text": "", "language": language, **form},
        shortcut_length=SHORTCUT_LENGTH,
        text_length=TEXT_LENGTH,
    )


@signed_in
async def listed(request: Request, context: AgentContext) -> Response:
    """All answers, and a form for one: `?edit=` is its number, `?language=` the language of its text."""
    return await _page(request, context)


def _saving(owner: Callable[[AgentContext], str], of: str) -> Endpoint:
    @signed_in
    async def save(request: Request, context: AgentContext) -> Response:
        fields, at = await agent_form(request, context), context.at
        row, language = fields.get("row", ""), fields.get("language", "")
        if language not in LANGUAGES or not (row == "" or _is_number(row)):
            raise Refused(422, "language: one of those that the form offers")
        try:
            shortcut, text = checked(fields.get("shortcut", ""), fields.get("text", ""))
            number, now = int(row) if row else None, at.service.clock.now()
            books = at.service.ledger.canned
            await books.save(at.site.name, owner(context), shortcut, language, text, now, number)
        except CannedError as error:
            kept = {name: fields.get(name, "") for name in ("row", "shortcut", "text", "language")}
            return await _page(request, context, 422, f"Not saved: {error}.", of=of, **kept)
        return see_other(request, "/canned?done=saved")

    return save


def _removing(owner: Callable[[AgentContext], str]) -> Endpoint:
    @signed_in
    async def remove(request: Request, context: AgentContext) -> Response:
        fields, at = await agent_form(request, context), context.at
        row, language = fields.get("row", ""), fields.get("language", "")
        if _is_number(row):
            await at.service.ledger.canned.remove(at.site.name, owner(context), int(row), language or None)
        return see_other(request, "/canned?done=removed")

    return remove


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def _own(context: AgentContext) -> str:
    return context.session.agent


def _site(context: AgentContext) -> str:
    return SITE


routes: list[BaseRoute] = [
    Route("/desk/canned", listed, methods=["GET"]),
    Route("/desk/canned", _saving(_own, "own"), methods=["POST"]),
    Route("/desk/canned/remove", _removing(_own), methods=["POST"]),
    Route("/desk/canned/site", _saving(_site, "site"), methods=["POST"]),
    Route("/desk/canned/site/remove", _removing(_site), methods=["POST"]),
]
