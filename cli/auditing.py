"""What the command line writes into the audit trail."""

import getpass

from ..service.clock import time_of
from ..stores.errors import STORE_FAILURES
from ..stores.ledger.audit import PROGRAM, Act, Audit
from ..stores.ledger.database import Database
from .terminal import print_line


def by() -> str:
    """Who uses the command line."""
    try:
        return f"command line ({getpass.getuser()})"[:80]
    except (KeyError, OSError):
        return "command line"


async def note(db: Database, action: str, subject: str, site: str = PROGRAM, **details: str) -> None:
    """Write a line of the audit trail. What was done is done: if the line cannot be written, that is told."""
    try:
        await Audit(db).add(Act(site, by(), action, subject, "", details), await time_of(db))
    except STORE_FAILURES as error:
        print_line(f"The audit trail has no line of this: {error}", err=True)
