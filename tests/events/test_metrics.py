"""The metrics for Prometheus, and the cost of counting."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from clew.desk.ops.exposition import exposition
from clew.events.metrics import Metrics
from clew.service.service import Service
from clew.settings.model import Settings, Site
from costs import cpu_seconds
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families


@asynccontextmanager
async def service(folder: Path) -> AsyncIterator[Service]:
    address = f"sqlite:{folder / 'clew.db'}"
    settings = {"secret": "s" * 40, "store": address, "ledger": address, "sites": [{"name": "shop"}]}
    running = Service(Settings.model_validate(settings))
    try:
        yield running
    finally:
        await running.ledger.db.close()  # its threads, too, where it could not be opened


async def test_without_the_ledger_the_other_metrics_are_reported(tmp_path: Path) -> None:
    """field G7"""
    async with service(tmp_path / "nowhere") as running:
        running.events.metrics.answered("shop", "edit", "")
        found = {f.name: f for f in text_string_to_metric_families((await exposition(running)).decode())}
    assert found["clew_ledger_up"].samples[0].value == 0
    assert found["clew_responses"].samples[0].value == 1
    assert "clew_postbacks" not in found
    assert "process_resident_memory_bytes" in found


@pytest.mark.parametrize("what", ["page", "decide", "postback"])
async def test_durations_are_in_seconds_by_site_and_outcome(tmp_path: Path, what: str) -> None:
    """field G7"""
    async with service(tmp_path) as running:
        await running.ledger.db.open()
        running.events.took(what, "shop", "good", 0.02)  # type: ignore[arg-type]
        text = (await exposition(running)).decode()
    family = next(
        f for f in text_string_to_metric_families(text) if f.name == f"clew_{what}_duration_seconds"
    )
    assert family.type == "histogram"
    sums = [s for s in family.samples if s.name.endswith("_sum")]
    assert (sums[0].labels, sums[0].value) == ({"site": "shop", "outcome": "good"}, 0.02)


async def test_a_removed_site_has_no_figures_and_begins_at_zero_when_it_comes_back(tmp_path: Path) -> None:
    def count(site: str) -> None:
        running.events.metrics.answered(site, "edit", "")
        running.events.emit("order", site=site)
        running.events.limited(site, "reads", "client", "192.0.2.0/24")
        for what in ("page", "decide", "postback"):
            running.events.took(what, site, "good", 0.02)  # type: ignore[arg-type]

    async def counts() -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {}
        for family in text_string_to_metric_families((await exposition(running)).decode()):
            for sample in family.samples:
                if sample.name.endswith(("_total", "_count")) and (site := sample.labels.get("site")):
                    of_site = found.setdefault(site, {})
                    of_site[sample.name] = of_site.get(sample.name, 0) + sample.value
        return found

    def swap(*names: str) -> None:
        sites = [Site(name=name, hosts=[f"{name}.example"]) for name in names]
        running.swap(running.settings.model_copy(update={"sites": sites}))

    async with service(tmp_path) as running:
        await running.ledger.db.open()
        swap("a", "b")
        for site in ("a", "a", "b"):
            count(site)
        before = await counts()
        # An event and a limit, which is an event too.
        assert set(before["a"].values()) == {2, 4}
        swap("b")
        # What was under way when the site was removed.
        count("a")
        assert await counts() == {"b": before["b"]}
        swap("b", "c")
        assert await counts() == {"b": before["b"]}
        assert not any(labels[0] == "a" for _, table in running.events.metrics._tables for labels in table)
        count("a")
        swap("a", "b")
        assert await counts() == {"b": before["b"]}
        count("a")
        assert await counts() == {"a": before["b"], "b": before["b"]}


def test_counting_a_page_needs_no_label_lookup() -> None:
    """field G7: a page costs 120 µs of CPU; looking the labels up each time would cost three of them"""
    metrics = Metrics(CollectorRegistry())

    def page() -> None:
        metrics.answered("shop", "edit", "")
        metrics.took("page", "shop", "edit", 0.03)

    def looked_up() -> None:
        metrics._answers.labels("shop", "edit", "").inc()
        metrics._seconds["page"].labels("shop", "edit").observe(0.03)

    page()

    def cost(work: Callable[[], None]) -> float:
        return cpu_seconds(lambda: [work() for _ in range(1000)], 20)

    assert cost(page) < 0.7 * cost(looked_up)
