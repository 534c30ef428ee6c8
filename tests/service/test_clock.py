"""field B6: a clock that is set is noticed, one that runs a little fast or slow is not."""

import ast
from pathlib import Path

import pytest
from clew.service.clock import Clock


@pytest.mark.parametrize(
    ("passed", "shown", "step"),
    [
        (10.0, 10.0, None),
        (10.0, 10.5, None),
        (86400.0, 86440.0, None),  # 500 ppm
        (10.0, -3590.0, -3600.0),
        (0.0, 3600.0, 3600.0),
        (86400.0, 86400.0 - 3600.0, -3600.0),
    ],
)
def test_a_step_of_the_clock_is_reported(passed: float, shown: float, step: float | None) -> None:
    wall, steady = [1_800_000_000.0], [5.0]
    told: list[tuple[float, float]] = []
    clock = Clock(lambda: wall[0], lambda: steady[0])
    clock.jumped = lambda before, step: told.append((before, step))
    wall[0] += shown
    steady[0] += passed
    assert clock.now() == clock.now() == 1_800_000_000.0 + shown
    assert told == ([] if step is None else [(1_800_000_000.0 + passed, step)])


ROOT = Path(__file__).parents[2]
ROOMS = sorted(path.parent for path in ROOT.glob("*/__init__.py"))
TIME_OF_DAY = {
    *(("time", name) for name in ("time", "time_ns", "localtime", "gmtime")),
    *(("datetime", name) for name in ("now", "utcnow", "today")),
    ("date", "today"),
}


# `settings/included.py` compares it with the times of files, and knows no other room. `events/logs.py` writes
# it into lines of the log, as structlog does for those who mount the middleware.
READS_IT = {ROOT / name for name in ("service/clock.py", "settings/included.py", "events/logs.py")}


def test_only_the_clock_reads_the_time_of_day() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for room in ROOMS
        if room.name not in ("bench", "examples", "tests")
        for path in room.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in TIME_OF_DAY
        and path not in READS_IT
    ]
    assert found == []
