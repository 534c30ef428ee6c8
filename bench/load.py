"""Runs wrk against the servers in turn, and measures their CPU time."""

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pinned import LOAD_CORE, BenchError, Process, cpu_seconds, settle

CONNECTIONS = 32
TIMEOUT_SECONDS = 30

# The requests are built before the first one, so that each costs wrk one table look-up.
_SCRIPT = """
local cookies = {{ {cookies} }}
local requests, last = {{}}, 0
function init(args)
  for i, cookie in ipairs(cookies) do
    wrk.headers["Cookie"] = cookie
    requests[i] = wrk.format("GET", "{path}")
  end
end
function request()
  last = last % #requests + 1
  return requests[last]
end
"""


@dataclass(frozen=True)
class Round:
    """One server's turn: requests per second, CPU microseconds per request, the busiest process's share of
    these."""

    rate: float
    cpu_us: float
    busiest: float = 1.0


@dataclass
class Runner:
    """A running server under test and the results of its rounds."""

    name: str
    title: str
    port: int
    process: Process
    cores: str = LOAD_CORE
    rounds: list[Round] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """Requests per second, one value per round."""
        return [turn.rate for turn in self.rounds]

    @property
    def cpu_us(self) -> list[float]:
        """CPU microseconds per request, one value per round."""
        return [turn.cpu_us for turn in self.rounds]


def write_script(file: Path, path: str, headers: Mapping[str, str], cookies: Sequence[str]) -> list[str]:
    """Write a wrk script that cycles through the visitors. Returns wrk's options for it and the headers."""
    file.write_text(_SCRIPT.format(path=path, cookies=", ".join(map(json.dumps, cookies))))
    named = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    return ["-s", str(file), *named]


def parsed(out: str) -> tuple[int, float]:
    """Number of requests and requests per second in wrk's output. Raises BenchError if a request failed."""
    requests = re.search(r"(\d+) requests in", out)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    if requests is None or rate is None or int(requests[1]) == 0:
        raise BenchError(f"no answers:\n{out}")
    if "Non-2xx" in out or "Socket errors" in out:
        raise BenchError(f"failed requests:\n{out}")
    return int(requests[1]), float(rate[1])


def load(runner: Runner, script: Sequence[str], seconds: int, connections: int = CONNECTIONS) -> Round:
    """One turn. Raises BenchError if wrk reports an error."""
    before = cpu_seconds(runner.process)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={TIMEOUT_SECONDS}s", *script]
    done = subprocess.run(
        ["taskset", "-c", runner.cores, *command, f"http://127.0.0.1:{runner.port}/"],
        capture_output=True,
        text=True,
        check=False,
    )
    after = cpu_seconds(runner.process)
    if done.returncode != 0:
        raise BenchError(f"wrk failed: {done.stderr or done.stdout}")
    try:
        requests, rate = parsed(done.stdout)
    except BenchError as error:
        raise BenchError(f"{runner.title}: {error}") from None
    settle(runner.process)
    used = [after[pid] - before.get(pid, 0.0) for pid in after]
    return Round(rate, sum(used) / requests * 1e6, max(used) / (sum(used) or 1.0))


def take_turns(
    runners: Sequence[Runner], rng: random.Random, rounds: int, turn: Callable[[Runner], Round]
) -> None:
    """In each round every server has one turn, in random order, so that a slower machine affects all of
    them."""
    for number in range(1, rounds + 1):
        for runner in rng.sample(runners, len(runners)):
            runner.rounds.append(turn(runner))
        print_progress(f"  round {number} of {rounds}")


def print_progress(text: str) -> None:
    """Write a line to standard error."""
    print(text, file=sys.stderr, flush=True)
