"""Wide limits for what the product waits for, and rates that time alone does not free. Many tests share one
machine, and its being slow is no fault of the product. A test of such a limit has the product's own by the
fixture `strict`."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

from clew.service import attribution, decisions, handing, service
from clew.service.limits import Limits, Refusals
from clew.service.ordering import recording
from clew.settings import model
from clew.stores import talks, visits_breaker
from clew.stores.ledger import postgresql
from clew.stores.ledger.database import Database

WIDE = 30.0
"""Seconds."""
_LIMITS: tuple[tuple[ModuleType, str], ...] = (
    (attribution, "TOUCH_SECONDS"),
    (decisions, "VISIT_SECONDS"),
    (handing, "JOIN_SECONDS"),
    (postgresql, "WRITE_SECONDS"),
    (recording, "ANSWER_SECONDS"),
    (talks, "ANSWER_SECONDS"),
    (visits_breaker, "ANSWER_SECONDS"),
)


def _set(limits: list[float], transact: tuple[float, ...] | None) -> None:
    for (module, name), limit in zip(_LIMITS, limits, strict=True):
        setattr(module, name, limit)
    Database.transact.__defaults__ = transact


_OWN = [getattr(module, name) for module, name in _LIMITS], Database.transact.__defaults__


class StillLimits(Limits):
    """Counters that become free only as a test puts its clock forward: sixty requests may take a second."""

    def __init__(
        self, settings: model.Limits, refusals: Refusals, clock: Callable[[], float] = time.monotonic
    ) -> None:
        began = time.monotonic()
        real = abs(clock() - began) < 1
        still = (lambda: began + round(clock() - time.monotonic(), 2)) if real else clock
        super().__init__(settings, refusals, still)


def widen() -> None:
    """For all tests of this process."""
    _set([WIDE] * len(_LIMITS), (WIDE,))
    service.Limits = StillLimits  # type: ignore[misc]


@contextmanager
def own_limits() -> Iterator[None]:
    """The product's, within the block."""
    _set(*_OWN)
    try:
        yield
    finally:
        widen()
