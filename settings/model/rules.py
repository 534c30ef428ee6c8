"""The rules of a site."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from .actions import ActionTerms
from .invites import RulePolicy

Condition = str | dict[Literal["all", "any", "not"], object]
"""A CEL line; or a table `{ any = […] }`, `{ all = […] }` or `{ not = … }` of lines and such tables."""


_WAIT = re.compile(r"(\d{1,4})([smh])", re.ASCII)
_SIGNAL = re.compile(
    r"exit|back|rage|scroll (100|[1-9]?\d)%|idle [1-9]\d{0,3}s|visible \S.{0,99}|event [A-Za-z0-9_.:-]{1,64}",
    re.ASCII,
)
_UNITS = {"s": 1, "m": 60, "h": 3600}


def _wait(value: str) -> str:
    if not _WAIT.fullmatch(value):
        raise ValueError('not a length of time; write for example "90s", "5m" or "1h"')
    return value


def _signal(value: str) -> str:
    if not _SIGNAL.fullmatch(value):
        known = '"exit", "back", "rage", "scroll 60%", "idle 30s", "visible .price" or "event add_to_cart"'
        raise ValueError(f"not a signal; write {known}")
    return value


Wait = Annotated[str, AfterValidator(_wait)]
Signal = Annotated[str, AfterValidator(_signal)]
EventName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]


def seconds_of(wait: str) -> int:
    """The seconds of "90s", "5m" or "1h"."""
    return int(wait[:-1]) * _UNITS[wait[-1]]


class Rule(ActionTerms, RulePolicy):
    """When to show, invite or hide: all of `when` must be true; the first match by priority acts."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    when: list[Condition] = []
    wait: Wait | None = None
    wait_page: Wait | None = None
    on: list[Signal] = Field([], max_length=10)
    cancel_on: list[EventName] = Field([], max_length=10)
    priority: int = Field(0, ge=-1_000_000, le=1_000_000)
    enabled: bool = True
