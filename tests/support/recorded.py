"""Orders put into a ledger with the credit and the postbacks that a test wants."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from math import inf

from clew.credit.arrivals import Considered
from clew.credit.decision import Decision, Share, decide
from clew.credit.inputs import Inputs
from clew.credit.terms import Policy, Terms
from clew.orders.doubt import Doubt
from clew.orders.history import project
from clew.orders.model import Channel, OrderSeen
from clew.orders.sighting import Sighting
from clew.postbacks.model import Report
from clew.referral.touches import Click, Touch
from clew.stores.ledger.database import Database
from clew.stores.ledger.history import Change, Histories
from clew.stores.ledger.orders import StoredOrder


@dataclass(frozen=True, slots=True)
class Credit:
    """The credit for an order of one partner, or of nobody."""

    partner: str | None
    click: Click | None
    touched_at: float | None
    reason: str
    considered: tuple[Considered, ...]


def credit(touches: Iterable[Touch], order_time: float, terms: Terms, now: float = inf) -> Credit:
    """The first share of a decision."""
    found = decide(Inputs(order_time, now, tuple(touches)), Policy(terms))
    share = next(iter(found.shares), None)
    if share is None:
        return Credit(None, None, None, found.reason, found.considered)
    return Credit(share.partner, share.click, share.touched_at, found.reason, found.considered)


NOBODY = Credit(partner=None, click=None, touched_at=None, reason="no click", considered=())
POLICY = Policy(Terms({}))


async def put_order(
    db: Database,
    order: OrderSeen,
    *,
    site: str = "shop",
    visitor: str | None = None,
    channel: Channel = "web",
    conversation: str | None = None,
    agent: str | None = None,
    credit: Credit = NOBODY,
    reports: Sequence[Report] = (),
    doubt: Doubt | None = None,
    now: float,
) -> StoredOrder | None:
    """Write an order that is not known yet; None if another writer was faster."""
    sighting = Sighting.of(order, site=site, at=now, visitor=visitor, conversation=conversation, agent=agent)
    shares: tuple[Share, ...] = ()
    if credit.partner is not None:
        shares = (Share(credit.partner, credit.click, credit.touched_at, Decimal(1), credit.reason),)
    projected = project([sighting])
    change = Change(
        site=site,
        sighting=sighting,
        joined_by="number",
        order=projected if doubt is None else replace(projected, doubts=(doubt,)),
        numbers=sighting.numbers,
        channel=channel,
        conversation=conversation,
        inputs=Inputs(projected.placed_at, now),
        policy=POLICY,
        decision=Decision(shares, credit.reason, credit.considered),
        wanted={report.partner: report for report in reports},
        manual=lambda report: None,
        at=now,
    )
    written = await Histories(db).write(change)
    return None if written is None else written.order
