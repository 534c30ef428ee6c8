"""Checks between the sites of the settings: names, hosts, and the desk's host."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .draft import Draft
from .hosts import host_key
from .included import Stamp
from .load import Problem, SettingsErrors, Source, key_text, read
from .model import Site
from .positions import KeyPath


class Entry(NamedTuple):
    """The values of a site that are compared with other sites. `name` is None if it is invalid."""

    path: KeyPath
    name: str | None
    hosts: tuple[str, ...]
    anywhere: bool


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file that was read: its sites, None for an invalid one, and what is wrong with it.

    `source` is kept for the main file only, since there may be thousands of files.
    """

    path: str
    stamp: Stamp | None
    sites: tuple[Site | None, ...] = ()
    entries: tuple[Entry, ...] = ()
    problems: tuple[Problem, ...] = ()
    source: Source | None = None


def entry_of(draft: Draft) -> Entry:
    """The values of a site that are compared with other sites."""
    name = draft.site.name if draft.site.name == draft.raw.get("name") else None
    return Entry(draft.path, name, tuple(draft.site.hosts), not draft.raw.get("hosts"))


def between(main: Source, files: Sequence[ReadFile]) -> Iterator[Problem]:
    """What is wrong between sites, each reported at the later one."""
    names: dict[str, ReadFile] = {}
    hosts: dict[str, ReadFile] = {}
    anywhere: list[ReadFile] = []
    for file in files:
        later = _Later(file)
        for entry in file.entries:
            path = entry.path
            if entry.name is not None and (before := later.before(names, entry.name)) is not None:
                yield later.problem((*path, "name"), f"another site has the name {entry.name!r}", before)
            for number, host in enumerate(entry.hosts):
                if (before := later.before(hosts, host)) is not None:
                    message = f"the host {host!r} already belongs to a site"
                    yield later.problem((*path, "hosts", number), message, before)
            if entry.anywhere:
                if anywhere:
                    hint = "only one site may serve all other hosts"
                    yield later.problem(path, "another site has no `hosts` either", anywhere[0], hint)
                anywhere.append(file)
    yield from _desk_host(main, sum(len(file.entries) for file in files), hosts)


class _Later:
    """Problems of one file in relation to the files before it."""

    def __init__(self, file: ReadFile) -> None:
        self._source = file.source
        self._file = file

    def before(self, known: dict[str, ReadFile], value: str) -> ReadFile | None:
        """The earlier file with this value; if there is none, None, and the value is recorded."""
        if (found := known.get(value)) is None:
            known[value] = self._file
        return found

    def problem(self, path: KeyPath, message: str, before: ReadFile, hint: str = "") -> Problem:
        """The problem with its line, for which the file is read once more."""
        if before is not self._file:
            message = f"{message}: see {before.path}"
        if self._source is None:
            try:
                self._source = read(Path(self._file.path), {})
            except SettingsErrors:
                return Problem(self._file.path, key_text(path), None, message, hint)
        return self._source.problem(path, message, hint)


def _desk_host(main: Source, count: int, hosts: Mapping[str, ReadFile]) -> Iterator[Problem]:
    """With several shops the desk needs an origin of its own: a script on one shop's origin could else read
    the other shops' conversations."""
    host = main.data.get("desk_host")
    if host is None and count > 1:
        hint = 'write desk_host = "desk.example": a host of its own that points to clew'
        message = "is missing: with more than one site the desk needs a host of its own"
        yield main.problem(("desk_host",), message, hint)
    elif isinstance(host, str) and host_key(host) in {host_key(found) for found in hosts}:
        message = "is the host of a shop: the desk needs a host of its own"
        yield main.problem(("desk_host",), message, "use another host")
