"""Rates that count over all processes and machines, where the visit store can keep them for all.

A request is never delayed for it: each process counts for itself, tells the store once a second what it has
counted, and learns of the same keys what all have. So a limit may be exceeded for a second, by what the other
processes let through meanwhile. While the store fails, each process counts for itself alone.
"""

import asyncio
from hashlib import blake2b

from ..stores.shared import SharesLevels
from ..stores.visits import VisitsError
from .limits import Limits

EXCHANGE_EVERY = 1.0


class SharedLimits:
    """Keeps the rates of this process and those of the others together. The `secret` hides the clients'
    addresses from whoever reads the store."""

    def __init__(self, limits: Limits, store: SharesLevels, secret: str) -> None:
        self._limits = limits
        self._store = store
        self._key = blake2b(secret.encode(), person=b"clew limits").digest()

    async def run(self) -> None:
        """Until it is cancelled."""
        self._limits.share()
        while True:
            await asyncio.sleep(EXCHANGE_EVERY)
            await self.exchange()

    async def exchange(self) -> None:
        """Tell what was counted since the last time, and learn what all have counted."""
        taken = self._limits.taken()
        if not taken:
            return
        names = [self._name(*place) for place in taken]
        try:
            levels = await self._store.raise_levels(dict(zip(names, taken.values(), strict=True)))
        except VisitsError:
            return  # the store has told so; what was counted here counts here
        self._limits.learn(dict(zip(taken, levels, strict=True)))

    def _name(self, limit: str, scope: str, key: str) -> str:
        return blake2b(
            f"{limit}\0{scope}\0{key}".encode("utf-8", "surrogatepass"), key=self._key, digest_size=12
        ).hexdigest()
