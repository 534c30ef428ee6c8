"""Tables of pages, and the same as CSV for a spreadsheet: RFC 4180 in UTF-8, sent while they are read."""

import csv
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import StreamingResponse

from ...referral.masking import cells
from .render import headers

Cell = str | int | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a page (`_figures.html`): its title, its columns, each with whether it has numbers, and its
    rows. None is not known."""

    title: str
    columns: Sequence[tuple[str, bool]]
    rows: Sequence[Sequence[Cell]]


class _Line:
    """What `csv` writes to."""

    text = ""

    def write(self, text: str) -> None:
        self.text += text


def lines(rows: Iterable[Sequence[Cell]]) -> bytes:
    """Rows as CSV. A text that a spreadsheet would take for a formula has an apostrophe before it, unless it
    is an amount."""
    to = _Line()
    csv.writer(to).writerows(cells(row) for row in rows)
    return to.text.encode("utf-8", "replace")


def sheet(
    request: Request, name: str, columns: Sequence[str], parts: AsyncIterator[Sequence[Sequence[Cell]]]
) -> StreamingResponse:
    """A file `name` of these columns; each part is written once it is there."""

    async def body() -> AsyncIterator[bytes]:
        yield lines([columns])
        async for rows in parts:
            yield lines(rows)

    named = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return StreamingResponse(
        body(), headers={**headers(request), **named}, media_type="text/csv; charset=utf-8"
    )
