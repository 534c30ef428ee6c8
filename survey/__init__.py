"""Inspects a shop's pages and proposes settings: `clew inspect`."""
