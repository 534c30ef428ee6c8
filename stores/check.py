"""Whether the addresses of the stores can be used, and who may read their files."""

from collections.abc import Iterator
from pathlib import Path

from .files import readable_by_others
from .ledger.addresses import LedgerAddressError, sqlite_path
from .ledger.engines import database_at
from .visits_address import StoreAddressError, parse

Told = tuple[str, str, bool]
"""What is wrong, what to do, and whether it is only a warning."""


def visits_problems(address: str) -> Iterator[Told]:
    """What is wrong with the address of `store`, whose file is named in full if it is one."""
    try:
        place = parse(address)
    except StoreAddressError as error:
        yield error.message, error.hint, False
        return
    if isinstance(place, Path):
        yield from _file_problems(place)


def ledger_problems(address: str) -> Iterator[Told]:
    """The same for the address of `ledger`."""
    file = sqlite_path(address)
    if file is None:
        try:
            database_at(address)
        except LedgerAddressError as error:
            yield str(error), 'write "sqlite:clew.db" or "postgresql://user@host/database"', False
    else:
        yield from _file_problems(file)


def _file_problems(file: Path) -> Iterator[Told]:
    if not file.name:
        yield "names no file", 'write "sqlite:clew.db"', False
    elif file.is_dir():
        yield f"{file} is a folder", f'name a file in it: "sqlite:{file / "clew.db"}"', False
    elif not file.parent.is_dir():
        yield f"the folder {file.parent} does not exist", "make it, or name another one", False
    else:
        for found in readable_by_others(file):
            yield f"{found} can be read by others on this machine", f"chmod 600 {found}", True
