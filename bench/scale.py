"""Decisions of two workers on two cores beside those of one on one, with PostgreSQL and Redis."""

import random
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import peers
from database_servers import Postgres
from load import CONNECTIONS, Runner, load, take_turns
from options import Options
from pinned import BOTH_CORES, SERVER_CORE, running
from report import Section, median, spread, table

SETUPS = (
    ("one", "one worker on one core", 1, SERVER_CORE),
    ("two", "two workers on two cores", 2, BOTH_CORES),
)


def measure_scale(
    folder: Path,
    options: Options,
    rng: random.Random,
    redis_port: int,
    script: Sequence[str],
    require: Callable[[int], None],
) -> Section:
    """The same `decide` for both, in turn, the load on both cores. The settings are those in `folder`, the
    visitors those in Redis. Raises BenchError."""
    postgres = Postgres(fast=False)
    with ExitStack() as stack:
        stack.callback(postgres.remove)
        postgres.start()
        runners = []
        for name, title, workers, cores in SETUPS:
            own = folder / f"scale-{name}"
            own.mkdir()
            ledger = postgres.url(postgres.database())
            stores = f'store = "redis://127.0.0.1:{redis_port}/0"\nledger = "{ledger}"\n'
            (own / "clew.toml").write_text(stores + (folder / "clew.toml").read_text())
            command, port = peers.serve(own, workers)
            process = stack.enter_context(running(command, port, own, cores))
            require(port)
            title = (
                f"{workers} worker{'s' if workers > 1 else ''} on {workers} core{'s' if workers > 1 else ''}"
            )
            runners.append(Runner(name, title, port, process, BOTH_CORES))
            load(runners[-1], script, 1)
        take_turns(runners, rng, options.rounds, lambda runner: load(runner, script, options.seconds))
    return section(runners, options)


def section(runners: list[Runner], options: Options) -> Section:
    """What two workers do in the time in which the busier of them is busy, beside what one does in it: the
    load, Redis and PostgreSQL are left out, which take a part of the same two cores."""
    one, two = runners
    scale = [a.cpu_us / (b.cpu_us * b.busiest) for a, b in zip(one.rounds, two.rounds, strict=True)]
    rows = [
        [
            runner.title,
            spread(runner.rates),
            spread(runner.cpu_us),
            f"{statistics.median(turn.busiest for turn in runner.rounds) * 100:.0f} %",
        ]
        for runner in runners
    ]
    rows.append(["the second to the first, without the load's part", spread(scale, ".2f"), "", ""])
    how = (
        "`decide` as above, ledger in PostgreSQL, visits in Redis, load on both cores. "
        f"{options.rounds} rounds of {options.seconds} s in turn, {CONNECTIONS} connections."
    )
    columns = ("clew", "a second", "CPU µs each", "the busiest process's part")
    return Section({"scale2_vs_1": median(scale, 3)}, table("Two workers that decide", how, columns, rows))
