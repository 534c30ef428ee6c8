"""`clew partner`: links to a partner's own pages."""

import getpass
from typing import Annotated
from urllib.parse import urlsplit

import typer

from ..service.clock import time_of
from ..service.partner_links import DAYS, MOST_DAYS, PartnerLink, PartnerLinks, link_address
from ..stores.ledger.database import Database
from ..stores.ledger.partner_access import PartnerAccess
from .auditing import note
from .check import load_or_exit
from .ledger import DEFAULT_CONFIG, Config, fail, moment, with_ledger
from .terminal import print_line
from .trying import partner_of

app = typer.Typer(help="Links to a partner's own pages: make one, revoke all.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="PARTNER", help="The partner's id in the settings.")]
Site = Annotated[str | None, typer.Option(help="The site, if several have such a partner.")]


@app.command("link")
def link_command(
    partner: Name,
    config: Config = DEFAULT_CONFIG,
    site: Site = None,
    days: Annotated[int, typer.Option(min=1, max=MOST_DAYS, help="How many days it is valid.")] = DAYS,
    url: Annotated[str | None, typer.Option(help="Scheme and host of the desk: https://shop.example")] = None,
) -> None:
    """Print a link to a partner's pages. Whoever has it sees them until it expires or is revoked."""
    settings = load_or_exit(config)
    at, _ = partner_of(settings, partner, site)

    async def work(db: Database) -> PartnerLink:
        generation = await PartnerAccess(db).generation(at, partner)
        await note(db, "partner.link", partner, at, days=str(days))
        return PartnerLink(partner, generation, int(await time_of(db)) + days * 86400)

    link = with_ledger(config, work)
    try:
        address = link_address(settings, at, PartnerLinks(settings, at).token(link), base_of(url))
    except ValueError as error:
        fail(f"clew partner: {error}: --url https://shop.example")
    print_line(address)
    print_line(
        f"Valid until {moment(link.until)} UTC. Revoke it with `clew partner revoke {partner}`.", err=True
    )


def base_of(url: str | None) -> str | None:
    """Scheme and host of an option. Raises typer.BadParameter."""
    if url is None:
        return None
    parts = urlsplit(url)
    if (
        parts.scheme not in ("http", "https")
        or not parts.netloc
        or parts.path not in ("", "/")
        or parts.query
    ):
        raise typer.BadParameter(f"{url!r} is no scheme and host; write for example https://shop.example")
    return url


@app.command("revoke")
def revoke_command(
    partner: Name,
    config: Config = DEFAULT_CONFIG,
    site: Site = None,
    by: Annotated[str | None, typer.Option(help="Who decides; your user name if you leave it out.")] = None,
) -> None:
    """End all links to a partner's pages, at once. Accounts with a password still work."""
    at, _ = partner_of(load_or_exit(config), partner, site)
    decided_by = by or getpass.getuser()

    async def work(db: Database) -> None:
        await PartnerAccess(db).revoke(at, partner, await time_of(db), by=decided_by)
        await note(db, "partner.revoked", partner, at)

    with_ledger(config, work)
    print_line(f"All links to the pages of {partner} at {at} are revoked.")
