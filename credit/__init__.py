"""Who earns an order: the weighing of arrivals, and the decision with its reasons."""
