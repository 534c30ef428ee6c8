"""`clew rules try` and `clew rules suggest`: what recorded page views say of rules."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from ..rules.suggestions import LEAST, Exits, Suggested
from ..service.rule_trials import Advised, Tried
from ..service.trial_words import basis, days_of, not_recorded, notes, notes_on, nothing, number, way
from ..settings.model import Site
from ..settings.rule_text import value_text
from .ledger import moment
from .terminal import open_console, print_line, print_text

Days = Annotated[float, typer.Option("--days", min=0.1, max=90, help="How many days to look back.")]


def print_trial(site: Site, tried: Tried, as_json: bool) -> None:
    """Print what rules would come to, a day."""
    run = tried.run
    if as_json:
        base = {"site": site.name, "days": run.days, "page_views": run.page_views, "recorded": tried.recorded}
        for one in run.trials:
            line = None if one.blocking is None else tried.lines[one.rule][one.blocking]
            told = {
                "blocking_line": line,
                "too_slow": one.too_slow,
                "too_short": one.too_short,
                "not_recorded": not_recorded(one),
            }
            typer.echo(json.dumps({**base, "tried": run.tried, **asdict(one), **told}))
        return
    if tried.since is None:
        print_line(nothing(site))
        return
    table = Table(box=None, pad_edge=False)
    names = ("rule", "matches", "visits", "wins", "conversations", "days to 100", "most often in the way")
    for name in names:
        table.add_column(name, overflow="fold", justify="left" if name in (names[0], names[-1]) else "right")
    for one in run.trials:
        counts = (number(value) for value in (one.matches, one.visits, one.wins))
        talks = "" if one.conversations is None else number(one.conversations)
        table.add_row(escape(one.rule), *counts, talks, days_of(one), escape(way(tried, one)))
    console = open_console()
    console.print(table)
    print_line(basis(tried, f"{moment(tried.since)} UTC"))
    for text in notes(tried):
        print_line(text)
    for one in run.trials:
        for text in notes_on(one):
            print_line(f"{one.rule}: {text}")


def print_suggestions(site: Site, advised: Advised, as_json: bool) -> None:
    """Print how long visitors stay, where they leave, and rules for that."""
    found = advised.found
    if as_json:
        for kind, one in _all(found):
            typer.echo(json.dumps({"site": site.name, "kind": kind, **one}))
        return
    if advised.since is None:
        print_line(nothing(site))
        return
    console = open_console()
    times = Table("time", "recorded", "25 %", "median", "75 %", "wait", title="Seconds", box=None)
    for each in (*([found.site] if found.site else []), *found.pages):
        wait = "–" if each.wait is None else f"{each.wait}s"
        figures = (f"{value:,.0f}" for value in (each.lower, each.median, each.upper))
        place = "on the site" if each.what == "site" else f"on {each.what} pages"
        times.add_row(place, str(each.count), *figures, wait)
    console.print(times)
    _print_exits(found.exits, "Where visits end, by kind of page, a day")
    if found.steps:
        _print_exits(found.steps, "Where visits end, by step of the checkout, a day")
    print_line(f"By {advised.recorded} page views recorded since {moment(advised.since)} UTC.")
    drafts = [*drafts_of(found)]
    if not drafts:
        print_line(f"There are no suggestions yet: they need {LEAST} visits, or page views of a kind.")
        return
    print_line("Rules to start from; try them with `clew rules try FILE`:")
    print_text("\n".join(drafts))


def _print_exits(exits: Sequence[Exits], title: str) -> None:
    names = ("page", "page views", "visits end", "of these pages", "of all ends", "")
    table = Table(*names, title=title, box=None)
    for one in exits:
        shares = (f"{one.share:.0%}", f"{one.of_all:.0%}", "candidate" if one.candidate else "")
        table.add_row(one.what, number(one.views), number(one.exits), *shares)
    open_console().print(table)


def _all(found: Suggested) -> Iterator[tuple[str, dict[str, Any]]]:
    for times in (*([found.site] if found.site else []), *found.pages):
        yield "time", {**asdict(times), "wait": times.wait}
    for exits in found.exits:
        yield "exit", asdict(exits)
    for exits in found.steps:
        yield "step", asdict(exits)
    for draft in drafts_of(found):
        yield "rule", {"text": draft}


def drafts_of(found: Suggested) -> Iterator[str]:
    """Rules to start from, in TOML."""
    for table in found.rules():
        lines = (f"{key} = {value_text(value)}" for key, value in table.items())
        yield "\n".join(["[[rules]]", *lines, ""])
