"""The options of a benchmark run."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """`rounds` turns of `seconds` for each server, in an order that depends on `seed`. `only` names the
    parts and `servers` the servers that are measured, empty for all."""

    seed: int = 1
    rounds: int = 5
    seconds: int = 2
    only: Sequence[str] = ()
    servers: Sequence[str] = ()
