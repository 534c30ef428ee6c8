"""Whether the stores and the shops can be reached now from this machine, for `clew check`."""

import asyncio
import os
import socket
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from ..settings.model import Settings
from ..settings.wording import Wording
from ..stores.reach import ledger_failure, visits_failure

SECONDS: Final = 2.0
"""For one shop."""

AT_ONCE: Final = 50
MOST: Final = 500
"""The maximum of shops that are tried."""


async def unusable_stores(settings: Settings) -> list[Wording]:
    """What is wrong with a `ledger` or a `store` on another machine."""
    found = await asyncio.gather(ledger_failure(settings.ledger), visits_failure(settings.store))
    return [
        Wording((key,), told[0], told[1], "warning" if told[2] else "error")
        for key, told in zip(("ledger", "store"), found, strict=True)
        if told is not None
    ]


async def unreachable(settings: Settings) -> list[Wording]:
    """A warning for each site whose upstream accepts no connection; each address is tried once."""
    places: dict[str, list[int]] = {}
    for number, site in enumerate(settings.sites):
        if site.upstream is not None:
            places.setdefault(site.upstream, []).append(number)
    addresses = list(places)[:MOST]
    room = asyncio.Semaphore(AT_ONCE)

    async def why(address: str) -> str | None:
        async with room:
            return await _why_not(address)

    answers = await asyncio.gather(*map(why, addresses))
    return [
        w
        for address, failure in zip(addresses, answers, strict=True)
        for w in _worded(places[address], failure)
    ]


def _worded(sites: list[int], failure: str | None) -> Iterator[Wording]:
    if failure is not None:
        hint = "start the shop, or correct the address"
        yield from (
            Wording(("sites", n, "upstream"), f"cannot be reached: {failure}", hint, "warning") for n in sites
        )


async def _why_not(address: str) -> str | None:
    parts = urlsplit(address)
    try:
        async with asyncio.timeout(SECONDS):
            if parts.scheme == "unix":
                _, writer = await asyncio.open_unix_connection(parts.path)
            else:
                port = parts.port or (443 if parts.scheme == "https" else 80)
                _, writer = await asyncio.open_connection(parts.hostname, port)
    except TimeoutError:
        return f"no connection within {SECONDS:g} s"
    except (OSError, UnicodeError) as error:
        # asyncio puts its own words before the system's.
        number = error.errno if isinstance(error, OSError) else None
        if number is None or isinstance(error, socket.gaierror):
            return (getattr(error, "strerror", None) or str(error)).lower()
        return os.strerror(number).lower()
    writer.close()
    return None
