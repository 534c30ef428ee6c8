"""The endpoints for whoever runs clew: is it alive, is it ready, what did it count."""
