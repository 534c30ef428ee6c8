"""`python examples/receiver --port 9000 --mood errors`: runs until Ctrl-C, prints each call, and then the
books."""

import argparse
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import get_args

sys.path.insert(0, str(Path(__file__).parents[1]))

from receiver import Call
from receiver.networks import Mood
from receiver.serving import NetworksReceiver

MOODS = (
    "ok: as the network answers; errors: every third call fails; partial: of several reports in a "
    "call every third is refused; limits: 429 where the network takes only so "
    "many calls a minute; anything: 200 to everything"
)
FAIL = "answer the first N calls of own partners with 503"


def main() -> None:
    """Print each call until Ctrl-C, and then the books."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, default=9000)
    options.add_argument("--mood", choices=get_args(Mood), default="ok", help=MOODS)
    options.add_argument("--fail", type=int, default=0, help=FAIL)
    options.add_argument("--secret", help="check Standard Webhooks signatures with this secret")
    given = options.parse_args()

    def show(call: Call) -> None:
        body = f"\n    {call.body.decode(errors='replace')}" if call.body else ""
        print(f"{call.status} {call.method} {call.target} (signature {call.signature}){body}", flush=True)

    with NetworksReceiver(
        given.port, mood=given.mood, fail=given.fail, secret=given.secret, on_call=show
    ) as receiver:
        print(f'waiting at {receiver.address}; a network: endpoint = "{receiver.address}/awin"', flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
        print(receiver.books(), flush=True)


if __name__ == "__main__":
    main()
