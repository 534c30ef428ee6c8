"""Reads one settings file: TOML with values from the environment, and problems with their lines.

- `env:NAME` as a whole text value, anywhere in the file, is replaced by the environment variable NAME. It is
  converted to a number or a boolean if the setting is one.
- A relative SQLite path (`sqlite:clew.db`, the default) is relative to the settings file's folder, not to the
  working directory. Otherwise clew, when started from another folder, would create a new, empty ledger.
"""

import errno
import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from .letters import not_ascii
from .positions import KeyPath, positions
from .wording import Severity, Wording, missing_variable

_VARIABLE = re.compile(r"env:(.*)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOML_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")
# What `wording.fresh_secret` makes.
_OFFERED = re.compile(r'"?(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])"?')
_SQLITE = "sqlite:"
# A settings file with a thousand sites has less than a megabyte.
_FILE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Problem:
    """One error or warning of a settings file. `key` is a path such as `sites[0].partners[1].param`, empty
    for the file as a whole; `line` counts from 1, None if there is none."""

    file: str
    key: str
    line: int | None
    message: str
    hint: str = ""
    severity: Severity = "error"


class SettingsErrors(ValueError):  # noqa: N818
    """The settings are invalid; `problems` lists every error."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        errors = tuple(problem for problem in problems if problem.severity == "error")
        super().__init__("\n".join(map(format_problem, errors)))
        self.problems = errors


@dataclass(frozen=True)
class Source:
    """A file of valid TOML: its text, its data with values from the environment, and the variables that are
    not set."""

    file: Path
    text: str
    data: dict[str, Any]
    unset: tuple[Wording, ...] = field(default=())

    @cached_property
    def lines(self) -> Mapping[KeyPath, int]:
        """The line of each key. Computed only if there is a problem, since it takes as long as reading."""
        return positions(self.text)

    def problem(self, path: KeyPath, message: str, hint: str = "", severity: Severity = "error") -> Problem:
        """A problem in this file. Its line is that of the key, or of the table that lacks the key."""
        line = next((self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), None)
        return Problem(str(self.file), key_text(path), line, message, hint, severity)


def read(path: Path, environ: Mapping[str, str]) -> Source:
    """Read a file and insert values from the environment. Raises SettingsErrors if it is not valid TOML."""
    text = _text(path)
    try:
        data = tomllib.loads(text)
    except RecursionError as error:
        raise SettingsErrors([Problem(str(path), "", None, "is nested too deeply")]) from error
    except ValueError as error:
        # Also for a number of more digits than Python reads.
        raise SettingsErrors([syntax_problem(path, text, str(error))]) from error
    unset: list[Wording] = []
    return Source(path, text, _filled(data, (), environ, unset), tuple(unset))


def beside(address: str, folder: Path) -> str:
    """A store's address with a relative SQLite path resolved against `folder`; other addresses unchanged."""
    if not address.startswith(_SQLITE):
        return address
    file = address.removeprefix(_SQLITE).removeprefix("///")
    if not file or file == ":memory:" or Path(file).is_absolute():
        return address
    return f"{_SQLITE}///{folder / file}"


def is_file(address: str) -> bool:
    """Whether a store is a file of this machine."""
    return address.startswith(_SQLITE)


def key_text(path: KeyPath) -> str:
    """`sites[0].partners[1].param`; keys that need quotes in TOML are quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{part}"')
    return text


def format_problem(problem: Problem) -> str:
    """`clew.toml:12 sites[0].name: is missing → write name = …`."""
    place = problem.file if problem.line is None else f"{problem.file}:{problem.line}"
    key = f" {problem.key}" if problem.key else ""
    hint = f" → {problem.hint}" if problem.hint else ""
    weight = "warning: " if problem.severity == "warning" else ""
    return f"{place}{key}: {weight}{problem.message}{hint}"


def logged_problem(problem: Problem) -> str:
    """Like `format_problem`, for logs and responses: without a proposed secret, which would not stay secret
    there."""
    hint = _OFFERED.sub("… (`clew check` proposes one)", problem.hint)
    return format_problem(replace(problem, hint=hint))


def _text(path: Path) -> str:
    try:
        raw = _content(path)
        if len(raw) > _FILE_BYTES:
            raise SettingsErrors([Problem(str(path), "", None, f"is larger than {_FILE_BYTES >> 20} MB")])
        return raw.decode("utf-8-sig")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SettingsErrors([Problem(str(path), "", None, f"cannot be read: {reason}")]) from error
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problem = Problem(str(path), "", line, "is not UTF-8", "save the file with the encoding UTF-8")
        raise SettingsErrors([problem]) from error


def _content(path: Path) -> bytes:
    """The bytes of a regular file. Never waits: opening a named pipe would block until somebody writes to it,
    and reading a terminal until somebody types. Raises OSError, and SettingsErrors for what is no file."""
    # Opening a device may already act on it (a tape rewinds, a watchdog starts), so this is checked before.
    _require_file(path, lambda: os.stat(path))
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        # It may have been replaced meanwhile.
        before = _require_file(path, lambda: os.fstat(descriptor))
        # None where there is nothing to read yet, as in some files of /proc.
        raw: bytes | None = file.read(_FILE_BYTES + 1)
        after = os.fstat(descriptor)
    if raw is None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise OSError(None, "it was changed meanwhile")
    return raw


def _require_file(path: Path, look: Callable[[], os.stat_result]) -> os.stat_result:
    try:
        found = look()
    except ValueError:  # a NUL in the name
        why = "no file can have this name"
    else:
        if stat.S_ISREG(found.st_mode):
            return found
        why = "is a folder" if stat.S_ISDIR(found.st_mode) else "is not a regular file"
    raise SettingsErrors([Problem(str(path), "", None, f"cannot be read: {why}")])


def syntax_problem(path: Path, text: str, error: str) -> Problem:
    """The problem of a text that is not valid TOML; `error` is what tomllib says."""
    place = _TOML_PLACE.search(error)
    message = _TOML_PLACE.sub("", error)
    message = f"not valid TOML: {message[:1].lower()}{message[1:]}"
    if place is None:
        return Problem(str(path), "", None, message)
    if not place[1]:
        return Problem(str(path), "", text.rstrip().count("\n") + 1, message)
    line, column = int(place[1]), int(place[2])
    # Keys without quotes are ASCII. tomllib counts lines by "\n" alone.
    character = text.split("\n", line)[line - 1][column - 1 : column]
    return Problem(str(path), "", line, f"{message}{not_ascii(character)}", f"look at column {column}")


def _filled(data: Any, path: KeyPath, environ: Mapping[str, str], unset: list[Wording]) -> Any:
    if isinstance(data, dict):
        return {key: _filled(value, (*path, key), environ, unset) for key, value in data.items()}
    if isinstance(data, list):
        return [_filled(value, (*path, number), environ, unset) for number, value in enumerate(data)]
    if not isinstance(data, str) or (variable := _VARIABLE.fullmatch(data)) is None:
        return data
    name = variable[1]
    if not _NAME.fullmatch(name):
        hint = "write env:NAME with letters, digits and underscores"
        unset.append(Wording(path, "`env:` is not followed by the name of an environment variable", hint))
    elif not environ.get(name):
        unset.append(missing_variable(path, name, empty=name in environ))
    else:
        return environ[name]
    return data
