"""Rules tried on recorded visits, before they are set: what they would come to, and what the visits suggest,
with buttons that put a suggestion into the form of a rule."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...rules.suggestions import Exits, Times
from ...service.programs import ProgramError
from ...service.rule_checks import checked_rules
from ...service.rule_editing import Edition, tables_of
from ...service.rule_trials import Tried
from ...service.trial_program import Result
from ...service.trial_runs import BusyError
from ...service.trial_words import basis, days_of, notes, notes_on, nothing, number, way
from ...settings.load import Problem, SettingsErrors
from ...stores.ledger.rule_revisions import NOTE_LENGTH
from .auth import AgentContext, signed_in
from .owner import owner_page
from .render import times as times_of
from .rule_form import TYPED, fields_of
from .rule_requests import form_of, number_of, site_of
from .sheets import Table

DAYS: Final = 14.0
MOST_RULES: Final = 200
"""Rules that are shown; those that come first."""


@dataclass(frozen=True, slots=True)
class Draft:
    """The rules that are tried, from revision `base`. `name` is the rule that they are tried for, and `typed`
    what its form has, by key; empty where it is none."""

    written: str
    base: int
    note: str = ""
    name: str = ""
    typed: Mapping[str, str] = field(default_factory=dict)


@signed_in
async def trial(request: Request, context: AgentContext) -> Response:
    """The newest rules, for one of them if it is named."""
    edition = await context.at.service.rule_editing.current(site_of(context))
    name = request.query_params.get("rule", "")[:64]
    return await tried_on_visits(request, context, await _draft(edition, name))


async def _draft(edition: Edition, name: str) -> Draft:
    tables = await asyncio.to_thread(tables_of, edition.text) if name else ()
    table = next((one for one in tables if one.get("name") == name), None)
    typed = {} if table is None else {one.key: one.value for one in fields_of(table)}
    return Draft(edition.text, edition.number, "", name if table is not None else "", typed)


@signed_in
async def tried(request: Request, context: AgentContext) -> Response:
    """The same for rules that are not in force."""
    form = await form_of(request, context)
    typed = {key.removeprefix(TYPED): text for key, text in form.items() if key.startswith(TYPED)}
    written, base = form.get("text", "").replace("\r\n", "\n"), number_of(form.get("base", ""))
    name = form.get("name", "")[:64]
    return await tried_on_visits(request, context, Draft(written, base, form.get("note", ""), name, typed))


async def tried_on_visits(request: Request, context: AgentContext, draft: Draft) -> Response:
    """The page for rules."""
    site, found, problem, status = site_of(context), None, "", 200
    problems: Sequence[Problem] = ()
    names: Sequence[str] = ()
    try:
        checked = await asyncio.to_thread(checked_rules, draft.written, site)
        names = [rule.name for rule in checked.rules[:MOST_RULES]]
        found = await context.at.service.trial_runs.of(site, checked.new.rules or "[]", DAYS)
    except SettingsErrors as error:
        problems, status = error.problems, 422
    except BusyError as error:
        problem, status = f"{error}.", 429
    except ProgramError:
        problem, status = "Not tried: the program that tries rules did not end. Try again in a minute.", 503
    recorded = found is not None and found.tried.since is not None
    return await owner_page(
        request,
        context,
        "rule_trial.html",
        status,
        draft=draft,
        note_length=NOTE_LENGTH,
        problems=problems,
        problem=problem,
        running=not (found or problem or problems),
        nothing=nothing(site) if found is not None and not recorded else "",
        typed=TYPED,
        names=names,
        **(_shown(found, context) if found is not None and recorded else {"trials": None}),
    )


def _shown(found: Result, context: AgentContext) -> dict[str, Any]:
    run, advised = found.tried, found.advised.found
    times = [*([advised.site] if advised.site else []), *advised.pages]
    assert run.since is not None
    return {
        "trials": _trials(run),
        "basis": basis(run, times_of(context.at).moment(run.since)),
        "notes": [*notes(run)],
        "on_rules": [(one.rule, told) for one in run.run.trials[:MOST_RULES] if (told := [*notes_on(one)])],
        "left_out": max(0, len(run.run.trials) - MOST_RULES),
        "times": _times(times),
        "waits": [
            ("wait" if one.what == "site" else "wait_page", f"{one.wait}s", _place(one.what))
            for one in times
            if one.wait is not None
        ],
        "exits": [
            _exits(title, rows)
            for title, rows in (
                ("Where visits end, by kind of page, a day", advised.exits),
                ("Where visits end, by step of the checkout, a day", advised.steps),
            )
            if rows
        ],
        "drafts": [
            (str(table["name"]), [(one.key, one.value) for one in fields_of(table) if one.value])
            for table in advised.rules()
        ],
    }


def _trials(tried: Tried) -> Table:
    names = ("Matches", "Visits", "Wins", "Conversations", "Days to 100")
    columns = [("Rule", False), *((name, True) for name in names), ("Most often in the way", False)]
    rows = []
    for one in tried.run.trials[:MOST_RULES]:
        talks = "" if one.conversations is None else number(one.conversations)
        counts = [number(value) for value in (one.matches, one.visits, one.wins)]
        rows.append([one.rule, *counts, talks, days_of(one), way(tried, one)])
    return Table("What the rules would come to, a day", columns, rows)


def _place(what: str) -> str:
    return "on the site" if what == "site" else f"on {what} pages"


def _times(times: Sequence[Times]) -> Table:
    columns = [("Seconds", False), *((name, True) for name in ("Recorded", "25 %", "Median", "75 %"))]
    rows = [
        [_place(one.what), str(one.count), *(f"{value:,.0f}" for value in (one.lower, one.median, one.upper))]
        for one in times
    ]
    return Table("How long visitors stay", columns, rows)


def _exits(title: str, exits: Sequence[Exits]) -> Table:
    names = ("Page views", "Visits end", "Of these pages", "Of all ends")
    columns = [("Page", False), *((name, True) for name in names), ("Suggested", False)]
    rows = [
        [
            one.what,
            number(one.views),
            number(one.exits),
            f"{one.share:.0%}",
            f"{one.of_all:.0%}",
            "for a rule" if one.candidate else "",
        ]
        for one in exits
    ]
    return Table(title, columns, rows)


routes: list[BaseRoute] = [
    Route("/desk/rules/try", trial, methods=["GET"]),
    Route("/desk/rules/try", tried, methods=["POST"]),
]
