"""The server's processes and their sockets."""
