"""The garbage collector of a worker.

A full collection stops the worker while it looks at all objects: with two thousand open streams these are
some 800,000, and it takes 0.3 s. So what survives one is left out of the next ones (`gc.freeze`), which look
at what has come since. Most objects are freed without the collector, also these; cycles among those that were
left out are found when they have become twice as many.
"""

import gc
from typing import Any

# Objects that are made until a collection of the first, second and all generations: CPython's 700, and a
# second and third collection after each fifth of the one before. So a full one looks at some 20,000.
_THRESHOLDS = 700, 5, 5
_LEAST = 200_000


class Garbage:
    """What is left out, from `leave_out` on."""

    def __init__(self) -> None:
        self._kept = 0  # by the last collection that looked at all objects
        self._left_out = 0  # since they were counted: many of these are freed soon
        self._all_are_looked_at = True

    def leave_out(self) -> None:
        """Look at all objects, and from now on at new ones."""
        gc.collect()
        gc.callbacks.append(self._done)
        gc.set_threshold(*_THRESHOLDS)
        self._freeze()

    def _done(self, phase: str, info: dict[str, Any]) -> None:
        """A collection begins or has ended (`gc.callbacks`)."""
        if phase != "stop" or info["generation"] != 2:
            return
        if not self._all_are_looked_at:
            self._left_out += len(gc.get_objects(2))
            if self._left_out > self._kept + _LEAST and self._have_doubled():
                gc.unfreeze()
                self._all_are_looked_at = True  # by the next collection
                return
        self._freeze()

    def _have_doubled(self) -> bool:
        """It takes as long as a fifth of a collection of them."""
        self._left_out = 0
        return gc.get_freeze_count() > 2 * self._kept + _LEAST

    def _freeze(self) -> None:
        gc.freeze()
        if self._all_are_looked_at:
            self._all_are_looked_at = False
            self._kept, self._left_out = gc.get_freeze_count(), 0
