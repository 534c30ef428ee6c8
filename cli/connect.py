"""`clew connect`: how to set a shop system's webhooks up, and what clew read from the first one."""

import asyncio
from collections.abc import Iterator
from typing import Annotated

import typer

from ..orders.sources_schema import WebhookSource, webhook_sources
from ..service.clock import Clock
from ..settings.model import Settings, Site
from ..settings.wording import fresh_secret, nearest
from ..stores.ledger.books import Ledger
from ..stores.ledger.database import Database
from ..stores.ledger.deliveries import Delivery
from .check import load_or_exit
from .ledger import DEFAULT_CONFIG, Config, fail, with_ledger
from .terminal import print_line

EVERY = 1.0  # seconds between two looks into the ledger
TITLES = {"token": "clew's token", "landing": "the address at which the visit began"}


def connect_command(
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="shopify, woocommerce, …")],
    config: Config = DEFAULT_CONFIG,
    site: Annotated[str | None, typer.Option(help="The site, if there are several.")] = None,
    timeout: Annotated[
        int, typer.Option(min=0, help="Seconds to wait for the first webhook; 0: only print the steps.")
    ] = 600,
) -> None:
    """Print what to click and to paste in a shop system, wait for its first webhook, and say what it says."""
    settings = load_or_exit(config)
    source = webhook_sources().get(system)
    if source is None:
        fail(f"clew reads no webhooks of {system!r}: {nearest(system, webhook_sources())}")
    chosen = _site(settings, site)
    for line in steps(chosen, system, source):
        print_line(line)
    if system not in chosen.webhooks:
        fail(f"\nThen `clew reload --config {config}`, and call this again: it waits for the first webhook.")
    if timeout:
        print_line(
            f"\nWaiting up to {timeout} seconds for the first webhook. Place a test order, or send a test."
        )
        raise typer.Exit(with_ledger(config, lambda db: _wait(db, chosen.name, system, timeout)))


def _site(settings: Settings, name: str | None) -> Site:
    found = [one for one in settings.sites if name in (None, one.name)]
    if len(found) != 1:
        fail(f"choose a site with --site: {', '.join(one.name for one in settings.sites)}")
    return found[0]


def steps(site: Site, system: str, source: WebhookSource) -> Iterator[str]:
    """The lines to print: what to click and to paste."""
    host = next((host for host in site.hosts if not host.startswith("*")), "YOUR-SHOP")
    webhook = site.webhooks.get(system)
    secret = "the value of `secret`" if webhook is not None else "the new secret below"
    filled = {
        "url": f"https://{host}{site.prefix}hooks/{system}",
        "secret": secret,
        "topics": ", ".join(source.topics),
    }
    yield f"{source.title}, site {site.name} ({source.confidence})"
    for number, step in enumerate(source.connect, 1):
        yield f"{number}. {step.format(**filled)}"
    yield f"Whose order it is: {source.carrier}."
    for unsure in source.likely:
        yield f"Not sure: {unsure}."
    if webhook is None:
        yield f"\nThere is no secret yet. Add to the settings, below the site {site.name}:\n"
        yield f"[sites.webhooks.{system}]"
        yield f"{fresh_secret()}  # or the one that {source.title} shows"


async def _wait(db: Database, site: str, system: str, seconds: float) -> int:
    """The exit status: 0 once an order was read."""
    ledger, clock = Ledger(db), Clock()
    await clock.follow(db)
    start = clock.now()
    seen: set[tuple[str, float]] = set()
    refused = 0.0
    while clock.now() < start + seconds:
        for one in await ledger.deliveries.since(site, system, start):
            if (one.digest, one.at) in seen:
                continue
            seen.add((one.digest, one.at))
            for line in understood(one):
                print_line(line)
            if one.outcome in ("order", "unread"):
                return 0 if one.outcome == "order" else 1
        for notice in await ledger.notices.list([site]):
            mine = notice.event == "webhook_refused" and notice.details.get("source") == system
            if mine and notice.last_at > max(start, refused):
                refused = notice.last_at
                print_line(f"A webhook came and was refused: {notice.details.get('why')}")
        await asyncio.sleep(EVERY)
    print_line(
        f"No order came within {seconds:.0f} seconds. Check that `clew serve` runs with these settings, that "
        "the shop system can reach the address from the internet, and what its own log of webhooks says."
    )
    return 1


def understood(one: Delivery) -> Iterator[str]:
    """What a webhook said, as lines."""
    said, about = one.said, f" ({one.topic})" if one.topic else ""
    if one.outcome == "ping":
        yield "The shop system tried the address, and it works. Waiting for an order."
        return
    if one.outcome == "ignored":
        yield f"A webhook came{about}, signed and understood. It is not about an order. Waiting for one."
        return
    if one.outcome == "unread":
        yield f"A webhook came{about} with a right signature, but it could not be read: {said.get('why')}"
        return
    yield f"A webhook came{about}, with a right signature:"
    yield f"  order    {said.get('order') or 'without a number'}"
    if said.get("total") is not None:
        yield f"  total    {said['total']} {said['currency']}"
    yield f"  state    {said.get('state') or 'not told'}"
    if said.get("unknown_state"):
        yield f"  unknown  the word {said['unknown_state']!r}: say in `states` of the settings what it means"
    if said.get("items") is not None:
        yield f"  items    {said['items']}"
    if said.get("refunds"):
        yield f"  refunds  {said['refunds']}"
    carrier = said.get("carrier")
    if carrier is not None:
        yield f"  visitor  by {TITLES[carrier]}"
    else:
        yield "  visitor  NOT FOUND: no token in the order. Is it set before payment? A test event has none."
