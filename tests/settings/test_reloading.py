"""The thread that reloads settings: whom it answers, what it tries again, and how it ends."""

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest
from clew.service.check import loader
from clew.settings import reloading
from clew.settings.changes import Changes
from clew.settings.included import Stamp
from clew.settings.load import Problem
from clew.settings.model import Settings
from clew.settings.reloading import Reloader, ReloadError

SECRET = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
pytestmark = pytest.mark.timeout(300)


class Target:
    """Accepts settings, unless configured to fail."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.failures = 0
        self.applied: list[Settings] = []
        self.refused: list[Problem] = []
        self.requested: list[bool] = []
        self.unchanged_told = 0
        self.told = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.begun = threading.Event()

    def apply(self, settings: Settings) -> Changes:
        self.begun.set()
        assert self.go_on.wait(20)
        if self.failures:
            self.failures -= 1
            raise ReloadError("not now")
        self.settings = settings
        self.applied.append(settings)
        self.told.set()
        return Changes()

    def unchanged(self) -> None:
        self.unchanged_told += 1

    def refuse(self, problems: Sequence[Problem], *, requested: bool) -> None:
        self.refused += problems
        self.requested.append(requested)


def write(folder: Path, *names: str, top: str = "") -> Path:
    file = folder / "clew.toml"
    sites = "".join(f'[[sites]]\nname = "{n}"\nhosts = ["{n}.example"]\n' for n in names)
    file.write_text(f'secret = "{SECRET}"\ndesk_host = "desk.example"\n{top}\n{sites}')
    return file


class Case:
    """A reloader for a file with one site."""

    def __init__(self, folder: Path, top: str = "") -> None:
        self.folder = folder
        read = loader(write(folder, "a", top=top), {})
        self.target = Target(read.load().used())
        self.reloader = Reloader(read, self.target)

    def thread(self) -> threading.Thread:
        thread = self.reloader._thread
        assert thread is not None
        return thread


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    case = Case(tmp_path)
    yield case
    case.target.go_on.set()
    case.reloader.stop()


def test_a_client_that_stops_waiting_does_not_end_the_reloader(case: Case) -> None:
    given_up = case.reloader._asked
    future: Future[reloading.Reloaded] = Future()
    assert future.cancel()
    given_up.put(future)
    assert case.reloader.ask().result(20).sites == 1
    assert case.reloader.ask().result(20).sites == 1


def test_a_client_that_disconnects_does_not_cancel_the_reload(case: Case, tmp_path: Path) -> None:
    case.target.go_on.clear()
    write(tmp_path, "a", "b")
    first = case.reloader.ask()
    assert case.target.begun.wait(20)
    first.cancel()
    second = case.reloader.ask()
    case.target.go_on.set()
    assert second.result(20).sites == 2


def test_an_answer_that_cannot_be_given_does_not_end_the_reloads(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(result: Future[reloading.Reloaded]) -> None:
        raise RuntimeError("nobody is there")

    case.target.go_on.clear()
    write(case.folder, "a", "b")
    first = case.reloader.ask()
    first.add_done_callback(fail)
    case.target.go_on.set()
    assert case.reloader.ask().result(20).sites == 2
    assert "nobody is there" in caplog.text


def test_settings_that_could_not_be_applied_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloading, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(reloading, "RETRY_SECONDS", 0.01)
    case = Case(tmp_path, "watch = true")
    case.target.failures = 2
    case.reloader.start()
    write(tmp_path, "a", "b", top="watch = true")
    assert case.target.told.wait(20)
    assert [problem.message for problem in case.target.refused] == ["not now", "not now"]
    assert case.target.requested == [False, False]
    assert len(case.target.settings.sites) == 2
    case.reloader.stop()


def test_the_outcome_of_each_requested_reload_is_reported(case: Case, tmp_path: Path) -> None:
    case.reloader.ask().result(20)
    case.reloader.reload()
    assert case.target.unchanged_told == 1
    write(tmp_path)
    for _ in range(2):
        assert case.reloader.ask().result(20).errors
    assert case.target.requested == [True, True]


def test_files_that_cannot_be_looked_at_do_not_end_the_reloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reloading, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(reloading, "RETRY_SECONDS", 0.01)
    case = Case(tmp_path, "watch = true")
    stamps = case.reloader._loader.stamps
    failures = [ValueError("a name that no file can have")] * 3

    def failing() -> dict[str, Stamp | None]:
        if failures:
            raise failures.pop()
        return stamps()

    monkeypatch.setattr(case.reloader._loader, "stamps", failing)
    write(tmp_path, "a", "b", top="watch = true")
    case.reloader.start()
    assert case.target.told.wait(20)
    assert caplog.text.count("cannot be checked") == 1
    case.reloader.stop()


def test_callers_still_waiting_at_the_end_get_an_error(case: Case, tmp_path: Path) -> None:
    case.target.go_on.clear()
    write(tmp_path, "a", "b")
    first = case.reloader.ask()
    assert case.target.begun.wait(20)
    waiting, given_up = case.reloader.ask(), case.reloader.ask()
    given_up.cancel()
    case.reloader.stop()
    case.target.go_on.set()
    assert first.result(20).sites == 2
    with pytest.raises(ReloadError, match="clew is stopping"):
        waiting.result(20)
    case.thread().join(20)
    with pytest.raises(ReloadError, match="clew is stopping"):
        case.reloader.ask().result(20)


def test_a_request_after_the_end_writes_to_no_other_descriptor(case: Case) -> None:
    closed = case.reloader._wake_in
    case.reloader.stop()
    reading, writing = os.pipe()
    try:
        # The number is in use again, by another.
        os.dup2(writing, closed)
        os.set_blocking(reading, False)
        case.reloader.request()
        with pytest.raises(BlockingIOError):
            os.read(reading, 1)
    finally:
        for descriptor in {reading, writing, closed}:
            os.close(descriptor)
