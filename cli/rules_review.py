"""`clew rules review`: what there is to do about rules, and who looked at them last."""

import json
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ..service.rule_reviews import WEEKS, Reviewed
from ..service.service import Service
from ..service.site import SiteRuntime
from .auditing import by, note
from .ledger import DEFAULT_CONFIG, AsJson, Config, fail, moment
from .orders import Site
from .rules_report import of_service
from .terminal import open_console, print_line

Names = Annotated[list[str] | None, typer.Argument(metavar="RULE", help="Note that these were reviewed.")]
Every = Annotated[bool, typer.Option("--all", help="Note that all rules were reviewed.")]


def review_command(
    rules: Names = None,
    every: Every = False,
    config: Config = DEFAULT_CONFIG,
    site: Site = None,
    as_json: AsJson = False,
) -> None:
    """List what there is to do about rules, and exit with 1 if there is something; or note a review."""

    async def work(service: Service, at: SiteRuntime) -> tuple[str, list[str], list[Reviewed]]:
        there = [rule.name for rule in at.rules.order if rule.enabled]
        if unknown := [name for name in rules or () if name not in there]:
            fail(f"there is no rule {unknown[0]!r} in force: `clew rules list` names them")
        done = there if every else [*(rules or ())]
        if not done:
            report = await service.rule_reports.build(at, WEEKS)
            return at.name, [], [*await service.rule_reviewing.of(at, report)]
        await service.ledger.rule_reviews.note(at.name, done, by(), service.clock.now())
        for name in done:
            await note(service.ledger.db, "rules.reviewed", name, at.name, rule=name)
        return at.name, done, []

    name, done, found = of_service(config, site, work)
    if done:
        print_line(f"{name}: reviewed {', '.join(done)}.")
        return
    due = any(one.todos for one in found)
    if as_json:
        for one in found:
            todos = [{"kind": todo.kind, "why": todo.why} for todo in one.todos]
            seen = {"at": moment(one.review.at), "by": one.review.by or None}
            marks = {"sensible": one.sensible[0], "sensible_of": one.sensible[1]}
            typer.echo(json.dumps({"site": name, "rule": one.rule, "todo": todos, **seen, **marks}))
    elif not due:
        print_line(f"{name}: nothing to do about {len(found)} rules.")
    else:
        _print(found)
    if due:
        raise typer.Exit(1)


def _print(found: list[Reviewed]) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("rule", "to do", "reviewed (UTC)", "by", "sensible"):
        table.add_column(title, overflow="fold")
    for one in found:
        if one.todos:
            said = "\n".join(f"{todo.kind}: {todo.why}" for todo in one.todos)
            when = moment(one.review.at) if one.review.by else "never"
            marks = f"{one.sensible[0]} of {one.sensible[1]}" if one.sensible[1] else "–"
            table.add_row(*map(escape, (one.rule, said, when, one.review.by, marks)))
    open_console().print(table)
