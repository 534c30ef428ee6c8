"""The ASGI mount."""
