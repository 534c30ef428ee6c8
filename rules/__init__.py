"""Rules: facts, conditions, the decision and its explanation."""
