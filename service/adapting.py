"""Gives the texts of adaptive rules more visitors the better they do: Thompson sampling, anew every few
minutes from the ledger, outside of any request. A visitor keeps the text that it got first."""

import asyncio
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from ..events.events import Events
from ..rules.experiments import NO_INVITE, Experiment
from ..rules.verdicts.counts import Count
from ..stores.ledger.rule_looks import RuleLooks
from .clock import Clock
from .inviting import Inviting
from .site import SiteRuntime
from .sites import Sites

EVERY: Final = 300.0
MOST_SEEN: Final = 50_000
"""Visitors of a rule that are counted at most, the first ones."""

OF_NETWORK: Final = 5
"""Visitors of one client network who count for a text: one who always takes the same text steers nothing."""


class Adapting:
    """Computes the parts of all adaptive rules, in each process alike."""

    def __init__(
        self, books: RuleLooks, sites: Sites, inviting: Inviting, events: Events, clock: Clock
    ) -> None:
        self._books = books
        self._sites = sites
        self._inviting = inviting
        self._events = events
        self._clock = clock

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self.adapt()
            await asyncio.sleep(EVERY)

    async def adapt(self) -> None:
        """Compute the parts. What fails keeps those that it had."""
        found: dict[str, Sequence[float]] = {}
        for name in list(self._sites.table.by_name):
            try:
                if any(rule.adaptive for rule in self._sites.rules(name, having='"adaptive"')):
                    found |= await self._of(await self._sites.whole(name))
            except Exception as error:
                self._events.failed(error, site=name, where="adaptive rules")
        self._inviting.parts = {**self._inviting.parts, **found} if found else self._inviting.parts

    async def _of(self, site: SiteRuntime) -> dict[str, Sequence[float]]:
        found: dict[str, Sequence[float]] = {}
        for experiment in site.invites.by_key.values():
            if experiment.adaptive:
                key, now = (site.name, experiment.rule, experiment.version), self._clock.now()
                units = await self._books.seen(
                    *key, after=0.0, ripe=now, limit=MOST_SEEN, of_network=OF_NETWORK
                )
                counts = {arm.name: [0, 0] for arm in experiment.arms}
                for unit in units:
                    if unit.arm in counts:
                        counts[unit.arm][0] += unit.success
                        counts[unit.arm][1] += 1
                texts = {name: Count(*count) for name, count in counts.items()}
                found[experiment.key] = await asyncio.to_thread(parts_of, experiment, texts, seed_of(*key))
        return found


def seed_of(site: str, rule: str, version: str) -> int:
    """The seed of an edition: the same counts give the same parts, in all processes."""
    return int.from_bytes(blake2b("\0".join((site, rule, version)).encode(), digest_size=7).digest(), "big")


def parts_of(experiment: Experiment, counts: dict[str, Count], seed: int) -> list[float]:
    """The parts of all arms: that without an invite keeps its own, the texts share the rest by success, each
    at least a tenth of it."""
    from ..rules.verdicts.sharing import thompson

    texts = [arm for arm in experiment.arms if arm.name != NO_INVITE]
    shares = iter(thompson([counts[arm.name] for arm in texts], seed).shares)
    rest = sum(arm.part for arm in texts)
    return [arm.part if arm.name == NO_INVITE else rest * next(shares) for arm in experiment.arms]
