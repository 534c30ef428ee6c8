"""The conversation between visitor and agent."""
