"""What a shop's own pages tell of it, and the settings that follow: `clew inspect`."""
