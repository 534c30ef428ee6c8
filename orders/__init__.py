"""Orders: the model, its parts, and how an order is read from a page."""
