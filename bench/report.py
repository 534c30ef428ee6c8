"""Medians, spread and ratios; the figures for programs and the tables for people."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from load import Runner


@dataclass(frozen=True)
class Section:
    """The result of one measurement: its keys in results.json, and its table."""

    figures: Mapping[str, float]
    table: str


def ratios(ones: Sequence[float], others: Sequence[float]) -> list[float]:
    """The ratio of each round, so that a machine that is slow for a while affects both values."""
    return [a / b for a, b in zip(ones, others, strict=True)]


def median(values: Sequence[float], digits: int) -> float:
    """The median, rounded."""
    return round(statistics.median(values), digits)


def spread(values: Sequence[float], form: str = ".0f") -> str:
    """Median with lowest and highest."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def table(title: str, text: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table under its title, with a line on how it was measured."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join([f"## {title}", "", text, "", *(f"| {' | '.join(line)} |" for line in lines), ""])


def rate_rows(runners: Sequence[Runner]) -> list[list[str]]:
    """For each server: its rate, CPU time, how busy its core was, and the first one's rate relative to its
    own."""
    return [
        [
            runner.title,
            spread(runner.rates),
            spread(runner.cpu_us),
            f"{statistics.median(turn.rate * turn.cpu_us / 1e4 for turn in runner.rounds):.0f} %",
            spread(ratios(runners[0].rates, runner.rates), ".3g"),
        ]
        for runner in runners
    ]
