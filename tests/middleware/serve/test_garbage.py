"""The garbage collector of a worker looks at new objects, and in the end at all."""

import asyncio
import gc
import json
import subprocess
import sys
import weakref
from typing import Any

from clew.middleware.http.protocol import BoundedProtocol
from raw_http import serving

_PROGRAM = """
import gc, json, weakref
from clew.middleware.serve import garbage

class Cycle:
    def __init__(self):
        self.own = self

looked_at = []
def begins(phase, info):
    if (phase, info["generation"]) == ("start", 2):
        looked_at.append(len(gc.get_objects()))

gc.callbacks.append(begins)
kept = [[n] for n in range(200_000)]
garbage._LEAST = 0
garbage.Garbage().leave_out()
looked_at.clear()
grown, gone = [], []
for turn in range(200):
    grown.append([[n] for n in range(10_000)])
    cycle = Cycle()
    gone.append(weakref.ref(cycle))
    del cycle
print(json.dumps([looked_at, sum(one() is None for one in gone)]))
"""


def test_a_full_collection_looks_at_what_is_new_until_all_has_doubled() -> None:
    run = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, check=True, text=True)
    looked_at, gone = json.loads(run.stdout)
    few = [count for count in looked_at if count < 100_000]
    assert 1 <= len(looked_at) - len(few) <= 4
    assert len(few) > 20
    assert gone >= 190


def test_cycles_that_were_left_out_are_found_in_the_end() -> None:
    program = _PROGRAM.replace("del cycle", "kept.append(cycle); del cycle").replace(
        "print(", "kept.clear(); [[n] for n in range(10_000_000)]; print("
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert json.loads(run.stdout)[1] >= 150


async def test_a_connection_that_has_ended_leaves_nothing_for_the_collector() -> None:
    """Two thousand of them, each with its stream, would."""
    freed = asyncio.Event()
    protocols: list[weakref.ref[BoundedProtocol]] = []

    class Noted(BoundedProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            protocols.append(weakref.ref(self, lambda _: freed.set()))
            super().connection_made(transport)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    gc.collect()
    gc.disable()
    try:
        async with serving(app, http=Noted) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
            await reader.readuntil(b"1\r\n")
            writer.close()
            async with asyncio.timeout(30):
                await freed.wait()
    finally:
        gc.enable()
