"""One request and its response, without I/O.

A mount feeds the exchange a request head, then a response head, then body chunks, and does what comes back:
it forwards heads and bytes, and performs the effects (writes to the stores). The exchange decides and the
mount moves bytes; no mount holds a policy, and the exchange does not know which mount drives it.

`TABLE` drives it: for each event it names the step that each state takes, and the states that the step may
lead to. docs/architecture.md draws it.

A failure of our own before the head was released leads to PASSING, with the shop's bytes unchanged. After
that, bytes that can no longer be made right lead to BROKEN: the mount breaks the client's connection, as the
shop did, because a clean end would make a broken body look whole.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from ...injector.heads import RequestHead, ResponseHead
from . import body, request, response
from .record import Forward, Out, OwnPage, Record, State

__all__ = [
    "TABLE",
    "Exchange",
    "ExchangeError",
    "Forward",
    "Out",
    "OwnPage",
    "ResponseBrokenError",
    "State",
]

Given = TypeVar("Given")
Answer = TypeVar("Answer")

_BROKEN = State.BROKEN  # compared at each step: an attribute of an enum takes five times as long as a global


class ExchangeError(Exception):
    """The mount fed something that has no place in the exchange's state."""


class ResponseBrokenError(Exception):
    """The bytes can no longer be made right: the client's connection has to be broken off."""


class Step(NamedTuple, Generic[Given, Answer]):
    """What is done in one state with one event: `handler` returns the answer and the next state, which is one
    of `leads_to`."""

    handler: Callable[[Record, Given], tuple[Answer, State]]
    leads_to: Set[State]


@dataclass(frozen=True, slots=True)
class Event(Generic[Given, Answer]):
    """Something that a mount feeds, and the step of each state in which it may come."""

    name: str
    steps: Mapping[State, Step[Given, Answer]]


REQUEST: Event[RequestHead, OwnPage | Forward] = Event(
    "request",
    {State.START: Step(request.take, {State.OWN_PAGE, State.WAITING, State.PASSING})},
)
RESPONSE: Event[ResponseHead, Out] = Event(
    "response",
    {
        State.WAITING: Step(response.judge, {State.HOLDING, State.COPYING, State.PASSING}),
        State.PASSING: Step(response.pass_on, {State.PASSING}),
    },
)
BODY: Event[body.Chunk, Out] = Event(
    "body",
    {
        State.HOLDING: Step(body.decide, {State.HOLDING, State.EDITING, State.COPYING, State.PASSING}),
        State.EDITING: Step(body.edit, {State.EDITING, State.BROKEN}),
        State.COPYING: Step(body.copy, {State.COPYING, State.PASSING}),
        State.PASSING: Step(body.pass_on, {State.PASSING}),
    },
)
OTHER: Event[None, Out] = Event(
    "other",
    {
        State.WAITING: Step(body.nothing_held, {State.WAITING}),
        State.HOLDING: Step(body.release, {State.PASSING}),
        State.EDITING: Step(body.nothing_held, {State.EDITING}),
        State.COPYING: Step(body.nothing_held, {State.COPYING}),
        State.PASSING: Step(body.nothing_held, {State.PASSING}),
        State.DONE: Step(body.nothing_held, {State.DONE}),
    },
)
END: Event[None, Out] = Event(
    "end",
    {
        State.HOLDING: Step(body.end_undecided, {State.DONE}),
        State.EDITING: Step(body.end_edited, {State.DONE, State.BROKEN}),
        State.COPYING: Step(body.end_copied, {State.DONE}),
        State.PASSING: Step(body.end_passed, {State.DONE}),
    },
)
TABLE: tuple[Event[Any, Any], ...] = (REQUEST, RESPONSE, BODY, OTHER, END)


class Exchange(Record):
    """See the module's text. Each method is one event, and raises ExchangeError in a state whose row of the
    table has none.

    In state PASSING every event passes unchanged and leads to PASSING or DONE, so a mount may then forward
    head and bytes itself, without asking.
    """

    def request(self, head: RequestHead) -> OwnPage | Forward:
        """Take the request's head; say whose it is, and how it goes on."""
        return self._take(REQUEST, head)

    def response(self, head: ResponseHead) -> Out:
        """Take the response's head; it comes back now, or later with the bytes that decide."""
        return self._take(RESPONSE, head)

    def body(self, chunk: bytes | memoryview) -> Out:
        """Take a chunk of the response's body. Raises ResponseBrokenError when it cannot be made right.

        A view is borrowed: what comes back of it has to be sent before its memory is used again.
        """
        return self._take(BODY, chunk)

    def other(self) -> Out:
        """Something that is no body has to follow the head: one that is held is released, as it came."""
        return self._take(OTHER, None)

    def end(self) -> Out:
        """The response has ended as it should. Raises ResponseBrokenError when its bytes say otherwise."""
        return self._take(END, None)

    def _take(self, event: Event[Given, Answer], given: Given) -> Answer:
        try:
            handler, leads_to = event.steps[self.state]
        except KeyError:
            raise ExchangeError(f"{event.name} in state {self.state.name}") from None
        answer, state = handler(self, given)
        if state not in leads_to:
            raise ExchangeError(f"{event.name} in state {self.state.name} cannot lead to {state.name}")
        self.state = state
        if state is _BROKEN:
            raise ResponseBrokenError(str(self.cause)) from self.cause
        return answer
