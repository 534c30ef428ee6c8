"""What is wrong with a ledger, in words for operators."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import IntegrityError, SQLAlchemyError


class LedgerError(Exception):
    """The ledger cannot be used; the text says why and what to do."""


class LedgerBusyError(LedgerError):
    """Another process holds the ledger, or too many wait for it: it may be tried again."""


class LedgerAwayError(LedgerBusyError):
    """The server that holds the ledger does not answer."""

    away = "ledger_down"


class LedgerGoneError(LedgerError):
    """The ledger's file was deleted or replaced while it was open: what is written would be lost with it."""


class LedgerFormatError(LedgerError):
    """The file is no ledger, or one of a version that this clew does not know."""


class LedgerConflictError(LedgerError):
    """Another writer has added a row that this one would contradict."""


class NoConversationError(LookupError):
    """The site has no conversation of this id."""


@contextmanager
def own_errors() -> Iterator[None]:
    """Raise LedgerError for what SQLAlchemy and the drivers raise. Its text has neither the statement nor its
    values, which may be a person's."""
    try:
        yield
    except IntegrityError as error:
        raise LedgerConflictError(said(error)) from error
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise LedgerError(f"the ledger cannot be used: {said(error)}") from error


def said(error: BaseException) -> str:
    """What the database said, in one line."""
    if isinstance(error, LedgerError):
        return str(error)
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause.__cause__ or cause).split()) or type(cause).__name__
