"""`make crash`: orders by page, by API and by webhook while everything is killed and started again.

Exits 1 if an order that was delivered is not in the ledger once and as it was last reported, or if a partner
was not told of it, was told twice, or in the wrong order; 2 if the run itself breaks off.
"""

import argparse
import asyncio
import random
import secrets
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvloop

from .findings import LOOSE, Held, violations
from .machines import Fleet, Machine
from .network import NetworkStores
from .partner import Books, Partners
from .person import Person
from .plan import Order, Planner, agendas, troubles
from .shop import SETTINGS as ORDER_PAGE
from .shop import Shop
from .stores import ServerStores, SqliteStores, Stores
from .writers import API_TOKEN, Tally, Writer

WRITERS: Final = 8
# After how many reports a person looks at what waits, while orders come in.
LOOK_AFTER: Final = 3000
# How long it may take until nothing is due any more: longer than the lease of a call that was cut off.
QUIET_SECONDS: Final = 90.0
ROUNDS: Final = 15
SHOWN: Final = 30

SETTINGS: Final = """
secret = "env:CLEW_SECRET"
log = "json"
journal = "orders.journal"
{stores}
[delivery]
timeout = 1
schedule = [1, 1, 1, 2, 2, 2, 3, 3, 3, 5, 5, 5]

# All visitors come from one address here.
[limits]
visitors = {{ client = 100000, site = 100000, all = 100000 }}

[[sites]]
name = "shop"
hosts = ["shop.example"]
upstream = "http://{shop}"
api_token = "{token}"
{order}
{partners}
"""


@dataclass
class Report:
    """What a run came to."""

    seed: int
    stores: str
    orders: Sequence[Order]
    tally: Tally
    books: Books
    problems: list[str] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    figures: dict[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        forms = Counter(order.form for order in self.orders)
        lines = [
            f"violations: {len(self.problems)}",
            *self.problems[:SHOWN],
            *([f"and {len(self.problems) - SHOWN} more"] if len(self.problems) > SHOWN else []),
            f"seed: {self.seed}, stores: {self.stores}",
            f"orders: {len(self.orders)} ({', '.join(f'{n} by {f}' for f, n in sorted(forms.items()))})",
            f"sightings delivered: {self.tally.sightings}, of {self.tally.requests} requests; answers: "
            + ", ".join(f"{kind} {count}" for kind, count in self.tally.answers.most_common()),
            "kills: " + (", ".join(f"{kind} {n}" for kind, n in sorted(self.failures.items())) or "none"),
            f"the receiver: {self.books.calls} calls, answered "
            + ", ".join(f"{mood} {n}" for mood, n in self.books.moods.most_common()),
            *(f"{name}: {value}" for name, value in self.figures.items()),
            "it does not hold" if self.problems else "it holds",
        ]
        return "\n".join(lines)


async def crash(
    seed: int,
    count: int,
    kills: int,
    folder: Path,
    stores: Stores,
    say: Callable[[str], None] = lambda line: None,
) -> Report:
    """A run in an empty folder: so many orders, and so many times that something fails."""
    began = time.monotonic()
    orders, tally, books = Planner(seed).orders(count), Tally(), Books()
    report = Report(seed, stores.name, orders, tally, books)
    await asyncio.to_thread(stores.start)
    try:
        host = stores.place().host
        async with Shop(host) as shop, Partners(host, seed, books) as partners:
            fleet = _fleet(stores, folder, shop.port, partners.settings())
            try:
                for machine in fleet.machines:
                    await asyncio.to_thread(machine.start)
                person = Person(fleet.machines[0], stores, books)
                say("all is started")
                minding = asyncio.create_task(fleet.mind())
                try:
                    await _go(seed, kills, fleet, person, report, say)
                    say("all is reported")
                    await _settle(fleet, person, report, say)
                finally:
                    minding.cancel()
                    await asyncio.wait([minding])
                held = await asyncio.to_thread(Held.of, stores)
            finally:
                for machine in fleet.machines:
                    await asyncio.to_thread(machine.end)
    finally:
        await asyncio.to_thread(stores.remove)
    report.problems += [*tally.wrong, *violations(orders, tally.told, held, books)]
    _count(report, fleet, person, held, time.monotonic() - began)
    return report


def _fleet(stores: Stores, folder: Path, shop: int, partners: str) -> Fleet:
    environ = {"CLEW_SECRET": secrets.token_urlsafe(48)}
    machines = []
    for number in range(stores.machines):
        home = folder / f"machine{number}"
        text = SETTINGS.format(
            stores=stores.settings(),
            shop=f"{stores.place().host}:{shop}",
            token=API_TOKEN,
            order=ORDER_PAGE,
            partners=partners,
        )
        machines.append(Machine(home, text, environ, stores.workers, stores.place(number)))
    return Fleet(stores, machines)


async def _go(
    seed: int, kills: int, fleet: Fleet, person: Person, report: Report, say: Callable[[str], None]
) -> None:
    """All writers at once, while things fail and a person looks."""
    plan = agendas(report.orders, WRITERS, seed)
    every = sum(map(len, plan))
    clews = [machine.address for machine in fleet.machines]

    over = asyncio.Event()

    async def reached(part: float) -> bool:
        """False where no writer works any more."""
        while report.tally.done < part * every and not over.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return report.tally.done >= part * every

    async def trouble() -> None:
        for part, kind, seconds in troubles(seed, kills, fleet.stores.kinds):
            if not await reached(part):
                return
            say(f"{report.tally.done} of {every} reports: {kind} fails")
            await fleet.fail(kind, seconds)

    async def look() -> None:
        for done in range(LOOK_AFTER, every, LOOK_AFTER):
            if not await reached(done / every):
                return
            try:
                await person.retry()
            except AssertionError as error:
                # A store is down: the person tries later.
                say(f"the person could not: {str(error)[-200:]}")

    async with asyncio.TaskGroup() as group:
        group.create_task(trouble())
        group.create_task(look())
        writers = (Writer(number, clews, report.tally) for number in range(WRITERS))
        await asyncio.gather(*(w.run(agenda) for w, agenda in zip(writers, plan, strict=True)))
        over.set()


async def _settle(fleet: Fleet, person: Person, report: Report, say: Callable[[str], None]) -> None:
    """Wait until everything is delivered, and settle the rest like a person."""
    for number in range(ROUNDS):
        waiting = await _quiet(fleet)
        say(f"round {number + 1} of the person's work, after {waiting or 'nothing'} was left")
        before = person.works
        await person.retry()
        await person.settle_held()
        if person.works == before and not waiting:
            return
    report.problems.append(f"after {ROUNDS} rounds there was still something for a person to do")


async def _quiet(fleet: Fleet) -> dict[str, int]:
    """Wait until nothing is due and all journals are empty. Returns what is left after a timeout."""
    until = time.monotonic() + QUIET_SECONDS
    while True:
        query = "SELECT state, count(*) AS n FROM postbacks WHERE state IN ('due', 'sending') GROUP BY state"
        rows = await asyncio.to_thread(fleet.stores.rows, query)
        waiting = {row["state"]: row["n"] for row in rows}
        if journal := sum(machine.journal_bytes() for machine in fleet.machines):
            waiting["bytes in journals"] = journal
        if loose := (await asyncio.to_thread(fleet.stores.rows, LOOSE))[0]["waiting"]:
            waiting["reports without their order"] = loose
        if not waiting or time.monotonic() > until:
            return waiting
        await asyncio.sleep(0.25)


def _count(report: Report, fleet: Fleet, person: Person, held: Held, seconds: float) -> None:
    states = Counter(row["state"] for rows in held.postbacks.values() for row in rows)
    report.failures = fleet.failures
    faults = sum((machine.faults for machine in fleet.machines), Counter())
    report.figures = {
        "postbacks": ", ".join(f"{state} {n}" for state, n in states.most_common()),
        "postbacks delivered": states["delivered"],
        "attempts": held.attempts,
        "repeats counted by the receiver": report.books.repeats,
        "unknown settled": len(person.settled["unknown"]),
        "dead settled": len(person.settled["dead"]),
        "told by hand": len(person.by_hand),
        "released": len(person.released),
        "journal replays": sum(machine.replayed for machine in fleet.machines),
        "reports joined without a number": fleet.total("report_placed"),
        "faults told by clew": ", ".join(f"{what} {n}" for what, n in faults.most_common(12)) or "none",
        "clew ended by itself": len(fleet.ended),
        "seconds": round(seconds),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--stores", choices=STORES, default=next(iter(STORES)))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        run = crash(
            options.seed,
            options.orders,
            options.kills,
            Path(folder),
            STORES[options.stores](Path(folder)),
            lambda line: print(f"{time.monotonic() - began:.0f} s: {line}", flush=True),
        )
        try:
            report = uvloop.run(run)
        except Exception:
            # The servers or the programs of the run itself, not what it looks for.
            traceback.print_exc()
            print(f"seed: {options.seed}\nthe run has broken off: there is no result")
            sys.exit(2)
    print(report)
    sys.exit(1 if report.problems else 0)


# By the name of the option; the first is the default.
STORES: Final[dict[str, Callable[[Path], Stores]]] = {
    "servers": ServerStores,
    "sqlite": SqliteStores,
    "network": NetworkStores,
}

if __name__ == "__main__":
    main()
