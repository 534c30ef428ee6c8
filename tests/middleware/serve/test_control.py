"""The socket of `clew reload`: who may ask whom, and what a slow or hostile other side can do."""

import errno
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from clew.middleware.serve import control, control_client
from clew.middleware.serve.control import RELOAD, Control, listen
from clew.middleware.serve.control_client import Response, reload_all
from clew.settings.changes import Changes
from clew.settings.load import Problem
from clew.settings.reloading import Reloaded, ReloadError

pytestmark = pytest.mark.timeout(300)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs two users")
STRANGER = 65534
RESULT = Reloaded((Problem("a.toml", "x", 3, "wrong", "", "warning"),), Changes(added=("a",)), 2, 0.5)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "clew.toml"
    file.write_text("")
    return file


@contextmanager
def user(number: int) -> Iterator[None]:
    """Be another user: the kernel notes who listens, and who connects, at that moment."""
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)


def done(result: Reloaded = RESULT) -> Future[Reloaded]:
    future: Future[Reloaded] = Future()
    future.set_result(result)
    return future


@contextmanager
def server(config: Path, ask: Callable[[], Future[Reloaded]] = done) -> Iterator[str]:
    """A server that answers; its name."""
    found = listen(config)
    with ExitStack() as stack:
        for sock in found.sockets:
            stack.enter_context(sock)
        answers = Control(found.sockets, ask)
        answers.start()
        stack.callback(answers.stop)
        yield found.sockets[0].getsockname()


@contextmanager
def taken(
    config: Path, count: int = control.SERVERS, *, listens: bool = True
) -> Iterator[list[socket.socket]]:
    """The first names, bound by another process."""
    with ExitStack() as stack:
        socks = []
        for names in control.names_of(config):
            for name in names[:count]:
                sock = stack.enter_context(socket.socket(socket.AF_UNIX))
                sock.bind(name)
                if listens:
                    sock.listen()
                socks.append(sock)
        yield socks


def connected(name: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    sock.connect(name)
    return sock


def test_a_result_is_read_back_unchanged(config: Path) -> None:
    with server(config):
        assert [(r.peer and r.peer.pid, r.result) for r in reload_all(config, 20)] == [(os.getpid(), RESULT)]


class TestOtherUsers:
    @as_root
    def test_a_socket_name_taken_by_another_user_is_reported_and_another_one_used(self, config: Path) -> None:
        with user(STRANGER), taken(config, 1):
            with user(0):
                found = listen(config)
            with found.sockets[0]:
                assert found.taken_by == "nobody"
                assert found.warning == "`clew reload` reaches this server by another name"
                assert found.sockets[0].getsockname() == next(control.names_of(config))[1]

    @as_root
    def test_the_lack_of_a_free_socket_name_is_reported(self, config: Path) -> None:
        with user(STRANGER), taken(config), user(0):
            found = listen(config)
        assert (found.sockets, found.taken_by) == ([], "nobody")
        assert "does not reach this server, SIGHUP does" in found.warning

    def test_a_socket_name_without_a_listener_is_reported_too(self, config: Path) -> None:
        with taken(config, 1, listens=False):
            found = listen(config)
            with found.sockets[0]:
                assert found.taken_by == "a process that does not answer"

    def test_a_second_server_of_the_same_user_is_not_reported(self, config: Path) -> None:
        with server(config):
            found = listen(config)
            with found.sockets[0]:
                assert (found.taken_by, found.warning) == ("", "")

    @as_root
    def test_a_server_of_another_user_is_reloaded_only_if_named(self, config: Path) -> None:
        asked = []
        with user(STRANGER), taken(config, 1) as (sock,), ThreadPoolExecutor(1) as pool:

            def serve() -> None:
                for _ in range(2):
                    other, _ = sock.accept()
                    with other:
                        asked.append(other.recv(100))
                        if asked[-1]:
                            other.sendall(json.dumps(asdict(RESULT)).encode())

            serving = pool.submit(serve)
            with user(0):
                (response,) = reload_all(config, 20)
                assert response == Response(control.Peer(os.getpid(), STRANGER), trusted=False)
                (response,) = reload_all(config, 20, STRANGER)
                assert response.result == RESULT
            serving.result(20)
        assert asked == [b"", RELOAD]

    @as_root
    def test_root_reloads_the_server_of_the_settings_owner(self, config: Path) -> None:
        os.chown(config, STRANGER, -1)
        with user(STRANGER), taken(config, 1), user(0):
            (response,) = reload_all(config, 0.1)
            assert response.trusted
            assert response.failure == "there was no response in time"

    @as_root
    def test_a_client_of_another_user_is_not_answered(self, config: Path) -> None:
        asked = []

        def ask() -> Future[Reloaded]:
            asked.append(1)
            return done()

        with server(config, ask) as name:
            with user(STRANGER):
                other = connected(name)
            with other, suppress(ConnectionError):
                other.sendall(RELOAD)
                assert other.recv(100) == b""
            with connected(name) as own:
                own.sendall(RELOAD)
                assert json.loads(own.makefile("rb").read())["sites"] == 2
        assert asked == [1]


class TestSlowClients:
    def test_silent_ones_do_not_keep_others_waiting(
        self, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(control, "CLIENT_SECONDS", 600.0)
        with server(config) as name, ExitStack() as stack:
            for _ in range(6):
                stack.enter_context(connected(name))
            (response,) = reload_all(config, 60)
            assert response.result == RESULT

    def test_control_clients_time_out_and_are_limited_in_number(
        self, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(control, "CLIENT_SECONDS", 0.3)
        monkeypatch.setattr(control, "CLIENTS", 3)
        with server(config) as name, ExitStack() as stack:
            silent = [stack.enter_context(connected(name)) for _ in range(9)]
            for sock in silent[:3]:
                sock.sendall(RELOAD[:3])
            (response,) = reload_all(config, 20)
            assert response.result == RESULT
            # Each is accepted after another was closed, and closed in turn.
            assert [sock.recv(10) for sock in silent] == [b""] * 9

    def test_a_client_that_does_not_read_its_answer_does_not_block_others(
        self, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(control, "CLIENT_SECONDS", 0.3)
        monkeypatch.setattr(control, "CLIENTS", 1)
        problems = (Problem("a.toml", "", None, "x" * 1000),) * 5000
        with server(config, lambda: done(Reloaded(problems))) as name, connected(name) as deaf:
            deaf.sendall(RELOAD)
            (response,) = reload_all(config, 20)
            assert response.result is not None
            assert len(response.result.problems) == 5000

    def test_a_malformed_request_closes_the_connection(self, config: Path) -> None:
        for said in (b"reboot\n", b"reload", b"", b"r" * 1000):
            with server(config) as name, connected(name) as other:
                other.sendall(said)
                other.shutdown(socket.SHUT_WR)
                with suppress(ConnectionResetError):
                    assert other.recv(10) == b""

    def test_a_failed_request_is_reported_and_the_next_is_answered(
        self, config: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        answers: list[Any] = [RuntimeError("broken"), ReloadError("clew is stopping"), None]

        def ask() -> Future[Reloaded]:
            future: Future[Reloaded] = Future()
            answer = answers.pop(0)
            future.set_exception(answer) if answer else future.set_result(RESULT)
            return future

        closed = "the server closed the connection without a response"
        with server(config, ask):
            assert [reload_all(config, 20)[0].failure for _ in range(3)] == [closed, closed, ""]
        assert caplog.text.count("a request of `clew reload` failed") == 1

    def test_without_descriptors_the_connection_waits(
        self, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(control, "PAUSE_SECONDS", 0.05)
        accept, failures = socket.socket.accept, [1, 1, 1]

        def out_of_descriptors(sock: socket.socket) -> Any:
            if failures:
                failures.pop()
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return accept(sock)

        monkeypatch.setattr(socket.socket, "accept", out_of_descriptors)
        with server(config):
            (response,) = reload_all(config, 20)
        assert (response.result, failures) == (RESULT, [])


def answer(**changed: object) -> bytes:
    return json.dumps({**asdict(RESULT), **changed}).encode()


WRONG = [
    b"[" * 100_000,
    b'{"problems":' + b"[" * 2_000_000,
    b"nonsense",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"{}",
    b'{"problems": []} {}',
    answer(problems=5),
    answer(problems=[5]),
    answer(problems=[{"file": 1, "key": "", "line": None, "message": ""}]),
    answer(problems=[{"file": "a", "key": "", "line": "3", "message": "", "severity": "error"}]),
    answer(problems=[{"file": "a", "key": "", "line": 3, "message": "", "severity": "fatal"}]),
    answer(changes=[]),
    answer(changes={"added": "abc"}),
    answer(changes={"added": [None]}),
    answer(sites="2"),
    answer(sites=None),
    answer(seconds="soon"),
    answer(seconds=float("nan")),
    answer().replace(b": 2,", b": " + b"9" * 5000 + b","),
]


@contextmanager
def answering(config: Path, *answers: bytes, wait: threading.Event | None = None) -> Iterator[None]:
    """Servers that give these answers, of which the last is not completed before `wait`."""
    with taken(config, len(answers)) as socks, ThreadPoolExecutor(len(socks)) as pool:

        def serve(sock: socket.socket, said: bytes) -> None:
            other, _ = sock.accept()
            with other:
                assert other.recv(100) == RELOAD
                try:
                    other.sendall(said)
                except OSError:
                    return
                if wait is not None and said == answers[-1]:
                    wait.wait(20)

        for sock, said in zip(socks, answers, strict=True):
            pool.submit(serve, sock, said)
        yield


@pytest.mark.parametrize("said", WRONG, ids=[str(text[:40] + text[-20:]) for text in WRONG])
def test_an_invalid_response_of_the_control_socket_is_refused(
    config: Path, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_client, "peer_of", fake_peers())
    with answering(config, said):
        (response,) = reload_all(config, 20)
    assert (response.result, response.failure.partition(";")[0]) == (
        None,
        "the response is not one of clew serve",
    )


def fake_peers() -> Callable[[socket.socket], control.Peer]:
    """Each connection's other side is another process."""
    pids = iter(range(100, 200))
    return lambda sock: control.Peer(next(pids), os.geteuid())


def test_an_answer_without_an_end_is_not_kept(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_client, "ANSWER_BYTES", 1 << 20)
    with answering(config, b" " * (3 << 20)):
        (response,) = reload_all(config, 20)
    assert response.failure == "the response is longer than 1 MB"


def test_all_servers_have_one_deadline_and_none_hides_the_others(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_client, "peer_of", fake_peers())
    go_on = threading.Event()
    with answering(config, answer(), b" ", b" ", b" ", wait=go_on):
        began = time.monotonic()
        responses = reload_all(config, 2.0)
        took = time.monotonic() - began
        go_on.set()
    assert [r.result for r in responses] == [RESULT, None, None, None]
    assert [r.failure for r in responses[1:]] == ["there was no response in time"] * 3
    # One after the other they take six seconds.
    assert took < 5.5


def test_one_byte_at_a_time_does_not_stretch_it(config: Path) -> None:
    over = threading.Event()
    with taken(config, 1) as (sock,), ThreadPoolExecutor(1) as pool:

        def drip() -> None:
            other, _ = sock.accept()
            with other:
                while not over.wait(0.05):
                    try:
                        other.sendall(b" ")
                    except OSError:
                        return

        pool.submit(drip)
        began = time.monotonic()
        (response,) = reload_all(config, 0.5)
        took = time.monotonic() - began
        over.set()
    assert response.failure == "there was no response in time"
    # Each byte within half a second of the one before, without an end.
    assert took < 20


def test_a_socket_that_accepts_no_connection_is_reported(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_client, "CLIENT_SECONDS", 0.3)
    with ExitStack() as stack:
        sock = stack.enter_context(socket.socket(socket.AF_UNIX))
        sock.bind(next(control.names_of(config))[0])
        sock.listen(0)
        stack.enter_context(connected(sock.getsockname()))
        assert reload_all(config, 20) == [Response(None, failure="its socket accepts no connection")]
