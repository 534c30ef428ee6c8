"""Conversations between visitors and agents."""
