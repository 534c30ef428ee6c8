"""Reloading the settings of a running `clew serve`; no request is lost."""

import asyncio
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
from clew.injector.tag import tag
from clew.middleware.serve import control
from clew.settings.reloading import WATCH_SECONDS
from clews import ClewFolder, ClewServe, events, run_clew, wait_for_event
from processes import Program, free_port
from raw_http import Client, get

pytestmark = pytest.mark.timeout(300)

SETTINGS = """
secret = "env:CLEW_SECRET"
desk_host = "desk.example"
include = ["sites/*.toml"]
log = "json"
{more}
"""
PAGE = b"<html><head></head><body>%b</body></html>"
"""Of the shop by its name, so that a page tells which shop it came from."""


class Slow:
    """When slow pages began, and when they may end."""

    def __init__(self) -> None:
        self.began, self.may_end = asyncio.Event(), asyncio.Event()


async def shop(name: bytes, slow: Slow, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pages of a shop; `/slow` ends once it may."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            page = PAGE % name
            start = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(page)
            if head.startswith(b"GET /slow"):
                writer.write(start + page[:20])
                await writer.drain()
                slow.began.set()
                await slow.may_end.wait()
                writer.write(page[20:])
            else:
                writer.write(start + page)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


@asynccontextmanager
async def shops(*names: str, slow: Slow | None = None) -> AsyncIterator[dict[str, int]]:
    """Ports of shops by their names."""
    servers = {}
    pages = slow or Slow()
    writers: list[asyncio.StreamWriter] = []
    for name in names:

        async def serve(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: bytes = name.encode()
        ) -> None:
            writers.append(writer)
            await shop(name, pages, reader, writer)

        servers[name] = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield {name: server.sockets[0].getsockname()[1] for name, server in servers.items()}
    finally:
        for server in servers.values():
            server.close()
        # The server that was tested is down: their ends have come, or come now.
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


class Host:
    """A folder of settings with a file for each site, and the server that runs with it."""

    def __init__(self, path: Path, more: str = "") -> None:
        self.folder = ClewFolder(path, SETTINGS.format(more=more))
        (path / "sites").mkdir()

    def write(self, name: str, port: int, more: str = "") -> None:
        text = (
            f'[[sites]]\nname = "{name}"\nhosts = ["{name}.example"]\nupstream = "http://127.0.0.1:{port}"\n'
        )
        self.file(name).write_text(text + more)

    def file(self, name: str) -> Path:
        return self.folder.path / f"sites/{name}.toml"

    def reload(self, *options: str) -> tuple[int, str]:
        command = ("reload", "--config", str(self.folder.settings), *options)
        done = run_clew(*command, environ=self.folder.environ)
        return done.returncode, done.stdout + done.stderr

    async def reloaded(self, *options: str) -> tuple[int, str]:
        return await asyncio.to_thread(self.reload, *options)

    @contextmanager
    def serving(self, *options: str) -> Iterator[ClewServe]:
        with ClewServe(self.folder, options) as clew:
            wait_for_event(clew, "started")
            yield clew


async def page(port: int, name: str, path: bytes = b"/") -> tuple[int, bytes]:
    """Status and body of a page, with the tag taken out."""
    request = get(path, b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document", b"Connection: close")
    async with Client(port) as client:
        answer = await client.ask(request.replace(b"shop.example", f"{name}.example".encode()))
        assert answer.complete
        return answer.status, answer.body.replace(tag("/-/clew/"), b"")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "clew")


@pytest.mark.parametrize("workers", [1, 2])
async def test_sites_are_added_changed_and_removed_under_load(host: Host, workers: int) -> None:
    """Each answer is wholly one shop's, none is lost, and after `clew reload` every worker has the new."""
    held = Slow()
    async with shops("old", "new", "other", slow=held) as ports:
        host.write("a", ports["old"])
        host.write("b", ports["other"])
        with host.serving("--workers", str(workers)) as clew:
            if workers > 1:
                await asyncio.to_thread(clew.wait_for_line, lambda _: len(events(clew, "started")) == workers)
            seen: list[bytes] = []
            over = False

            async def visit() -> None:
                while not over:
                    status, body = await page(clew.port, "a")
                    assert status == 200, body
                    seen.append(body)
                    await asyncio.sleep(0.01)

            visitors = [asyncio.create_task(visit()) for _ in range(8)]
            slow = asyncio.create_task(page(clew.port, "a", b"/slow"))
            async with asyncio.timeout(60):
                while len(seen) < 16 or not held.began.is_set():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            host.write("a", ports["new"])
            host.write("c", ports["other"])
            host.file("b").unlink()
            status, told = await host.reloaded()
            after = len(seen)
            assert status == 0, told
            for part in ("2 sites", "1 added (c)", "1 changed (a)", "1 removed (b)"):
                assert part in told
            # Begun before, ended after: all of it is the old shop's.
            held.may_end.set()
            assert await slow == (200, PAGE % b"old")
            for _ in range(4 * workers):
                assert await page(clew.port, "a") == (200, PAGE % b"new")
                assert await page(clew.port, "c") == (200, PAGE % b"other")
                assert (await page(clew.port, "b"))[0] == 421
            over = True
            await asyncio.gather(*visitors)
            assert set(seen) == {PAGE % b"old", PAGE % b"new"}
            # Those under way at the very moment may still be of the old shop.
            assert set(seen[after + 8 :]) <= {PAGE % b"new"}
        (told_once,) = events(clew, "reloaded")
        assert (told_once["added"], told_once["changed"], told_once["removed"]) == (["c"], ["a"], ["b"])
        assert not [line for line in clew.lines if "Traceback" in line]


async def test_invalid_settings_are_rejected_and_reported(host: Host) -> None:
    async with shops("one") as ports:
        host.write("a", ports["one"])
        with host.serving("--workers", "2") as clew:
            host.write("b", ports["one"])
            host.write("c", ports["one"], 'never = ["pay"]\n')
            status, told = await host.reloaded()
            assert status == 1
            assert re.search(r"c\.toml:5 sites\[0\]\.never\[0\]: a path begins with / or \*", told)
            assert "keeps its settings, with 1 site" in told
            assert (await page(clew.port, "a"))[0] == 200
            assert (await page(clew.port, "b"))[0] == 421
            event = await asyncio.to_thread(wait_for_event, clew, "reload_refused")
            assert "c.toml:5" in event["why"]
            host.write("c", ports["one"])
            status, told = await host.reloaded("--json")
            found = json.loads(told)
            assert (status, found["usable"], found["sites"]) == (0, True, 3)
            assert found["changes"] == {"added": ["b", "c"], "changed": [], "removed": []}
            assert (await page(clew.port, "b"))[0] == 200


async def test_a_pipe_in_place_of_a_file_is_refused_and_blocks_nothing(host: Host) -> None:
    async with shops("one") as ports:
        host.write("a", ports["one"])
        with host.serving() as clew:
            for file in (host.folder.settings, host.file("a")):
                text = file.read_text()
                file.unlink()
                os.mkfifo(file)
                status, told = await host.reloaded()
                assert (status, "cannot be read: is not a regular file" in told) == (1, True), file
                file.unlink()
                file.write_text(text)
            host.write("b", ports["one"])
            assert (await host.reloaded())[0] == 0
            assert (await page(clew.port, "b"))[0] == 200


async def test_changes_that_need_a_restart_are_refused(host: Host) -> None:
    async with shops("one") as ports:
        host.write("a", ports["one"])
        with host.serving() as clew:
            other = 'secret = "vN7kQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tV"\nledger = "sqlite:other.db"\n'
            other += 'store = "sqlite:other.db"\nops = "127.0.0.1:9180"'
            settings = SETTINGS.format(more="").replace('secret = "env:CLEW_SECRET"', other)
            host.folder.settings.write_text(settings)
            host.write("b", ports["one"])
            status, told = await host.reloaded()
            assert status == 1
            for line, key in enumerate(("secret", "ledger", "store", "ops"), 2):
                assert f"clew.toml:{line} {key}: cannot be changed by a reload" in told
            assert "restart clew" in told
            assert (await page(clew.port, "b"))[0] == 421


async def test_sighup_reloads_with_one_worker_too(host: Host) -> None:
    """field G9"""
    async with shops("one") as ports:
        host.write("a", ports["one"])
        with host.serving() as clew:
            host.write("b", ports["one"])
            os.kill(clew.pid, signal.SIGHUP)
            await asyncio.to_thread(wait_for_event, clew, "reloaded")
            assert (await page(clew.port, "b"))[0] == 200
            os.kill(clew.pid, signal.SIGHUP)
            await asyncio.to_thread(clew.wait_for_line, lambda _: len(events(clew, "reloaded")) == 2)
            again = events(clew, "reloaded")[1]
            assert (again["added"], again["changed"], again["removed"]) == ([], [], [])
            host.file("b").write_text("[[nonsense")
            for times in (1, 2):
                os.kill(clew.pid, signal.SIGHUP)
                await asyncio.to_thread(
                    clew.wait_for_line, lambda _, n=times: len(events(clew, "reload_refused")) == n
                )


def holds_hang_up(pid: int) -> bool:
    """Whether SIGHUP is blocked, ignored or handled."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    masks = (int(fields[name], 16) for name in ("SigBlk", "SigIgn", "SigCgt"))
    return any(mask & 1 << (signal.SIGHUP - 1) for mask in masks)


def processes(pid: int) -> list[int]:
    """A process and its children."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sighup_while_clew_starts_ends_neither_it_nor_a_worker(tmp_path: Path, workers: str) -> None:
    """field G9: `systemctl kill -s HUP` sends it to all processes."""
    host = Host(tmp_path / "clew")
    host.write("a", 9)
    port = free_port()
    serve = ("serve", "--config", str(host.folder.settings), "--port", str(port), "--workers", workers)
    command = [sys.executable, "-m", "clew", *serve]
    with Program(command, environ=host.folder.environ, cwd=host.folder.path) as clew:
        while not holds_hang_up(clew.pid):
            time.sleep(0.001)
        with ThreadPoolExecutor(1) as pool:
            started = pool.submit(clew.wait_for_line, lambda line: '"started"' in line, 60)
            # Some hundred times a second: at every step of the start, and it still gets on.
            while not wait([started], timeout=0.005).done:
                for pid in processes(clew.pid):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGHUP)
            started.result()
        clew.wait_for_port(port)
        # None of them was lost either.
        clew.wait_for_line(lambda line: '"reloaded"' in line)
        assert clew.end() == 0


async def test_watched_files_are_reloaded_once_they_have_been_written(tmp_path: Path) -> None:
    host = Host(tmp_path / "clew", "watch = true")
    async with shops("old", "new") as ports:
        host.write("a", ports["old"])
        host.write("b", ports["old"])
        with host.serving("--workers", "2") as clew:
            # An editor at work: the file is empty first, and then there is half of it.
            half = host.file("a").read_text()[:20]
            begun = written = time.monotonic()
            longest = 0.0
            while time.monotonic() < begun + 1.5:
                for text in ("", half):
                    host.file("a").write_text(text)
                    longest, written = max(longest, time.monotonic() - written), time.monotonic()
                    await asyncio.sleep(0.05)
            # An editor that rests is taken to be done, also where it is the machine that rests.
            assert events(clew, "reload_refused") == [] or longest > WATCH_SECONDS / 2
            assert (await page(clew.port, "a"))[0] == 200
            host.write("a", ports["new"])
            saved = time.monotonic()
            await asyncio.to_thread(wait_for_event, clew, "reloaded")
            assert time.monotonic() - saved < 5
            # One worker tells of it; the other may be a moment behind.
            async with asyncio.timeout(60):
                while {await page(clew.port, "a") for _ in range(6)} != {(200, PAGE % b"new")}:
                    pass
            host.file("b").write_text("[[sites]]\n")
            await asyncio.to_thread(
                clew.wait_for_line,
                lambda line: '"reload_refused"' in line and "b.toml:1 sites[0].name: is missing" in line,
            )
            assert (await page(clew.port, "b"))[0] == 200
            host.file("b").unlink()
            await asyncio.to_thread(
                clew.wait_for_line, lambda line: '"removed":["b"]' in line.replace(" ", "")
            )


async def test_a_worker_that_dies_comes_back_with_the_settings_that_are_in_use(host: Host) -> None:
    async with shops("one") as ports:
        host.write("a", ports["one"])
        with host.serving("--workers", "2") as clew:
            host.write("b", ports["one"])
            assert (await host.reloaded())[0] == 0
            host.file("b").write_text("[[nonsense")
            for pid in children(clew.pid):
                os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(clew.wait_for_line, lambda _: len(events(clew, "started")) >= 4)
            for _ in range(6):
                assert (await page(clew.port, "b"))[0] == 200


async def test_settings_that_one_worker_rejects_are_used_by_none(host: Host) -> None:
    """A worker that hangs prevents the reload; all workers continue with the old settings."""
    async with shops("old", "new") as ports:
        host.write("a", ports["old"])
        with host.serving("--workers", "2") as clew:
            await asyncio.to_thread(clew.wait_for_line, lambda _: len(events(clew, "started")) == 2)
            # The supervisor looks every half second whether they serve.
            await asyncio.to_thread(clew.wait_for_line, lambda line: "clew listens on" in line)
            stopped, _ = children(clew.pid)
            os.kill(stopped, signal.SIGSTOP)
            try:
                host.write("a", ports["new"])
                status, told = await host.reloaded()
            finally:
                os.kill(stopped, signal.SIGCONT)
            assert status == 1
            assert re.search(rf"worker {stopped} did not answer", told)
            for _ in range(8):
                assert await page(clew.port, "a") == (200, PAGE % b"old")
            status, told = await host.reloaded()
            assert status == 0, told
            for _ in range(8):
                assert await page(clew.port, "a") == (200, PAGE % b"new")


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    names = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in found}
    return [child for child, name in names.items() if b"spawn_main" in name]


def test_without_a_server_there_is_nothing_to_reload(host: Host) -> None:
    status, told = host.reload()
    assert status == 1
    assert "no clew serve of this user runs with" in told


async def test_a_server_is_found_by_any_name_of_its_settings_file(host: Host, tmp_path: Path) -> None:
    async with shops("one") as ports:
        host.write("a", ports["one"])
        with host.serving():
            link = tmp_path / "link"
            link.symlink_to(host.folder.path)
            host.folder.settings = link / "clew.toml"
            status, told = await host.reloaded()
            assert (status, "no site has changed" in told) == (0, True)


async def test_every_server_with_one_settings_file_is_reloaded(host: Host) -> None:
    async with shops("one") as ports:
        host.write("a", ports["one"])
        with host.serving() as first, host.serving() as second:
            host.write("b", ports["one"])
            status, told = await host.reloaded("--json")
            assert status == 0
            assert {json.loads(line)["process"] for line in told.splitlines()} == {first.pid, second.pid}
            for clew in (first, second):
                assert (await page(clew.port, "b"))[0] == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="needs two users")
@pytest.mark.parametrize("workers", [1, 2])
async def test_a_socket_taken_by_another_user_is_reported_by_server_and_command(
    host: Host, workers: int
) -> None:
    async with shops("one") as ports:
        host.write("a", ports["one"])
        with ExitStack() as stack:
            os.seteuid(65534)
            try:
                for name in (name for names in control.names_of(host.folder.settings) for name in names):
                    sock = stack.enter_context(socket.socket(socket.AF_UNIX))
                    sock.bind(name)
                    sock.listen()
            finally:
                os.seteuid(0)
            with host.serving("--workers", str(workers)) as clew:
                event = await asyncio.to_thread(wait_for_event, clew, "reload_socket_taken")
                assert (event["level"], event["by"]) == ("warning", "nobody")
                assert "does not reach this server, SIGHUP does" in event["why"]
                host.write("b", ports["one"])
                status, told = await host.reloaded()
                assert status == 1
                assert f"process {os.getpid()} was not asked, it runs as the user nobody" in told
                assert "no clew serve of this user runs with" in told
                os.kill(clew.pid, signal.SIGHUP)
                await asyncio.to_thread(wait_for_event, clew, "reloaded")
                # One worker tells of it; the other may be a moment behind.
                async with asyncio.timeout(60):
                    while [(await page(clew.port, "b"))[0] for _ in range(6)] != [200] * 6:
                        pass
                assert len(events(clew, "reload_socket_taken")) == 1
