"""`clew explain`: why the rules say what they say to one visitor."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ..rules.ruleset import Explanation
from ..service.decide import explain
from ..service.facts import PageNow
from ..service.service import Service
from ..settings.model import Settings
from .check import load_or_exit

console = Console(soft_wrap=True, highlight=False)

VERDICTS = {
    "acts": ("green", "acts"),
    "behind": ("cyan", "would act, but another stands before it"),
    "fails": ("red", "does not act"),
    "skipped": ("yellow", "may not act now: seen, dismissed, in a talk, or just after an order"),
    "disabled": ("bright_black", "is switched off"),
}


def explain_command(
    visitor: Annotated[str, typer.Argument(help="The visitor's id, as the desk and the log show it.")],
    url: Annotated[str, typer.Option(help="The page he is on.")],
    config: Annotated[Path, typer.Option("--config", "-c", help="The settings file.")] = Path("clew.toml"),
    site: Annotated[str | None, typer.Option(help="The site, where there are several.")] = None,
    seconds: Annotated[int, typer.Option(min=0, help="How long the page has been shown, in seconds.")] = 0,
    language: Annotated[str, typer.Option(help="The page's language.")] = "en",
) -> None:
    """Say for each rule whether it would act for a visitor now, and if not, which line stands against it."""
    settings = load_or_exit(config)
    name = site or settings.sites[0].name
    if name not in {s.name for s in settings.sites}:
        console.print(f"[red]no site {escape(name)!r} in {config}[/red]")
        raise typer.Exit(1)
    page = PageNow("explain", url, "", language, seconds)
    found = asyncio.run(_explain(settings, name, visitor, page))
    if found is None:
        console.print(f"[red]no visitor {escape(visitor)!r} is known at {escape(name)}[/red]")
        raise typer.Exit(1)
    _show(found)


async def _explain(settings: Settings, site: str, visitor: str, page: PageNow) -> Explanation | None:
    service = Service(settings)
    await service.open()
    try:
        return await explain(service, service.sites[site], visitor, page)
    finally:
        await service.close()


def _show(found: Explanation) -> None:
    for explained in found.rules:
        color, told = VERDICTS[explained.verdict]
        wait = f", would in {explained.again:g} s" if explained.again is not None else ""
        console.print(
            f"[{color}]{escape(explained.rule.name)}[/{color}] ({explained.rule.action}): {told}{wait}"
        )
        for line in explained.lines:
            console.print(
                f"  {'[green]true[/green] ' if line.holds else '[red]false[/red]'} {escape(line.line)}"
            )
            known = ", ".join(f"{k} = {v!r}" for k, v in line.facts.items() if k not in line.missing)
            if known:
                console.print(f"        {escape(known)}", style="bright_black")
            if line.missing:
                console.print(f"        missing: {', '.join(line.missing)}", style="yellow")
            if line.error:
                console.print(f"        {escape(line.error)}", style="yellow")
    rule = found.decision.rule
    console.print(f"Now: {rule.action if rule else 'no rule; widget.default acts'}")
