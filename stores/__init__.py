"""Where things are kept: visits, and the ledger."""
