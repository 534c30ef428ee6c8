"""`clew forget`: a person asks to be forgotten, and gets a receipt."""

import asyncio
import json
import re
from typing import Annotated

import typer

from ..service.forgetting import Line, Receipt
from ..service.service import Service
from .auditing import note
from .check import load_or_exit
from .ledger import DEFAULT_CONFIG, UNUSABLE, AsJson, Config, description, fail, require_ledger
from .terminal import print_line

_HASH = re.compile(r"[0-9a-f]{64}")
ID_LENGTH = 26
_VISITOR = re.compile(r"[A-Za-z0-9_-]{1,4096}")


def _hash(value: str | None) -> str | None:
    if value is not None and not _HASH.fullmatch(value.lower()):
        raise typer.BadParameter(
            "this is no SHA-256 in 64 hexadecimal digits: "
            "printf %s jane@example.com | sha256sum, with the address in lower case"
        )
    return None if value is None else value.lower()


def _visitor(value: str | None) -> str | None:
    if value is not None and not _VISITOR.fullmatch(value):
        raise typer.BadParameter(f"{value[:60]!r} is neither a visitor's id nor a value of its cookie")
    return value


def forget_command(
    visitor: Annotated[
        str | None,
        typer.Argument(
            metavar="VISITOR",
            callback=_visitor,
            help="The visitor's id, as `clew explain order` shows it, or the whole value of its cookie.",
        ),
    ] = None,
    email_hash: Annotated[
        str | None,
        typer.Option(callback=_hash, help="Instead: SHA-256 of the e-mail address in lower case."),
    ] = None,
    config: Config = DEFAULT_CONFIG,
    site: Annotated[str | None, typer.Option(help="The site, if there are several.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would go and what would stay.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete what names a person, and print a receipt: what went, what stayed, and why.

    It works while `clew serve` runs. Orders, credits and what partners were told stay, without the person.
    """
    if (visitor is None) == (email_hash is None):
        raise typer.BadParameter("name either VISITOR or --email-hash")
    settings = load_or_exit(config)
    require_ledger(settings)
    names = [one.name for one in settings.sites]
    if site is None and len(names) > 1:
        fail(f"which site? Name it with --site: {', '.join(names[:50])}")
    service = Service(settings)

    async def run() -> Receipt:
        try:
            await service.open()
            await service.follow_clock()
            name, who = site or names[0], visitor
            found = service.sites.get(name)
            if who is not None and found is not None and (known := found.cookie.open(who)) is not None:
                who = known.visitor
            elif who is not None and found is not None:
                await _refuse_an_end(service, name, who)
            done = await service.forgetter.forget(name, visitor=who, email=email_hash, dry=dry_run)
            if not dry_run:
                # Not who: that is what goes.
                await note(service.ledger.db, "person.forgotten", "clew forget", name)
            return done
        finally:
            await service.close()

    try:
        receipt = asyncio.run(run())
    except UNUSABLE as error:
        fail(f"{description(error)}. Repeat the command when it can: what is forgotten already stays so.")
    if site is not None and site not in names and not receipt.went:
        fail(f"Nothing is stored of a site {site!r}; the settings have {', '.join(names[:50])}.")
    if as_json:
        typer.echo(json.dumps(receipt.to_json()))
        return
    _show(receipt)


async def _refuse_an_end(service: Service, site: str, letters: str) -> None:
    """Exit with 1 for the last letters of an id, as the desk shows them: nothing would be forgotten."""
    if len(letters) >= ID_LENGTH:
        return
    whole = await service.visits.ending(site, letters)
    if whole and letters not in whole:
        fail(
            f"Nothing was forgotten: {letters} is only the end of a visitor's id. Give all of it: {whole[0]}"
        )


def _show(receipt: Receipt) -> None:
    verb = "Would forget" if receipt.dry_run else "Forgot"
    whom = [f"visitor {one}" for one in receipt.visitors]
    whom += [f"e-mail hash {one}" for one in receipt.email_hashes]
    print_line(f"{verb} at {receipt.site}: {', '.join(whom)}.")
    _table("What goes:" if receipt.dry_run else "What went:", receipt.went)
    if not receipt.went:
        print_line("Nothing names this person.")
    _table("What stays, and why:" if receipt.dry_run else "What stayed, and why:", receipt.stayed)
    for one in receipt.notes:
        print_line(f"Note: {one}.")


def _table(title: str, lines: tuple[Line, ...]) -> None:
    if lines:
        print_line(title)
    for line in lines:
        print_line(f"  {line.table:<14}{line.rows:>7}  {line.what}")
