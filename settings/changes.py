"""What other settings may differ in while clew runs, and what only a new start can change."""

from collections.abc import Iterator

from .load import Problem, Source
from .model import Settings

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


def fixed_problems(source: Source, old: Settings, new: Settings) -> Iterator[Problem]:
    """An error for each key that differs and may not; `source` is the main file of the new ones."""
    for key, why in FIXED.items():
        if getattr(old, key) != getattr(new, key):
            message = f"cannot be changed by a reload: {why}"
            yield source.problem((key,), message, "set it back, or stop clew and start it again")
