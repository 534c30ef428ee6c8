"""Partners without a network, which are told of no decision about a commission."""

from clew.orders.doubt import Doubt
from clew.postbacks.approvals import NOBODY_ASKS
from clew.postbacks.model import Report


def nobody(site: str, report: Report) -> Doubt:
    """Why a decision is told to nobody: see `stores.ledger.again.Able`."""
    return NOBODY_ASKS
