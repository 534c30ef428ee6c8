"""Makes a call once more at a partner's wish, whatever its state, and changes nothing of that."""

import contextlib
from collections.abc import Callable, Iterator

from ..settings.model import Delivery
from .building import UNSENT, Builder
from .client import Client, Progress
from .masking import hide
from .model import Attempt, Outcome, Postback
from .outcomes import told
from .protocols import Events
from .verdict import Verdict, judge_each


class Repeats:
    """The calls that this process makes again. `now` returns unix seconds."""

    def __init__(
        self, builder: Builder, delivery: Delivery, now: Callable[[], float], events: Events
    ) -> None:
        self._builder = builder
        self._delivery = delivery
        self._now = now
        self._events = events
        self._at_work: set[str] = set()

    @contextlib.contextmanager
    def alone(self, postback: str) -> Iterator[bool]:
        """Whether nobody else in this process is about to send this one again, until the block ends."""
        free = postback not in self._at_work
        self._at_work.add(postback)
        try:
            yield free
        finally:
            if free:
                self._at_work.discard(postback)

    async def repeat(self, postback: Postback) -> Attempt:
        """Make the call now. It has the id, the sequence number and the values that it had. The attempt is
        `delivered`, `unknown` or `dead`, never to be tried again by itself."""
        request = ""
        hidden: tuple[str, ...] = ()
        async with Client(float(self._delivery.timeout), 1) as client:
            try:
                call = await self._builder.build(client, [postback])
            except UNSENT as error:
                verdict = Verdict("dead", str(error))
            else:
                request, hidden = call.masked, call.hidden
                result = await client.make(call, _nothing, Progress())
                verdict = judge_each(call, result, self._now(), repeats=False)[0]
        outcome: Outcome = "dead" if verdict.outcome == "retry" else verdict.outcome
        attempt = Attempt(self._now(), request, verdict.status, hide(verdict.answer, hidden), outcome)
        again = {"request": request, "status": verdict.status, "attempt": postback.attempts + 1}
        told(self._events, postback, outcome, attempt.answer, **again)
        return attempt


async def _nothing() -> None:
    """Its row stays as it is."""
