"""The client towards shops is tried on both loops: uvloop, which `clew serve` uses, and asyncio's own."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

BOTH = frozenset(
    {"test_dial", "test_passage", "test_upstream", "test_proxy", "test_proxy_table", "test_proxy_websocket"}
)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.stem in BOTH:
        return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
