"""Orders at a desk whose worker does not run, with their calls in the states that a test wants."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from clew.orders.model import Channel, OrderSeen
from clew.postbacks.model import Postback, State
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Shopped, Touched
from clew.stores.ledger.connection import executing
from clew.stores.ledger.orders import StoredOrder
from clew.stores.ledger.schema import postbacks
from desks import DeskServer
from sqlalchemy import update


async def order(
    desk: DeskServer,
    number: str,
    total: str = "100.00",
    *,
    currency: str = "EUR",
    partner: str | None = "anna",
    site: str = "shop",
    channel: Channel | None = None,
    **more: Any,
) -> StoredOrder:
    """An order, by the shop's server, of a visitor whom a partner referred."""
    now, visitor = int(desk.service.clock.now()), f"visitor{number}".ljust(26, "0")
    if partner is not None:
        touch = Touch(now - 3600, (Click("", "aff", f"click-{number}", partner),), {}, "", "/")
        await desk.service.visits.change(site, visitor, [Touched(touch), Shopped()], now)
    seen = OrderSeen(number, Decimal(total), currency, "api", channel=channel, **more)
    recorded = await desk.service.ordering.record(desk.service.sites[site], seen, visitor=visitor)
    return recorded.order


async def set_call(desk: DeskServer, order: StoredOrder, state: State, **more: Any) -> Postback:
    """Set the state of an order's call."""
    (found,) = await desk.service.ledger.histories.postbacks(order.row)
    status = {"dead": 400, "delivered": 200}.get(state)
    answer = {"last_answer": f"said {state}", "last_status": status, "finished_at": desk.service.clock.now()}
    if state == "held":
        answer = {"hold": "amount", "why": "twice as much as usual"}
    changed = update(postbacks).where(postbacks.c.id == found.id).values(state=state, **answer, **more)
    await desk.service.ledger.db.transact(executing(changed))
    return replace(found, state=state)
