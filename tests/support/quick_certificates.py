"""The machine's certificates, read once. Each client of httpx2 reads them, which takes 20 ms of CPU."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import httpcore2


@contextmanager
def quick_certificates() -> Iterator[None]:
    """Clients that are made within the block share a context, unless a test names other certificates."""
    real = httpcore2.default_ssl_context

    @cache
    def read(trust_env: bool, *names: str | None) -> ssl.SSLContext:
        return real(_trust_env=trust_env)

    def shared(*, _trust_env: bool = True) -> ssl.SSLContext:
        return read(_trust_env, *(os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")))

    httpcore2.default_ssl_context = shared
    try:
        yield
    finally:
        httpcore2.default_ssl_context = real
