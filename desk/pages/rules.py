"""The rules of a site, for leads and owners: looked at, changed one by one or as a text, and put back.

Whoever saves says from which revision the rules were made. If somebody else has set others meanwhile,
nothing is saved: the page shows what they changed and keeps what was typed, and can be saved once more.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...service.rule_editing import Edition, NoRevisionError, changes_of, tables_of
from ...settings.load import Problem, SettingsErrors
from ...settings.model import Rule, Site
from ...settings.rule_changes import RuleChange
from ...settings.rule_text import RuleText, inline_text
from ...stores.ledger.rule_revisions import NOTE_LENGTH, Head, StaleError
from ..guard import Refused
from .auth import AgentContext, noted, nothing_done, see_other, signed_in
from .owner import ROWS, owner_page
from .rule_form import (
    FIRST,
    TYPED,
    Field,
    FieldError,
    fields_of,
    in_short,
    known_of,
    problems_of,
    subjects_of,
    table_from,
    typed_fields,
)
from .rule_preview import shown
from .rule_requests import form_of, number_of, site_of
from .rule_trial import Draft, tried_on_visits

SHOWN: Final = 200
"""Rules on a page of the list."""

Setting = Callable[[Site, str, float], Awaitable[tuple[Head, bool]]]
_DONE: Final = {
    "saved": "The rules are set. All workers use them within seconds.",
    "same": "These rules are in force already; nothing was changed.",
}


async def saved(
    request: Request,
    context: AgentContext,
    setting: Callable[[Site, str, float], Awaitable[tuple[Head, bool]]],
) -> Response:
    """Set rules, have this process use them, and lead to the list. Raises SettingsErrors, StaleError."""
    service = context.at.service
    head, is_new = await setting(site_of(context), context.session.agent, service.clock.now())
    if is_new:
        noted(request, revision=str(head.number))
        await service.rule_sets.begin()
    else:
        nothing_done(request)
    return see_other(request, f"/rules?done={'saved' if is_new else 'same'}")


async def meanwhile(context: AgentContext, base: int) -> tuple[Edition, Sequence[RuleChange]]:
    """The newest rules, and what they change in those from which somebody began."""
    editing, site = context.at.service.rule_editing, site_of(context)
    newest = await editing.current(site)
    try:
        return newest, await changes_of(await editing.at(site, base), newest)
    except NoRevisionError:  # it was so long ago that it is not kept any more
        return newest, []


# -- the list


@signed_in
async def listed(request: Request, context: AgentContext) -> Response:
    """All rules in the order in which they are asked, and their state."""
    return await _list(request, context)


async def _list(request: Request, context: AgentContext, status: int = 200, problem: str = "") -> Response:
    at = context.at
    edition = await at.service.rule_editing.current(site_of(context))
    # A long text is read in a thread, here and below: it takes a second.
    tables = [one for one in await asyncio.to_thread(tables_of, edition.text) if isinstance(one, Mapping)]
    places = {rule.name: n for n, rule in enumerate(at.service.sites[at.site.name].rules.order)}
    tables.sort(key=lambda one: places.get(str(one.get("name")), len(places)))
    asked = request.query_params.get("from", "")
    start = min(number_of(asked) if asked else 0, max(0, len(tables) - 1)) // SHOWN * SHOWN
    return await owner_page(
        request,
        context,
        "rules.html",
        status,
        edition=edition,
        rules=[
            (one, [_line(line) for line in one.get("when", [])], in_short(one, at.site.settings.language))
            for one in tables[start : start + SHOWN]
        ],
        start=start,
        every=len(tables),
        step=SHOWN,
        refused=at.service.rule_sets.refused(at.site.name),
        in_force=at.service.sites[at.site.name].revision,
        done=_DONE.get(request.query_params.get("done", ""), ""),
        problem=problem,
    )


def _line(line: object) -> str:
    return line if isinstance(line, str) else inline_text(line)


@signed_in
async def change(request: Request, context: AgentContext) -> Response:
    """Turn a rule on or off, or give it another priority."""
    form, service = await form_of(request, context), context.at.service
    base, name = number_of(form.get("base", "")), form.get("rule", "")
    edition = await service.rule_editing.current(site_of(context))
    try:
        text = await asyncio.to_thread(RuleText.read, edition.text)
        place = next((n for n, one in enumerate(text.tables) if one.get("name") == name), None)
        if edition.number != base or place is None:
            raise Refused(409, "")
        table = dict(text.tables[place])
        match form.get("do"):
            case "on":
                table.pop("enabled", None)
            case "off":
                table["enabled"] = False
            case "higher":
                table["priority"] = table.get("priority", 0) + 1
            case "lower":
                table["priority"] = table.get("priority", 0) - 1
            case _:
                raise Refused(422, "What to do is missing: on, off, higher or lower.")
        new = await asyncio.to_thread(text.with_rule, place, table)
        return await saved(
            request,
            context,
            lambda site, by, now: service.rule_editing.set(site, new, by, form.get("note", ""), now, base),
        )
    except SettingsErrors as error:
        said = "; ".join(one.message for one in error.problems)
        return await _list(request, context, 422, f"Not saved: {said}.")
    except (Refused, StaleError) as error:
        if isinstance(error, Refused) and error.status != 409:
            raise
        newest = await service.rule_editing.current(site_of(context))
        by = newest.head.by if newest.head is not None else "Somebody"
        problem = f"Not saved: {by} has set other rules meanwhile. These are the newest ones; try again."
        return await _list(request, context, 409, problem)


# -- one rule


@signed_in
async def edit(request: Request, context: AgentContext) -> Response:
    """The form of a rule; without a name that of a new one, or of a copy of another one."""
    query = request.query_params
    name, copied = query.get("name", "")[:64], query.get("copy", "")[:64]
    edition = await context.at.service.rule_editing.current(site_of(context))
    table: Mapping[str, Any] = {"action": "invite"}
    if name or copied:
        tables = await asyncio.to_thread(tables_of, edition.text)
        found = [one for one in tables if one.get("name") == (name or copied)]
        if not found:
            raise Refused(404, "There is no rule of this name any more.")
        table = found[0] if name else {**found[0], "name": f"{copied}-copy"[:64]}
    return await _editor(request, context, fields_of(table, known_of(site_of(context))), name, edition.number)


async def _editor(
    request: Request,
    context: AgentContext,
    fields: Sequence[Field],
    name: str,
    base: int,
    status: int = 200,
    *,
    problems: Sequence[Problem] = (),
    changes: Sequence[RuleChange] | None = None,
    newest: Edition | None = None,
    note: str = "",
) -> Response:
    return await owner_page(
        request,
        context,
        "rule.html",
        status,
        first=[one for key in FIRST for one in fields if one.key == key],
        subjects=subjects_of(fields),
        name=name,
        revision=base,
        problems=problems,
        wrong=[one for one in fields if one.problems],
        changes=changes,
        newest=newest,
        note=note,
        note_length=NOTE_LENGTH,
        typed=TYPED,
    )


@signed_in
async def save(request: Request, context: AgentContext) -> Response:
    """Save a rule, remove it, or show it on a page before."""
    form, editing = await form_of(request, context), context.at.service.rule_editing
    base, name, note = number_of(form.get("base", "")), form.get("name", ""), form.get("note", "")
    typed = {key.removeprefix(TYPED): text for key, text in form.items() if key.startswith(TYPED)}
    edition = await editing.current(site_of(context))
    place: int | None = None
    if form.get("do") == "fill":
        # What was suggested, to be looked at and saved.
        key, _, value = form.get("use", "").partition("=")
        nothing_done(request)
        filled = {**typed, key: value} if key in Rule.model_fields else typed
        fields = typed_fields(filled, (), known_of(site_of(context)))
        return await _editor(request, context, fields, name, base, note=note)
    try:
        text = await asyncio.to_thread(RuleText.read, edition.text)
        place = next((n for n, one in enumerate(text.tables) if name and one.get("name") == name), None)
        if form.get("do") == "remove":
            new = text.text if place is None else await asyncio.to_thread(text.without_rule, place)
        else:
            before = {} if place is None else text.tables[place]
            new = await asyncio.to_thread(text.with_rule, place, table_from(typed, before))
        if form.get("do") == "preview":
            nothing_done(request)
            return await shown(request, context, new, base, note)
        if form.get("do") == "try":
            nothing_done(request)
            return await tried_on_visits(request, context, Draft(new, base, note, name, typed))
        noted(request, rule=typed.get("name", name)[:64])
        return await saved(
            request, context, lambda site, by, now: editing.set(site, new, by, note, now, base)
        )
    except FieldError as error:
        fields = typed_fields(typed, [(error.key, str(error))], known_of(site_of(context)))
        return await _editor(request, context, fields, name, base, 422, note=note)
    except SettingsErrors as error:
        count = len(await asyncio.to_thread(tables_of, edition.text))
        own, rest = problems_of(error.problems, count if place is None else place)
        fields = typed_fields(typed, own, known_of(site_of(context)))
        return await _editor(request, context, fields, name, base, 422, problems=rest, note=note)
    except StaleError:
        newest, changes = await meanwhile(context, base)
        return await _editor(
            *(request, context, typed_fields(typed, (), known_of(site_of(context))), name),
            newest.number,
            409,
            changes=changes,
            newest=newest,
            note=note,
        )


# -- all rules as a text


@signed_in
async def text(request: Request, context: AgentContext) -> Response:
    """All rules as a text."""
    edition = await context.at.service.rule_editing.current(site_of(context))
    return await _text(request, context, edition.text, edition.number)


async def _text(
    request: Request,
    context: AgentContext,
    written: str,
    base: int,
    status: int = 200,
    *,
    problems: Sequence[Problem] = (),
    changes: Sequence[RuleChange] | None = None,
    newest: Edition | None = None,
    note: str = "",
) -> Response:
    return await owner_page(
        request,
        context,
        "rule_text.html",
        status,
        written=written,
        revision=base,
        problems=problems,
        changes=changes,
        newest=newest,
        note=note,
        note_length=NOTE_LENGTH,
        lines=min(40, max(12, written.count("\n") + 2)),
    )


@signed_in
async def set_text(request: Request, context: AgentContext) -> Response:
    """Set all rules, or show them on a page before."""
    form, editing = await form_of(request, context), context.at.service.rule_editing
    base, note = number_of(form.get("base", "")), form.get("note", "")
    written = form.get("text", "").replace("\r\n", "\n")
    try:
        if form.get("do") == "preview":
            nothing_done(request)
            return await shown(request, context, written, base, note)
        return await saved(
            request, context, lambda site, by, now: editing.set(site, written, by, note, now, base)
        )
    except SettingsErrors as error:
        return await _text(request, context, written, base, 422, problems=error.problems, note=note)
    except StaleError:
        newest, changes = await meanwhile(context, base)
        return await _text(
            *(request, context, written, newest.number, 409), changes=changes, newest=newest, note=note
        )


# -- history


@signed_in
async def history(request: Request, context: AgentContext) -> Response:
    """Who set which rules when, the newest first."""
    asked = request.query_params.get("before", "")
    before = (number_of(asked),) if asked else ()
    found = await context.at.service.ledger.rule_revisions.history(context.at.site.name, ROWS + 1, *before)
    return await owner_page(
        request,
        context,
        "rule_history.html",
        heads=found[:ROWS],
        older=found[ROWS - 1].number if len(found) > ROWS else None,
        in_force=context.at.service.sites[context.at.site.name].revision,
    )


@signed_in
async def revision(request: Request, context: AgentContext) -> Response:
    """A revision: what it changed, and its text."""
    number, editing = number_of(request.path_params["number"]), context.at.service.rule_editing
    return await _revision(request, context, await _found(editing.at(site_of(context), number)))


async def _found(asked: Awaitable[Edition]) -> Edition:
    try:
        return await asked
    except NoRevisionError as error:
        raise Refused(404, f"{error}.") from None


async def _revision(
    request: Request,
    context: AgentContext,
    edition: Edition,
    status: int = 200,
    problems: Sequence[Problem] = (),
    problem: str = "",
) -> Response:
    editing, site = context.at.service.rule_editing, site_of(context)
    changes: Sequence[RuleChange] | None = None
    if edition.number:
        try:
            changes = await changes_of(await editing.at(site, edition.number - 1), edition)
        except NoRevisionError:
            changes = None
    newest = await editing.current(site)
    return await owner_page(
        request,
        context,
        "rule_revision.html",
        status,
        edition=edition,
        changes=changes,
        newest=newest,
        undone=await changes_of(newest, edition),
        problems=problems,
        problem=problem,
        note_length=NOTE_LENGTH,
    )


@signed_in
async def roll_back(request: Request, context: AgentContext) -> Response:
    """Set the rules of an earlier revision again."""
    form, editing = await form_of(request, context), context.at.service.rule_editing
    number, base = number_of(form.get("to", "")), number_of(form.get("base", ""))
    edition = await _found(editing.at(site_of(context), number))
    try:
        return await saved(
            request,
            context,
            lambda site, by, now: editing.roll_back(site, number, by, form.get("note", ""), now, base),
        )
    except SettingsErrors as error:
        problem = "Not set: these rules do not fit the settings of today."
        return await _revision(request, context, edition, 422, error.problems, problem)
    except StaleError as error:
        return await _revision(request, context, edition, 409, problem=f"Not set: {error}.")


routes: list[BaseRoute] = [
    Route("/desk/rules", listed, methods=["GET"]),
    Route("/desk/rules", change, methods=["POST"]),
    Route("/desk/rules/edit", edit, methods=["GET"]),
    Route("/desk/rules/edit", save, methods=["POST"]),
    Route("/desk/rules/text", text, methods=["GET"]),
    Route("/desk/rules/text", set_text, methods=["POST"]),
    Route("/desk/rules/history", history, methods=["GET"]),
    Route("/desk/rules/history/{number}", revision, methods=["GET"]),
    Route("/desk/rules/rollback", roll_back, methods=["POST"]),
]
