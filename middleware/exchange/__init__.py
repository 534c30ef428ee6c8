"""One request and its response, without I/O: what every mount shares."""
