"""What is wrong with a ledger, in words for operators. They are SQLAlchemyErrors, so that who handles a
ledger that fails catches one kind."""

from sqlalchemy.exc import SQLAlchemyError


class LedgerError(SQLAlchemyError):
    """The ledger cannot be used; the text says why and what to do."""


class LedgerBusyError(LedgerError):
    """Another process holds the ledger, or too many wait for it: it may be tried again."""


class LedgerAwayError(LedgerBusyError):
    """The server that holds the ledger does not answer."""


class LedgerGoneError(LedgerError):
    """The ledger's file was deleted or replaced while it was open: what is written would be lost with it."""


class LedgerFormatError(LedgerError):
    """The file is no ledger, or one of a version that this clew does not know."""
