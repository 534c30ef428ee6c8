"""Loads and validates all settings: the main file and its included files. Unchanged files are not read again.

All errors are found here, before the settings are used: those of the models, those of the other rooms
(`Checks`), and those between files, such as one host in two sites. If one file has an error, none of the
new settings are used.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from .across import ReadFile, between, entry_of
from .changes import fixed_problems
from .draft import Draft, drafted
from .included import Included, Stamp, included, is_pattern, settled, stamp_of
from .letters import not_ascii
from .load import Problem, SettingsErrors, Source, beside, is_file, key_text, read
from .model import JOURNAL, Settings, Site
from .positions import KeyPath
from .wording import Wording, worded


class Checks(Protocol):
    """Checks of the other rooms, beyond the models."""

    def top(self, source: Source) -> Iterable[Wording]:
        """Problems of the main file's own keys."""

    def site(self, draft: Draft) -> Iterable[Wording]:
        """Problems of one site."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The result of loading: the settings, None if there is an error; all problems, by file and line.
    `stamps` are those of the files that were read, None for a file that could change without a new stamp.
    `origins` are the file of each site and its index there, `main` is the file of the other keys."""

    settings: Settings | None
    problems: tuple[Problem, ...]
    stamps: Mapping[str, Stamp | None]
    origins: Sequence[tuple[str, int]] = ()
    main: str = ""

    def used(self) -> Settings:
        """The settings. Raises SettingsErrors if they cannot be used."""
        if self.settings is None:
            raise SettingsErrors(self.problems)
        return self.settings

    def problem(self, wording: Wording) -> Problem:
        """A problem that was found later. In the path of a site's key, `("sites", number, key)`, the number
        counts all sites."""
        if wording.path[0] != "sites":
            source = read(Path(self.main), {})
            return source.problem(wording.path, wording.message, wording.hint, wording.severity)
        _, number, *rest = wording.path
        file, place = self.origins[int(number)]
        source = read(Path(file), {})
        return source.problem(("sites", place, *rest), wording.message, wording.hint, wording.severity)


class Loader:
    """Reads the settings repeatedly, each time only the files that have changed.

    `environ` has the values for `env:NAME`. Not thread-safe.
    """

    def __init__(self, path: Path, environ: Mapping[str, str], checks: Checks) -> None:
        self.path = path
        self._main = str(path)
        self._environ = environ
        self._checks = checks
        self._known: dict[str, ReadFile] = {}

    def load(self, hold: Container[str] = (), running: Settings | None = None) -> Loaded:
        """Load all files. Files in `hold` are being written: their last version is used, and they are left
        out if there is none. `running` are the settings that will be replaced without a restart; keys that
        need a restart must then be unchanged."""
        main = self._file(self._main, stamp_of(self._main), hold)
        if main.source is None:
            self._known[main.path] = main
            return Loaded(None, main.problems, {main.path: main.stamp})
        names, warnings = self._included(main.source)
        listed = [pair for pair in names.files.items() if pair[0] in self._known or pair[0] not in hold]
        files = [main, *(self._file(path, stamp, hold) for path, stamp in listed)]
        self._known = {file.path: file for file in files}
        settings, problems = self._together(main.source, files)
        if settings is not None and running is not None:
            problems += _placed(main.source, fixed_problems(running, settings))
        found = tuple(_in_order([*warnings, *problems, *chain(*(file.problems for file in files))], files))
        wrong = any(problem.severity == "error" for problem in found)
        stamps = {file.path: file.stamp for file in files}
        origins = [] if wrong else _origins(files)
        return Loaded(None if wrong else settings, found, stamps, origins, self._main)

    def stamps(self) -> dict[str, Stamp | None]:
        """The current stamps of the files, by the patterns that were read last."""
        main = self._known.get(self._main)
        names = self._included(main.source)[0].files if main and main.source else {}
        return {self._main: stamp_of(self._main), **names}

    # -- one file

    def _file(self, path: str, stamp: Stamp | None, hold: Container[str]) -> ReadFile:
        known = self._known.get(path)
        if known is not None and (path in hold or (known.stamp is not None and known.stamp == stamp)):
            return known
        own, stamp = path == self._main, stamp if settled(stamp) else None
        try:
            source = read(Path(path), self._environ)
        except SettingsErrors as error:
            # What the system refused may pass without a change of the file: it is read again.
            passing = isinstance(error.__cause__, OSError)
            return ReadFile(path, None if passing else stamp, problems=error.problems)
        wordings = [] if own else list(_misplaced(source, self.path))
        raws = source.data.get("sites")
        sites: list[Site | None] = []
        entries = []
        for number, raw in enumerate(raws if isinstance(raws, list) else []):
            draft, refused = _draft(("sites", number), raw)
            wordings += refused
            sites.append(draft.whole if draft else None)
            if draft is not None:
                wordings += self._checks.site(draft)
                entries.append(entry_of(draft))
        if own:
            wordings += self._checks.top(source)
        problems = _placed(source, wordings)
        return ReadFile(path, stamp, tuple(sites), tuple(entries), problems, source if own else None)

    # -- all together

    def _included(self, source: Source) -> tuple[Included, list[Problem]]:
        """The files that `include` names, a warning for each pattern without a match, and an error for each
        folder that cannot be read, whose sites would else be removed. The model reports invalid patterns."""
        patterns = source.data.get("include")
        if not isinstance(patterns, list) or not all(isinstance(p, str) and p for p in patterns):
            return Included({}, ()), []
        found = included(patterns, self.path)
        warnings = [
            source.problem(("include", number), "no file matches this pattern", _HINT_PATTERN, "warning")
            for number, (pattern, named) in enumerate(zip(patterns, found.named, strict=True))
            if not named and is_pattern(pattern)
        ]
        errors = [
            source.problem(("include", number), f"cannot read the folder {folder}", _HINT_FOLDER, "error")
            for number, folders in enumerate(found.refused)
            for folder in folders
        ]
        return found, [*warnings, *errors]

    def _together(self, main: Source, files: Sequence[ReadFile]) -> tuple[Settings | None, list[Problem]]:
        sites = [site for file in files for site in file.sites if site is not None]
        data = dict(main.data)
        listed = data.get("sites", [])
        if isinstance(listed, list) and (sites or any(file.sites for file in files)):
            # Invalid sites were reported before. Here they must not make the list empty.
            data["sites"] = sites or [_STAND_IN]
        problems = list(between(main, files))
        try:
            settings = Settings.model_validate(data)
        except ValidationError as error:
            return None, problems + list(_placed(main, worded(error.errors(include_url=False), main.data)))
        folder = main.file.absolute().parent
        addresses = {
            "store": beside(settings.store, folder),
            "ledger": beside(settings.ledger, folder),
        }
        if settings.journal is not None or not is_file(settings.ledger):
            # Without a file of a ledger to be beside, it is beside this one.
            addresses["journal"] = str(folder / (settings.journal or JOURNAL))
        return settings.model_copy(update=addresses), problems


_STAND_IN = Site(name="unnamed")
_HINT_FOLDER = "let the user that runs clew read it"
_HINT_PATTERN = "correct it if a file should match: it is relative to this file's folder"


def _origins(files: Sequence[ReadFile]) -> list[tuple[str, int]]:
    return [(file.path, number) for file in files for number in range(len(file.sites))]


def _placed(source: Source, wordings: Iterable[Wording]) -> tuple[Problem, ...]:
    """Problems by line, without duplicates; a key whose variable is missing has no other error."""
    unset = [source.problem(w.path, w.message, w.hint) for w in source.unset]
    keys = {key_text(w.path) for w in source.unset}
    found = [
        source.problem(w.path, w.message, w.hint, w.severity)
        for w in wordings
        if key_text(w.path) not in keys
    ]
    return tuple(sorted(dict.fromkeys([*unset, *found]), key=lambda problem: problem.line or 0))


def _in_order(problems: Iterable[Problem], files: Sequence[ReadFile]) -> list[Problem]:
    places = {file.path: number for number, file in enumerate(files)}
    return sorted(dict.fromkeys(problems), key=lambda p: (places.get(p.file, 0), p.line or 0))


def _misplaced(source: Source, main: Path) -> Iterator[Wording]:
    """An error for everything in an included file that is not a site."""
    for key in source.data:
        if key != "sites":
            hint = f"move it to {main.name}" if key in Settings.model_fields else "leave it out"
            message = f"an included file may contain only [[sites]]{not_ascii(key)}"
            yield Wording((key,), message, hint)
    sites = source.data.get("sites", [])
    if not isinstance(sites, list):
        yield Wording(("sites",), "must be a list", "write [[sites]] with two brackets")
    elif not sites:
        # Some editors truncate a file before they write it: its shops must not disappear for that moment.
        yield Wording(
            (), "contains no site", 'write [[sites]] and below it name = "shop", or remove the file'
        )


def _draft(path: KeyPath, raw: Any) -> tuple[Draft | None, Iterable[Wording]]:
    if isinstance(raw, dict):
        draft = drafted(path, raw)
        return draft, draft.refused
    return None, [Wording(path, "must be a table", "write [[sites]] and below it its keys")]
