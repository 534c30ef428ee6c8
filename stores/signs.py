"""Signs between processes: what is passed on at once, and is not worth being kept.

A sign goes to the streams of this process at once. Every process gives its own to the visit store a few
times a second, all that came meanwhile in one go, and reads there what the others gave. The store drops them
after a minute. While it fails, signs reach the streams of their own process alone.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Final

import msgspec

from ..chat.hub import Hub
from ..chat.signs import Sign
from .shared import PassesSigns
from .visits import VisitsError

EVERY: Final = 0.3
"""Seconds between two exchanges with the store."""
WAITING: Final = 1000
DROP_AFTER: Final = 90.0
"""Seconds after its last sign after which a process has the store drop old ones."""

_Packed = tuple[str, Sign]
_packed = msgspec.json.Encoder().encode
_unpacked = msgspec.json.Decoder(_Packed).decode


class Signs:
    """Passes the signs of this process on, and those of the others to its streams."""

    def __init__(
        self,
        hub: Hub,
        store: PassesSigns,
        monotonic: Callable[[], float],
        failed: Callable[[Exception], None],
    ) -> None:
        self._hub = hub
        self._store = store
        self._monotonic = monotonic
        self._failed = failed
        self._origin = secrets.token_hex(8)
        self._waiting: dict[tuple[str, str, str], Sign] = {}
        self._last: str | None = None
        self._drop_at = 0.0  # 0: there is nothing to drop

    def tell(self, sign: Sign) -> None:
        """Pass a sign on."""
        self._hub.give(sign)
        key = (sign.topic, *sign.place)
        if key in self._waiting or len(self._waiting) < WAITING:
            self._waiting[key] = sign

    async def run(self) -> None:
        """Until it is cancelled."""
        self._drop_at = self._monotonic()  # what a process that was killed has left
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.exchange()
            except VisitsError:
                self._last = None  # the store has told so
            except Exception as error:
                self._last = None
                self._failed(error)

    async def exchange(self) -> None:
        """Give the store what was told since the last time, and read what others have given. Raises
        VisitsError."""
        waiting, self._waiting = self._waiting, {}
        now = self._monotonic()
        if waiting or 0 < self._drop_at <= now:
            self._drop_at = now + DROP_AFTER if waiting else 0
            await self._store.add_signs([_packed((self._origin, sign)) for sign in waiting.values()])
        if not len(self._hub):
            self._last = None
            return
        self._last, found = await self._store.signs_after(self._last)
        for data in found:
            try:
                origin, sign = _unpacked(data)
            except msgspec.DecodeError:
                continue  # of another version of clew
            if origin != self._origin:
                self._hub.give(sign)
