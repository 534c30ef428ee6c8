"""What is counted for Prometheus, and what counting costs."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from clew.desk.ops.exposition import exposition
from clew.events.metrics import Metrics
from clew.service.service import Service
from clew.settings.model import Settings
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


async def test_without_the_ledger_the_other_figures_are_told(tmp_path: Path) -> None:
    """field G7"""
    async with service(tmp_path / "nowhere") as running:
        running.events.metrics.answered("shop", "edit", "")
        found = {f.name: f for f in text_string_to_metric_families((await exposition(running)).decode())}
    assert found["clew_ledger_up"].samples[0].value == 0
    assert found["clew_responses"].samples[0].value == 1
    assert "clew_postbacks" not in found
    assert "process_resident_memory_bytes" in found


@pytest.mark.parametrize("what", ["page", "decide", "postback"])
async def test_times_are_told_in_seconds_by_site_and_outcome(tmp_path: Path, what: str) -> None:
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


def test_counting_a_page_looks_nothing_up() -> None:
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
