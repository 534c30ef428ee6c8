"""The ledger: orders, credits, postbacks, conversations, agents."""
