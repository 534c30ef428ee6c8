"""The folders in which the workers of servers keep their metrics."""

import subprocess
import sys
from pathlib import Path

from clew.middleware.serve.figures import LOCK, PREFIX, figures_folder

_KILLED = """
import os, signal, sys
from pathlib import Path
from clew.middleware.serve.figures import figures_folder
with figures_folder(Path(sys.argv[1])) as folder:
    (folder / "counter_1.db").write_bytes(b"1")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_folder_of_a_killed_server_is_deleted_at_the_next_start(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], check=False)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(PREFIX)
    with figures_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]
        assert folder != left
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_running_server_and_of_others_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / f"{PREFIX}of-another-program"
    other.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / LOCK).touch()
    (tmp_path / f"{PREFIX}link").symlink_to(elsewhere)
    with figures_folder(tmp_path) as first, figures_folder(tmp_path) as second:
        assert first.is_dir()
        assert second.is_dir()
        assert first != second
    assert other.is_dir()
    assert elsewhere.is_dir()
