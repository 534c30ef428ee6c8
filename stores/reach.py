"""Whether the stores on other machines can be used now, for `clew check`."""

from .check import Told
from .ledger.addresses import LedgerAddressError
from .ledger.engines import database_at
from .ledger.errors import LedgerBusyError, LedgerError
from .visits import VisitsError, VisitsRefusedError
from .visits_address import StoreAddressError
from .visits_engines import visits_at
from .visits_remote import RemoteVisits

_START = "start it, or correct the address"
_CORRECT = "correct it: clew serve does not start with it"


async def ledger_failure(address: str) -> Told | None:
    """Why the ledger cannot be used now. It is a warning where `clew serve` starts all the same, and waits
    for its server. None for a file, whose path the settings' checks look at."""
    try:
        ledger = database_at(address)
    except LedgerAddressError:
        return None  # told by those checks, too
    if ledger.dialect == "sqlite":
        return None
    from .ledger.postgresql import PostgresDatabase

    assert isinstance(ledger, PostgresDatabase)
    try:
        await ledger.look()
    except LedgerBusyError as error:
        return f"{ledger.shown} cannot be used now: {error}", _START, True
    except LedgerError as error:
        return f"{ledger.shown} cannot be used: {error}", _CORRECT, False
    finally:
        await ledger.close()
    return None


async def visits_failure(address: str) -> Told | None:
    """The same for the visit store."""
    try:
        visits = visits_at(address, lambda *_: None, ledger=None, write_lock=None)
    except StoreAddressError:
        return None
    if not isinstance(visits, RemoteVisits):
        return None
    try:
        await visits.look()
    except VisitsRefusedError as error:
        return str(error), _CORRECT, False
    except VisitsError as error:
        return f"cannot be used now: {error}", _START, True
    finally:
        await visits.close()
    return None
