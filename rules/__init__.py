"""Should we talk to this visitor: facts, conditions, the decision and its explanation."""
