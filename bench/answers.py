"""Checks a server's response before the server is measured."""

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection

from pinned import BenchError
from workloads import TAG, Workload

SECONDS = 30


@dataclass(frozen=True)
class Response:
    """A complete response; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def get(port: int, path: str, headers: Mapping[str, str]) -> Response:
    """Send one GET request with exactly these headers."""
    connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        received = connection.getresponse()
        fields = {name.lower(): value for name, value in received.getheaders()}
        return Response(received.status, fields, received.read())
    finally:
        connection.close()


def fault(workload: Workload, wanted: bytes, response: Response) -> str | None:
    """What is wrong with the response to a workload's request; None if nothing is. Its decoded body must
    equal `wanted`."""
    if response.status != 200:
        return f"status {response.status}"
    if response.headers.get("content-type", "").partition(";")[0] != workload.media_type:
        return f"Content-Type {response.headers.get('content-type')!r}"
    if response.headers.get("content-encoding", "") != workload.coding:
        return f"Content-Encoding {response.headers.get('content-encoding')!r}"
    body = gzip.decompress(response.body) if workload.coding == "gzip" else response.body
    if body != wanted:
        return f"a body of {len(body)} bytes with {body.count(TAG)} tags that begins with {body[:300]!r}"
    return None


def require(
    name: str, port: int, workload: Workload, cookie: str, judge: Callable[[Response], str | None]
) -> None:
    """Send the workload's request. Raises BenchError with the server's name if `judge` finds a fault."""
    what = judge(get(port, workload.path, {**workload.headers, "Cookie": cookie}))
    if what is not None:
        raise BenchError(f"{name} gives a wrong response to {workload.name}: {what}")
