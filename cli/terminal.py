"""How commands write to the terminal.

The output may contain untrusted text: an order's number, a partner's response, a shop's page. Its characters
must not control the terminal or change the text direction, so every command prints through this module.
"""

import os
import sys
from typing import Any, Final

import typer
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment

from ..events.logs import escaped_lines

PIPED_WIDTH: Final = 200
"""Columns of what is not a terminal."""


class _Escaped:
    """A renderable with its text escaped. The colors are those of Rich."""

    def __init__(self, content: Any) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._content, options):
            # A segment with control codes is Rich's own: a cursor that moves, never text.
            yield segment if segment.control else Segment(escaped_lines(segment.text), segment.style)


class _EscapeText(RenderHook):
    def process_renderables(self, renderables: "list[ConsoleRenderable]") -> "list[ConsoleRenderable]":
        return [_Escaped(content) for content in renderables]


def open_console(**options: Any) -> Console:
    """A console that escapes what it prints."""
    made = Console(**options)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        # Rich takes 80 columns, and would break the lines that grep and others are to read.
        made.width = max(made.width, PIPED_WIDTH)
    made.push_render_hook(_EscapeText())
    return made


def print_text(text: str) -> None:
    """Print a text for a file or another program as it is. In a terminal its lines are escaped."""
    text = text.removesuffix("\n")
    typer.echo(escaped_lines(text) if sys.stdout.isatty() else text)


def print_line(text: str, *, err: bool = False) -> None:
    """Print one line, or several that are separated by line breaks."""
    typer.echo(escaped_lines(text), err=err)
