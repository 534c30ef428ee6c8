"""`clew coupons`: single-use codes for agents' offers, and what offers came to."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ..service.clock import time_of
from ..service.offers import OfferError, pool_codes
from ..settings.model import Site as SiteSettings
from ..stores.ledger.database import Database
from ..stores.ledger.offers import Offers
from .auditing import note
from .check import load_or_exit
from .given import file_body
from .ledger import DEFAULT_CONFIG, AsJson, Config, day, fail, not_found, with_ledger
from .orders import Since, Site, Until
from .terminal import open_console, print_line

LARGEST = 4 * 1024 * 1024

app = typer.Typer(
    help="Single-use codes for agents' offers: load them, and see what offers came to.", no_args_is_help=True
)


@app.command("add")
def add_command(
    coupon: Annotated[str, typer.Argument(help="The coupon's name in the settings.")],
    file: Annotated[Path | None, typer.Argument(help="The codes, one a line; else standard input.")] = None,
    config: Config = DEFAULT_CONFIG,
    site: Site = None,
) -> None:
    """Load single-use codes into the pool of a coupon. Codes that the site has already are left out."""
    at = _site_of(config, coupon, site)
    text = (
        sys.stdin.read(LARGEST) if file is None else file_body(file, LARGEST, fail).decode("utf-8", "replace")
    )
    try:
        codes = pool_codes(at, coupon, text)
    except OfferError as error:
        fail(f"Nothing was added: {error}.")

    async def work(db: Database) -> int:
        added = await Offers(db).add_codes(at.name, coupon, codes, await time_of(db))
        await note(db, "coupons.added", coupon, at.name, codes=str(added))
        return added

    added = with_ledger(config, work)
    print_line(f"{added} of {len(codes)} codes are new in {coupon} of {at.name}.")


def _site_of(config: Path, coupon: str, name: str | None) -> SiteSettings:
    """The site that has the coupon."""
    sites = [one for one in load_or_exit(config).sites if name in (None, one.name)]
    having = [one for one in sites if any(c.name == coupon for c in one.offers.coupons)]
    if not having:
        fail(f"no site has a coupon {coupon!r}: [[sites.offers.coupons]] in the settings adds one")
    if len(having) > 1:
        fail(f"{coupon!r} is at {', '.join(one.name for one in having)}: choose one with --site")
    return having[0]


@app.command("report")
def report_command(
    config: Config = DEFAULT_CONFIG,
    site: Site = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """Sum up links and offers of agents and rules: how many were followed, and the orders that came."""
    found = with_ledger(config, lambda db: Offers(db).sums(site, day(since), day(until)))
    if as_json:
        for one in found:
            typer.echo(json.dumps({**asdict(one), "total": f"{one.total:f}"}))
        return
    if not found:
        print_line(not_found(config, "No offers were sent in this period.", site))
        return
    table = Table("Site", "Coupon", "By", "Sent", "Clicked", "Orders", "Total")
    for one in found:
        total = f"{one.total} {one.currency}" if one.currency else ""
        names = (escape(one.site), escape(one.coupon or "link only"), escape(one.agent or f"rule {one.rule}"))
        table.add_row(*names, str(one.sent), str(one.clicked), str(one.orders), total)
    open_console().print(table)
