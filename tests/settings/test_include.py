"""Included files: which are read, their errors, and which are read again."""

import errno
import glob
import os
import time
from pathlib import Path

import pytest
from clew.service.check import check, loader
from clew.settings import loader as loader_module
from clew.settings.included import included
from clew.settings.load import Problem, Source, read
from clew.settings.loader import Loader
from clew.settings.model import Settings

SECRET = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
MAIN = f'secret = "{SECRET}"\ndesk_host = "desk.example"\ninclude = ["sites/*.toml"]\n'


def site(name: str, more: str = "") -> str:
    return f'[[sites]]\nname = "{name}"\nhosts = ["{name}.example"]\n{more}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sites").mkdir()
    (tmp_path / "clew.toml").write_text(MAIN)
    (tmp_path / "sites/a.toml").write_text(site("a"))
    (tmp_path / "sites/b.toml").write_text(site("b") + site("c"))
    return tmp_path


def names(folder: Path) -> list[str]:
    settings, problems = check(folder / "clew.toml", {})
    assert settings is not None, problems
    return [found.name for found in settings.sites]


def errors(folder: Path) -> list[tuple[str, str, int | None, str]]:
    settings, problems = check(folder / "clew.toml", {})
    assert settings is None
    return [(Path(p.file).name, p.key, p.line, p.message) for p in problems if p.severity == "error"]


def test_sites_come_from_all_files_in_the_order_of_their_names(folder: Path) -> None:
    (folder / "clew.toml").write_text(MAIN + site("main"))
    assert names(folder) == ["main", "a", "b", "c"]


def test_backup_files_of_editors_are_not_included(folder: Path) -> None:
    for name in (".#a.toml", ".b.toml.swp", "b.toml~", "b.toml.dpkg-old"):
        (folder / "sites" / name).write_text("[[nonsense")
    assert names(folder) == ["a", "b", "c"]


def test_a_file_with_two_names_is_read_once(folder: Path) -> None:
    (folder / "sites/enabled.toml").symlink_to(folder / "sites/a.toml")
    os.link(folder / "sites/b.toml", folder / "sites/z.toml")
    (folder / "clew.toml").write_text(MAIN.replace("]", ', "*.toml", "sites/a.toml"]'))
    assert names(folder) == ["a", "b", "c"]


def test_subfolders_are_read_if_the_pattern_includes_them(folder: Path) -> None:
    (folder / "sites/more/deep").mkdir(parents=True)
    (folder / "sites/more/deep/d.toml").write_text(site("d"))
    assert names(folder) == ["a", "b", "c"]
    (folder / "clew.toml").write_text(MAIN.replace("sites/*", "sites/**/*"))
    assert names(folder) == ["a", "b", "c", "d"]


def test_environment_values_work_in_included_files_too(folder: Path) -> None:
    (folder / "sites/a.toml").write_text(site("a", 'api_token = "env:TOKEN"\n'))
    settings, _ = check(folder / "clew.toml", {"TOKEN": "vN7kQ2xLrW7mZc4JpYb8"})
    assert settings is not None
    token = settings.sites[0].api_token
    assert token is not None
    assert token.get_secret_value() == "vN7kQ2xLrW7mZc4JpYb8"
    (found,) = errors(folder)
    assert found == ("a.toml", "sites[0].api_token", 4, "the environment variable TOKEN is not set")


WRONG = [
    # file, its text, key, line, part of the message
    ("b.toml", site("b", 'never = ["x"]\n'), "sites[0].never[0]", 4, "a path begins with / or *"),
    ("b.toml", site("b") + site("d", "prefix = 1\n"), "sites[1].prefix", 7, "must be a text"),
    ("b.toml", site("b", 'hots = ["x"]\n'), "sites[0].hots", 4, "unknown key"),
    ("b.toml", '[[sites]]\nname = "b"\nhosts = ["b.example\n', "", 3, "not valid TOML"),
    (
        "b.toml",
        site("d") + site("a").replace("a.ex", "e.ex"),
        "sites[1].name",
        5,
        "another site has the name 'a': see ",
    ),
    (
        "b.toml",
        site("d") + site("d").replace("d.ex", "e.ex"),
        "sites[1].name",
        5,
        "another site has the name 'd'",
    ),
    ("b.toml", site("d").replace("d.ex", "A.ex"), "sites[0].hosts[0]", 3, "already belongs to a site: see "),
    ("b.toml", 'log = "json"\n' + site("b"), "log", 1, "may contain only [[sites]]"),
    ("b.toml", 'include = ["c.toml"]\n' + site("b"), "include", 1, "may contain only [[sites]]"),
    ("b.toml", '"sitеs" = []\n' + site("b"), '"sitеs"', 1, "U+0435 (CYRILLIC SMALL LETTER IE) is not ASCII"),
    ("b.toml", "", "", None, "contains no site"),
    ("b.toml", "# soon\n", "", None, "contains no site"),
    ("b.toml", '[sites]\nname = "b"\n', "sites", 1, "must be a list"),
    ("b.toml", "sites = [5]\n", "sites[0]", 1, "must be a table"),
]


@pytest.mark.parametrize(("name", "text", "key", "line", "message"), WRONG, ids=[w[1] for w in WRONG])
def test_an_error_names_its_file_and_line(
    folder: Path, name: str, text: str, key: str, line: int | None, message: str
) -> None:
    (folder / "sites" / name).write_text(text)
    found = errors(folder)
    assert [(f, k, n) for f, k, n, _ in found] == [(name, key, line)] * len(found)
    assert message in found[0][3]


def test_two_files_with_sites_for_all_other_hosts_are_an_error(folder: Path) -> None:
    for name in ("x", "y"):
        (folder / f"sites/{name}.toml").write_text(f'[[sites]]\nname = "{name}"\n')
    ((file, key, line, message),) = errors(folder)
    assert (file, key, line) == ("y.toml", "sites[0]", 1)
    assert message.startswith("another site has no `hosts` either: see ")
    assert message.endswith("x.toml")


def test_the_desk_cannot_use_an_included_sites_host(folder: Path) -> None:
    (folder / "sites/d.toml").write_text(site("d").replace("d.example", "desk.example:443"))
    assert errors(folder) == [
        ("clew.toml", "desk_host", 2, "is the host of a shop: the desk needs a host of its own")
    ]


def test_all_files_errors_come_at_once_in_their_order(folder: Path) -> None:
    (folder / "clew.toml").write_text(MAIN + 'log = "xml"\n')
    (folder / "sites/a.toml").write_text(site("a", "inject = 7\n"))
    (folder / "sites/b.toml").write_text("[[sites]]\n")
    assert [(file, key) for file, key, *_ in errors(folder)] == [
        ("clew.toml", "log"),
        ("a.toml", "sites[0].inject"),
        ("b.toml", "sites[0].name"),
    ]


def test_a_pattern_without_files_is_a_warning_and_a_name_without_a_file_an_error(folder: Path) -> None:
    (folder / "clew.toml").write_text(MAIN.replace("]", ', "shops/*.toml"]'))
    settings, (warning,) = check(folder / "clew.toml", {})
    assert settings is not None
    assert (warning.key, warning.line, warning.severity) == ("include[1]", 3, "warning")
    (folder / "clew.toml").write_text(MAIN.replace("]", ', "sites/gone.toml"]'))
    (found,) = errors(folder)
    assert found == ("gone.toml", "", None, "cannot be read: no such file or directory")


def test_a_name_with_nul_is_reported(folder: Path) -> None:
    (folder / "clew.toml").write_text(MAIN.replace("]", ', "a\\u0000.toml", "a\\u0000/*.toml"]'))
    assert [found[3] for found in errors(folder)] == ["cannot be read: no file can have this name"]


def test_without_any_file_the_error_says_that_there_is_no_site(folder: Path) -> None:
    for file in (folder / "sites").iterdir():
        file.unlink()
    assert errors(folder) == [("clew.toml", "sites", None, "is missing")]


def test_included_paths_that_are_not_regular_files_are_not_opened(folder: Path) -> None:
    (folder / "sites/folder.toml").mkdir()
    os.mkfifo(folder / "sites/pipe.toml")
    (folder / "sites/link.toml").symlink_to(folder / "nowhere")
    assert errors(folder) == [
        ("folder.toml", "", None, "cannot be read: is a folder"),
        ("link.toml", "", None, "cannot be read: no such file or directory"),
        ("pipe.toml", "", None, "cannot be read: is not a regular file"),
    ]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["clew.toml", "sites/a.toml"])
def test_a_file_that_becomes_a_pipe_while_it_is_read_does_not_block(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    file, stat = folder / name, os.stat
    regular = file.stat()
    file.unlink()
    os.mkfifo(file)

    def before(path: str | Path, **options: object) -> os.stat_result:
        return regular if str(path) == str(file) else stat(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", before)
    assert errors(folder) == [(file.name, "", None, "cannot be read: is not a regular file")]


def test_link_loops_are_followed_once(folder: Path) -> None:
    (folder / "sites/below").mkdir()
    (folder / "sites/below/d.toml").write_text(site("d"))
    for name in ("one", "two", "three"):
        (folder / "sites" / name).symlink_to(".")
        (folder / "sites/below" / name).symlink_to("..")
    (folder / "clew.toml").write_text(MAIN.replace("sites/*.toml", "sites/**/*.toml"))
    assert sorted(names(folder)) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("pattern", ["sites/*.toml", "sites/**/*.toml", "*/a.toml", "**/*.toml"])
def test_a_folder_that_cannot_be_read_is_an_error_and_removes_no_site(
    folder: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    (folder / "clew.toml").write_text(MAIN.replace("sites/*.toml", pattern))
    listed, stat = os.listdir, os.stat

    def refused(path: str) -> None:
        if str(path).endswith("/sites"):
            raise PermissionError(errno.EACCES, "Permission denied")

    def list_folder(path: str) -> list[str]:
        refused(path)
        return listed(path)

    def stat_folder(path: str, **options: object) -> os.stat_result:
        refused(path)
        return stat(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "listdir", list_folder)
    monkeypatch.setattr(os, "stat", stat_folder)
    message = f"cannot read the folder {folder}/sites: permission denied"
    assert ("clew.toml", "include[0]", 3, message) in errors(folder)


def test_patterns_match_as_the_shell_matches_them(folder: Path) -> None:
    for name in ("sites/deep/er/x.toml", "sites/.hidden/y.toml", "sites/.z.toml", "other/w.toml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    patterns = ("sites/*.toml", "**/*.toml", "sites/**", "sites/.*.toml", "*/?.toml", "./sites/[ab].toml")
    patterns = (*patterns, f"{folder}/*/w.toml", "sites/**/er/*.toml", "nowhere/*", "sites/a.toml/*")
    for pattern in patterns:
        found = glob.glob(os.path.join(str(folder), pattern), recursive=True)
        wanted = {os.path.realpath(path) for path in found if os.path.isfile(path)}
        files = included([pattern], folder / "nothing.toml").files
        assert {os.path.realpath(path) for path in files if os.path.isfile(path)} == wanted, pattern


def test_a_file_that_is_written_while_it_is_read_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, fstat = folder / "sites/a.toml", os.fstat

    def written_meanwhile(number: int) -> os.stat_result:
        found = fstat(number)
        if found.st_ino == file.stat().st_ino:
            with file.open("a") as more:
                more.write("# more\n")
        return found

    monkeypatch.setattr(os, "fstat", written_meanwhile)
    assert errors(folder) == [("a.toml", "", None, "cannot be read: it was changed meanwhile")]


class TestReadAgain:
    @pytest.fixture
    def reads(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        found: list[str] = []

        def noted(path: Path, environ: object) -> Source:
            found.append(path.name)
            return read(path, environ)  # type: ignore[arg-type]

        monkeypatch.setattr(loader_module, "read", noted)
        return found

    def settled(self, folder: Path) -> None:
        """Make all files look as if they had been written an hour ago."""
        later = time.time() + 3600
        self.patch.setattr("clew.settings.included.time.time", lambda: later)

    @pytest.fixture(autouse=True)
    def _patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch

    def loaded(self, found: Loader) -> Settings:
        return found.load().used()

    def test_only_changed_files_are_read(self, folder: Path, reads: list[str]) -> None:
        self.settled(folder)
        again = loader(folder / "clew.toml", {})
        first = self.loaded(again)
        assert reads == ["clew.toml", "a.toml", "b.toml"]
        reads.clear()
        (folder / "sites/b.toml").write_text(site("b", "debug = true\n"))
        second = self.loaded(again)
        assert reads == ["b.toml"]
        assert [s.name for s in second.sites] == ["a", "b"]
        assert second.sites[0] is first.sites[0]
        reads.clear()
        (folder / "sites/b.toml").unlink()
        (folder / "sites/d.toml").write_text(site("d"))
        assert [s.name for s in self.loaded(again).sites] == ["a", "d"]
        assert reads == ["d.toml"]

    def test_a_change_within_a_tick_of_the_file_systems_clock_is_seen(
        self, folder: Path, reads: list[str]
    ) -> None:
        again = loader(folder / "clew.toml", {})
        self.loaded(again)
        stamp = (folder / "sites/a.toml").stat()
        (folder / "sites/a.toml").write_text(site("z"))
        os.utime(folder / "sites/a.toml", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        assert [s.name for s in self.loaded(again).sites] == ["z", "b", "c"]

    def test_a_file_that_is_being_written_keeps_its_previous_settings(self, folder: Path) -> None:
        again = loader(folder / "clew.toml", {})
        self.loaded(again)
        (folder / "sites/b.toml").write_text('[[sites]]\nname = "b')
        (folder / "sites/new.toml").write_text("[[si")
        held = again.load(hold={str(folder / "sites/b.toml"), str(folder / "sites/new.toml")}).used()
        assert [s.name for s in held.sites] == ["a", "b", "c"]

    def test_an_invalid_file_is_reported_again_until_it_is_fixed(self, folder: Path) -> None:
        self.settled(folder)
        again = loader(folder / "clew.toml", {})
        (folder / "sites/a.toml").write_text("[[sites]]\n")

        def found() -> list[Problem]:
            return [p for p in again.load().problems if p.severity == "error"]

        assert [p.message for p in found()] == [p.message for p in found()] == ["is missing"]
        (folder / "sites/a.toml").write_text(site("a"))
        assert found() == []

    def test_a_file_that_the_system_did_not_read_is_read_again(self, folder: Path) -> None:
        self.settled(folder)
        again = loader(folder / "clew.toml", {})
        really = os.open

        def out_of_descriptors(path: Path, flags: int) -> int:
            if path.name == "a.toml":
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return really(path, flags)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "open", out_of_descriptors)
            assert again.load().settings is None
        assert [s.name for s in self.loaded(again).sites] == ["a", "b", "c"]
