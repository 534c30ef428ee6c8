"""clew compared with its peers, for each workload; and measurements without a peer.

The server under test has one core; its upstream (nginx with files in memory) and wrk have the other. clew has
partners and rules, and decrypts the cookies of many visitors.
"""

import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import peers
from answers import fault, require
from around import measure_middleware
from first_byte import measure_first_byte
from load import CONNECTIONS, Runner, load, print_progress, take_turns, write_script
from options import Options
from pinned import LOAD_CORE, SERVER_CORE, allow_open_files, running
from report import Section, median, rate_rows, ratios, table
from streams import measure_streams
from visitors import cookies
from workers import measure_workers
from workloads import WORKLOADS, Workload, write_shop


@dataclass(frozen=True)
class Shop:
    """The running shop: its folder, its files by path, its port."""

    folder: Path
    files: dict[str, bytes]
    port: int


Part = Callable[[Shop, Options, random.Random], Section]
PARTS: dict[str, Part] = {
    **{name: lambda *given, name=name: measure_workload(WORKLOADS[name], *given) for name in WORKLOADS},
    "middleware": lambda shop, options, rng: measure_middleware(shop.folder, options, rng),
    "first_byte": lambda shop, options, rng: measure_first_byte(shop.folder, rng),
    "streams": lambda shop, options, rng: measure_streams(
        shop.folder, shop.files["/download.bin"], shop.port
    ),
    "workers": lambda shop, options, rng: measure_workers(shop.folder, options, rng),
}


def bench_proxy(options: Options) -> Section:
    """All parts, or those that `options` names. Raises BenchError."""
    allow_open_files()
    found = []
    for name in options.only or PARTS:
        with shop(options.seed) as running_shop:
            print_progress(f"{name}:")
            found.append(PARTS[name](running_shop, options, random.Random(f"{options.seed} {name}")))
    figures = {key: value for section in found for key, value in section.figures.items()}
    return Section(figures, "\n".join(section.table for section in found))


@contextmanager
def shop(seed: int) -> Iterator[Shop]:
    """The running shop, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="clew-bench-") as name:
        folder = Path(name)
        files = write_shop(folder, seed)
        command, port = peers.shop(folder)
        with running(command, port, folder, LOAD_CORE):
            yield Shop(folder, files, port)


def measure_workload(workload: Workload, shop: Shop, options: Options, rng: random.Random) -> Section:
    """clew and the workload's peers in turn."""
    names = options.servers or ("clew", *workload.peers)
    visitors = cookies()
    script = write_script(shop.folder / "load.lua", workload.path, workload.headers, visitors)
    with ExitStack() as stack:
        runners = []
        for name in names:
            peer = peers.PEERS[name]
            command, port = peer.start(shop.folder, shop.port)
            process = stack.enter_context(running(command, port, shop.folder, SERVER_CORE))
            file = shop.files[workload.path]
            wanted = peer.edit(file) if workload.edited else file
            require(
                peer.title, port, workload, visitors[0], lambda a, wanted=wanted: fault(workload, wanted, a)
            )
            runner = Runner(name, peer.title, port, process)
            load(runner, script, 1)
            runners.append(runner)
        take_turns(runners, rng, options.rounds, lambda runner: load(runner, script, options.seconds))
    return section(workload, runners, options)


def section(workload: Workload, runners: Sequence[Runner], options: Options) -> Section:
    """The workload's keys and table: clew's rate and CPU time relative to each peer's. CPU time is included
    because the rate of a server whose core is not busy is limited by the load."""
    first, *others = runners
    figures: dict[str, float] = {}
    if first.name == "clew":
        for other in others:
            key = peers.PEERS[other.name].key
            figures[f"{workload.name}_vs_{key}"] = median(ratios(first.rates, other.rates), 3)
            figures[f"{workload.name}_cpu_vs_{key}"] = median(ratios(first.cpu_us, other.cpu_us), 3)
        figures[f"{workload.name}_cpu_us"] = median(first.cpu_us, 1)
    how = (
        f"{options.rounds} rounds of {options.seconds} s, servers in turn, {CONNECTIONS} connections, one "
        "core for the server; median (lowest to highest)."
    )
    columns = ("server", "requests a second", "CPU µs a request", "core busy", f"{first.title}'s rate to it")
    return Section(figures, table(workload.title, how, columns, rate_rows(runners)))
