"""`clew explain visitor`: why each rule acts or does not act for a visitor."""

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.markup import escape

from ..referral.masking import Masking
from ..rules.evaluation import BranchExplained, Explained
from ..rules.ruleset import Explanation
from ..service.facts import AgentLoad, PageNow
from ..service.rule_words import BRANCHES, outcome, shown_fact
from ..service.service import Service
from ..service.site import SiteRuntime
from ..settings.model import Chat, Settings
from .check import load_or_exit
from .ledger import UNUSABLE, description, fail, require_stores
from .terminal import open_console

console = open_console(soft_wrap=True, highlight=False)

ID_LENGTH = 26  # letters of a visitor's id
WHOLE = re.compile(rf"[a-z2-7]{{{ID_LENGTH}}}")
LISTED = 10
NEWCOMER = (
    "Nothing is stored of this visitor, as of each one on its first page: explained as a new one, "
    "without what brought it here."
)

COLORS = {
    "acts": "green",
    "behind": "cyan",
    "armed": "cyan",
    "fails": "red",
    "skipped": "yellow",
    "disabled": "bright_black",
}


class _NotFoundError(Exception):
    """The visitor or site was not found; the message lists what there is."""


def visitor_command(
    visitor: Annotated[
        str,
        typer.Argument(help="The visitor's id as the log shows it, or its last letters, as the desk does."),
    ],
    url: Annotated[str, typer.Option(help="The page the visitor is on: its address, or its path alone.")],
    config: Annotated[Path, typer.Option("--config", "-c", help="The settings file.")] = Path("clew.toml"),
    site: Annotated[
        str | None, typer.Option(help="The site, if there are several and the URL does not name it.")
    ] = None,
    seconds: Annotated[int, typer.Option(min=0, help="How long the page has been shown, in seconds.")] = 0,
    language: Annotated[str, typer.Option(help="The page's language.")] = "en",
) -> None:
    """Show for each rule whether it would act for a visitor now, and if not, which condition is false."""
    settings = load_or_exit(config)
    try:
        runtime, found, load, is_new = asyncio.run(_explain(settings, site, visitor, url, seconds, language))
    except _NotFoundError as error:
        console.print(f"[red]{escape(str(error))}[/red]")
        raise typer.Exit(1) from None
    except UNUSABLE as error:
        fail(description(error))
    if is_new:
        console.print(NEWCOMER, style="yellow")
    _show(found, runtime.masking)
    if load is not None:
        console.print(agents_line(load, runtime.settings.chat), style="bright_black")


async def _explain(
    settings: Settings, name: str | None, visitor: str, url: str, seconds: int, language: str
) -> tuple[SiteRuntime, Explanation, AgentLoad | None, bool]:
    service = Service(settings)
    named = _site(service, name, url)
    page = PageNow("explain", _address(named, url), "", language, seconds)
    require_stores(settings)
    await service.open()
    try:
        await service.rule_sets.take(named.name)
        site = service.sites[named.name]
        who = await _visitor_id(service, site, visitor)
        found, is_new = await service.decisions.explain(site, who, page), False
        if found is None and WHOLE.fullmatch(who) and await service.visits.get(site.name, who) is None:
            found = await service.decisions.explain(site, None, page, newcomer=who)
            is_new = True
        load = service.agents.of(site.name, service.clock.now())
    finally:
        await service.close()
    if found is None:
        raise _NotFoundError(f"no visitor {visitor!r} is known at {site.name}")
    return site, found, load, is_new


def _site(service: Service, name: str | None, url: str) -> SiteRuntime:
    sites = service.sites
    if name is not None:
        if name not in sites:
            raise _NotFoundError(f"no site {name!r}; there are {', '.join(sites)}")
        return sites[name]
    host = _host(url)
    if host is None:
        if len(sites) > 1:
            raise _NotFoundError(
                f"which site? Name it with --site, or write the whole address: {', '.join(sites)}"
            )
        return next(iter(sites.values()))
    site = service.sites.at(host)
    if site is None:
        known = ", ".join(h for s in sites.values() for h in s.settings.hosts)
        raise _NotFoundError(f"{host} is the host of no site; known are {known}")
    return site


def _host(url: str) -> str | None:
    """The host that an address names; None for a path."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _NotFoundError(f"{url!r} is no address: {error}") from error
    if parts.scheme in ("http", "https") and parts.netloc:
        return parts.netloc.rpartition("@")[2]
    if url.startswith(("/", "?")) and not url.startswith("//"):
        return None
    raise _NotFoundError(f'{url!r} is no address; write for example "/cart" or "https://shop.example/cart"')


def _address(site: SiteRuntime, url: str) -> str:
    """The whole address of a page of the site."""
    host = _host(url)
    hosts = site.settings.hosts
    if host is not None:
        if hosts and not site.landing.is_own(host, ""):
            raise _NotFoundError(f"{host} is no host of {site.name}; its hosts are {', '.join(hosts)}")
        return url
    host = next((h for h in hosts if not h.startswith("*.")), None)
    # For a wildcard any name is valid: rules only use the path.
    host = host or (f"www{hosts[0].removeprefix('*')}" if hosts else "localhost")
    return f"https://{host}{url if url.startswith('/') else '/' + url}"


async def _visitor_id(service: Service, site: SiteRuntime, given: str) -> str:
    given = given.strip().lower()
    if len(given) >= ID_LENGTH:
        return given
    found = await service.visits.ending(site.name, given) if given else []
    if len(found) > 1:
        listed = ", ".join(found[:LISTED]) + (" and others" if len(found) > LISTED else "")
        raise _NotFoundError(f"several visitors end in {given!r}: {listed}")
    return found[0] if found else given


def agents_line(load: AgentLoad, chat: Chat) -> str:
    """How busy the agents are, and the gate that rules ask for by `agents.busy`."""
    if not load.known:
        return "Agents: it is not known who is there, so agents.busy is unknown"
    queue = f", {load.queue} in the queue" if load.queue else ""
    if load.load is None:
        return f"Agents: nobody is there, so agents.busy is true{queue}"
    taken = f"{load.talks} of {load.places} places taken, load {load.load:.2f}{queue}"
    state = "busy" if load.gate.busy else "not busy"
    since = "" if load.gate.since is None else f" since {_moment(load.gate.since)} UTC"
    ends = f"free below {chat.free_below:g}" if load.gate.busy else f"busy above {chat.busy_above:g}"
    return f"Agents: {taken}; {state}{since} ({ends})"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _show(found: Explanation, masking: Masking) -> None:
    for explained in found.rules:
        color = COLORS[explained.verdict]
        name = f"[{color}]{escape(explained.rule.name)}[/{color}]"
        console.print(f"{name} ({explained.rule.action}): {escape(outcome(explained))}")
        for line in explained.lines:
            _show_line(line, masking, "  ")
    rule = found.decision.rule
    console.print("Invites:")
    for told in found.standing:
        console.print(f"  {escape(told)}")
    now = f"{escape(rule.name)} ({rule.action})" if rule else "no rule; widget.default acts"
    console.print(f"Now: {now}")


def _show_line(line: Explained, masking: Masking, indent: str) -> None:
    """A line of a rule, or several lines with those in them below."""
    sign = "[green]true[/green] " if line.holds else "[red]false[/red]"
    if isinstance(line, BranchExplained):
        console.print(f"{indent}{sign} {BRANCHES[line.kind]}")
        for part in line.parts:
            _show_line(part, masking, f"{indent}  ")
        return
    console.print(f"{indent}{sign} {escape(line.line)}")
    below = f"{indent}      "
    known = ", ".join(shown_fact(k, v, masking) for k, v in line.facts.items() if k not in line.missing)
    if known:
        console.print(f"{below}{escape(known)}", style="bright_black")
    if line.missing:
        console.print(f"{below}unknown: {', '.join(line.missing)}", style="yellow")
    if line.error:
        console.print(f"{below}{escape(line.error)}", style="yellow")
