"""Whether a server gives the right answer: looked at before it is timed."""

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection

from pinned import BenchError
from workloads import TAG, Workload

SECONDS = 30


@dataclass(frozen=True)
class Answer:
    """A whole answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def ask(port: int, path: str, headers: Mapping[str, str]) -> Answer:
    """One GET with exactly these headers."""
    connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, fields, response.read())
    finally:
        connection.close()


def fault(workload: Workload, wanted: bytes, answer: Answer) -> str | None:
    """What is wrong with the answer to a workload's request, None if nothing is: its body, unpacked, has to
    be `wanted` byte for byte."""
    if answer.status != 200:
        return f"status {answer.status}"
    if answer.headers.get("content-type", "").partition(";")[0] != workload.media_type:
        return f"Content-Type {answer.headers.get('content-type')!r}"
    if answer.headers.get("content-encoding", "") != workload.coding:
        return f"Content-Encoding {answer.headers.get('content-encoding')!r}"
    body = gzip.decompress(answer.body) if workload.coding == "gzip" else answer.body
    if body != wanted:
        return f"a body of {len(body)} bytes with {body.count(TAG)} tags, which begins {body[:300]!r}"
    return None


def require(
    name: str, port: int, workload: Workload, cookie: str, judge: Callable[[Answer], str | None]
) -> None:
    """Ask as the workload does. Raises BenchError with the server's name if `judge` finds a fault."""
    what = judge(ask(port, workload.path, {**workload.headers, "Cookie": cookie}))
    if what is not None:
        raise BenchError(f"{name} gives a wrong answer to {workload.name}: {what}")
