"""`clew check`, and how every command reads the settings."""

import asyncio
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..chat.providers import providers
from ..postbacks.call import RenderError
from ..postbacks.network_call import chosen, missing, usable
from ..referral.calls import Purpose
from ..referral.catalogue import Network
from ..referral.networks_file import load as load_catalogue
from ..service.check import loader
from ..settings.check_pages import reaches
from ..settings.load import Problem, SettingsErrors, format_problem
from ..settings.loader import Loader
from ..settings.model import Partner, Settings, Site
from ..settings.platforms import platform_of, with_platform
from ..settings.wording import Wording
from .policies import forbidden_chats
from .reachable import unreachable, unusable_stores
from .terminal import open_console

NO_ORDERS = (
    "none comes in by itself: set [sites.order], or api_token for POST orders (docs/settings.md#order); "
    "until then only agents record orders"
)
CONSENT = {
    "assume": "not asked for: visitors are recognised and get cookies from the landing on; if a consent tool "
    'asks them, set [sites.consent] mode = "ask" (docs/privacy.md)',
    "ask": "by what visitors choose in a consent tool; until then nothing is stored",
    "strict": "by what visitors choose in a consent tool, only their own yes; until then nothing is stored",
}
CONSENT_COLOR = {"assume": "yellow", "ask": "", "strict": ""}
# Without these a partner cannot assign the order to a click, or compute its commission.
NEEDED = ("{click_id}", "{order_id}", "{amount}", "{currency}")


def check_command(
    config: Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The settings file.")] = Path(
        "clew.toml"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object with all findings.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Connect to no shop and no store: for a machine without them.")
    ] = False,
) -> None:
    """Find everything that is wrong in a settings file: prints each error with its line and what to do.

    Exits with 1 if there is an error. A warning is for a setting that is probably a mistake, or for a
    shop or a store that cannot be reached now.
    """
    console = open_console(soft_wrap=True, highlight=False)
    loaded = loader(config, os.environ).load()
    settings, problems = loaded.settings, list(loaded.problems)
    if settings is not None and not offline:
        problems += map(loaded.problem, asyncio.run(_unusable(settings)))
    failed = settings is None or any(problem.severity == "error" for problem in problems)
    if as_json:
        sites = [] if settings is None else [site.name for site in settings.sites]
        found = {"usable": not failed, "sites": sites, "problems": [*map(asdict, problems)]}
        typer.echo(json.dumps(found, indent=2))
        raise typer.Exit(int(failed))
    print_problems(console, problems)
    counts = [_count(number, unit) for number, unit in _weighed(problems) if number]
    if settings is None or failed:
        console.print(Text(", ".join(counts), "bold red"))
        raise typer.Exit(1)
    state = f"can be used, with {', '.join(counts)}" if counts else "is in order"
    color = "yellow" if counts else "green"
    console.print(Text(f"{config} {state}: {_count(len(settings.sites), 'site')}", color))
    kept = ", ".join(
        f"{name} {_count(days, 'day')}" for name, days in settings.retention.model_dump().items()
    )
    console.print(Text(f"  kept: {kept}; orders, credits and sums stay (docs/settings.md#retention)"))
    for site in settings.sites:
        console.print(Text(f"  {_summary(site)}"))
        for reach in reaches(site):
            console.print(Text(f"    {reach.summary()}"))
        for line in _calls(site):
            console.print(Text(f"    {line}"))
        if (chat := _chat(site)) is not None:
            console.print(Text(f"    chat: {chat[0]}", chat[1]))
        console.print(Text(f"    consent: {CONSENT[site.consent.mode]}", CONSENT_COLOR[site.consent.mode]))
        ways = _order_ways(site)
        console.print(Text(f"    orders: {' and '.join(ways) or NO_ORDERS}", "" if ways else "yellow"))
        if note := _note(site, heard=bool(ways)):
            console.print(Text(f"    {site.platform}: {note}", "cyan"))


async def _unusable(settings: Settings) -> list[Wording]:
    stores, shops = await unusable_stores(settings), await unreachable(settings)
    return [*stores, *shops, *await forbidden_chats(settings)]


def load_or_exit(config: Path, need_upstream: bool = False) -> Settings:
    """The settings of a file that is in order; else prints every error to stderr and exits with 1."""
    return loader_or_exit(config, need_upstream)[1]


def loader_or_exit(config: Path, need_upstream: bool = False) -> tuple[Loader, Settings]:
    """The same, with the loader that can reload them."""
    reader = loader(config, os.environ, need_upstream)
    try:
        return reader, reader.load().used()
    except SettingsErrors as error:
        print_problems(open_console(stderr=True, soft_wrap=True, highlight=False), error.problems)
        raise typer.Exit(1) from error


def print_problems(console: Console, problems: Sequence[Problem]) -> None:
    """Each problem on a line of its own."""
    for problem in problems:
        line = Text(format_problem(problem))
        line.highlight_regex(r"^\S+", "bold")
        line.highlight_regex(r"warning:", "yellow")
        line.highlight_regex(r"→ .*$", "cyan")
        console.print(line)


def _weighed(problems: Sequence[Problem]) -> Iterator[tuple[int, str]]:
    for severity in ("error", "warning"):
        yield sum(problem.severity == severity for problem in problems), severity


def _summary(site: Site) -> str:
    hosts = ", ".join(site.hosts) or "every other host"
    shop = site.upstream or "no upstream: for the middleware, not for clew serve"
    counts = f"{_count(len(site.partners), 'partner')}, {_count(len(site.rules), 'rule')}"
    return f"{site.name}: {hosts} → {shop}; {counts}"


def _calls(site: Site) -> Iterator[str]:
    """Which of a network's calls is used for each partner, and what another one would need; what is missing
    from the URL of a plain partner."""
    networks = load_catalogue().networks
    for partner in site.partners:
        if partner.postback and not partner.secret:
            left_out = [name for name in NEEDED if name not in partner.postback]
            if left_out:
                yield f"{partner.id}: its address does not contain {', '.join(left_out)}"
        network = networks.get(partner.network or "")
        used = chosen(partner, network) if network is not None else None
        if network is None or used is None:
            continue
        calls = network.calls_for("conversion", {})
        wanting = ", ".join(missing(partner, calls[0]))
        if len(calls) > 1:
            other = f"; {calls[0].id} would need {wanting}" if calls[0] is not used and wanting else ""
            yield f"{partner.id}: {network.name} is called by {used.id}{other}"
        entry = f"its entry is {network.confidence}" + (
            "" if network.confidence == "verified" else ": only third parties' code has its call"
        )
        yield f"{partner.id}: {_correction(partner, network, 'adjust')}"
        yield f"{partner.id}: {_correction(partner, network, 'cancel')}; {entry}"


def _correction(partner: Partner, network: Network, purpose: Purpose) -> str:
    """How changes or cancellations of orders reach a network, or why they do not."""
    what = "changes" if purpose == "adjust" else "cancellations"
    try:
        return f"{what} are reported by {usable(partner, network, purpose).id}"
    except RenderError as error:
        why = str(error).removeprefix(f"partner {partner.id}: ")
        return f"{what} are held for a person: {why}"


def _chat(site: Site) -> tuple[str, str] | None:
    """Which company's chat a site uses, and how clew hears of it, with a colour; None for clew's own."""
    name = site.chat.provider
    provider = None if name is None else providers().get(name)
    if provider is None:
        return None
    when = "with each page" if site.chat.load == "page" else "when the visitor opens it"
    if provider.webhook is None:
        heard, color = "it has no webhooks that clew knows, so only pages tell of conversations", ""
    elif site.chat.secret is None:
        heard = f"no webhooks yet, so only pages tell of conversations (`clew connect {name}`)"
        color = "yellow"
    else:
        heard, color = "conversations come by its webhooks", ""
    return f"{provider.title}, loaded {when}; {heard}", color


def _order_ways(site: Site) -> list[str]:
    """How orders of the site are reported, besides by agents."""
    order = with_platform(site).order
    ways = [] if order is None else [f"read on {order.page}"]
    reports = site.api_token is not None or any("orders:write" in one.scopes for one in site.api_tokens)
    by = [f"the webhooks of {', '.join(sorted(site.webhooks))}"] if site.webhooks else []
    by += ["POST orders"] if reports else []
    return [*ways, f"reported by {' and by '.join(by)}"] if by else ways


def _note(site: Site, *, heard: bool) -> str:
    """The note of the preset, without the advice on reporting orders if that is set up."""
    preset = platform_of(site)
    sentences = re.split(r"(?<=\.) ", preset.note) if preset is not None and preset.note else []
    return " ".join(one for one in sentences if not heard or "POST orders" not in one)


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"
