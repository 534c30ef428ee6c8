"""Three thousand sites: the time of a start, the memory of a worker, the time of a reload, and the cost of
a page of the last site compared with the same page of a single site.

The 3,000 differ in hosts, partners and rules' thresholds, each in a file of its own. Memory is read after a
page of each was fetched. A reload is timed from the request of `clew reload` to its response; a page fetched
afterwards must show the change.

The pages are compared by CPU time, since the rate also depends on what else the machine does. A second server
with the single site shows how much two equal servers differ.
"""

import random
import statistics
import tempfile
import time
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path

import peers
from answers import fault, require
from clew.middleware.serve.control_client import reload_all
from load import CONNECTIONS, Runner, load, print_progress, take_turns, write_script
from options import Options
from pinned import LOAD_CORE, SERVER_CORE, BenchError, Process, allow_open_files, resident_kb, running
from report import Section, median, rate_rows, ratios, spread, table
from visitors import SECRET, SITE, cookies
from workloads import HOST, NAVIGATION, WORKLOADS, tagged, write_shop

COUNT = 3000
STARTS = 3
RELOADS = 20
# The difference is small: so many times the rounds of the options.
MORE_ROUNDS = 3

_TOP = """
secret = "{secret}"
desk_host = "desk.example"
include = ["sites/*.toml"]
log = "json"

[upstream]
connections = 1200
"""
_SITE = """
[[sites]]
name = "{name}"
hosts = ["{host}", "www.{host}"]
upstream = "http://127.0.0.1:{upstream}"
{platform}time_zone = "Europe/Berlin"
language = "de"
debug = {debug}

[[sites.partners]]
id = "awin"
network = "awin"
settings = {{ advertiser_id = "{number}", api_key = "unused" }}

[[sites.partners]]
id = "blog-{number}"
param = "ref"
postback = "https://partner{number}.example/?c={{click_id}}&o={{order_id}}&a={{amount}}"

[[sites.rules]]
name = "wait"
when = ["visit.seconds >= {seconds}", "agents.online > 0", "visit.pages >= 2"]
action = "invite"

[[sites.rules]]
name = "leave-alone"
when = ["page.type == 'checkout'"]
action = "hide"
"""


def site_text(number: int, upstream: int, debug: str = "false") -> str:
    """One site's file; the last is that of the workloads' host and visitors.

    The last has no platform: with one, each page is also read for its cart, in a thread, and under load a
    varying part of these reads is refused. That costs 200 µs a page, and differs from turn to turn.
    """
    last = number == COUNT - 1
    name, host = (SITE, HOST) if last else (f"shop{number}", f"shop{number}.example")
    return _SITE.format(
        name=name,
        host=host,
        upstream=upstream,
        platform="" if last else 'platform = "woocommerce"\n',
        number=1001 + number,
        seconds=60 + number % 120,
        debug=debug,
    )


def write(folder: Path, numbers: range, upstream: int) -> Path:
    """A settings file that includes these sites."""
    (folder / "sites").mkdir(parents=True)
    for number in numbers:
        (folder / f"sites/{number:04}.toml").write_text(site_text(number, upstream))
    settings = folder / "clew.toml"
    settings.write_text(_TOP.format(secret=SECRET))
    return settings


def bench_sites(options: Options) -> Section:
    """All measurements. Raises BenchError."""
    allow_open_files()
    with tempfile.TemporaryDirectory(prefix="clew-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        files = write_shop(folder, options.seed)
        command, upstream = peers.shop(folder)
        stack.enter_context(running(command, upstream, folder, LOAD_CORE))
        many, only, again = folder / "many", folder / "only", folder / "again"
        write(many, range(COUNT), upstream)
        for home in (only, again):
            write(home, range(COUNT - 1, COUNT), upstream)
        print_progress("starts:")
        starts = [started(many) for _ in range(STARTS)]
        runners = []
        titles = {many: f"the last of {COUNT:,} sites", only: "a single site", again: "the same once more"}
        for home, title in titles.items():
            command, port = peers.serve(home)
            process = stack.enter_context(running(command, port, home, SERVER_CORE))
            runners.append(Runner(home.name, title, port, process))
        print_progress("pages of every site:")
        fresh, after = resident_kb(runners[0].process), fetch_every_site(runners[0].port, runners[0].process)
        print_progress("reloads:")
        reloads = [reloaded(many, runners[0].port, upstream, turn) for turn in range(RELOADS)]
        compare(runners, folder, files["/page.html"], options)
    return section(starts, (fresh, after), reloads, runners, options)


def started(home: Path) -> float:
    """Seconds from the command to the first accepted connection."""
    command, port = peers.serve(home)
    began = time.monotonic()
    with running(command, port, home, SERVER_CORE):
        return time.monotonic() - began


def fetch_every_site(port: int, process: Process) -> int:
    """Fetch a page of every site, in succession. Returns the memory in KiB that the server uses
    afterwards."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    for number in range(COUNT):
        host = HOST if number == COUNT - 1 else f"shop{number}.example"
        get(connection, host)
    connection.close()
    return resident_kb(process)


def get(connection: HTTPConnection, host: str) -> str | None:
    """One page; its X-Clew header. Raises BenchError."""
    connection.request("GET", "/page.html", headers={**NAVIGATION, "Host": host})
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        raise BenchError(f"{host}: status {answer.status}")
    return answer.getheader("X-Clew")


def reloaded(home: Path, port: int, upstream: int, turn: int) -> float:
    """Milliseconds of a reload after one file changed. Raises BenchError."""
    number, debug = turn * 97 % (COUNT - 1), turn % 2 == 0
    (home / f"sites/{number:04}.toml").write_text(
        site_text(number, upstream, "true" if debug else "false")
        + f"# {turn}\n[sites.hold]\norders = {5 + turn}\n"
    )
    began = time.monotonic()
    answers = reload_all(home / "clew.toml", 30)
    took = time.monotonic() - began
    result = answers[0].result if len(answers) == 1 else None
    if result is None or result.errors or result.changes.changed != (f"shop{number}",):
        raise BenchError(f"not reloaded: {answers}")
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    shown = get(connection, f"shop{number}.example") is not None
    connection.close()
    if shown != debug:
        raise BenchError(f"shop{number} is served by the old settings")
    return took * 1000


def compare(runners: list[Runner], folder: Path, page: bytes, options: Options) -> None:
    """Measure the page of 100 KB on the servers in turn."""
    workload, visitors = WORKLOADS["html100k"], cookies()
    script = write_script(folder / "load.lua", workload.path, workload.headers, visitors)
    wanted = tagged(page)
    for runner in runners:
        judge = lambda answer: fault(workload, wanted, answer)  # noqa: E731
        require(runner.title, runner.port, workload, visitors[0], judge)
        load(runner, script, 1)
    rng = random.Random(f"{options.seed} sites")
    rounds = MORE_ROUNDS * options.rounds
    take_turns(runners, rng, rounds, lambda runner: load(runner, script, options.seconds))


def section(
    starts: list[float],
    memory: tuple[int, int],
    reloads: list[float],
    runners: list[Runner],
    options: Options,
) -> Section:
    """The keys and both tables."""
    many, only, again = runners
    fresh, after = memory
    figures = {
        "sites3000_start_s": median(starts, 2),
        "sites3000_rss_mb": round(after / 1024, 1),
        "reload_one_of_3000_ms": median(reloads, 1),
        "sites3000_page_vs_1": median(ratios(only.cpu_us, many.cpu_us), 3),
    }
    rows = [
        ["from the command to the first connection, s", spread(starts, ".2f")],
        ["memory of the one worker then, MB", f"{fresh / 1024:.0f}"],
        ["memory after a page of every site was fetched, MB", f"{after / 1024:.0f}"],
        ["`clew reload` with one changed file, ms", spread(reloads, ".0f")],
        ["the slowest but one of these, ms", f"{statistics.quantiles(reloads, n=20)[-1]:.0f}"],
    ]
    first = table(
        f"{COUNT:,} sites", "Each in a file of its own, one worker on one core.", ("what", "measured"), rows
    )
    by_count = spread(ratios(only.cpu_us, many.cpu_us), ".2f")
    equal = spread(ratios(only.cpu_us, again.cpu_us), ".2f")
    how = (
        f"{MORE_ROUNDS * options.rounds} rounds of {options.seconds} s in turn, {CONNECTIONS} connections, "
        f"one core. CPU time of a page of the single site to that of the last of {COUNT:,}: {by_count}; "
        f"to that of an equal server: {equal}."
    )
    columns = ("server", "requests a second", "CPU µs a request", "core busy", "the first one's rate to it")
    return Section(figures, first + "\n" + table("A page of 100 KB", how, columns, rate_rows(runners)))
