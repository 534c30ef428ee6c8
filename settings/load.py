"""One settings file: its TOML with values from the environment, and what is wrong with it, by line.

- `env:NAME` as a whole text value, anywhere in the file, is replaced by the environment variable NAME. What
  came from there is read as a number or a truth value where the setting is one.
- A relative SQLite path (`sqlite:clew.db`, the default) starts at the settings file's folder, not at the
  working directory: started from another folder, clew would otherwise open an empty ledger and report the
  orders of a new day without those of the old one.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from .positions import KeyPath, positions
from .wording import Severity, Wording, missing_variable

_VARIABLE = re.compile(r"env:(.*)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOML_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")
_SQLITE = "sqlite:"
# A settings file of a thousand sites is below a megabyte.
_FILE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Problem:
    """One error or warning of a settings file. `key` is a path such as `sites[0].partners[1].param`, empty
    for the file as a whole; `line` counts from 1, None where there is none to name."""

    file: str
    key: str
    line: int | None
    message: str
    hint: str = ""
    severity: Severity = "error"


class SettingsErrors(ValueError):  # noqa: N818
    """Settings that cannot be used; `problems` lists everything that is wrong with them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        errors = tuple(problem for problem in problems if problem.severity == "error")
        super().__init__("\n".join(map(format_problem, errors)))
        self.problems = errors


@dataclass(frozen=True)
class Source:
    """A file that is valid TOML: its text, its data with the environment's values in it, and the variables
    that are not set."""

    file: Path
    text: str
    data: dict[str, Any]
    unset: tuple[Wording, ...] = field(default=())

    @cached_property
    def lines(self) -> Mapping[KeyPath, int]:
        """Where each key stands. Looked up only where there is a problem: it takes as long as reading."""
        return positions(self.text)

    def problem(self, path: KeyPath, message: str, hint: str = "", severity: Severity = "error") -> Problem:
        """A problem at a place of this file; its line is that of the key or of the table it is missing in."""
        line = next((self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), None)
        return Problem(str(self.file), key_text(path), line, message, hint, severity)


def read(path: Path, environ: Mapping[str, str]) -> Source:
    """Read a file and put the environment's values in. Raises SettingsErrors if it is not TOML."""
    text = _text(path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsErrors([_syntax_problem(path, text, str(error))]) from error
    except RecursionError as error:
        raise SettingsErrors([Problem(str(path), "", None, "is nested too deeply")]) from error
    unset: list[Wording] = []
    return Source(path, text, _filled(data, (), environ, unset), tuple(unset))


def beside(address: str, folder: Path) -> str:
    """A store's address with a relative SQLite path put into `folder`; any other address as it is."""
    if not address.startswith(_SQLITE):
        return address
    file = address.removeprefix(_SQLITE).removeprefix("///")
    if not file or file == ":memory:" or Path(file).is_absolute():
        return address
    return f"{_SQLITE}///{folder / file}"


def key_text(path: KeyPath) -> str:
    """`sites[0].partners[1].param`; keys that TOML would quote are quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if re.fullmatch(r"[\w-]+", part) else f'"{part}"')
    return text


def format_problem(problem: Problem) -> str:
    """`clew.toml:12 sites[0].name: is missing → write name = …`."""
    place = problem.file if problem.line is None else f"{problem.file}:{problem.line}"
    key = f" {problem.key}" if problem.key else ""
    hint = f" → {problem.hint}" if problem.hint else ""
    weight = "warning: " if problem.severity == "warning" else ""
    return f"{place}{key}: {weight}{problem.message}{hint}"


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_FILE_BYTES + 1)
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


def _syntax_problem(path: Path, text: str, told: str) -> Problem:
    place = _TOML_PLACE.search(told)
    message = _TOML_PLACE.sub("", told)
    message = f"not TOML: {message[:1].lower()}{message[1:]}"
    if place is None:
        return Problem(str(path), "", None, message)
    line = int(place[1]) if place[1] else text.rstrip().count("\n") + 1
    return Problem(str(path), "", line, message, f"look at column {place[2]}" if place[2] else "")


def _filled(data: Any, path: KeyPath, environ: Mapping[str, str], unset: list[Wording]) -> Any:
    if isinstance(data, dict):
        return {key: _filled(value, (*path, key), environ, unset) for key, value in data.items()}
    if isinstance(data, list):
        return [_filled(value, (*path, number), environ, unset) for number, value in enumerate(data)]
    if not isinstance(data, str) or (asked := _VARIABLE.fullmatch(data)) is None:
        return data
    name = asked[1]
    if not _NAME.fullmatch(name):
        hint = "write env:NAME with letters, digits and underscores"
        unset.append(Wording(path, "after `env:` stands no name of an environment variable", hint))
    elif not environ.get(name):
        unset.append(missing_variable(path, name, empty=name in environ))
    else:
        return environ[name]
    return data
