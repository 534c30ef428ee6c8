"""Metrics for Prometheus, of all workers on one machine.

With several workers `clew serve` sets `PROMETHEUS_MULTIPROC_DIR` to a folder, as the client library requires.
Each worker keeps its metrics there in its own files, and the worker that gets a request adds all of them up.
The counts of a worker that has died are kept.
"""

import json
import os
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.samples import Sample

# Imported from the module, because a folder in the working directory may shadow the package.
VERSION = version("clew")
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

Timed = Literal["page", "decide", "postback"]

_TIMED: Mapping[Timed, tuple[str, tuple[float, ...]]] = {
    "page": (
        "From a navigation's request to the last byte of its response, by outcome",
        (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    ),
    "decide": (
        "Duration of a call of decide, by outcome",
        (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
    ),
    "postback": (
        "Duration of a call to a partner, by outcome",
        (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60),
    ),
}


class Metrics:
    """The counters and histograms. Children are cached: looking them up is four fifths of the cost."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter("clew_events", "What happened", ["site", "event"], registry=registry)
        self._answers = Counter(
            "clew_responses",
            "Responses of the shop to navigations, by outcome",
            ["site", "outcome", "reason"],
            registry=registry,
        )
        self._limited = Counter(
            "clew_limited",
            "Requests over a limit, by the scope that refused them",
            ["site", "limit", "scope"],
            registry=registry,
        )
        self._seconds = {
            what: Histogram(
                f"clew_{what}_duration_seconds", text, ["site", "outcome"], registry=registry, buckets=buckets
            )
            for what, (text, buckets) in _TIMED.items()
        }
        self._event_of: dict[tuple[str, str], Counter] = {}
        self._answer_of: dict[tuple[str, str, str], Counter] = {}
        self._limited_of: dict[tuple[str, str, str], Counter] = {}
        self._seconds_of: dict[Timed, dict[tuple[str, str], Histogram]] = {what: {} for what in _TIMED}
        # Each figure with its children by their labels, of which the first is the site.
        self._tables: Sequence[tuple[Counter | Histogram, dict[Any, Any]]] = (
            (self.events, self._event_of),
            (self._answers, self._answer_of),
            (self._limited, self._limited_of),
            *((self._seconds[what], self._seconds_of[what]) for what in _TIMED),
        )

    def happened(self, site: str, event: str) -> None:
        """Count an event."""
        child = self._event_of.get((site, event))
        if child is None:
            child = self._event_of[site, event] = self.events.labels(site, event)
        child.inc()

    def answered(self, site: str, outcome: str, reason: str) -> None:
        """Count a response of the shop to a navigation."""
        child = self._answer_of.get((site, outcome, reason))
        if child is None:
            child = self._answers.labels(site, outcome, reason)
            self._answer_of[site, outcome, reason] = child
        child.inc()

    def limited(self, site: str, limit: str, scope: str) -> None:
        """Count a request over a limit, by the scope that refused it."""
        child = self._limited_of.get((site, limit, scope))
        if child is None:
            child = self._limited_of[site, limit, scope] = self._limited.labels(site, limit, scope)
        child.inc()

    def took(self, what: Timed, site: str, outcome: str, seconds: float) -> None:
        """Record a duration. `outcome` is one of a few words."""
        children = self._seconds_of[what]
        child = children.get((site, outcome))
        if child is None:
            child = children[site, outcome] = self._seconds[what].labels(site, outcome)
        child.observe(seconds)

    def forget(self, gone: Callable[[str], bool]) -> None:
        """Drop the metrics of this process for sites that are `gone`: a site that is added again starts at 0.
        Other sites keep theirs."""
        for metric, children in self._tables:
            for labels in [labels for labels in children if gone(labels[0])]:
                if os.environ.get(FOLDER_VARIABLE):
                    # The client library cannot remove anything from the files of several processes.
                    _reset(children[labels])
                else:
                    del children[labels]
                    metric.remove(*labels)


def _reset(child: Counter | Histogram) -> None:
    if isinstance(child, Counter):
        child.reset()
        return
    # Histograms have no such method (prometheus_client 0.26).
    for value in (child._sum, *child._buckets):
        value.set(0)


def counted(registry: CollectorRegistry, sites: Container[str]) -> Iterator[Metric]:
    """The metrics of all workers, for these sites and for clew as a whole."""
    folder = os.environ.get(FOLDER_VARIABLE)
    # If an app shares the process, the folder contains the app's metrics too.
    found: Iterable[Metric] = registry.collect()
    if folder:
        found = MultiProcessCollector(CollectorRegistry(), folder).collect()  # type: ignore[no-untyped-call]
    for family in sorted(found, key=lambda f: f.name):
        if family.name.startswith("clew_"):
            family.samples = [
                sample
                for sample in family.samples
                # What was counted of a removed site stays in the files of the workers.
                if not sample.name.endswith("_created") and _shown(sample.labels.get("site", ""), sites)
            ]
            yield family


def _shown(site: str, sites: Container[str]) -> bool:
    return not site or site in sites


def reset_ended(sites: Container[str]) -> None:
    """Set to 0 what workers that have ended counted of these sites: nobody else writes into their files."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return
    living = {str(pid) for pid in _workers()}
    for file in Path(folder).glob("*_*.db"):
        if file.stem.rpartition("_")[2] in living:
            continue
        figures = MmapedDict(str(file))  # type: ignore[no-untyped-call]
        try:
            for key, value, _ in list(figures.read_all_values()):  # type: ignore[no-untyped-call]
                family, _, labels, _ = json.loads(key)
                if value and family.startswith("clew_") and labels.get("site", "") in sites:
                    figures.write_value(key, 0.0, 0.0)  # type: ignore[no-untyped-call]
        finally:
            figures.close()  # type: ignore[no-untyped-call]


def build() -> Iterator[Metric]:
    """The version."""
    family = GaugeMetricFamily("clew_build_info", "Always 1", labels=["version", "python"])
    family.add_metric([VERSION, ".".join(map(str, sys.version_info[:3]))], 1)
    yield family


def processes() -> Iterator[Metric]:
    """The usual `process_…` metrics of each running worker."""
    families: dict[str, Metric] = {}
    for pid in _workers():
        for found in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():  # type: ignore[misc]
            family = families.setdefault(found.name, Metric(found.name, found.documentation, found.type))
            family.samples += [Sample(s.name, {**s.labels, "pid": str(pid)}, s.value) for s in found.samples]
    yield from families.values()


def _workers() -> list[int]:
    """The processes of this server: those with files in the folder that are running and have the same
    parent."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return [os.getpid()]
    pids = {int(p.stem.rpartition("_")[2]) for p in Path(folder).glob("*_*.db")} | {os.getpid()}
    return sorted(pid for pid in pids if pid == os.getpid() or _parent(pid) == os.getppid())


def _parent(pid: int) -> int | None:
    try:
        # proc(5): the second field, the name, may contain any character, and ends at the last parenthesis.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None
