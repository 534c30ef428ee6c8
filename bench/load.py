"""wrk asks, the servers take turns, and their CPU time is read before and after."""

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

# Made before the first request, so that each costs wrk one look into a table.
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
    """One server's turn: requests a second, CPU microseconds a request, the busiest process's part of it."""

    rate: float
    cpu_us: float
    busiest: float = 1.0


@dataclass
class Runner:
    """A running server under test and what its rounds gave."""

    name: str
    title: str
    port: int
    process: Process
    cores: str = LOAD_CORE
    rounds: list[Round] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """Requests a second, round by round."""
        return [turn.rate for turn in self.rounds]

    @property
    def cpu_us(self) -> list[float]:
        """CPU microseconds a request, round by round."""
        return [turn.cpu_us for turn in self.rounds]


def write_script(file: Path, path: str, headers: Mapping[str, str], cookies: Sequence[str]) -> list[str]:
    """Write wrk's script that goes round the visitors; the options that name it and the headers."""
    file.write_text(_SCRIPT.format(path=path, cookies=", ".join(map(json.dumps, cookies))))
    named = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    return ["-s", str(file), *named]


def parsed(out: str) -> tuple[int, float]:
    """Requests and requests a second that wrk tells of. Raises BenchError if one of them failed."""
    requests = re.search(r"(\d+) requests in", out)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    if requests is None or rate is None or int(requests[1]) == 0:
        raise BenchError(f"no answers:\n{out}")
    if "Non-2xx" in out or "Socket errors" in out:
        raise BenchError(f"failed requests:\n{out}")
    return int(requests[1]), float(rate[1])


def load(runner: Runner, script: Sequence[str], seconds: int, connections: int = CONNECTIONS) -> Round:
    """One turn. Raises BenchError at the first error that wrk tells of."""
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
    """Every round gives each server one turn, in an order drawn anew: a machine that gets slower hits all."""
    for number in range(1, rounds + 1):
        for runner in rng.sample(runners, len(runners)):
            runner.rounds.append(turn(runner))
        say(f"  round {number} of {rounds}")


def say(text: str) -> None:
    """Tell whoever waits."""
    print(text, file=sys.stderr, flush=True)
