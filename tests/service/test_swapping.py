"""Other settings from another thread than the loop's."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from clew.service.swapping import CALL_SECONDS, SWAP_SECONDS, OneProcess
from clew.settings.model import Settings
from clew.settings.reloading import ReloadError

SECRET = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
PREPARED = SimpleNamespace(prepare=lambda settings: None)
pytestmark = pytest.mark.timeout(300)


def settings() -> Settings:
    return Settings.model_validate({"secret": SECRET, "desk_host": "desk.example", "sites": [{"name": "a"}]})


async def test_a_fault_of_the_swap_is_not_taken_for_a_server_that_stops() -> None:
    def swap(*_: object) -> None:
        raise RuntimeError("dictionary changed size during iteration")

    service: Any = SimpleNamespace(swap=swap, sites=PREPARED)
    one = OneProcess(service, asyncio.get_running_loop())
    with pytest.raises(RuntimeError, match="dictionary changed size"):
        await asyncio.to_thread(one.apply, settings())


def test_a_closed_loop_is_reported_as_a_stopping_server() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    service: Any = SimpleNamespace(sites=PREPARED)
    one = OneProcess(service, loop)
    with pytest.raises(ReloadError, match="is stopping"):
        one.apply(settings())
    one.refuse([], requested=True)


def test_the_timeout_of_a_swap_covers_its_calls() -> None:
    assert SWAP_SECONDS > 2 * CALL_SECONDS
