"""The rules of a site in order, and the first of them whose conditions are all true.

Many rules share their first line: a page, a partner, a stage of the sale. So a condition that is found false
takes all rules that need it away at once. The rules that are left are the bits of a number, the first rule
the lowest; for each condition there is a number with the rules that do without it. To keep the numbers small,
and the time linear in the rules, rules are taken in blocks.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from ..settings.model import Rule
from .direct import ASK
from .moments import Wait
from .trees import Tree

BLOCK = 1024
SIGNALS = 20
EVENT = "event"  # the kind of a signal that a page tells by name


class Refusal(Struct, frozen=True):
    """Why a rule whose lines are all true may not act now; `seconds` from now it may, None: not by time
    alone. `by` is what keeps it back: the key of the setting, or a word for what is none."""

    why: str
    seconds: float | None = None
    by: str = ""


Refuse = Callable[[Rule, bool], Refusal | None]
"""Asked of a rule before it acts, and of one that only waits for time (then with True) before it is waited
for. It is not asked of others."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A rule with its conditions. `conditions` are as they are written; `timeless` and `timed` are the same,
    cheapest first, without and with facts of time. `waits` are the timed ones where time makes each of them
    true and keeps it so, else None."""

    rule: Rule
    conditions: tuple[Tree, ...]
    timeless: tuple[Tree, ...]
    timed: tuple[Tree, ...]
    waits: tuple[Wait, ...] | None

    def signalled(self, told: Container[str]) -> bool:
        """Whether the browser has told a signal that the rule waits for, or it waits for none."""
        return not self.rule.on or any(signal in told for signal in self.rule.on)


class Block:
    """Some of the rules, in order."""

    def __init__(self, rules: Sequence[Ranked]) -> None:
        self.rules = tuple(rules)
        self.enabled = sum(1 << place for place, one in enumerate(rules) if one.rule.enabled)
        needing: dict[Tree, int] = {}
        for place, one in enumerate(rules):
            for condition in one.timeless:
                needing[condition] = needing.get(condition, 0) | 1 << place
        whole = (1 << len(rules)) - 1
        self.without: Mapping[Tree, int] = {condition: whole & ~bits for condition, bits in needing.items()}


def blocks_of(rules: Sequence[Ranked]) -> tuple[Block, ...]:
    """The rules in blocks."""
    return tuple(Block(rules[start : start + BLOCK]) for start in range(0, len(rules), BLOCK))


@dataclass(slots=True)
class Found:
    """The rule that acts, if any. Of those before it: `waiting` are rules of which only conditions with facts
    of time are false, `armed` wait for a signal of the browser, `refused` is in how many seconds those that
    are refused may act."""

    winner: Ranked | None = None
    waiting: list[Ranked] = field(default_factory=list)
    armed: list[Ranked] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    def signals(self, told: Container[str]) -> tuple[str, ...]:
        """What the browser should tell: signals that rules wait for, and events that withdraw an invite that
        waits or is shown. Not what it has `told`."""
        pending = [*self.armed, *self.waiting, *([self.winner] if self.winner is not None else [])]
        wanted = [signal for one in self.armed for signal in one.rule.on]
        wanted += [f"{EVENT} {name}" for one in pending for name in one.rule.cancel_on]
        return tuple(signal for signal in dict.fromkeys(wanted) if signal not in told)[:SIGNALS]


def first_of(
    blocks: Sequence[Block],
    truth: Callable[[Tree], bool | None],
    truths: Mapping[Tree, object],
    refuse: Refuse | None,
    told: Container[str] = (),
) -> Found:
    """The first rule whose conditions are all true and that is not refused. `truths` has what `truth` has
    found, `told` are the signals that the browser has told on this page."""
    found = Found()
    for block in blocks:
        left, rules, without = block.enabled, block.rules, block.without
        while left:
            bit = left & -left
            one = rules[bit.bit_length() - 1]
            for condition in one.timeless:
                # Inlined for those that were asked before.
                known = truths.get(condition, ASK)
                if (truth(condition) if known is ASK else known) is not True:
                    left &= without[condition]
                    break
            else:
                left ^= bit
                now = all(truth(condition) is True for condition in one.timed)
                if _acts(one, now, refuse, told, found):
                    found.winner = one
                    return found
    return found


def _acts(one: Ranked, now: bool, refuse: Refuse | None, told: Container[str], found: Found) -> bool:
    """Whether a rule of which everything but time is true acts; else it is noted what it waits for."""
    ready = now and one.signalled(told)
    refusal = refuse(one.rule, not ready) if refuse is not None else None
    if refusal is None or (not ready and refusal.seconds is not None):
        if ready:
            return True
        (found.armed if now else found.waiting).append(one)
    elif refusal.seconds is not None:
        found.refused.append(refusal.seconds)
    return False
