"""The files that `include` names, and how a change of one is detected."""

import glob
import os
import stat
import time
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

# A file may be written twice within one tick of its file system's clock and keep its length. So a file that
# changed less than this ago is read again (as in git's index, "racy git"). NFS and FAT tick every 1 or 2 s.
TICK_SECONDS = 2.0


class Stamp(NamedTuple):
    """Metadata that changes whenever a file does."""

    modified_ns: int
    changed_ns: int
    size: int
    device: int
    inode: int


def stamp_of(path: str | Path) -> Stamp | None:
    """The stamp of a file, links followed; None if there is no file, or none by such a name."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return Stamp(found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_dev, found.st_ino)


def settled(stamp: Stamp | None) -> bool:
    """Whether any later change of the file is certain to change its stamp."""
    # `cp -p` and `mv` keep the time of the last change, so the time of the inode's change counts.
    return stamp is not None and abs(time.time() - stamp.changed_ns / 1e9) > TICK_SECONDS


class Included(NamedTuple):
    """The files that match the patterns of `include`, with their stamps, in the order in which they are read;
    for each pattern whether any file matches, and the folders that could not be read, with the reason."""

    files: Mapping[str, Stamp | None]
    named: tuple[bool, ...]
    refused: tuple[tuple[str, ...], ...] = ()


def included(patterns: Sequence[str], main: Path) -> Included:
    """The files of all patterns, each once and without the `main` file, sorted by path within a pattern. A
    relative pattern starts at the main file's folder; `*` does not match names that begin with a dot, `**`
    matches folders at any depth."""
    folder = str(main.absolute().parent)
    own = stamp_of(main)
    # A file with two names, by a link, counts once.
    seen: set[tuple[int, int] | str] = set() if own is None else {(own.device, own.inode)}
    files: dict[str, Stamp | None] = {}
    named, refused = [], []
    for pattern in patterns:
        found, unread = _matches(pattern, folder)
        named.append(bool(found))
        refused.append(tuple(unread))
        for path in found:
            stamp = stamp_of(path)
            identity = path if stamp is None else (stamp.device, stamp.inode)
            if identity not in seen:
                seen.add(identity)
                files[path] = stamp
    return Included(files, tuple(named), tuple(refused))


def is_pattern(text: str) -> bool:
    """Whether the text is a glob pattern, so that no file has to match."""
    return glob.has_magic(text)


def _matches(pattern: str, folder: str) -> tuple[list[str], list[str]]:
    """The paths that match a pattern, and the folders that could not be read, each with the reason."""
    if not is_pattern(pattern):
        # A file named without a pattern must exist: the reader reports it.
        return [os.path.join(folder, pattern)], []
    if "\0" in pattern:  # which no name contains
        return [], []
    parts = [part for part in pattern.split("/") if part]
    found: list[str] = []
    refused: list[str] = []
    # Each folder is searched once for the same rest of the pattern, because links may form a loop.
    searched: set[tuple[int, int, int]] = set()
    waiting = [("/" if pattern.startswith("/") else folder, 0)]
    while waiting:
        here, at = waiting.pop()
        try:
            place = os.stat(here)
            if not stat.S_ISDIR(place.st_mode) or (place.st_dev, place.st_ino, at) in searched:
                continue
            searched.add((place.st_dev, place.st_ino, at))
            names = os.listdir(here) if is_pattern(parts[at]) else [parts[at]]
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            refused.append(f"{here}: {(error.strerror or str(error)).lower()}")
            continue
        last = at == len(parts) - 1
        if parts[at] == "**" and not last:
            waiting.append((here, at + 1))
        for name in names:
            path = os.path.join(here, name)
            if parts[at] == "**":
                if not name.startswith("."):
                    waiting.append((path, at))
                    found += [path] if last else []
            elif _fits(name, parts[at]):
                if not last:
                    waiting.append((path, at + 1))
                elif os.path.lexists(path):
                    found.append(path)
    return sorted(found), refused


def _fits(name: str, part: str) -> bool:
    """Whether a name fits a part of a pattern. `*` does not match a dot at its beginning."""
    if not is_pattern(part):
        return True
    return fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))
