"""`clew rules try` and `clew rules suggest`: what recorded page views say of rules."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from ..rules.dry_run import CONVERSATIONS, LONG_DAYS, Trial
from ..rules.suggestions import DONE, LEAST, Exits, Suggested
from ..service.recorded_facts import LEFT_OUT, MASKED
from ..service.rule_trials import LEAST_INVITES, Advised, Tried
from ..settings.model import Site
from .ledger import moment
from .terminal import open_console, print_line, print_text

Days = Annotated[float, typer.Option("--days", min=0.1, max=90, help="How many days to look back.")]
_WEEK = 7.0
_HINTS = 5


def print_trial(site: Site, tried: Tried, as_json: bool) -> None:
    """Print what rules would come to, a day."""
    run = tried.run
    if as_json:
        base = {"site": site.name, "days": run.days, "page_views": run.page_views, "recorded": tried.recorded}
        for one in run.trials:
            line = None if one.blocking is None else tried.lines[one.rule][one.blocking]
            told = {"blocking_line": line, "too_slow": one.too_slow, "not_recorded": _not_recorded(one)}
            typer.echo(json.dumps({**base, "tried": run.tried, **asdict(one), **told}))
        return
    if tried.since is None:
        print_line(_nothing(site))
        return
    table = Table(box=None, pad_edge=False)
    names = ("rule", "matches", "visits", "wins", "conversations", "days to 100", "most often in the way")
    for name in names:
        table.add_column(name, overflow="fold", justify="left" if name in (names[0], names[-1]) else "right")
    for one in run.trials:
        counts = (_number(value) for value in (one.matches, one.visits, one.wins))
        table.add_row(escape(one.rule), *counts, *_talks(one), _way(tried, one))
    console = open_console()
    console.print(table)
    print_line(_basis(tried.since, tried.recorded, run.days, run.page_views))
    for text in _notes(tried):
        print_line(text)


def _notes(tried: Tried) -> Iterator[str]:
    run = tried.run
    if run.tried < run.views:
        yield f"The time was up after {run.tried} of {run.views} page views; the figures stand for all."
    if run.days <= 1:
        yield "Less than a day is recorded: what is missing of the day counts as without page views."
    elif run.days < _WEEK:
        yield "That is less than a week: days of the week that are missing may be different."
    if any(one.invited is not None for one in run.trials):
        said = "as at this site so far"
        if not tried.measured:
            said = f"assumed, until {LEAST_INVITES} invites were shown"
        yield f"Of invites {tried.acceptance:.1%} lead to a conversation ({said})."
    for one in run.trials:
        if one.behind:
            others = ", ".join(f"{name} ({_number(count)})" for name, count in [*one.behind.items()][:_HINTS])
            yield f"{one.rule}: another rule comes first, page views a day: {others}."
        if one.too_slow:
            how = "no conversation is to be expected" if one.days is None else f"about {one.days:,.0f} days"
            yield (
                f"{one.rule}: not enough traffic for a verdict within {LONG_DAYS:.0f} days: {how} to "
                f"{CONVERSATIONS} conversations. Ask for less, or join it with a rule like it."
            )
        if one.signals:
            yield f"{one.rule}: as if the browser told its signal on each page: {', '.join(one.signals)}."
        if one.unknown:
            yield f"{one.rule}: never known in what was recorded: {', '.join(one.unknown)}."
        if left := _not_recorded(one):
            yield f"{one.rule}: recorded without what may lead to a person: {', '.join(left)}."


def _not_recorded(one: Trial) -> list[str]:
    return [name for name in one.asked if name in LEFT_OUT or name in MASKED]


def _way(tried: Tried, one: Trial) -> str:
    if one.blocking is None:
        return ""
    return f"{one.blocking_share:.0%}: {escape(tried.lines[one.rule][one.blocking])}"


def _talks(one: Trial) -> tuple[str, str]:
    if one.conversations is None:
        return "", ""
    return _number(one.conversations), "–" if one.days is None else f"{one.days:,.0f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.2g}"


def _basis(since: float, recorded: int, days: float, views: float) -> str:
    return (
        f"A day, by {recorded} page views recorded since {moment(since)} UTC ({days:.1f} days); they stand "
        f"for {_number(views)} page views a day of visitors who may be recognised."
    )


def _nothing(site: Site) -> str:
    why = "`share` in [sites.traffic] is 0" if not site.traffic.share else "a running clew records them"
    return f"{site.name}: no page views are recorded in this time: {why}."


def print_suggestions(site: Site, advised: Advised, as_json: bool) -> None:
    """Print how long visitors stay, where they leave, and rules for that."""
    found = advised.found
    if as_json:
        for kind, one in _all(found):
            typer.echo(json.dumps({"site": site.name, "kind": kind, **one}))
        return
    if advised.since is None:
        print_line(_nothing(site))
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
        table.add_row(one.what, _number(one.views), _number(one.exits), *shares)
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
    """Rules in TOML: a default rule that waits for the median time on the site, and one for each kind of page
    that is left more often than others, which waits as long as those stay who go on."""
    if found.site is not None and found.site.wait is not None:
        wait = min(found.site.wait, 1800)
        yield f'[[rules]]\nname = "suggested-default"\naction = "invite"\nwait = "{wait}s"\ndefault = true\n'
    waits = {one.what: one.wait for one in found.pages}
    for one in found.exits:
        if one.candidate and one.what not in DONE:
            name = f"suggested-{one.what}"
            line = "!has(page.type)" if one.what == "other" else f"page.type == '{one.what}'"
            stays = waits.get(one.what)
            told = f'wait_page = "{min(stays, 1800)}s"\n' if stays is not None else ""
            yield f'[[rules]]\nname = "{name}"\nwhen = ["{line}"]\naction = "invite"\n{told}'
