"""What a store may keep for all processes and machines, beside visits."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol, runtime_checkable

SIGNS_KEPT: Final = 1000
SIGNS_AT_ONCE: Final = 500
SIGN_SECONDS: Final = 60.0
"""How long a sign is there at most for those who have not read it yet."""


@runtime_checkable
class SharesLevels(Protocol):
    """A store that keeps levels, which drain by a second each second."""

    async def raise_levels(self, added: Mapping[str, float]) -> Sequence[float]:
        """Raise levels by seconds; how high each is then, in their order. Raises VisitsError."""


class PassesSigns(Protocol):
    """A store that passes signs on, which nobody needs a minute later, to all processes and machines."""

    async def add_signs(self, signs: Sequence[bytes]) -> None:
        """Add signs, and drop those that are too old or too many. Raises VisitsError."""

    async def signs_after(self, last: str | None) -> tuple[str, Sequence[bytes]]:
        """The mark of the newest sign, and the signs after the mark `last`, at most 500; none where it is
        None. Raises VisitsError."""
