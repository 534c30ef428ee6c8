"""Which settings can change while clew runs, and which need a restart."""

from collections.abc import Iterator
from dataclasses import dataclass

from .model import Settings
from .wording import Wording


@dataclass(frozen=True, slots=True)
class Changes:
    """The differences between two sets of sites, as names of sites."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


# Keys of the top level, and why each needs a restart.
FIXED = {
    "secret": "visitors' cookies are encrypted with it",
    "previous_secrets": "visitors' cookies are decrypted with them",
    "store": "it is open",
    "ledger": "it is open",
    "ops": "its address is bound at the start",
    "delivery": "calls are in progress with it",
    "log": "the log is open",
    "log_level": "the log is open",
    "strict": "it is read at the start",
}


def fixed_problems(old: Settings, new: Settings) -> Iterator[Wording]:
    """An error for each changed key that needs a restart."""
    for key, why in FIXED.items():
        if getattr(old, key) != getattr(new, key):
            message = f"cannot be changed by a reload: {why}"
            yield Wording((key,), message, "restore the old value, or restart clew")
