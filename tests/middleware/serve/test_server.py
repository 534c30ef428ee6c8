"""What the server adds to uvicorn: bounds, quiet logs, and a calm end."""

import asyncio
import json
import logging
import logging.config
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from clew.middleware.http import protocol as protocol_module
from clew.middleware.http.faults import BrokenError
from clew.middleware.http.protocol import MAX_HEAD
from clew.middleware.serve.server import RedundantRecords, log_config, tune_malloc
from raw_http import OK, Client, Shop, answering, ended, get, proxying

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([b"X-A: " + b"x" * MAX_HEAD], id="one long header"),
        pytest.param([b"X-A: " + b"x" * 1000] * 70, id="many headers"),
        pytest.param([b"X-A: " + b"x" * 400_000], id="more than is read at once"),
    ],
)
async def test_a_request_head_without_end_is_refused(lines: list[bytes]) -> None:
    """proxy 2.9"""
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        response = await client.ask(get(b"/", *lines))
        assert (response.status, response.all("connection")) == (431, [b"close"])
        assert not shop.requests


async def test_a_head_in_small_pieces_is_counted_whole() -> None:
    """proxy 2.9"""
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        client.writer.write(b"GET / HTTP/1.1\r\nHost: shop.example\r\nX-A: ")
        for _ in range(MAX_HEAD // 1024 + 1):
            client.writer.write(b"x" * 1024)
            await client.writer.drain()
        assert (await client.response()).status == 431
        assert not shop.requests


async def test_a_long_head_and_a_longer_body_are_no_reason_to_refuse() -> None:
    """proxy 2.9, 1.9"""
    cookies = b"Cookie: " + b"c" * 40_000
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        for _ in range(2):
            length = b"Content-Length: 300000"
            assert (
                await client.ask(get(b"/", cookies, length, method=b"POST") + bytes(300_000))
            ).status == 200
        assert [len(request.body) for request in shop.requests] == [300_000, 300_000]


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nHost: shop.example\r\nX-A: "])
async def test_a_head_that_never_ends_does_not_hold_a_connection(
    start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """proxy 6.11"""
    monkeypatch.setattr(protocol_module, "HEAD_SECONDS", 0.1)
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        response = await client.ask(start)
        assert (response.status, response.all("connection")) == (408, [b"close"])
        assert await client.reader.read() == b""


async def test_a_second_head_that_never_ends_does_not_hold_it_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """proxy 6.11"""
    monkeypatch.setattr(protocol_module, "HEAD_SECONDS", 0.1)
    async with Shop(answering(OK)) as shop, proxying(shop) as port, Client(port) as client:
        assert (await client.ask(get())).status == 200
        assert (await client.ask(b"GET / HTTP/1.1\r\n")).status == 408


async def test_an_answer_may_take_longer_than_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """proxy 6.11"""
    monkeypatch.setattr(protocol_module, "HEAD_SECONDS", 0.05)

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        await asyncio.sleep(0.2)
        writer.write(OK)
        await ended(reader)

    async with Shop(script) as shop, proxying(shop) as port, Client(port) as client:
        assert (await client.ask(get())).status == 200


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        while True:
            target = (await shop.request(reader)).target
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))

    async with Shop(script) as shop, proxying(shop) as port, Client(port) as client:
        client.writer.write(b"".join(get(b"/%d" % n) for n in range(5)))
        assert [(await client.response()).body for _ in range(5)] == [b"/0", b"/1", b"/2", b"/3", b"/4"]


async def test_a_page_in_progress_is_completed_when_the_server_stops() -> None:
    """proxy 6.12"""
    go_on = asyncio.Event()

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        await go_on.wait()
        writer.write(OK)

    async with Shop(script) as shop:
        stack = proxying(shop)
        port = await stack.__aenter__()
        async with Client(port) as client:
            client.writer.write(get())
            await shop.until(lambda: shop.requests)
            stopping = asyncio.create_task(stack.__aexit__(None, None, None))
            await asyncio.sleep(0)
            go_on.set()
            response = await client.response()
            assert (response.status, response.body, response.complete) == (200, b"ok", True)
            await stopping


async def test_exchanges_are_aborted_after_the_grace_period() -> None:
    """proxy 6.12, 6.7"""

    async def script(shop: Shop, reader: Reader, writer: Writer) -> None:
        await shop.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await reader.read()

    async with Shop(script) as shop:
        stack = proxying(shop)
        port = await stack.__aenter__()
        async with Client(port) as client:
            client.writer.write(get())
            assert (await client.head()).status == 200
            await stack.__aexit__(None, None, None)
            assert await client.reader.read() == b"hello"
        await shop.until(lambda: shop.closed == 1)


def test_malloc_is_configured_to_keep_freed_memory() -> None:
    script = "from clew.middleware.serve.server import tune_malloc; print(tune_malloc())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(sys.platform == "linux")


def test_a_worker_takes_the_interpreter_back_from_threads_soon(tmp_path: Path) -> None:
    """A thread that computes would else keep each read and write of the loop waiting for 5 ms."""
    script = """if True:
        import sys
        from pathlib import Path
        from clew.middleware.serve.server import WorkerApp
        from clew.service.check import loader
        WorkerApp(loader(Path("clew.toml"), {}).load().used(), False)()
        print(sys.getswitchinterval() <= 0.001)
    """
    (tmp_path / "clew.toml").write_text(
        'secret = "Snlys-nenVNsXQTi1C-iQvyQPkkbhGhifMmxDzu3Nag"\n[[sites]]\nname = "shop"\n'
        'hosts = ["shop.example"]\nupstream = "http://127.0.0.1:1"\n'
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr


def test_as_many_files_may_be_open_as_the_user_is_allowed() -> None:
    script = """if True:
        import resource
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))
        from clew.middleware.serve.server import allow_files
        allow_files()
        print(resource.getrlimit(resource.RLIMIT_NOFILE) == (most, most))
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_another_libc_is_not_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert tune_malloc() is False


def record(message: str, error: BaseException | None = None) -> logging.LogRecord:
    info = None if error is None else (type(error), error, None)
    return logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, message, (), info)


@pytest.mark.parametrize(
    ("entry", "written"),
    [
        (record("Exception in ASGI application\n", BrokenError("broken off")), False),
        (record("Exception in ASGI application\n", ValueError("a bug")), True),
        (record("Unsupported upgrade request."), False),
        (record("something else"), True),
    ],
)
def test_a_proxy_that_was_reported_is_not_reported_again(entry: logging.LogRecord, written: bool) -> None:
    assert RedundantRecords().filter(entry) is written


def test_the_log_can_be_lines_of_json_in_every_worker(capsys: pytest.CaptureFixture[str]) -> None:
    config = pickle.loads(pickle.dumps(log_config("json")))
    names = ("uvicorn", "clew.proxy")
    before = {
        name: (logging.getLogger(name).handlers[:], logging.getLogger(name).propagate) for name in names
    }
    try:
        logging.config.dictConfig(config)
        logging.getLogger("clew.proxy").warning("502 %s", "GET")
        logging.getLogger("clew.proxy").info("not this")
    finally:
        for name, (handlers, propagate) in before.items():
            logging.getLogger(name).handlers, logging.getLogger(name).propagate = handlers, propagate
            logging.getLogger(name).setLevel(logging.NOTSET)
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert (told["event"], told["level"], told["logger"]) == ("502 GET", "warning", "clew.proxy")
