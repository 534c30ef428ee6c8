"""`clew check`, and the way in which every command reads the settings."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..service.check import check
from ..settings.load import Problem, format_problem
from ..settings.model import Settings, Site
from ..settings.platforms import platform_of


def check_command(
    config: Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The settings file.")] = Path(
        "clew.toml"
    ),
) -> None:
    """Find everything that is wrong in a settings file: prints each error with its line and what to do."""
    console = Console(soft_wrap=True, highlight=False)
    settings, problems = check(config, os.environ)
    if settings is None:
        print_problems(console, problems)
        console.print(Text(_count(len(problems), "error"), "bold red"))
        raise typer.Exit(1)
    console.print(Text(f"{config} is in order: {_count(len(settings.sites), 'site')}", "green"))
    for site in settings.sites:
        console.print(Text(f"  {_summary(site)}"))
        preset = platform_of(site)
        if preset is not None and preset.note:
            console.print(Text(f"    {site.platform}: {preset.note}", "cyan"))


def load_or_exit(config: Path, need_upstream: bool = False) -> Settings:
    """The settings of a file that is in order; else prints every error to stderr and exits with 1."""
    settings, problems = check(config, os.environ, need_upstream)
    if settings is None:
        print_problems(Console(stderr=True, soft_wrap=True, highlight=False), problems)
        raise typer.Exit(1)
    return settings


def print_problems(console: Console, problems: Sequence[Problem]) -> None:
    """Each problem on a line of its own."""
    for problem in problems:
        line = Text(format_problem(problem))
        line.highlight_regex(r"^\S+", "bold")
        line.highlight_regex(r"→ .*$", "cyan")
        console.print(line)


def _summary(site: Site) -> str:
    hosts = ", ".join(site.hosts) or "every other host"
    shop = site.upstream or "no upstream: for the middleware, not for clew serve"
    counts = f"{_count(len(site.partners), 'partner')}, {_count(len(site.rules), 'rule')}"
    return f"{site.name}: {hosts} → {shop}; {counts}"


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"
