"""`clew inspect`: looks at a shop's pages and writes the settings that follow."""

import asyncio
import os
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.status import Status
from rich.text import Text

from ..service.check import check
from ..service.clock import Clock
from ..settings.model import PageType, Site
from .check import print_problems
from .terminal import open_console

if TYPE_CHECKING:
    from ..survey.chats import ChatFound
    from ..survey.obstacles import Obstacle
    from ..survey.survey import Findings, Step

FAILED = 1
STOPPED = 3
PREFIX: str = Site.model_fields["prefix"].default


def inspect_command(
    url: Annotated[str, typer.Argument(metavar="URL", help="The shop's home page.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The settings file to write.")
    ] = Path("clew.toml"),
    pages: Annotated[int, typer.Option(min=1, max=20, help="How many pages to look at, at most.")] = 6,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if there is one.")] = False,
    host: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The name that the shop calls itself by, if URL is an address behind it."
        ),
    ] = None,
    ignore_robots: Annotated[
        bool, typer.Option("--ignore-robots", help="Look at pages that robots.txt keeps programs from.")
    ] = False,
) -> None:
    """Look at a shop's pages, say what stands in clew's way, and write a settings file for it.

    Ends with 0 when the file is written, 1 when the shop cannot be looked at or the file not be written, 2 on
    wrong arguments, 3 when the file is written but something keeps clew's tag out of a page.
    """
    # Imported here: BeautifulSoup is for this command alone.
    from ..survey.draft import draft
    from ..survey.fetch import Unreachable, address

    via = None
    try:
        start = address(url)
        if host is not None:
            via, start = (
                start.partition("?")[0].rstrip("/"),
                address(host if "://" in host else f"https://{host}"),
            )
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="URL") from error
    console = open_console(soft_wrap=True, highlight=False)
    if output.exists() and not force:
        _fail(console, f"{output} is there already", "name another file with --output, or write --force")
    try:
        findings = asyncio.run(_survey(console, start, pages, ignore_robots, via))
    except Unreachable as problem:
        _fail(console, str(problem), problem.hint)
    today = datetime.fromtimestamp(Clock().now(), UTC).date()
    _write(console, output, draft(findings.proposal, today), force)
    _report(console, findings)
    _next(console, output)
    if findings.stopped:
        raise typer.Exit(STOPPED)


async def _survey(
    console: Console, start: str, pages: int, ignore_robots: bool, via: str | None
) -> "Findings":
    from ..referral.networks_file import load
    from ..survey.fetch import Shop
    from ..survey.survey import survey
    from ..survey.words import shown

    with console.status(Text(f"asking {shown(start)}")) as status:

        def before(wanted: PageType, url: str) -> None:
            _update(status, f"{wanted}: {shown(url)}")

        async with Shop(start, robots=not ignore_robots, via=via) as shop:
            return await survey(shop, pages, PREFIX, load(), before, lambda step: _step(console, step))


def _update(status: Status, text: str) -> None:
    status.update(Text(text))


def _step(console: Console, step: "Step") -> None:
    from ..survey.words import shown

    if step.problem is not None:
        _line(console, "yellow", "–", f"{step.wanted}: {shown(step.url)} {step.problem.what}")
        if step.problem.hint:
            _line(console, "bright_black", " ", f"→ {step.problem.hint}")
        return
    assert step.answer is not None
    stopped = any(o.weight == "stops" for o in step.obstacles)
    kind = step.kind or f"not a {step.wanted} page"
    size = f"{len(step.answer.body) / 1024:.0f} KB{'' if step.answer.whole else ' of it'}"
    line = f"{kind}: {shown(step.url)} ({step.answer.status}, {size}, {step.answer.seconds:.1f} s)"
    _line(console, "red" if stopped else "green", "✗" if stopped else "✓", line)
    for hop in step.answer.hops:
        _line(console, "bright_black", " ", f"redirected from {shown(hop)}")


def _report(console: Console, findings: "Findings") -> None:
    from ..survey.words import shown

    proposal = findings.proposal
    console.print()
    if proposal.named is None:
        _line(console, "yellow", "?", "platform: none that is known")
    else:
        unsure = proposal.named.certainty == "a guess"
        line = (
            f"platform: {'perhaps ' if unsure else ''}{proposal.named.platform} ({proposal.named.certainty})"
        )
        _line(console, "yellow" if unsure else "green", "?" if unsure else "✓", line)
        for sign in proposal.named.evidence:
            _line(console, "bright_black", " ", f"by {sign}")
        if unsure:
            _line(
                console, "cyan", "→", "only one sign speaks for it: see for yourself before you switch it on"
            )
        elif proposal.preset is not None and proposal.preset.note:
            _line(console, "cyan", "→", proposal.preset.note)
    for pattern, kind in proposal.page_types.items():
        _line(console, "green", "✓", f"page type: {pattern} is {kind}")
    for key, found in (("value", proposal.cart.value), ("items", proposal.cart.items)):
        if found is not None and (proposal.preset is None or getattr(proposal.preset.cart, key) is None):
            _line(console, "green", "✓", f"cart {key}: {found.selector} reads {found.text!r}")
    for obstacle, kinds in _grouped(findings.steps):
        color, mark = ("red", "✗") if obstacle.weight == "stops" else ("yellow", "!")
        where = ", ".join(kinds)
        _line(console, color, mark, f"{where}: {obstacle.what}")
        if obstacle.hint:
            _line(console, "cyan", " ", f"→ {obstacle.hint}")
    if findings.own_name is not None:
        name = urlsplit(findings.own_name).netloc
        _line(
            console, "yellow", "!", f"the shop calls itself {shown(findings.own_name)}: its links lead there"
        )
        commands = (
            f"clew inspect {findings.own_name}, or from here: clew inspect {findings.origin} --host {name}"
        )
        _line(console, "cyan", " ", f"→ {shown(commands, 400)}")
    if not findings.stopped and findings.own_name is None:
        _line(console, "green", "✓", "nothing keeps clew's tag out of these pages")
    if findings.chats:
        names = ", ".join(findings.chats)
        _line(console, "yellow", "!", f"another chat is on the pages: {names}")
        if findings.chat is None:
            _line(console, "cyan", " ", "→ take it out, or hide one of the two: visitors would see both")
        else:
            _report_chat(console, findings.chat)
    if proposal.consents:
        tools = ", ".join(proposal.consents)
        _line(console, "green", "✓", f'visitors are asked for consent ({tools}): so does clew, mode = "ask"')
    if proposal.networks:
        _line(console, "green", "✓", f"tags of networks: {', '.join(proposal.networks)}")


def _report_chat(console: Console, chat: "ChatFound") -> None:
    """How to keep the shop's chat, and what the pages' policies forbid of it."""
    hint = "to keep it, take its code out of the pages, clew loads it (docs/chat.md):"
    _line(console, "cyan", " ", f"→ {hint} {chat.settings}")
    for directive, hosts in chat.forbidden.items():
        _line(
            console,
            "yellow",
            "!",
            f"a policy ({directive}) forbids {' '.join(hosts)}, which {chat.title} needs",
        )
        _line(console, "cyan", " ", '→ add them to the shop\'s policy, or set csp = "extend" in [sites.chat]')


def _grouped(steps: Iterable["Step"]) -> list[tuple["Obstacle", list[str]]]:
    """Each obstacle once, with the kinds of pages that it is on; what stops comes first."""
    found: dict[Obstacle, list[str]] = {}
    for step in steps:
        for obstacle in step.obstacles:
            kinds = found.setdefault(obstacle, [])
            if (kind := step.kind or step.wanted) not in kinds:
                kinds.append(kind)
    return sorted(found.items(), key=lambda pair: pair[0].weight != "stops")


def _write(console: Console, file: Path, text: str, force: bool) -> None:
    try:
        with file.open("w" if force else "x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        _fail(console, f"{file} is there already", "name another file with --output, or write --force")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        _fail(console, f"{file} cannot be written: {reason}", "name another file with --output")


def _next(console: Console, file: Path) -> None:
    console.print()
    _line(console, "green", "✓", f"{file} is written")
    environ = {"CLEW_SECRET": secrets.token_urlsafe(32), **os.environ}
    settings, problems = check(file, environ)
    if settings is None:
        print_problems(console, problems)
        raise typer.Exit(FAILED)
    _line(console, "cyan", "→", f"read it, then: clew check --config {file}")


def _line(console: Console, color: str, mark: str, text: str) -> None:
    """One line, marked; the text is printed as it is, whatever stands in it."""
    console.print(Text(f"{mark} ", color) + Text(text))


def _fail(console: Console, what: str, hint: str) -> NoReturn:
    _line(console, "red", "✗", what)
    if hint:
        _line(console, "cyan", " ", f"→ {hint}")
    raise typer.Exit(FAILED)
