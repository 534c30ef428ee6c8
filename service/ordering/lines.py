"""A line of an order's history."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["report", "correction", "credit", "commission", "postback", "attempt"]
Moment = Callable[[float], str]
"""Unix seconds as text."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the time line: when (Unix seconds), what happened, and details. `report` is the number of a
    report that a person may move to another order."""

    at: float
    kind: Kind
    text: str
    details: tuple[str, ...] = ()
    report: int | None = None
