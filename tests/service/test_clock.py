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


class Server:
    """Tells a time that goes on by itself, and takes some seconds for the answer."""

    def __init__(self, steady: list[float], ahead: float) -> None:
        self.steady, self.ahead, self.takes = steady, ahead, (0.0, 0.0)

    async def time(self) -> float | None:
        self.steady[0] += self.takes[0]
        at = self.steady[0] + self.ahead
        self.steady[0] += self.takes[1]
        return at


async def test_the_time_is_that_of_a_server_however_this_machines_clock_is_set() -> None:
    wall, steady = [1_800_000_300.0], [5.0]
    told: list[tuple[float, float]] = []
    clock, server = Clock(lambda: wall[0], lambda: steady[0]), Server(steady, 1_799_999_995.0)
    clock.jumped = lambda before, step: told.append((before, step))
    await clock.follow(server)
    assert (clock.now(), clock.off) == (1_800_000_000.0, 300.0)
    wall[0] -= 86400.0
    steady[0] += 10.0
    assert clock.now() == 1_800_000_010.0
    # An answer that takes long says less than what is known.
    server.takes = 0.0, 0.5
    await clock.follow(server)
    assert clock.now() == steady[0] + server.ahead
    server.takes, server.ahead = (0.0, 9.0), server.ahead + 2.0
    await clock.follow(server)
    assert clock.now() == steady[0] + server.ahead - 2.0
    assert told == []
    server.takes, server.ahead = (0.0, 0.0), server.ahead - 3602.0
    await clock.follow(server)
    assert clock.now() == steady[0] + server.ahead
    assert told == [(steady[0] + server.ahead + 3600.0, -3600.0)]


async def test_a_process_that_began_before_its_server_answered_tells_of_the_step() -> None:
    wall, steady = [1_800_000_300.0], [5.0]
    told: list[float] = []
    clock = Clock(lambda: wall[0], lambda: steady[0])
    clock.jumped = lambda before, step: told.append(step)
    assert clock.now() == 1_800_000_300.0
    await clock.follow(Server(steady, 1_799_999_995.0))
    assert clock.now() == 1_800_000_000.0
    assert told == [-300.0]


async def test_a_later_answer_that_comes_sooner_says_more() -> None:
    """Machines that begin while the ledger is slow go by one time all the same: of two reports of an order,
    one at each of them, the later one has to count."""
    wall, steady = [1_800_000_300.0], [5.0]
    clock, server = Clock(lambda: wall[0], lambda: steady[0]), Server(steady, 1_799_999_995.0)

    def error() -> float:
        return abs(clock.now() - steady[0] - server.ahead)

    # The way back takes all of the time, which nobody can see.
    for way, most in ((4.0, 2.0), (1.2, 0.6), (3.0, 0.6), (0.8, 0.4), (0.01, 0.005), (0.9, 0.005)):
        server.takes = 0.0, way
        await clock.follow(server)
        assert error() == pytest.approx(most, abs=1e-6)
        steady[0] += 0.001


async def test_of_several_measurements_the_shortest_counts() -> None:
    wall, steady = [1_800_000_300.0], [5.0]
    clock, server = Clock(lambda: wall[0], lambda: steady[0]), Server(steady, 1_799_999_995.0)
    ways, ask = iter((0.3, 0.1, 0.015)), server.time

    async def time() -> float | None:
        server.takes = 0.0, next(ways)
        return await ask()

    server.time = time  # type: ignore[method-assign]
    await clock.follow(server)
    assert clock.now() - steady[0] - server.ahead == pytest.approx(-0.0075, abs=1e-6)
    assert next(ways, None) is None
