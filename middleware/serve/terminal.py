"""What SIGHUP means: reload the settings, or the terminal was closed."""

import os
import signal
from contextlib import suppress


class Terminal:
    """The controlling terminal, if there was one at the start. Create it before SIGHUP has a handler."""

    def __init__(self) -> None:
        # With nohup(1) the signal is ignored, and the terminal may be closed.
        ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        self._was_there = not ignored and _is_there()

    def has_gone(self) -> bool:
        """Whether there was one and it was closed."""
        return self._was_there and not _is_there()


def hold_hang_up() -> None:
    """Keep SIGHUP back until `release_hang_up`. It must not end a program that starts, nor be lost."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def release_hang_up() -> None:
    """Deliver SIGHUP from now on, and one that was kept back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def _is_there() -> bool:
    with suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        return True
    return False
