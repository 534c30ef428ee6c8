"""The proxy is tried on uvloop, which `clew serve` uses; what handles sockets itself on asyncio's too."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

BOTH = frozenset({"test_dial", "test_proxied", "test_upstream"})
SERVED = frozenset({"test_proxy", "test_proxy_table", "test_proxy_websocket"})


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.stem in BOTH:
        return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
    if item.path.stem in SERVED:
        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
