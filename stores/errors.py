"""What a store raises when it fails, so that no other package needs to know the drivers' exceptions."""

from typing import Final

from .ledger.errors import LedgerError
from .visits import VisitsError

STORE_FAILURES: Final = (LedgerError, VisitsError)
"""The kinds of errors of the ledger and of the visit store."""
