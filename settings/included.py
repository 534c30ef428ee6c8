"""The files that `include` names, and how to see that one of them has changed."""

import glob
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

# A file may be written twice within one tick of its file system's clock and keep its length: so long after a
# change it is read again (as git does with its index, "racy git"). NFS and FAT tick in one or two seconds.
TICK_SECONDS = 2.0


class Stamp(NamedTuple):
    """What changes whenever a file does."""

    modified_ns: int
    changed_ns: int
    size: int
    device: int
    inode: int


def stamp_of(path: str | Path) -> Stamp | None:
    """The stamp of a file that is to be read, links followed; None where there is no file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return Stamp(found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_dev, found.st_ino)


def settled(stamp: Stamp | None) -> bool:
    """Whether a file that has this stamp now can only be changed by giving it another one."""
    # A file may come with any time of its last change, as `cp -p` and `mv` bring it: what counts is when it
    # got here.
    return stamp is not None and abs(time.time() - stamp.changed_ns / 1e9) > TICK_SECONDS


class Included(NamedTuple):
    """What the patterns of `include` name: the files with their stamps, in the order in which they are read,
    and for each pattern, by its place, whether it names any."""

    files: Mapping[str, Stamp | None]
    named: tuple[bool, ...]


def included(patterns: Sequence[str], main: Path) -> Included:
    """The files of all patterns, each once and without the `main` file, sorted by path within a pattern. A
    relative pattern starts at the main file's folder; `*` does not take names with a dot in front, `**` takes
    folders below."""
    folder = str(main.absolute().parent)
    own = stamp_of(main)
    # One file under two names, by a link, is one.
    seen: set[tuple[int, int] | str] = set() if own is None else {(own.device, own.inode)}
    files: dict[str, Stamp | None] = {}
    named = []
    for pattern in patterns:
        found = sorted(_matches(pattern, folder))
        named.append(bool(found))
        for path in found:
            stamp = stamp_of(path)
            identity = path if stamp is None else (stamp.device, stamp.inode)
            if identity not in seen:
                seen.add(identity)
                files[path] = stamp
    return Included(files, tuple(named))


def is_pattern(text: str) -> bool:
    """Whether it names files by their look, so that it may name none."""
    return glob.has_magic(text)


def refusal(path: str) -> str | None:
    """Why an included path is not read; a link that leads nowhere is left to the reader."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return None
    # Opening a named pipe would wait for whoever writes into it.
    return None if stat.S_ISREG(mode) else "is a folder" if stat.S_ISDIR(mode) else "is no file"


def _matches(pattern: str, folder: str) -> Iterator[str]:
    if not is_pattern(pattern):
        # Named by itself it has to be there: the reader says what is wrong with it.
        yield os.path.join(folder, pattern)
    else:
        yield from glob.iglob(os.path.join(glob.escape(folder), pattern), recursive=True)
