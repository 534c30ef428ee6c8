"""A server is timed only if its answer is right."""

import gzip
from dataclasses import replace

import pytest
from answers import Response, fault
from first_byte import body_begun, unchunked
from workloads import TAG, WORKLOADS, page, tagged, tagged_at_end

HTML = page(1)
PAGE = WORKLOADS["html100k"]
RIGHT = Response(200, {"content-type": "text/html; charset=utf-8"}, tagged(HTML))


def test_the_right_page_is_right() -> None:
    assert fault(PAGE, tagged(HTML), RIGHT) is None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (replace(RIGHT, status=502), "status 502"),
        (replace(RIGHT, headers={"content-type": "text/plain"}), "Content-Type"),
        (replace(RIGHT, headers={**RIGHT.headers, "content-encoding": "gzip"}), "Content-Encoding"),
        (replace(RIGHT, body=HTML), "0 tags"),
        (replace(RIGHT, body=tagged(HTML) + TAG), "2 tags"),
        (replace(RIGHT, body=tagged_at_end(HTML)), "1 tags"),
        (replace(RIGHT, body=tagged(HTML)[:-1]), "1 tags"),
    ],
    ids=["status", "type", "coding", "no tag", "tag twice", "tag elsewhere", "cut"],
)
def test_a_wrong_page_is_reported(wrong: Response, says: str) -> None:
    assert says in str(fault(PAGE, tagged(HTML), wrong))


def test_a_compressed_page_is_decided_by_its_decoded_content() -> None:
    headers = {"content-type": "text/html", "content-encoding": "gzip"}
    packed = Response(200, headers, gzip.compress(tagged(HTML)))
    assert fault(WORKLOADS["gzip100k"], tagged(HTML), packed) is None
    assert "0 tags" in str(
        fault(WORKLOADS["gzip100k"], tagged(HTML), replace(packed, body=gzip.compress(HTML)))
    )


def test_an_uncompressed_response_fails_the_check_of_a_gzip_workload() -> None:
    assert "Content-Encoding" in str(fault(WORKLOADS["gzip100k"], tagged(HTML), RIGHT))


def test_the_first_byte_is_one_of_the_body() -> None:
    whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1a\r\n<"
    assert body_begun(whole)
    assert not any(body_begun(whole[:end]) for end in range(len(whole)))


def test_chunks_are_put_together() -> None:
    assert unchunked(b"3\r\n<p>\r\nA\r\n0123456789\r\n0\r\n\r\n") == b"<p>0123456789"
