"""What verdicts are made of, and the five words. Needs neither numpy nor scipy."""

from typing import Literal

from msgspec import Struct

Word = Literal["too early", "good", "bad", "no clear difference", "undecided at 200"]


class Count(Struct, frozen=True):
    """`successes` among `n` units: orders of conversations, chats of visitors who saw a text, …

    A unit counts once: a visitor with three chats is one visitor. Raises ValueError unless 0 ≤ successes ≤ n.
    """

    successes: int
    n: int

    def __post_init__(self) -> None:
        if not 0 <= self.successes <= self.n:
            raise ValueError(f"{self.successes} successes of {self.n} units: each unit counts once at most")

    @property
    def rate(self) -> float:
        """The share of successes, 0 if there are no units."""
        return self.successes / self.n if self.n else 0.0


class Interval(Struct, frozen=True):
    """From `low` to `high`."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high
