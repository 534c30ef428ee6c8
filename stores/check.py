"""Whether the addresses of the stores can be used, and who may read their files."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from .files import readable_by_others
from .ledger.addresses import sqlite_path
from .postgres_address import PostgresAddress, PostgresAddressError, parse_postgres
from .visits_address import TLS_FILES, StoreAddressError, parse

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
    elif isinstance(place, PostgresAddress):
        yield from _missing(dict(place.files))
    else:
        yield from _missing({name: Path(place.options[name]) for name in TLS_FILES if name in place.options})


def ledger_problems(address: str) -> Iterator[Told]:
    """The same for the address of `ledger`."""
    file = sqlite_path(address)
    if file is None:
        if not address.startswith(("postgresql:", "postgres:")):
            yield (
                "is no address of a ledger",
                'write "sqlite:clew.db" or "postgresql://user@host/database"',
                False,
            )
            return
        try:
            yield from _missing(dict(parse_postgres(address).files))
        except PostgresAddressError as error:
            yield error.message, error.hint, False
    else:
        yield from _file_problems(file)


def journal_problems(path: Path) -> Iterator[Told]:
    """The same for the file of `journal`. Warnings: clew runs without it, as long as the ledger answers."""
    lost = "an order that the ledger does not take would have nowhere to wait"
    if path.is_dir():
        yield f"{path} is a folder: {lost}", f'name a file in it: "{path / "clew-orders.journal"}"', True
    elif not path.parent.is_dir():
        yield f"the folder {path.parent} does not exist: {lost}", "make it, or name another one", True


def _missing(files: Mapping[str, Path]) -> Iterator[Told]:
    for name, file in files.items():
        if not os.access(file, os.R_OK):
            yield f"{name}: there is no file {file} that can be read", "correct its path, or its mode", False


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
