"""field B6: a clock that is set is noticed, one that runs a little fast or slow is not."""

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
def test_a_step_of_the_clock_is_told(passed: float, shown: float, step: float | None) -> None:
    wall, steady = [1_800_000_000.0], [5.0]
    told: list[tuple[float, float]] = []
    clock = Clock(lambda: wall[0], lambda: steady[0])
    clock.jumped = lambda before, step: told.append((before, step))
    wall[0] += shown
    steady[0] += passed
    assert clock.now() == clock.now() == 1_800_000_000.0 + shown
    assert told == ([] if step is None else [(1_800_000_000.0 + passed, step)])
