"""Files of other programs that commands read."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

import typer

from ..postbacks.report_file import FIELDS


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
