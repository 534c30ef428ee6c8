"""Who gets which arm: by a hash of the visitor, so that it stays the same over visits and processes, and
nothing has to be stored. The salt of each experiment is its own, so they are independent of each other."""

import json
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Final

from msgspec import Struct

from ..settings.model import Invites, Rule, RulePolicy

NO_INVITE: Final = "no_invite"
HELD_OUT: Final = "holdout"
INVITED: Final = "invited"
PLAIN: Final = "invite"
"""The arm of a rule that has one text."""

_SAME: Final = frozenset({*RulePolicy.model_fields} - {"variants", "no_invite"}) | {
    "name",
    "priority",
    "enabled",
}
"""Settings of a rule that do not change what is compared: another order, another time or fewer visitors."""


class Arm(Struct, frozen=True):
    """One of the arms, and the part of the visitors that gets it."""

    name: str
    part: float


class Experiment(Struct, frozen=True):
    """An experiment: `rule` is empty for the hold-out of all rules. Whatever changes what is compared makes
    another `version`, which begins anew. The parts of the arms add up to 1."""

    rule: str
    version: str
    arms: tuple[Arm, ...]
    salt: bytes

    @property
    def key(self) -> str:
        """Its name in visitors' records."""
        return f"{self.salt[:4].hex()}{self.version[:6]}"

    adaptive: bool = False

    def arm(self, visitor: str, kept: int = 0, parts: Sequence[float] = ()) -> str:
        """The arm of a visitor: the one that its record has `kept` (see `code`), else by lot, with other
        `parts` than those of the experiment if these are given."""
        if 0 < kept <= len(self.arms):
            return self.arms[kept - 1].name
        place = place_of(self.salt, visitor)
        for arm, part in zip(self.arms, parts or [arm.part for arm in self.arms], strict=True):
            if place < part:
                return arm.name
            place -= part
        return self.arms[-1].name

    def code(self, arm: str) -> int:
        """What a visitor's record keeps of its arm, from 1; 0 where the lot always gives the same."""
        if not self.adaptive:
            return 0
        return 1 + next((place for place, one in enumerate(self.arms) if one.name == arm), -1)


def place_of(salt: bytes, visitor: str) -> float:
    """The place of a visitor from 0 to 1: always the same, evenly spread, and independent of other salts."""
    hashed = blake2b(visitor.encode("utf-8", "surrogatepass"), digest_size=8, key=salt).digest()
    # The upper 53 bits, all that a float holds.
    return (int.from_bytes(hashed, "big") >> 11) / 2**53


def experiment_of(site: str, rule: Rule) -> Experiment:
    """The experiment of a rule that invites: its texts, and nobody invited as one more arm."""
    version = version_of(rule)
    salt = _salt("rule", site, rule.name, version)
    adaptive = rule.adaptive and len(rule.variants) > 1
    return Experiment(rule.name, version, tuple(_arms(rule)), salt, adaptive)


def holdout_of(site: str, invites: Invites) -> Experiment:
    """The experiment of all rules together. Whoever is held out at 5 % is so at 10 % too."""
    held = invites.holdout / 100
    arms = (Arm(HELD_OUT, held), Arm(INVITED, 1 - held))
    return Experiment("", _digest([invites.holdout]), arms, _salt("holdout", site))


def share_salt(site: str, rule: str) -> bytes:
    """The salt of the share of visitors for which a rule is there."""
    return _salt("share", site, rule)


def version_of(rule: Rule) -> str:
    """What changes with the meaning of a rule: its lines, texts and arms, and what it shows. What is left at
    its default does not count, so that a new setting of clew's changes no version."""
    return _digest(rule.model_dump(mode="json", exclude=set(_SAME), exclude_defaults=True))


def _arms(rule: Rule) -> Iterator[Arm]:
    invited = 1 - rule.no_invite / 100
    # First, so that more or fewer of them leave the others their order.
    if rule.no_invite:
        yield Arm(NO_INVITE, 1 - invited)
    whole = sum(variant.weight for variant in rule.variants)
    for variant in rule.variants:
        yield Arm(variant.name, invited * variant.weight / whole)
    if not rule.variants:
        yield Arm(PLAIN, invited)


def _salt(*parts: str) -> bytes:
    return _hashed(parts, 32)


def _digest(value: object) -> str:
    return blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=6).hexdigest()


def _hashed(parts: Sequence[str], size: int) -> bytes:
    return blake2b("\0".join(parts).encode(), digest_size=size).digest()
