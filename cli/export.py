"""`clew export`: rows of the ledger for other programs, with a cursor to go on from the next time."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Annotated

import typer

from ..stores.files import PRIVATE
from ..stores.ledger.audit import PROGRAM
from ..stores.ledger.database import Database
from ..stores.ledger.exports import COLUMNS, CursorError, Exports, Wanted, check_cursor
from .auditing import note
from .export_files import FORMATS, MissingParquetError, Writer, writer
from .ledger import DEFAULT_CONFIG, Config, day, fail, with_ledger
from .orders import Site
from .terminal import print_line

PAGE = 500


def _kind(value: str) -> str:
    if value not in COLUMNS:
        raise typer.BadParameter(f"{value!r}: there are {', '.join(COLUMNS)}")
    return value


def _format(value: str) -> str:
    if value not in FORMATS:
        raise typer.BadParameter(f"{value!r}: there are {', '.join(FORMATS)}")
    return value


def export_command(
    kind: Annotated[str, typer.Argument(metavar="KIND", callback=_kind, help=f"What: {', '.join(COLUMNS)}.")],
    config: Config = DEFAULT_CONFIG,
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="Written or changed from this day or time on (UTC).")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="Written or changed before this day or time (UTC).")
    ] = None,
    site: Site = None,
    form: Annotated[str, typer.Option("--format", callback=_format, help=f"{', '.join(FORMATS)}.")] = "csv",
    after: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on behind the cursor of an earlier export.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="How many entries at most.")] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write into this file instead of stdout.")
    ] = None,
) -> None:
    """Export orders, credits, postbacks, touches or conversations.

    The last line on stderr is `cursor: …`: give it to `--after` the next time, and nothing comes twice and
    nothing is missed.

    A file is complete, or it is not there: it gets its name when all is written.
    """
    wanted = Wanted(site, day(since), day(until))
    try:
        if after is not None:
            check_cursor(kind, after)
        with _opened(output) as to:
            if form == "parquet" and to.isatty():
                fail("parquet is not for a terminal: name a file with --output, or write to a pipe")
            # Made when the first rows are there: nothing is written if the ledger cannot be read.
            made = partial(writer, form, COLUMNS[kind], to)
            cursor = with_ledger(config, lambda db: _export(db, kind, wanted, after, limit, made))
    except CursorError as error:
        raise typer.BadParameter(str(error), param_hint="--after") from None
    except MissingParquetError as error:
        fail(str(error))
    print_line(f"cursor: {cursor}", err=True)


async def _export(
    db: Database, kind: str, wanted: Wanted, after: str | None, limit: int | None, made: Callable[[], Writer]
) -> str:
    """Write all pages; the cursor behind the last one. `made` makes the writer."""
    exports, left, sink = Exports(db), limit, None
    while True:
        size = PAGE if left is None else min(PAGE, left)
        page = await exports.page(kind, wanted, after, size)
        sink = sink or made()
        sink.write(page.rows)
        after = page.cursor
        if left is not None:
            left -= size
        if not page.more or left == 0:
            sink.close()
            await note(db, f"export.{kind}", kind, wanted.site or PROGRAM)
            return after


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[bytes]]:
    """stdout, or a file that only its owner may read and that gets its name at the end."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = output.with_name(f"{output.name}.part")
    try:
        with open(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, PRIVATE), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(output)
    except OSError as error:
        part.unlink(missing_ok=True)
        fail(f"cannot write {output}: {error.strerror or error}")
    except BaseException:
        part.unlink(missing_ok=True)
        raise
