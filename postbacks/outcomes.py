"""Stores what became of calls, and tells the log."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

from .model import Outcome, Postback, State
from .protocols import Events

# Seconds before each attempt to store a response, or that nothing was sent: a failover takes about so long.
FINISH_TRIES = (0.0, 1.0, 3.0, 10.0, 20.0)
OUTCOMES: Mapping[State, Outcome] = MappingProxyType(
    {
        "due": "retry",
        "accepted": "accepted",
        "delivered": "delivered",
        "dead": "dead",
        "unknown": "unknown",
    }
)
"""The outcome of an attempt by the state after it."""


async def stored(events: Events, postback: Postback, write: Callable[[], Awaitable[object]]) -> None:
    """Write to the ledger, again if that fails."""
    for wait in FINISH_TRIES:
        if wait:
            await asyncio.sleep(wait)
        try:
            await write()
            return
        except Exception as error:
            events.failed(error, site=postback.site, where="delivery")


def report(events: Events, postback: Postback, outcome: str, answer: str, **fields: Any) -> None:
    """Tell the log of an attempt, and a person of what needs one."""
    if outcome in ("dead", "unknown", "held"):
        events.notice(
            "postback_failed",
            site=postback.site,
            key=f"{postback.partner} {outcome}",
            partner=postback.partner,
            order=postback.report.order_id,
            outcome=outcome,
            status=fields.get("status"),
            answer=answer,
        )
    told(events, postback, outcome, answer, **fields)


def told(events: Events, postback: Postback, outcome: str, answer: str, **fields: Any) -> None:
    """Tell the log of an attempt alone."""
    events.emit(
        "postback",
        site=postback.site,
        partner=postback.partner,
        order=postback.report.order_id,
        channel=postback.report.channel,
        outcome=outcome,
        answer=answer,
        postback=postback.id,
        **fields,
    )
