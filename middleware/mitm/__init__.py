"""The mitmproxy mount."""
