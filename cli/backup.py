"""`clew backup` and `clew restore`: copies of the ledger and the visits, made while clew runs."""

import json
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ..service.clock import Clock
from ..settings.model import Settings
from ..stores import backup
from ..stores.ledger.addresses import sqlite_path
from .check import load_or_exit
from .ledger import DEFAULT_CONFIG, Config, fail, moment, require_ledger
from .terminal import print_line

Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]


def backup_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy.")],
    config: Config = DEFAULT_CONFIG,
    force: Force = False,
) -> None:
    """Copy the ledger, and the visits if they are in another file, while clew runs.

    Only the owner of the copies may read them."""
    settings = load_or_exit(config)
    ledger = _ledger(settings)
    require_ledger(settings)
    try:
        backup.copy(ledger, file, force=force)
        print_line(f"{file}: {_summary(backup.check(file))}")
        visits = _visits(settings, ledger)
        if visits is not None and visits.is_file():
            beside = _beside(file)
            backup.copy(visits, beside, force=force)
            print_line(f"{beside}: {backup.check_visits(beside)} visitors")
        elif sqlite_path(settings.store) is None:
            print_line("the visits are in a server, and are not copied: see docs/operations.md, Backups")
    except backup.BackupError as error:
        fail(str(error))


def restore_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A copy that `clew backup` made.")],
    config: Config = DEFAULT_CONFIG,
    check: Annotated[
        bool, typer.Option("--check", help="Only look the copy through, and say what it holds.")
    ] = False,
    force: Force = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Put a copy in the place of the ledger, and of the visits; or check it.

    Nothing may have them open. With --force existing files are replaced, and kept beside the new ones."""
    try:
        holds = backup.check(file)
        visitors = backup.check_visits(_beside(file)) if _beside(file).is_file() else None
        placed = {} if check else _restore(load_or_exit(config), file, force=force)
    except backup.BackupError as error:
        fail(str(error))
    if as_json:
        newest = None if holds.newest is None else datetime.fromtimestamp(holds.newest, UTC)
        found: dict[str, Any] = {"file": str(file), **asdict(holds), "visitors": visitors, "placed": placed}
        found["newest"] = None if newest is None else f"{newest:%Y-%m-%dT%H:%M:%SZ}"
        typer.echo(json.dumps(found))
        return
    print_line(f"{file}: {_summary(holds)}")
    if visitors is not None:
        print_line(f"{_beside(file)}: {visitors} visitors")
    for target, old in placed.items():
        print_line(f"{target} is in place" + (f"; the old one is {old}" if old else ""))


def _restore(settings: Settings, file: Path, *, force: bool) -> dict[str, str | None]:
    """Put ledger and visits in place; the old files' names by the new ones'. Raises BackupError."""
    ledger = _ledger(settings)
    pairs = [(file, ledger)]
    visits = _visits(settings, ledger)
    if visits is not None and _beside(file).is_file():
        pairs.append((_beside(file), visits))
    there = [str(target) for _, target in pairs if target.exists()]
    if there and not force:
        raise backup.BackupError(
            f"{' and '.join(there)} would be replaced: --force does so, and keeps the old files beside it"
        )
    aside = f".before-{datetime.fromtimestamp(Clock().now(), UTC):%Y%m%dT%H%M%SZ}"
    with ExitStack() as held:
        for _, target in pairs:
            held.enter_context(backup.unused(target))
        placed = {str(target): backup.put_in_place(copied, target, aside) for copied, target in pairs}
    return {target: None if old is None else str(old) for target, old in placed.items()}


def _ledger(settings: Settings) -> Path:
    path = sqlite_path(settings.ledger)
    if path is None:
        fail(
            "clew backup and clew restore copy SQLite files. Back PostgreSQL up with its own tools: "
            "pg_dump --format=custom --file=clew.dump URL, and pg_restore --clean --dbname=URL clew.dump"
        )
    return path


def _visits(settings: Settings, ledger: Path) -> Path | None:
    """The visits' file, if they have one of their own."""
    path = sqlite_path(settings.store)
    return path if path is not None and path.resolve() != ledger.resolve() else None


def _beside(file: Path) -> Path:
    return file.with_name(file.name + backup.VISITS_ENDING)


def _summary(holds: backup.Holds) -> str:
    """What a copy holds, in a line."""
    sums = " and ".join(f"{total} {currency}" for currency, total in holds.totals.items()) or "nothing"
    states = ", ".join(f"{count} {state}" for state, count in holds.postbacks.items()) or "none"
    newest = "" if holds.newest is None else f", the newest of {moment(holds.newest)} UTC"
    return (
        f"a whole ledger of version {holds.version} with {holds.rows['orders']} orders that come to {sums}"
        f"{newest}; postbacks: {states}; {holds.rows['conversations']} conversations with "
        f"{holds.rows['messages']} messages"
    )
