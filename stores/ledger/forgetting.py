"""Takes out of the ledger what names a person who asks to be forgotten.

Orders, credits and what was reported to partners stay, without the person: payments are based on them. It
works in transactions of a few rows each, so that a running clew goes on, and may be repeated after an
interruption. A concurrent writer of an order reads it again, since its version has changed.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import ColumnElement, Row, delete, or_, select, update

from ...orders.sighting import Sighting
from ...postbacks.model import State
from ...referral.touches import Click
from .blocks import forget_blocked
from .connection import Connection
from .database import Database
from .desk_log import forget_talk
from .files import delete_files
from .forgotten import mark
from .mails import forget_mails
from .planned import lock_order
from .rule_keeping import (
    ByDay,
    WindowOf,
    counted,
    keep_exposed,
    keep_lost,
    keep_talked,
    usual_window,
)
from .schema import attempts as attempts_table
from .schema import callbacks as callbacks_table
from .schema import conversation_tags, provider_states
from .schema import conversations as conversations_table
from .schema import decisions as decisions_table
from .schema import deliveries as deliveries_table
from .schema import exposures as exposures_table
from .schema import files as files_table
from .schema import messages as messages_table
from .schema import notices as notices_table
from .schema import offers as offers_table
from .schema import orders as orders_table
from .schema import placements as placements_table
from .schema import postbacks as postbacks_table
from .schema import shares as shares_table
from .schema import sightings as sightings_table
from .schema import traffic as traffic_table

STEP_ROWS: Final = 50
"""Rows of a transaction."""

PASSES: Final = 5
"""Times that the tables are gone through at most, until nothing is found."""

LATEST: Final = 30 * 86400.0
"""Seconds for which a click id is kept at most so that it can still be reported to the partner: the month
within which a request has to be answered (GDPR Art. 12(3))."""

T = TypeVar("T")
_O, _S, _D, _P, _H = (
    orders_table.c,
    sightings_table.c,
    decisions_table.c,
    postbacks_table.c,
    shares_table.c,
)
# These are not settled: they have yet to be sent, or a person decides.
_OPEN: Final[frozenset[State]] = frozenset({"due", "sending", "accepted", "held", "unknown", "dead"})
_UNPLACED: Final = ("seen", "held")
_CLOSED: Final = "its visitor was forgotten, and it could not be reported to the partner in time"


@dataclass(frozen=True, slots=True)
class Person:
    """Whom to forget at a site: visitors' ids, and SHA-256 hashes of e-mail addresses. `withdrawn`: they only
    refuse to be recognised any more. What was written in the chat, and the click by which a partner is paid,
    then stay."""

    site: str
    visitors: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    withdrawn: bool = False


@dataclass(slots=True)
class Forgot:
    """The rows that were changed or deleted, by table and key, and the shares that keep their click id until
    the partner was notified (`waiting`)."""

    changed: set[tuple[str, object]] = field(default_factory=set)
    waiting: set[object] = field(default_factory=set)

    @property
    def rows(self) -> dict[str, int]:
        """How many rows of each table."""
        return dict(Counter(table for table, _ in self.changed))

    def plus(self, other: "Forgot") -> "Forgot":
        """Both together."""
        return Forgot(self.changed | other.changed, (self.waiting | other.waiting))


class Forgetting:
    """Forgets people, in the ledger."""

    def __init__(self, db: Database, window_of: WindowOf = usual_window) -> None:
        self._db = db
        self.window_of = window_of

    async def person(self, site: str, *, visitor: str | None = None, email: str | None = None) -> Person:
        """Who is meant: with an e-mail hash, the visitors whose orders have it; with the visitors, the
        e-mail hashes of their orders."""

        async def work(connection: Connection) -> Person:
            visitors = [] if visitor is None else [visitor]
            emails = [] if email is None else [email]
            if email is not None:
                named = (_S.site == site, _S.email_hash == email)
                query = select(_S.visitor).where(*named, _S.visitor.is_not(None)).distinct()
                visitors += [row[0] for row in await connection.execute(query)]
                joined = sightings_table.join(orders_table, _O.id == _S.order)
                query = select(_O.visitor).select_from(joined).where(*named, _O.visitor.is_not(None))
                visitors += [row[0] for row in await connection.execute(query.distinct())]
            visitors = list(dict.fromkeys(visitors))
            for one in visitors:
                own = select(_O.id).where(_O.site == site, _O.visitor == one)
                of_orders = select(_S.email_hash).where(_S.order.in_(own), _S.email_hash.is_not(None))
                by_reports = select(_S.email_hash).where(
                    _S.site == site, _S.visitor == one, _S.email_hash.is_not(None)
                )
                for query in (of_orders, by_reports):
                    emails += [row[0] for row in await connection.execute(query.distinct())]
            return Person(site, tuple(visitors), tuple(dict.fromkeys(emails)))

        return await self._db.query(work)

    async def mark(self, person: Person, now: float) -> None:
        """Note that they are forgotten: from now on no order names them."""
        await self._db.transact(lambda tx: mark(tx, person.site, person.visitors, person.emails, now))

    async def forget(self, person: Person, now: float, *, dry: bool = False) -> Forgot:
        """Take them out of all tables; with `dry` only count. See `mark`, which comes first."""
        done, found = _Done(dry, now, self.window_of), Forgot()
        for _ in range(PASSES):
            one = await self._pass(person, done)
            found = found.plus(one)
            if dry or not one.changed:
                break
        return found

    async def _pass(self, person: Person, done: "_Done") -> Forgot:
        """Go through all tables once. Who moved a report meanwhile may have written of the person again."""
        found, through = Forgot(), partial(self._through, person, done)
        for one in person.visitors:
            # Before the orders, as long as it is known whose these are: they count for figures.
            found = found.plus(await self._work(partial(_exposures, person, one, done), done))
            found = found.plus(await self._work(partial(_traffic, person, one, done), done))
            if not person.withdrawn:
                found = found.plus(await self._talks(person.site, one, done))
            before = await self._counted(person, one, done)
            found = found.plus(await through(_sightings, _S.site == person.site, _S.visitor == one))
            found = found.plus(await through(_orders, _O.site == person.site, _O.visitor == one))
            found = found.plus(await through(_decisions, _O.site == person.site, _D.visitor == one))
            if not person.withdrawn:
                found = found.plus(await self._work(partial(_offers, person, one, done), done))
                found = found.plus(await self._work(partial(_callbacks, person, one, done), done))
            if before:
                after = await self._counted(person, one, done)
                lost = partial(keep_lost, site=person.site, before=before, after=after)
                await self._work(lost, done)
        for one in person.emails:
            of_email = (_S.site == person.site, _S.email_hash == one)
            if not person.withdrawn:
                # Of visitors who had withdrawn their consent before.
                orders = select(_S.order).where(*of_email)
                found = found.plus(await through(_decisions, _D.order.in_(orders), _D.visitor.is_(None)))
            found = found.plus(await through(_hashes, *of_email))
            of_orders = _D.order.in_(select(_S.order).where(*of_email))
            found = found.plus(await through(_linked, of_orders, _O.site == person.site))
            found = found.plus(await through(_sightings, *of_email))
        found = found.plus(await self._work(lambda tx: _provider_states(tx, person, done), done))
        found = found.plus(await self._work(lambda tx: _blocks(tx, person, done), done))
        found = found.plus(await self._work(lambda tx: _unread(tx, person, done), done))
        return found.plus(await self._work(lambda tx: _notices(tx, person, done), done))

    async def _counted(self, person: Person, visitor: str, done: "_Done") -> ByDay:
        """What the conversations count for that stay."""
        if done.dry or not person.withdrawn:
            return {}
        return await self._db.query(lambda at: counted(at, person.site, visitor, done.window_of))

    async def forget_talks(self, site: str, visitor: str, now: float) -> Forgot:
        """Delete the visitor's conversations with all that was written in them, links of agents too, and
        nothing else of it."""
        person, done = Person(site, (visitor,)), _Done(False, now, self.window_of)
        found = await self._talks(site, visitor, done)
        return found.plus(await self._work(partial(_offers, person, visitor, done), done))

    async def settle(self, now: float) -> Forgot:
        """Take out the click ids of forgotten visitors that were kept to be reported, where
        that is done, or 30 days are over."""
        return await self._through(None, _Done(False, now, self.window_of), _due, _H.forget_by.is_not(None))

    async def _through(
        self, person: Person | None, done: "_Done", step: "_Step", *which: ColumnElement[bool]
    ) -> Forgot:
        """Do a step again and again, each time behind the last row of the one before."""
        found, after = Forgot(), 0
        while True:
            one, last = await self._work(partial(_at, step, person, which, after, done), done)
            found = found.plus(one)
            if last is None:
                return found
            after = last

    async def _talks(self, site: str, visitor: str, done: "_Done") -> Forgot:
        """Delete the conversations, messages first."""
        own = conversations_table.c
        async with self._db.read() as connection:
            query = select(own.id).where(own.site == site, own.visitor == visitor)
            talks = [row[0] for row in await connection.execute(query)]
        found = Forgot()
        for talk in talks:
            left = True
            while left:
                step = await self._work(partial(_talk, talk=talk, done=done), done)
                found, left = found.plus(step), ("conversations", talk) not in step.changed
        return found

    async def _work(self, work: Callable[[Connection], Coroutine[Any, Any, T]], done: "_Done") -> T:
        return await (self._db.query(work) if done.dry else self._db.transact(work))


class _Step(Protocol):
    """The next rows behind `after`: what became of them, and the last one if there may be more."""

    async def __call__(
        self, tx: Connection, person: Any, which: Any, after: int, done: "_Done", /
    ) -> tuple[Forgot, int | None]: ...


@dataclass(slots=True)
class _Done:
    """Whether something is done or only counted, and when; how long orders count at a site."""

    dry: bool
    now: float
    window_of: WindowOf


async def _at(
    step: _Step, person: Person | None, which: Any, after: int, done: _Done, tx: Connection
) -> tuple[Forgot, int | None]:
    return await step(tx, person, which, after, done)


async def _sightings(
    tx: Connection, person: Person, which: Any, after: int, done: _Done
) -> tuple[Forgot, int | None]:
    """Take the person out of sightings, and what came in as text; the next ones, and the last row if there
    may be more."""
    query = select(_S.id, _S.order, _S.key, _S.said, _S.joined_by).where(*which, _S.id > after)
    rows = (await tx.execute(query.order_by(_S.id).limit(STEP_ROWS))).all()
    found = Forgot()
    keys: defaultdict[int, dict[str, str]] = defaultdict(dict)
    talks: set[str] = set()
    for row in rows:
        before = Sighting.from_json(row.said)
        bare = before.forget(person.visitors, person.emails)
        found.changed.add(("sightings", row.id))
        if row.order is not None:
            keys[row.order][row.key] = bare.key
        if before.conversation is not None and bare.conversation is None:
            talks.add(before.conversation)
        if not done.dry:
            await _rewrite(tx, row, bare)
    for order, renamed in keys.items():
        found.changed.add(("orders", order))
        if not done.dry:
            await _order(tx, order, person, done.now, renamed, talks)
    return found, _more(rows)


async def _rewrite(tx: Connection, row: Row[Any], bare: Sighting) -> None:
    named = {"visitor": bare.carrier or bare.visitor, "email_hash": bare.email_hash}
    same = update(sightings_table).where(_S.id == row.id)
    await tx.execute(same.values(said=bare.to_json(), key=bare.key, raw=None, **named))
    own = placements_table.c
    placed = update(placements_table).where(own.sighting == row.id, own.key == row.key)
    await tx.execute(placed.values(key=bare.key))


async def _orders(
    tx: Connection, person: Person, which: Any, after: int, done: _Done
) -> tuple[Forgot, int | None]:
    """Take the person out of orders."""
    query = select(_O.id).where(*which, _O.id > after).order_by(_O.id)
    rows = (await tx.execute(query.limit(STEP_ROWS))).all()
    found = Forgot()
    for row in rows:
        found.changed.add(("orders", row.id))
        if not done.dry:
            await _order(tx, row.id, person, done.now, {}, None)
    return found, _more(rows)


async def _order(
    tx: Connection,
    order: int,
    person: Person,
    now: float,
    keys: dict[str, str],
    talks: Collection[str] | None,
) -> None:
    """Write an order without the person. `keys` are the new keys of its sightings by the old ones; `talks`
    the conversations that go, None for whichever it has."""
    own = (_O.version, _O.sources, _O.visitor, _O.conversation)
    row = (await tx.execute(select(*own).where(_O.id == order).with_for_update())).one()
    changes: dict[str, Any] = {"version": row.version + 1, "changed_at": now}
    if keys:
        changes["sources"] = {name: keys.get(key, key) for name, key in row.sources.items()}
    if row.visitor in person.visitors:
        changes["visitor"] = None
    if talks is None or row.conversation in talks:
        changes["conversation"] = None
    await tx.execute(update(orders_table).where(_O.id == order).values(**changes))


async def _decisions(
    tx: Connection, person: Person, which: Any, after: int, done: _Done
) -> tuple[Forgot, int | None]:
    """Take the arrivals out of credit decisions, and the clicks out of what they led to."""
    joined = decisions_table.join(orders_table, _O.id == _D.order)
    query = select(_D.id, _D.visitor, _D.inputs).select_from(joined).where(*which, _D.id > after)
    rows = (await tx.execute(query.order_by(_D.id).limit(STEP_ROWS))).all()
    named = [row for row in rows if row.visitor is not None]
    ids = [row.id for row in rows if row.visitor is not None or row.inputs.get("forgotten")]
    found = Forgot({("decisions", row.id) for row in named})
    until = done.now + LATEST
    clicks = (_H.decision.in_(ids), _H.forget_by.is_(None), _H.touched_at.is_not(None))
    if done.dry:
        if not person.withdrawn:
            found = found.plus(await _clicks(tx, (_H.decision.in_(ids), _H.touched_at.is_not(None)), done))
        return found, _more(rows)
    for row in named:
        inputs = {**row.inputs, "touches": [], "forgotten": True}
        bare = update(decisions_table).where(_D.id == row.id)
        await tx.execute(bare.values(visitor=None, inputs=inputs, considered=[]))
    if not person.withdrawn:
        await tx.execute(update(shares_table).where(*clicks).values(forget_by=until))
        which = (_H.decision.in_(ids), _H.forget_by.is_not(None))
        found = found.plus(await _clicks(tx, which, done))
    return found, _more(rows)


async def _linked(
    tx: Connection, person: Person, which: Any, after: int, done: _Done
) -> tuple[Forgot, int | None]:
    """Take the arrivals on other devices out of credit decisions: those of whoever has the same e-mail
    address. A decision without them cannot be repeated."""
    joined = decisions_table.join(orders_table, _O.id == _D.order)
    query = select(_D.id, _D.inputs, _D.considered).select_from(joined).where(*which, _D.id > after)
    rows = (await tx.execute(query.order_by(_D.id).limit(STEP_ROWS))).all()
    named = [row for row in rows if row.inputs.get("linked")]
    found = Forgot({("decisions", row.id) for row in named})
    if not named or done.dry:
        return found, _more(rows)
    for row in named:
        times = {touch["t"] for touch in row.inputs["linked"]}
        inputs = {**row.inputs, "linked": [], "forgotten": True}
        considered = [one for one in row.considered if one["at"] not in times]
        bare = update(decisions_table).where(_D.id == row.id)
        await tx.execute(bare.values(inputs=inputs, considered=considered))
    if not person.withdrawn:
        ids = [row.id for row in named]
        clicks = (_H.decision.in_(ids), _H.forget_by.is_(None), _H.touched_at.is_not(None))
        await tx.execute(update(shares_table).where(*clicks).values(forget_by=done.now + LATEST))
        found = found.plus(await _clicks(tx, (_H.decision.in_(ids), _H.forget_by.is_not(None)), done))
    return found, _more(rows)


async def _hashes(
    tx: Connection, person: Person, which: Any, after: int, done: _Done
) -> tuple[Forgot, int | None]:
    """Take the hash of the address out of what is to be reported of the person's orders, and of the text of
    calls that were made."""
    query = select(_S.order.label("id")).where(*which, _S.order.is_not(None), _S.order > after)
    rows = (await tx.execute(query.distinct().order_by(_S.order).limit(STEP_ROWS))).all()
    found, own = Forgot(), attempts_table.c
    for row in rows:
        told = select(_P.id, _P.report).where(_P.order == row.id)
        for postback in (await tx.execute(told if done.dry else told.with_for_update())).all():
            if postback.report.get("email_sha256") not in person.emails:
                continue
            found.changed.add(("postbacks", postback.id))
            email = postback.report["email_sha256"]
            made = (own.postback == postback.id, or_(own.request.contains(email), own.answer.contains(email)))
            found.changed |= {("attempts", one.id) for one in await tx.execute(select(own.id).where(*made))}
            if done.dry:
                continue
            bare = {name: value for name, value in postback.report.items() if name != "email_sha256"}
            await tx.execute(update(postbacks_table).where(_P.id == postback.id).values(report=bare))
            await tx.execute(update(attempts_table).where(*made).values(request="", answer=""))
    return found, _more(rows)


async def _clicks(tx: Connection, which: Any, done: _Done) -> Forgot:
    """Take out the click ids of these shares, with what was reported with them; those that have yet to be
    reported stay for now."""
    query = select(shares_table, _O.state).join(orders_table, _O.id == _H.order).where(*which)
    found = Forgot()
    for share in (await tx.execute(query)).all():
        click = Click(*share.click)
        if not click.value:
            continue
        if not done.dry:
            # Nobody plans further calls by the decision as it was: who has read it finds another version.
            await lock_order(tx, share.order)
            changed = update(orders_table).where(_O.id == share.order)
            await tx.execute(changed.values(version=_O.version + 1))
        sent = await _sent(tx, share, click.value, done)
        late = share.forget_by is not None and share.forget_by <= done.now
        sending = any(row.state == "sending" for row in sent)
        waits = any(row.state in _OPEN for row in sent) or share.state in _UNPLACED
        if sending or (waits and not late):
            found.waiting.add((share.decision, share.partner))
            continue
        found.changed.add(("shares", (share.decision, share.partner)))
        await _forget_calls(tx, sent, done, found)
        if not done.dry:
            bare = [click.network, click.param, "", click.partner]
            same = update(shares_table).where(_H.decision == share.decision, _H.partner == share.partner)
            await tx.execute(same.values(click=bare, forget_by=None))
    return found


async def _sent(tx: Connection, share: Row[Any], click: str, done: _Done) -> list[Row[Any]]:
    """The postbacks that hold the click of a share. No worker takes one until this is committed."""
    query = select(_P.id, _P.state, _P.hold, _P.report).where(
        _P.order == share.order, _P.partner == share.partner
    )
    rows = await tx.execute(query if done.dry else query.with_for_update())
    return [row for row in rows if row.report["click_id"] == click]


async def _forget_calls(tx: Connection, sent: Iterable[Row[Any]], done: _Done, found: Forgot) -> None:
    """Take the click id out of postbacks, and the text of their calls and answers."""
    own = attempts_table.c
    for row in sent:
        made = (own.postback == row.id, or_(own.request != "", own.answer != ""))
        found.changed.add(("postbacks", row.id))
        found.changed |= {("attempts", one.id) for one in await tx.execute(select(own.id).where(*made))}
        if done.dry:
            continue
        changes: dict[str, Any] = {"report": {**row.report, "click_id": "", "tcf": ""}, "last_answer": None}
        if row.state in ("due", "held", "dead"):
            # What stood against the order stands on; else no call can be made, which is no doubt.
            hold = row.hold or "manual"
            changes |= {"state": "refused", "hold": hold, "why": _CLOSED, "finished_at": done.now}
        await tx.execute(update(postbacks_table).where(_P.id == row.id).values(**changes))
        await tx.execute(update(attempts_table).where(*made).values(request="", answer=""))


async def _talk(tx: Connection, talk: str, done: _Done) -> Forgot:
    """Delete messages of a conversation, and the conversation with the last of them."""
    own, talks = messages_table.c, conversations_table
    query = select(own.id).where(own.conversation == talk)
    ids = [row[0] for row in await tx.execute(query if done.dry else query.limit(STEP_ROWS))]
    found = Forgot({("messages", one) for one in ids})
    of_files = select(files_table.c.id).where(files_table.c.conversation == talk)
    found.changed |= {("files", row.id) for row in await tx.execute(of_files)}
    if not done.dry:
        await delete_files(tx, [str(name) for kind, name in found.changed if kind == "files"])
        await tx.execute(delete(messages_table).where(own.id.in_(ids)))
    if done.dry or len(ids) < STEP_ROWS:
        found.changed.add(("conversations", talk))
        found.changed |= {("desk_log", one) for one in await forget_talk(tx, talk, dry=done.dry)}
    if not done.dry and len(ids) < STEP_ROWS:
        await tx.execute(delete(conversation_tags).where(conversation_tags.c.conversation == talk))
        # Locked before its mails, as by who answers in it.
        await tx.execute(select(talks.c.id).where(talks.c.id == talk).with_for_update())
        await forget_mails(tx, talk)
        await keep_talked(tx, talk, done.window_of)
        await tx.execute(delete(talks).where(talks.c.id == talk))
    return found


async def _callbacks(person: Person, visitor: str, done: _Done, tx: Connection) -> Forgot:
    """Take the person out of its callbacks; nobody calls it any more."""
    own = callbacks_table.c
    which = (own.site == person.site, own.visitor == visitor)
    rows = (await tx.execute(select(own.id, own.state).where(*which))).all()
    for row in () if done.dry else rows:
        bare = {"visitor": None, "phone": "", "topic": "", "version": own.version + 1}
        state = "dropped" if row.state in ("open", "missed") else row.state
        await tx.execute(update(callbacks_table).where(own.id == row.id).values(**bare, state=state))
    return Forgot({("callbacks", row.id) for row in rows})


async def _exposures(person: Person, visitor: str, done: _Done, tx: Connection) -> Forgot:
    """Delete in which experiments the person was; it is counted on."""
    own = exposures_table.c
    which = (own.site == person.site, own.visitor == visitor)
    ids = [row.id for row in await tx.execute(select(own.id).where(*which))]
    if ids and not done.dry:
        await keep_exposed(tx, ids, done.now, done.window_of)
        await tx.execute(delete(exposures_table).where(own.id.in_(ids)))
    return Forgot({("exposures", one) for one in ids})


async def _traffic(person: Person, visitor: str, done: _Done, tx: Connection) -> Forgot:
    """Delete the person's page views in the sample for trying rules out."""
    own = traffic_table.c
    which = (own.site == person.site, own.visitor == visitor)
    ids = [row.id for row in await tx.execute(select(own.id).where(*which))]
    if ids and not done.dry:
        await tx.execute(delete(traffic_table).where(own.id.in_(ids)))
    return Forgot({("traffic", one) for one in ids})


async def _offers(person: Person, visitor: str, done: _Done, tx: Connection) -> Forgot:
    """Take the person out of the offers that agents sent to it; they are counted on."""
    own = offers_table.c
    which = (own.site == person.site, own.visitor == visitor)
    ids = [row.id for row in await tx.execute(select(own.id).where(*which))]
    if ids and not done.dry:
        # What an agent wrote, and where it led, may say who it was.
        bare = {
            "visitor": None,
            "conversation": None,
            "client_id": None,
            "label": "",
            "page": "/",
            "cart": None,
        }
        await tx.execute(update(offers_table).where(own.id.in_(ids)).values(**bare))
    return Forgot({("offers", one) for one in ids})


async def _due(
    tx: Connection, _person: Person | None, which: Any, after: int, done: _Done
) -> tuple[Forgot, int | None]:
    """Look again at the click ids that are to go."""
    query = select(_H.decision.label("id")).where(*which, _H.decision > after).order_by(_H.decision)
    rows = (await tx.execute(query.limit(STEP_ROWS))).all()
    return await _clicks(tx, (*which, _H.decision.in_([row.id for row in rows])), done), _more(rows)


async def _provider_states(tx: Connection, person: Person, done: _Done) -> Forgot:
    """Delete the person's codes, and which conversations in a provider's chat will be its own."""
    own = provider_states.c
    which = (own.site == person.site, own.visitor.in_(person.visitors))
    found = {
        ("provider_states", (row.kind, row.name))
        for row in await tx.execute(select(own.kind, own.name).where(*which))
    }
    if found and not done.dry:
        await tx.execute(delete(provider_states).where(*which))
    return Forgot(set(found))


async def _blocks(tx: Connection, person: Person, done: _Done) -> Forgot:
    """Delete who is blocked: the visitor comes with another id."""
    if person.withdrawn:
        return Forgot()
    ids = await forget_blocked(tx, person.site, person.visitors, dry=done.dry)
    return Forgot({("blocks", one) for one in ids})


async def _unread(tx: Connection, person: Person, done: _Done) -> Forgot:
    """Delete the webhooks that could not be read. Of whom they tell is not known, so all of the site's go."""
    own = deliveries_table.c
    which = (own.site == person.site, own.raw.is_not(None))
    ids = [row.id for row in await tx.execute(select(own.id).where(*which))]
    if ids and not done.dry:
        await tx.execute(update(deliveries_table).where(*which).values(raw=None))
    return Forgot({("deliveries", one) for one in ids})


async def _notices(tx: Connection, person: Person, done: _Done) -> Forgot:
    """Delete the lines of “Needs attention” that name the person; a site has a few hundred at most."""
    own = notices_table.c
    query = select(own.id, own.key, own.details).where(own.site == person.site)
    named = {*person.visitors, *person.emails}
    ids = [
        row.id for row in await tx.execute(query) if any(name in f"{row.key} {row.details}" for name in named)
    ]
    if ids and not done.dry:
        await tx.execute(delete(notices_table).where(own.id.in_(ids)))
    return Forgot({("notices", one) for one in ids})


def _more(rows: Sequence[Row[Any]]) -> int | None:
    return rows[-1].id if len(rows) == STEP_ROWS else None
