"""The exchange (one request and its response, no I/O) and the mounts that drive it."""
