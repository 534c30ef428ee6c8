"""What the `ledger` setting may be."""

from pathlib import Path


class LedgerAddressError(ValueError):
    """The `ledger` setting is no database address that clew can open."""


def sqlite_path(address: str) -> Path | None:
    """The file of `sqlite:clew.db`, `sqlite:///clew.db` or `sqlite:////var/lib/clew.db`; else None."""
    if not address.startswith("sqlite:"):
        return None
    rest = address.removeprefix("sqlite:")
    return Path(rest.removeprefix("///") if rest.startswith("///") else rest)
