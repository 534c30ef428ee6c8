"""How the time that work takes grows with its size, on a machine that has other things to do too."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

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


STEP = 0.01


@asynccontextmanager
async def loop_seconds() -> AsyncIterator[Callable[[], float]]:
    """How long something has waited, in seconds in which the loop has run. They are counted in steps, each
    from the end of the one before, so that what the machine does for others in between does not count."""
    steps = 0

    async def count() -> None:
        nonlocal steps
        while True:
            await asyncio.sleep(STEP)
            steps += 1

    counting = asyncio.create_task(count())
    try:
        yield lambda: steps * STEP
    finally:
        counting.cancel()
