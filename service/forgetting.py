"""Forgets a person who asks for it, in all stores, and tells what went, what stayed, and why."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from ..events.events import Events
from ..referral.visitor import Forgotten
from ..stores.journal import size
from ..stores.ledger.books import Ledger
from ..stores.ledger.forgetting import LATEST, Forgot, Person
from ..stores.visits import Visits
from .clock import Clock

_WENT: Final = {
    "visits": "the visitor's record: page views, arrivals, cart",
    "conversations": "the conversation",
    "messages": "what was written",
    "desk_log": "who had the conversation, and the notes of agents",
    "blocks": "that the visitor was blocked, and why",
    "files": "files and pictures of the conversation",
    "provider_states": "the code, and the conversation in a provider's chat, that name the visitor",
    "sightings": "visitor, e-mail hash, conversation, arrivals, and the report as it came in",
    "orders": "the visitor, and the conversation in which it was made",
    "decisions": "the arrivals that were weighed: replaying it says that they are forgotten",
    "shares": "the click id",
    "postbacks": "the click id, and the partner's answer",
    "attempts": "the text of the call and of the answer",
    "deliveries": "the webhooks of the site that could not be read: whom they name is not known",
    "offers": "visitor, conversation, label and page of what an agent sent",
    "callbacks": "the phone number, what the call was to be about, and the visitor",
    "exposures": "which invites of rules it got, or did not get, to compare",
    "traffic": "page views in the sample with which rules are tried",
    "notices": "the line of “Needs attention”",
}
_STAYED: Final = {
    "orders": "number, amounts, state, items, coupon: the ground of what partners are paid",
    "sightings": "what was reported of these orders, without the person",
    "decisions": "who earned the order, and why: the account with the partner",
    "shares": "partner, part and time of the click: the account with the partner",
    "postbacks": "order number, amount, and when it was told to the partner: the account with it",
    "attempts": "when the partner was called, and with which status",
    "blocks": "that nobody may write from its network, where that was chosen, until it ends: against abuse",
    "offers": "that a link was sent and followed, its coupon, and the order that followed",
    "callbacks": "that somebody asked to be called, what became of it, and the order of the call",
}
_ELSEWHERE: Final = (
    "backups, exported files and the log from before still name the person, until you delete them",
    "partners keep what they were told: the click id and the order's number",
    "a browser that still sends the visitor's cookie is a new visitor from its next page on",
)


@dataclass(frozen=True, slots=True)
class Line:
    """What went of a table, or stayed in it: of how many rows, and what (or what, and why)."""

    table: str
    rows: int
    what: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was done for a person at a site; with `dry_run` what would be done."""

    site: str
    visitors: tuple[str, ...]
    email_hashes: tuple[str, ...]
    dry_run: bool
    went: tuple[Line, ...]
    stayed: tuple[Line, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


class Forgetter:
    """Forgets people in the ledger and in the visit store. `journal` is where orders wait for the ledger."""

    def __init__(self, ledger: Ledger, visits: Visits, journal: Path, events: Events, clock: Clock) -> None:
        self._ledger = ledger
        self._visits = visits
        self._journal = journal
        self._events = events
        self._clock = clock

    async def forget(
        self, site: str, *, visitor: str | None = None, email: str | None = None, dry: bool = False
    ) -> Receipt:
        """Forget a visitor by its id, or a person by the SHA-256 of its e-mail address (hex). It may be done
        again, for example after it was interrupted. Raises what the stores raise."""
        books, now = self._ledger.forgetting, self._clock.now()
        if not dry:
            # From here on no order is written that names them; those before are found.
            visitors, emails = (() if one is None else (one,) for one in (visitor, email))
            await books.mark(Person(site, visitors, emails), now)
        person = await books.person(site, visitor=visitor, email=email)
        if not dry:
            await books.mark(person, now)
        records = await self._forget_visits(person, now, dry=dry)
        found = await books.forget(person, now, dry=dry)
        return self._receipt(person, records, found, dry=dry)

    async def withdraw(self, site: str, visitor: str, *, talks: bool) -> None:
        """Take a visitor who refuses what it had consented to out of the ledger; the caller deletes its
        record. The chat, and what earned a partner's share, stay. `talks`: its conversation goes on, under
        the same id."""
        person, now = Person(site, (visitor,), withdrawn=True), self._clock.now()
        try:
            found = await self._ledger.forgetting.forget(person, now)
            # Of whom the ledger knew nothing, nothing is left.
            if found.changed and not talks:
                await self._ledger.forgetting.mark(person, now)
        except Exception as error:
            self._events.failed(error, site=site, where="consent")

    async def _forget_visits(self, person: Person, now: float, *, dry: bool) -> int:
        """Leave of each record only that it is forgotten; how many held more."""
        count = 0
        for visitor in person.visitors:
            stored = await self._visits.get(person.site, visitor)
            count += stored is not None and not stored.forgotten
            if not dry:
                await self._visits.put_page(person.site, visitor, None, now, 0)
                await self._visits.change(person.site, visitor, [Forgotten()], now)
        return count

    def _receipt(self, person: Person, records: int, found: Forgot, *, dry: bool) -> Receipt:
        rows = {"visits": records, **found.rows}
        went = [Line(table, rows[table], what) for table, what in _WENT.items() if rows.get(table)]
        stayed = [Line(table, rows[table], what) for table, what in _STAYED.items() if rows.get(table)]
        if found.waiting:
            days = round(LATEST / 86400)
            why = f"the click id, until the partner was notified of the order; at most {days} days"
            stayed.append(Line("shares", len(found.waiting), why))
        named = len(person.visitors) + len(person.emails)
        stayed.append(Line("forgotten", named, "a digest, so that no late report brings the person back"))
        if waiting := size(self._journal):
            why = "bytes of orders that wait for the ledger: it takes them without the person"
            stayed.append(Line("journal", waiting, why))
        return Receipt(
            person.site, person.visitors, person.emails, dry, tuple(went), tuple(stayed), _ELSEWHERE
        )
