"""Reports without an order number, and reports that a person moves to another order.

Evidence joins a report without a number to an order only if the match is certain (`orders/join.py`). The
match is checked again with each report that may change it, so the result is the same in any order of arrival.
It is checked after the report is written, so of two concurrent writers the later one sees both reports.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ...credit.inputs import Inputs
from ...orders.checks import checked_text
from ...orders.history import project
from ...orders.join import Joined, Proposal, join
from ...orders.model import OrderError
from ...orders.sighting import Sighting
from ...postbacks.due import manual
from ...postbacks.model import Postback
from ...referral.networks_file import load as load_catalogue
from ...stores.ledger.books import Ledger
from ...stores.ledger.errors import LedgerBusyError
from ...stores.ledger.forgotten import ForgottenError
from ...stores.ledger.history import Change, Placement
from ...stores.ledger.known import Known, Moved, Stored, placed_of
from ...stores.retries import pause
from .book import TRIES, Crediting, change_of
from .correcting import WHY_LENGTH

WAITING: Final = 500
"""Maximum number of a site's reports that wait for an order."""
WAITING_SECONDS: Final = 30 * 86400.0
"""Maximum time that a report waits for an order."""


ANY: Final = -1
"""Whichever order a report belongs to."""


@dataclass(frozen=True, slots=True)
class Placed:
    """The result for a report: the ledger's number of its order, None while it waits; the orders that it may
    belong to; and the postbacks that are new or changed their state. `given_up` counts the reports that no
    longer wait, because too many did. `changed` is whether its order is another one than before."""

    stored: Stored
    order: int | None
    candidates: tuple[str, ...] = ()
    postbacks: tuple[Postback, ...] = ()
    given_up: int = 0
    changed: bool = False


class Placing:
    """Assigns reports to orders by evidence, or by a person's decision."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def add(self, sighting: Sighting, terms: Crediting, now: float, raw: str | None = None) -> Placed:
        """Keep a report without a number, and join it to its order if the match is certain. A repeat adds
        nothing. Raises the ledger's errors."""
        loose, given_up = self._ledger.loose, 0
        try:
            stored, is_new = await loose.add(sighting, raw)
        except ForgottenError as gone:
            return await self.add(sighting.forget(gone.visitors, gone.emails), terms, now)
        if is_new:
            given_up = await loose.give_up(sighting.site, now - WAITING_SECONDS, WAITING)
        if not stored.by_evidence:
            return Placed(stored, stored.order)
        placed = await self.join(stored, terms, now)
        if placed.order is None:
            placed = replace(placed, candidates=await self.candidates(stored))
        return replace(placed, given_up=given_up)

    async def candidates(self, stored: Stored) -> tuple[str, ...]:
        """The numbers of the orders to which a report may belong."""
        proposal, joined, _ = await self.proposal(stored, sure=False)
        return (
            tuple(name for name, _ in proposal.candidates) if proposal else joined.numbers if joined else ()
        )

    async def join_near(self, order: int, terms: Crediting, now: float) -> tuple[Placed, ...]:
        """Check the reports again that may belong to a changed order."""
        known = await self._ledger.loose.order_at(order)
        if known is None:
            return ()
        near = await self._ledger.loose.near(known)
        return tuple([await self.join(stored, terms, now) for stored in near])

    async def proposal(
        self, stored: Stored, *, sure: bool = True
    ) -> tuple[Proposal | None, Joined | None, tuple[Known, ...]]:
        """The certain match of a report without a number, or the proposals for a person."""
        known = await self._ledger.loose.candidates(stored.sighting, sure=sure)
        numbered = [s for one in known for s in one.sightings if not s.by_evidence]
        joined, proposals = join([stored.sighting, *(s.sighting for s in numbered)], placed_of(numbered))
        mine = (stored.sighting.at, stored.sighting.key)
        found = [one for one in joined if any((s.at, s.key) == mine for s in one.sightings)]
        return next(iter(proposals), None), next(iter(found), None), known

    async def join(self, stored: Stored, terms: Crediting, now: float) -> Placed:
        """Join a report to its order if the match is certain, or remove it from an order if not."""
        site, row = stored.sighting.site, stored.row
        for tries in range(1, TRIES + 1):
            fresh = await self._ledger.loose.get(site, row)
            if fresh is None or not fresh.by_evidence:
                return Placed(stored, None if fresh is None else fresh.order)
            if fresh.order is not None and fresh.sighting.forgotten:
                # What joined it is forgotten, so nothing more can be said against it.
                return Placed(fresh, fresh.order)
            _, joined, known = await self.proposal(fresh)
            target = None if joined is None else next((k for k in known if k.number in joined.numbers), None)
            row_now = None if target is None else target.row
            if (row_now, _evidence(fresh, joined)) == (fresh.order, fresh.joined_by):
                return Placed(fresh, fresh.order)
            changes = await self._rejoined(fresh, target, joined, terms, now)
            loosened = [fresh] if target is None else []
            written = await self._ledger.histories.write_all(changes, loosened=loosened)
            if written is not None:
                postbacks = tuple(p for one in written for p in one.postbacks)
                after = replace(fresh, order=row_now)
                return Placed(after, row_now, (), postbacks, changed=row_now != fresh.order)
            await pause(tries)
        raise LedgerBusyError(f"report {row}: its orders keep changing; try again")

    async def _rejoined(
        self, stored: Stored, target: Known | None, joined: Joined | None, terms: Crediting, now: float
    ) -> list[Change]:
        """The changes of the orders that lose and get a report."""
        changes = []
        source = None if stored.order is None else await self._ledger.loose.order_at(stored.order)
        if source is not None and (target is None or target.row != source.row):
            rest = [s for s in source.sightings if s.row != stored.row]
            changes.append(await self._of(source, rest, terms, now))
        if target is not None and joined is not None:
            rest = [s for s in target.sightings if s.row != stored.row]
            change = await self._of(target, [*rest, stored], terms, now)
            changes.append(replace(change, moved=[stored], joined_by=_evidence(stored, joined) or ""))
        return changes

    async def _of(self, known: Known, seen: Sequence[Stored], terms: Crediting, now: float) -> Change:
        """The change of an order with these sightings; without any, the order is emptied."""
        if any(not s.by_evidence for s in seen):
            return await change_of(known.site, [s.sighting for s in seen], placed_of(seen), known, terms, now)
        return self._emptied(known, terms, now)

    def _emptied(self, known: Known, terms: Crediting, now: float) -> Change:
        """The change of an order without reports: it is cancelled, and nobody earns it."""
        before = [s.sighting for s in known.sightings]
        order = project(before, placed_of(known.sightings) | {s.key: known.number for s in before})
        order = replace(
            order, number=known.number, state="cancelled", doubts=(), sources={}, visitor=None, partner=""
        )
        why = "its reports were moved to other orders"
        inputs = Inputs(order.placed_at, now, partner="", chosen_by=why)
        policy, decision = terms.decide(inputs, known)
        networks = load_catalogue().networks
        return Change(
            site=known.site,
            sighting=None,
            joined_by="number",
            order=order,
            numbers=(known.number,),
            channel=known.channel,
            conversation=known.conversation,
            inputs=inputs,
            policy=policy,
            decision=decision,
            wanted={},
            manual=lambda report: manual(terms.partner(report.partner), report, networks, now),
            at=now,
            known=known,
            seen=before,
        )

    async def move(
        self,
        site: str,
        row: int,
        number: str,
        terms: Crediting,
        now: float,
        *,
        by: str,
        why: str,
        seen: int | None = ANY,
    ) -> Placed:
        """Move a report to the order with this normalised number, which may be new. The orders are computed
        again, and their partners are notified of the difference. `seen` is the ledger's number of the order
        of which `by` saw the report, None of none.

        Raises OrderError if the report does not exist or is a person's correction, and if another person was
        faster, or the report belongs to another order by now.
        """
        reason = checked_text(why, "why", WHY_LENGTH)
        before: Moved | None = None
        for tries in range(1, TRIES + 1):
            stored = await self._ledger.loose.get(site, row)
            if stored is None:
                raise OrderError(f"report {row}: {site} has no such report")
            if stored.sighting.correction is not None:
                raise OrderError(f"report {row}: it is a person's correction and cannot be moved")
            last = await self._ledger.loose.last_placement(row)
            if last is not None and (last.number, last.by, last.why) == (number, by, reason):
                return Placed(stored, stored.order)
            if last is not None and tries > 1 and last != before:
                raise OrderError(f"report {row}: {last.by} has moved it to {last.number} meanwhile")
            if seen != ANY and stored.order != seen:
                whom = "" if last is None else f"{last.by} has moved it: "
                raise OrderError(f"report {row}: {whom}it belongs to another order by now: look at it again")
            before = last
            source = None if stored.order is None else await self._ledger.loose.order_at(stored.order)
            found = await self._ledger.histories.known(site, [number])
            known = list({k.row: k for k in (source, *found) if k is not None}.values())
            # Repeats of the report are moved with it.
            alike = [s for s in source.sightings if s.sighting.key == stored.sighting.key] if source else []
            moving = [stored] if stored.by_evidence or not alike else alike
            changes, loosened = await self._moved(site, known, moving, number, terms, now)
            placement = Placement(moving, number, by, reason, now, before)
            written = await self._ledger.histories.write_all(changes, loosened=loosened, placement=placement)
            if written is None:
                await pause(tries)
                continue
            for one in {w.order.row for w in written}:
                await self.join_near(one, terms, now)
            for one_loose in loosened:
                await self.join(one_loose, terms, now)
            after = await self._ledger.loose.get(site, row)
            postbacks = tuple(p for one in written for p in one.postbacks)
            return Placed(stored, None if after is None else after.order, (), postbacks, changed=True)
        raise LedgerBusyError(f"report {row}: its orders keep changing; try again")

    async def _moved(
        self,
        site: str,
        known: Sequence[Known],
        moving: Sequence[Stored],
        number: str,
        terms: Crediting,
        now: float,
    ) -> tuple[list[Change], list[Stored]]:
        """The changes of these orders if these reports belong to the order with a number. Each group of
        reports that share a number is one order. Reports joined by evidence stay with their order, if it
        remains."""
        rows = {s.row for s in moving}
        every = {s.row: s for one in known for s in one.sightings} | {s.row: s for s in moving}
        every |= {row: replace(every[row], placed=number) for row in rows}
        named = [s for s in every.values() if not s.by_evidence]
        groups, _ = join([s.sighting for s in named], placed_of(named))
        changes, kept = [], set[int]()
        for group in groups:
            inside = {(s.at, s.key) for s in group.sightings}
            members = [s for s in named if (s.sighting.at, s.sighting.key) in inside]
            own = next((k for k in known if k.number in group.numbers), None)
            own = own or await self._ledger.loose.order_of(site, group.numbers)
            stay = [s for s in every.values() if s.by_evidence and own is not None and s.order == own.row]
            seen = [*members, *stay]
            change = await change_of(site, [s.sighting for s in seen], placed_of(seen), own, terms, now)
            away = [s for s in members if s.row in rows or own is None or s.order != own.row]
            by = "person" if any(s.row in rows for s in members) else "number"
            changes.append(replace(change, moved=away, joined_by=by))
            kept |= {own.row} if own is not None else set()
        emptied = [one for one in known if one.row not in kept]
        changes += [self._emptied(one, terms, now) for one in emptied]
        loosened = [s for one in emptied for s in one.sightings if s.by_evidence and s.row not in rows]
        return changes, loosened


def _evidence(stored: Stored, joined: Joined | None) -> str | None:
    """The evidence that joins a report, as stored in the ledger."""
    if joined is None:
        return None
    return ",".join(next(m.by for m in joined.members if m.sighting.key == stored.sighting.key))
