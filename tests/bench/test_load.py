"""Failed requests end a benchmark; every server gets its turn in every round."""

import random
from typing import Any

import pytest
from load import Round, Runner, parsed, take_turns
from pinned import BenchError

RIGHT = """Running 1s test @ http://127.0.0.1:1/
  1 threads and 32 connections
  3601 requests in 1.00s, 352.10MB read
Requests/sec:   3599.25
Transfer/sec:    351.93MB
"""


def test_requests_and_rate_are_read() -> None:
    assert parsed(RIGHT) == (3601, 3599.25)


@pytest.mark.parametrize(
    "out",
    [
        RIGHT + "  Non-2xx or 3xx responses: 1\n",
        RIGHT + "  Socket errors: connect 0, read 1, write 0, timeout 0\n",
        RIGHT.replace("3601 requests", "0 requests"),
        "unable to connect\n",
    ],
)
def test_one_failed_request_ends_the_benchmark(out: str) -> None:
    with pytest.raises(BenchError):
        parsed(out)


def _turns(seed: int) -> list[str]:
    no_process: Any = None
    runners = [Runner(name, name, 1, no_process) for name in "abcd"]
    order: list[str] = []

    def turn(runner: Runner) -> Round:
        order.append(runner.name)
        return Round(1.0, 1.0)

    take_turns(runners, random.Random(seed), 5, turn)
    assert [len(runner.rounds) for runner in runners] == [5] * 4
    return order


def test_every_round_has_every_server_once() -> None:
    order = _turns(1)
    assert [sorted(order[at : at + 4]) for at in range(0, 20, 4)] == [list("abcd")] * 5


def test_the_order_is_drawn_from_the_seed() -> None:
    assert _turns(1) == _turns(1)
    assert _turns(1) != _turns(2)
