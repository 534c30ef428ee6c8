"""Finds out what a network calls an order, by its entry's lookup, before a call that needs it."""

from dataclasses import replace

from ..referral.calls import CallEntry
from ..referral.catalogue import Network
from ..settings.model import Partner
from .client import Client, Progress
from .masking import hide
from .model import Report
from .network_call import network_call
from .verdict import Answered, found_value, judge


class LookUpError(Exception):
    """The network did not say what it calls the order; the text says why. It can be asked again."""


async def look_up(
    client: Client,
    partner: Partner,
    network: Network,
    lookup: CallEntry,
    report: Report,
    now: float,
    token: str,
) -> str:
    """What the network calls the order. Raises LookUpError; RenderError if it cannot be asked."""
    call = network_call(partner, [report], network, now, token=token, entry=lookup)
    result = await client.make(replace(call, allow_private=partner.allow_private), _nothing, Progress())
    verdict = judge(call, result, now, repeats=True)
    if not isinstance(result, Answered) or verdict.outcome != "delivered":
        status = f"{verdict.status}: " if verdict.status is not None else ""
        why = hide(verdict.answer, call.hidden)
        raise LookUpError(f"{network.name} ({lookup.id}) did not say what it calls the order: {status}{why}")
    find = lookup.find
    value = found_value(result.body, find, lookup.keep, report.order_id) if find is not None else ""
    if not value:
        raise LookUpError(f"{network.name} ({lookup.id}) does not know the order yet, or has several of it")
    return value


async def _nothing() -> None:
    """Do nothing before the first byte: a lookup may be repeated."""
