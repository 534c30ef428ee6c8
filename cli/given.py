"""Files of other programs that commands read."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, NoReturn, get_args

import typer

from ..postbacks.report_file import FIELDS, Status

Columns = Annotated[
    list[str] | None,
    typer.Option(metavar="FIELD=NAME", help=f"The column of a field: {', '.join(FIELDS)}. May be repeated."),
]
Statuses = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        metavar="WORD=STATUS",
        help=f"What a word of the file means: {', '.join(get_args(Status))}. May be repeated.",
    ),
]


def file_body(file: Path, most: int, fail: Callable[[str], NoReturn]) -> bytes:
    """A file's first bytes, one more than `most`, so that a file that is too long is seen to be."""
    try:
        with file.open("rb") as opened:
            return opened.read(most + 1)
    except OSError as error:
        fail(f"{file}: {error.strerror or error}")


def named_columns(columns: Iterable[str], fields: Iterable[str] = FIELDS) -> dict[str, str]:
    """The columns of `--column FIELD=NAME`, by field. Raises typer.BadParameter."""
    found = {}
    for text in columns:
        field, equals, name = text.partition("=")
        if not equals or field not in FIELDS:
            raise typer.BadParameter(f"--column {text!r}: write FIELD=NAME; fields are {', '.join(fields)}")
        found[field] = name.strip("\"'")
    return found


def meant_statuses(given: Iterable[str]) -> dict[str, Status]:
    """The statuses of `--status WORD=STATUS`, by the file's word. Raises typer.BadParameter."""
    found: dict[str, Status] = {}
    for text in given:
        word, equals, said = text.rpartition("=")
        status = next((one for one in get_args(Status) if one == said.strip()), None)
        if not equals or not word.strip() or status is None:
            known = ", ".join(get_args(Status))
            raise typer.BadParameter(f"--status {text!r}: write WORD=STATUS; statuses are {known}")
        found[word.strip("\"' ")] = status
    return found
