"""How commands find one order: by its number, and by the site where several have such a number."""

from pathlib import Path
from typing import Annotated

import typer

from ..orders.ids import normalised
from ..orders.model import OrderError
from ..stores.ledger.database import Database
from ..stores.ledger.stories import Stories, Story
from .ledger import not_found


class NoOrderError(LookupError):
    """There is no such order, or several sites have one; the text says which."""


def checked_number(value: str) -> str:
    """An order's number as people write it, normalised; for options."""
    try:
        return normalised(value, "order").id
    except OrderError as error:
        raise typer.BadParameter(str(error)) from None


Number = Annotated[
    str, typer.Argument(metavar="ID", callback=checked_number, help="The order's number, in any spelling.")
]
OneSite = Annotated[str | None, typer.Option(help="The site, if several have an order of this number.")]


async def find_order(db: Database, config: Path, number: str, site: str | None) -> Story:
    """The order of a normalised number. Raises NoOrderError."""
    stories = Stories(db)
    sites = (site,) if site is not None else await stories.sites(number)
    if len(sites) > 1:
        raise NoOrderError(
            f"several sites have an order {number!r}: name one with --site: {', '.join(sites)}"
        )
    found = await stories.of(sites[0], number) if sites else None
    if found is None:
        raise NoOrderError(not_found(config, f"There is no order {number!r}.", site))
    return found
