"""What it costs to render the calls to networks, every call of the catalogue as its example; how fast
endpoints are told of events; and what the owner's pages cost."""

import random
import statistics
import time

from clew.postbacks.examples import partner_of, reports_of
from clew.postbacks.network_call import network_call
from clew.referral.calls import PURPOSES
from clew.referral.networks_file import load
from options import Options
from owner import bench_owner
from report import Section, table

from events import bench_events

TURNS = 200  # of each call in a round


def bench_money(options: Options) -> Section:
    """All of it."""
    found = [measure_calls(options), bench_events(options), bench_owner(options)]
    figures: dict[str, float] = {}
    for one in found:
        figures |= one.figures
    return Section(figures, "\n".join(one.table for one in found))


def measure_calls(options: Options) -> Section:
    """`networks_render_us` is the median over all calls of the median time of each, with its masked form."""
    rng = random.Random(options.seed)
    cases = [
        (
            f"{network.id} {entry.id}",
            network,
            partner_of(network, entry, example),
            reports_of(example),
            example,
            # What only looks something up is never chosen by a report.
            None if entry.purposes <= set(PURPOSES) else entry,
        )
        for network in load().networks.values()
        for entry in network.calls
        for example in entry.examples
    ]
    times: dict[str, list[float]] = {name: [] for name, *_ in cases}
    for _ in range(options.rounds):
        rng.shuffle(cases)
        for name, network, partner, reports, example, entry in cases:
            given = {"token": example.token, "kept": [example.kept] * len(reports), "test": example.test}
            for _ in range(TURNS):
                began = time.perf_counter()
                network_call(partner, reports, network, example.now, entry=entry, **given)
                times[name].append((time.perf_counter() - began) * 1e6)
    medians = {name: statistics.median(found) for name, found in times.items()}
    rows = [(name, f"{median:.0f}") for name, median in sorted(medians.items(), key=lambda one: -one[1])]
    found = round(statistics.median(medians.values()), 1)
    text = table(
        "Calls to networks",
        "The time to render each call of the catalogue, as its example, and its form for the log: the "
        f"median of {TURNS * options.rounds} times, in microseconds. One CPU core.",
        ("call", "µs"),
        [("**median of all**", f"{found}"), *rows],
    )
    return Section({"networks_render_us": found}, text)
