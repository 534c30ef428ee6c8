"""Which settings can change while clew runs, and which need a restart."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .model import Settings, Site
from .wording import Wording


@dataclass(frozen=True, slots=True)
class Changes:
    """The differences between two sets of sites, as names of sites."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @classmethod
    def between(cls, old: Mapping[str, Site], new: Mapping[str, Site]) -> "Changes":
        """The differences between sites by their names."""
        return cls(
            added=tuple(name for name in new if name not in old),
            # Most are the same objects, which takes less time to find out.
            changed=tuple(n for n, s in new.items() if n in old and old[n] is not s and old[n] != s),
            removed=tuple(name for name in old if name not in new),
        )


# Keys of the top level, and why each needs a restart.
FIXED = {
    "secret": "visitors' cookies are encrypted with it",
    "previous_secrets": "visitors' cookies are decrypted with them",
    "store": "it is open",
    "ledger": "it is open",
    "journal": "it is open",
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
