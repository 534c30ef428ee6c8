"""CPU time a request of two workers on two cores beside that of one worker on one."""

import random
import statistics
from contextlib import ExitStack
from pathlib import Path

import peers
from answers import fault, require
from load import Runner, load, take_turns, write_script
from options import Options
from pinned import BOTH_CORES, LOAD_CORE, SERVER_CORE, running
from report import Section, median, ratios, spread, table
from visitors import cookies
from workloads import WORKLOADS, tagged

CONNECTIONS = 64
# Name, title, workers, clew's cores, the cores of the shop and of wrk.
SETUPS = (
    ("one", "one worker on one core, load on the other", 1, SERVER_CORE, LOAD_CORE),
    ("shared", "one worker on one core, load on both", 1, SERVER_CORE, BOTH_CORES),
    ("two", "two workers on two cores, load on both", 2, BOTH_CORES, BOTH_CORES),
)


def measure_workers(folder: Path, options: Options, rng: random.Random) -> Section:
    """The page of 100 KB through each set-up in turn, each before a shop of its own. Raises BenchError."""
    workload, visitors = WORKLOADS["html100k"], cookies()
    wanted = tagged((folder / "www/page.html").read_bytes())
    script = write_script(folder / "load.lua", workload.path, workload.headers, visitors)
    with ExitStack() as stack:
        runners = []
        for name, title, workers, cores, load_cores in SETUPS:
            command, upstream = peers.shop(folder, name)
            stack.enter_context(running(command, upstream, folder, load_cores))
            own = folder / f"clew-{name}"
            own.mkdir()
            command, port = peers.clew(own, upstream, workers)
            process = stack.enter_context(running(command, port, own, cores))
            require(title, port, workload, visitors[0], lambda answer: fault(workload, wanted, answer))
            runners.append(Runner(name, title, port, process, load_cores))
            load(runners[-1], script, 1, CONNECTIONS)
        take_turns(
            runners, rng, options.rounds, lambda runner: load(runner, script, options.seconds, CONNECTIONS)
        )
    return section(runners, options)


def section(runners: list[Runner], options: Options) -> Section:
    """The key is the ratio of the last set-up's CPU time to the first one's."""
    one, *_, two = runners
    rows = [
        [
            runner.title,
            spread(runner.rates),
            spread(runner.cpu_us),
            f"{statistics.median(turn.busiest for turn in runner.rounds) * 100:.0f} %",
            spread(ratios(runner.cpu_us, one.cpu_us), ".2f"),
        ]
        for runner in runners
    ]
    how = (
        f"The page of 100 KB, {CONNECTIONS} connections. {options.rounds} rounds of {options.seconds} s in "
        "turn; median (lowest to highest)."
    )
    columns = ("clew", "requests a second", "CPU µs a request", "the busiest process's part", "to the first")
    return Section(
        {"workers2_cpu_vs_1": median(ratios(two.cpu_us, one.cpu_us), 3)},
        table("Two workers", how, columns, rows),
    )
