"""What a store raises when it fails, so that no other package needs to know the drivers' exceptions."""

import sqlite3
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from .visits import VisitsError

STORE_FAILURES: Final = (SQLAlchemyError, sqlite3.Error, VisitsError)
"""The kinds of errors of the ledger (SQLAlchemyError, LedgerError among them) and of the visit store."""
