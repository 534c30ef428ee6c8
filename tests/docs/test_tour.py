"""Every file and function that the tour in docs/architecture.md names exists."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text("utf-8")
TOUR = PAGE.partition("## A tour in ten minutes")[2].partition("\n## ")[0]
MARKS = re.findall(r"`([\w/]+\.py):([\w.]+)`", TOUR)


def names(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    """The functions and classes of a module, methods as `Class.method`."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from names(node.body, f"{prefix}{node.name}.")


def test_the_tour_leads_through_the_product() -> None:
    rooms = {file.partition("/")[0] for file, _ in MARKS}
    assert {"middleware", "referral", "injector", "rules", "orders", "postbacks", "service"} <= rooms


@pytest.mark.parametrize(("file", "name"), MARKS)
def test_a_name_of_the_tour_exists(file: str, name: str) -> None:
    assert name in set(names(ast.parse((ROOT / file).read_text("utf-8")).body))
