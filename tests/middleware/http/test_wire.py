"""Responses read and requests written, without a connection."""

from itertools import pairwise

import pytest
from clew.middleware.http.faults import BrokenError, RequestError, ResponseError, UpstreamError
from clew.middleware.http.wire import MAX_HEAD, MAX_INTERIM, MAX_TRAILERS, ResponseReader, request_head
from hypothesis import given
from hypothesis import strategies as st

OK = b"HTTP/1.1 200 OK\r\n"


def read(*pieces: bytes, method: str = "GET", upgrade: bool = False) -> ResponseReader:
    reader = ResponseReader(method, upgrade)
    for piece in pieces:
        reader.feed(memoryview(piece))
    return reader


def test_a_counted_body_is_read_and_the_connection_may_be_used_again() -> None:
    reader = read(OK + b"Content-Type: text/html\r\nContent-Length: 5\r\n\r\nhello")
    assert reader.status == 200
    assert reader.headers == [(b"content-type", b"text/html"), (b"content-length", b"5")]
    assert (reader.take(), reader.complete, reader.reusable) == (b"hello", True, True)


def test_duplicates_order_and_bytes_of_headers_are_kept() -> None:
    """proxy 2.3, 2.6"""
    reader = read(
        OK + b"Set-Cookie: a=1\r\nX-Y: caf\xe9\r\nset-cookie: b=2\r\nX-Empty:\r\nContent-Length: 0\r\n\r\n"
    )
    assert reader.headers == [
        (b"set-cookie", b"a=1"),
        (b"x-y", b"caf\xe9"),
        (b"set-cookie", b"b=2"),
        (b"x-empty", b""),
        (b"content-length", b"0"),
    ]


def test_hop_by_hop_fields_and_those_that_connection_names_end_here() -> None:
    """proxy 2.1, 2.2"""
    reader = read(
        OK
        + b"Connection: keep-alive, X-Secret\r\nConnection: x-other, Set-Cookie\r\nKeep-Alive: timeout=5\r\n"
        b"X-Secret: 1\r\nX-Other: 2\r\nSet-Cookie: a=1\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\n"
        b"Trailer: X\r\nContent-Length: 0\r\n\r\n"
    )
    assert reader.headers == [(b"set-cookie", b"a=1"), (b"content-length", b"0")]
    assert reader.keep_alive == 5


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"Content-Length: 3\r\nContent-Length: 4\r\n", id="two lengths"),
        pytest.param(b"Content-Length: 3\r\nContent-Length: 3\r\n", id="the same length twice"),
        pytest.param(b"Content-Length: 3, 3\r\n", id="a list of lengths"),
        pytest.param(b"Content-Length: +3\r\n", id="a sign"),
        pytest.param(b"Content-Length: 0x3\r\n", id="hexadecimal"),
        pytest.param(b"Content-Length: \r\n", id="an empty length"),
        pytest.param(b"Content-Length: 99999999999999999999\r\n", id="too large"),
        pytest.param(b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", id="length and chunks"),
        pytest.param(b"Transfer-Encoding: gzip, chunked\r\n", id="a coding nobody asked for"),
        pytest.param(b"Transfer-Encoding: chunked, identity\r\n", id="chunked not last"),
        pytest.param(b"Transfer-Encoding: xchunked\r\n", id="a made-up coding"),
        pytest.param(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", id="chunked twice"),
        pytest.param(b"X: a\r\n b\r\n", id="a folded line"),
        pytest.param(b"X: a\rb\r\n", id="a bare CR"),
        pytest.param(b"X: a\nY: b\r\n", id="a bare LF"),
        pytest.param(b"X: a\0b\r\n", id="a NUL"),
        pytest.param(b"X : a\r\n", id="a blank before the colon"),
        pytest.param(b": a\r\n", id="no name"),
    ],
)
def test_a_head_that_could_be_read_in_two_ways_is_refused(head: bytes) -> None:
    """proxy 2.5, 2.8, 3.1"""
    with pytest.raises(ResponseError):
        read(OK + head + b"\r\n")


@pytest.mark.parametrize(
    "start",
    [
        b"<html>no status line",
        b"HTTP/0.9 200 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"ICE/1.0 200 OK\r\n\r\n",
        b"http/1.1 200 OK\r\n\r\n",
        b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 600 Odd\r\n\r\n",
        b"HTTP/1.1 99 Odd\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\n\r\n",
        b"HTTP/1.1 000 Odd\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ],
)
def test_responses_that_are_not_http_1_are_refused_at_once(start: bytes) -> None:
    """proxy 5.11, 3.9"""
    with pytest.raises(ResponseError):
        read(start)


@pytest.mark.parametrize(
    "chunks",
    [
        b"-3\r\nabc\r\n",
        b"3 \r\nabc\r\n",
        b"3\nabc\n0\n\n",
        b'3;ext="\n"\r\nabc\r\n',
        b"fffffffffffffffff\r\nabc",
        b"3\r\nabcd\r\n",
        b"x\r\n",
    ],
)
def test_broken_chunks_are_no_body(chunks: bytes) -> None:
    """proxy 3.3"""
    with pytest.raises(ResponseError):
        read(OK + b"Transfer-Encoding: chunked\r\n\r\n", chunks)


def test_interim_responses_are_skipped_and_leave_no_header_behind() -> None:
    """proxy 3.7"""
    reader = read(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 9\r\n\r\n"
        + OK
        + b"Content-Length: 2\r\n\r\nok"
    )
    assert (reader.status, reader.headers) == (200, [(b"content-length", b"2")])
    assert reader.take() == b"ok"


def test_interim_responses_without_end_are_refused() -> None:
    """proxy 3.7"""
    with pytest.raises(ResponseError, match="interim"):
        read(b"HTTP/1.1 102 Processing\r\n\r\n" * (MAX_INTERIM + 1))


@pytest.mark.parametrize(
    ("method", "status", "head"),
    [
        ("HEAD", b"200 OK", b"Content-Length: 500\r\n"),
        ("HEAD", b"200 OK", b"Transfer-Encoding: chunked\r\n"),
        ("HEAD", b"200 OK", b""),
        ("GET", b"304 Not Modified", b"Content-Length: 500\r\n"),
        ("GET", b"204 No Content", b""),
        ("GET", b"200 OK", b"Content-Length: 0\r\n"),
    ],
)
def test_answers_without_a_body_are_complete_with_their_head(method: str, status: bytes, head: bytes) -> None:
    """proxy 3.5"""
    reader = read(b"HTTP/1.1 " + status + b"\r\n" + head + b"\r\n", method=method)
    assert (reader.complete, reader.reusable, reader.take()) == (True, True, b"")


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("GET", OK + b"Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n"),
        ("GET", OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
        ("GET", OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\ngarbage"),
        ("HEAD", OK + b"Content-Length: 2\r\n\r\nok"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\nok"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\n\r\nok"),
    ],
)
def test_bytes_behind_an_answer_are_dropped_and_spoil_the_connection(method: str, answer: bytes) -> None:
    """proxy 3.5"""
    reader = read(answer, method=method)
    assert (reader.complete, reader.reusable) == (True, False)
    assert reader.take() in (b"", b"ok")


@pytest.mark.parametrize(
    ("answer", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: X-Y, Close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n", True),
    ],
)
def test_a_connection_is_kept_only_where_both_want_it(answer: bytes, reusable: bool) -> None:
    assert read(answer).reusable is reusable


@pytest.mark.parametrize(
    ("status", "line", "reusable"),
    [
        (b"401 Unauthorized", b"WWW-Authenticate: NTLM", False),
        (b"401 Unauthorized", b"WWW-Authenticate: Basic\r\nWWW-Authenticate: negotiate abc", False),
        (b"200 OK", b"WWW-Authenticate: Negotiate abc", False),
        (b"200 OK", b"Persistent-Auth: true", False),
        (b"401 Unauthorized", b"WWW-Authenticate: Basic realm=negotiate", True),
        (b"401 Unauthorized", b"WWW-Authenticate: Bearer", True),
    ],
)
def test_an_authenticated_connection_is_not_reused(status: bytes, line: bytes, reusable: bool) -> None:
    """proxy 3.5, 8"""
    reader = read(b"HTTP/1.1 " + status + b"\r\n" + line + b"\r\nContent-Length: 0\r\n\r\n")
    assert (reader.complete, reader.reusable) == (True, reusable)


def test_head_fields_are_not_accepted_as_trailers() -> None:
    """proxy 3.8"""
    reader = read(
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
        b"Set-Cookie: a=1\r\nLocation: /\r\nX-T: v\r\nConnection: X-T\r\nHost: x\r\n\r\n"
    )
    assert reader.trailers == [(b"x-t", b"v")]


def test_interim_responses_are_available_for_forwarding() -> None:
    """proxy 3.7, 2.1"""
    reader = read(
        b"HTTP/1.1 100 Continue\r\nX: 1\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-Own\r\nX-Own: 1\r\n"
        b"Content-Length: 9\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    )
    assert reader.interim == [(103, [(b"link", b"</a>")]), (102, [])]
    assert reader.headers == [(b"content-length", b"0")]


def test_trailers_are_kept_apart_from_headers() -> None:
    """proxy 3.8"""
    reader = read(
        OK + b"Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nok\r\n0\r\nX-T: v\r\nX-U: w\r\n\r\n"
    )
    assert (reader.take(), reader.headers) == (b"ok", [])
    assert reader.trailers == [(b"x-t", b"v"), (b"x-u", b"w")]


def test_trailers_without_end_are_refused() -> None:
    with pytest.raises(ResponseError, match="trailers"):
        read(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", *[b"X-T: v\r\n"] * MAX_TRAILERS)


def test_a_head_of_64_kb_is_read_and_one_without_end_is_refused() -> None:
    """proxy 2.9"""
    reader = read(OK + b"X-Long: " + b"x" * 65536 + b"\r\nContent-Length: 0\r\n\r\n")
    assert len(reader.headers[0][1]) == 65536
    with pytest.raises(ResponseError, match="longer"):
        read(OK, *[b"X-Long: " + b"x" * 1000 + b"\r\n"] * (MAX_HEAD // 1000))
    with pytest.raises(ResponseError, match="longer"):
        read(OK + b"X-Long: " + b"x" * MAX_HEAD + b"\r\n\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 O",
        OK + b"Content-Length: 5\r\n\r\nhell",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhell",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-T: v",
    ],
)
def test_a_premature_end_is_an_error(answer: bytes) -> None:
    """proxy 6.3"""
    with pytest.raises(BrokenError):
        read(answer).eof()


def test_a_body_without_length_ends_with_the_connection() -> None:
    reader = read(b"HTTP/1.0 200 OK\r\n\r\nhel", b"lo")
    assert not reader.complete
    reader.eof()
    assert (reader.take(), reader.complete, reader.reusable) == (b"hello", True, False)


def test_after_a_requested_protocol_switch_the_rest_is_not_read() -> None:
    """proxy 3.9"""
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX: y\r\n\r\n"
    reader = read(head + b"\x81\x00", upgrade=True)
    assert (reader.status, reader.headers, reader.take()) == (101, [(b"x", b"y")], b"\x81\x00")


_ANSWERS = {
    OK + b"Server: x\r\nContent-Length: 11\r\n\r\nhello world": b"hello world",
    OK
    + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX: v\r\n\r\n": b"hello world",
    b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok": b"ok",
}


@pytest.mark.parametrize(("answer", "body"), _ANSWERS.items())
@given(cuts=st.lists(st.integers(0, 120), max_size=8))
def test_an_answer_reads_the_same_however_it_is_cut(answer: bytes, body: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted({min(cut, len(answer)) for cut in cuts}), len(answer)]
    reader = read(*[answer[a:b] for a, b in pairwise(edges)])
    whole = read(answer)
    assert (reader.take(), reader.headers, reader.trailers) == (body, whole.headers, whole.trailers)
    assert (reader.complete, reader.reusable) == (True, True)


@given(
    answer=st.sampled_from(list(_ANSWERS)),
    place=st.integers(0, 100),
    noise=st.binary(max_size=6),
    cut=st.integers(0, 120),
)
def test_damaged_responses_raise_only_documented_errors(
    answer: bytes, place: int, noise: bytes, cut: int
) -> None:
    damaged = answer[:place] + noise + answer[place + len(noise) :]
    try:
        reader = read(damaged[:cut], damaged[cut:])
        reader.eof()
    except UpstreamError:
        return
    assert reader.complete
    assert 200 <= reader.status <= 599


def test_a_request_is_written_byte_for_byte() -> None:
    """proxy 1.1, 1.10, 2.3"""
    headers = [(b"host", b"shop.example"), (b"x-y", b"caf\xe9"), (b"x-y", b"2")]
    head = request_head("M-SEARCH", b"/a%2Fb//c/./d/../e%20f?x=%41&&=", headers)
    assert head == (
        b"M-SEARCH /a%2Fb//c/./d/../e%20f?x=%41&&= HTTP/1.1\r\n"
        b"host: shop.example\r\nx-y: caf\xe9\r\nx-y: 2\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", b"/ HTTP/1.1\r\nX: y", []),
        ("GET", b"/a b", []),
        ("GET / HTTP/1.1\r\nX: y\r\n", b"/", []),
        ("G ET", b"/", []),
        ("", b"/", []),
        ("GET", b"/", [(b"x", b"a\r\nY: b")]),
        ("GET", b"/", [(b"x", b"a\nY: b")]),
        ("GET", b"/", [(b"x", b"a\rb")]),
        ("GET", b"/", [(b"x\r\ny", b"a")]),
        ("GET", b"/", [(b"x", b"a\0b")]),
    ],
)
def test_nothing_can_be_written_that_splits_a_request(
    method: str, target: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    """proxy 3.10, 2.5"""
    with pytest.raises(RequestError):
        request_head(method, target, headers)
