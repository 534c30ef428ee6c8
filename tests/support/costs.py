"""How the time that work takes grows with its size, on a machine that has other things to do too."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

# Seconds of CPU below which nothing is weighed: a garbage collection costs as much.
FLOOR = 0.0005


def cpu_seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """The least CPU time that `work` took in this thread."""
    took = []
    for _ in range(rounds):
        began = time.thread_time()
        work()
        took.append(time.thread_time() - began)
    return min(took)


def assert_linear(work: Callable[[int], object], size: int, times: int = 10) -> None:
    """`work(times * size)` takes at most three times as long as it should; quadratic work takes `times`."""
    short, long = (cpu_seconds(lambda n=n: work(n)) for n in (size, times * size))  # type: ignore[misc]
    assert long < 3 * times * max(short, FLOOR), f"{short:.4f} s for {size}, {long:.4f} s for {times * size}"


def _delayed() -> float:
    """Seconds for which this thread could have run, and the machine ran others (Linux, schedstat)."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


@asynccontextmanager
async def loop_seconds() -> AsyncIterator[Callable[[], float]]:
    """How long something has waited, in seconds. Those in which the machine did others' work instead of the
    loop's do not count; those in which the loop was blocked do."""
    began = time.monotonic() - _delayed()
    yield lambda: time.monotonic() - _delayed() - began
