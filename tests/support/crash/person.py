"""The operator: settles postbacks that wait for a person with `clew postbacks`."""

import asyncio
import json
from decimal import Decimal
from typing import Any, Final

from .machines import Machine
from .partner import Books, Event
from .stores import Stores

LIMIT: Final = 1000
# Calls that came to nothing: the partner said no, or nobody knows what it said.
RETRIED: Final = ("unknown", "dead")


class Person:
    """Works with the program of one machine. `settled` are the ids of what was retried, by state, and
    `by_hand` those that the partner was told of by hand."""

    def __init__(self, machine: Machine, stores: Stores, books: Books) -> None:
        self.settled: dict[str, set[str]] = {state: set() for state in RETRIED}
        self.by_hand: set[str] = set()
        self.released: set[str] = set()
        self.works = 0
        self._home = machine.home
        self._stores = stores
        self._books = books

    async def retry(self) -> None:
        """Retry unknown and dead postbacks. Raises AssertionError if the program fails."""
        for state in RETRIED:
            ids = [row["id"] for row in await self._listed(state)]
            if ids:
                await self._run("postbacks", "retry", *ids)
                self.settled[state].update(ids)
                self.works += len(ids)

    async def settle_held(self) -> None:
        """Mark `manual` postbacks as reported, and release those held for lack of a visit."""
        held = await self._listed("held")
        manual = [row for row in held if row["hold"] == "manual"]
        for row in manual:
            report = row["report"]
            number, amount = report["order_id"], Decimal(report["amount"])
            event = (row["partner"], number, f"by hand {row['id']}", row["event"], amount, report["click_id"])
            self._books.count(Event(*event))
        if manual:
            ids = [row["id"] for row in manual]
            await self._run("postbacks", "reported", *ids)
            self.by_hand.update(ids)
            self.works += len(ids)
        doubtful = [row["id"] for row in held if row["hold"] == "checkout"]
        if doubtful:
            await self._run("postbacks", "release", *doubtful)
            self.released.update(doubtful)
            self.works += len(doubtful)

    async def _listed(self, state: str) -> list[dict[str, Any]]:
        # The program takes a second to start, so it is asked only where it has something to show.
        query = f"SELECT count(*) AS n FROM postbacks WHERE state = '{state}'"
        if not (await asyncio.to_thread(self._stores.rows, query))[0]["n"]:
            return []
        text = await self._run("postbacks", "list", "--state", state, "--json", "--limit", str(LIMIT))
        # The oldest first.
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")][::-1]

    async def _run(self, *arguments: str) -> str:
        return await asyncio.to_thread(self._home.run, *arguments)
