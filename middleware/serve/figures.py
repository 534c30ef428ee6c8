"""The folder in which the workers of a server keep their metrics."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

PREFIX: Final = "clew-figures-"
LOCK: Final = "in-use"
"""The file that a server holds locked as long as it runs."""


@contextmanager
def figures_folder(parent: Path) -> Iterator[Path]:
    """A new folder, which is deleted in the end. Those of servers that were killed are deleted now."""
    _delete_left(parent)
    # Named only once it is locked: until then another server could take it for one that was left.
    new = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=parent))
    held = os.open(new / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    folder = new.with_name(new.name.removeprefix("."))
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        new.rename(folder)
        yield folder
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _delete_left(parent: Path) -> None:
    """Delete the folders of this user that no server holds. Only a lock tells: a process id may be another
    container's."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            held = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)
