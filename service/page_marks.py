"""Marks of pages: what is kept of an address that may contain secrets."""

from hashlib import blake2b

from ..settings.addresses import decoded


def page_mark(path: str, query: str) -> str:
    """A hash that identifies a page. The address itself is not stored, because it may contain secrets."""
    return blake2b(f"{decoded(path)}?{query}".encode("utf-8", "replace"), digest_size=8).hexdigest()
