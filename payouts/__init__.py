"""What partners are owed: the states of their commissions, settlements with networks, and payouts."""
