"""How commands open the ledger: only an existing one, with readable errors."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer

from ..settings.model import Settings
from ..stores.errors import STORE_FAILURES
from ..stores.ledger.addresses import LedgerAddressError, sqlite_path
from ..stores.ledger.database import Database
from ..stores.ledger.engines import database_at
from ..stores.visits_address import StoreAddressError
from .check import load_or_exit
from .terminal import print_line

Config = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The settings file.")]
DEFAULT_CONFIG = Path("clew.toml")
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
T = TypeVar("T")
# What opening and querying the stores may raise.
UNUSABLE = (*STORE_FAILURES, LedgerAddressError, StoreAddressError, OSError)


def description(error: Exception) -> str:
    """The message of one of UNUSABLE."""
    if isinstance(error, OSError):
        return f"the ledger cannot be used: {error}"
    return str(error)


def with_ledger(config: Path, work: Callable[[Database], Awaitable[T]]) -> T:
    """The result of `work` on the ledger of a settings file. Exits with 1 and a message if there is none."""
    settings = load_or_exit(config)
    require_ledger(settings)

    async def run() -> T:
        db = database_at(settings.ledger)
        try:
            await db.open()
            return await work(db)
        finally:
            await db.close()

    try:
        return asyncio.run(run())
    except UNUSABLE as error:
        fail(description(error))


def require_ledger(settings: Settings) -> None:
    """Exit with 1 if there is no ledger: opening it would create an empty one, and hide a wrong path."""
    _require("ledger", settings.ledger, "`clew serve` and `clew desk add-user` make it")


def require_stores(settings: Settings) -> None:
    """The same if there is neither a visit store nor a ledger."""
    files = [sqlite_path(address) for address in (settings.ledger, settings.store)]
    if not any(file is None or file.is_file() for file in files):
        _require("visit store", settings.store, "`clew serve` makes it")


def _require(what: str, address: str, how: str) -> None:
    file = sqlite_path(address)
    if file is not None and not file.is_file():
        fail(f"there is no {what} at {file}: {how}; is this the right settings file?")


def not_found(config: Path, message: str, site: str | None, partner: str | None = None) -> str:
    """The message, and a hint if the settings have no such site or partner: it is probably a typo."""
    sites = load_or_exit(config).sites
    partners = [one.id for each in sites if site in (None, each.name) for one in each.partners]
    for what, name, known in (("site", site, [each.name for each in sites]), ("partner", partner, partners)):
        if name is not None and name not in known:
            there = ", ".join(dict.fromkeys(known)) or "none"
            return f"{message} The settings have no {what} {name!r}; there are: {there}."
    return message


def fail(message: str) -> NoReturn:
    """Print the message to stderr, and exit with 1."""
    print_line(message, err=True)
    raise typer.Exit(1)


def day(value: str | None) -> float | None:
    """`2026-11-26`, or with a time `2026-11-26T15:00`, in UTC, as unix seconds; for options."""
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError as error:
        raise typer.BadParameter(
            f"{value!r} is no date for --since or --until; write for example 2026-11-26"
        ) from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def moment(seconds: float) -> str:
    """Unix seconds as `2026-11-26 15:00`, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
