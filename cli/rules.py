"""`clew rules`: the rules of a site, and the revisions that people make of them."""

import json
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.markup import escape
from rich.table import Table

from ..service.clock import time_of
from ..service.rule_checks import CheckedRules, checked_rules, in_order
from ..service.rule_editing import Edition, NoRevisionError, RuleEditing, changes_of, tables_of
from ..service.rule_trials import Advised, RuleTrials, Tried
from ..settings.load import Problem, SettingsErrors
from ..settings.model import Site
from ..settings.platforms import PlatformError
from ..settings.rule_text import LONGEST
from ..settings.starter import starter_text
from ..stores.ledger.books import Ledger
from ..stores.ledger.database import Database
from ..stores.ledger.rule_reviews import RuleReviews
from ..stores.ledger.rule_revisions import Head, RuleRevisions, StaleError
from .auditing import by, note
from .check import load_or_exit, print_problems
from .given import file_body
from .ledger import DEFAULT_CONFIG, AsJson, Config, fail, moment, with_ledger
from .rules_report import report_command
from .rules_review import review_command
from .rules_try import Days, print_suggestions, print_trial
from .terminal import open_console, print_line, print_text

app = typer.Typer(
    help="The rules of a site: look at them, set others, go back to earlier ones, and see what they bring.",
    no_args_is_help=True,
)
app.command("report")(report_command)
app.command("review")(review_command)
T = TypeVar("T")
OfSite = Annotated[str | None, typer.Option("--site", help="The site, if there are several.")]
File = Annotated[
    Path | None, typer.Argument(metavar="FILE", help="A file with [[rules]]; else standard input.")
]
From = Annotated[
    int | None,
    typer.Option("--from", min=0, metavar="N", help="Only if N is still the newest revision; 0 for none."),
]
Note = Annotated[str, typer.Option("--note", help="Why, for people who look at the history later.")]
Number = Annotated[int, typer.Argument(min=0, metavar="N", help="A revision; 0 for the settings' rules.")]


@app.command("list")
def list_command(config: Config = DEFAULT_CONFIG, site: OfSite = None, as_json: AsJson = False) -> None:
    """List the rules that are in force in the order in which they are asked, and which revision they are."""
    sites = [one for one in load_or_exit(config).sites if site in (None, one.name)]
    if not sites:
        _no_site(config, site)

    async def work(db: Database) -> list[tuple[Site, Edition]]:
        editing = RuleEditing(RuleRevisions(db), RuleReviews(db))
        return [(one, await editing.current(one)) for one in sites]

    table = Table(box=None, pad_edge=False)
    for name in ("site", "rule", "action", "priority", "state", "from"):
        table.add_column(name, overflow="fold", justify="right" if name == "priority" else "left")
    for at, edition in with_ledger(config, work):
        where = f"revision {edition.number}" if not edition.settings else "settings"
        for rule in in_order(tables_of(edition.text), at):
            shown = {
                "name": rule.get("name"),
                "action": rule.get("action"),
                "priority": rule.get("priority", 0),
                "enabled": rule.get("enabled", True),
            }
            if as_json:
                told = {"site": at.name, "revision": edition.number, "settings": edition.settings}
                typer.echo(json.dumps(told | shown))
                continue
            state = "on" if shown["enabled"] else "off"
            table.add_row(*(escape(str(x)) for x in (at.name, *list(shown.values())[:3], state, where)))
    if not as_json:
        open_console().print(table)


@app.command("show")
def show_command(
    number: Annotated[
        int | None,
        typer.Argument(min=0, metavar="N", help="A revision, 0 for the settings'; else the newest."),
    ] = None,
    config: Config = DEFAULT_CONFIG,
    site: OfSite = None,
) -> None:
    """Print the rules as text, as `clew rules set` takes them."""
    at = _site(config, site)
    found = _done(config, lambda editing, db: _edition(editing, at, number))
    print_text(found.text)


async def _edition(editing: RuleEditing, site: Site, number: int | None) -> Edition:
    return await (editing.current(site) if number is None else editing.at(site, number))


@app.command("starter")
def starter_command(
    platform: Annotated[
        str | None, typer.Option("--platform", help="The shop system; else rules that fit any.")
    ] = None,
) -> None:
    """Print 20 rules to begin with and a default rule, as `clew rules set` takes them."""
    try:
        print_text(starter_text(platform))
    except PlatformError as error:
        fail(f"{error.message}: {error.hint}")


@app.command("check")
def check_command(file: File = None, config: Config = DEFAULT_CONFIG, site: OfSite = None) -> None:
    """Find everything that is wrong with rules in a file, and set nothing."""
    found = _checked(file, _site(config, site))
    print_line(f"The rules are in order: {len(found.rules)}.")


@app.command("set")
def set_command(
    file: File = None,
    config: Config = DEFAULT_CONFIG,
    site: OfSite = None,
    base: From = None,
    why: Note = "",
    settings: Annotated[
        bool, typer.Option("--settings", help="Without a file: have the settings' rules in force again.")
    ] = False,
) -> None:
    """Set the rules of a site. A running clew uses them within seconds, on all workers."""
    at = _site(config, site)
    if settings and file is not None:
        fail("write either a file or --settings")
    text = "" if settings else _written(file, at)

    async def work(editing: RuleEditing, db: Database) -> tuple[Head, bool]:
        now = await time_of(db)
        if settings:
            return await editing.settings_again(at, by(), why, now, base)
        return await editing.set(at, text, by(), why, now, base)

    _set(config, at, work, "rules.set")


@app.command("rollback")
def rollback_command(
    number: Number, config: Config = DEFAULT_CONFIG, site: OfSite = None, base: From = None, why: Note = ""
) -> None:
    """Set the rules of an earlier revision again, as a new one."""
    at = _site(config, site)

    async def work(editing: RuleEditing, db: Database) -> tuple[Head, bool]:
        return await editing.roll_back(at, number, by(), why, await time_of(db), base)

    _set(config, at, work, "rules.rolled_back", to=str(number))


@app.command("history")
def history_command(
    config: Config = DEFAULT_CONFIG,
    site: OfSite = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List who set which rules when, the newest first. Times are UTC."""
    at = _site(config, site)

    async def work(db: Database) -> list[Head]:
        return [*await RuleRevisions(db).history(at.name, limit)]

    found = with_ledger(config, work)
    if as_json:
        for one in found:
            typer.echo(json.dumps(asdict(one)))
        return
    if not found:
        print_line(f"{at.name} has the {len(at.rules)} rules of its settings; nobody has set others.")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("revision", "set (UTC)", "by", "rules", "note"):
        table.add_column(name, overflow="fold", justify="right" if name in ("revision", "rules") else "left")
    for one in found:
        count = "settings" if one.settings else str(one.count)
        table.add_row(str(one.number), moment(one.at), escape(one.by), count, escape(one.note))
    open_console().print(table)


@app.command("diff")
def diff_command(
    before: Annotated[int | None, typer.Argument(min=0, metavar="A", help="A revision, 0: settings.")] = None,
    after: Annotated[int | None, typer.Argument(min=0, metavar="B", help="Another; else the newest.")] = None,
    config: Config = DEFAULT_CONFIG,
    site: OfSite = None,
) -> None:
    """Show what changed from one revision to another; without numbers, what the newest one changed."""
    at = _site(config, site)

    async def work(editing: RuleEditing, db: Database) -> list[str]:
        new = await _edition(editing, at, after)
        old = await editing.at(at, max(0, new.number - 1) if before is None else before)
        return [line for one in await changes_of(old, new) for line in one.lines()]

    lines = _done(config, work)
    for line in lines:
        print_line(line)
    if not lines:
        print_line("No rule differs.")


@app.command("try")
def try_command(
    file: File = None,
    config: Config = DEFAULT_CONFIG,
    site: OfSite = None,
    days: Days = 14,
    as_json: AsJson = False,
) -> None:
    """Try rules in a file on recorded page views: matches a day, overlap, and days to a verdict."""
    at = _site(config, site)
    found = _checked(file, at)

    async def work(db: Database) -> Tried:
        return await RuleTrials(Ledger(db)).attempt(at, found.rules, await time_of(db), days)

    print_trial(at, with_ledger(config, work), as_json)


@app.command("suggest")
def suggest_command(
    config: Config = DEFAULT_CONFIG, site: OfSite = None, days: Days = 14, as_json: AsJson = False
) -> None:
    """Suggest rules by recorded page views: how long to wait, and on which pages visits end."""
    at = _site(config, site)

    async def work(db: Database) -> Advised:
        return await RuleTrials(Ledger(db)).advise(at, await time_of(db), days)

    print_suggestions(at, with_ledger(config, work), as_json)


def _site(config: Path, name: str | None) -> Site:
    sites = load_or_exit(config).sites
    found = [one for one in sites if name in (None, one.name)]
    if not found:
        _no_site(config, name)
    if len(found) > 1:
        fail(f"there are several sites: name one with --site: {', '.join(one.name for one in sites)}")
    return found[0]


def _no_site(config: Path, name: str | None) -> NoReturn:
    fail(f"there is no site {name!r}; there are {', '.join(one.name for one in load_or_exit(config).sites)}")


def _checked(file: Path | None, site: Site) -> CheckedRules:
    """The rules of a file. Prints what is wrong and exits with 1."""
    raw = sys.stdin.buffer.read(LONGEST + 1) if file is None else file_body(file, LONGEST, fail)
    try:
        return checked_rules(raw.decode("utf-8", "surrogateescape"), site)
    except SettingsErrors as error:
        _print_problems(replace(one, file=str(file or one.file)) for one in error.problems)


def _written(file: Path | None, site: Site) -> str:
    found = _checked(file, site).text
    if found.blank:
        # What a command that failed has written to a pipe or a file.
        fail(f"{file or 'standard input'} has no [[rules]]: write `rules = []` to have none in force")
    return found.text


def _print_problems(problems: Iterable[Problem]) -> NoReturn:
    print_problems(open_console(stderr=True, soft_wrap=True, highlight=False), [*problems])
    raise typer.Exit(1)


def _done(config: Path, work: Callable[[RuleEditing, Database], Awaitable[T]]) -> T:
    async def in_ledger(db: Database) -> T:
        try:
            return await work(RuleEditing(RuleRevisions(db), RuleReviews(db)), db)
        except (NoRevisionError, StaleError) as error:
            fail(f"{error}: `clew rules history` lists the revisions")
        except SettingsErrors as error:
            _print_problems(error.problems)

    return with_ledger(config, in_ledger)


def _set(
    config: Path,
    site: Site,
    work: Callable[[RuleEditing, Database], Awaitable[tuple[Head, bool]]],
    action: str,
    **details: Any,
) -> None:
    async def noting(editing: RuleEditing, db: Database) -> tuple[Head, bool]:
        head, is_new = await work(editing, db)
        if is_new:
            told = {**details, "revision": str(head.number), **({"note": head.note} if head.note else {})}
            await note(db, action, str(head.number), site.name, **told)
        return head, is_new

    head, is_new = _done(config, noting)
    what = "the settings' rules" if head.settings else f"{head.count} rules"
    if is_new:
        print_line(f"{site.name} has revision {head.number}: {what}.")
    else:
        print_line(f"{site.name} has these rules already: revision {head.number}.")
