"""Pauses between the tries of a change that another writer came between."""

import asyncio
import random
from typing import Final

FIRST: Final = 0.005
MOST: Final = 0.2
"""Seconds of the longest pause after the first try, and of any."""


async def pause(tries: int) -> None:
    """Wait after so many tries in vain, at random, so that two writers do not meet again, and longer each
    time, so that many of them get through one after the other."""
    longest = min(MOST, FIRST * 2.0 ** min(tries - 1, 10))
    await asyncio.sleep(random.uniform(longest / 2, longest))  # noqa: S311 (nobody gains by guessing it)
