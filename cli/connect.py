"""`clew connect`: how to set up the webhooks of a shop system or a chat, and what the first one said."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Annotated, NamedTuple

import typer

from ..chat.providers import providers
from ..orders.sources_schema import WebhookSource, webhook_sources
from ..service.clock import Clock
from ..service.partner_links import scheme_of
from ..settings.model import Settings, Site
from ..settings.wording import fresh_secret, nearest
from ..stores.ledger.books import Ledger
from ..stores.ledger.database import Database
from ..stores.ledger.deliveries import Delivery
from . import connect_chat
from .check import load_or_exit
from .ledger import DEFAULT_CONFIG, Config, fail, with_ledger
from .partner import base_of
from .terminal import print_line

EVERY = 1.0  # seconds between two looks into the ledger
TITLES = {"token": "clew's token", "landing": "the address at which the visit began"}


def connect_command(
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="shopify, woocommerce, crisp, intercom, …")],
    config: Config = DEFAULT_CONFIG,
    site: Annotated[str | None, typer.Option(help="The site, if there are several.")] = None,
    url: Annotated[
        str | None,
        typer.Option(help="Scheme and host of the shop, if not https and the site's first host."),
    ] = None,
    timeout: Annotated[
        int, typer.Option(min=0, help="Seconds to wait for the first webhook; 0: only print the steps.")
    ] = 600,
) -> None:
    """Print how to set up a shop system's or a chat's webhooks, wait for the first, and say what it says."""
    settings = load_or_exit(config)
    source, provider = webhook_sources().get(system), providers().get(system)
    if provider is not None and provider.webhook is None:
        fail(f"no webhooks of {provider.title} are known: clew hears only what pages tell (docs/chat.md)")
    if source is None and provider is None:
        known = {**webhook_sources(), **{name: one for name, one in providers().items() if one.webhook}}
        fail(f"clew reads no webhooks of {system!r}: {nearest(system, known)}")
    chosen = _site(settings, site)
    address = hook_address(chosen, system, base_of(url))
    if provider is not None:
        lines = connect_chat.steps(chosen, system, provider, address)
        is_set = chosen.chat.provider == system and chosen.chat.secret is not None
        waited = Waited("conversation", connect_chat.understood, connect_chat.is_told, "Write into the chat.")
    else:
        assert source is not None
        lines, is_set = steps(chosen, system, source, address), system in chosen.webhooks
        waited = Waited("order", understood, _is_order, "Place a test order, or send a test.")
    for line in lines:
        print_line(line)
    if provider is not None and is_set:
        for line in connect_chat.agents_link(settings, chosen, Clock().now()):
            print_line(line)
    if not is_set:
        fail(f"\nThen `clew reload --config {config}`, and call this again: it waits for the first webhook.")
    if timeout:
        print_line(f"\nWaiting up to {timeout} seconds for the first webhook. {waited.hint}")
        raise typer.Exit(with_ledger(config, lambda db: _wait(db, chosen.name, system, timeout, waited)))


def _site(settings: Settings, name: str | None) -> Site:
    found = [one for one in settings.sites if name in (None, one.name)]
    if len(found) != 1:
        fail(f"choose a site with --site: {', '.join(one.name for one in settings.sites)}")
    return found[0]


def hook_address(site: Site, name: str, base: str | None) -> str:
    """Where webhooks are sent to. `base` is the scheme and host of the shop."""
    host = next((host for host in site.hosts if not host.startswith("*")), "YOUR-SHOP")
    start = (base or f"{scheme_of(host)}://{host}").rstrip("/")
    return f"{start}{site.prefix}hooks/{name}"


def steps(site: Site, system: str, source: WebhookSource, address: str) -> Iterator[str]:
    """The lines to print: what to click and to paste."""
    webhook = site.webhooks.get(system)
    secret = "the value of `secret`" if webhook is not None else "the new secret below"
    filled = {
        "url": address,
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


class Waited(NamedTuple):
    """What is waited for: its name, how to say what came, whether that is it, and what to do meanwhile."""

    what: str
    said: Callable[[Delivery], Iterator[str]]
    is_it: Callable[[Delivery], bool]
    hint: str


def _is_order(one: Delivery) -> bool:
    return one.outcome in ("order", "unread")


async def _wait(db: Database, site: str, system: str, seconds: float, waited: Waited) -> int:
    """The exit status: 0 once what is waited for was read."""
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
            for line in waited.said(one):
                print_line(line)
            if waited.is_it(one):
                return 1 if one.outcome == "unread" else 0
        for notice in await ledger.notices.list([site]):
            mine = notice.event == "webhook_refused" and notice.details.get("source") == system
            if mine and notice.last_at > max(start, refused):
                refused = notice.last_at
                print_line(f"A webhook came and was refused: {notice.details.get('why')}")
        await asyncio.sleep(EVERY)
    print_line(
        f"No {waited.what} came within {seconds:.0f} seconds. Check that `clew serve` runs with these "
        "settings, that the system can reach the address from the internet, and what its own log of webhooks "
        "says."
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
