"""Each hard case of a page's edit and of the proxy has a test that names it, or a documented exception.

A test names its cases in the id of a parameter, in its docstring or in a comment: `injection 3.11`, or
`injection 2.1, 2.2`. So does an exception in `docs/compatibility.md`, whose tables describe the cases.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from clew.injector import codings, edit, scanner, tag
from clew.middleware.http import connection, protocol, slots, upstream, wire
from clew.middleware.proxy import request_half as sent
from clew.middleware.proxy import websocket
from clew.settings import model

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "compatibility.md"


def numbered(**last: int) -> list[str]:
    """`_1=3` means 1.1, 1.2 and 1.3."""
    return [f"{part[1:]}.{n}" for part, count in last.items() for n in range(1, count + 1)]


INJECTION = [*numbered(_1=19, _2=14, _3=22, _4=16, _5=14, _6=18, _7=11, _8=9), "9", "10"]
PROXY = [*numbered(_0=25, _1=10, _2=16, _3=10, _4=7, _5=11, _6=18), "7", "8"]

CASES = {"injection": INJECTION, "proxy": PROXY}

# The families whose every case must be covered.
STRICT = ("injection", "proxy")
# The families whose cases all have a row in the page, with the section that holds them.
DOCUMENTED = {"injection": "Pages and their edit", "proxy": "The proxy"}

_NUMBER = r"\d+(?:\.\d+)?"
_MARK = re.compile(rf"\b(injection|proxy) ({_NUMBER}(?:(?:, and |, | and )(?:\1 )?{_NUMBER})*)(?![.\d]*\d)")


def marks(text: str) -> Iterator[tuple[str, str]]:
    """Family and number of every case that a text names."""
    for found in _MARK.finditer(text):
        for number in re.findall(_NUMBER, found[2]):
            yield found[1], number


def files() -> Iterator[tuple[Path, str]]:
    """Every file of tests, without its module docstring."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8")
        yield path, text.replace(ast.get_docstring(ast.parse(text), clean=False) or "\0", "")


def section(heading: str) -> str:
    found = re.search(
        rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert found, f"{PAGE.name} has no section {heading!r}"
    return found[1]


def named() -> set[tuple[str, str]]:
    return {mark for _, text in files() for mark in marks(text)}


def excepted() -> set[tuple[str, str]]:
    return set(marks(PAGE.read_text(encoding="utf-8")))


@pytest.mark.parametrize("family", STRICT)
def test_every_case_has_a_test_or_an_exception(family: str) -> None:
    covered = {number for name, number in named() | excepted() if name == family}
    assert [number for number in CASES[family] if number not in covered] == []


@pytest.mark.parametrize("family", DOCUMENTED)
def test_the_page_has_a_row_for_every_case(family: str) -> None:
    rows = re.findall(rf"^\| ({_NUMBER}) \|", section(DOCUMENTED[family]), re.MULTILINE)
    assert rows == CASES[family]


@pytest.mark.parametrize("family", DOCUMENTED)
def test_the_page_refers_to_exactly_the_exceptions_it_has(family: str) -> None:
    text = section(DOCUMENTED[family])
    referred = re.findall(rf"^\| ({_NUMBER}) \|.*\*Exceptions\*", text, re.MULTILINE)
    documented = re.findall(rf"^- {family} ({_NUMBER}):", text, re.MULTILINE)
    assert referred == documented


def test_no_case_is_named_that_does_not_exist() -> None:
    strange = [
        f"{path.relative_to(ROOT)}: {family} {number}"
        for path, text in [*files(), (PAGE, PAGE.read_text(encoding="utf-8"))]
        for family, number in marks(text)
        if number not in CASES[family]
    ]
    assert strange == []


@pytest.mark.parametrize(
    "most", [tag.LIMIT, scanner.LOOK, edit.HELD, scanner.MARKUP, scanner.LEADING, scanner.MARKER]
)
def test_the_limits_of_the_edit_are_documented(most: int) -> None:
    """injection 2.8, 2.9: what is scanned, and what is held."""
    assert f"| {most:,} bytes |" in section(DOCUMENTED["injection"])


UPSTREAM = model.Upstream()


@pytest.mark.parametrize(
    "row",
    [
        f"| {protocol.MAX_HEAD >> 10} KB | Maximum head of a request, else 431. It must arrive within "
        f"{protocol.HEAD_SECONDS:g} seconds",
        f"| {wire.MAX_HEAD >> 10} KB | Maximum head of a shop's response, with up to "
        f"{wire.MAX_TRAILERS >> 10} KB of trailers and {wire.MAX_INTERIM} interim responses",
        f"| {sent.HIGH_WATER >> 10} KB | Maximum of a request's body that is buffered for the shop. Of a "
        f"response one read is buffered for the client: {connection.LARGE_READ >> 10} KB, "
        f"or {connection.SMALL_READ >> 10} KB",
        f"| {UPSTREAM.connections} exchanges | Maximum at once with one shop; up to "
        f"{UPSTREAM.connections * slots.QUEUE_PER_CONNECTION:,} more wait for at most "
        f"{UPSTREAM.connect_timeout} s",
        f"| {UPSTREAM.connections:,} WebSockets | Maximum with one shop. A WebSocket without a message for "
        f"{UPSTREAM.websocket_idle} s is closed",
        f"| {sent.LEAST_RATE} bytes a second | Minimum rate of a request's body, measured over "
        f"{sent.BODY_SECONDS:g} s. A shorter body must be complete by then",
        f"| {sent.GATHERED_BODY >> 10} KB | A request's body is buffered up to this size before a connection "
        f"to the shop is used; up to {sent.GATHERED_SLOW >> 10} KB if it arrives at less than "
        f"{sent.FAST_RATE >> 10} KB a second",
        f"| {protocol.MOST_AHEAD} requests | Maximum number of pipelined requests",
        f"| {websocket.MAX_MESSAGE >> 20} MB | Maximum message of a WebSocket",
        f"{upstream.LIFETIME:g} s | How long an idle connection",
    ],
)
def test_the_limits_of_the_proxy_are_documented(row: str) -> None:
    """proxy 2.9, 6.2."""
    assert row in section(DOCUMENTED["proxy"])


def test_the_limits_of_decoding_are_documented() -> None:
    """injection 4.6."""
    free, total = codings.FREE // 1024**2, codings.TOTAL // 1024**3
    text = section(DOCUMENTED["injection"])
    assert f"| {free} MB, or {codings.RATIO} times the input |" in text
    assert f"never more than {total} GB" in text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("injection 3.11", ["3.11"]),
        ("injection 2.1, 2.2, 4.10: the same bytes", ["2.1", "2.2", "4.10"]),
        ("injection 2.1 and 2.2.", ["2.1", "2.2"]),
        ("injection 9, and 10", ["9", "10"]),
        ("injection of 3.11", []),
        ("reinjection 3.11", []),
    ],
)
def test_case_numbers_are_found_in_text(text: str, found: list[str]) -> None:
    assert [number for _, number in marks(text)] == found
