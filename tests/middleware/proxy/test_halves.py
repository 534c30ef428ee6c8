"""The tables of the two halves of a proxied request drive them: every state has a row, every state but the
last ones is left, and an event without a place in a state does nothing but raise."""

import gc
import weakref
from typing import Any
from unittest.mock import MagicMock

import pytest
from clew.middleware.http.faults import RequestError
from clew.middleware.proxy import answer_half, request_half
from clew.middleware.proxy.answer_half import AnswerHalf, AnswerState, AnswerStateError
from clew.middleware.proxy.forwarding import Forwarding
from clew.middleware.proxy.proxied import ProxiedRequest
from clew.middleware.proxy.request_half import RequestHalf, RequestState
from clew.service.origin import Origin


def test_every_state_has_a_row() -> None:
    assert set(request_half.TABLE) == set(RequestState)
    assert set(answer_half.TABLE) == set(AnswerState)
    assert set(request_half.ENTRY) <= set(RequestState)


class Owner:
    """The half's owner, which gets a connection on command."""

    def __init__(self, *, few_uploads: bool = False) -> None:
        self.client = MagicMock()
        self.client.loop.time.return_value = 0.0
        self.connection = MagicMock()
        self.connection.upload.return_value = True
        self.slots = MagicMock(few_uploads=few_uploads)
        self.asked = 0
        self.failures: list[Exception] = []

    def connect(self) -> None:
        self.asked += 1

    def fail(self, error: Exception) -> None:
        self.failures.append(error)

    def hold_upload(self) -> None:
        return None


def request(owner: Owner, method: str = "GET", *more: tuple[bytes, bytes]) -> RequestHalf:
    half = RequestHalf(owner, method)  # type: ignore[arg-type]
    headers = [(b"host", b"shop.example"), *more]
    scope: dict[str, Any] = {
        "http_version": "1.1",
        "method": method,
        "raw_path": b"/",
        "query_string": b"",
        "headers": headers,
        "client": ("203.0.113.9", 5000),
    }
    origin = Origin("203.0.113.9", "http", "shop.example")
    half.prepare(scope, headers, origin, Forwarding(b"shop.example"))
    return half


def sent(owner: Owner) -> list[bytes]:
    """What went to the shop, without the head."""
    head = [call.args[0].partition(b"\r\n\r\n")[2] for call in owner.connection.begin.call_args_list]
    return [piece for piece in (*head, *(c.args[0] for c in owner.connection.upload.call_args_list)) if piece]


def test_a_request_without_a_body_is_sent_once_there_is_a_connection() -> None:
    owner = Owner()
    half = request(owner)
    half.start()
    assert (half.state, owner.asked) == (RequestState.CONNECTING, 1)
    half.connected(owner.connection, MagicMock())
    half.complete()
    assert (half.state, sent(owner)) == (RequestState.SENT, [])
    half.retry()
    assert (half.state, owner.asked) == (RequestState.CONNECTING, 2)


def test_a_short_body_is_gathered_before_a_connection_is_taken() -> None:
    owner = Owner()
    half = request(owner, "POST", (b"content-length", b"6"))
    half.start()
    half.piece(b"abc")
    assert (half.state, owner.asked) == (RequestState.GATHERING, 0)
    half.piece(b"def")
    half.complete()
    assert (half.state, owner.asked) == (RequestState.CONNECTING, 1)
    half.connected(owner.connection, MagicMock())
    assert (half.state, sent(owner)) == (RequestState.SENT, [b"abcdef"])


def test_a_body_in_chunks_is_streamed_in_chunks() -> None:
    owner = Owner(few_uploads=True)
    half = request(owner, "POST", (b"transfer-encoding", b"chunked"))
    half.piece(b"early")  # before its turn
    half.start()
    half.connected(owner.connection, MagicMock())
    assert half.state is RequestState.STREAMING
    half.piece(b"later")
    half.complete()
    assert half.state is RequestState.SENT
    assert sent(owner) == [b"5\r\nearly\r\n", b"5\r\nlater\r\n", b"0\r\n\r\n"]


@pytest.mark.parametrize("pieces", [[b"ab"], [b"abcd"]])
def test_a_body_of_another_length_than_announced_is_refused(pieces: list[bytes]) -> None:
    """The shop would take what follows for the rest of the body, or the rest of the body for a request."""
    owner = Owner()
    half = request(owner, "POST", (b"content-length", b"3"))
    half.start()

    def feed() -> None:
        for piece in pieces:
            half.piece(piece)
        half.complete()

    with pytest.raises(RequestError):
        feed()
    assert sent(owner) == []


def test_a_dropped_body_is_read_and_discarded() -> None:
    owner = Owner(few_uploads=True)
    half = request(owner, "POST", (b"transfer-encoding", b"chunked"))
    half.start()
    half.drop()
    half.piece(b"more")
    half.complete()
    assert (half.state, half.more_body, sent(owner)) == (RequestState.DROPPED, False, [])


def test_an_event_without_a_place_is_an_error() -> None:
    half = request(Owner())
    with pytest.raises(KeyError):
        half.retry()
    assert half.state is RequestState.NEW


def answer() -> AnswerHalf:
    client = MagicMock()
    client.transport.is_closing.return_value = False
    forwarding, origin = Forwarding(b"shop.example"), Origin("203.0.113.9", "http", "shop.example")
    return AnswerHalf(client, "GET", forwarding, origin, modern=True, keep_alive=True)


def test_an_error_page_replaces_the_shops_response_only_before_it_has_started() -> None:
    half = answer()
    half.own(502, [], b"sorry")
    assert half.state is AnswerState.COMPLETE
    half = answer()
    half.pull(MagicMock(interim=[], status=200, headers=[], chunks=[], complete=False))
    assert half.state is AnswerState.STARTED
    with pytest.raises(KeyError):
        half.own(502, [], b"sorry")
    half.cut(gently=True)
    assert half.state is AnswerState.CUT


def test_every_state_of_the_answer_is_reached_and_the_last_ones_have_no_steps() -> None:
    steps = [step for row in answer_half.TABLE.values() for step in row.values()]
    reached = set().union(*(step.leads_to for step in steps))
    assert reached == set(AnswerState)
    final = {state for state, row in answer_half.TABLE.items() if not row}
    assert final == {AnswerState.COMPLETE, AnswerState.CUT}


def test_a_step_that_leads_to_a_state_the_table_does_not_name_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    skips = answer_half.Step(lambda half, given: AnswerState.COMPLETE, {AnswerState.STARTED})
    monkeypatch.setitem(answer_half.TABLE, AnswerState.AWAITED, {"head": skips})  # type: ignore[arg-type]
    half = answer()
    with pytest.raises(AnswerStateError, match="head in state AWAITED cannot lead to COMPLETE"):
        half.pull(MagicMock(interim=[], status=200, headers=[], chunks=[], complete=False))
    assert half.state is AnswerState.AWAITED


def test_a_request_that_is_answered_is_freed_at_once() -> None:
    """Not by the garbage collector, which would have to stop everything for it."""
    taken = MagicMock()
    shop = MagicMock(forwarding=Forwarding(b"shop.example"))
    shop.upstream.take.return_value = taken
    client = MagicMock()
    client.flow.write_paused = client.transport.is_closing.return_value = False
    scope = {
        "http_version": "1.1",
        "method": "GET",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [(b"host", b"shop.example")],
        "client": ("203.0.113.9", 5000),
    }
    origin = Origin("203.0.113.9", "http", "shop.example")
    gc.collect()
    gc.disable()
    try:
        handler = ProxiedRequest(client, shop, scope, [(b"host", b"shop.example")], origin, keep_alive=True)
        handler.start()
        handler.body_complete()
        reader = taken.begin.call_args.args[1]
        reader.feed(memoryview(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"))
        handler.exchange_over(None)
        assert handler.response_complete
        found = weakref.ref(handler)
        taken.reset_mock()
        shop.reset_mock()
        del handler
        assert found() is None
    finally:
        gc.enable()
