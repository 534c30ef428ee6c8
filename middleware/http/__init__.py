"""The HTTP/1.1 engine: a client towards shops, and the server's side of a client's connection."""
