"""What rules would decide on a page of the shop, line by line, before they are set."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlunsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...referral.masking import Masking
from ...rules.evaluation import BranchExplained, Explained
from ...rules.ruleset import Explanation
from ...service.facts import PageNow
from ...service.rule_checks import checked_rules
from ...service.rule_words import BRANCHES, outcome, shown_fact
from ...service.shop_pages import NoShopPageError, shop_origin, shop_page
from ...service.site import SiteRuntime
from ...settings.load import Problem, SettingsErrors
from ...settings.model import LANGUAGES
from ...stores.ledger.rule_revisions import NOTE_LENGTH, Stored
from .auth import AgentContext, signed_in
from .owner import owner_page
from .rule_look import allow_style, colours_of, looks_of, schemes_of
from .rule_requests import form_of, number_of, site_of

ID_LENGTH: Final = 26
MOST_RULES: Final = 200
"""Rules that are shown with their lines; those that come first."""


@dataclass(frozen=True, slots=True)
class LineShown:
    """A line of a rule: how deep it is in groups, whether it is true, its text, the values that it asked for,
    and what was not known."""

    depth: int
    holds: bool
    text: str
    facts: Sequence[str] = ()
    missing: Sequence[str] = ()
    error: str = ""


def lines_of(lines: Sequence[Explained], masking: Masking, depth: int = 0) -> list[LineShown]:
    """The lines of a rule, each group before what is in it."""
    found: list[LineShown] = []
    for line in lines:
        if isinstance(line, BranchExplained):
            found.append(LineShown(depth, line.holds, BRANCHES[line.kind]))
            found += lines_of(line.parts, masking, depth + 1)
            continue
        known = [shown_fact(k, v, masking) for k, v in line.facts.items() if k not in line.missing]
        found.append(LineShown(depth, line.holds, line.line, known, [*line.missing], line.error or ""))
    return found


@signed_in
async def preview(request: Request, context: AgentContext) -> Response:
    """The form, for the rules that are newest; with an address what they decide there."""
    edition = await context.at.service.rule_editing.current(site_of(context))
    query = request.query_params
    typed = {name: query.get(name, "")[:2000] for name in ("url", "visitor", "seconds", "language")}
    return await _preview(request, context, edition.text, edition.number, "", typed)


@signed_in
async def tried(request: Request, context: AgentContext) -> Response:
    """The same for rules that are not in force."""
    form = await form_of(request, context)
    written = form.get("text", "").replace("\r\n", "\n")
    typed = {name: form.get(name, "")[:2000] for name in ("url", "visitor", "seconds", "language")}
    return await _preview(
        request, context, written, number_of(form.get("base", "")), form.get("note", ""), typed
    )


async def shown(request: Request, context: AgentContext, written: str, base: int, note: str) -> Response:
    """A draft, before an address was typed. Raises SettingsErrors."""
    await asyncio.to_thread(checked_rules, written, site_of(context))
    return await _preview(request, context, written, base, note, {})


async def _preview(
    request: Request, context: AgentContext, written: str, base: int, note: str, typed: Mapping[str, str]
) -> Response:
    problems: Sequence[Problem] = ()
    problem, status, found, runtime = "", 200, None, None
    language = typed.get("language", "")
    if language not in LANGUAGES:
        language = context.at.site.settings.language
    if typed.get("url"):
        try:
            runtime, found = await _explained(context, written, typed, language)
        except SettingsErrors as error:
            problems, status = error.problems, 422
        except (NoShopPageError, LookupError) as error:
            problem, status = f"{error}.", 422
    rule = found.decision.rule if found is not None else None
    settings = context.at.site.settings
    style = colours_of(settings.widget)
    page = await owner_page(
        request,
        context,
        "rule_preview.html",
        status,
        written=written,
        revision=base,
        note=note,
        note_length=NOTE_LENGTH,
        url=typed.get("url", ""),
        visitor=typed.get("visitor", ""),
        seconds=typed.get("seconds", ""),
        language=language,
        languages=LANGUAGES,
        problems=problems,
        problem=problem,
        found=found,
        rule=rule,
        action=runtime.answers.action(rule) if runtime is not None else "",
        looks=looks_of(settings, rule, language) if rule is not None and rule.invites else [],
        schemes=schemes_of(settings.widget),
        style=style,
        explained=[]
        if found is None or runtime is None
        else [(one, outcome(one), lines_of(one.lines, runtime.masking)) for one in found.rules[:MOST_RULES]],
        left_out=0 if found is None else max(0, len(found.rules) - MOST_RULES),
    )
    allow_style(page, style)
    return page


async def _explained(
    context: AgentContext, written: str, typed: Mapping[str, str], language: str
) -> tuple[SiteRuntime, Explanation]:
    """What the rules of a text decide. Raises SettingsErrors, NoShopPageError, LookupError."""
    at, service = context.at, context.at.service
    draft = await asyncio.to_thread(checked_rules, written, site_of(context))
    stored = Stored(at.site.name, 0, draft.new.rules, draft.new.own, "")
    runtime = await asyncio.to_thread(service.sites.build, service.sites.table, at.site.name, stored)
    page = shop_page(runtime, typed["url"], at.shop_host)
    if not page.netloc:
        here = f"{at.origin.scheme}://{at.shop_host}" if at.shop_host else None
        scheme, _, host = shop_origin(runtime, None, here).partition("://")
        page = page._replace(scheme=scheme, netloc=host)
    seconds = typed.get("seconds", "")
    shown_for = int(seconds) if seconds.isascii() and seconds.isdigit() and len(seconds) < 6 else 0
    now = PageNow("preview", urlunsplit(page), "", language, shown_for)
    visitor = await _visitor(context, typed.get("visitor", "").strip().lower())
    found = await service.decisions.explain(runtime, visitor, now)
    if found is None:
        raise LookupError(f"No visitor {visitor!r} is known here")
    return runtime, found


async def _visitor(context: AgentContext, given: str) -> str | None:
    """The id of a visitor, of which the last letters may be given. Raises LookupError."""
    if not given or len(given) >= ID_LENGTH:
        return given[:ID_LENGTH] or None
    found = await context.at.service.visits.ending(context.at.site.name, given)
    if len(found) != 1:
        many = "Several visitors end" if found else "No visitor ends"
        raise LookupError(f"{many} in {given!r}")
    return found[0]


routes: list[BaseRoute] = [
    Route("/desk/rules/preview", preview, methods=["GET"]),
    Route("/desk/rules/preview", tried, methods=["POST"]),
]
