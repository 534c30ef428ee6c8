"""What a store may keep for all processes and machines, beside visits."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class SharesLevels(Protocol):
    """A store that keeps levels, which drain by a second each second."""

    async def raise_levels(self, added: Mapping[str, float]) -> Sequence[float]:
        """Raise levels by seconds; how high each is then, in their order. Raises VisitsError."""
