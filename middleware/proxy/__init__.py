"""The reverse proxy."""
