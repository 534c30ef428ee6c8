"""`clew migrate`: builds or upgrades the ledger's tables, or fills them from another ledger."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from ..service.service import journal_path
from ..settings.model import JOURNAL
from ..stores import backup
from ..stores.journal import size
from ..stores.ledger.addresses import sqlite_path
from ..stores.ledger.copying import copy_ledger
from ..stores.ledger.database import Database
from ..stores.ledger.engines import database_at
from .check import load_or_exit
from .ledger import DEFAULT_CONFIG, UNUSABLE, Config, description, fail
from .terminal import print_line

Source = Annotated[
    str | None,
    typer.Option("--from", metavar="ADDRESS", help="Copy this ledger into the one of the settings."),
]


def migrate_command(config: Config = DEFAULT_CONFIG, source: Source = None) -> None:
    """Build or upgrade the ledger's tables; with --from, copy another ledger into them.

    `clew serve` builds and upgrades them too when it starts; with this command it is done beforehand, for
    example by another database user. Nobody may be writing to the ledger that is copied."""
    settings = load_or_exit(config)
    try:
        target = database_at(settings.ledger)
        if source is None:
            _tell(*asyncio.run(_upgraded(target)))
            return
        if (file := sqlite_path(source)) is not None:
            if not file.is_file():
                fail(f"there is no ledger at {file}")
            with backup.unused(file):
                pass
        copied = asyncio.run(_copied(database_at(source), target))
    except (*UNUSABLE, backup.BackupError) as error:
        fail(description(error))
    rows = ", ".join(f"{count} {name}" for name, count in copied.items() if count)
    print_line(f"copied {rows or 'nothing: the ledger is empty'}")
    if file is not None:
        _tell_of_the_journal(file.with_name(JOURNAL), journal_path(settings))


def _tell_of_the_journal(old: Path, new: Path) -> None:
    """Orders that wait in the journal are not in the ledger that was copied."""
    if size(old) and old.resolve() != new.resolve():
        print_line(
            f"orders wait in the journal {old}, which `clew serve` does not read any more: write journal = "
            f'"{old}" into the settings',
            err=True,
        )


def _tell(before: str | None, after: str) -> None:
    if before == after:
        print_line(f"the ledger has version {after}: there is nothing to do")
    elif before is None:
        print_line(f"the ledger was built: version {after}")
    else:
        print_line(f"the ledger was upgraded from version {before} to {after}")


async def _upgraded(db: Database) -> tuple[str | None, str]:
    try:
        return await db.open()
    finally:
        await db.close()


async def _copied(source: Database, target: Database) -> dict[str, int]:
    try:
        await source.open()
        await target.open()
        return dict(await copy_ledger(source, target))
    finally:
        await source.close()
        await target.close()
