"""What the command line writes into the audit trail."""

import getpass

from ..service.clock import time_of
from ..stores.ledger.audit import PROGRAM, Act, Audit
from ..stores.ledger.database import Database


def by() -> str:
    """Who uses the command line."""
    try:
        return f"command line ({getpass.getuser()})"[:80]
    except (KeyError, OSError):
        return "command line"


async def note(db: Database, action: str, subject: str, site: str = PROGRAM, **details: str) -> None:
    """Write a line of the audit trail."""
    await Audit(db).add(Act(site, by(), action, subject, "", details), await time_of(db))
