"""What is kept of a visitor only because a rule of the site asks about it."""

from typing import Any

from msgspec import Struct
from msgspec.structs import replace


class Keeps(Struct, frozen=True):
    """What the rules of a site ask about: only that is kept. `landing`: the address of the visit's first
    page, which the trail may have lost. `left_at`: when the visit before ended."""

    landing: bool = False
    left_at: bool = False


class Memory(Struct, frozen=True, omit_defaults=True):
    """What `Keeps` names. Addresses are masked, as everywhere in the store."""

    landing: str = ""
    left_at: float = 0.0


NOTHING = Memory()


def kept(memory: Memory | None, **changes: Any) -> Memory | None:
    """The memory with changes; None where nothing is in it."""
    changed = replace(memory or NOTHING, **changes)
    return None if changed == NOTHING else changed
