"""What other settings may differ in while clew runs, and what only a new start can change."""

from collections.abc import Iterator
from dataclasses import dataclass

from .model import Settings
from .wording import Wording


@dataclass(frozen=True, slots=True)
class Changes:
    """What a new set of sites has that the old one had not; names of sites."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


# Keys of the top level, and why each needs a new start.
FIXED = {
    "secret": "visitors' cookies are sealed with it",
    "previous_secrets": "visitors' cookies are opened with them",
    "store": "it is open",
    "ledger": "it is open",
    "ops": "its address was bound at the start",
    "delivery": "calls are under way by it",
    "log": "the log is open",
    "log_level": "the log is open",
}


def fixed_problems(old: Settings, new: Settings) -> Iterator[Wording]:
    """An error for each key that differs and may not."""
    for key, why in FIXED.items():
        if getattr(old, key) != getattr(new, key):
            message = f"cannot be changed by a reload: {why}"
            yield Wording((key,), message, "set it back, or stop clew and start it again")
