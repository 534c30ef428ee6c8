"""One request and its response, without I/O.

A mount feeds the exchange a request head, then a response head, then body chunks. It forwards the heads and
bytes that the exchange returns, and performs the effects (writes to the stores). All decisions are made in
the exchange, which does not know its mount.

`TABLE` lists, for each event, the step that each state takes and the states that it may lead to.
docs/architecture.md has a diagram.

A fault of clew's own before the head was released leads to PASSING, with the shop's bytes unchanged. After
that, a body that can no longer be completed leads to BROKEN: the mount closes the client's connection
without completing the message, because a clean end would make a broken body look complete.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from ...injector.heads import Headers, RequestHead, ResponseHead
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

_BROKEN = State.BROKEN  # compared in each step: reading an enum's attribute takes five times as long


class ExchangeError(Exception):
    """The mount fed an event that is not allowed in the exchange's state."""


class ResponseBrokenError(Exception):
    """The body cannot be completed: the mount must close the client's connection."""


class Step(NamedTuple, Generic[Given, Answer]):
    """Handles one event in one state. `handler` returns the answer and the next state, one of `leads_to`."""

    handler: Callable[[Record, Given], tuple[Answer, State]]
    leads_to: Set[State]


@dataclass(frozen=True, slots=True)
class Event(Generic[Given, Answer]):
    """An event that a mount feeds, and the step for each state in which it is allowed."""

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
    """See the module's docstring. Each method is one event, and raises ExchangeError if `TABLE` has no step
    for it in the current state.

    In state PASSING every event passes unchanged and leads to PASSING or DONE. A mount may then forward the
    head and bytes itself.
    """

    def request(self, head: RequestHead) -> OwnPage | Forward:
        """Take the request's head. Returns OwnPage if clew answers the request, else how to forward it."""
        return self._take(REQUEST, head)

    def after_effects(self, headers: Headers) -> Headers:
        """The headers with which a request is forwarded once its effects were performed: those of `Forward`,
        unless an effect found out who the visitor is."""
        try:
            return request.referred(self, headers)
        except Exception as error:
            # Fail open, as in `request`.
            self.note_fault(error)
            return headers

    def response(self, head: ResponseHead) -> Out:
        """Take the response's head. It is returned now, or later with the first bytes of the body."""
        return self._take(RESPONSE, head)

    def body(self, chunk: bytes | memoryview) -> Out:
        """Take a chunk of the response's body. Raises ResponseBrokenError if it cannot be completed.

        The returned part of a `memoryview` must be sent before the view's memory is used again.
        """
        return self._take(BODY, chunk)

    def other(self) -> Out:
        """A message other than the body must follow the head. A held head is released unchanged."""
        return self._take(OTHER, None)

    def end(self) -> Out:
        """The response is complete. Raises ResponseBrokenError if its coded body is truncated."""
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
