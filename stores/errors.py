"""What a store raises when it fails, so that no other package needs to know the drivers' exceptions."""

from typing import Final

from sqlalchemy.exc import DataError, ProgrammingError

from .ledger.errors import LedgerConflictError, LedgerError, LedgerFormatError
from .visits import VisitsError

STORE_FAILURES: Final = (LedgerError, VisitsError)
"""The kinds of errors of the ledger and of the visit store."""


def may_pass(error: BaseException | None) -> bool:
    """Whether a store that failed so may take the same later: it is away, busy, full or read-only. Else it
    is what was to be written that is wrong, or the statement."""
    if isinstance(error, LedgerConflictError | LedgerFormatError):
        return False
    return isinstance(error, STORE_FAILURES) and not isinstance(error.__cause__, DataError | ProgrammingError)
