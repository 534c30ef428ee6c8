"""The CPU time that the middleware adds to a page of a Starlette shop, compared with BeautifulSoup."""

import random
from contextlib import ExitStack
from pathlib import Path

from answers import Response, fault, require
from bs4 import BeautifulSoup
from load import Runner, load, take_turns, write_script
from options import Options
from peers import clew_settings, uvicorn
from pinned import SERVER_CORE, running
from report import Section, median, spread, table
from visitors import cookies
from workloads import TAG, WORKLOADS, tagged

# Few, since BeautifulSoup handles one page after the other, and requests that wait at the end are not
# counted.
CONNECTIONS = 4
VARIANTS = {"plain": "the shop alone", "with_clew": "in clew", "with_soup": "in BeautifulSoup"}


def measure_middleware(folder: Path, options: Options, rng: random.Random) -> Section:
    """CPU time per page of the three variants, in turn."""
    workload, visitors = WORKLOADS["html100k"], cookies()
    script = write_script(folder / "load.lua", workload.path, workload.headers, visitors)
    html = (folder / "www/page.html").read_bytes()
    judges = {
        "plain": lambda answer: fault(workload, html, answer),
        "with_clew": lambda answer: fault(workload, tagged(html), answer),
        "with_soup": lambda answer: other_page(tagged(html), answer),
    }
    clew_settings(folder, upstream=1)
    with ExitStack() as stack:
        runners = []
        for name, title in VARIANTS.items():
            command, port = uvicorn(f"pages:{name}")
            process = stack.enter_context(running(command, port, folder, SERVER_CORE))
            require(title, port, workload, visitors[0], judges[name])
            runners.append(Runner(name, title, port, process))
            load(runners[-1], script, 1, CONNECTIONS)
        take_turns(
            runners, rng, options.rounds, lambda runner: load(runner, script, options.seconds, CONNECTIONS)
        )
    return section(runners, options)


def other_page(wanted: bytes, answer: Response) -> str | None:
    """What is wrong with a page that was serialized again: it must parse like the wanted one."""
    if answer.status != 200:
        return f"status {answer.status}"
    if answer.body.count(TAG.split(b" async")[0]) != 1:
        return "the page does not have exactly one tag"
    if BeautifulSoup(answer.body, "html.parser").html != BeautifulSoup(wanted, "html.parser").html:
        return f"another page, which begins with {answer.body[:300]!r}"
    return None


def section(runners: list[Runner], options: Options) -> Section:
    """CPU time per request that each middleware adds to the shop's own."""
    plain, clew, soup = (runner.cpu_us for runner in runners)
    added = [b - a for a, b in zip(plain, clew, strict=True)]
    soup_added = [b - a for a, b in zip(plain, soup, strict=True)]
    # A ratio of medians: the ratio of one round could be decided by a difference near zero.
    figures = {
        "middleware_added_us": median(added, 1),
        "middleware_vs_bs4": round(median(soup_added, 3) / max(median(added, 3), 0.1), 1),
    }
    rows = [
        [runner.title, spread(runner.rates), spread(runner.cpu_us), spread(extra)]
        for runner, extra in zip(runners, ([0.0], added, soup_added), strict=True)
    ]
    how = (
        f"One Starlette `HTMLResponse` on uvicorn. {options.rounds} rounds of {options.seconds} s in turn, "
        f"{CONNECTIONS} connections; median (lowest to highest). BeautifulSoup adds "
        f"{figures['middleware_vs_bs4']:.0f} times what clew adds."
    )
    columns = ("page of 100 KB", "requests a second", "CPU µs a request", "CPU µs added")
    return Section(figures, table("As middleware", how, columns, rows))
