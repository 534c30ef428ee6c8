"""Tries rules of a site, in a program of its own beside a server: `python -m clew.service.trial_program`,
from standard input to standard output. So no request waits for what takes seconds of a processor.

What comes in are lines of JSON: a `Trial`, then lists of recorded page views. What goes out is a `Result`.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from ..settings.model import Site
from ..stores.ledger.traffic import Recorded
from .rule_trials import Advised, Shown, Tried, advice_of, trial_of
from .rules_in_force import rules_of

NICE: Final = 10
"""Of a busy machine, requests come first."""


class Trial(Struct, frozen=True):
    """What is tried: the settings of the `site` that count for it, its `rules` as JSON, and what became of
    the invites that were `shown` by rule. It ends after so many `seconds`."""

    site: Mapping[str, Any]
    rules: str
    shown: Mapping[str, Shown]
    now: float
    seconds: float


class Result(Struct, frozen=True):
    """What the rules come to, and what the page views suggest."""

    tried: Tried
    advised: Advised


def settings_of(site: Site) -> Mapping[str, Any]:
    """What a trial needs of a site's settings; no secrets."""
    kept = {"name", "time_zone", "invites", "facts", "signals", "hours", "callback"}
    return site.model_dump(mode="json", include=kept, exclude_none=True)


def run(lines: Sequence[bytes]) -> bytes:
    """The result of a trial."""
    asked = msgspec.json.decode(lines[0], type=Trial)
    rows = [row for line in lines[1:] for row in msgspec.json.decode(line, type=list[Recorded])]
    rows.sort(key=lambda row: (row.visitor, row.at))
    site = Site.model_validate(asked.site)
    tried = trial_of(site, rules_of(asked.rules), rows, asked.shown, asked.now, asked.seconds)
    return msgspec.json.encode(Result(tried, advice_of(site, rows, asked.now)))


if __name__ == "__main__":
    os.nice(NICE)
    sys.stdout.buffer.write(run(sys.stdin.buffer.read().splitlines()))
