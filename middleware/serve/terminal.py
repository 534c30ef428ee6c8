"""What SIGHUP means: read the settings again, or that the terminal of the start has been closed."""

import os
import signal
from contextlib import suppress


class Terminal:
    """The terminal of the start, if there was one. Made before SIGHUP has a handler."""

    def __init__(self) -> None:
        # nohup(1) has the signal ignored: then the terminal may go.
        ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        self._was_there = not ignored and _is_there()

    def has_gone(self) -> bool:
        """Whether it was there and is no more."""
        return self._was_there and not _is_there()


def _is_there() -> bool:
    with suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        return True
    return False
