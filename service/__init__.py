"""One running clew: the sites compiled from settings, the open stores, and what they do together."""
