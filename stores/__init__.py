"""The stores: visits, and the ledger."""
