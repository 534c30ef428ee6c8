"""The metrics for Prometheus: counters, and gauges read from the ledger."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ...events.metrics import build, counted, processes
from ...service.service import Service
from ...stores.journal import size

# The time limit for the ledger in a scrape; Prometheus gives up after ten seconds.
LEDGER_SECONDS = 2.0


class _Found(Collector):
    """Metric families that were already collected."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        """The families."""
        yield from self._families


async def exposition(service: Service) -> bytes:
    """All metrics in the text format, of all workers; those of the ledger are read now."""
    held = await _ledger(service)
    # For thousands of sites it is many megabytes.
    return await asyncio.to_thread(_written, service, held)


def _written(service: Service, held: Iterable[Metric]) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Found([*counted(service.registry, service.sites), *held, *build(), *processes()]))
    return generate_latest(registry)


async def _ledger(service: Service) -> list[Metric]:
    """The metrics of the ledger. If it fails, the other metrics are still exposed."""
    up = GaugeMetricFamily("clew_ledger_up", "Whether the ledger answered this request", value=0)
    waiting = await asyncio.to_thread(size, service.journal.path)
    journal = GaugeMetricFamily(
        "clew_journal_bytes", "Orders that wait in the journal of this machine", value=waiting
    )
    postbacks = GaugeMetricFamily("clew_postbacks", "Postbacks that wait, by state", labels=["site", "state"])
    commissions = GaugeMetricFamily(
        "clew_commissions_waiting",
        "Commissions whose hold period is over and that wait for a person",
        labels=["site"],
    )
    agents = GaugeMetricFamily(
        "clew_agents_online", "Agents with an open desk who take conversations", labels=["site"]
    )
    answers = await service.visits_probe.failure() is None
    visits = GaugeMetricFamily("clew_visits_up", "Whether the visit store can be used", value=int(answers))
    try:
        async with asyncio.timeout(LEDGER_SECONDS):
            counts = await service.postback_counts.get()
            overdue = await service.ledger.commissions.overdue_counts(service.clock.now())
            present = await service.ledger.agents.present(service.clock.now())
    except Exception as error:
        service.events.failed(error, site="", where="metrics")
        return [up, journal, visits]
    for site, states in counts.items():
        for state, number in states.items():
            postbacks.add_metric([site, state], number)
    for site, number in overdue.items():
        commissions.add_metric([site], number)
    online = Counter(one.site for one in present if one.presence == "available")
    for site in service.sites:
        agents.add_metric([site], online[None] + online[site])
    held = [postbacks, commissions, agents]
    return [GaugeMetricFamily(up.name, up.documentation, value=1), journal, visits, *held]
