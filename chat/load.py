"""How busy the agents of a site are, and the gate that this closes. No I/O: a test feeds it values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """The gate closes when the load is above `busy_above`, and opens again when it is below `free_below`."""

    busy_above: float
    free_below: float


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether the gate of a site is closed, since when, and how often it has changed. A site whose agents
    were never busy has this one."""

    busy: bool = False
    since: float | None = None
    flips: int = 0


def is_busy(busy: bool, talks: int, places: int, bounds: Bounds) -> bool:
    """Whether the gate is closed now, that was closed or open before. Between the bounds it stays as it is,
    and where nobody is there, there is no load."""
    if not places:
        return busy
    load = talks / places
    return load >= bounds.free_below if busy else load > bounds.busy_above
